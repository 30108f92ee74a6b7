"""``gitml lineage``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gitml.cli import documents, render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.history.lineage import Ancestor
    from gitml.repo import Repo


@click.command()
@click.argument("name")
@json_option
@with_repo
def lineage(repo: Repo, name: str, as_json: bool) -> None:
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
