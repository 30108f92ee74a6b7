"""``gitml rm``."""

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
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@click.option(
    "--keep", "--cached", "keep", is_flag=True, help="Leave the data; take only its pointer away."
)
@click.option("-r", "recursive", is_flag=True, help="Take the data of all pointers in a folder.")
@click.option("--force", is_flag=True, help="Also remove what is nowhere else.")
@dry_run_option
@with_repo
def rm(
    repo: Repo, paths: tuple[Path, ...], keep: bool, recursive: bool, force: bool, dry_run: bool
) -> None:
    """Remove data with its pointer.

    The data, its pointer and its line in `.gitignore` go, and git's index is told. The bytes stay
    in the store as long as a commit names them, so `git restore` and `gitml checkout` bring the
    data back. Changes that are not in the store are refused.

    \b
    gitml rm data/raw.csv
    gitml rm --keep data/images
    """
    found = repo.remove(paths, keep=keep, recursive=recursive, force=force, dry_run=dry_run)
    for one in found:
        word = "Would remove" if dry_run else "Removed"
        what = "the pointer of " if one.kept else ""
        render.answer(f"{word} {what}{paint('artifact', one.path)}")
