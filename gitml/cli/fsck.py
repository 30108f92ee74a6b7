"""``gitml fsck`` and ``gitml reindex``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import CorruptData

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@json_option
@with_repo
def fsck(repo: Repo, as_json: bool) -> None:
    """Check every record and every stored byte.

    Every record is read again from git and every blob is hashed again; nothing is changed. Each
    problem names the versions that it affects. Exit code 12 when there is any, except for damaged
    copies of bytes of which a whole copy is left.

    \b
    gitml fsck
    gitml fsck --json
    """
    report = repo.fsck()
    looked_at = f"{render.count(report.records, 'record')} and {render.count(report.blobs, 'blob')}"
    if as_json:
        document = {
            "records": report.records,
            "blobs": report.blobs,
            "problems": [asdict(one) for one in report.problems],
        }
        render.answer_json("fsck", document)
    elif report.problems:
        rows = [
            [paint("failed", one.kind), one.what, one.detail, ", ".join(one.affects)]
            for one in report.problems
        ]
        render.answer(*render.table(rows, ["problem", "where", "what is wrong", "affects"]))
    else:
        render.answer(f"Checked {looked_at}: all is well")
    harmful = [one for one in report.problems if not one.is_harmless]
    if harmful:
        raise CorruptData(f"{render.count(len(harmful), 'problem')} in {looked_at}")
    if report.problems:
        render.tell(f"Nothing is lost: {looked_at} are whole, damaged copies are passed over")
        render.tell("Next: `gitml reindex` makes damaged indexes again")


@click.command()
@with_repo
def reindex(repo: Repo) -> None:
    """Make the index again from git alone.

    The index is a cache of the records: deleting it loses nothing, and a stale one heals itself.
    This is for the case that you do not believe it.

    \b
    gitml reindex
    gitml fsck
    """
    render.answer(f"Indexed {render.count(repo.reindex(), 'ref')}")
