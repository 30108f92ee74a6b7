"""``gitml tag``: add, remove, list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.group(cls=Noun)
def tag() -> None:
    """Put tags on runs, artifacts and versions.

    They are notes: the record keeps its id, and after a sync both clones have what was added and
    taken off in either. git's own tags are something else.

    \b
    gitml tag add clf@v3 baseline
    gitml tag list
    """


@tag.command("add")
@click.argument("name")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@with_repo
def add_tags(repo: Repo, name: str, tags: tuple[str, ...]) -> None:
    """Put tags on a run, an artifact or a version.

    A tag of an artifact is on its bytes, whichever run made them.

    \b
    gitml tag add clf@v3 baseline 'for the paper'
    gitml tag add features@9c41f07b checked
    """
    label, new = repo.add_tags(name, tags)
    there = [one for one in dict.fromkeys(tags) if one not in new]
    if new:
        render.answer(f"Tagged {paint('version', label)} with {', '.join(new)}")
    if there:
        render.tell(f"{label} has {', '.join(there)} already")


@tag.command("remove")
@click.argument("name")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@with_repo
def remove_tags(repo: Repo, name: str, tags: tuple[str, ...]) -> None:
    """Take tags off a run, an artifact or a version.

    \b
    gitml tag remove clf@v3 baseline
    gitml tag remove training nightly
    """
    label = repo.remove_tags(name, tags)
    render.answer(f"Took {', '.join(dict.fromkeys(tags))} off {paint('version', label)}")


@tag.command("list")
@click.argument("name", required=False)
@click.option("--tag", "wanted", metavar="TAG", help="List what carries this tag.")
@json_option
@with_repo
def list_tags(repo: Repo, name: str | None, wanted: str | None, as_json: bool) -> None:
    """List the tags of one thing, or all tags with what carries them.

    \b
    gitml tag list clf@v3
    gitml tag list --tag baseline
    """
    if name is not None:
        if wanted is not None:
            raise UsageError("a name and `--tag` ask different things", hint="one of them")
        found = repo.tags(name)
        if as_json:
            render.answer_json("tag.list", {"name": name, "tags": list(found)})
        elif found:
            render.answer(*found)
        else:
            render.tell(f"{name} has no tags")
        return
    things = repo.everything_tagged(wanted)
    if as_json:
        listed = [
            {"tag": one.tag, "kind": one.kind, "name": one.name, "commit": str(one.commit)}
            for one in things
        ]
        render.answer_json("tag.list", {"tagged": listed})
        return
    rows = [[one.tag, one.kind, paint("version", one.name)] for one in things]
    render.answer_rows(rows, ["tag", "kind", "of"], nothing="Nothing has a tag: `gitml tag add`")
