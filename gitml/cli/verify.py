"""``gitml verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument("name")
@click.option("--accept", is_flag=True, help="Forget what was seen of the stage before.")
@json_option
@with_repo
def verify(repo: Repo, name: str, accept: bool, as_json: bool) -> None:
    """Verify a stage's moves, or a version's roots.

    Of a stage every move is looked at, from the first to the last: that none is missing or altered,
    that it is signed as the policy asks, and that it is not behind what you have seen of it before,
    in any clone. Of a version, and of the one that holds the stage, every record is looked at that
    it was made of. The first that does not hold is named, with exit code 5. Whose keys count
    stands on the main branch.

    \b
    gitml verify clf@production
    gitml verify clf@v3
    """
    found = repo.verify(name, accept=accept)
    if as_json:
        links = [
            {
                "tag": one.name,
                "version": one.what,
                "signature": one.signature.state,
                "by": one.signature.who or None,
                "key": one.signature.key or None,
            }
            for one in found.links
        ]
        render.answer_json("verify", {"name": found.name, "links": links, "records": found.records})
        return
    rows = [
        [paint("stage", one.name), paint("version", one.what), one.signature.words]
        for one in found.links
    ]
    if rows:
        render.answer(*render.table(rows))
    moves = f"{render.count(len(found.links), 'tag')}, {render.count(found.records, 'record')}"
    render.answer(f"Verified {paint('version', found.name)}: {moves}")
