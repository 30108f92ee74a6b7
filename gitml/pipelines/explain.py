"""Why a step would run or be cached now: its key's parts against those of recorded executions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitml.entities.ids import ObjectId
from gitml.errors import NameNotFound
from gitml.pipelines.cache import Change, changes
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.execute import Execution
from gitml.pipelines.output import Capture
from gitml.pipelines.plan import PlannedStep
from gitml.pipelines.run import Runner


@dataclass(frozen=True, slots=True)
class Explanation:
    """A step against its newest execution.

    ``outcome`` is "cached" (``hit`` is the execution that it would adopt), "run", "uncached" (the
    step never hits, ``reason`` says why) or "unknown" (``reason`` names the step that has to run
    first). ``since`` is the newest execution, absent when the step never ran; ``changed`` are the
    parts of the key in which that one differs from now.
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
            execution = runner.prepare(pipeline, {}, "", writer, Capture())
            known |= {planned.name for planned in execution.plan.steps}
            found += _explained(execution, step)
        finally:
            writer.abort()
    if not found:
        raise NameNotFound.among("step", step, known, hint="`gitml pipeline list`")
    return found


def _explained(execution: Execution, step: str) -> Iterator[Explanation]:
    for planned in execution.plan.steps:
        key, hit = execution.forecast(planned)
        if planned.name != step:
            continue
        entries = execution.index.steps_named(planned.name, execution.plan.pipeline)
        newest = entries[0] if entries else None
        outcome, reason = _outcome(execution, planned, key is not None, hit is not None)
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
    execution: Execution, planned: PlannedStep, keyed: bool, hit: bool
) -> tuple[str, str | None]:
    if hit:
        return "cached", None
    if planned.closure.uncached is not None:
        return "uncached", planned.closure.uncached
    if not planned.step.cache:
        return "uncached", "it is declared `cache=False`"
    if keyed:
        return "run", None
    waiting = execution.waits_for(planned)
    return "unknown", f"{waiting} has to run first"
