"""``gitml run --dry-run``: what a run would do with each step, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gitml.cli import render
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.pipelines.explain import Explanation
    from gitml.repo import Repo

_WORDS = {
    "cached": "cached",
    "taken": "taken",
    "skipped": "skipped",
    "run": "would run",
    "uncached": "would run",
    "unknown": "may run",
}
_PARTS = 3


def answer_forecast(repo: Repo, name: str, steps: list[Explanation], as_json: bool) -> None:
    """Print the forecast of a run: a line a step, and what it comes to."""
    if as_json:
        render.answer_json("run.plan", forecast_document(name, steps))
        return
    rows = [[f"  {_word(one)}", f"{name}.{one.step}", _why(repo, one)] for one in steps]
    render.answer(*render.table(rows), _sum(name, steps))


def forecast_document(name: str, steps: list[Explanation]) -> dict[str, Any]:
    """A forecast for programs."""
    listed = [
        {
            "name": one.step,
            "outcome": one.outcome,
            "reason": one.reason,
            "commit": str(one.hit) if one.hit else None,
            "since": str(one.since) if one.since else None,
            "changed": [dict(vars(part)) for part in one.changed],
        }
        for one in steps
    ]
    return {"pipeline": name, "steps": listed}


def _word(one: Explanation) -> str:
    known = one.outcome in ("cached", "taken", "skipped")
    return paint("dim" if known else "run", _WORDS[one.outcome])


def _why(repo: Repo, one: Explanation) -> str:
    if one.outcome == "skipped":
        return "it is left out"
    if one.hit is not None:
        found = repo.short(one.hit)
        if one.outcome != "cached":
            return f"from {found}, as asked"
        return f"as {found} has it" + (f" ({one.reason})" if one.reason else "")
    if one.reason is not None:
        return one.reason
    if one.since is None:
        return "it has never run"
    return f"{', '.join(_changes(one))} since {repo.short(one.since)}"


def _changes(one: Explanation) -> Iterator[str]:
    """The parts of the key that changed, the first of them by name."""
    for part in one.changed[:_PARTS]:
        yield f"{part.part} {part.how}"
    if len(one.changed) > _PARTS:
        yield f"{len(one.changed) - _PARTS} more"
    if not one.changed:
        yield "nothing of its key changed"


def _sum(name: str, steps: list[Explanation]) -> str:
    run = sum(one.outcome in ("run", "uncached") for one in steps)
    may = sum(one.outcome == "unknown" for one in steps)
    if steps and steps[-1].step == "…":
        count = render.count(len(steps) - 1, "step")
        return f"Would run {run} of the {count} of {name} that are known, and what follows of them"
    if not run and not may:
        return f"Would run none of the {render.count(len(steps), 'step')} of {name}"
    most = f" to {run + may}" if may else ""
    return f"Would run {run}{most} of the {render.count(len(steps), 'step')} of {name}"
