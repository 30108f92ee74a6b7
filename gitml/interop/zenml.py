"""ZenML's names with gitml's meaning, so that a project runs after a change of its imports.

What has no meaning here (images, connectors, trackers, schedules) is accepted and said once a
process. Sharp edges are not copied: a stage has a history, a version a run that did something.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from gitml import api
from gitml.code.closure import unwrap
from gitml.errors import NameNotFound, UsageError
from gitml.frozen import fields
from gitml.handles import RunHandle
from gitml.interop.zenml_materializers import ArtifactType, BaseMaterializer, fileio
from gitml.interop.zenml_records import (
    Client,
    Model,
    Output,
    Run,
    artifact_named,
    say_once,
    spelled,
)
from gitml.pipelines import context, dsl, policy, references
from gitml.pipelines.configuration import PIPELINE_KEYS, STEP_KEYS, step_options
from gitml.pipelines.dsl import StepFunction
from gitml.pipelines.options import Callbacks

__all__ = [
    "ArtifactConfig",
    "ArtifactType",
    "BaseMaterializer",
    "CachePolicy",
    "Client",
    "DockerSettings",
    "ExternalArtifact",
    "Model",
    "ResourceSettings",
    "Schedule",
    "StepRetryConfig",
    "fileio",
    "get_logger",
    "get_pipeline_context",
    "get_step_context",
    "link_artifact_to_model",
    "load_artifact",
    "log_metadata",
    "pipeline",
    "save_artifact",
    "step",
    "unmapped",
]

unmapped = api.unmapped

_OWN = ("cache", "retries", "backoff")
"""Options of steps that have another name with ZenML."""

_LOADING = frozenset({"load_artifact", "get_artifact", "get_data_artifact", "get_model_artifact"})
"""What gives an artifact of a version."""

_STAGES = frozenset({"none", "latest", "staging", "production", "archived"})
"""ZenML's own, which are no free names of versions."""


class _Unused:
    """Settings of something that there is not here; what takes them says so."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        self.settings = settings


class DockerSettings(_Unused):
    """How images are built: accepted, and without a meaning here."""


class ResourceSettings(_Unused):
    """What machine a step wants: accepted, and without a meaning here."""


class Schedule(_Unused):
    """When a pipeline runs by itself: accepted, and without a meaning here (use cron, or CI)."""


@dataclass(frozen=True)
class ArtifactConfig(references.Artifact):
    """The name of an output, in ``Annotated[T, ArtifactConfig(name="features")]``."""

    run_metadata: Mapping[str, Any] | None = None
    artifact_type: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run_metadata:
            object.__setattr__(self, "metadata", self.run_metadata)


class ExternalArtifact:
    """A value of the pipeline's body as an input of a step, or with ``id`` an artifact that exists.

    Plain data becomes a parameter; other values are stored by each run, and consumers are cached by
    their content.
    """

    def __new__(cls, value: Any = None, id: str | None = None, materializer: Any = None) -> Any:  # noqa: A002
        """What the step is to be given."""
        if materializer is not None:
            say_once("ExternalArtifact(materializer=…)")
        if id is not None:
            return artifact_named(id, None)
        try:
            dsl.check_parameter(value, "value")
        except UsageError:

            def external():  # type: ignore[no-untyped-def]
                return value

            return StepFunction(external, cache=False)()
        return value


class Pipeline(api.Pipeline):
    """A pipeline with ZenML's options; calling it runs it and gives the run."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run it and give the run as ZenML shows it."""
        return Run(super().run(*args, **kwargs))

    def bound(self, parameters: Mapping[str, Any]) -> Pipeline:
        """The pipeline that makes a version where its model has a free name, or uses the one."""
        model, name = self.model, _free_name(self.model)
        if model is None or name is None:
            return self
        uses = self._takes_from(name, parameters)
        said = {one.name: getattr(model, one.name) for one in dataclasses.fields(references.Model)}
        said["version"] = name if uses else None
        this = copy.copy(self)
        this.model = Model(**said, free_name=None if uses else name)
        return this

    def has_run(self, run: RunHandle) -> None:
        """Give the version that it has made the free name of its model."""
        name, made = getattr(self.model, "free_name", None), run.model_version
        if self.model is None or name is None or made is None or name in made.aliases:
            return
        if not _loses(run, f"{self.model.name}@{name}:"):
            api.repository().put_alias(made.label, name)

    def _takes_from(self, name: str, parameters: Mapping[str, Any]) -> bool:
        """Whether the version of this name is used: a step is given, or loads, what it has."""
        own = {key: one for key, one in parameters.items() if "." not in key}
        model = self.model
        if model is None or self.dynamic:
            return False
        nodes = self.compose(self.arguments((), own))
        is_given = any(
            isinstance(one, references.Artifact)
            and one.model is not None
            and (one.model.name, _expanded(one.model.version)) == (model.name, name)
            for node in nodes
            for one in node.bindings.values()
        )
        if is_given or not _exists(f"{model.name}@{name}"):
            return is_given
        made = {one.name for node in nodes for one in node.step.outputs}
        codes = [getattr(unwrap(node.step.function)[0], "__code__", None) for node in nodes]
        return any(one is not None and _loads(one, name, made) for one in codes)


def _exists(version: str) -> bool:
    try:
        api.repository().version(version)
    except NameNotFound:
        return False
    return True


def _loads(code: CodeType, name: str, made: Collection[str]) -> bool:
    """Whether the code of a step loads from the version of a name what no step of the run makes.

    It is read, as only a run could tell for certain, and by then it has made a version.
    """
    words = {one for one in code.co_consts if isinstance(one, str)}
    asks = "get_step_context" in code.co_names or name in words
    if asks and not _LOADING.isdisjoint(code.co_names) and words.isdisjoint(made):
        return True
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return any(_loads(one, name, made) for one in inner)


def _loses(run: RunHandle, taken: str) -> bool:
    """Whether a version with a free name would lose what the run has taken from the one before.

    ``taken`` is how the names begin of all that is taken from that.
    """
    records = [one.found.record for one in run.steps.values() if one.found is not None]
    made = {output.artifact for one in records for output in one.outputs}
    loads = [load.name for one in records for load in one.loads]
    return any(one.startswith(taken) and one.removeprefix(taken) not in made for one in loads)


def _free_name(model: references.Model | None) -> str | None:
    """The version of a model, if that is a name of somebody's own, dates filled in."""
    if model is None or model.version is None:
        return None
    text = _expanded(model.version)
    if text in _STAGES or text.removeprefix("v").isdecimal():
        return None
    try:
        found = api.repository().model(model.name)
    except NameNotFound:
        return text
    return None if text in found.stages or text in found.broken else text


def _expanded(version: Any) -> str:
    text = str(getattr(version, "value", version))
    now = time.gmtime()
    text = text.replace("{date}", time.strftime("%Y_%m_%d", now))
    return text.replace("{time}", time.strftime("%H_%M_%S", now))


def CachePolicy(**options: Any) -> policy.CachePolicy:  # noqa: N802 - ZenML's class
    """What counts for the cache; what ZenML lets one leave out besides always counts here."""
    known = fields(policy.CachePolicy)
    _say_unused("CachePolicy", {k: v for k, v in options.items() if k not in known})
    return policy.CachePolicy(**{k: v for k, v in options.items() if k in known and v is not None})


def StepRetryConfig(max_retries: int = 1, delay: float = 0, backoff: float = 0) -> dict[str, Any]:  # noqa: N802 - ZenML's class
    """How often a step is tried again, with how many seconds between, growing by what factor."""
    return {"max_retries": max_retries, "delay": delay, "backoff": backoff}


class Step(StepFunction):
    """A step with ZenML's options; ``defaults`` of parameters come before those of its code."""

    defaults: Mapping[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, or record the call while a pipeline is composed."""
        return super().__call__(*args, **self._filled(args, kwargs))

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Call it for each item of the lists, the n-th of each together."""
        return super().map(*args, **self._filled(args, kwargs))

    def product(self, *args: Any, **kwargs: Any) -> Any:
        """Call it for every combination of the items of the lists."""
        return super().product(*args, **self._filled(args, kwargs))

    def with_options(self, **options: Any) -> Any:
        """A copy with other options; ``parameters`` are defaults of its parameters.

        gitml's own names, which a configuration has, are taken too. Raises UsageError for a
        parameter that it has not.
        """
        parameters = options.pop("parameters", None) or {}
        if unknown := parameters.keys() - self.signature.parameters.keys():
            raise UsageError(
                f"the step {self.name} has no parameter `{min(unknown)}`",
                hint=f"there are: {', '.join(self.signature.parameters)}",
            )
        own = {key: options.pop(key) for key in _OWN if key in options}
        other = super().with_options(**own)
        other.defaults = {**self.defaults, **parameters}
        return other._changed("with_options", options)

    configure = with_options

    def _filled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = [*self.signature.parameters][: len(args)]
        return {**{k: v for k, v in self.defaults.items() if k not in given}, **kwargs}

    def _changed(self, where: str, options: Mapping[str, Any]) -> Step:
        given, unused = _used(_ended(options), STEP_KEYS, "name")
        if all(_stores_itself(one) for one in _listed(unused.get("output_materializers"))):
            unused.pop("output_materializers", None)
        _say_unused(where, unused)
        settings, _ = step_options(given, where)
        return super().with_options(name=options.get("name"), **settings)


def step(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A function as a step, with ZenML's options."""

    def decorate(plain: Callable[..., Any]) -> Step:
        return Step(plain, name=options.get("name"))._changed("@step", options)

    return decorate(function) if function is not None else decorate


def pipeline(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A function that calls steps as a pipeline, with ZenML's options."""

    def decorate(plain: Callable[..., Any]) -> Pipeline:
        given, unused = _used(_ended(options), PIPELINE_KEYS, "name", "dynamic")
        _say_unused("@pipeline", unused)
        dynamic = options.get("dynamic") is True
        return Pipeline(plain, name=options.get("name"), dynamic=dynamic).with_options(**given)

    return decorate(function) if function is not None else decorate


def _ended(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``on_end``, which comes after both ends, as a part of these two."""
    given = dict(options)
    end = given.pop("on_end", None)
    if end is None:
        return given
    good, bad = given.get("on_success"), given.get("on_failure")

    def succeeded() -> None:
        for one in (good, end):
            Callbacks(on_success=one).call("on_success")

    def failed(error: BaseException) -> None:
        for one in (bad, end):
            Callbacks(on_failure=one).call("on_failure", error)

    return given | {"on_success": succeeded, "on_failure": failed}


def _listed(materializers: Any) -> list[Any]:
    """The materializers of outputs, which may be one, several, or several by output."""
    if materializers is None:
        return []
    if isinstance(materializers, Mapping):
        return [one for given in materializers.values() for one in _listed(given)]
    return list(materializers) if isinstance(materializers, (list, tuple)) else [materializers]


def _stores_itself(materializer: Any) -> bool:
    """Whether a class is found by the types that it is for, so that nobody has to name it."""
    return isinstance(materializer, type) and bool(getattr(materializer, "ASSOCIATED_TYPES", ()))


def _used(
    options: Mapping[str, Any], known: frozenset[str], *besides: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that have a meaning here, and those that have none."""
    said = {key: one for key, one in options.items() if one is not None and key not in besides}
    used = {key: one for key, one in said.items() if key in known}
    return used, {key: one for key, one in said.items() if key not in known}


class _StepContext:
    """The running step as ZenML's ``get_step_context`` shows it."""

    def __init__(self) -> None:
        running = context.get_context()
        self.pipeline, self.step_name = running.pipeline, running.step
        self.parameters = running.parameters
        self._model = running.model

    @property
    def model(self) -> Model:
        """The model of the run; raises UsageError where it has none."""
        return _as_model(self._model)

    def add_output_metadata(self, metadata: Mapping[str, Any], output_name: Any = None) -> None:
        """Facts of an output of the running step, of its only one without a name."""
        context.log_metadata(metadata, artifact=output_name, infer_artifact=output_name is None)


class _PipelineContext:
    """The pipeline that is composed, as ZenML's ``get_pipeline_context`` shows it."""

    def __init__(self) -> None:
        composition = dsl.composition()
        if composition is None:
            raise UsageError("no pipeline is composed here", hint="call it in a pipeline's body")
        self.name = composition.open[0].name
        self._model = composition.open[-1].model or composition.open[0].model

    @property
    def model(self) -> Model:
        """The model of the pipeline; raises UsageError where it has none."""
        return _as_model(self._model)


def get_step_context() -> _StepContext:
    """The running step; raises UsageError outside of a step."""
    return _StepContext()


def get_pipeline_context() -> _PipelineContext:
    """The pipeline that is composed; raises UsageError outside of its body."""
    return _PipelineContext()


def log_metadata(metadata: Mapping[str, Any], **target: Any) -> None:
    """Facts of the running step, its output or version, or of what ``target`` names."""
    model, version = target.get("model_name"), target.get("model_version")
    run, artifact = target.get("run_id_name_or_prefix"), target.get("artifact_name")
    if model is not None:
        api.repository().set_metadata(f"{model}@{spelled(version or 'latest')}", metadata)
    elif run is not None:
        api.repository().set_metadata(str(run), metadata)
    elif artifact is not None and context.current() is None:
        which = target.get("artifact_version")
        api.log_metadata(metadata, artifact=f"{artifact}@{which}" if which else artifact)
    else:
        context.log_metadata(
            metadata,
            artifact=artifact,
            infer_artifact=bool(target.get("infer_artifact")),
            infer_model=bool(target.get("infer_model")),
        )


def save_artifact(data: Any, name: str, version: Any = None, **options: Any) -> Output:
    """A value stored under a name; what its version is follows from its content."""
    given = {k: v for k, v in {"version": version, **options}.items() if v is not None}
    _say_unused("save_artifact", given)
    return Output(api.save_artifact(data, name))


def link_artifact_to_model(
    artifact_version: Output | references.Artifact, model: references.Model | None = None
) -> None:
    """Make an artifact a part of the version that the run makes, or of a new one of ``model``."""
    if isinstance(artifact_version, Output):
        api.link_artifact_to_model(artifact_version._output, model)
    else:
        api.link_artifact_to_model(artifact_version, model)


def load_artifact(name_or_id: str, version: str | None = None) -> Any:
    """The value of an artifact, by name or by the ``id`` of an output."""
    return artifact_named(name_or_id, version).load()


def get_logger(name: str) -> logging.Logger:
    """A logger of this name."""
    return logging.getLogger(name)


def _as_model(model: references.Model | None) -> Model:
    if model is None:
        raise UsageError("the pipeline has no model", hint='`@pipeline(model=Model("clf"))`')
    return Model(model.name, model.version, free_name=getattr(model, "free_name", None))


def _say_unused(where: str, options: Mapping[str, Any]) -> None:
    for name in options:
        say_once(f"{where}({name}=…)")
