"""``gitml init``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from gitml.cli import render
from gitml.cli.checkout import move_lines
from gitml.cli.fetch import brought_parts
from gitml.errors import GitmlError


@click.command()
@click.argument("folder", default=".", metavar="[DIR]")
def init(folder: str) -> None:
    """Prepare this repository for gitml.

    Writes `gitml.toml`, which belongs in git. Where there is no git repository, one is made first.
    In a clone that plain git made it brings the records and the data. Done twice, it changes
    nothing.

    \b
    gitml init
    gitml init churn
    """
    from gitml.repo import Repo

    repo, written = Repo.init(Path(folder), environment=os.environ)
    file = render.path(repo.config.path)
    if not written:
        try:
            done = repo.complete_clone()
        except GitmlError as error:
            render.tell(f"The records of the git remote are not here yet: {error.message}")
            render.tell("Next: `gitml pull` brings them")
            return
        if done is None:
            render.answer(f"Nothing to do: {file} is there already")
            return
        render.answer(*(line for move in done.data for line in move_lines(move, dry_run=False)))
        brought = ", ".join(brought_parts(done.fetched)) or "no records"
        render.answer(f"Completed the clone of {done.fetched.remote}: {brought}")
        if done.absent is not None:
            raise done.absent
        return
    render.answer(f"Wrote {file}")
    go = f"cd {shlex.quote(render.path(repo.root))} && " if repo.root != Path.cwd() else ""
    render.tell(f"Next: `{go}git add gitml.toml && git commit -m 'gitml init'`")
