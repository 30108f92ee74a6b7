"""``gitml delete``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import confirmed, dry_run_option, reason_given, reason_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument("name", metavar="VERSION|RUN")
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@with_repo
def delete(repo: Repo, name: str, reason: str | None, yes: bool, dry_run: bool) -> None:
    """Delete a model version or a run.

    A version that holds a stage is not deleted. A deleted one is hidden from every reader, and its
    number is never given again; its commits stay in git. A run can be deleted while no version
    descends from it. Neither frees bytes by itself. What was pushed is deleted for everybody, at
    once.

    \b
    gitml delete clf@v2 -m 'trained on the wrong split'
    gitml delete 7f3a9c1 -m 'a test' --yes
    """
    planned = repo.delete(name, reason or "", dry_run=True)
    where = f", here and on {planned.remote}" if planned.remote is not None else ""
    what = f"the {planned.kind} {paint('version', planned.label)}{where}"
    if dry_run:
        render.answer(f"Would delete {what}")
        return
    why = reason_given(reason, f"gitml delete {name}")
    confirmed(f"deleting {planned.label}{where}", yes, f"gitml delete {name} -m {shlex.quote(why)}")
    repo.delete(name, why)
    render.answer(f"Deleted {what}")
