"""``gitml ci``: the workflow files of continuous integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.cli.invocation import dry_run_option, with_repo

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.group(cls=Noun)
def ci() -> None:
    """Write the workflow that carries out what was merged.

    It also reports on pull requests what merging them would do.

    \b
    gitml ci init github
    gitml ci init gitlab --dry-run
    """


@ci.command("init")
@click.argument("kind", type=click.Choice(["github", "gitlab", "forgejo", "gitea"]))
@dry_run_option
@with_repo
def init_ci(repo: Repo, kind: str, dry_run: bool) -> None:
    """Write a workflow file for promotion by pull request.

    It comments on requests that change wishes, and runs `gitml stage apply` when they are merged.
    It is yours to change; a file that is there is left alone.

    \b
    gitml ci init github
    gitml ci init forgejo --dry-run
    """
    path, made, is_new = repo.write_workflow(kind, dry_run=dry_run)
    if not is_new:
        render.answer(f"Nothing to do: {path} is in place")
        return
    if dry_run:
        render.answer(*made.text.splitlines())
        return
    render.answer(f"Wrote {path}")
    if path == made.elsewhere:
        render.tell(f"Next: add the line `{made.include}` to {made.path}")
    for step in made.next_steps:
        render.tell(f"On the forge: {step}")
