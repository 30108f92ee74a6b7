"""What is recorded, by ZenML's names: models and their versions, runs, outputs, the client."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitml import api
from gitml.errors import UsageError
from gitml.handles import RunHandle, StepHandle, StoredOutput, VersionHandle
from gitml.pipelines import context, dsl

_said: set[str] = set()
_NOT_HERE = ("service_connector", "schedule", "code_repository", "deployment", "trigger", "webhook")
_HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Model(api.Model):
    """A model, or with ``version`` (a number, a stage, "latest") one of its versions.

    ``free_name`` is the name that the version will get which a run makes.
    """

    save_models_to_registry: bool = True
    free_name: str | None = None

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
        return Version(self.resolved).run_metadata

    def get_artifact(self, name: str) -> Any:
        """An artifact of the version: while a pipeline is composed to hand to a step."""
        if dsl.composing() or context.current() is not None:
            return Lazy(name, model=self._before)
        return self.resolved.artifacts.get(name)

    get_data_artifact = get_model_artifact = get_artifact

    def load_artifact(self, name: str) -> Any:
        """The value of an artifact of the version."""
        return self._before.load(name)

    @property
    def _before(self) -> Model:
        """What a run finds: of a version that it makes, the one that has its free name now."""
        return replace(self, version=self.free_name, free_name=None) if self.free_name else self

    def log_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Facts of the version; in a step of the step, which the version's metadata unite."""
        if context.current() is not None:
            context.log_metadata(metadata)
        else:
            api.repository().set_metadata(self.resolved.label, metadata)

    def set_stage(self, stage: Any, reason: str | bool = "", *, force: bool = False) -> None:
        """Move a stage here; in a step that makes a version, as soon as that one exists.

        Raises UsageError where another version holds the stage, without ``force``, which ZenML
        takes in the place of a reason too.
        """
        stage = str(getattr(stage, "value", stage))
        force = force or reason is True
        running = context.current()
        if running is not None and self.version is None:
            _refuse_held(self.name, stage, "the version of this run", force)
            running.set_stage(self.name, stage, "set_stage")
        else:
            _promote(self.resolved, stage, force)


@dataclass(frozen=True)
class Lazy(api.Artifact):
    """An artifact by name, which a run resolves when it is planned."""

    @property
    def id(self) -> str:
        """How a parameter of a pipeline may name it."""
        return self.spelling

    @property
    def value(self) -> Any:
        """The value now."""
        return self.load()


class Output:
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

    def __getitem__(self, index: int) -> Output:
        """Itself: newer versions of ZenML have a list of outputs under each name."""
        return (self,)[index]


class _Step:
    """A step of a run as ZenML's clients see it."""

    def __init__(self, handle: StepHandle) -> None:
        self.name, self.status = handle.name, handle.status
        self.run_metadata = {**handle.metadata, **handle.metrics}
        self.outputs = {name: Output(one) for name, one in handle.outputs.items()}

    @property
    def output(self) -> Output:
        """The only output; raises UsageError where there are more or none."""
        if len(self.outputs) != 1:
            raise UsageError(f"the step {self.name} has {len(self.outputs)} outputs")
        return next(iter(self.outputs.values()))


class Run:
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
    def model_version(self) -> Version | None:
        """The version that it made or resolved to."""
        version = self.handle.model_version
        return Version(version) if version is not None else None


class Version:
    """A model version as ZenML's clients see it."""

    def __init__(self, handle: VersionHandle) -> None:
        self.handle = handle
        self.number = handle.number
        self.name = self.version = handle.label.rpartition("@")[2]
        self.stage = next(iter(handle.stages), None)
        self.run_metadata = {**handle.metadata(), **handle.metrics}

    def get_artifact(self, name: str) -> Output | None:
        """An artifact of the version, None where it has none of this name."""
        found = self.handle.artifacts.get(name)
        return Output(found) if found is not None else None

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
        return Version(api.repository().version(f"{model_name}@{spelled(which)}"))

    def list_model_versions(self, model: str) -> list[Version]:
        """All versions of a model."""
        return [Version(one) for one in api.repository().versions(model)]

    def get_artifact_version(self, name_id_or_prefix: str, version: str | None = None) -> Any:
        """An artifact by name or by the ``id`` of an output, to load or to hand to a step."""
        return artifact_named(name_id_or_prefix, version)

    def get_pipeline_run(self, name_id_or_prefix: str) -> Run:
        """A run by its id or name."""
        repo = api.repository()
        found = repo.resolve(name_id_or_prefix).commit
        if found is None:
            raise UsageError(f"`{name_id_or_prefix}` is no run")
        return Run(repo.run_of(found))

    def list_pipeline_runs(self, pipeline: str | None = None, size: int = 20) -> list[Run]:
        """The newest runs, newest first."""
        return [Run(one) for one in api.repository().runs(pipeline=pipeline, limit=size)]

    def get_pipeline(self, name: str) -> _PipelineRuns:
        """The runs of a pipeline."""
        return _PipelineRuns(name)

    @property
    def active_stack(self) -> Any:
        """The stack that is chosen, with its ``name``."""
        return api.repository().active_stack

    def activate_stack(self, stack_name_id_or_prefix: str) -> None:
        """Choose a stack for this clone; raises NameNotFound where there is none of this name."""
        api.repository().set_stack(stack_name_id_or_prefix)

    def __getattr__(self, name: str) -> Any:
        """What is about things that are not here is accepted, does nothing and gives None."""
        if not name.endswith(_NOT_HERE):
            raise AttributeError(
                f"gitml's Client has no {name}: docs/from-zenml.md says what it has"
            )

        def nothing(*given: Any, **settings: Any) -> None:
            say_once(f"Client().{name}(…)")

        return nothing


class _PipelineRuns:
    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def runs(self) -> list[Run]:
        """Its runs, newest first."""
        return Client().list_pipeline_runs(self.name)

    @property
    def last_run(self) -> Run:
        """Its newest run; raises UsageError where it has never run."""
        if not self.runs:
            raise UsageError(f"the pipeline {self.name} has never run")
        return self.runs[0]

    @property
    def last_successful_run(self) -> Run:
        """Its newest run that completed; raises UsageError where there is none."""
        for one in self.runs:
            if one.status == "completed":
                return one
        raise UsageError(f"the pipeline {self.name} has never completed")


def artifact_named(name: str, version: str | None) -> Lazy:
    """An artifact by its name, or by the ``id`` of an output."""
    bare, _, digest = str(name).partition("@")
    return Lazy(bare, version or digest or "latest")


def _promote(version: VersionHandle, stage: str, force: bool) -> None:
    if stage in version.stages:
        return
    _refuse_held(version.model, stage, version.label, force)
    api.repository().promote(version.label, stage, "set_stage")


def _refuse_held(model: str, stage: str, wanted: str, force: bool) -> None:
    """Raise UsageError where a version holds the stage, unless it is to be taken by force."""
    repo = api.repository()
    known = any(one.name == model for one in repo.models())
    versions = repo.versions(model) if known else ()
    held = [one.label for one in versions if stage in one.stages]
    if held and not force:
        raise UsageError(
            f"{held[0]} holds {stage}",
            hint=f'`set_stage("{stage}", force=True)` moves it to {wanted}',
        )


def spelled(version: Any) -> str:
    """A version as it is written behind the ``@``: ``v3`` for the number 3."""
    text = str(version)
    return f"v{text}" if text.isdecimal() else text


def say_once(what: str) -> None:
    """Warn that something is left out, once a process, at the line of the user that has it."""
    if what not in _said:
        _said.add(what)
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
            level, frame = level + 1, frame.f_back
        warnings.warn(f"{what} has no meaning in gitml and is left out", stacklevel=level)
