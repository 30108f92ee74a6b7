"""One call of a step: its function with what it is given, watched, captured and stored.

Whatever it says while it runs is in ``said`` at once, so that a step which does not finish leaves
that much. What it read besides its inputs is in what comes back, for the record and the cache.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gitml.entities.records import Log, Output
from gitml.errors import GitmlError, StepFailed, StorageError, UsageError
from gitml.frozen import Frozen
from gitml.history.journal import Items, Journal, Logged, Saved
from gitml.materializers import Rules
from gitml.pipelines import context
from gitml.pipelines.annotations import OutputSpec, without_none
from gitml.pipelines.attempts import attempted, guarded, own_process
from gitml.pipelines.fanout import FanOut
from gitml.pipelines.given import Given
from gitml.pipelines.observe import MOST_ANSWERS, Observer
from gitml.pipelines.options import Moment
from gitml.pipelines.outcome import Said, StepEvent, Telling
from gitml.pipelines.output import Capture
from gitml.pipelines.plan import Pinned, Plan, PlannedStep, Value
from gitml.pipelines.storing import Storing, store_series
from gitml.store.store import Writer

P = ParamSpec("P")
T = TypeVar("T")

_BETWEEN_NOTES = 1.0
"""Seconds of results of items that a kill may lose."""

Save = Callable[[str, Any], None]


class Called(Frozen):
    """A call that went well: its outputs, its context, what was seen, and the attempts it took.

    ``started`` is in seconds since the epoch, ``duration`` in seconds. ``is_reusable`` tells that
    nothing has changed meanwhile of what it depends on, ``interrupt`` is a Ctrl-C that came when it
    was done. Of a step that is called for many items ``fan`` has the values.
    """

    outputs: tuple[Output, ...]
    running: context.StepContext
    seen: Observer
    started: float
    duration: float
    attempts: int = 1
    fan: FanOut | None = None
    is_reusable: bool = True
    interrupt: KeyboardInterrupt | None = None


@dataclass
class Calling:
    """Calls the steps of one run; ``said`` is of the step at work, ``journal`` keeps what it says.

    A run that is not to be recorded has no journal.
    """

    root: Path
    plan: Plan
    writer: Writer
    general_rules: Rules
    capture: Capture
    given: Given
    journal: Journal | None
    telling: Telling
    said: Said = field(default_factory=Said)

    def __post_init__(self) -> None:
        self._storing = Storing(self.writer, self.plan.pipeline)
        self._turn = threading.RLock()  # a step's threads may load and save, one at a time

    def rules(self, planned: PlannedStep) -> Rules:
        """What may be loaded and stored: what the repository allows, and the step's own types."""
        return replace(self.general_rules, trusted_modules=planned.closure.modules)

    def call(
        self, planned: PlannedStep, inputs: Mapping[str, Pinned], fan: FanOut | None
    ) -> Called:
        """Call a step's function, as often as its options say.

        Raises what the last attempt raised, as StepFailed where it is no error of gitml's.
        """
        started, clock = time.time(), time.perf_counter()
        printed: list[bytes] = []
        running = self._context(planned)
        try:
            self._call_back(planned, "on_start", running, printed)
            returned, running, seen, attempts = self._run(planned, inputs, fan, printed)
            outputs = self._store(planned, returned, fan)
        except GitmlError as error:
            self._call_back(planned, "on_failure", running, printed, error.__cause__ or error)
            raise
        finally:
            self.said.log = self._keep(printed)
        interrupt = None
        try:
            self._call_back(planned, "on_success", running, printed)
        except KeyboardInterrupt as error:  # the step is done, and its record must stand
            interrupt = error
        self.said.log = self._keep(printed)
        reusable = not self._is_redefined(planned) and self._is_reusable(planned, seen)
        outputs = self._with_said(running, outputs)
        took = round(time.perf_counter() - clock, 6)
        return Called(outputs, running, seen, started, took, attempts, fan, reusable, interrupt)

    @contextlib.contextmanager
    def block(
        self, planned: PlannedStep, ended: Callable[[Called], None]
    ) -> Iterator[tuple[context.StepContext, Save]]:
        """A block of somebody's code in the place of a call; ``ended`` is told how it went.

        It is given the step's context and what saves a value as an output.
        """
        started, clock, printed = time.time(), time.perf_counter(), list[bytes]()
        running = self._context(planned)
        running.is_block = True
        self.said = Said(metrics=running.metrics, metadata=running.metadata)
        seen = Observer(self.root, planned.closure)
        saved: dict[str, Output] = {}
        is_over = False

        def save(name: str, value: Any) -> None:
            spec = OutputSpec(name, name, None)
            with self._turn:
                if is_over:
                    raise UsageError(f"the run {self.plan.pipeline} has ended")
                saved[name] = self._storing.output(planned, spec, value, self.rules(planned))
                if self.journal is not None:
                    self.writer.flush()
                    self.journal.save(Saved(planned.name, saved[name], time.time()))
                running.outputs = tuple(saved)
                self.said.outputs = tuple(saved.values())

        try:
            with self.capture.step(printed), seen, context.running(running), own_process():
                yield running, save
        finally:
            with self._turn:
                is_over = True
            self.said.log = self._keep(printed)
            self._keep_series(running)
        outputs = self._with_said(running, tuple(saved.values()))
        ended(Called(outputs, running, seen, started, round(time.perf_counter() - clock, 6)))

    def _run(
        self,
        planned: PlannedStep,
        inputs: Mapping[str, Pinned],
        fan: FanOut | None,
        printed: list[bytes],
    ) -> tuple[Any, context.StepContext, Observer, int]:
        """What the function returned, its context, what it read, and the attempts that it took.

        Every attempt has a context and arguments of its own: what one has logged or changed before
        it failed is not the next one's. ``printed`` is what all of them printed.
        """
        data = [one.spelling for one in planned.bindings.values() if isinstance(one, Pinned)]
        seen = Observer(self.root, planned.closure, [*planned.files, *data])
        running = self._context(planned)

        noted = time.monotonic()

        def item_done(done: int, many: int) -> None:
            nonlocal noted
            self.telling.tell(StepEvent(planned.name, "items", items=(done, many)))
            if time.monotonic() - noted > _BETWEEN_NOTES:
                self._note_items(fan, running, seen)
                noted = time.monotonic()

        def once() -> Any:
            nonlocal running
            running = self._context(planned)
            self.said.metrics, self.said.metadata = running.metrics, running.metadata
            with context.running(running):
                given = self._arguments(planned, inputs)
                large = [name for name, one in inputs.items() if one.is_argument]
                running.parameters.update({name: given[name] for name in large})
                if fan is None:
                    return guarded(lambda: planned.step.function(**given))
                return guarded(lambda: fan.call(given, item_done))

        options, attempts = planned.step.options, 1
        returned: Any
        try:
            with self.capture.step(printed), seen:
                if fan is not None:  # each item has its own attempts
                    returned = once()
                else:
                    returned, attempts = attempted(options, planned.name, once)
        except BaseException as error:  # also what asyncio and others cancel with
            self._keep_items(fan, running, seen)
            if isinstance(error, (GitmlError, KeyboardInterrupt, SystemExit)):
                raise
            often = f" in all {options.retries + 1} attempts" if options.retries else ""
            message = f"the step {planned.name} of {self.plan.pipeline} failed{often}"
            raise StepFailed(message) from error
        finally:
            self._keep_series(running)
        if not planned.step.is_command:
            self.telling.note_once(f"{planned.name} started {one}" for one in seen.subprocesses)
        return returned, running, seen, attempts

    def _note(self, logged: Logged) -> None:
        if self.journal is not None:
            self.journal.log(logged)

    def _note_items(self, fan: FanOut | None, running: context.StepContext, seen: Observer) -> None:
        """Let a kill of this process not lose the items that are done."""
        if self.journal is None or fan is None or not fan.base or running.loads:
            return
        table = fan.fresh()
        if table is None:
            return
        so_far, root, at = seen.so_far(), str(self.root), time.time()
        if len(so_far.certain) > MOST_ANSWERS:
            return
        files, certain = so_far.files, so_far.certain
        items = Items(running.step, fan.base, fan.made_of, root, files, certain, table, at)
        with contextlib.suppress(StorageError):  # that is no reason to lose them now
            self.journal.add_items(items)

    def _context(self, planned: PlannedStep) -> context.StepContext:
        return context.StepContext(
            self.plan.pipeline,
            planned.name,
            planned.parameters,
            planned.uses or planned.makes,
            self._one_by_one(functools.partial(self._load_by_name, planned)),
            self._one_by_one(self.given.data),
            self._note,
            self.root,
            tuple(one.name for one in planned.step.outputs),
            take=self._one_by_one(self.given.take),
        )

    def _one_by_one(self, call: Callable[P, T]) -> Callable[P, T]:
        """A function that the threads of a step may call, each in its turn."""

        def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._turn:
                return call(*args, **kwargs)

        return in_turn

    def _load_by_name(self, planned: PlannedStep, name: str, wanted: type | None) -> Any:
        """What a step loads itself; it becomes an input of the step, by commit."""
        return self.given.value(self.given.take(name), wanted, self.rules(planned))

    def _arguments(self, planned: PlannedStep, inputs: Mapping[str, Pinned]) -> dict[str, Any]:
        hints, rules = planned.step.hints, self.rules(planned)
        found = {}
        for name, binding in planned.bindings.items():
            if isinstance(binding, Value):
                found[name] = binding.value
                continue
            one = inputs[name]
            wanted = None if one.is_argument else without_none(hints.get(name))
            found[name] = self.given.value(one, wanted, rules)
        return found

    def _store(self, planned: PlannedStep, returned: Any, fan: FanOut | None) -> tuple[Output, ...]:
        if fan is not None:
            return fan.stored(self._storing, self.plan.pipeline)
        return self._storing.outputs(planned, returned, self.rules(planned))

    def _with_said(
        self, running: context.StepContext, outputs: tuple[Output, ...]
    ) -> tuple[Output, ...]:
        """The outputs with what was said of them, and the series."""
        self._keep_series(running)
        self.telling.note_once(self._storing.notes)
        outputs = running.with_said(outputs)
        return (*outputs, self.said.series) if self.said.series is not None else outputs

    def _keep_series(self, running: context.StepContext) -> None:
        pipeline, step = self.plan.pipeline, running.step
        self.said.series = store_series(self.writer, running.points, pipeline, step)

    def _keep_items(self, fan: FanOut | None, running: context.StepContext, seen: Observer) -> None:
        """Keep the results of a mapped step that has failed, so that the next run has them."""
        if fan is None or not fan.base or running.loads or not seen.is_reusable:
            return
        with contextlib.suppress(StorageError):  # the step has failed already
            self.said.items = fan.kept(self.plan.pipeline, seen.record())

    def _keep(self, printed: Sequence[bytes]) -> Log | None:
        data = b"".join(printed)
        return Log(self.writer.put_bytes(data), len(data)) if data else None

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
            self.telling.tell(StepEvent("", "note", notes=(f"{planned.name}: {problem}",)))

    def _is_reusable(self, planned: PlannedStep, seen: Observer) -> bool:
        """Whether what the step has seen can be looked at again."""
        if seen.asks_too_much:
            note = (
                f"{planned.name} asked about more than {MOST_ANSWERS:,} files: its result is not "
                "reused, unless `@step(files=[…])` names their folder"
            )
            self.telling.note_once([note])
        return seen.is_reusable

    def _is_redefined(self, planned: PlannedStep) -> bool:
        """Whether a cell gave a name that the step reaches another meaning since the plan."""
        name = planned.closure.redefined
        if name is not None:
            note = f"`{name}` was redefined while {planned.name} ran: its result is not reused"
            self.telling.note_once([note])
        return name is not None
