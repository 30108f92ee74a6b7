"""Runs the steps of a plan: from the cache where the key and its conditions hold, else by calling.

One ``Execution`` is one run. It owns the run's writer (bytes), recorder (records), journal and
captured output; an orchestrator decides in which order ``step`` is called. Nothing is visible to
others before the run is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import posixpath
import sys
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml import materializers
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import SERIES, CodeFile, Input, Log, Map, Output, RunStep, Step
from gitml.errors import (
    CorruptData,
    GitmlError,
    MissingBytes,
    StepFailed,
    StorageError,
    UnsupportedValue,
    UsageError,
)
from gitml.frozen import Frozen, replace
from gitml.history.index import Index, StepEntry
from gitml.history.journal import FinishedStep, Journal
from gitml.history.lineage import Lineage
from gitml.history.record import Recorder, timestamp
from gitml.history.revs import Names
from gitml.materializers import Rules, arrow
from gitml.materializers.items import Items, cell, cells
from gitml.pipelines import context, fanout, series
from gitml.pipelines.attempts import attempted, guarded, own_process
from gitml.pipelines.cache import StepKey, step_key
from gitml.pipelines.content import StoredContent
from gitml.pipelines.dsl import OutputSpec, field_names, without_none
from gitml.pipelines.observe import Observer, digest_files, digest_observed, is_unchanged
from gitml.pipelines.options import Moment
from gitml.pipelines.output import Capture
from gitml.pipelines.past import Past
from gitml.pipelines.plan import FromStep, Pinned, Plan, PlannedStep, Value, artifact_name, pinned
from gitml.pipelines.selection import Part
from gitml.store.store import Store, Writer

_DATA = "data:"
"""Before the path of a data file, in the name under which a step has loaded it."""


_TRIED = 16
"""Executions with a key that are looked at, newest first, before a step is rather run again."""


Save = Callable[[str, Any], None]


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


class _Called(Frozen):
    """A call that went well: its value, its context, what was seen, and the attempts it took."""

    returned: Any
    running: context.StepContext
    seen: Observer
    attempts: int


class FailedStep(Frozen):
    """A step that failed in a run that goes on: its error, and what it had said before."""

    error: GitmlError
    log: Log | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    series: Output | None


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something to tell while a run goes on: ``state`` is "started", "cached", "completed", …."""

    step: str
    state: str
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass
class Execution:
    """One run in progress.

    ``tell`` is called with each event; ``done`` grows in plan order; ``current`` is the step at
    work, ``log`` what it printed, ``metrics`` and ``metadata`` what it logged, ``series`` its
    series, stored. A run that is not to be recorded has no journal; ``packages`` is the text of the
    environment where that counts for the cache; ``past`` is the history of the run's code.
    """

    root: Path
    plan: Plan
    started: float
    index: Index
    names: Names
    store: Store
    writer: Writer
    recorder: Recorder
    journal: Journal | None
    rules: Rules
    capture: Capture
    take_data: Callable[[str], Pinned]
    environment: Mapping[str, str]
    cache: bool
    packages: str | None = None
    part: Part = field(default_factory=Part)
    tell: Callable[[StepEvent], None] = lambda event: None
    done: dict[str, Done] = field(default_factory=dict)
    failed: dict[str, FailedStep] = field(default_factory=dict)
    log: Log | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    series: Output | None = None
    current: str = ""
    _warned: set[str] = field(default_factory=set)
    _skipped: set[str] = field(default_factory=set)
    _interrupt: KeyboardInterrupt | None = None
    _reused_sources: set[ObjectId] = field(default_factory=set)
    _tried: set[str] = field(default_factory=set)
    stages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.past = Past(self.recorder.git, self.index, self.recorder.odb, self.plan.code)
        self._lineage = Lineage(self.index, self.recorder.odb)
        self._python = f"{sys.version_info.major}.{sys.version_info.minor}"

    def step(self, planned: PlannedStep) -> None:
        """Do one step: adopt a cached execution or call the function, and note it as done.

        Where the run goes on after a failure, one that fails is noted as failed, and one that needs
        it is left out; what storing and git raise ends the run nevertheless.
        """
        if planned.name in self.part.left_out:
            return
        if not self.plan.goes_on:
            self._do(planned)
            return
        missing = [one for one in planned.needs() if one in self.failed or one in self._skipped]
        if missing:
            self._skipped.add(planned.name)
            note = f"{planned.name} is skipped, since {missing[0]} is not done"
            self.tell(StepEvent("", "note", notes=(note,)))
            return
        try:
            self._do(planned)
        except StorageError:
            raise
        except GitmlError as error:
            said = (dict(self.metrics), dict(self.metadata), self.series)
            self.failed[planned.name] = FailedStep(error, self.log, *said)
            self.tell(StepEvent(planned.name, "failed"))

    def end(self) -> None:
        """Raise the first failure of a run that went on after it."""
        for name, failed in self.failed.items():
            self.current, self.log, self.series = name, failed.log, failed.series
            self.metrics, self.metadata = failed.metrics, failed.metadata
            raise failed.error

    def _do(self, planned: PlannedStep) -> None:
        began = time.perf_counter()
        self._begin(planned)
        if self._known(planned, began):
            return
        if self._make_inputs_again(planned):
            self._begin(planned)
            if self._adopted(planned, began):
                return
        self._warn(planned)
        self.tell(StepEvent(planned.name, "started"))
        inputs = self._inputs(planned)
        self._finish(self._call(planned, self._key(planned, inputs), inputs), began)

    def _begin(self, planned: PlannedStep) -> None:
        self.current, self.log, self.series = planned.name, None, None
        self.metrics, self.metadata = {}, {}

    def _adopted(self, planned: PlannedStep, began: float) -> bool:
        """Whether a cached execution could be adopted; then the step is done."""
        inputs = self._inputs(planned)
        key = self._key(planned, inputs)
        hit = self._hit(planned, key, inputs) if key is not None else None
        if hit is None or not all(map(self._keep_bytes, hit.record.outputs)):
            return False
        self._finish(self._adopt(planned, hit, inputs), began)
        return True

    def _known(self, planned: PlannedStep, began: float) -> bool:
        """Whether the step's result was found, in the cache or where it is to be taken from."""
        missing = self.waits_for(planned)
        if missing is None and self._adopted(planned, began):
            return True
        if self._taken_over(planned, began):
            return True
        if missing is not None:
            raise MissingBytes(
                f"the result of {planned.name} is not here any more, and {missing} is left out",
                hint=f"`gitml run {self.plan.pipeline}` makes it again",
            )
        return False

    def _taken_over(self, planned: PlannedStep, began: float) -> bool:
        """Whether an earlier run's result stands for the step, as was asked; then it is done."""
        entry = self._takeable(planned)
        if entry is None or not all(map(self._keep_bytes, entry.record.outputs)):
            return False
        self._finish(_as_it_is(planned, entry, taken=True), began)
        return True

    def _takeable(self, planned: PlannedStep) -> StepEntry | None:
        """The earlier result to take over, if it was made of what the steps before it give now."""
        entry = self.part.taken.get(planned.name)
        if entry is None:
            return None
        had = {one.name: one.digest for one in entry.record.inputs}
        given = planned.bindings.items()
        same = all(
            had.get(name) == self._given(binding).output.digest
            for name, binding in given
            if isinstance(binding, FromStep) and binding.step in self.done
        )
        return entry if same else None

    def _make_inputs_again(self, planned: PlannedStep) -> bool:
        """Call the steps again whose cached outputs this one needs and which are damaged.

        Whether there were any. A cached output is read only where it is needed, so damage shows
        only then; its step runs again as if the bytes were missing, which heals the store.
        """
        again = False
        for binding in planned.bindings.values():
            if not isinstance(binding, FromStep) or not self.done[binding.step].cached:
                continue
            if self._holds(self._given(binding).output, self._is_whole):
                continue
            note = f"{binding.step} runs again: its output `{binding.output}` is damaged"
            self._name_once([f"{note} in the store"])
            producer = next(one for one in self.plan.steps if one.name == binding.step)
            self._make_inputs_again(producer)
            self._begin(producer)
            began = time.perf_counter()
            self.tell(StepEvent(producer.name, "started"))
            inputs = self._inputs(producer)
            self._finish(self._call(producer, self._key(producer, inputs), inputs), began)
            again = True
        return again

    def _is_whole(self, digest: Digest) -> bool:
        with contextlib.suppress(GitmlError):  # then its step runs again
            self.store.bring([digest])
        return self.store.proven_copy(digest) is not None

    def _finish(self, done: Done, began: float) -> None:
        """Note a step as done, so that a kill of this process does not lose it."""
        self.done[done.name] = done
        if self.journal is not None:
            if done.new:
                self.writer.flush()
            entry = RunStep(done.name, done.state, done.commit)
            record = done.record if done.new else None
            self.journal.add(FinishedStep(entry, record, done.metrics, done.at))
        self.tell(StepEvent(done.name, done.state, time.perf_counter() - began))
        if self._interrupt is not None:
            raise self._interrupt

    def salvage(self) -> None:
        """Keep the bytes of the steps that are done, when no more can be written.

        A step whose bytes could not be kept, or one that was made of it, is not done any more: no
        record may name what the store does not have.
        """
        with contextlib.suppress(StorageError):
            self.writer.salvage()
        if self.log is not None and not self.store.has(self.log.digest):
            self.log = None
        if self.series is not None and not self.store.has(self.series.digest):
            self.series = None
        lost: set[ObjectId] = set()
        for done in list(self.done.values()):
            if not lost.isdisjoint(done.parents) or not self._is_kept(done.record):
                lost.add(done.commit)
                del self.done[done.name]

    def _is_kept(self, record: Step) -> bool:
        """Whether all bytes that a step's record names are here."""
        named = [one.digest for one in (*record.inputs, *record.loads)]
        if record.log is not None:
            named.append(record.log.digest)
        return all(map(self.store.has, named)) and all(map(self._is_held, record.outputs))

    def forecast(self, planned: PlannedStep) -> tuple[StepKey | None, StepEntry | None]:
        """The key that a step would have now and the execution that it would adopt.

        Both None while an input is not known or where the step cannot be cached. A step with a hit
        counts as done, so that the steps behind it can be forecast too.
        """
        key = hit = None
        if self.waits_for(planned) is None:
            inputs = self._inputs(planned)
            key = self._key(planned, inputs)
            hit = self._hit(planned, key, inputs) if key is not None else None
        if hit is not None:
            self.done[planned.name] = _as_it_is(planned, hit)
        elif (taken := self._takeable(planned)) is not None:
            self.done[planned.name] = _as_it_is(planned, taken, taken=True)
        return key, hit

    def waits_for(self, planned: PlannedStep) -> str | None:
        """The first step whose output a step needs and that is not done."""
        bound = (one for one in planned.bindings.values() if isinstance(one, FromStep))
        return next((one.step for one in bound if one.step not in self.done), None)

    def _inputs(self, planned: PlannedStep) -> dict[str, Pinned]:
        return {
            name: self._given(binding)
            for name, binding in planned.bindings.items()
            if not isinstance(binding, Value)
        }

    def _given(self, binding: FromStep | Pinned) -> Pinned:
        """An input with its bytes known: what is pinned, or the output of a step that is done."""
        if isinstance(binding, Pinned):
            return binding
        done = self.done[binding.step]
        for output in done.record.outputs:
            if output.name == binding.output:
                return Pinned(output.artifact, output, done.commit)
        raise UsageError(f"the step {binding.step} made no output `{binding.output}`")

    def _key(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> StepKey | None:
        step, closure = planned.step, planned.closure
        if closure.uncached is not None or not step.cache:
            return None
        return step_key(
            name=step.name,
            closure=closure,
            parameters=_parameters(planned),
            inputs={name: _content_id(one.output) for name, one in inputs.items()},
            outputs=[(one.name, _declared(one)) for one in step.outputs],
            input_materializers={name: one.output.materializer for name, one in inputs.items()},
            environment={name: self.environment.get(name) for name in step.environment},
            files=digest_files(self.root, step.files),
            python=self._python,
            packages=self.packages,
            fan=planned.fan.text if planned.fan is not None else "",
        )

    def _hit(
        self, planned: PlannedStep, key: StepKey, inputs: Mapping[str, Pinned]
    ) -> StepEntry | None:
        """The best execution with this key whose conditions still hold, None where there is none.

        Its bytes are here, the files that it read besides its closure are unchanged, and what it
        loaded by name is still what the name means. One that this run can adopt as the same commit
        comes before others. (Its commit exists: the index forgets what no ref reaches.)
        """
        if not self.cache or planned.name in self.part.anew:
            return None
        usable = None
        for entry in self._candidates(planned.name, key.digest, inputs):
            if not self._usable(entry):
                continue
            if self._same_commit(entry, inputs):
                return entry
            usable = usable or entry
        return usable

    def _candidates(self, name: str, key: str, inputs: Mapping[str, Pinned]) -> Iterator[StepEntry]:
        """The newest executions with a key: those at this very place in the graph, then any.

        The same step called again and again on equal bytes has one key: its own place comes first,
        so that a chain does not become a tangle.
        """
        exact = self.index.steps_at(key, name, [one.commit for one in inputs.values()], _TRIED)
        yield from exact
        known = {one.id for one in exact}
        for entry in self.index.steps_with_key(key, _TRIED):
            if entry.id not in known:
                yield entry

    def _usable(self, entry: StepEntry) -> bool:
        return self.objection(entry) is None

    def objection(self, entry: StepEntry) -> str | None:
        """Why an execution with the right key is not reused, None where it may be."""
        record = entry.record
        if entry.id in self.past.cleared:
            return "its result was cleared"
        if not all(map(self._is_held, record.outputs)):
            return "the bytes of its result are gone"
        if not is_unchanged(self.root, record.observed):
            return "a file that it read changed"
        moved = next((one.name for one in record.loads if not self._still_means(one)), None)
        return f"`{moved}`, which it loaded, means something else now" if moved else None

    @property
    def odb(self) -> Any:
        """The repository's objects."""
        return self.recorder.odb

    def _is_held(self, output: Output) -> bool:
        """Whether all bytes of an output are here, of a folder every file, or can be had."""
        return self._holds(output, self.store.has) or self.store.can_bring(output.digest)

    def _keep_bytes(self, output: Output) -> bool:
        """Whether the bytes of an output are here, and will be when the run names them.

        Or they are on a remote: then they come when something reads them.
        """
        if self._holds(output, self.writer.rely_on):
            return True
        return self.store.can_bring(output.digest)

    def _holds(self, output: Output, has: Callable[[Digest], bool]) -> bool:
        if not has(output.digest):
            return False
        if output.kind != "tree":
            return True
        with contextlib.suppress(CorruptData, MissingBytes):
            return all(has(entry.digest) for entry in self.store.read_tree(output.digest).entries)
        return False

    def _still_means(self, load: Input) -> bool:
        try:
            found = self._look_up(load.name)
        except GitmlError:
            return False
        return found.commit == load.commit and found.output.digest == load.digest

    def _same_commit(self, entry: StepEntry, inputs: Mapping[str, Pinned]) -> bool:
        """Whether the execution may stand in this run as the same commit.

        Its code has to belong to this run's, and so has that of everything it was made of which
        this run was not given itself: an abandoned branch would leak through it. And the model
        versions that this run was given are among its parents, so that lineage names them.
        """
        given = {one.commit for one in inputs.values()}
        others = {one for one in given if self.index.step(one) is None}
        if not {one for one in others if self.index.version(one)} <= set(entry.parents):
            return False
        given |= {one.commit for one in entry.record.loads}
        made_of = [one for one in entry.parents[1:] if one not in given]
        return self.past.belongs(entry.record.code) and all(map(self.past.has, made_of))

    def _adopt(self, planned: PlannedStep, entry: StepEntry, inputs: Mapping[str, Pinned]) -> Done:
        if self._same_commit(entry, inputs):
            return _as_it_is(planned, entry)
        given = tuple(_input(name, one) for name, one in inputs.items())
        reached = self._lineage.sources(entry.parents[1:])
        mine = self._lineage.sources([one.commit for one in given], built=self._built)
        record = replace(
            entry.record,
            name=planned.name,
            pipeline=self.plan.pipeline,
            code=self.plan.code,
            inputs=given,
            reused=entry.record.reused or entry.id,
            reached=tuple(sorted(reached - mine)),
        )
        return self._recorded(planned, record, entry.metrics, time.time(), cached=True)

    def _recorded(
        self,
        planned: PlannedStep,
        record: Step,
        metrics: Mapping[str, float],
        at: float,
        *,
        cached: bool,
    ) -> Done:
        """A step with a new record, its commit built."""
        commit = self.recorder.step(record, metrics, at)
        parents = (record.code.commit, *record.input_commits())
        return Done(planned.name, commit, record, metrics, parents, at, cached=cached, new=True)

    @property
    def _built(self) -> dict[ObjectId, tuple[ObjectId, ...]]:
        """The parents of the step commits that this run has made or adopted."""
        return {done.commit: done.parents for done in self.done.values()}

    def _call(
        self, planned: PlannedStep, key: StepKey | None, inputs: Mapping[str, Pinned]
    ) -> Done:
        started = time.time()
        clock = time.perf_counter()
        printed: list[bytes] = []
        running = self._context(planned)
        try:
            called = self._run_function(planned, inputs, running, printed)
            outputs = self._store_outputs(planned, called.returned)
        except GitmlError as error:
            self._call_back(planned, "on_failure", running, printed, error.__cause__ or error)
            raise
        finally:
            self.log = self._keep(printed)
        interrupt = None
        try:
            self._call_back(planned, "on_success", called.running, printed)
        except KeyboardInterrupt as error:  # the step is done, and its record must stand
            interrupt = error
        self.log = self._keep(printed)
        if called.seen.unstable or self._redefined(planned):
            key = None
        self._interrupt = interrupt
        took = time.perf_counter() - clock
        return self._written(planned, key, inputs, called, outputs, (started, took))

    def _written(
        self,
        planned: PlannedStep,
        key: StepKey | None,
        inputs: Mapping[str, Pinned],
        called: _Called,
        outputs: tuple[Output, ...],
        when: tuple[float, float],
    ) -> Done:
        """The record of a call that went well; ``when`` it began and how long it took."""
        running, seen = called.running, called.seen
        self._keep_series(running)
        self.stages |= running.stages
        if self.series is not None:
            outputs = (*outputs, self.series)
        started, duration = when[0], round(when[1], 6)
        record = Step(
            name=planned.name,
            pipeline=self.plan.pipeline,
            source=planned.closure.source,
            code=self.plan.code,
            code_id=planned.closure.code_id,
            files=tuple(CodeFile(file.path, file.blob) for file in planned.closure.files),
            parameters=_recorded_parameters(planned),
            inputs=tuple(_input(name, one) for name, one in inputs.items()),
            outputs=outputs,
            started=timestamp(started),
            duration=duration,
            key=key.digest if key else None,
            parts=key.parts if key else {},
            loads=tuple(running.loads.values()),
            observed=digest_observed(
                self.root,
                _besides(running.loads, seen.observed),
                _besides(running.loads, seen.listed),
            ),
            metadata=running.metadata,
            log=self.log,
            attempts=called.attempts if called.attempts > 1 else None,
            map=self._map(planned, inputs, called),
            reached=self._reached(planned, inputs),
            cell=planned.closure.cell,
        )
        metrics = dict(running.metrics)
        return self._recorded(planned, record, metrics, started + duration, cached=False)

    @contextlib.contextmanager
    def block(self, planned: PlannedStep) -> Iterator[tuple[context.StepContext, Save]]:
        """The work of a step as a block of somebody's code, which is never cached.

        It is given the step's context and what saves a value as an output; whoever the block raises
        to has to record the failure.
        """
        clock, started, printed = time.perf_counter(), time.time(), list[bytes]()
        self._begin(planned)
        self.tell(StepEvent(planned.name, "started"))
        running = self._context(planned)
        running.is_block = True
        self.metrics, self.metadata = running.metrics, running.metadata
        observer = Observer(self.root, planned.closure)
        saved: dict[str, Output] = {}

        def save(name: str, value: Any) -> None:
            saved[name] = self._store_output(planned, OutputSpec(name, name, None), value)

        try:
            with self.capture.step(printed), observer, own_process(), context.running(running):
                yield running, save
        finally:
            self.log = self._keep(printed)
            self._keep_series(running)
            self.plan = dataclasses.replace(self.plan, parameters=dict(running.parameters))
        given = {name: Value(one) for name, one in running.parameters.items()}
        planned = dataclasses.replace(planned, bindings=given)
        called = _Called(None, running, observer, 1)
        took = (started, time.perf_counter() - clock)
        outputs = tuple(saved.values())
        self._finish(self._written(planned, None, {}, called, outputs, took), clock)

    def _context(self, planned: PlannedStep) -> context.StepContext:
        return context.StepContext(
            self.plan.pipeline,
            planned.name,
            _parameters(planned),
            self.plan.uses or self.plan.model,
            functools.partial(self._load_by_name, planned),
            self._data_in_step,
            self.journal.log if self.journal is not None else lambda logged: None,
            self.root,
        )

    def _keep_series(self, running: context.StepContext) -> None:
        self.series = store_series(self.writer, running.points, self.plan.pipeline, running.step)

    def _run_function(
        self,
        planned: PlannedStep,
        inputs: Mapping[str, Pinned],
        running: context.StepContext,
        printed: list[bytes],
    ) -> _Called:
        """What the function returned, and what it read besides its code and its inputs.

        Every attempt has a context and arguments of its own: what one has logged or changed before
        it failed is not the next one's. ``printed`` is what all of them printed.
        """
        self._call_back(planned, "on_start", running, printed)
        data = [one.spelling for one in planned.bindings.values() if isinstance(one, Pinned)]
        observer = Observer(self.root, planned.closure, [*planned.step.files, *data])

        def once() -> Any:
            nonlocal running
            running = self._context(planned)
            self.metrics, self.metadata = running.metrics, running.metadata
            with context.running(running):
                if planned.fan is not None:
                    return self._rows(planned, inputs, known)
                return planned.step.function(**self._arguments(planned, inputs))

        known = self._known_items(planned, inputs) if planned.fan is not None else {}
        options = planned.step.options
        returned: Any
        attempts = 1
        try:
            with self.capture.step(printed), observer:
                if planned.fan is not None:  # each item has its own attempts
                    returned = guarded(once)
                else:
                    returned, attempts = attempted(options, planned.name, lambda: guarded(once))
        except (GitmlError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also what asyncio and others cancel with
            often = f" in all {options.retries + 1} attempts" if options.retries else ""
            message = f"the step {planned.name} of {self.plan.pipeline} failed{often}"
            raise StepFailed(message) from error
        finally:
            self._keep_series(running)
        if not planned.step.is_command:
            self._name_once(f"{planned.name} started {one}" for one in observer.subprocesses)
        return _Called(returned, running, observer, attempts)

    def _arguments(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> dict[str, Any]:
        return {
            name: binding.value if isinstance(binding, Value) else self._load(planned, name, inputs)
            for name, binding in planned.bindings.items()
        }

    def _call_back(
        self,
        planned: PlannedStep,
        moment: Moment,
        running: context.StepContext,
        printed: list[bytes],
        error: BaseException | None = None,
    ) -> None:
        """Tell the step's callback; when that raises, say so and go on."""
        callbacks = planned.step.options.callbacks
        if getattr(callbacks, moment) is None:
            return
        with self.capture.step(printed), context.running(running):
            problem = callbacks.call(moment, error)
        if problem is not None:
            self.tell(StepEvent("", "note", notes=(f"{planned.name}: {problem}",)))

    def _redefined(self, planned: PlannedStep) -> bool:
        """Whether a cell gave a name that the step reaches another meaning since the plan."""
        name = planned.closure.redefined
        if name is not None:
            note = f"`{name}` was redefined while {planned.name} ran: its result is not reused"
            self._name_once([note])
        return name is not None

    def _store_outputs(self, planned: PlannedStep, returned: Any) -> tuple[Output, ...]:
        specs = planned.step.outputs
        if planned.fan is not None:
            return self._store_items(planned, returned)
        fields = field_names(planned.step.hints.get("return"))
        if fields and field_names(returned) == fields:
            values: Sequence[Any] = [getattr(returned, one) for one in fields]
        else:
            values = _match(specs, returned, planned.name)
        return tuple(
            self._store_output(planned, spec, value)
            for spec, value in zip(specs, values, strict=True)
        )

    def _rows(
        self,
        planned: PlannedStep,
        inputs: Mapping[str, Pinned],
        known: Mapping[str, fanout.Cells],
    ) -> list[fanout.Row]:
        """The results of a step that is mapped, item by item."""
        assert planned.fan is not None  # noqa: S101 - for the type checker
        step, rules = planned.step, self._rules(planned)

        def compute(arguments: dict[str, Any]) -> fanout.Cells:
            call = functools.partial(step.function, **arguments)
            returned, _ = attempted(step.options, planned.name, call)
            return tuple(cell(one, rules) for one in _match(step.outputs, returned, planned.name))

        given = self._arguments(planned, inputs)
        items = fanout.arguments_of(planned.fan, given, planned.name)
        return fanout.rows(planned.fan, items, self._base(planned, inputs), known, compute)

    def _base(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> str:
        """The key of a mapped step without what it is mapped over, empty where it has none."""
        assert planned.fan is not None  # noqa: S101 - for the type checker
        over = planned.fan.over
        rest = {name: one for name, one in planned.bindings.items() if name not in over}
        one = dataclasses.replace(planned, bindings=rest)
        key = self._key(one, {name: given for name, given in inputs.items() if name in rest})
        return key.digest if key is not None else ""

    def _known_items(
        self, planned: PlannedStep, inputs: Mapping[str, Pinned]
    ) -> dict[str, fanout.Cells]:
        """The results of earlier executions by the keys of their items; the newest counts."""
        base = self._base(planned, inputs)
        known: dict[str, fanout.Cells] = {}
        self._reused_sources = set()
        if not base or not self.cache or planned.name in self.part.anew:
            return known
        for entry in self.index.steps_named(planned.name, self.plan.pipeline)[:_TRIED]:
            same = entry.record.map is not None and entry.record.map.key == base
            if same and self._same_commit_code(entry) and self._usable(entry):
                with contextlib.suppress(CorruptData, MissingBytes):  # they are computed again
                    known = {**self._items_of(planned, entry), **known}
                    self._reused_sources |= self._lineage.sources(entry.parents[1:])
        return known

    def _same_commit_code(self, entry: StepEntry) -> bool:
        """Whether an execution is of code of this run's history, so that its bytes may be too."""
        return self.past.belongs(entry.record.code) and all(map(self.past.has, entry.parents[1:]))

    def _items_of(self, planned: PlannedStep, entry: StepEntry) -> dict[str, fanout.Cells]:
        """The results of an execution by the keys of its items; raises CorruptData."""
        named = {one.name: one for one in entry.record.outputs}
        table = arrow.read(self.writer.read(named[fanout.ITEMS].digest))
        stored = [self.writer.read(named[one.name].digest) for one in planned.step.outputs]
        return fanout.known_rows(table, map(cells, stored))

    def _store_items(self, planned: PlannedStep, rows: Sequence[fanout.Row]) -> tuple[Output, ...]:
        """The results of a mapped step, each output a list, and the table of the items."""
        made = []
        for n, spec in enumerate(planned.step.outputs):
            results = Items(tuple(one.cells[n] for one in rows))
            made.append(replace(self._store_output(planned, spec, results), type="list"))
        artifact = f"{self.plan.pipeline}.{planned.name}.{fanout.ITEMS}"
        table = fanout.table_of(rows)
        items = store_value(self.writer, table, name=fanout.ITEMS, artifact=artifact, rules=Rules())
        return (*made, items)

    def _reached(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> tuple[ObjectId, ...]:
        """The sources of results that were taken over, where the inputs do not lead to them."""
        if planned.fan is None:
            return ()
        mine = self._lineage.sources([one.commit for one in inputs.values()], built=self._built)
        return tuple(sorted(self._reused_sources - mine))

    def _map(
        self, planned: PlannedStep, inputs: Mapping[str, Pinned], called: _Called
    ) -> Map | None:
        """What the record says of the items."""
        if planned.fan is None:
            return None
        cached = sum(one.cached for one in called.returned)
        key = self._base(planned, inputs) if not called.seen.unstable else ""
        return Map(planned.fan.kind, planned.fan.over, len(called.returned), cached, key or None)

    def _store_output(self, planned: PlannedStep, spec: OutputSpec, value: Any) -> Output:
        rules = self._rules(planned)
        try:
            made = store_value(
                self.writer,
                value,
                name=spec.name,
                artifact=artifact_name(self.plan.pipeline, planned, spec),
                rules=rules,
            )
            self._name_wavering(_materializer(made), value, rules)
            return made
        except UnsupportedValue as error:
            raise UnsupportedValue(
                f"the output `{spec.name}` of the step {planned.name} cannot be stored",
                hint=error.hint,
            ) from error

    def _name_wavering(self, materializer: str, value: Any, rules: Rules) -> None:
        """Say once in a run that a materializer makes other bytes of the same value each time."""
        if materializer in self._tried:
            return
        self._tried.add(materializer)
        if materializers.wavers(materializer, value, rules):
            self._name_once(
                [
                    f"the materializer {materializer} is not deterministic: it makes other bytes "
                    "of the same value each time, so what uses the value always runs again"
                ]
            )

    def _rules(self, planned: PlannedStep) -> Rules:
        """What may be loaded and stored: what the repository allows, and the step's own types."""
        return dataclasses.replace(self.rules, trusted_modules=planned.closure.modules)

    def _load(self, planned: PlannedStep, name: str, inputs: Mapping[str, Pinned]) -> Any:
        wanted = without_none(planned.step.hints.get(name))
        return self._value(planned, inputs[name], wanted)

    def _value(self, planned: PlannedStep, given: Pinned, wanted: Any) -> Any:
        content = StoredContent(self.writer, given.output, given.path)
        return materializers.load_value(
            content, _materializer(given.output), plain_type(wanted), self._rules(planned)
        )

    def _load_by_name(self, planned: PlannedStep, name: str, wanted: type | None) -> Any:
        """What a step loads itself; it becomes an input of the step, by commit."""
        given = self._look_up(name)
        running = context.get_context()
        running.loads[name] = _input(name, given)
        return self._value(planned, given, wanted)

    def _look_up(self, name: str) -> Pinned:
        """What a name meant when the run was planned; a path is a data file of the repository."""
        if name.startswith(_DATA):
            return self.take_data(name.removeprefix(_DATA))
        return pinned(name, self.names.resolve(name))

    def _data_in_step(self, path: str) -> Path:
        name = f"{_DATA}{posixpath.normpath(path)}"
        given = self._look_up(name)
        context.get_context().loads[name] = _input(name, given)
        return given.path or self.root / path

    def _keep(self, printed: Sequence[bytes]) -> Log | None:
        data = b"".join(printed)
        return Log(self.writer.put_bytes(data), len(data)) if data else None

    def _warn(self, planned: PlannedStep) -> None:
        """Say once what about a step's code deserves to be known."""
        notes = [f"{planned.name}: {one}" for one in planned.closure.warnings]
        if planned.closure.uncached is not None:
            notes.append(f"{planned.name} is not cached: {planned.closure.uncached}")
        self._name_once(notes)

    def _name_once(self, notes: Iterable[str]) -> None:
        fresh = [one for one in notes if one not in self._warned]
        self._warned.update(fresh)
        if fresh:
            self.tell(StepEvent("", "note", notes=tuple(fresh)))


def _as_it_is(planned: PlannedStep, entry: StepEntry, *, taken: bool = False) -> Done:
    """An earlier execution adopted as the same commit."""
    return Done(
        planned.name,
        entry.id,
        entry.record,
        entry.metrics,
        entry.parents,
        entry.at,
        cached=True,
        new=False,
        taken=taken,
    )


def store_value(writer: Writer, value: Any, *, name: str, artifact: str, rules: Rules) -> Output:
    """A value in the store, as the output that records name; raises UnsupportedValue."""
    materializer = materializers.for_value(value, rules)
    saved = materializers.saved(materializer, value, rules)
    kind = "blob"
    if isinstance(saved, bytes):
        digest, size = writer.put_bytes(saved), len(saved)
    elif saved.is_dir():
        kind = "tree"
        digest, size = writer.put_directory(saved)
    else:
        digest, size = writer.put_file(saved)
    return Output(
        name=name,
        artifact=artifact,
        digest=digest,
        kind=kind,
        size=size,
        materializer=f"{materializer.name}/{materializer.version}",
        type=materializers.type_name(value),
        metadata=materializer.metadata(value),
    )


def store_series(writer: Writer, points: series.Points, pipeline: str, step: str) -> Output | None:
    """The series of a step in the store, as one of its outputs; None where it logged none."""
    if not points:
        return None
    artifact = f"{pipeline}.{step}.{SERIES}"
    made = store_value(writer, points.table(), name=SERIES, artifact=artifact, rules=Rules())
    return replace(made, metadata={**made.metadata, "points": points.counts()})


def plain_type(annotation: Any) -> type | None:
    """The class behind a parameter's annotation, None where it says nothing definite."""
    if typing.get_origin(annotation) is typing.Annotated:
        return plain_type(typing.get_args(annotation)[0])
    return annotation if isinstance(annotation, type) else None


_UNFINISHED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def _match(specs: Sequence[OutputSpec], returned: Any, step: str) -> Sequence[Any]:
    """The returned values, one for each declared output; raises UsageError for a wrong count."""
    if isinstance(returned, _UNFINISHED):
        if isinstance(returned, types.CoroutineType):
            returned.close()
        raise UsageError(
            f"the step {step} returned a {type(returned).__name__}, which cannot be stored",
            hint="return a list, a table or a file",
        )
    if not specs:
        if returned is not None:
            raise UsageError(f"the step {step} is annotated `-> None` and returned a value")
        return ()
    if len(specs) == 1:
        return (returned,)
    if not isinstance(returned, (tuple, list)) or len(returned) != len(specs):
        count = len(returned) if isinstance(returned, (tuple, list)) else 1
        raise UsageError(
            f"the step {step} declares {len(specs)} outputs and returned {count}",
            hint="return a tuple with one value for each",
        )
    return returned


def _input(name: str, given: Pinned) -> Input:
    output = given.output
    return Input(name, output.digest, output.kind, given.commit, output.artifact or None)


def _besides(loads: Iterable[str], paths: Iterable[str]) -> list[str]:
    """The paths that are not, and not below, data that the step asked for by name."""
    data = [one.removeprefix(_DATA) for one in loads if one.startswith(_DATA)]
    return [one for one in paths if not any(f"{one}/".startswith(f"{path}/") for path in data)]


def _parameters(planned: PlannedStep) -> dict[str, Any]:
    bindings = planned.bindings.items()
    return {name: one.value for name, one in bindings if isinstance(one, Value)}


def _recorded_parameters(planned: PlannedStep) -> dict[str, Any]:
    """The parameters without those that are mapped over: these stand in the table of the items."""
    over = planned.fan.over if planned.fan is not None else ()
    return {name: one for name, one in _parameters(planned).items() if name not in over}


def _content_id(output: Output) -> str:
    return str(output.digest) if output.kind == "blob" else f"tree {output.digest}"


def _declared(spec: OutputSpec) -> str:
    """The materializer that a declared output will use, as far as its annotation tells."""
    wanted = plain_type(spec.annotation)
    found = materializers.for_type(wanted) if wanted is not None else None
    return materializers.identity(found) if found is not None else ""


def _materializer(output: Output) -> str:
    return output.materializer.partition("/")[0]
