"""What a step can say and ask while it runs: metrics, metadata, artifacts by name."""

from __future__ import annotations

import contextvars
import math
import numbers
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml.entities import codec
from gitml.entities.ids import check_stage_name
from gitml.entities.records import Input
from gitml.errors import UsageError
from gitml.history.journal import Logged
from gitml.pipelines.dsl import Model, called_plainly
from gitml.pipelines.series import Points

_MAX_VALUE = 1 << 20


@dataclass
class StepContext:
    """The step that is running: ``pipeline``, ``step``, its ``parameters`` and the run's ``model``.

    ``metrics`` and ``metadata`` are what it has logged so far, ``points`` those of its series,
    ``loads`` what it has loaded by name (each becomes a parent of the step). ``note`` is told all
    that is logged, as it comes. ``root`` is the repository's. ``stages`` are those that the version
    which the run makes shall hold once it is there, with the reasons. ``is_block`` tells that it is
    the body of a ``with`` of a run that has no pipeline.
    """

    pipeline: str
    step: str
    parameters: dict[str, Any]
    model: Model | None
    load: Callable[[str, type | None], Any]
    data: Callable[[str], Path]
    note: Callable[[Logged], None] = lambda logged: None
    root: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    loads: dict[str, Input] = field(default_factory=dict)
    points: Points = field(default_factory=Points)
    stages: dict[str, str] = field(default_factory=dict)
    is_block: bool = False

    def log(
        self,
        metrics: Mapping[str, float],
        metadata: Mapping[str, Any] | None = None,
        index: int | None = None,
    ) -> None:
        """Keep what the step logs; with ``index`` the metrics are points of their series too."""
        at = time.time()
        self.note(Logged(self.step, metrics, metadata or {}, index, at))
        self.metrics.update(metrics)
        self.metadata.update(metadata or {})
        if index is not None:
            self.points.add(index, metrics, at)

    def add_parameters(self, values: Mapping[str, Any]) -> None:
        """Keep parameters that became known while the step runs."""
        self.note(Logged(self.step, {}, {}, None, time.time(), values))
        self.parameters.update(values)

    def set_stage(self, model: str, stage: str, reason: str) -> None:
        """Queue a stage for the version that this run makes; raises UsageError if it makes none."""
        made = self.model
        if made is None or made.version is not None or made.name != model:
            raise UsageError(
                f"this run makes no version of {model}, and a step does not move stages of others",
                hint=f"`gitml promote {model}@latest {stage}` after the run",
            )
        self.stages[check_stage_name(stage)] = (
            reason or f"set by the step {self.step} of {self.pipeline}"
        )


_running: contextvars.ContextVar[StepContext | None] = contextvars.ContextVar(
    "gitml_step", default=None
)


def current() -> StepContext | None:
    """The running step's context, None outside of a step."""
    return _running.get()


def get_context() -> StepContext:
    """The running step's context; raises UsageError outside of a step."""
    context = _running.get()
    if context is None:
        raise UsageError("no step is running here", hint="call it inside a function with `@step`")
    return context


@contextmanager
def running(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the running step's for the length of a block."""
    token = _running.set(context)
    try:
        yield context
    finally:
        _running.reset(token)


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
    context = into or _listening()
    metrics = {name: _number(value, name) for name, value in _leaves(values, "")}
    index = None if step is None else _index(step)
    if context is not None:
        context.log(metrics, index=index)


def log_metadata(values: Mapping[str, Any], *, into: StepContext | None = None) -> None:
    """Record facts of the running step; numeric leaves are metrics, the rest is metadata.

    ``into`` is another than the running step. In a step that is called as a plain function they
    are checked and forgotten. Raises UsageError outside of a step and for values that are not
    plain JSON or a MiB of it.
    """
    context = into or _listening()
    metrics: dict[str, float] = {}
    metadata: dict[str, Any] = {}
    for name, value in _leaves(values, ""):
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            metrics[name] = _number(value, name)
        else:
            metadata[name] = _short(_plain(value, name), name)
    if context is not None:
        context.log(metrics, metadata)


def _listening() -> StepContext | None:
    """The step that hears what is logged; None where a test calls one as a plain function."""
    return current() if called_plainly() else get_context()


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise UsageError(f"the name of a metric should be text, not {key!r}")
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


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


def _short(value: Any, name: str) -> Any:
    """The value, if a record has room for it, also that of a step that fails."""
    size = len(codec.dump_line({name: value}))
    if size > _MAX_VALUE:
        raise UsageError(
            f"the metadata `{name}` has {size >> 20} MiB, and a record takes {_MAX_VALUE >> 20}",
            hint="return it as an output of the step, or `save_artifact(value, name)`",
        )
    return value


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{name}[{i}]") for i, one in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(one, f"{name}.{key}") for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if hasattr(value, "item") and not isinstance(value, (str, int, float)):
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(
        f"the metadata `{name}` is a {type(value).__name__}, which is not plain JSON",
        hint="log its text, or return it as an output of the step",
    )
