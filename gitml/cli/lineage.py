"""``gitml lineage``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import documents, render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.diff.lineages import StepPair
    from gitml.entities.records import Input
    from gitml.history.entries import StepEntry
    from gitml.history.lineage import Ancestor
    from gitml.repo import Repo


class Lineage(Noun):
    """A group whose first command is meant where none is named: ``gitml lineage NAME``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with ``show`` before what names no command."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Lineage)
def lineage() -> None:
    """Show how a thing was made, or where two things part.

    `gitml lineage NAME` is short for `gitml lineage show NAME`.

    \b
    gitml lineage predictions@latest
    gitml lineage diff clf@v1 clf@v2
    """


@lineage.command("show")
@click.argument("name")
@json_option
@with_repo
def show_lineage(repo: Repo, name: str, as_json: bool) -> None:
    """Show how a thing was made.

    Below each record stands what it was made of, with the commit that git knows it by, down to the
    data that came from outside. What stands in the tree twice is spelled out once.

    \b
    gitml lineage predictions@latest
    gitml lineage clf@production --json
    """
    root = repo.lineage(name)
    if as_json:
        render.answer_json("lineage", documents.lineage_document(repo, root))
        return
    found = repo.resolve(name)
    if found.output is None:
        render.answer(*_tree(repo, root, "", ""))
        return
    mark = paint("artifact", render.ARTIFACT)
    render.answer(f"{mark} {paint('artifact', found.label)}", *_tree(repo, root, "└─ ", "   "))


@lineage.command("diff")
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--step", metavar="STEP", help="Compare the code of this step alone.")
@json_option
@click.pass_context
@with_repo
def diff_lineage(
    repo: Repo, context: click.Context, old: str, new: str, step: str | None, as_json: bool
) -> None:
    """Show which step of two lineages first differs, and by what of its own.

    A and B are whatever has a lineage: versions, runs, pipelines (their newest run), artifacts.
    Steps are matched by name, also across pipelines. What only follows from a step before it is
    named last. Exits with 1 when something differs; with `--step`, when that step's code does.

    \b
    gitml lineage diff clf@production clf@latest
    gitml lineage diff training inference --step preprocess
    """
    pairs = repo.compare_lineages(old, new, step)
    if as_json:
        listed = [_pair_document(one) for one in pairs]
        render.answer_json("lineage.diff", {"old": old, "new": new, "steps": listed})
    elif step is not None:
        render.answer(*_step_lines(repo, pairs[0]))
    else:
        render.answer(*_parting(repo, pairs))
    differs = not pairs[0].same_code if step else any(one.differs for one in pairs)
    context.exit(1 if differs else 0)


def _parting(repo: Repo, pairs: list[StepPair]) -> Iterator[str]:
    """What differs by itself, then what follows from that."""
    differing = [one for one in pairs if one.differs]
    if not differing:
        yield f"No step differs: {render.count(len(pairs), 'step')}, made the same"
        return
    for one in differing:
        if one.old is None or one.new is None or one.causes:
            yield from _step_lines(repo, one)
    rest = [one for one in differing if one.follows]
    rows = [[one.name, f"by {', '.join(one.follows)}"] for one in rest]
    if rows:
        yield "follow from that"
        yield from render.table(rows, indent="  ")


def _step_lines(repo: Repo, one: StepPair) -> Iterator[str]:
    """A step on both sides: its code ids, and what differs of its own."""
    name = paint("head", one.name)
    if one.old is None or one.new is None:
        side, entry = ("the second", one.new) if one.new else ("the first", one.old)
        yield f"{name} is in {side} alone" + (f": {repo.short(entry.id)}" if entry else "")
        return
    ids = [entry.record.code_id[:12] for entry in (one.old, one.new)]
    executions = " and ".join(repo.short(entry.id) for entry in (one.old, one.new))
    if one.same_code:
        yield f"{name}: the same code {paint('code', ids[0])} in {executions}"
    else:
        yield f"{name}: code {paint('code', ids[0])} → {paint('code', ids[1])} in {executions}"
    rows = [[change.part, _values(one.old, one.new, change.part)] for change in one.causes]
    yield from render.table(rows, indent="  ")


def _values(old: StepEntry, new: StepEntry, part: str) -> str:
    """What a part of a key was on both sides, where the records have it."""
    kind, _, name = part.partition(" ")
    if kind == "parameter":
        both = [entry.record.parameters.get(name) for entry in (old, new)]
        return " → ".join("" if one is None else render.value(one) for one in both).strip()
    if kind in ("input", "load"):
        return " → ".join(_given(entry, name) for entry in (old, new))
    return ""


def _given(entry: StepEntry, name: str) -> str:
    found: list[Input] = [
        one for one in (*entry.record.inputs, *entry.record.loads) if one.name == name
    ]
    return f"{found[0].artifact or found[0].name}@{found[0].digest.short}" if found else "nothing"


def _pair_document(one: StepPair) -> dict[str, Any]:
    return {
        "name": one.name,
        "differs": one.differs,
        "same_code": one.same_code,
        "old": _entry_document(one.old),
        "new": _entry_document(one.new),
        "causes": [{"part": cause.part, "how": cause.how} for cause in one.causes],
        "follows": list(one.follows),
    }


def _entry_document(entry: StepEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    record = entry.record
    return {"commit": str(entry.id), "pipeline": record.pipeline, "code_id": record.code_id}


def _tree(repo: Repo, root: Ancestor, lead: str, below: str) -> Iterator[str]:
    """The lines of a record and of what it was made of, behind the lines that lead to them.

    No recursion: a chain of steps may be longer than Python's stack.
    """
    waiting = [(root, lead, below, "")]
    while waiting:
        one, lead, below, role = waiting.pop()
        yield f"{lead}{_words(repo, one, role)}"
        for place, above in reversed(list(enumerate(one.made_of, 1))):
            last = place == len(one.made_of)
            branch, trunk = ("└─ ", "   ") if last else ("├─ ", "│  ")
            waiting.append((above, below + branch, below + trunk, above.role))


def _words(repo: Repo, one: Ancestor, as_role: str) -> str:
    commit = paint("dim", repo.short(one.commit))
    role = f"  {paint('dim', f'as {as_role}')}" if as_role else ""
    again = paint("dim", "  (see above)") if one.repeated else ""
    if one.kind == "version":
        label = repo.version_of(one.commit).label
        what = f"{paint('version', render.VERSION)} {paint('version', label)}"
    elif one.kind == "source":
        what = f"{paint('artifact', render.ARTIFACT)} data {one.label}"
    elif one.kind == "missing":
        what = f"{paint('failed', render.FAILED)} not in this clone"
    else:
        what = f"{paint('run', render.RUN)} {one.kind} {one.label}"
    revoked = repo.parts.revoked(one.commit) if one.kind != "missing" else ()
    mark = f"  {paint('failed', '[revoked]')}" if revoked else ""
    return f"{what} {commit}{role}{mark}{again}"
