"""``gitml doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import GitmlError

if TYPE_CHECKING:
    from gitml.doctor import Finding
    from gitml.repo import Repo

_COLOURS = {"ok": "good", "note": "dim", "warning": "warning", "problem": "failed"}


@click.command()
@click.option("--fix", is_flag=True, help="Put right what can be without a loss.")
@json_option
@with_repo
def doctor(repo: Repo, fix: bool, as_json: bool) -> None:
    """Check this clone and this machine, and say what helps.

    Looks at git, the disk, the settings, hooks, pointers, refs of stages, leftovers of processes
    that are gone, and the store with the clones that share it. The bytes are for `gitml fsck`. A
    note can stay as it is, a warning should not, and with a problem something does not work: then
    the exit code is 1.

    \b
    gitml doctor
    gitml doctor --fix
    """
    findings = repo.doctor(fix=fix)
    if as_json:
        document = [finding_document(one) for one in findings]
        render.answer_json("doctor", {"findings": document})
    else:
        render.answer(*finding_lines(findings))
    problems = sum(one.state == "problem" for one in findings)
    if problems:
        raise GitmlError(render.count(problems, "problem"))


def finding_document(one: Finding) -> dict[str, str]:
    """A finding as JSON has it."""
    fields = ("check", "state", "says", "fix", "mended")
    return {name: getattr(one, name) for name in fields}


def finding_lines(findings: Sequence[Finding], *, all_of_them: bool = False) -> Iterator[str]:
    """Findings, a line each and what helps below it; what is well in one line at the end.

    With ``all_of_them`` that is told too. Nothing is cut: what helps is there to be pasted.
    """
    rows = []
    for one in findings:
        if one.mended:
            rows.append((paint("good", "fixed"), one.check, one.mended, ""))
        elif one.state != "ok" or all_of_them:
            rows.append((paint(_COLOURS[one.state], one.state), one.check, one.says, one.fix))
    wide = [max((render.width(row[at]) for row in rows), default=0) for at in (0, 1)]
    for *heads, says, fix in rows:
        yield "  ".join([*(_padded(text, to) for text, to in zip(heads, wide, strict=True)), says])
        if fix:
            yield f"{' ' * (sum(wide) + 4)}{fix}"
    quiet = [one.check for one in findings if one.state == "ok" and not one.mended]
    if quiet and not all_of_them:
        yield f"{paint('good', 'ok')}: {', '.join(quiet)}"


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - render.width(text))
