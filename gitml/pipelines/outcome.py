"""How a step of a run ended, for the run and for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Log, Output, RunStep, Step
from gitml.errors import GitmlError
from gitml.frozen import Frozen
from gitml.history.entries import StepEntry
from gitml.history.record import covering_steps


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


@dataclass
class Said:
    """What a step has said: all that the record of its run keeps of it where it does not finish.

    ``log`` is what it printed, ``metrics`` and ``metadata`` what it logged, ``series`` its series,
    stored, ``items`` the results that a mapped step had when one failed, ``outputs`` what a block
    has saved.
    """

    log: Log | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    series: Output | None = None
    items: Output | None = None
    outputs: tuple[Output, ...] = ()

    def forget_lost(self, has: Callable[[Digest], bool]) -> None:
        """Forget what has no bytes: no record may name what the store does not have."""
        if self.log is not None and not has(self.log.digest):
            self.log = None
        if self.series is not None and not has(self.series.digest):
            self.series = None
        if self.items is not None and not has(self.items.digest):
            self.items = None
        self.outputs = tuple(one for one in self.outputs if has(one.digest))

    def as_step(self, name: str, state: str, after: tuple[str, ...] | None) -> RunStep:
        """The step as its run records it."""
        said = (self.log, self.series, dict(self.metadata) or None)
        return RunStep(name, state, None, *said, after, self.items, self.outputs or None)


class FailedStep(Frozen):
    """A step that failed in a run that goes on: its error, and what it had said before."""

    error: GitmlError
    said: Said


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something to tell while a run goes on: ``state`` is "started", "cached", "completed", ….

    Of "plan" the ``steps`` are the names of those to come, of "note" the ``notes`` what to say.
    ``items`` are, of "items", how many of a mapped step's items are done, and of how many; of a
    mapped step that has ended, how many of them were taken over, and of how many.
    """

    step: str
    state: str
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    items: tuple[int, int] | None = None


class Telling:
    """Tells whoever watches a run what happens in it: ``tell`` is called with each event."""

    def __init__(self) -> None:
        self.tell: Callable[[StepEvent], None] = lambda event: None
        self._told: set[str] = set()

    def note_once(self, notes: Iterable[str]) -> None:
        """Tell those of some notes that have not been told in this run."""
        fresh = tuple(one for one in dict.fromkeys(notes) if one not in self._told)
        self._told.update(fresh)
        if fresh:
            self.tell(StepEvent("", "note", notes=fresh))


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


def covering(done: Collection[Done]) -> list[tuple[str, ObjectId]]:
    """The steps through which all steps that are done can be reached: the parents of their run."""
    steps = [(one.name, one.commit) for one in done]
    return covering_steps(steps, {one.commit: one.parents for one in done})
