"""``gitml maintenance``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, json_option, with_repo

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.store.maintenance import Maintenance


@click.command()
@dry_run_option
@json_option
@with_repo
def maintenance(repo: Repo, dry_run: bool, as_json: bool) -> None:
    """Store the same bytes in less room and fewer files.

    Versions of one data file, or of one artifact, are stored by how they differ from the version
    before, also where an edit left no part of the file alone. Many small packs become one, and so
    do git's. Nothing is lost on the way: what is new is read back before the old is removed, and
    what is interrupted goes on the next time. It costs time, so it is for the night or the weekend.

    \b
    gitml maintenance --dry-run
    gitml maintenance
    """
    done = repo.maintenance(dry_run=dry_run)
    if as_json:
        render.answer_json("maintenance", {**asdict(done), "dry_run": dry_run})
        return
    render.answer(_summary(done, dry_run))
    if done.waiting:
        render.tell(
            f"Next: `gitml gc` frees {render.size(done.waiting)}, which others may be using"
        )


def _summary(done: Maintenance, dry_run: bool) -> str:
    counts = [
        (done.deltas, "difference"),
        (done.packed, "loose file"),
        (done.merged, "small pack"),
    ]
    parts = [render.count(number, noun) for number, noun in counts if number]
    if not parts:
        return "Nothing to save"
    verb = "Would save" if dry_run else "Saved"
    sizes = f"{render.size(done.after)} instead of {render.size(done.before)}"
    return f"{verb} {render.size(max(0, done.before - done.after))}: {', '.join(parts)}, {sizes}"
