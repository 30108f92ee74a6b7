"""``@step`` and ``@pipeline``: decorated functions, and the graph that comes from calling them.

Calling a step inside a pipeline records the call and returns handles for its outputs; anywhere else
it is the plain function. Composing a pipeline runs its body once; nothing is loaded or stored.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import inspect
import traceback
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, Unpack, cast

from gitml.code.closure import Closure, Tracer, unwrap
from gitml.entities.ids import check_name
from gitml.entities.metadata import check_bounds
from gitml.errors import GitmlError, UsageError
from gitml.history.tags import check_tags
from gitml.pipelines.annotations import (
    OutputSpec,
    field_names,
    number_of,
    outputs_of,
    parameters_of,
)
from gitml.pipelines.inherited import Inherited
from gitml.pipelines.options import (
    DEFAULT_OPTIONS,
    Callback,
    Callbacks,
    check_mode,
)
from gitml.pipelines.policy import DEFAULT_POLICY, CachePolicy, check_policy
from gitml.pipelines.references import Artifact, DataFile, Model

PARAMETER_TYPES = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Handle:
    """An output of a step that has not run yet; hand it to another step."""

    node: str
    output: str

    def load(self, wanted: type | None = None) -> Any:
        """The value, in the body of a dynamic pipeline: the steps so far run first.

        Raises UsageError elsewhere, and what a step raises.
        """
        composition = _composition.get()
        if composition is None:
            raise UsageError(
                f"the output of {self.node} is loaded outside of its pipeline's body",
                hint="a run has it: `run.steps[…].outputs[…].load()`",
            )
        return composition.load(self, wanted)

    def __iter__(self) -> Iterator[Any]:
        raise UsageError(
            f"the step {self.node} has one output, so it cannot be unpacked",
            hint="annotate its return with `tuple[Annotated[A, 'a'], Annotated[B, 'b']]`",
        )

    def __bool__(self) -> bool:
        raise UsageError(
            f"the output of {self.node} is not known while the pipeline is composed",
            hint="branch inside a step, on a parameter of the pipeline, or on "
            "`….load()` in a `@pipeline(dynamic=True)`",
        )


class Handles(tuple[Handle, ...]):
    """The outputs of a step that has several: to unpack, or by name (``parts.train``)."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Handle:
        """The output of this name; raises UsageError naming those that there are."""
        for one in self:
            if one.output == name:
                return one
        if name.startswith("_"):
            raise AttributeError(name)
        known = ", ".join(one.output for one in self)
        raise UsageError(
            f"the step {self[0].node} has no output `{name}`", hint=f"its outputs are: {known}"
        )


@dataclass(frozen=True)
class Unmapped:
    """A value that `map` and `product` hand whole to every call: what ``unmapped(value)`` gives."""

    value: Any


@dataclass(frozen=True)
class Fan:
    """How a step is called for many items: ``kind`` "map" or "product", over which parameters."""

    kind: str
    over: tuple[str, ...]

    @property
    def text(self) -> str:
        """It in one word, for a key."""
        return f"{self.kind} {' '.join(self.over)}"


@dataclass(frozen=True)
class Node:
    """A call of a step in a pipeline: its name in the graph, and what each parameter is bound to.

    A binding is a ``Handle``, an ``Artifact``, a ``DataFile``, or a plain parameter value.
    ``after`` are calls that have to be done before it and give it nothing.
    """

    name: str
    step: StepFunction
    bindings: Mapping[str, Any]
    after: tuple[str, ...] = ()
    fan: Fan | None = None


Resolve = Callable[[Sequence["Node"], Handle, "type | None"], Any]
"""Gives the value of an output of the calls so far."""


@dataclass
class Composition:
    """A pipeline being composed: the calls so far, and the pipelines that are open.

    ``resolve`` gives values of outputs, where the pipeline is dynamic; what it has raised is raised
    by all that comes after, also where the body has caught it.
    """

    open: list[PipelineFunction]
    nodes: list[Node] = field(default_factory=list)
    resolve: Resolve | None = None
    _broken: BaseException | None = None
    _loaded: str | None = None
    _calls: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        step: StepFunction,
        bindings: Mapping[str, Any],
        after: Any = None,
        fan: Fan | None = None,
    ) -> Node:
        """Record a call; a step that is called again gets ``_2``, ``_3`` … behind its name."""
        self.check()
        waits = tuple(dict.fromkeys([*self._earlier(after, step.name), *self._decided(bindings)]))
        name = step.name
        while name in self._calls:
            self._calls[step.name] += 1
            name = f"{step.name}_{self._calls[step.name]}"
        self._calls[name] = 1
        node = Node(name, step, bindings, waits, fan)
        self.nodes.append(node)
        return node

    def _decided(self, bindings: Mapping[str, Any]) -> list[str]:
        """The call whose result the body had loaded last: it may have decided on what follows."""
        given = {one.node for one in bindings.values() if isinstance(one, Handle)}
        return [self._loaded] if self._loaded is not None and self._loaded not in given else []

    def load(self, handle: Handle, wanted: type | None) -> Any:
        """The value of an output; raises UsageError where the pipeline is not dynamic."""
        self.check()
        if self.resolve is None:
            raise UsageError(
                f"the output of {handle.node} is not known while {self.open[0].name} is composed",
                hint="`@pipeline(dynamic=True)` runs the steps so far when a result is loaded",
            )
        token = _composition.set(None)  # in a step that runs now, a step is the plain function
        try:
            value = self.resolve(self.nodes, handle, wanted)
        except BaseException as error:
            self._broken = error
            raise
        finally:
            _composition.reset(token)
        self._loaded = handle.node
        return value

    def check(self) -> None:
        """Raise what a step has raised that ran while the pipeline was composed."""
        if self._broken is not None:
            raise self._broken

    def _earlier(self, after: Any, step: str) -> Iterator[str]:
        """The names of the calls that ``after`` means: outputs, steps, names, or lists of them."""
        if after is None:
            return
        if isinstance(after, (list, tuple)):
            for one in after:
                yield from self._earlier(one, step)
            return
        if isinstance(after, Handle):
            name = after.node
        elif isinstance(after, StepFunction):
            calls = [one.name for one in self.nodes if one.step.name == after.name]
            name = calls[-1] if calls else after.name
        else:
            name = after
        if name not in {one.name for one in self.nodes}:
            known = ", ".join(one.name for one in self.nodes) or "none"
            raise UsageError(
                f"{step}: `after` names {name!r}, which was not called before",
                hint=f"called so far: {known}",
            )
        yield name


_composition: contextvars.ContextVar[Composition | None] = contextvars.ContextVar(
    "gitml_composition", default=None
)
_plainly: Inherited[bool] = Inherited("gitml_plainly")


def composition() -> Composition | None:
    """The pipelines that are being composed in this context, None outside of their bodies."""
    return _composition.get()


def composing() -> bool:
    """Whether a pipeline is being composed in this context."""
    return _composition.get() is not None


def called_plainly() -> bool:
    """Whether a step runs that was called as a function, by a test say, and not by a run."""
    return _plainly.get() is not None


class StepSettings(typing.TypedDict, total=False):
    """What may be said of a step: ``step`` in `gitml.api` tells what each means."""

    name: str | None
    cache: bool | None
    environment: Sequence[str] | None
    files: Sequence[str] | None
    cache_policy: CachePolicy | None
    model: Model | None
    tags: Iterable[str] | None
    retries: int
    backoff: float
    factor: float
    timeout: float | None
    on_start: Callback | None
    on_success: Callback | None
    on_failure: Callback | None


class StepFunction:
    """A function as a step of pipelines; called outside of one it is the plain function.

    ``is_command`` tells that it starts a program, and nothing need be said of that.
    """

    is_command = False

    cache = True
    environment: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    policy: CachePolicy | None = None
    model: Model | None = None
    tags: tuple[str, ...] = ()
    options = DEFAULT_OPTIONS

    def __init__(self, function: Callable[..., Any], **settings: Unpack[StepSettings]) -> None:
        plain, fixed = unwrap(function)
        functools.update_wrapper(self, plain)
        self.function = plain
        self._fixed = fixed
        self._given = function
        self.name = str(getattr(plain, "__name__", ""))
        self.signature = parameters_of(function, settings.get("name") or self.name)
        self._set(settings)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record the call while a pipeline is composed, otherwise call the function.

        ``after``, where the function has no parameter of that name, says what has to be done first.
        """
        composition = _composition.get()
        after = None if "after" in self.signature.parameters else kwargs.pop("after", None)
        if composition is None:
            with _plainly.holding(True):
                return self._given(*args, **kwargs)
        return self._handles(composition.add(self, self._bind(args, kwargs), after))

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Call the step for each item of the lists that are given, the n-th of each together.

        Outputs of steps and `Artifact`s are mapped over too, ``unmapped(…)`` and what is no list
        goes whole to every call. Each output is the list of what the calls returned.
        """
        return self._fan_out("map", args, kwargs)

    def product(self, *args: Any, **kwargs: Any) -> Any:
        """Call the step for every combination of the items of the lists; else as `map`."""
        return self._fan_out("product", args, kwargs)

    def _fan_out(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        composition = _composition.get()
        if composition is None:
            raise UsageError(
                f"{self.name}.{kind} is called outside of a pipeline",
                hint=f"`[{self.name}(item) for item in items]`",
            )
        after = None if "after" in self.signature.parameters else kwargs.pop("after", None)
        whole = [one.value if isinstance(one, Unmapped) else _plain_list(one) for one in args]
        named = {
            key: one.value if isinstance(one, Unmapped) else _plain_list(one)
            for key, one in kwargs.items()
        }
        bindings = self._bind(tuple(whole), named)
        given = self.signature.bind(*args, **kwargs).arguments
        many = (list, tuple, range, Handle, Artifact)
        over = tuple(name for name, one in given.items() if isinstance(one, many))
        if not over:
            raise UsageError(
                f"{self.name}.{kind} is given no list",
                hint=f"`{self.name}.{kind}([1, 2, 3])`, or the output of a step that returns one",
            )
        return self._handles(composition.add(self, bindings, after, Fan(kind, over)))

    def _handles(self, node: Node) -> Any:
        handles = tuple(Handle(node.name, output.name) for output in self.outputs)
        if not handles:
            return None
        if len(handles) == 1 and not field_names(self.hints.get("return")):
            return handles[0]
        return Handles(handles)

    def with_options(self, **settings: Unpack[StepSettings]) -> Self:
        """The same step with other options, those of `@step`; this one stays as it is.

        Raises UsageError for options that there are not.
        """
        other = copy.copy(self)  # a command stays one
        other._set(settings)
        return other

    def _set(self, settings: StepSettings) -> None:
        options: dict[str, Any] = dict(settings)

        def said(key: str, before: Any) -> Any:
            given = options.pop(key, None)
            return before if given is None else given

        self.name = check_name(said("name", self.name), "step")
        self.cache = said("cache", self.cache)
        self.environment = tuple(said("environment", self.environment))
        self.files = tuple(said("files", self.files))
        self.policy = said("cache_policy", self.policy)
        self.model = said("model", self.model)
        self.tags = check_tags(said("tags", self.tags))
        self.options = self.options.changed(self.name, options)
        self.options.check(self.name)
        if self.policy is not None:
            check_policy(self.policy, self.name)
            self.policy.check(self.name, [*self.signature.parameters, *self._fixed])

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The resolved annotations of the function, with their ``Annotated`` extras."""
        try:
            return typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise UsageError(
                f"an annotation of the step {self.name} cannot be resolved",
                hint=f"import `{error.name}` at the module's top level, not below TYPE_CHECKING",
            ) from error

    @property
    def outputs(self) -> tuple[OutputSpec, ...]:
        """The declared outputs; a step without a return annotation has one, typed by its value."""
        if not self.tags:
            return self._declared
        return tuple(
            replace(one, tags=check_tags((*one.tags, *self.tags))) for one in self._declared
        )

    @functools.cached_property
    def _declared(self) -> tuple[OutputSpec, ...]:
        return outputs_of(self.hints.get("return", inspect.Parameter.empty), self.name)

    def trace(self, tracer: Tracer) -> Closure:
        """The code that its result can depend on."""
        return tracer.trace(self.function, declared_environment=self.environment)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"the call of the step {self.name} does not fit: {error}") from error
        bound.apply_defaults()
        values = {**self._fixed, **bound.arguments}
        for key, value in values.items():
            if not isinstance(value, (Handle, Artifact, DataFile)):
                check_parameter(value, f"{self.name}: {key}")
        return values


class PipelineSettings(typing.TypedDict, total=False):
    """What may be said of a pipeline: ``pipeline`` in `gitml.api` tells what each means."""

    name: str | None
    model: Model | None
    cache: bool
    cache_policy: CachePolicy
    execution_mode: str
    dynamic: bool
    on_start: Callback | None
    on_success: Callback | None
    on_failure: Callback | None
    tags: Iterable[str]
    run_name: str | None


class PipelineFunction:
    """A function whose calls of steps make a graph.

    ``policy`` is that of the steps which have none of their own, ``retry`` what is said of the
    attempts of those that have no retries; ``step_options`` are options of steps by name.
    ``run_name`` is a template, ``substitutions`` are what it may name besides parameters. The body
    of a ``dynamic`` one may load results: it runs while its steps do.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        model: Model | None = None,
        cache: bool = True,
        cache_policy: CachePolicy = DEFAULT_POLICY,
        execution_mode: str = "fail_fast",
        dynamic: bool = False,
        on_start: Callback | None = None,
        on_success: Callback | None = None,
        on_failure: Callback | None = None,
        tags: Iterable[str] = (),
        run_name: str | None = None,
    ) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), function)
        self.function = function
        self.name = check_name(name or function.__name__, "pipeline")
        self.tags = check_tags(tags)
        self.model = model
        self.cache = cache
        self.policy = check_policy(cache_policy, self.name)
        self.preset: Mapping[str, Any] = {}
        self.step_options: Mapping[str, Mapping[str, Any]] = {}
        self.retry: Mapping[str, Any] = {}
        self.run_name: str | None = run_name
        self.substitutions: Mapping[str, str] = {}
        self.execution_mode = check_mode(execution_mode, self.name)
        self.callbacks = Callbacks(on_start, on_success, on_failure)
        self.dynamic = dynamic
        self.signature = parameters_of(function, self.name)
        self.callbacks.check(self.name)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    @property
    def file(self) -> str:
        """The source file that the pipeline is defined in."""
        return self.function.__code__.co_filename

    def bound(self, parameters: Mapping[str, Any]) -> PipelineFunction:
        """The pipeline as a run with these parameters is to have it."""
        return self

    def has_run(self, run: Any) -> None:
        """Hear of a run of it that has completed, and is recorded."""

    def inline(self, *args: Any, **kwargs: Any) -> Any:
        """Compose the pipeline into the one that is open; raises UsageError for a cycle."""
        composition = _composition.get()
        assert composition is not None  # noqa: S101 - callers ask composing() first
        if self in composition.open:
            chain = " → ".join(one.name for one in [*composition.open, self])
            raise UsageError(f"the pipelines call each other in a cycle: {chain}")
        composition.open.append(self)
        try:
            return self.function(*args, **kwargs)
        finally:
            composition.open.pop()

    def compose(self, arguments: Mapping[str, Any], resolve: Resolve | None = None) -> list[Node]:
        """The calls that the pipeline makes with these arguments, in order.

        A step can only be handed what was called before it, so the order is a plan. ``resolve``
        gives values of outputs to the body of a dynamic pipeline.
        """
        composition = Composition([self], resolve=resolve)
        token = _composition.set(composition)
        try:
            self.function(**arguments)
            composition.check()
        except GitmlError:
            raise
        except Exception as error:
            composition.check()
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
            what = f"the body of the pipeline {self.name} raised at {place}"
            if resolve is None:
                what += ", before any step ran"
                hint = "the body only calls steps; work on values belongs into a step"
            else:
                hint = f"`gitml show {self.name}` shows the run, with what its steps gave before"
            raise GitmlError(what, hint=hint) from error
        finally:
            _composition.reset(token)
        if not composition.nodes:
            raise UsageError(f"the pipeline {self.name} calls no step")
        return composition.nodes

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The pipeline's parameters by name, defaults filled in; raises UsageError.

        What is ``preset`` stands where nothing is given.
        """
        own = {name: one for name, one in self.preset.items() if "." not in name}
        if any(isinstance(one, str) for one in own.values()):
            with contextlib.suppress(NameError, TypeError):  # an annotation that says nothing
                hints = typing.get_type_hints(self.function)
                own = {name: number_of(one, hints.get(name)) for name, one in own.items()}
        try:
            given = self.signature.bind_partial(*args, **kwargs).arguments
            bound = self.signature.bind(**{**own, **given})
        except TypeError as error:
            self._refuse_unknown(kwargs)
            known = ", ".join(self.signature.parameters) or "none"
            raise UsageError(
                f"the pipeline {self.name} cannot be called so: {error}",
                hint=f"its parameters are: {known}",
            ) from error
        bound.apply_defaults()
        values = dict(bound.arguments)
        for key, value in values.items():
            check_parameter(value, f"{self.name}: {key}")
        return values

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise UsageError for the first name that no parameter has, with the nearest."""
        known = list(self.signature.parameters)
        takes_all = any(one.kind is one.VAR_KEYWORD for one in self.signature.parameters.values())
        for name in names:
            if name not in known and not takes_all:
                import difflib

                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else None
                raise UsageError(
                    f"the pipeline {self.name} has no parameter `{name}`",
                    hint=hint or f"its parameters are: {', '.join(known) or 'none'}",
                ) from None


def _plain_list(value: Any) -> Any:
    return list(value) if isinstance(value, range) else value


def check_parameter(value: Any, where: str, depth: int = 0) -> None:
    """Raise UsageError for a value that cannot stand in a record as plain JSON."""
    check_bounds(value, depth, where)
    if isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            check_parameter(one, f"{where}[{i}]", depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise UsageError(f"{where}: a key of a parameter should be text, not {key!r}")
            check_parameter(one, f"{where}[{key!r}]", depth + 1)
    elif isinstance(value, Handle):
        raise UsageError(
            f"{where} holds a step's output inside a container",
            hint="hand each output to a parameter of its own",
        )
    elif type(value) not in PARAMETER_TYPES:
        raise UsageError(
            f"{where} is a {type(value).__name__}, which is no parameter",
            hint="parameters are numbers, texts, true/false, lists and dicts; make it a step's "
            "output, `save_artifact(value, name)` and hand over `Artifact(name)`, or `data(path)`",
        )
