"""``gitml push``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, remote_option, with_store
from gitml.cli.promote import moved_line
from gitml.cli.publishing import asking, code_lines
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.sync.pushing import Plan


@click.command()
@click.argument("revisions", nargs=-1, metavar="[NAME…]")
@click.option("--runs", is_flag=True, help="Publish all runs, also those that made no version.")
@click.option("--yes", is_flag=True, help="Publish code that is on no branch without asking.")
@remote_option
@dry_run_option
@with_store
def push(
    repo: Repo,
    revisions: tuple[str, ...],
    runs: bool,
    yes: bool,
    remote: str | None,
    dry_run: bool,
) -> None:
    """Publish the branch and model versions.

    Each version goes with all that it was made of. Drafts get their numbers here: the next one that
    nobody has. Runs that made no version stay at home. Names are branches, models, versions, runs
    and saved values; without one the current branch goes, every version and every value that was
    saved by hand.

    \b
    gitml push
    gitml push clf@latest --dry-run
    """
    import shlex

    again = ["gitml", "push", *revisions, *(["--runs"] if runs else [])]
    with render.Progress() as progress:
        plan = repo.push(
            revisions,
            remote=remote,
            runs=runs,
            confirm=asking(yes, shlex.join(again)),
            tell=progress.tell,
            moved=progress.moved("Sending"),
            dry_run=dry_run,
        )
    render.answer(*_numbers(plan, dry_run=dry_run))
    for path in plan.lost:
        render.tell(
            f"{paint('warning', 'Missing:')} {path} was pushed without its bytes; "
            "who has them: `gitml push`"
        )
    for tag in plan.forked:
        render.tell(f"{paint('warning', 'Left:')} {plan.remote} has another {tag}")
    for alias in plan.outrun:
        render.tell(
            f"{paint('warning', 'Left:')} another clone moved {alias} first, and yours does not "
            f"count; `gitml pull` takes that of {plan.remote}"
        )
    if dry_run:
        render.answer(*code_lines(plan))
    render.answer(*(moved_line("Promoted", move) for move in plan.promoted))
    parts = ", ".join(_parts(plan))
    verb = "Would push" if dry_run else "Pushed"
    all_of_it = "all else" if plan.forked or plan.outrun else "everything"
    nothing = f"Nothing to do: {plan.remote} has {all_of_it}"
    if not plan.selection:
        nothing = f"Nothing to do: {repo.git.branch() or 'HEAD'} has no commit yet"
    render.answer(f"{verb} {parts} to {plan.remote}" if parts else nothing)
    for branch in plan.following:
        render.tell(f"{branch} follows {plan.remote}/{branch} from now on")
    if plan.at_home:
        stay = render.count(plan.at_home, "run") + (" stays" if plan.at_home == 1 else " stay")
        render.tell(f"{stay} here: `gitml push --runs` publishes every run")


def _numbers(plan: Plan, *, dry_run: bool) -> Iterator[str]:
    """One line for each version that has its number since now."""
    verb = "would be" if dry_run else "is now"
    for one in plan.numbers:
        if one.is_new and (one.was_draft or one.before is not None):
            before = f"v{one.before}" if one.before is not None else one.commit.short
            label = paint("version", f"{one.model}@v{one.number}")
            yield f"{one.model}@{before} {verb} {label}"


def _parts(plan: Plan) -> Iterator[str]:
    yield from plan.branches
    for names, noun in ((plan.versions, "version"), (plan.tags, "tag")):
        if names:
            yield render.count(len(names), noun)
    for number, noun in ((plan.runs, "run"), (plan.saved, "saved value")):
        if number:
            yield render.count(number, noun)
    if plan.notes:
        yield "metadata"
    if plan.sent:
        yield f"{render.size(plan.sent)} of data"
