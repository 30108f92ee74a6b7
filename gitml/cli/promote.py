"""``gitml promote`` and ``gitml rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import (
    dry_run_option,
    reason_given,
    reason_option,
    remote_option,
    with_repo,
)
from gitml.cli.publishing import asking
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.promotion.promote import Move
    from gitml.repo import Repo


@click.command()
@click.argument("version")
@click.argument("stage")
@reason_option
@click.option("--retry", is_flag=True, help="Promote all the same when somebody else was first.")
@click.option("--local", is_flag=True, help="Keep it here; the next `gitml push` promotes.")
@click.option("--yes", is_flag=True, help="Publish code that is on no branch without asking.")
@remote_option
@dry_run_option
@with_repo
def promote(
    repo: Repo,
    version: str,
    stage: str,
    reason: str | None,
    retry: bool,
    local: bool,
    yes: bool,
    remote: str | None,
    dry_run: bool,
) -> None:
    """Give a stage to a model version.

    Who, when, why and from which version are kept for ever in the annotated tag
    `MODEL@STAGE/N`. A stage has one holder; the former one is archived unless it holds another.
    Where there is a git remote the tag is made there first, so that only one of two can win; a
    version that is not there yet is pushed before.

    \b
    gitml promote clf@v2 production -m 'better on the tail'
    gitml promote clf@latest staging -m 'try it'
    """
    why = reason if dry_run else reason_given(reason, f"gitml promote {version} {stage}")
    move = repo.promote(
        version,
        stage,
        why or "",
        remote=remote,
        retry=retry,
        local=local,
        confirm=asking(yes, f"gitml promote {version} {stage}"),
        dry_run=dry_run,
    )
    if move.tag.startswith("refs/gitml/pending/"):
        verb = "Would keep" if dry_run else "Kept"
        render.answer(f"{verb} the promotion of {paint('version', str(move.version))} to {stage}")
        render.tell("Next: `gitml push` promotes, once the git remote can be reached")
        return
    if not move.moved:
        render.answer(f"Nothing to do: {move.version} holds {stage} already")
        return
    render.answer(moved_line("Would promote" if dry_run else "Promoted", move))
    if not dry_run:
        render.tell(f"To revert: `gitml rollback {move.model} {stage}`")


@click.command()
@click.argument("model")
@click.argument("stage")
@click.option("-m", "--message", "reason", metavar="WHY", help="Say why.")
@remote_option
@dry_run_option
@with_repo
def rollback(
    repo: Repo, model: str, stage: str, reason: str | None, remote: str | None, dry_run: bool
) -> None:
    """Give a stage back to its last holder.

    It is a promotion like any other, so the history keeps both moves. Done again, it goes one
    holder further back.

    \b
    gitml rollback clf production
    gitml rollback clf production -m 'too slow'
    """
    move = repo.rollback(model, stage, reason, remote=remote, dry_run=dry_run)
    render.answer(moved_line("Would roll back" if dry_run else "Rolled back", move))


def moved_line(verb: str, move: Move) -> str:
    """What a move did, in one line."""
    holder = paint("version", move.version or "vacant")
    stage = paint("stage", move.stage)
    if move.version is None:
        text = f"{verb} {stage} of {move.model}"
    elif verb in ("Rolled back", "Would roll back"):
        text = f"{verb} {stage} of {move.model} to {holder}"
    else:
        text = f"{verb} {holder} to {stage}"
    before = f" (was {move.before.rpartition('@')[2]})" if move.before else ""
    return f"{text}{before}  {paint('dim', f'tag {move.tag}')}"
