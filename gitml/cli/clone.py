"""``gitml clone``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from gitml.cli import render
from gitml.cli.checkout import move_lines


@click.command()
@click.argument("url")
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--no-data", is_flag=True, help="Leave the data; `gitml checkout` gets it later.")
def clone(url: str, folder: Path | None, no_data: bool) -> None:
    """Clone a repository with its records and data.

    `git clone`, and in it `gitml init`, ends in the same state. Artifacts of runs come when they
    are read. A clone that broke off is finished by the same command. Where data cannot be had, the
    clone is there without it, and the exit status says why.

    \b
    gitml clone git@example.org:team/churn.git
    gitml clone https://example.org/team/churn.git here --no-data
    """
    from gitml.repo import Repo

    with render.Progress() as progress:
        repo, done = Repo.clone(
            url,
            folder,
            data=not no_data,
            environment=os.environ,
            tell=progress.tell,
            moved=progress.moved("Receiving"),
        )
    try:
        render.answer(*(line for move in done.data for line in move_lines(move, dry_run=False)))
        runs, versions = len(repo.runs()), sum(len(one.visible) for one in repo.models())
        parts = [render.count(runs, "run"), render.count(versions, "version")]
        place = render.path(repo.root)
        render.answer(f"Cloned {', '.join(parts)} into {place}")
        render.tell(f"Next: `cd {shlex.quote(place)}`")
        if done.absent is not None:
            raise done.absent
    finally:
        repo.close()
