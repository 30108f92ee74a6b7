"""``gitml mv``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE…", type=click.Path(path_type=Path)
)
@click.argument("target", type=click.Path(path_type=Path))
@dry_run_option
@with_repo
def mv(repo: Repo, sources: tuple[Path, ...], target: Path, dry_run: bool) -> None:
    """Move data with its pointer.

    Data, pointer and the line in `.gitignore` move together, and git's index is told. Into a folder
    that is there, or to a new name. No byte is read.

    \b
    gitml mv data/raw.csv data/2026.csv
    gitml mv data/raw.csv data/labels archive
    """
    for one in repo.move(sources, target, dry_run=dry_run):
        word = "Would move" if dry_run else "Moved"
        render.answer(f"{word} {paint('artifact', one.source)} to {paint('artifact', one.target)}")
