"""``gitml promote`` and ``gitml rollback``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.invocation import (
    dry_run_option,
    json_option,
    reason_given,
    reason_option,
    remote_option,
    with_store,
)
from gitml.cli.publishing import asking
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.promotion.promote import Move
    from gitml.promotion.verdict import Verdict
    from gitml.repo import Repo
    from gitml.repo.review import Requested


@click.command()
@click.argument("version")
@click.argument("stage")
@reason_option
@click.option("--retry", is_flag=True, help="Promote all the same when somebody else was first.")
@click.option("--local", is_flag=True, help="Keep it here; the next `gitml push` promotes.")
@click.option(
    "--pull-request",
    is_flag=True,
    help="Ask for it by a pull request with the wish, and move nothing.",
)
@click.option("--yes", is_flag=True, help="Publish code that is on no branch without asking.")
@click.option("--verify-bytes", is_flag=True, help="Read every byte of its artifacts before.")
@remote_option
@dry_run_option
@click.option(
    "--md", "as_markdown", is_flag=True, help="Print the verdict of a dry run as Markdown."
)
@json_option
@with_store
def promote(
    repo: Repo,
    version: str,
    stage: str,
    reason: str | None,
    retry: bool,
    local: bool,
    pull_request: bool,
    yes: bool,
    verify_bytes: bool,
    remote: str | None,
    dry_run: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Give a stage to a model version.

    Who, when, why and from which version are kept for ever in the annotated tag
    `MODEL@STAGE/N`. A stage has one holder; the former one is archived unless it holds another.
    Where there is a git remote the tag is made there first, so that only one of two can win; a
    version that is not there yet is pushed before.

    A policy of the stage has to be met (exit code 3). A dry run shows what each of its checks
    found. Where a policy asks for a pull request, `--pull-request` opens one. The bytes of its
    artifacts have to be whole: small ones are read, all of them with `--verify-bytes`.

    \b
    gitml promote clf@v2 production -m 'better on the tail'
    gitml promote clf@v3 production --pull-request -m 'ready'
    """
    if as_markdown and not dry_run:
        raise UsageError(
            "--md shows the verdict of a dry run",
            hint=f"`gitml promote {version} {stage} --dry-run --md`",
        )
    why = reason if dry_run else reason_given(reason, f"gitml promote {version} {stage}")
    import shlex

    again = shlex.join(["gitml", "promote", version, stage, "-m", why or ""])
    repo.verify_bytes = verify_bytes
    if pull_request:
        if retry or local:
            given = "--retry" if retry else "--local"
            raise UsageError(
                f"{given} is about a promotion, and a pull request makes none",
                hint=f"`gitml promote {version} {stage} --pull-request -m WHY`",
            )
        requested = repo.request(
            version,
            stage,
            why or "",
            remote=remote,
            confirm=asking(yes, f"{again} --pull-request"),
            dry_run=dry_run,
        )
        tell_requested(requested, dry_run=dry_run, as_markdown=as_markdown, as_json=as_json)
        return
    move = repo.promote(
        version,
        stage,
        why or "",
        remote=remote,
        retry=retry,
        local=local,
        confirm=asking(yes, again),
        dry_run=dry_run,
    )
    if as_json:
        render.answer_json("promote", _document(move, dry_run=dry_run))
    elif as_markdown and move.verdict is not None:
        render.answer(*move.verdict.markdown().splitlines())
    else:
        _tell(repo, move, dry_run=dry_run)
    if move.verdict is not None and not move.verdict.ok:
        raise move.verdict.refusal()


def _document(move: Move, *, dry_run: bool) -> dict[str, Any]:
    """A promotion as JSON."""
    return {
        "model": move.model,
        "stage": move.stage,
        "version": move.version,
        "before": move.before,
        "tag": move.tag,
        "moved": move.moved and not dry_run,
        "verdict": move.verdict.document() if move.verdict is not None else None,
    }


def _tell(repo: Repo, move: Move, *, dry_run: bool) -> None:
    """Say what a promotion did, or would do."""
    stage = move.stage
    if dry_run and move.verdict is not None and move.verdict.checks:
        render.answer(*verdict_lines(move.verdict))
        if not move.verdict.ok and move.moved:
            return
    if move.tag.startswith("refs/gitml/pending/"):
        verb = "Would keep" if dry_run else "Kept"
        render.answer(f"{verb} the promotion of {paint('version', str(move.version))} to {stage}")
        render.tell("Next: `gitml push` promotes, once the git remote can be reached")
        return
    if not move.moved:
        render.answer(f"Nothing to do: {move.version} holds {stage} already")
        return
    render.answer(moved_line("Would promote" if dry_run else "Promoted", move))
    for one in move.verdict.checks if move.verdict is not None else ():
        if one.ok and one.detail:
            render.tell(f"{one.name}: {one.found}, and {one.detail}")
    if judged := _judged_by(repo, move, dry_run=dry_run):
        render.tell(judged)
    if not dry_run:
        render.tell(f"To revert: `gitml rollback {move.model} {stage}`")


def _judged_by(repo: Repo, move: Move, *, dry_run: bool) -> str:
    """What judged a move, in a line; empty where the stage has no policy, committed or not."""
    verdict = move.verdict
    if verdict is not None and verdict.policy is not None:
        # A dry run has shown every check.
        met = render.count(len(verdict.checks), "check")
        return "" if dry_run and verdict.checks else f"policy of {move.stage}: {met} met"
    if move.stage in repo.config.policies:
        written = f"the policy of {move.stage} in gitml.toml is not committed"
        return f"no policy judged it: {written}"
    return ""


@click.command()
@click.argument("model")
@click.argument("stage")
@click.option("-m", "--message", "reason", metavar="WHY", help="Say why.")
@click.option(
    "--emergency",
    is_flag=True,
    help="Move at once where a pull request is asked for, and hold wishes back.",
)
@remote_option
@dry_run_option
@with_store
def rollback(
    repo: Repo,
    model: str,
    stage: str,
    reason: str | None,
    emergency: bool,
    remote: str | None,
    dry_run: bool,
) -> None:
    """Give a stage back to its last holder.

    It is a promotion like any other, so the history keeps both moves. Done again, it goes one
    holder further back. Where the policy asks for a pull request it opens one, or with
    `--emergency` moves at once: then `gitml stage apply` leaves the stage as it is until a wish
    says what holds it.

    \b
    gitml rollback clf production -m 'too slow'
    gitml rollback clf production --emergency -m 'errors in the shop'
    """
    if emergency and not dry_run:
        reason = reason_given(reason, f"gitml rollback {model} {stage} --emergency")
    if not emergency and repo.needs_request(stage):
        requested = repo.request_back(model, stage, reason, remote=remote, dry_run=dry_run)
        tell_requested(requested, dry_run=dry_run)
        return
    move = repo.rollback(model, stage, reason, remote=remote, emergency=emergency, dry_run=dry_run)
    render.answer(moved_line("Would roll back" if dry_run else "Rolled back", move))
    if emergency and not dry_run:
        file = f"promotions/{model}.toml"
        render.tell(f"Wishes for {stage} are held back until {file} says what holds it")


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """A verdict for people: a line a check, and below them what helps on where one was missed."""
    labels = {"passed": "good", "failed": "failed", "unknown": "warning"}
    rows = [
        [paint(labels[one.state], one.state), one.name, one.expected, one.found]
        for one in verdict.checks
    ]
    yield from render.table(rows, ["", "check", "asked for", "found"])
    helpful = [one for one in verdict.missed if one.detail]
    if helpful:
        yield ""
        yield from (f"{one.name}: {one.detail}" for one in helpful)


def tell_requested(
    requested: Requested, *, dry_run: bool, as_markdown: bool = False, as_json: bool = False
) -> None:
    """Say what became of a request for a stage."""
    planned = requested.planned
    if as_json:
        render.answer_json("request", _requested_document(requested, dry_run=dry_run))
        return
    if as_markdown:
        render.answer(*requested.text.splitlines())
        return
    wish = f"{paint('version', str(planned.label))} to {paint('stage', planned.stage)}"
    if not requested.made:
        render.answer(f"Nothing to do: {requested.base} wishes for {wish} already")
        render.tell("Next: `gitml stage apply` carries it out")
        return
    if dry_run:
        render.answer(f"Would ask for {wish}  {paint('dim', requested.branch)}")
    elif requested.number is not None:
        number = f"#{requested.number}"
        render.answer(f"Asked for {wish} in pull request {number}  {requested.url}")
    elif requested.asked:
        render.answer(f"Asked for {wish} by pushing {requested.branch}  {requested.url}")
    else:
        render.answer(f"Pushed {paint('dim', requested.branch)} for {wish}")
        page = requested.url or f"a pull request of it into {requested.base}"
        render.tell(f"Next: open {page}")
    if planned.verdict is not None and not planned.verdict.ok:
        render.tell(f"Not ready to be merged: {planned.why}")


def _requested_document(requested: Requested, *, dry_run: bool) -> dict[str, Any]:
    """A request as JSON."""
    return {
        "wish": requested.planned.document(),
        "branch": requested.branch,
        "base": requested.base,
        "number": requested.number,
        "url": requested.url,
        "made": requested.made and not dry_run,
    }


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
