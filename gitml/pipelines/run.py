"""A run from plan to record: executes, unites what the steps logged, publishes all at once.

The order is the law of promises.md: bytes durable first, then the records as one pack, then all
refs in one transaction. A run that fails or is interrupted is recorded too, with the steps that
finished; it makes no version.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import (
    Code,
    Failure,
    Run,
    RunStep,
)
from gitml.errors import GitmlError, MissingBytes, StepFailed, StorageError, some
from gitml.git import refs
from gitml.git.odb import EMPTY_TREE, Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.snapshot import WorkTree, code_state, looking
from gitml.git.upkeep import keep_up
from gitml.history import journal
from gitml.history.entries import VersionEntry
from gitml.history.index import Index
from gitml.history.live import FOLDER, Window
from gitml.history.models import ModelState
from gitml.history.record import (
    Person,
    Recorder,
    run_ref,
    timestamp,
    version_ref,
    version_tag,
)
from gitml.history.revs import Names
from gitml.materializers import Rules
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.environment import environment_text
from gitml.pipelines.execute import Execution
from gitml.pipelines.failure import describe
from gitml.pipelines.options import Callbacks, Moment
from gitml.pipelines.outcome import Done, StepEvent, covering
from gitml.pipelines.output import Capture, Live
from gitml.pipelines.plan import Plan, Planner
from gitml.pipelines.selection import WHOLE, Selection, choose
from gitml.pipelines.session import Session
from gitml.pipelines.sources import DataFiles
from gitml.pipelines.unfold import Do, unfold
from gitml.pipelines.versions import Share, new_version, other_models, same_version, shares, united
from gitml.stack import Stack
from gitml.store.store import Store, Writer
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.pipelines.sealing import Sealing

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: its commit, its record, the versions that it made or resolved to.

    ``versions`` are by model, and ``new`` the models of which it made one. ``stages`` are those
    that its steps have asked for, by model and stage, with the reasons.
    """

    commit: ObjectId
    record: Run
    versions: Mapping[str, ObjectId]
    new: frozenset[str]
    stages: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Runner:
    """Runs pipelines in one repository and records them.

    With ``strict_env`` a step is cached only where every installed package is the same. ``sealing``
    signs what is recorded.
    """

    git: Git
    odb: Odb
    index: Index
    store: Store
    person: Person
    rules: Rules
    environment: Mapping[str, str]
    live: Live = 2
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    strict_env: bool = False
    sealing: Sealing | None = None
    _left_out: tuple[str, ...] = field(default=(), init=False)

    def run(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any],
        stack: Stack,
        *,
        cache: bool = True,
        selection: Selection = WHOLE,
        tell: Callable[[StepEvent], None] = lambda event: None,
    ) -> Finished:
        """Run a pipeline, or the selected part of it, and record it.

        A run that leaves steps out makes no version. Raises what planning raises (nothing is
        recorded then); what a step raises comes out as GitmlError or KeyboardInterrupt with
        ``finished`` set to the recorded run.
        """
        stack.check()
        with self.store.writer() as writer, self._capture() as (capture, window):
            execution, walk = self.prepare(pipeline, parameters, stack.name, writer, capture)
            execution.tell = partial(_told, execution, window, tell)
            execution.cache = cache and execution.cache
            execution.part = choose(pipeline, execution.plan.steps, selection, self.index)
            names = [one.name for one in execution.plan.steps]
            going = tuple(one for one in names if one not in execution.part.left_out)
            execution.tell(StepEvent("", "plan", steps=going))
            self._name_left_out(execution)
            call_back = partial(_call_back, execution, pipeline.callbacks)
            try:
                call_back("on_start")
                walk(execution.steps)
                execution.end()
            except BaseException as error:
                self._record_failure(execution, error)
                if isinstance(error, Exception):
                    call_back("on_failure", error.__cause__ or error)
                raise
            finished = self._complete(execution)
            call_back("on_success")
        return finished

    @contextlib.contextmanager
    def block(
        self, session: Session, stack: Stack, ended: Callable[[Finished], None]
    ) -> Iterator[None]:
        """Run the body of a ``with`` as the one step of a run, and record it.

        ``ended`` is told the recorded run. What it raises comes out as it is, with ``finished`` set
        to the recorded run.
        """
        stack.check()
        with self.store.writer() as writer, self._capture() as (capture, window):
            execution, _ = self.prepare(session.pipeline, {}, stack.name, writer, capture)
            execution.tell = partial(_told, execution, window, lambda event: None)
            (planned,) = execution.plan.steps
            if execution.journal is not None:  # who may not write shall not work first
                execution.journal.begin()
            try:
                with execution.block(planned) as (running, save):
                    session.begin(running, save, execution.names)
                    yield
            except BaseException as error:
                self._record_failure(execution, error)
                raise
            ended(self._complete(execution))

    @contextlib.contextmanager
    def _capture(self) -> Iterator[tuple[Capture, Window]]:
        """What catches the output of steps, where other processes can follow it."""
        with Window(self.git.common / "gitml" / FOLDER) as window, Capture(self.live) as capture:
            capture.open = window.open_log
            yield capture, window

    def _complete(self, execution: Execution) -> Finished:
        """Record a run that has completed."""
        try:
            finished = self._publish(execution, "completed", None)
        except GitmlError:
            execution.salvage()
            raise
        _settle(execution)
        return replace(finished, stages=execution.stages)

    def run_unrecorded(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any],
        stack: Stack,
        *,
        tell: Callable[[StepEvent], None] = lambda event: None,
    ) -> list[str]:
        """Run a pipeline and forget it; the names of its steps.

        Nothing is taken from the cache, and no record, byte or version is kept: for code whose
        commit a shallow clone lacks. What a step raises comes out with ``failure`` set to what a
        record would have said.
        """
        stack.check()
        writer = self.store.writer()
        try:
            with Capture(self.live) as capture:
                execution, walk = self.prepare(
                    pipeline, parameters, stack.name, writer, capture, record=False
                )
                execution.tell = tell
                try:
                    walk(execution.steps)
                    execution.end()
                except Exception as error:
                    failure = describe(error, execution.current, self.environment)
                    error.failure = failure  # type: ignore[attr-defined]
                    raise
        finally:
            writer.abort()
        return list(execution.done)

    def _name_left_out(self, execution: Execution) -> None:
        """Say what the snapshot does not hold, so that nobody believes that it is recorded."""
        files = self._left_out
        if execution.plan.code.snapshot and files:
            note = f"the snapshot leaves out what git does not track: {some(files)}"
            execution.tell(StepEvent("", "note", notes=(note,)))

    def prepare(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any],
        stack: str,
        writer: Writer,
        capture: Capture,
        *,
        record: bool = True,
    ) -> tuple[Execution, Callable[[Do], None]]:
        """A planned run that has not begun; it has written nothing but a snapshot of the code.

        The callable hands its steps to what does them, all at once, or those of a dynamic pipeline
        as its body comes to them. A run that is not to be recorded has written not even the
        snapshot, and uses no cache.
        """
        root = self.git.work_tree()
        with contextlib.ExitStack() as opened:
            seen = opened.enter_context(looking(self.git)) if record else None
            self.index.refresh()
            names = Names.now(self.index, self.odb)
            recorder = self._recorder() if record else Recorder(self.git, self.odb, self.person)
            data = DataFiles(WorkingTree(self.git, lambda: self.store), writer, recorder)
            code = partial(self._code, data, seen) if seen else self._code_as_it_is
            planner = Planner(root, names, stack, data.take, data.take_value, code)
            plan = planner.plan(pipeline, parameters)
        started = time.time()
        journals = journal.folder(self.git.common)
        execution = Execution(
            root=root,
            plan=plan,
            started=started,
            index=self.index,
            names=names,
            store=self.store,
            writer=writer,
            recorder=recorder,
            journal=journal.Journal(journals, self._header(plan, started)) if record else None,
            rules=self.rules,
            capture=capture,
            take_data=data.take,
            environment=self.environment,
            cache=plan.cache and record,
            packages=environment_text().decode() if self.strict_env else None,
        )
        if self.sealing is not None:
            self.sealing.tell = lambda note: execution.tell(StepEvent("", "note", notes=(note,)))
        if pipeline.dynamic:
            return execution, partial(unfold, planner, pipeline, parameters, execution)
        return execution, lambda do: do(execution.plan.steps)

    def _recorder(self) -> Recorder:
        """What makes the records of a run; raises UsageError where they shall be signed in vain."""
        seal = self.sealing
        if seal is None:
            return Recorder(self.git, self.odb, self.person)
        seal.try_out(self.person.at(time.time()))
        return Recorder(self.git, self.odb, self.person, seal.tag, seal.record)

    def _code(self, data: DataFiles, seen: Callable[[], WorkTree], closure: set[str]) -> Code:
        pointers = data.pointers()
        state = code_state(self.git, self.odb, closure=closure, pointers=pointers, seen=seen)
        self._left_out = state.left_out
        return Code(state.commit, state.tree, state.snapshot)

    def _code_as_it_is(self, closure: set[str]) -> Code:
        """What stands for the code of a run that is not recorded: what is checked out."""
        head = self.odb.resolve("HEAD")
        tree = self.odb.commit(head).tree if head is not None else EMPTY_TREE
        return Code(head or EMPTY_TREE, tree)

    def _header(self, plan: Plan, started: float) -> dict[str, Any]:
        return {
            "format": codec.FORMAT,
            "pipeline": plan.pipeline,
            "parameters": dict(plan.parameters),
            "code": codec.to_document(plan.code),
            "stack": plan.stack,
            "started": timestamp(started),
            "model": plan.model.name if plan.model else None,
            "person": [self.person.name, self.person.mail],
            "environment": environment_text().decode(),
            "steps": [step.name for step in plan.steps],
            **({"name": plan.run_name} if plan.run_name else {}),
        }

    def _record_failure(self, execution: Execution, error: BaseException) -> None:
        """Record a run that did not complete; its error carries the recorded run."""
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        state = "interrupted" if interrupted else "failed"
        failure = describe(error, execution.current, self.environment)
        if isinstance(error, StorageError):
            execution.salvage()
        try:
            finished = self._publish(execution, state, failure)
        except GitmlError:  # then the journal stays, and the next command records the run
            execution.salvage()
            return
        _settle(execution)
        error.finished = finished  # type: ignore[attr-defined]
        if isinstance(error, StepFailed):
            has_traceback = failure is not None and failure.type != StepFailed.__name__
            what = "prints the traceback" if has_traceback else "has the record"
            own = f"; {error.hint}" if error.hint and not has_traceback else ""
            error.hint = f"`gitml show {finished.commit.short}` {what}{own}"

    def _publish(self, execution: Execution, state: str, failure: Failure | None) -> Finished:
        """Make the run's bytes durable, then its records, then its refs."""
        started, now = execution.started, time.time()
        plan, done = execution.plan, list(execution.done.values())
        if plan.code.commit not in self.odb:
            raise MissingBytes(
                f"git has collected the snapshot {plan.code.commit.short} during the run",
                hint="commit your changes, then run it again; `git gc` without `--prune=now` waits",
            )
        metrics = united(_logged_metrics(execution, done))
        whole = state == "completed" and not execution.part.left_out
        made = shares(plan, done) if whole else []
        states = {one.model.name: self._model_state(one.model.name) for one in made}
        resolved = self._resolved(execution, made, states)
        main = plan.model.name if plan.model else None
        run = Run(
            pipeline=plan.pipeline,
            state=state,
            code=plan.code,
            stack=plan.stack,
            parameters=plan.parameters,
            steps=tuple(_run_steps(execution, state)),
            started=timestamp(started),
            duration=round(now - started, 6),
            model=main,
            version=resolved[main].id if main in resolved else None,
            others=other_models(plan, resolved),
            pins=plan.pins,
            failure=failure,
            failures=self._other_failures(execution),
            tags=plan.tags or None,
            name=plan.run_name,
        )
        execution.writer.commit()
        recorder = execution.recorder
        commit = recorder.run(run, metrics, environment_text(), covering(done), now)
        ref = run_ref(run.pipeline, run.started, commit)
        changes = [Change(ref, commit, None)]
        versions = {name: one.id for name, one in resolved.items()}
        for one in made:
            if one.model.name not in versions:
                settled = self.cards.get(one.model.name, {})
                version = new_version(recorder, self.index, plan, one, commit, settled, now)
                versions[one.model.name] = version
                changes.append(Change(version_ref(one.model.name, version), version, None))
        drafts = {
            name: version
            for name, version in versions.items()
            if (state_of := states[name]) is None or version not in state_of.lowest
        }
        if drafts:
            self._publish_versions(recorder, drafts, changes)
        else:
            recorder.publish(changes, f"run {run.pipeline}")
        keep_up(self.git, ref)
        return Finished(commit, run, versions, frozenset(versions).difference(resolved))

    def _resolved(
        self,
        execution: Execution,
        made: Iterable[Share],
        states: Mapping[str, ModelState | None],
    ) -> dict[str, VersionEntry]:
        """The versions that are there already, by model: all steps of theirs are cached."""
        found = {}
        for one in made:
            state = states[one.model.name]
            entry = same_version(self.index, execution.plan, state, one) if state else None
            if state is not None and entry is not None:
                found[one.model.name] = entry
                if execution.past.is_abandoned(entry.record.code):
                    _name_abandoned(execution, state, entry)
        return found

    def _other_failures(self, execution: Execution) -> tuple[Failure, ...] | None:
        """Why steps failed besides the one that the run ended with."""
        failed = execution.failed.items()
        others = [(name, one.error) for name, one in failed if name != execution.current]
        return tuple(describe(error, name, self.environment) for name, error in others) or None

    def _publish_versions(
        self, recorder: Recorder, versions: Mapping[str, ObjectId], changes: list[Change]
    ) -> None:
        """Publish with the next free number of each; with a git remote versions stay drafts."""
        reason = f"version of {', '.join(versions)}"
        if self.git.has_remote():
            recorder.publish(changes, reason)
            return

        def attempt() -> None:
            self.index.refresh()
            numbered = list(changes)
            for model, version in versions.items():
                state = self._model_state(model)
                number = state.next_number if state else 1
                tag = recorder.number(model, number, version, committers[model])
                numbered.append(Change(version_tag(model, number), tag, None))
            recorder.builder.write_loose()
            refs.update(self.git, numbered, reason)

        with recorder.builder.write_pack():
            committers = {name: self.odb.commit(one).committer for name, one in versions.items()}
            refs.retried(attempt, _TRIES)

    def _model_state(self, name: str) -> ModelState | None:
        """A model as it is now, None before its first version."""
        names = Names.now(self.index, self.odb)
        return names.model(name) if name in names.models else None


def _told(
    execution: Execution, window: Window, tell: Callable[[StepEvent], None], event: StepEvent
) -> None:
    """Tell an event, to other processes too."""
    if event.state == "started":
        plan = execution.plan
        makes = [one for one in (plan.model, *(step.makes for step in plan.steps)) if one]
        window.about = {
            "pipeline": plan.pipeline,
            "name": plan.run_name,
            "started": timestamp(execution.started),
            "steps": [one.name for one in plan.steps],
            "models": sorted({one.name for one in makes if one.version is None}),
            "tags": list(plan.tags),
        }
        window.begun(event.step, time.time(), execution.capture.size)
    elif event.step and event.state != "items":
        window.ended(event.step, event.state)
    tell(event)


def _settle(execution: Execution) -> None:
    """Drop the journal of a run whose record stands."""
    if execution.journal is not None:
        execution.journal.remove()


def _name_abandoned(execution: Execution, model: ModelState, version: VersionEntry) -> None:
    """Say that a run found its version on code that was amended, rebased or left behind."""
    note = (
        f"{model.label(version.id)} has these very steps and outputs; it was made from "
        f"{version.record.code.commit.short}, which is not in the history of this code"
    )
    execution.tell(StepEvent("", "note", notes=(note,)))


def _logged_metrics(execution: Execution, done: Iterable[Done]) -> dict[str, Mapping[str, float]]:
    """The metrics of each step, also of those that did not finish."""
    logged: dict[str, Mapping[str, float]] = {one.name: one.metrics for one in done}
    failed = {name: one.said.metrics for name, one in execution.failed.items()}
    return {execution.current: execution.said.metrics, **failed, **logged}


def _run_steps(execution: Execution, state: str) -> Iterable[RunStep]:
    """Every step of the plan as it ended: done, failed or interrupted, or never begun."""
    for planned in execution.plan.steps:
        done, failed = execution.done.get(planned.name), execution.failed.get(planned.name)
        after = planned.after or None
        if done is not None:
            yield RunStep(done.name, done.state, done.commit, after=after)
        elif failed is not None:
            yield failed.said.as_step(planned.name, "failed", after)
        elif planned.name == execution.current:
            yield execution.said.as_step(planned.name, state, after)
        else:
            yield RunStep(planned.name, "skipped", after=after)


def _call_back(
    execution: Execution, callbacks: Callbacks, moment: Moment, error: BaseException | None = None
) -> None:
    """Tell the pipeline's callback; when that raises, say so and go on."""
    problem = callbacks.call(moment, error)
    if problem is not None:
        execution.tell(StepEvent("", "note", notes=(f"{execution.plan.pipeline}: {problem}",)))
