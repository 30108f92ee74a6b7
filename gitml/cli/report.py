"""``gitml report``: the comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, remote_option, with_repo

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument("number", required=False, type=click.IntRange(min=1))
@remote_option
@dry_run_option
@with_repo
def report(repo: Repo, number: int | None, remote: str | None, dry_run: bool) -> None:
    """Comment on a pull request: what becomes of its wishes.

    For each wish that the branch changes: what each check of the policy found, the version compared
    with the holder, and how it was made. Running it again changes the one comment. In a workflow
    the number of the request is known. Exit code 3 where a policy says no, so that it can be a
    required check.

    \b
    gitml report
    gitml report 12 --dry-run
    """
    done = repo.report(number, remote=remote, dry_run=dry_run)
    if not done.planned:
        render.answer("Nothing to report: this branch changes no wish")
        return
    if dry_run:
        render.answer(*done.text.splitlines())
    else:
        render.answer(f"Reported on {_wishes(len(done.planned))}  {done.url}")
    for one in done.planned:
        error = one.refusal()
        if error is not None:
            raise error


def _wishes(count: int) -> str:
    return "1 wish" if count == 1 else f"{count} wishes"
