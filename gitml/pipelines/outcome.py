"""How a step of a run ended, for the run and for whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.entities.records import Log, Output, Step
from gitml.errors import GitmlError
from gitml.frozen import Frozen
from gitml.history.index import StepEntry


@dataclass(frozen=True, slots=True)
class Done:
    """A step that is done: its commit and record, its metrics, whether it came from the cache.

    ``new`` tells that the commit is this run's to write, at the time ``at``: an executed step, or a
    cached one that has to be made again because its code is not this run's. ``taken`` tells that
    it stands for an earlier run by request, whatever its key would be now.
    """

    name: str
    commit: ObjectId
    record: Step
    metrics: Mapping[str, float]
    parents: tuple[ObjectId, ...]
    at: float
    cached: bool
    new: bool
    taken: bool = False

    @property
    def state(self) -> str:
        """How the step ended, as the run records it."""
        if self.taken:
            return "taken"
        return "cached" if self.cached else "completed"


class FailedStep(Frozen):
    """A step that failed in a run that goes on: its error, and what it had said before."""

    error: GitmlError
    log: Log | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    series: Output | None
    items: Output | None


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something to tell while a run goes on: ``state`` is "started", "cached", "completed", ….

    Of "plan" the ``steps`` are the names of those to come, of "note" the ``notes`` what to say.
    """

    step: str
    state: str
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def as_it_is(name: str, entry: StepEntry, *, taken: bool = False) -> Done:
    """An earlier execution adopted as the same commit."""
    return Done(
        name,
        entry.id,
        entry.record,
        entry.metrics,
        entry.parents,
        entry.at,
        cached=True,
        new=False,
        taken=taken,
    )
