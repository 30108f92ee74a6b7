"""``gitml pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.checkout import move_lines
from gitml.cli.fetch import brought_parts, tell_clashes
from gitml.cli.invocation import remote_option, with_repo

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.option("--all-data", is_flag=True, help="Bring the bytes of every artifact, too.")
@click.option("--last", type=int, default=0, metavar="N", help="Bring those of the last N runs.")
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Bring those of the artifacts and data whose names match.",
)
@click.option("--force", is_flag=True, help="Throw away local changes of data that are in the way.")
@remote_option
@with_repo
def pull(
    repo: Repo,
    all_data: bool,
    last: int,
    include: tuple[str, ...],
    force: bool,
    remote: str | None,
) -> None:
    """Bring branch, records and data.

    They come to where the remote is. The branch moves forward only; where both sides have commits,
    `git pull` merges or rebases. The data of the branch's pointers is checked out, each file
    checked against its digest. Artifacts of runs come when they are read, so that nobody loads
    what nobody needs.

    \b
    gitml pull
    gitml pull --last 3
    """
    with render.Progress() as progress:
        done = repo.pull(
            remote,
            everything=all_data,
            last=last,
            include=include,
            force=force,
            tell=progress.tell,
            moved=progress.moved("Receiving"),
        )
    tell_clashes(done.fetched)
    render.answer(*(line for move in done.data for line in move_lines(move, dry_run=False)))
    parts = list(brought_parts(done.fetched))
    if done.forwarded is not None:
        parts.insert(0, f"{repo.git.branch()} to {done.forwarded.short}")
    if done.brought:
        parts.append(f"the bytes of {render.count(done.brought, 'object')}")
    nothing = f"Nothing new on {done.fetched.remote}"
    render.answer(f"Pulled {', '.join(parts)} from {done.fetched.remote}" if parts else nothing)
