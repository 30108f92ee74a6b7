"""``gitml drop``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, json_option, with_repo

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@dry_run_option
@json_option
@with_repo
def drop(repo: Repo, dry_run: bool, as_json: bool) -> None:
    """Free the space of bytes that a remote has.

    The remote is asked now, down to the last part of every file; what is not there for certain
    stays. The files of the working tree stay, too. What is dropped comes back when something reads
    it.

    \b
    gitml drop --dry-run
    gitml drop
    """
    done = repo.drop(dry_run=dry_run)
    if as_json:
        document = {"freed": done.freed, "kept": done.kept, "acts": [asdict(a) for a in done.acts]}
        render.answer_json("drop", {**document, "dry_run": dry_run})
        return
    freed = sum(act.size for act in done.acts if act.deed == "deleted") if dry_run else done.freed
    verb = "Would free" if dry_run else "Freed"
    render.answer(f"{verb} {render.size(freed)}; {render.size(done.kept)} stay")
