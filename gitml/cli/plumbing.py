"""What git calls: ``gitml merge-driver`` and ``gitml textconv``. Not for people."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import with_repo
from gitml.entities.pointer import SUFFIX

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command("merge-driver")
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("theirs", type=click.Path(path_type=Path))
@click.argument("path")
@click.pass_context
@with_repo
def merge_driver(
    repo: Repo, context: click.Context, base: Path, ours: Path, theirs: Path, path: str
) -> None:
    """Merge two pointers, called by git: the files behind them are merged as git merges trees.

    The result is written over OURS. Exits with 1 when there is a conflict.

    \b
    git config merge.gitml.driver 'gitml merge-driver %O %A %B %P'
    """
    sides = (base.read_bytes(), ours.read_bytes(), theirs.read_bytes())
    merged = repo.merge_pointers(*sides, path.removesuffix(SUFFIX))
    ours.write_bytes(merged.data)
    for one in merged.conflicts:
        render.tell(f"CONFLICT (data): {one}")
    if merged.is_partial:
        name = shlex.quote(path.removesuffix(SUFFIX))
        render.tell(f"Next: `gitml checkout {name}` brings what merged, of both sides")
    context.exit(1 if merged.conflicts else 0)


@click.command("textconv")
@click.argument("file", type=click.Path(path_type=Path))
@with_repo
def textconv(repo: Repo, file: Path) -> None:
    """Print a pointer with the files of its folder, called by `git diff`.

    \b
    git config diff.gitml.textconv 'gitml textconv'
    """
    render.answer(*repo.described_pointer(file.read_bytes()))
