"""What a step can say and ask while it runs: metrics, metadata, artifacts by name."""

from __future__ import annotations

import numbers
import operator
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml.entities import metadata as entities
from gitml.entities.ids import check_name, check_stage_name
from gitml.entities.records import Input, Output
from gitml.errors import UsageError
from gitml.frozen import replace
from gitml.history.journal import Logged
from gitml.pipelines.dsl import called_plainly
from gitml.pipelines.inherited import Inherited
from gitml.pipelines.references import Model
from gitml.pipelines.series import Points


@dataclass
class StepContext:
    """The step that is running: ``pipeline``, ``step``, its ``parameters`` and the run's ``model``.

    ``metrics`` and ``metadata`` are what it has logged so far, ``points`` those of its series,
    ``loads`` what it has loaded by name (each becomes a parent of the step). ``note`` is told all
    that is logged, as it comes. ``root`` is the repository's. ``stages`` are those that the version
    which the run makes shall hold once it is there, with the reasons. ``is_block`` tells that it is
    the body of a ``with`` of a run that has no pipeline. ``outputs`` are the names of the step's
    outputs, ``said`` what it logged of each. ``take`` makes an artifact by name an input, and
    ``links`` are those inputs that become artifacts of the version, by their names there.
    ``unheard`` are the calls of threads of which nobody knows whose they are. All threads of the
    step may log.
    """

    pipeline: str
    step: str
    parameters: dict[str, Any]
    model: Model | None
    load: Callable[[str, type | None], Any]
    data: Callable[[str], Path]
    note: Callable[[Logged], None] = lambda logged: None
    root: Path | None = None
    outputs: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    loads: dict[str, Input] = field(default_factory=dict)
    points: Points = field(default_factory=Points)
    stages: dict[str, str] = field(default_factory=dict)
    is_block: bool = False
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    take: Callable[[str], Any] = lambda name: None
    links: dict[str, str] = field(default_factory=dict)
    unheard: dict[str, None] = field(default_factory=dict)
    _turn: Any = field(default_factory=threading.RLock, repr=False)

    def log(
        self,
        metrics: Mapping[str, float],
        metadata: Mapping[str, Any] | None = None,
        index: int | None = None,
    ) -> None:
        """Keep what the step logs; with ``index`` the metrics are points of their series too."""
        with self._turn:
            at = time.time()
            self.note(Logged(self.step, metrics, metadata or {}, index, at))
            self.metrics.update(metrics)
            self.metadata.update(metadata or {})
            if index is not None:
                self.points.add(index, metrics, at)

    def add_parameters(self, values: Mapping[str, Any]) -> None:
        """Keep parameters that became known while the step runs."""
        with self._turn:
            self.note(Logged(self.step, {}, {}, None, time.time(), values))
            self.parameters.update(values)

    def say(self, output: str | None, values: Mapping[str, Any]) -> None:
        """Keep metadata of one of the step's outputs, None for its only one; raises UsageError."""
        named = ", ".join(f"`{one}`" for one in self.outputs)
        if output is None and len(self.outputs) != 1:
            raise UsageError(
                f"the step {self.step} has {len(self.outputs)} outputs, so none can be inferred",
                hint=f"say which: artifact=…, one of {named}" if named else None,
            )
        chosen = output if output is not None else self.outputs[0]
        if chosen not in self.outputs:
            raise UsageError(
                f"the step {self.step} has no output `{chosen}`",
                hint=f"its outputs: {named or 'none'}; `gitml metadata set` is for others",
            )
        self.said.setdefault(chosen, {}).update(values)

    def with_said(self, outputs: Sequence[Output]) -> tuple[Output, ...]:
        """The outputs with what the step logged of them."""
        return tuple(
            replace(one, logged={**(one.logged or {}), **self.said[one.name]})
            if one.name in self.said
            else one
            for one in outputs
        )

    def makes(self, model: str | None) -> bool:
        """Whether the run makes a version of a model, or of any."""
        made = self.model
        return made is not None and made.version is None and model in (None, made.name)

    def link(self, artifact: str, model: str | None, name: str | None = None) -> None:
        """Make an artifact by name a part of the version that this step's run makes.

        It becomes an input of the step, by commit. Raises UsageError where the run makes no version
        of the model, NameNotFound where there is no such artifact.
        """
        if not self.makes(model):
            raise UsageError(
                f"this step makes no version of {model or 'a model'}, and nothing can be linked",
                hint="`@pipeline(model=Model(…))`, or after the run "
                "`link_artifact_to_model(artifact, model=…)`",
            )
        given = self.take(artifact)
        self.links[check_name(name or given.output.artifact, "artifact")] = artifact

    def set_stage(self, model: str, stage: str, reason: str) -> None:
        """Queue a stage for the version that this run makes; raises UsageError if it makes none."""
        if not self.makes(model):
            raise UsageError(
                f"this run makes no version of {model}, and a step does not move stages of others",
                hint=f"`gitml promote {model}@latest {stage}` after the run",
            )
        self.stages[check_stage_name(stage)] = (
            reason or f"set by the step {self.step} of {self.pipeline}"
        )


_running: Inherited[StepContext] = Inherited("gitml_step")


def current() -> StepContext | None:
    """The running step's context, in all threads that it starts; None outside of a step."""
    return _running.get()


def get_context() -> StepContext:
    """The running step's context; raises UsageError outside of a step."""
    return _current_of("get_context")


def _current_of(call: str) -> StepContext:
    """The running step's context for a call that makes no sense without one."""
    context = _running.get()
    if context is not None:
        return context
    running = _running.anywhere()
    if not running:
        raise UsageError("no step is running here", hint="call it inside a function with `@step`")
    for one in running:  # nobody may look at what the thread raises
        one.unheard[f"`{call}`"] = None
    raise UsageError(
        f"`{call}` is called in a thread that was there before the step {running[-1].step}",
        hint=_OLDER,
    )


_OLDER = (
    "start the thread or pool in the step, or hand the step on: "
    "`pool.submit(contextvars.copy_context().run, function)`"
)


@contextmanager
def running(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the running step's for the length of a block, and for its threads.

    Raises UsageError at the end where something was said to no step, in an older thread.
    """
    with _running.holding(context):
        yield context
    unheard, context.unheard = context.unheard, {}
    if unheard:
        raise UsageError(
            f"nothing came of {', '.join(unheard)} in a thread that was there before the step "
            f"{context.step}",
            hint=_OLDER,
        )


def on_behalf_of(context: StepContext) -> AbstractContextManager[None]:
    """A block in which this thread, whichever it is, acts for a step."""
    return _running.here(context)


def log_metrics(
    values: Mapping[str, Any], step: int | None = None, *, into: StepContext | None = None
) -> None:
    """Record numbers of the running step; nested names are joined by dots, the last value counts.

    With ``step``, an epoch or the number of a batch, each is a point of a series, which is kept as
    a whole. The steps of a series may have gaps, come twice and go back. ``into`` is another than
    the running step. In a step that is called as a plain function it is checked and forgotten.
    Raises UsageError outside of a step, for what is not a number, and for a ``step`` that is no
    whole one of 64 bits.
    """
    context = into or _listening("log_metrics")
    metrics = {name: _number(value, name) for name, value in entities.leaves(values)}
    index = None if step is None else _index(step)
    if context is not None:
        context.log(metrics, index=index)


def log_metadata(
    values: Mapping[str, Any],
    *,
    artifact: str | None = None,
    infer_artifact: bool = False,
    model: str | None = None,
    infer_model: bool = False,
    into: StepContext | None = None,
) -> None:
    """Record facts of the running step; numeric leaves are metrics, the rest is metadata.

    With ``artifact`` they are facts of the step's output of this name, with ``infer_artifact`` of
    its only one, and numbers stay with it. What a step logs of itself, the version that the run
    makes has too; ``model`` and ``infer_model`` insist that there will be one. ``into`` is another
    than the running step. In a step that is called as a plain function all is checked and
    forgotten. Raises UsageError outside of a step, and for values that are not plain JSON or a MiB
    of it.
    """
    context = into or _listening("log_metadata")
    if context is None:
        entities.recorded(values)
        return
    if (model is not None or infer_model) and not context.makes(model):
        raise UsageError(
            f"this run makes no version of {model or 'a model'}",
            hint="`gitml metadata set clf@v3 …` after the run" if model else None,
        )
    if artifact is not None or infer_artifact:
        context.say(artifact, entities.recorded(values))
        return
    metrics: dict[str, float] = {}
    metadata: dict[str, Any] = {}
    for name, value in entities.leaves(values):
        if _is_metric(value):
            metrics[name] = _number(value, name)
        else:
            metadata[name] = entities.recordable(value, name)
    context.log(metrics, metadata)


def _listening(call: str) -> StepContext | None:
    """The step that hears what is logged; None where a test calls one as a plain function."""
    return current() if called_plainly() else _current_of(call)


def _is_metric(value: Any) -> bool:
    if isinstance(value, (bool, entities.StorageSize)):
        return False
    return isinstance(value, numbers.Real)


def _number(value: Any, name: str) -> float:
    """A number as Python's own: NumPy's scalars become int or float."""
    if hasattr(value, "item") and not isinstance(value, (int, float)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(
            f"the metric `{name}` is a {type(value).__name__}, not a number",
            hint="`log_metadata` takes texts and lists",
        )
    try:
        float(value)
    except OverflowError as error:
        raise UsageError(
            f"the metric `{name}` is too large for a number of 64 bits",
            hint="`log_metadata({...: str(value)})` keeps its digits",
        ) from error
    return value


def _index(step: Any) -> int:
    """The place of a point in its series."""
    try:
        found = operator.index(step) if not isinstance(step, bool) else None
    except TypeError:
        found = None
    if found is None or not -(1 << 63) <= found < 1 << 63:
        raise UsageError(
            f"the step of a metric is {step!r}, not a whole number",
            hint="count epochs or batches: `log_metrics({...}, step=epoch)`",
        )
    return found
