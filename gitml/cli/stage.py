"""``gitml stage``: list, log, plan, apply, clear, repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import documents, render
from gitml.cli.describe import event_table, holder_mark
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
    from gitml.promotion.planning import PlannedMove
    from gitml.promotion.promote import Move
    from gitml.repo import Repo


_NO_WISHES = "There are no wishes: `promotions/MODEL.toml` has them"


@click.group(cls=Noun)
def stage() -> None:
    """List stages, carry out wishes, clear a stage, end a fork.

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
            {
                "model": one.name,
                "stage": name,
                "holder": documents.event_document(one, moves[-1]),
                "unreadable": one.trouble(name),
            }
            for one in states
            for name, moves in sorted(one.stages.items())
        ]
        render.answer_json("stage.list", {"stages": listed})
        return
    rows = []
    for one in states:
        for name, moves in sorted(one.stages.items()):
            last = moves[-1].promotion
            who = moves[-1].tagger.partition(" <")[0]
            when = render.ago(seconds_of(last.at))
            holder = holder_mark(one, name)
            rows.append([one.name, paint("stage", name), holder, when, who, last.reason])
    header = ["model", "stage", "holder", "since", "by", "why"]
    render.answer_rows(rows, header, shorten=(4, 3, 5), nothing="No version holds a stage yet")


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


@stage.command("plan")
@remote_option
@json_option
@with_repo
def plan_stages(repo: Repo, remote: str | None, as_json: bool) -> None:
    """Show what becomes of the wishes in `promotions/`.

    It is what `gitml stage apply` would do if the current branch were merged: the policies are
    those of the git remote's default branch. Exit code 3 where a policy says no.

    \b
    gitml stage plan
    gitml stage plan --json
    """
    planned = repo.plan_stages(remote=remote)
    if as_json:
        render.answer_json("stage.plan", {"wishes": [one.document() for one in planned]})
    else:
        render.answer_rows(
            [_planned_row(one) for one in planned],
            ["model", "stage", "wish", "holder", "state", "why"],
            nothing=_NO_WISHES,
        )
    _raise_first(planned)


@stage.command("apply")
@remote_option
@dry_run_option
@with_repo
def apply_stages(repo: Repo, remote: str | None, dry_run: bool) -> None:
    """Carry out the wishes that stand on the git remote's default branch.

    It promotes where a wish is newer than the last move of its stage and the policy allows it, so a
    roll-back is not undone by the next merge. A continuous integration runs it after each merge;
    running it again does no harm. Exit code 3 where a policy says no.

    \b
    gitml stage apply --dry-run
    gitml stage apply
    """
    verb = "Would promote" if dry_run else "Promoted"

    def tell(planned: PlannedMove, move: Move | None) -> None:
        if move is not None and move.moved:
            render.answer(moved_line(verb, move))
        elif dry_run and planned.what == "promote":
            render.answer(f"{verb} {paint('version', str(planned.label))} to {planned.stage}")
        elif planned.what in ("kept", "held"):
            stage = f"{paint('stage', planned.stage)} of {planned.model}"
            render.answer(f"Left {stage} as it is: {planned.why}")

    planned = repo.apply_stages(remote=remote, dry_run=dry_run, tell=tell)
    if not planned:
        render.answer(_NO_WISHES)
    elif all(one.what == "done" for one in planned):
        render.answer("Nothing to do: every wish is carried out")
    _raise_first(planned)


def _planned_row(planned: PlannedMove) -> list[str]:
    label = {"promote": "add", "done": "good", "refused": "failed", "wrong": "failed"}
    state = paint(label.get(planned.what, "dim"), planned.what)
    wish = paint("version", planned.wish)
    holder = (planned.holder or "").rpartition("@")[2]
    return [planned.model, paint("stage", planned.stage), wish, holder, state, planned.why]


def _raise_first(planned: list[PlannedMove]) -> None:
    """Raise the error of the first wish that is refused or wrong; the others are told."""
    errors = [error for one in planned if (error := one.refusal()) is not None]
    for error in errors[1:]:
        render.tell(f"{paint('failed', 'Also:')} {error.message}")
    if errors:
        raise errors[0]


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
