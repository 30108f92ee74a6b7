"""``gitml init``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gitml.cli import render


@click.command()
@click.argument("folder", default=".", metavar="[DIR]")
def init(folder: str) -> None:
    """Prepare this repository for gitml.

    Writes `gitml.toml`, which belongs in git. Where there is no git repository, one is made first.
    Done twice, it changes nothing.

    \b
    gitml init
    gitml init churn
    """
    from gitml.repo import Repo

    repo, written = Repo.init(Path(folder))
    file = render.path(repo.config.path)
    if not written:
        render.answer(f"Nothing to do: {file} is there already")
        return
    render.answer(f"Wrote {file}")
    go = f"cd {shlex.quote(render.path(repo.root))} && " if repo.root != Path.cwd() else ""
    render.tell(f"Next: `{go}git add gitml.toml && git commit -m 'gitml init'`")
