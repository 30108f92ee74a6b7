"""A run without a pipeline: the body of a ``with`` is its one step.

For the script that is there already. What it logs, saves and loads is recorded as that of a step
is; it is never taken from the cache, since nobody could leave the block out.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, TypeVar

from gitml.code.closure import Closure, Tracer
from gitml.entities.ids import check_name, check_twins
from gitml.entities.metadata import check_bounds
from gitml.entities.records import SERIES
from gitml.errors import GitmlError, UsageError
from gitml.frozen import Frozen
from gitml.history.revs import Names
from gitml.pipelines import context
from gitml.pipelines.dsl import (
    Node,
    PipelineFunction,
    Resolve,
    StepFunction,
    check_parameter,
    composing,
)
from gitml.pipelines.plan import is_large
from gitml.pipelines.references import Artifact, Model

T = TypeVar("T")

STEP = "main"
"""The name of the one step."""


class Place(Frozen):
    """Where the ``with`` stands: the code around it, its line, and the globals of that code."""

    code: CodeType
    line: int
    space: dict[str, Any]


class Session:
    """A run in progress: what ``with gitml.start_run("exp") as run`` gives.

    It begins and ends with the block; what the block raises ends it as failed and goes on from
    there. ``recorded`` is the run once it has ended. ``open_run`` begins the recording.
    """

    def __init__(
        self,
        name: str,
        model: Model | str | None,
        parameters: Mapping[str, Any] | None,
        place: Place,
        open_run: Callable[[Session], contextlib.AbstractContextManager[None]],
        *,
        run_name: str | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        self.name = check_name(name, "run")
        made = Model(model) if isinstance(model, str) else model
        given = _plain_parameters(parameters or {})
        self.pipeline: PipelineFunction = _OneStep(
            name, made, given, place, run_name=run_name, tags=tags
        )
        self._recorded: Any = None
        self._open_run = open_run
        self._stack = contextlib.ExitStack()
        self._running: context.StepContext | None = None
        self._save: Callable[[str, Any], None] | None = None
        self._names: Names | None = None
        self._ended = False
        self._thread = 0
        self._failed: dict[str, None] = {}

    def __repr__(self) -> str:
        state = "ended" if self._ended else "running" if self._running else "not begun"
        return f"<run {self.name}, {state}>"

    def __enter__(self) -> Session:
        """Begin the run; raises UsageError inside of a step, a pipeline or another run."""
        if self._ended or self._running is not None:
            raise UsageError(
                f"the run {self.name} has begun before",
                hint=f'`with gitml.start_run("{self.name}") as run:` makes a new one',
            )
        _refuse_inside(self.name)
        self._stack.enter_context(self._open_run(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End and record the run; what the block raised goes on."""
        self._ended = True
        if self._failed:  # into the log of the run too, which still catches what is printed
            calls = ", ".join(self._failed)
            sys.stderr.write(f"gitml: in another thread nothing came of {calls}\n")
        try:
            self._stack.__exit__(kind, error, trace)
        finally:
            if self._recorded is None and error is not None:
                self._recorded = getattr(error, "run", None)

    def begin(
        self, running: context.StepContext, save: Callable[[str, Any], None], names: Names
    ) -> None:
        """Say where what the block logs and saves goes to."""
        self._running, self._save, self._names = running, save, names
        self._thread = threading.get_ident()

    @property
    def recorded(self) -> Any:
        """The `RunHandle` of it, also where it failed; raises UsageError before its end."""
        if self._recorded is None:
            raise UsageError(
                f"the run {self.name} is not recorded yet",
                hint="ask after the `with` block; inside of it `log_metrics`, `save` and `load`",
            )
        return self._recorded

    @recorded.setter
    def recorded(self, run: Any) -> None:
        self._recorded = run

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters so far."""
        return dict(self._now().parameters)

    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers; with ``step`` each is a point of a series. From any thread."""
        context.log_metrics(values, step, into=self._now())

    def log_metadata(self, values: Mapping[str, Any], artifact: str | None = None) -> None:
        """Record facts of the run, of which the numbers are metrics, or of what it has saved."""
        context.log_metadata(values, artifact=artifact, into=self._now())

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record parameters that the block was given or has chosen.

        Raises UsageError for what is no plain data, and for a name that has another value already.
        """
        running, given = self._now(), _plain_parameters(values)
        for name, value in given.items():
            if name in running.parameters and running.parameters[name] != value:
                raise UsageError(
                    f"the parameter `{name}` of this run is {running.parameters[name]!r} already",
                    hint=f"a run has one value of each: `log_metrics({{{name!r}: …}}, step=i)` "
                    "keeps one that changes",
                )
        running.add_parameters(given)

    def save(self, name: str, value: Any) -> None:
        """Store a value, or the file or folder at a ``Path``, as an artifact of this run.

        It is stored as it is now; saved again, the last one counts. Raises UnsupportedValue.
        """
        with self._acting(f"save({name!r})"):
            check_name(name, "artifact")
            if name == SERIES:
                raise UsageError(
                    f"an artifact is called `{SERIES}`, as the one that keeps what was logged",
                    hint="give it another name",
                )
            assert self._save is not None and self._names is not None  # noqa: S101 - it has begun
            check_twins([name], self._names.artifact_names(), "artifact")
            self._save(name, value)

    def load(self, artifact: str | Artifact, wanted: type[T] | None = None) -> Any:
        """The value of an artifact, which becomes an input of the run.

        ``artifact`` is a name ("features", "clf@production:model"), or what `Model.artifact` gives.
        """
        spelling = artifact.spelling if isinstance(artifact, Artifact) else artifact
        with self._acting(f"load({spelling!r})") as running:
            return running.load(spelling, wanted)

    def use(self, path: str | Path) -> Path:
        """The path of a file or folder of the repository, which becomes an input of the run."""
        with self._acting(f"use({str(path)!r})") as running:
            return running.data(Path(path).as_posix())

    def _now(self) -> context.StepContext:
        """The block's context; raises UsageError outside of it."""
        if self._running is None or self._ended:
            when = "has ended" if self._ended else "has not begun"
            raise UsageError(
                f"the run {self.name} {when}",
                hint=f'inside of `with gitml.start_run("{self.name}") as run:`',
            )
        return self._running

    @contextlib.contextmanager
    def _acting(self, call: str) -> Iterator[context.StepContext]:
        """A ``call`` in the block, from whichever thread; what fails in another is noted."""
        running = self._now()
        try:
            with context.on_behalf_of(running):
                yield running
        except GitmlError:
            if threading.get_ident() != self._thread:
                self._failed[f"`{call}`"] = None
            raise


class _Block(StepFunction):
    """The body of a ``with`` as a step that only its own process can call."""

    def __init__(self, place: Place) -> None:
        def main() -> None: ...

        super().__init__(main, name=STEP, cache=False)
        self._place = place

    def trace(self, tracer: Tracer) -> Closure:
        """The file or cell that the block stands in, and what it reaches."""
        return tracer.trace_block(self._place.code, self._place.line, self._place.space)


class _OneStep(PipelineFunction):
    """The graph of a run that is a block."""

    def __init__(
        self,
        name: str,
        model: Model | None,
        parameters: Mapping[str, Any],
        place: Place,
        **options: Any,
    ) -> None:
        def body() -> None: ...

        super().__init__(body, name=name, model=model, cache=False, **options)
        self._parameters = parameters
        self._place = place

    @property
    def file(self) -> str:
        """The file that the block stands in."""
        return self._place.code.co_filename

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that the run was started with."""
        return dict(self._parameters)

    def compose(self, arguments: Mapping[str, Any], resolve: Resolve | None = None) -> list[Node]:
        """The block."""
        return [Node(STEP, _Block(self._place), arguments)]


def _refuse_inside(name: str) -> None:
    if composing():
        raise UsageError(
            f"the run {name} is started in the body of a pipeline, which is a run itself",
            hint="work on values belongs into a step, and `log_metrics` works in it",
        )
    running = context.current()
    if running is None:
        return
    if running.step == STEP and running.is_block:
        raise UsageError(
            f"the run {name} is started inside of the run {running.pipeline}",
            hint=f"end the `with` of {running.pipeline} first, or log to it: "
            "metrics may have names like `fold1.loss`",
        )
    raise UsageError(
        f"the run {name} is started inside of the step {running.step} of {running.pipeline}",
        hint="the step is recorded anyhow: `gitml.log_metrics` and what it returns",
    )


def _plain_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain data: NumPy's scalars and paths as Python's own; raises UsageError."""
    if not isinstance(values, Mapping):
        raise UsageError(
            f"parameters should be a dict, not a {type(values).__name__}",
            hint="`run.log_params(vars(args))` takes those of argparse",
        )
    given = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise UsageError(f"the name of a parameter should be text, not {name!r}")
        where = f"the parameter `{name}`"
        given[name] = _plain(value, where)
        check_parameter(given[name], where)
        if is_large(given[name]):
            raise UsageError(
                f"the parameter `{name}` is too large for a record",
                hint=f"`run.save({name!r}, …)` keeps it as an artifact",
            )
    return given


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    check_bounds(value, depth, where)
    if isinstance(value, Mapping):
        return {key: _plain(one, where, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, where, depth + 1) for one in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value
