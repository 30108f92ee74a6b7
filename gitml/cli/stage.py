"""``gitml stage``: list, log, clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import documents, render
from gitml.cli.describe import event_table
from gitml.cli.group import Noun
from gitml.cli.invocation import (
    dry_run_option,
    json_option,
    reason_given,
    reason_option,
    remote_option,
    with_repo,
)
from gitml.cli.promote import moved_line
from gitml.cli.render import paint
from gitml.errors import NameNotFound
from gitml.history.record import seconds_of

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.group(cls=Noun)
def stage() -> None:
    """List stages and their history, clear one, end a fork.

    A stage is any name of your own, `staging` and `production` to begin with. It moves by `gitml
    promote` and `gitml rollback`, and every move is an immutable tag.

    \b
    gitml stage list
    gitml stage log clf production
    """


@stage.command("list")
@click.argument("model", required=False)
@json_option
@with_repo
def list_stages(repo: Repo, model: str | None, as_json: bool) -> None:
    """List the stages with their holders.

    \b
    gitml stage list
    gitml stage list clf
    """
    states = [repo.model(model)] if model is not None else repo.models()
    if as_json:
        listed = [
            {"model": one.name, "stage": name, "holder": documents.event_document(one, moves[-1])}
            for one in states
            for name, moves in sorted(one.stages.items())
        ]
        render.answer_json("stage.list", {"stages": listed})
        return
    rows = []
    for one in states:
        for name, moves in sorted(one.stages.items()):
            last = moves[-1].promotion
            holder = paint("version", one.label(last.version)) if last.version else "vacant"
            who = moves[-1].tagger.partition(" <")[0]
            when = render.ago(seconds_of(last.at))
            rows.append([one.name, paint("stage", name), holder, when, who, last.reason])
    header = ["model", "stage", "holder", "since", "by", "why"]
    render.answer_rows(rows, header, nothing="No version holds a stage yet")


@stage.command("log")
@click.argument("model")
@click.argument("stage", required=False)
@json_option
@with_repo
def log_stage(repo: Repo, model: str, stage: str | None, as_json: bool) -> None:
    """Show every move of a model's stages, newest first: who, when, why, from which version.

    \b
    gitml stage log clf
    gitml stage log clf production
    """
    state = repo.model(model)
    if stage is not None and stage not in state.stages:
        raise NameNotFound.among(f"stage of {model}", stage, state.stages)
    chosen = [stage] if stage is not None else sorted(state.stages)
    events = [event for name in chosen for event in state.stages[name]]
    if as_json:
        newest_first = sorted(events, key=lambda one: one.promotion.at, reverse=True)
        listed = [documents.event_document(state, event) for event in newest_first]
        render.answer_json("stage.log", {"events": listed})
        return
    if events:
        render.answer(*event_table(state, events))
    else:
        render.tell(f"No version of {model} was ever promoted")


@stage.command("clear")
@click.argument("model")
@click.argument("stage")
@reason_option
@remote_option
@dry_run_option
@with_repo
def clear_stage(
    repo: Repo, model: str, stage: str, reason: str | None, remote: str | None, dry_run: bool
) -> None:
    """Take a stage from its holder, so that nothing holds it.

    Whoever loads that stage then gets an error, never another version. The vacancy is a move of its
    own: `gitml rollback` brings the holder back.

    \b
    gitml stage clear clf staging -m 'the trial is over'
    gitml rollback clf staging
    """
    why = reason if dry_run else reason_given(reason, f"gitml stage clear {model} {stage}")
    move = repo.clear_stage(model, stage, why or "", remote=remote, dry_run=dry_run)
    render.answer(moved_line("Would clear" if dry_run else "Cleared", move))


@stage.command("repair")
@click.argument("model")
@click.argument("stage")
@dry_run_option
@with_repo
def repair_stage(repo: Repo, model: str, stage: str, dry_run: bool) -> None:
    """End a fork: two clones have moved a stage at once, each without the other.

    The moves on the git remote stay, those of this clone are set aside. Promote again what you
    still mean.

    \b
    gitml fetch
    gitml stage repair clf production
    """
    moved = repo.repair_stage(model, stage, dry_run=dry_run)
    verb = "Would set aside" if dry_run else "Set aside"
    render.answer(f"{verb} {', '.join(paint('dim', one) for one in moved)}")
    if not dry_run:
        render.tell(f"Next: `gitml stage log {model} {stage}` shows the moves that stay")
