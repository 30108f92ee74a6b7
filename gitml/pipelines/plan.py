"""A pipeline call as a plan: the steps in order, their code, and everything they are bound to.

Names are resolved here and nowhere later, so that what happens meanwhile in the repository changes
nothing in the run. A plan loads no values and writes no records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gitml.code.closure import Closure, Tracer
from gitml.entities.ids import ObjectId, check_twins
from gitml.entities.records import Code, Output, Pin, Step
from gitml.errors import NameNotFound
from gitml.history.revs import Found, Names
from gitml.pipelines.annotations import OutputSpec
from gitml.pipelines.dsl import Fan, Handle, Node, PipelineFunction, StepFunction
from gitml.pipelines.graph import check_policies, override, policy_of, with_step_options
from gitml.pipelines.naming import run_name
from gitml.pipelines.policy import DEFAULT_POLICY, CachePolicy
from gitml.pipelines.references import Artifact, DataFile, Model


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter: a plain value, part of the cache key and of the record."""

    value: Any


@dataclass(frozen=True, slots=True)
class FromStep:
    """An input that an earlier step of the plan makes."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """An input that exists: its bytes, and the commit (step, source or version) that made them.

    ``is_argument`` tells that it stands for a parameter which is too large for a record.
    """

    spelling: str
    output: Output
    commit: ObjectId
    path: Path | None = None
    is_argument: bool = False

    @property
    def text(self) -> str:
        """A large parameter as records and people have it."""
        return f"{self.output.type} of {self.output.size} bytes, {self.output.digest}"


LARGEST = 64 << 10
"""Characters of JSON that a parameter may have in a record; a larger one is stored as a source."""

Binding = Value | FromStep | Pinned


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a plan: what is called, with what, and the code that its key is made of.

    ``said`` is what the function of its cache policy said. ``makes`` is the model of whose version
    it is a part, ``uses`` the version that it was given: its own come before the pipeline's.
    """

    name: str
    step: StepFunction
    bindings: Mapping[str, Binding]
    closure: Closure
    after: tuple[str, ...] = ()
    fan: Fan | None = None
    policy: CachePolicy = DEFAULT_POLICY
    said: str | None = None
    makes: Model | None = None
    uses: Model | None = None

    def needs(self) -> tuple[str, ...]:
        """The steps that have to be done before it."""
        given = [one.step for one in self.bindings.values() if isinstance(one, FromStep)]
        return tuple(dict.fromkeys([*given, *self.after]))

    @property
    def parameters(self) -> dict[str, Any]:
        """What it is given that is no input, by name."""
        bindings = self.bindings.items()
        return {name: one.value for name, one in bindings if isinstance(one, Value)}

    def ignored_of(self, record: Step, inputs: Mapping[str, Pinned]) -> list[str]:
        """The parameters and inputs that its policy ignores and that an execution had otherwise."""
        had = {**record.parameters, **{one.name: one.digest for one in record.inputs}}
        now = {**self.parameters, **{name: one.output.digest for name, one in inputs.items()}}
        ignored = self.policy.ignored_inputs
        return [name for name in ignored if name in now and had.get(name) != now[name]]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the repository that are declared to count."""
        return (*self.step.files, *self.policy.file_dependencies)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it runs.

    ``model`` is the model that it makes a version of, ``uses`` the version that it was given (by
    the full id of its commit). ``goes_on`` tells that after a failure all that does not depend on
    it is still done. ``tags`` are those of the run.
    """

    pipeline: str
    parameters: Mapping[str, Any]
    steps: tuple[PlannedStep, ...]
    code: Code
    stack: str
    model: Model | None
    pins: tuple[Pin, ...]
    uses: Model | None
    cache: bool
    goes_on: bool = False
    tags: tuple[str, ...] = ()
    run_name: str | None = None


@dataclass
class Planner:
    """Makes plans of pipeline calls in one repository.

    ``take_data`` stores a file of the repository and gives it as a pinned input, ``take_value`` a
    large parameter; ``take_code`` gives the code commit for the paths of the import closure.
    """

    root: Path
    names: Names
    stack: str
    take_data: Callable[[str], Pinned]
    take_value: Callable[[Any], Pinned]
    take_code: Callable[[set[str]], Code]
    _taken: dict[str, Pinned] = field(default_factory=dict, init=False)
    _used: dict[str, ObjectId] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._tracer = Tracer(self.root)

    def plan(self, pipeline: PipelineFunction, parameters: Mapping[str, Any]) -> Plan:
        """The plan of a call; ``parameters`` may name those of steps as ``<step>.<parameter>``.

        That of a dynamic pipeline has no steps yet, see `extended`. Raises UsageError, NameNotFound
        and what reading the code raises.
        """
        arguments, theirs = call_of(pipeline, parameters)
        makes, uses = self._model(pipeline.model)
        if pipeline.dynamic:
            self._refuse_twins(pipeline, ())
            steps: tuple[PlannedStep, ...] = ()
            closures = [self._tracer.trace(pipeline.function)]
        else:
            nodes = pipeline.compose(arguments)
            steps = self._steps(pipeline, nodes, theirs, whole=True)
            closures = [step.closure for step in steps]
        closure = {file.path for one in closures for file in one.files}
        return Plan(
            pipeline.name,
            {name: self._short(one) for name, one in {**arguments, **theirs}.items()},
            steps,
            self.take_code(closure),
            self.stack,
            makes,
            self._pins(),
            uses,
            pipeline.cache,
            pipeline.execution_mode == "continue_on_failure",
            pipeline.tags,
            run_name(pipeline, {**arguments, **theirs}, time.time()),
        )

    def extended(
        self,
        plan: Plan,
        pipeline: PipelineFunction,
        nodes: Sequence[Node],
        parameters: Mapping[str, Any],
    ) -> Plan:
        """The plan of a dynamic pipeline with more steps.

        ``parameters`` are those of steps that replace what the body said.
        """
        names = {one.name for one in nodes}
        theirs = {key: one for key, one in parameters.items() if key.rpartition(".")[0] in names}
        more = self._steps(pipeline, nodes, theirs, whole=False)
        pins = self._pins()
        return replace(plan, steps=(*plan.steps, *more), pins=pins)

    def _steps(
        self,
        pipeline: PipelineFunction,
        nodes: Sequence[Node],
        parameters: Mapping[str, Any],
        *,
        whole: bool,
    ) -> tuple[PlannedStep, ...]:
        nodes = with_step_options(override(list(nodes), parameters), pipeline, whole=whole)
        check_policies(nodes, pipeline, whole=whole)
        self._refuse_twins(pipeline, nodes)
        closures: dict[Any, Closure] = {}
        return tuple(self._step(node, pipeline, closures) for node in nodes)

    def _refuse_twins(self, pipeline: PipelineFunction, nodes: Sequence[Node]) -> None:
        """Raise InvalidName for a name that differs only in case from one that is known."""
        index = self.names.index
        check_twins([pipeline.name], [name for name, _ in index.pipelines()], "pipeline")
        own = [node.step.model for node in nodes]
        models = [one.name for one in (pipeline.model, *own) if one is not None]
        check_twins(models, self.names.models, "model")
        made = (artifact_name(pipeline.name, n, spec) for n in nodes for spec in n.step.outputs)
        check_twins(made, self.names.artifact_names(), "artifact")

    def _model(self, model: Model | None) -> tuple[Model | None, Model | None]:
        """The model that the run makes, and the one it uses: a version pinned to its commit."""
        if model is None or model.version is None:
            return model, None
        version = self.names.version(model.name, model.which)
        self._used[f"{model.name}@{model.which}"] = version
        return None, Model(model.name, version.hex)

    def _pins(self) -> tuple[Pin, ...]:
        """What every name meant when the run was planned, for its record."""
        found = {name: one.commit for name, one in self._taken.items()} | self._used
        return tuple(Pin(name, commit) for name, commit in sorted(found.items()))

    def _step(
        self, node: Node, pipeline: PipelineFunction, closures: dict[Any, Closure]
    ) -> PlannedStep:
        """A call as a step of the plan; ``closures`` are those of the steps that were met before.

        Nothing runs between the calls of one plan, so that a step has one closure in it.
        """
        policy = policy_of(node.step, pipeline)
        makes, uses = self._model(node.step.model or pipeline.model)
        step = node.step
        known = (step.function, step.name, step.environment)
        if known not in closures:
            closures[known] = step.trace(self._tracer)
        closure = closures[known]
        bindings = {key: self._bind(value) for key, value in node.bindings.items()}
        said = policy.said(node.name)
        return PlannedStep(
            *(node.name, node.step, bindings, closure, node.after, node.fan, policy, said),
            makes=makes,
            uses=uses,
        )

    def _bind(self, value: Any) -> Binding:
        pins = self._taken
        if isinstance(value, Handle):
            return FromStep(value.node, value.output)
        if isinstance(value, Artifact):
            if value.spelling not in pins:
                pins[value.spelling] = self.pin(value)
            return pins[value.spelling]
        if isinstance(value, DataFile):
            if value.path not in pins:
                pins[value.path] = self.take_data(value.path)
            return pins[value.path]
        return self.take_value(value) if is_large(value) else Value(value)

    def _short(self, value: Any) -> Any:
        """A parameter of the pipeline as its record has it."""
        return self.take_value(value).text if is_large(value) else value

    def pin(self, artifact: Artifact) -> Pinned:
        """An artifact reference, resolved; raises NameNotFound."""
        return pinned(artifact.spelling, self.names.resolve(artifact.spelling))


def is_large(value: Any) -> bool:
    """Whether a parameter is too large for a record."""
    return _left(value, LARGEST) < 0


def _left(value: Any, left: int) -> int:
    """What is left of a number of characters after a value, written as JSON; below 0 it ends."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            left = _left(one, left - len(key) - 4)
            if left < 0:
                break
    elif isinstance(value, (list, tuple)):
        for one in value:
            left = _left(one, left - 2)
            if left < 0:
                break
    elif isinstance(value, str):
        left -= len(value) + 2
    elif isinstance(value, (bool, int, float)):
        left -= value.bit_length() // 3 + 1 if isinstance(value, int) else 8
    return left


def call_of(
    pipeline: PipelineFunction, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a pipeline's body, and the parameters of its steps by their paths."""
    own = {key: value for key, value in parameters.items() if "." not in key}
    given = {**pipeline.preset, **parameters}
    theirs = {key: value for key, value in given.items() if "." in key}
    return pipeline.arguments((), own), theirs


def artifact_name(pipeline: str, node: Node | PlannedStep, spec: OutputSpec) -> str:
    """The repository-wide name of an output: its own, or made of those of pipeline and step."""
    default = f"{pipeline}.{node.name}"
    return spec.artifact or (default if len(node.step.outputs) == 1 else f"{default}.{spec.name}")


def pinned(spelling: str, found: Found) -> Pinned:
    """What a resolved name offers as an input; raises NameNotFound where it has no bytes."""
    if found.output is None or found.commit is None:
        raise NameNotFound(f"`{spelling}` is a {found.kind}, not an artifact")
    return Pinned(spelling, found.output, found.commit)
