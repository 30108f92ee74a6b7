"""ZenML's names with gitml's meaning, so that a project runs after a change of its imports.

What has no meaning here (images, connectors, trackers, schedules) is accepted and said once a
process. Sharp edges are not copied: a stage has a history, a version a run that did something.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitml import api
from gitml.errors import UsageError
from gitml.frozen import fields
from gitml.handles import RunHandle, StepHandle, StoredOutput, VersionHandle
from gitml.pipelines import context, dsl, policy
from gitml.pipelines.configuration import PIPELINE_KEYS, STEP_KEYS, step_options
from gitml.pipelines.dsl import StepFunction

__all__ = [
    "ArtifactConfig",
    "CachePolicy",
    "Client",
    "ExternalArtifact",
    "Model",
    "StepRetryConfig",
    "get_logger",
    "get_pipeline_context",
    "get_step_context",
    "load_artifact",
    "log_metadata",
    "pipeline",
    "save_artifact",
    "step",
]

_said: set[str] = set()
_wishes: list[tuple[str, bool]] = []
"""The stages that steps of the run in progress asked for, until its version exists."""


@dataclass(frozen=True)
class ArtifactConfig(dsl.Artifact):
    """The name of an output, in ``Annotated[T, ArtifactConfig(name="features")]``."""

    tags: Sequence[str] = ()
    run_metadata: Mapping[str, Any] = field(default_factory=dict)
    artifact_type: Any = None


class ExternalArtifact:
    """A value of the pipeline's body as an input of a step, or with ``id`` an artifact that exists.

    Plain data becomes a parameter; other values are stored by each run, and consumers are cached by
    their content.
    """

    def __new__(cls, value: Any = None, id: str | None = None, materializer: Any = None) -> Any:  # noqa: A002
        """What the step is to be given."""
        if materializer is not None:
            _say_once("ExternalArtifact(materializer=…)")
        if id is not None:
            return _artifact(id, None)
        try:
            dsl.check_parameter(value, "value")
        except UsageError:

            def external():  # type: ignore[no-untyped-def]
                return value

            return StepFunction(external, cache=False)()
        return value


@dataclass(frozen=True)
class Model(api.Model):
    """A model, or with ``version`` (a number, a stage, "latest") one of its versions."""

    save_models_to_registry: bool = True

    @property
    def number(self) -> int | None:
        """The number of the version."""
        return self.resolved.number

    @property
    def stage(self) -> str | None:
        """The stage that the version holds, if any."""
        return next(iter(self.resolved.stages), None)

    @property
    def run_metadata(self) -> dict[str, Any]:
        """What was logged: metrics and metadata of all steps."""
        return _Version(self.resolved).run_metadata

    def get_artifact(self, name: str) -> Any:
        """An artifact of the version: while a pipeline is composed to hand to a step."""
        if dsl.composing() or context.current() is not None:
            return _Lazy(name, model=self)
        return self.resolved.artifacts.get(name)

    get_data_artifact = get_model_artifact = get_artifact

    def load_artifact(self, name: str) -> Any:
        """The value of an artifact of the version."""
        return self.load(name)

    def log_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Facts of the version; in a step of the step, which the version's metadata unite."""
        if context.current() is not None:
            context.log_metadata(metadata)
        else:
            api._repo().set_metadata(self.resolved.label, metadata)

    def set_stage(self, stage: Any, reason: str | bool = "", *, force: bool = False) -> None:
        """Move a stage here; in a step that makes a version, as soon as that one exists.

        Raises UsageError where another version holds the stage, without ``force``, which ZenML
        takes in the place of a reason too.
        """
        stage = str(getattr(stage, "value", stage))
        force = force or reason is True
        if context.current() is not None and self.version is None:
            _wishes.append((stage, force))
        else:
            _promote(self.resolved, stage, force)


@dataclass(frozen=True)
class _Lazy(api.Artifact):
    """An artifact by name, which a run resolves when it is planned."""

    @property
    def id(self) -> str:
        """How a parameter of a pipeline may name it."""
        return self.spelling

    @property
    def value(self) -> Any:
        """The value now."""
        return self.load()


class _Output:
    """A stored output as ZenML's clients see it."""

    def __init__(self, output: StoredOutput) -> None:
        self._output = output
        self.name = output.name
        self.version = output.digest.short
        self.id = f"{output.name}@{output.digest.short}"
        self.run_metadata = dict(output.metadata)

    def load(self) -> Any:
        """The value."""
        return self._output.load()


class _Step:
    """A step of a run as ZenML's clients see it."""

    def __init__(self, handle: StepHandle) -> None:
        self.name, self.status = handle.name, handle.status
        self.run_metadata = {**handle.metadata, **handle.metrics}
        self.outputs = {name: _Output(one) for name, one in handle.outputs.items()}

    @property
    def output(self) -> _Output:
        """The only output; raises UsageError where there are more or none."""
        if len(self.outputs) != 1:
            raise UsageError(f"the step {self.name} has {len(self.outputs)} outputs")
        return next(iter(self.outputs.values()))


class _Run:
    """A run as ZenML's clients see it."""

    def __init__(self, handle: RunHandle) -> None:
        self.handle = handle
        self.id = handle.id.short
        self.name = handle.name or self.id
        self.status = handle.status
        self.parameters = handle.parameters
        self.steps = {name: _Step(one) for name, one in handle.steps.items()}
        self.run_metadata = {**handle.metadata(), **handle.metrics}

    def _repr_html_(self) -> str:
        return self.handle._repr_html_()

    @property
    def model_version(self) -> _Version | None:
        """The version that it made or resolved to."""
        version = self.handle.model_version
        return _Version(version) if version is not None else None


class _Version:
    """A model version as ZenML's clients see it."""

    def __init__(self, handle: VersionHandle) -> None:
        self.handle = handle
        self.number = handle.number
        self.name = self.version = handle.label.rpartition("@")[2]
        self.stage = next(iter(handle.stages), None)
        self.run_metadata = {**handle.metadata(), **handle.metrics}

    def get_artifact(self, name: str) -> _Output | None:
        """An artifact of the version, None where it has none of this name."""
        found = self.handle.artifacts.get(name)
        return _Output(found) if found is not None else None

    get_data_artifact = get_model_artifact = get_artifact

    def set_stage(self, stage: Any, force: bool = False) -> None:
        """Move a stage here; raises UsageError where another version holds it, without force."""
        _promote(self.handle, str(getattr(stage, "value", stage)), force)


class Client:
    """What is recorded in the repository around the current folder, by ZenML's names."""

    def get_model_version(self, model_name: str, version: str | int | None = None) -> Any:
        """A version; while a pipeline is composed or in a step a reference, resolved by the run."""
        which = getattr(version, "value", version) or "latest"
        if dsl.composing() or context.current() is not None:
            return Model(model_name, version=which)
        return _Version(api._repo().version(f"{model_name}@{_which(which)}"))

    def list_model_versions(self, model: str) -> list[_Version]:
        """All versions of a model."""
        return [_Version(one) for one in api._repo().versions(model)]

    def get_artifact_version(self, name_id_or_prefix: str, version: str | None = None) -> Any:
        """An artifact by name or by the ``id`` of an output, to load or to hand to a step."""
        return _artifact(name_id_or_prefix, version)

    def get_pipeline_run(self, name_id_or_prefix: str) -> _Run:
        """A run by its id or name."""
        repo = api._repo()
        found = repo.resolve(name_id_or_prefix).commit
        if found is None:
            raise UsageError(f"`{name_id_or_prefix}` is no run")
        return _Run(repo.run_of(found))

    def list_pipeline_runs(self, pipeline: str | None = None, size: int = 20) -> list[_Run]:
        """The newest runs, newest first."""
        return [_Run(one) for one in api._repo().runs(pipeline=pipeline, limit=size)]

    def get_pipeline(self, name: str) -> _PipelineRuns:
        """The runs of a pipeline."""
        return _PipelineRuns(name)


class _PipelineRuns:
    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def runs(self) -> list[_Run]:
        """Its runs, newest first."""
        return Client().list_pipeline_runs(self.name)

    @property
    def last_run(self) -> _Run:
        """Its newest run; raises UsageError where it has never run."""
        if not self.runs:
            raise UsageError(f"the pipeline {self.name} has never run")
        return self.runs[0]

    @property
    def last_successful_run(self) -> _Run:
        """Its newest run that completed; raises UsageError where there is none."""
        for one in self.runs:
            if one.status == "completed":
                return one
        raise UsageError(f"the pipeline {self.name} has never completed")


class Pipeline(api.Pipeline):
    """A pipeline with ZenML's options; calling it runs it and gives the run."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, then move the stages that its steps asked for to the version that it made."""
        _wishes.clear()
        try:
            handle = super().run(*args, **kwargs)
            if handle.model_version is not None and handle.made_version:
                for stage, force in _wishes:
                    _promote(handle.model_version, stage, force)
        finally:
            _wishes.clear()
        return _Run(api._repo().run_of(handle.id))


def CachePolicy(**options: Any) -> policy.CachePolicy:  # noqa: N802 - ZenML's class
    """What counts for the cache; what ZenML lets one leave out besides always counts here."""
    known = fields(policy.CachePolicy)
    _say_unused("CachePolicy", {k: v for k, v in options.items() if k not in known})
    return policy.CachePolicy(**{k: v for k, v in options.items() if k in known and v is not None})


def StepRetryConfig(max_retries: int = 1, delay: float = 0, backoff: float = 0) -> dict[str, Any]:  # noqa: N802 - ZenML's class
    """How often a step is tried again, with how many seconds between, growing by what factor."""
    return {"max_retries": max_retries, "delay": delay, "backoff": backoff}


def step(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A function as a step, with ZenML's options."""

    def decorate(plain: Callable[..., Any]) -> StepFunction:
        given, unused = _used(options, STEP_KEYS, "name")
        _say_unused("@step", unused)
        settings, _ = step_options(given, "@step")
        return StepFunction(plain, name=options.get("name")).with_options(**settings)

    return decorate(function) if function is not None else decorate


def pipeline(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A function that calls steps as a pipeline, with ZenML's options."""

    def decorate(plain: Callable[..., Any]) -> Pipeline:
        given, unused = _used(options, PIPELINE_KEYS, "name", "dynamic")
        _say_unused("@pipeline", unused)
        dynamic = options.get("dynamic") is True
        return Pipeline(plain, name=options.get("name"), dynamic=dynamic).with_options(**given)

    return decorate(function) if function is not None else decorate


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
        api._repo().set_metadata(f"{model}@{_which(version or 'latest')}", metadata)
    elif run is not None:
        api._repo().set_metadata(str(run), metadata)
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


def save_artifact(data: Any, name: str, version: Any = None, **options: Any) -> _Output:
    """A value stored under a name; what its version is follows from its content."""
    given = {k: v for k, v in {"version": version, **options}.items() if v is not None}
    _say_unused("save_artifact", given)
    return _Output(api.save_artifact(data, name))


def load_artifact(name_or_id: str, version: str | None = None) -> Any:
    """The value of an artifact, by name or by the ``id`` of an output."""
    return _artifact(name_or_id, version).load()


def get_logger(name: str) -> logging.Logger:
    """A logger of this name."""
    return logging.getLogger(name)


def _artifact(name: str, version: str | None) -> _Lazy:
    bare, _, digest = str(name).partition("@")
    return _Lazy(bare, version or digest or "latest")


def _as_model(model: dsl.Model | None) -> Model:
    if model is None:
        raise UsageError("the pipeline has no model", hint='`@pipeline(model=Model("clf"))`')
    return Model(model.name, version=model.version)


def _promote(version: VersionHandle, stage: str, force: bool) -> None:
    held = [one.label for one in api._repo().versions(version.model) if stage in one.stages]
    if held == [version.label]:
        return
    if held and not force:
        raise UsageError(
            f"{held[0]} holds {stage}",
            hint=f'`set_stage("{stage}", force=True)` moves it to {version.label}',
        )
    api._repo().promote(version.label, stage, "set_stage")


def _which(version: Any) -> str:
    text = str(version)
    return f"v{text}" if text.isdecimal() else text


def _say_unused(where: str, options: Mapping[str, Any]) -> None:
    for name in options:
        _say_once(f"{where}({name}=…)")


def _say_once(what: str) -> None:
    if what not in _said:
        _said.add(what)
        warnings.warn(f"{what} has no meaning in gitml and is left out", stacklevel=4)
