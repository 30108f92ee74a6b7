"""Runs the steps of a plan: from the cache where the key and its conditions hold, else by calling.

One ``Execution`` is one run. It owns the run's writer (bytes), recorder (records), journal and
captured output. Nothing is visible to others before the run is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.entities.records import Output, RunStep, Step
from gitml.errors import GitmlError, MissingBytes, StorageError, UsageError
from gitml.frozen import replace
from gitml.history.entries import StepEntry
from gitml.history.index import Index
from gitml.history.journal import FinishedStep, Journal
from gitml.history.lineage import Lineage
from gitml.history.record import Recorder, timestamp
from gitml.history.revs import Names
from gitml.materializers import Rules
from gitml.pipelines import context
from gitml.pipelines.cache import StepKey, step_key
from gitml.pipelines.calling import Called, Calling, Save
from gitml.pipelines.dsl import Handle
from gitml.pipelines.fanout import FanOut
from gitml.pipelines.given import Given, as_input, data_among
from gitml.pipelines.observe import digest_files
from gitml.pipelines.outcome import Done, FailedStep, Said, StepEvent, Telling, as_it_is
from gitml.pipelines.output import Capture
from gitml.pipelines.past import Past
from gitml.pipelines.plan import FromStep, Pinned, Plan, PlannedStep, Value
from gitml.pipelines.reuse import Earlier
from gitml.pipelines.selection import Part
from gitml.pipelines.signature import warnings as misfits
from gitml.pipelines.storing import declared
from gitml.store.store import Store, Writer


@dataclass
class Execution:
    """One run in progress.

    ``done`` grows in plan order; ``current`` is the step at work. A run that is not to be recorded
    has no journal; ``packages`` is the text of the environment where that counts for the cache;
    ``past`` is the history of the run's code, and ``earlier`` are the executions that may stand for
    its steps.
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
    done: dict[str, Done] = field(default_factory=dict)
    failed: dict[str, FailedStep] = field(default_factory=dict)
    current: str = ""
    _skipped: set[str] = field(default_factory=set)
    _interrupt: KeyboardInterrupt | None = None
    stages: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.past = Past(self.recorder.git, self.index, self.recorder.odb, self.plan.code)
        self._given = Given(self.root, self.writer, self.names, self.take_data)
        self.earlier = Earlier(
            self.root,
            self.index,
            self.store,
            self.writer,
            self.past,
            self._given.look_up,
            self.started,
        )
        self._telling = Telling()
        self._calling = Calling(
            self.root,
            self.plan,
            self.writer,
            self.rules,
            self.capture,
            self._given,
            self.journal,
            self._telling,
        )
        self._lineage = Lineage(self.index, self.recorder.odb)
        self._python = f"{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def tell(self) -> Callable[[StepEvent], None]:
        """What is told each event."""
        return self._telling.tell

    @tell.setter
    def tell(self, tell: Callable[[StepEvent], None]) -> None:
        self._telling.tell = tell

    @property
    def said(self) -> Said:
        """What the step at work has said so far."""
        return self._calling.said

    def steps(self, planned: Iterable[PlannedStep]) -> None:
        """Do steps in their order, each as `step` does."""
        for one in planned:
            self.step(one)

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
            self.failed[planned.name] = FailedStep(error, self.said)
            self.tell(StepEvent(planned.name, "failed"))

    def end(self) -> None:
        """Raise the first failure of a run that went on after it."""
        for name, failed in self.failed.items():
            self.current, self._calling.said = name, failed.said
            raise failed.error

    def _do(self, planned: PlannedStep) -> None:
        began = time.perf_counter()
        self._begin(planned.name)
        if self._known(planned, began):
            return
        if self._make_inputs_again(planned):
            self._begin(planned.name)
            if self._adopted(planned, began):
                return
        self._warn(planned)
        self.tell(StepEvent(planned.name, "started"))
        inputs = self._inputs(planned)
        self._telling.note_once(misfits(planned.name, inputs, self.index, self._records))
        self._finish(self._called(planned, inputs), began)

    def _records(self) -> dict[ObjectId, Step]:
        return {one.commit: one.record for one in self.done.values()}

    def _begin(self, step: str) -> None:
        self.current, self._calling.said = step, Said()

    def _adopted(self, planned: PlannedStep, began: float) -> bool:
        """Whether a cached execution could be adopted; then the step is done."""
        inputs = self._inputs(planned)
        key = self._key(planned, inputs)
        hit = self._hit(planned, key, inputs)
        if hit is None or not all(map(self.earlier.keeps, hit.record.outputs)):
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
        if entry is None or not all(map(self.earlier.keeps, entry.record.outputs)):
            return False
        self._telling.note_once(self.part.notes)
        self._finish(as_it_is(planned.name, entry, taken=True), began)
        return True

    def _takeable(self, planned: PlannedStep) -> StepEntry | None:
        """The earlier result to take over, if it was made of what the steps before it give now."""
        entry = self.part.taken.get(planned.name)
        if entry is None:
            return None
        had = {one.name: one.digest for one in entry.record.inputs}
        given = planned.bindings.items()
        same = all(
            had.get(name) == self._input_of(binding).output.digest
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
            if self.earlier.is_whole(self._input_of(binding).output):
                continue
            note = f"{binding.step} runs again: its output `{binding.output}` is damaged"
            self._telling.note_once([f"{note} in the store"])
            producer = next(one for one in self.plan.steps if one.name == binding.step)
            self._make_inputs_again(producer)
            self._begin(producer.name)
            began = time.perf_counter()
            self.tell(StepEvent(producer.name, "started"))
            inputs = self._inputs(producer)
            self._finish(self._called(producer, inputs), began)
            again = True
        return again

    def _finish(self, done: Done, began: float) -> None:
        """Note a step as done, so that a kill of this process does not lose it."""
        self.done[done.name] = done
        if self.journal is not None:
            if done.new:
                self.writer.flush()
            entry = RunStep(done.name, done.state, done.commit)
            record = done.record if done.new else None
            self.journal.add(FinishedStep(entry, record, done.metrics, done.at))
        many = done.record.map if done.state == "completed" else None
        items = (many.cached, many.items) if many is not None else None
        self.tell(StepEvent(done.name, done.state, time.perf_counter() - began, items=items))
        if self._interrupt is not None:
            raise self._interrupt

    def salvage(self) -> None:
        """Keep the bytes of the steps that are done, when no more can be written.

        A step whose bytes could not be kept, or one that was made of it, is not done any more: no
        record may name what the store does not have.
        """
        with contextlib.suppress(StorageError):
            self.writer.salvage()
        self.said.forget_lost(self.store.has)
        lost: set[ObjectId] = set()
        for done in list(self.done.values()):
            if not lost.isdisjoint(done.parents) or not self._is_kept(done.record):
                lost.add(done.commit)
                del self.done[done.name]

    def pause(self) -> None:
        """Say that no step is at work: what happens now is the body's doing."""
        self._begin("")

    def load(self, handle: Handle, wanted: type | None) -> Any:
        """The value of an output of a step that is done."""
        planned = next(one for one in self.plan.steps if one.name == handle.node)
        binding = FromStep(handle.node, handle.output)
        self._make_inputs_again(dataclasses.replace(planned, bindings={"value": binding}))
        return self._given.value(self._input_of(binding), wanted, self._calling.rules(planned))

    def _is_kept(self, record: Step) -> bool:
        """Whether all bytes that a step's record names are here."""
        named = [one.digest for one in (*record.inputs, *record.loads)]
        if record.log is not None:
            named.append(record.log.digest)
        return all(map(self.store.has, named)) and all(map(self.earlier.has, record.outputs))

    def forecast(self, planned: PlannedStep) -> tuple[StepKey | None, StepEntry | None]:
        """The key that a step would have now and the execution that it would adopt.

        Both None while an input is not known or where the step cannot be cached. A step with a hit
        counts as done, so that the steps behind it can be forecast too.
        """
        key = hit = None
        if self.waits_for(planned) is None:
            inputs = self._inputs(planned)
            key = self._key(planned, inputs)
            hit = self._hit(planned, key, inputs)
        if hit is not None:
            self.done[planned.name] = as_it_is(planned.name, hit)
        elif (taken := self._takeable(planned)) is not None:
            self.done[planned.name] = as_it_is(planned.name, taken, taken=True)
        return key, hit

    def ignored(self, planned: PlannedStep, entry: StepEntry) -> list[str]:
        """What differs from an execution, and the step's policy ignores."""
        return planned.ignored_of(entry.record, self._inputs(planned))

    def waits_for(self, planned: PlannedStep) -> str | None:
        """The first step whose output a step needs and that is not done."""
        bound = (one for one in planned.bindings.values() if isinstance(one, FromStep))
        return next((one.step for one in bound if one.step not in self.done), None)

    def _inputs(self, planned: PlannedStep) -> dict[str, Pinned]:
        return {
            name: self._input_of(binding)
            for name, binding in planned.bindings.items()
            if not isinstance(binding, Value)
        }

    def _input_of(self, binding: FromStep | Pinned) -> Pinned:
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
        policy = planned.policy
        counted = policy.counted(inputs)
        return step_key(
            name=step.name,
            closure=closure,
            parameters=policy.counted(planned.parameters),
            inputs={name: _content_id(one.output) for name, one in counted.items()},
            outputs=[(one.name, declared(one)) for one in step.outputs],
            input_materializers={name: one.output.materializer for name, one in counted.items()},
            environment={name: self.environment.get(name) for name in step.environment},
            files=digest_files(self.root, planned.files),
            python=self._python,
            packages=self.packages,
            fan=planned.fan.text if planned.fan is not None else "",
            said=planned.said,
            code=policy.include_step_code,
        )

    def _hit(
        self, planned: PlannedStep, key: StepKey | None, inputs: Mapping[str, Pinned]
    ) -> StepEntry | None:
        """The earlier execution that stands for a step, where there is one and it may."""
        if key is None or not self._asks_cache(planned):
            return None
        return self.earlier.hit(planned, key.digest, inputs)

    def _asks_cache(self, planned: PlannedStep) -> bool:
        return self.cache and planned.name not in self.part.anew

    def _adopt(self, planned: PlannedStep, entry: StepEntry, inputs: Mapping[str, Pinned]) -> Done:
        if self.earlier.is_ours(entry, planned.policy.counted(inputs)):
            return as_it_is(planned.name, entry)
        given = tuple(as_input(name, one) for name, one in inputs.items())
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

    def _called(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> Done:
        """A step whose function is called now."""
        key = self._key(planned, inputs)
        called = self._calling.call(planned, inputs, self._fan_out(planned, inputs))
        self._interrupt = called.interrupt
        if not called.is_reusable:
            key = None
        return self._written(planned, key, inputs, called)

    @contextlib.contextmanager
    def block(self, planned: PlannedStep) -> Iterator[tuple[context.StepContext, Save]]:
        """The work of a step as a block of somebody's code, which is never cached.

        It is given the step's context and what saves a value as an output; whoever the block raises
        to has to record the failure.
        """
        clock, ended = time.perf_counter(), list[Called]()
        self._begin(planned.name)
        self.tell(StepEvent(planned.name, "started"))
        with self._calling.block(planned, ended.append) as (running, save):
            try:
                yield running, save
            finally:
                self.plan = dataclasses.replace(self.plan, parameters=dict(running.parameters))
        given = {name: Value(one) for name, one in running.parameters.items()}
        planned = dataclasses.replace(planned, bindings=given)
        self._finish(self._written(planned, None, {}, *ended), clock)

    def _written(
        self,
        planned: PlannedStep,
        key: StepKey | None,
        inputs: Mapping[str, Pinned],
        called: Called,
    ) -> Done:
        """The record of a call that went well."""
        running, seen = called.running, called.seen
        made = running.model.name if running.model is not None else ""
        self.stages |= {(made, stage): reason for stage, reason in running.stages.items()}
        record = Step(
            name=planned.name,
            pipeline=self.plan.pipeline,
            source=planned.closure.source,
            code=self.plan.code,
            code_id=planned.closure.code_id,
            files=planned.closure.files,
            parameters=_recorded_parameters(planned),
            inputs=tuple(as_input(name, one) for name, one in inputs.items()),
            outputs=called.outputs,
            started=timestamp(called.started),
            duration=called.duration,
            key=key.digest if key else None,
            parts=key.parts if key else {},
            loads=tuple(running.loads.values()),
            observed=seen.record(data_among(running.loads)),
            metadata=running.metadata,
            log=self.said.log,
            attempts=called.attempts if called.attempts > 1 else None,
            map=called.fan.record(reusable=seen.is_reusable) if called.fan else None,
            reached=called.fan.reached() if called.fan else (),
            cell=planned.closure.cell,
            links=running.links or None,
        )
        metrics = dict(running.metrics)
        at = called.started + called.duration
        return self._recorded(planned, record, metrics, at, cached=False)

    def _fan_out(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> FanOut | None:
        """The execution of a step that is called for many items, with those that are known."""
        if planned.fan is None:
            return None
        given = {n: one for n, one in planned.bindings.items() if n not in planned.fan.over}
        rest = {name: one for name, one in inputs.items() if name in given}
        key = self._key(dataclasses.replace(planned, bindings=given), rest)
        sources = self._lineage.sources([one.commit for one in inputs.values()], built=self._built)
        rules = self._calling.rules(planned)
        fan = FanOut(planned, key.digest if key else "", sources, rules, self.writer)
        if key is not None and self._asks_cache(planned):
            for entry in self.earlier.with_items(planned, self.plan.pipeline, key.digest):
                fan.learn(entry, self._lineage.sources(entry.parents[1:]))
            for kept in self.earlier.kept_items(planned, self.plan.pipeline, key.digest, sources):
                fan.learn_kept(kept)
        return fan

    def _warn(self, planned: PlannedStep) -> None:
        """Say once what about a step's code deserves to be known."""
        notes = [f"{planned.name}: {one}" for one in planned.closure.warnings]
        if planned.closure.uncached is not None:
            notes.append(f"{planned.name} is not cached: {planned.closure.uncached}")
        self._telling.note_once(notes)


def _recorded_parameters(planned: PlannedStep) -> dict[str, Any]:
    """The parameters without those that are mapped over: these stand in the table of the items."""
    over = planned.fan.over if planned.fan is not None else ()
    return {name: one for name, one in planned.parameters.items() if name not in over}


def _content_id(output: Output) -> str:
    return str(output.digest) if output.kind == "blob" else f"tree {output.digest}"
