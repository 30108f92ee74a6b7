"""Why a step would run or be cached now: its key's parts against those of recorded executions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.errors import NameNotFound
from gitml.history.entries import StepEntry
from gitml.pipelines.cache import StepKey
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.execute import Execution
from gitml.pipelines.keychange import Change, changes
from gitml.pipelines.output import Capture
from gitml.pipelines.plan import PlannedStep
from gitml.pipelines.run import Runner
from gitml.pipelines.selection import Selection, choose
from gitml.pipelines.unfold import Do, Undecided

REST = "…"
"""Stands for the steps of a dynamic pipeline that depend on a result which is not known."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A step against its newest execution.

    ``outcome`` is "cached" (``hit`` is the execution that it would adopt), "run" (``reason`` says
    why its key is not enough), "uncached" (the step never hits, ``reason`` says why) or "unknown"
    (``reason`` names the step that has to run first); of a part of a pipeline also "taken" (from
    ``hit``) and "skipped". ``since`` is the newest execution, absent when the step never ran;
    ``changed`` are the parts of the key in which that one differs from now.
    """

    pipeline: str
    step: str
    outcome: str
    reason: str | None
    hit: ObjectId | None
    since: ObjectId | None
    at: float
    changed: tuple[Change, ...]


def explain(runner: Runner, pipelines: Iterable[PipelineFunction], step: str) -> list[Explanation]:
    """The explanations of a step in the pipelines that call it; raises NameNotFound.

    Nothing is run and nothing is kept: data files are hashed, keys are computed in plan order.
    """
    found: list[Explanation] = []
    known: set[str] = set()
    for pipeline in pipelines:
        writer = runner.store.writer()
        try:
            execution, walk = runner.prepare(pipeline, {}, "", writer, Capture())
            found += [one for one in _explained(execution, walk) if one.step == step]
            known |= {planned.name for planned in execution.plan.steps}
        finally:
            writer.abort()
    if not found:
        raise NameNotFound.among("step", step, known, hint="`gitml pipeline list`")
    return found


def forecast(
    runner: Runner,
    pipeline: PipelineFunction,
    parameters: Mapping[str, Any],
    selection: Selection,
    *,
    cache: bool,
) -> list[Explanation]:
    """What a run would do with each of its steps, in plan order. Nothing is run or written."""
    writer = runner.store.writer()
    try:
        execution, walk = runner.prepare(pipeline, parameters, "", writer, Capture(), record=False)
        execution.cache = cache and execution.plan.cache
        execution.part = choose(pipeline, execution.plan.steps, selection, runner.index)
        return _explained(execution, walk)
    finally:
        writer.abort()


def _explained(execution: Execution, walk: Callable[[Do], None]) -> list[Explanation]:
    """An explanation of each step, and where the rest is not known, one of that."""
    found: list[Explanation] = []
    try:
        walk(lambda steps: found.extend(_each(execution, steps)))
    except Undecided as undecided:
        name, reason = execution.plan.pipeline, undecided.message
        found.append(Explanation(name, REST, "unknown", reason, None, None, 0.0, ()))
    return found


def _each(execution: Execution, steps: Iterable[PlannedStep]) -> Iterator[Explanation]:
    for planned in steps:
        if planned.name in execution.part.left_out:
            name = execution.plan.pipeline
            yield Explanation(name, planned.name, "skipped", None, None, None, 0.0, ())
            continue
        key, hit = execution.forecast(planned)
        entries = execution.index.steps_named(planned.name, execution.plan.pipeline)
        newest = entries[0] if entries else None
        taken = execution.part.taken.get(planned.name)
        if planned.name in execution.done and hit is None and taken is not None:
            outcome, reason, hit = "taken", None, taken
        else:
            outcome, reason = _outcome(execution, planned, key, hit)
        yield Explanation(
            pipeline=execution.plan.pipeline,
            step=planned.name,
            outcome=outcome,
            reason=reason,
            hit=hit.id if hit else None,
            since=newest.id if newest else None,
            at=newest.at if newest else 0.0,
            changed=tuple(changes(newest.record.parts, key.parts)) if newest and key else (),
        )


def _outcome(
    execution: Execution, planned: PlannedStep, key: StepKey | None, hit: StepEntry | None
) -> tuple[str, str | None]:
    if hit is not None:
        changed = execution.ignored(planned, hit)
        names = ", ".join(f"`{one}`" for one in changed)
        return "cached", f"{names} changed, which its policy ignores" if changed else None
    if planned.name in execution.part.anew:
        return "run", "it is asked for"
    if not execution.cache:
        return "run", "the cache is not asked"
    if planned.closure.uncached is not None:
        return "uncached", planned.closure.uncached
    if not planned.step.cache:
        return "uncached", "it is declared `cache=False`"
    if key is not None:
        known = execution.index.steps_with_key(key.digest, 1)
        return "run", execution.earlier.objection(planned, known[0]) if known else None
    waiting = execution.waits_for(planned)
    return "unknown", f"{waiting} has to run first"
