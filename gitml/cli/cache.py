"""``gitml cache``: explain, list, clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import documents, render
from gitml.cli.group import Noun
from gitml.cli.invocation import dry_run_option, json_option, with_repo
from gitml.cli.render import paint
from gitml.config import parse_age

if TYPE_CHECKING:
    from gitml.pipelines.explain import Explanation
    from gitml.repo import Repo
    from gitml.repo.pipelines import CachedStep

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@click.group(cls=Noun)
def cache() -> None:
    """List, explain and clear what is reused.

    \b
    gitml cache explain train
    gitml cache clear --pipeline training --older-than 30d
    """


@cache.command("explain")
@click.argument("step", metavar="[PIPELINE.]STEP")
@json_option
@with_repo
def explain(repo: Repo, step: str, as_json: bool) -> None:
    """Say whether a step would be cached if it ran now, and what changed since it last ran.

    Nothing is run, but the file of the pipeline is imported. Parts of the key are named by what
    they are: a function, a parameter, an input, a file; their values are not shown.

    \b
    gitml cache explain train
    gitml cache explain training.train
    """
    found = repo.explain(step, Path.cwd())
    if as_json:
        listed = [_document(one) for one in found]
        render.answer_json("cache.explain", {"steps": listed})
        return
    for one in found:
        render.answer(*_lines(repo, one))


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose among the results."""
    for name, metavar, text in (
        ("--older-than", "AGE", "Only what was made at least so long ago: `30d`, `12h`, `10m`."),
        ("--step", "STEP", "Only results of this step."),
        ("--pipeline", "PIPELINE", "Only results of this pipeline."),
    ):
        command = click.option(name, metavar=metavar, help=text)(command)
    return command


@cache.command("list")
@_chosen
@click.option(
    "-n", "limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most N."
)
@json_option
@with_repo
def list_cached(
    repo: Repo,
    pipeline: str | None,
    step: str | None,
    older_than: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the results that a later run may reuse, newest first.

    A step with the same key takes the newest of them, if its bytes are here and what it read
    besides is unchanged. The size is that of its outputs; the store keeps equal bytes once.

    \b
    gitml cache list
    gitml cache list --pipeline training --older-than 30d
    """
    found = repo.cached_steps(pipeline, step, _age(older_than))
    if as_json:
        render.answer_json("cache.list", {"steps": [_cached(one) for one in found]})
        return
    rows = [
        [
            f"{one.pipeline}.{one.step}",
            one.key[:12],
            render.size(one.size),
            paint("run", repo.short(one.run)) if one.run else "",
            render.ago(one.at),
            "" if one.here else paint("warning", "bytes not here"),
        ]
        for one in found[:limit]
    ]
    header = ["step", "key", "size", "run", "made", ""]
    render.answer_rows(rows, header, right={2}, nothing="No results to reuse")
    if len(found) > limit:
        more = f"`gitml cache list -n {len(found)}`"
        render.tell(f"{len(found) - limit} older ones are left out: {more}")


@cache.command("clear")
@_chosen
@dry_run_option
@json_option
@with_repo
def clear(
    repo: Repo,
    pipeline: str | None,
    step: str | None,
    older_than: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have no later run reuse these results: all that there are, or those that are chosen.

    Only this clone's runs look away: records, versions and bytes stay as they are, and `--from` and
    `--resume` still take what they are told to. A step that runs again makes a new result, which is
    reused. Deleting the file `.git/gitml/cleared` takes all of it back.

    \b
    gitml cache clear --pipeline training --step train
    gitml cache clear --older-than 30d --dry-run
    """
    choose = repo.cached_steps if dry_run else repo.clear_cache
    found = choose(pipeline, step, _age(older_than))
    if as_json:
        document = {"steps": [_cached(one) for one in found], "dry_run": dry_run}
        render.answer_json("cache.clear", document)
        return
    verb = "Would clear" if dry_run else "Cleared"
    render.answer(f"{verb} {render.count(len(found), 'result')} of the cache")
    for name, count in Counter(f"{one.pipeline}.{one.step}" for one in found).items():
        render.answer(f"  {count} of {name}")


def _age(text: str | None) -> float | None:
    return parse_age(text, "--older-than") if text is not None else None


def _cached(one: CachedStep) -> dict[str, Any]:
    return {
        "pipeline": one.pipeline,
        "step": one.step,
        "key": one.key,
        "commit": str(one.commit),
        "run": str(one.run) if one.run else None,
        "made": documents.moment(one.at),
        "size": one.size,
        "here": one.here,
    }


def _lines(repo: Repo, one: Explanation) -> Iterator[str]:
    name = paint("head", f"{one.pipeline}.{one.step}")
    if one.outcome == "cached":
        hit = f": {repo.short(one.hit)} has its result" if one.hit else ""
        hit += f" ({one.reason})" if one.reason else ""
        yield f"{name} would be {paint('good', 'cached')}{hit}"
    elif one.outcome == "uncached":
        yield f"{name} {paint('change', 'always runs')}: {one.reason}"
    elif one.outcome == "unknown":
        yield f"{name} {paint('dim', 'is not known yet')}: {one.reason}"
    else:
        why = one.reason or ("" if one.since else "it has never run")
        yield f"{name} would {paint('change', 'run')}{f': {why}' if why else ''}"
    if one.since and one.outcome != "cached":
        yield f"Since {repo.short(one.since)} ({render.ago(one.at)})"
        yield from (f"  {_MARKS[part.how]} {part.part}" for part in one.changed)
        if not one.changed and one.outcome == "run":
            yield "  nothing of its key changed"


def _document(one: Explanation) -> dict[str, Any]:
    return {
        "pipeline": one.pipeline,
        "step": one.step,
        "outcome": one.outcome,
        "reason": one.reason,
        "hit": str(one.hit) if one.hit else None,
        "since": str(one.since) if one.since else None,
        "at": documents.moment(one.at) if one.since else None,
        "changed": [dict(vars(part)) for part in one.changed],
    }
