"""``gitml checkout``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, with_store
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.workspace.checkout import Move
    from gitml.workspace.resolving import Side

_NAMED = 10


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH…]", type=click.Path(path_type=Path))
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Check out only the files that match."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave the files out that match.")
@click.option("--ours", is_flag=True, help="In a conflict, take our side of these files.")
@click.option("--theirs", is_flag=True, help="In a conflict, take their side of these files.")
@click.option("--force", is_flag=True, help="Throw away local changes that are in the way.")
@dry_run_option
@with_store
def checkout(
    repo: Repo,
    paths: tuple[Path, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    ours: bool,
    theirs: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Make data follow the pointers.

    Only what differs is written, each file whole and checked against its digest; what the pointers
    no longer name is removed. Changes of yours that are not in the store are never overwritten
    without `--force`. It does not switch branches: that is `git switch`, and then this.

    Where a model version is checked out (`git checkout clf@v3`, or a clone of that tag alone), its
    artifacts are written beside their pointers, into `.gitml/artifacts`.

    A part of a folder that is chosen with `--include` and `--exclude` stays the part that is
    checked out; `--include '*'` brings the rest. A pattern without a slash means names in any
    folder, one with a slash is relative to the data's folder.

    After a merge with conflicts the data is brought to what merged, with our side of the files that
    both changed; `--ours` and `--theirs` choose for each, and `gitml add` resolves it.

    \b
    gitml checkout data/images --include '*.png'
    gitml checkout --theirs data/images/cat.png
    """
    if (ours or theirs) and (not paths or (ours and theirs) or include or exclude):
        raise UsageError(
            "`--ours` or `--theirs` needs the files whose side it is, and no part of a folder",
            hint="`gitml checkout --theirs PATH`; `gitml status` lists what is in conflict",
        )
    side: Side | None = "ours" if ours else "theirs" if theirs else None
    view = None
    if include or exclude:
        from gitml.workspace.statcache import View

        view = View(include, exclude)
    moves = repo.checkout(paths, view=view, force=force, side=side, dry_run=dry_run)
    lines = [line for move in moves for line in move_lines(move, dry_run=dry_run)]
    render.answer(*(lines or ["Nothing to do: all data is what its pointers say"]))
    if (step := _next(moves)) is not None and not dry_run:
        render.tell(f"Next: {step}")


def _next(moves: Sequence[Move]) -> str | None:
    """What resolves the data that is in conflict; None where none is."""
    clashing = [one for one in moves if one.in_conflict]
    if not clashing:
        return None
    from gitml.workspace.resolving import how_to_choose

    names = " ".join(shlex.quote(one.path) for one in clashing)
    undecided = [file for one in clashing for file in one.undecided]
    choose = f"{how_to_choose(undecided)}; then " if undecided else ""
    return f"{choose}`gitml add {names}`"


def move_lines(move: Move, *, dry_run: bool) -> Iterator[str]:
    """What a checkout did, or would do, with the data of one pointer."""
    would = "would be " if dry_run else ""
    parts = []
    if move.written:
        parts.append(
            f"{render.count(len(move.written), 'file')} {would}written, {render.size(move.size)}"
        )
    if move.removed:
        parts.append(f"{render.count(len(move.removed), 'file')} {would}removed")
    if move.view is not None and parts:
        parts.append("a part of it")
    if parts:
        word = "Would check out" if dry_run else "Checked out"
        if move.is_left:
            word = "Would remove" if dry_run else "Removed"
        yield f"{word} {paint('artifact', move.path)} ({', '.join(parts)})"
    for title, label, paths in (
        ("Lost for good:" if not dry_run else "Would be lost for good:", "failed", move.lost),
        ("Kept with your changes:", "change", move.kept),
        ("In conflict, ours for now:", "failed", move.undecided),
    ):
        for path in paths[:_NAMED]:
            yield f"{paint(label, title)} {path}"
        if len(paths) > _NAMED:
            yield f"{paint(label, title)} {len(paths) - _NAMED} more"
