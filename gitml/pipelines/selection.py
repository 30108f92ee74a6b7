"""A part of a pipeline: which steps a run does anew, takes over from an earlier run, or leaves out.

A step that is taken over is not looked up by its key: its code or data may have changed since. So
it keeps the commit that it had, and lineage names what really went into what comes behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitml.entities.ids import ObjectId
from gitml.entities.records import RunStep
from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.frozen import Frozen, field
from gitml.history.entries import RunEntry, StepEntry
from gitml.history.index import Index
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.plan import FromStep, Pinned, PlannedStep, Value

_DONE = ("completed", "cached", "taken")
_LOOKED_AT = 200
"""Runs that are searched for one with all results that a part of a pipeline needs."""


class Selection(Frozen):
    """What is asked of a run: all of it, or a part.

    ``start`` are steps to begin with (``--from``), ``only`` those to run alone, ``resume`` is the
    run whose finished steps are taken over.
    """

    start: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    resume: ObjectId | None = None


class Part(Frozen):
    """What becomes of the steps of a plan: by default all run or come from the cache.

    ``anew`` run even when their result is known, ``taken`` have the result of an earlier run
    (``base``) where the cache has none, ``left_out`` do not run. ``notes`` are for the moment when
    something is taken.
    """

    anew: frozenset[str] = frozenset()
    taken: Mapping[str, StepEntry] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    base: ObjectId | None = None
    notes: tuple[str, ...] = ()


WHOLE = Selection()


def choose(
    pipeline: PipelineFunction, steps: Sequence[PlannedStep], selection: Selection, index: Index
) -> Part:
    """The part of a pipeline's plan that a selection means.

    Raises UsageError for a part of a dynamic pipeline, NameNotFound for a step that is not in the
    plan, GitmlError where no earlier run has the results that the part begins with.
    """
    name = pipeline.name
    if pipeline.dynamic and selection != WHOLE:
        raise UsageError(
            f"{name} is dynamic: its steps are not known before it runs, so no part can be chosen",
            hint=f"`gitml run {name}` takes what is known from the cache",
        )
    if selection.start and selection.only:
        raise UsageError("a run begins with a step, or has that step only, not both")
    for step in (*selection.start, *selection.only):
        if step not in {one.name for one in steps}:
            raise NameNotFound.among("step", step, [one.name for one in steps])
    anew, needed = _parts(steps, selection)
    behind = set(selection.only) or anew
    left_out = {one.name for one in steps} - behind - needed if selection.only else set[str]()
    notes: tuple[str, ...] = ()
    if selection.resume is not None:
        base = index.run(selection.resume)
        assert base is not None  # noqa: S101 - whoever asks has resolved the run
        taken = _results(base, steps, index)
        wanted = needed if selection.start or selection.only else set(taken)
        taken = {step: entry for step, entry in taken.items() if step in wanted}
        _refuse_missing(name, needed - set(taken))
    elif needed:
        base, taken = _newest(steps, needed, index, name)
        notes = _notes_of(base, index, name)
    else:
        return Part(anew=frozenset(behind), left_out=frozenset(left_out))
    return Part(frozenset(behind), taken, frozenset(left_out), base.id, notes)


def _parts(steps: Sequence[PlannedStep], selection: Selection) -> tuple[set[str], set[str]]:
    """The steps that run anew, and those whose results they need from an earlier run."""
    anew = set(selection.start)
    if selection.only:
        wanted = set(selection.only)
        return wanted, {
            above for one in steps if one.name in wanted for above in _above(one)
        } - wanted
    for one in steps if anew else ():
        if not anew.isdisjoint(_above(one)):
            anew.add(one.name)
    return anew, {one.name for one in steps} - anew if anew else set()


def _above(step: PlannedStep) -> Iterable[str]:
    return {one.step for one in step.bindings.values() if isinstance(one, FromStep)}


def _newest(
    steps: Sequence[PlannedStep], needed: set[str], index: Index, name: str
) -> tuple[RunEntry, dict[str, StepEntry]]:
    """The newest run with a result of every needed step, made with the same parameters."""
    missing = needed
    for run in index.runs(pipeline=name, limit=_LOOKED_AT):
        found = _results(run, steps, index)
        if needed <= set(found):
            return run, {step: found[step] for step in needed}
        if len(needed - set(found)) < len(missing):
            missing = needed - set(found)
    _refuse_missing(name, missing)
    raise AssertionError(missing)  # never empty here


def _notes_of(base: RunEntry, index: Index, name: str) -> tuple[str, ...]:
    """What to say where results are older than the newest run's."""
    (newest,) = index.runs(pipeline=name, limit=1)
    if newest.id == base.id:
        return ()
    return (
        f"results are taken from run {base.id.short}, the newest that has them with these "
        f"parameters; the newest run of {name} is {newest.id.short}",
    )


def _results(run: RunEntry, steps: Sequence[PlannedStep], index: Index) -> dict[str, StepEntry]:
    """The results of a run that the steps of a plan can stand on: made with their parameters."""
    ended: dict[str, RunStep] = {one.name: one for one in run.record.steps}
    commits = [one.commit for one in ended.values() if one.commit is not None]
    entries = index.steps(commits)
    found = {}
    for step in steps:
        last = ended.get(step.name)
        if last is None or last.commit is None or last.state not in _DONE:
            continue
        entry = entries.get(last.commit)
        if entry is not None and _has_parameters(entry, step):
            found[step.name] = entry
    return found


def _has_parameters(entry: StepEntry, step: PlannedStep) -> bool:
    """Whether a result was made with the parameters of a planned step, the large ones included."""
    given = step.bindings.items()
    small = {key: one.value for key, one in given if isinstance(one, Value)}
    large = {key: one for key, one in given if isinstance(one, Pinned) and one.is_argument}
    had = {one.name: one.digest for one in entry.record.inputs}
    same = all(had.get(key) == one.output.digest for key, one in large.items())
    return same and dict(entry.record.parameters) == small


def _refuse_missing(pipeline: str, missing: set[str]) -> None:
    if missing:
        names = ", ".join(sorted(missing))
        raise GitmlError(
            f"no run of {pipeline} has a result of {names} with these parameters",
            hint=f"`gitml run {pipeline}` makes it; `gitml log {pipeline}` lists the runs",
        )
