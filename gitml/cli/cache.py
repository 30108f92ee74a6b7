"""``gitml cache``: explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import documents, render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.pipelines.explain import Explanation
    from gitml.repo import Repo

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@click.group(cls=Noun)
def cache() -> None:
    """Explain why a step would run again.

    \b
    gitml cache explain train
    gitml cache explain training.train --json
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


def _lines(repo: Repo, one: Explanation) -> Iterator[str]:
    name = paint("head", f"{one.pipeline}.{one.step}")
    if one.outcome == "cached":
        hit = f": {repo.short(one.hit)} has its result" if one.hit else ""
        yield f"{name} would be {paint('good', 'cached')}{hit}"
    elif one.outcome == "uncached":
        yield f"{name} {paint('change', 'always runs')}: {one.reason}"
    elif one.outcome == "unknown":
        yield f"{name} {paint('dim', 'is not known yet')}: {one.reason}"
    else:
        why = "" if one.since else ": it has never run"
        yield f"{name} would {paint('change', 'run')}{why}"
    if one.since and one.outcome != "cached":
        yield f"Since {repo.short(one.since)} ({render.ago(one.at)})"
        yield from (f"  {_MARKS[part.how]} {part.part}" for part in one.changed)
        if not one.changed and one.outcome == "run":
            yield "  nothing of its key changed: its result is gone, or a file that it read changed"


def _document(one: Explanation) -> dict[str, Any]:
    return {
        "pipeline": one.pipeline,
        "step": one.step,
        "outcome": one.outcome,
        "reason": one.reason,
        "hit": str(one.hit) if one.hit else None,
        "since": str(one.since) if one.since else None,
        "at": documents.moment(one.at) if one.since else None,
        "changed": [asdict(part) for part in one.changed],
    }
