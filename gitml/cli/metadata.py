"""``gitml metadata``: set, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.parameters import from_options
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.group(cls=Noun)
def metadata() -> None:
    """Note facts on a record, and read them.

    A note rewrites nothing: the record keeps its id, and both clones have both notes after a sync.

    \b
    gitml metadata set clf@v2 live_accuracy=0.91
    gitml metadata show clf@v2
    """


@metadata.command("set")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE…")
@with_repo
def set_metadata(repo: Repo, name: str, values: tuple[str, ...]) -> None:
    """Note facts on a version, a run, a step, an artifact or a source.

    A value is JSON when it parses as JSON, else text. The newest note of a key counts. One on an
    artifact is about its bytes, whichever run made them.

    \b
    gitml metadata set clf@v2 live_accuracy=0.91 reviewed=true
    gitml metadata set training comment='the seed was wrong'
    """
    given = {key: typed.parsed for key, typed in from_options(values, "reviewed=true").items()}
    label = repo.set_metadata(name, given)
    render.answer(f"Noted {', '.join(given)} on {paint('version', label)}")


@metadata.command("show")
@click.argument("name")
@json_option
@with_repo
def show_metadata(repo: Repo, name: str, as_json: bool) -> None:
    """Show what was logged on a record and noted on it later.

    \b
    gitml metadata show clf@v2
    gitml metadata show training --json
    """
    found = repo.metadata(name)
    if as_json:
        render.answer_json("metadata.show", {"metadata": found})
        return
    if not found:
        render.tell(f"Nothing is noted on {name}")
    render.answer(*render.pairs((key, render.value(one)) for key, one in sorted(found.items())))
