"""``gitml init``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.checkout import move_lines
from gitml.cli.fetch import brought_parts
from gitml.errors import GitmlError

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument("folder", default=".", metavar="[DIR]")
@click.option(
    "--template",
    metavar="NAME|PATH",
    help="Begin with the files of a template: `starter`, or a folder of yours.",
)
def init(folder: str, template: str | None) -> None:
    """Prepare this repository for gitml.

    Writes `gitml.toml`, which belongs in git. Where there is no git repository, one is made first.
    In a clone that plain git made it brings the records and the data. Done twice, it changes
    nothing.

    With a template, DIR has to be empty, and the files are copied there. `{{ name }}` in them and
    in their paths becomes the name of DIR, `{{ module }}` the same as Python's names are.

    \b
    gitml init
    gitml init --template starter churn
    """
    from gitml.repo import Repo

    if template is not None:
        _make(template, Path(folder))
        return
    had_git = (Path(folder) / ".git").exists()
    repo, written = Repo.init(Path(folder), environment=os.environ)
    if not had_git and (Path(folder) / ".git").exists():
        render.answer(f"Made a git repository in {render.path(repo.root)}")
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
    render.tell(f"Next: `{_going_to(repo)}git add gitml.toml && git commit -m 'gitml init'`")


def _make(template: str, folder: Path) -> None:
    """Make a project of a template, and say where it is."""
    from gitml import templates
    from gitml.repo import Repo

    templates.make(template, folder)
    repo, _ = Repo.init(folder, environment=os.environ)
    render.answer(f"Made {render.path(repo.root)} of the template {template}")
    render.tell(f"Next: `{_going_to(repo)}git add --all && git commit -m 'gitml init'`")


def _going_to(repo: Repo) -> str:
    return f"cd {shlex.quote(render.path(repo.root))} && " if repo.root != Path.cwd() else ""
