"""The public Python API: decorated functions that run, and artifacts and models by name."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, Unpack, overload

from gitml.entities.metadata import StorageSize, Uri
from gitml.errors import NoRepository, UsageError
from gitml.evaluation import ConfusionMatrix, Curve
from gitml.handles import RunHandle, StoredOutput, VersionHandle
from gitml.listing import Listing
from gitml.materializers.text import CSVString, HTMLString, MarkdownString, SVGString
from gitml.pipelines import context, dsl, references
from gitml.pipelines.command import CommandStep
from gitml.pipelines.configuration import (
    configuration,
    configured,
    read_configuration,
)
from gitml.pipelines.context import get_context, log_metrics
from gitml.pipelines.dsl import PipelineSettings, StepFunction, StepSettings
from gitml.pipelines.observe import watch_imports
from gitml.pipelines.policy import CachePolicy
from gitml.pipelines.references import DataFile
from gitml.pipelines.selection import Selection
from gitml.pipelines.session import Place, Session
from gitml.repo import Repo

__all__ = [
    "Artifact",
    "CSVString",
    "CachePolicy",
    "CommandStep",
    "ConfusionMatrix",
    "Curve",
    "HTMLString",
    "MarkdownString",
    "Model",
    "Pipeline",
    "Repo",
    "SVGString",
    "StorageSize",
    "Uri",
    "data",
    "get_context",
    "link_artifact_to_model",
    "load_artifact",
    "log_metadata",
    "log_metrics",
    "pipeline",
    "save_artifact",
    "start_run",
    "step",
    "unmapped",
]


watch_imports()  # a script imports its modules after this one


class Model(references.Model):
    """A model by name: what a pipeline's run makes, or with ``version`` what is used.

    ``version`` is a number, a stage ("production"), "latest", an alias or a draft's id. With
    ``repo``, the URL of a git repository, it is loaded from there: no work tree is needed.
    """

    def load(self, name: str, wanted: type | None = None) -> Any:
        """The value of an artifact of this version.

        In a step the version becomes a parent of what the step makes. Raises NameNotFound naming
        the versions there are; nothing falls back silently.
        """
        if self.repo is None:
            return _load(self.artifact(name).spelling, wanted)
        if context.current() is not None:
            self.artifact(name)  # says why not
        repo = Repo.of_url(self.repo, environment=os.environ)
        try:
            return repo.artifact(f"{self.name}@{self.which}:{name}").load(wanted)
        finally:
            repo.close()

    def check(self, table: Any, artifact: str | None = None) -> None:
        """Raise UnsupportedValue unless a model of this version takes a frame, table or array.

        The message names columns that are missing, and those of another type than the model was
        fitted with. ``artifact`` is the model, where the version has several.
        """
        running = context.current()
        spelled = f"{self.name}@{self.which}:"
        loads = running.loads.items() if running is not None else ()
        loaded = next((one.commit for name, one in loads if name.startswith(spelled)), None)
        version = self.resolved if loaded is None else repository().version_of(loaded)
        version.check(table, artifact)

    @property
    def resolved(self) -> VersionHandle:
        """The version that this means now, with its metrics, parameters and artifacts."""
        return repository().version(f"{self.name}@{self.which}")

    def set_stage(self, stage: str, reason: str = "", *, force: bool = False) -> None:
        """Make this version the holder of a stage.

        In a step of a run that makes a version of the model, the stage waits until the version is
        there. The holder before steps down, with or without ``force``, which ZenML asks for.
        """
        running = context.current()
        if running is not None and self.version is None:
            running.set_stage(self.name, stage, reason)
        else:
            why = reason or f"set to {self.which}"
            repository().promote(f"{self.name}@{self.which}", stage, why)

    def set_alias(self, alias: str) -> None:
        """Let ``Model(name, version=alias)`` mean this version from now on; not in a step."""
        if context.current() is not None:
            raise UsageError(
                "an alias is not moved by a step",
                hint=f"`gitml model alias {self.name}@latest {alias}` after the run",
            )
        repository().put_alias(f"{self.name}@{self.which}", alias)

    def versions(self) -> Listing[VersionHandle]:
        """All versions of the model, by number, then the drafts; also as a table.

        Raises UsageError for a model of another repository, whose versions are not all here.
        """
        if self.repo is not None:
            raise UsageError(
                f"{self.name} is of another repository",
                hint=f"`gitml clone {self.repo}` brings all of its versions",
            )
        return repository().versions(self.name)


class Artifact(references.Artifact):
    """A named artifact: its newest bytes, or those of a digest (``version="9c41f07b"``)."""

    def load(self, wanted: type | None = None) -> Any:
        """The value; in a step it becomes an input of the step."""
        return _load(self.spelling, wanted)


class Pipeline(dsl.PipelineFunction):
    """A pipeline that runs when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the pipeline and give the recorded run; inside of another pipeline, join it.

        What a step raised comes out as StepFailed with the recorded run as ``run``.
        """
        if dsl.composing():
            return self.inline(*args, **kwargs)
        if _being_imported(self):
            raise UsageError(
                f"{self.name} is called while its file is imported",
                hint="put the call below `if __name__ == '__main__':`",
            )
        return self.run(self.arguments(args, kwargs))

    def with_options(
        self,
        *,
        config_path: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """A copy with other settings; what is given here comes before what the file says.

        ``config_path`` is a TOML, YAML or JSON file. ``settings`` have the keys of such a file:
        ``parameters`` (defaults of the copy, those of steps also as ``<step>.<parameter>``),
        ``steps``, ``enable_cache``, ``cache_policy``, ``retry``, ``execution_mode``, ``model``,
        ``run_name``, ``tags``, ``on_start``, ``on_success``, ``on_failure``. Raises UsageError with
        the path of what is not as it should be.
        """
        other = self
        if config_path is not None:
            path = Path(config_path)
            read = read_configuration(path, os.environ)
            _warn_of(read.note(path))
            other = configured(self, read)
        given = configuration(settings, "with_options")
        _warn_of(given.note("with_options"))
        return configured(other, given)

    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        cache: bool = True,
        start: str | None = None,
        only: str | None = None,
    ) -> RunHandle:
        """Run with parameters by name; ``<step>.<parameter>`` reaches into a step.

        ``start`` is a step to begin with, ``only`` the one to run alone: they run also when their
        result is known, and what they need is taken over from the newest run that has it.
        """
        running = context.current()
        if running is not None and running.is_block:
            raise UsageError(
                f"{self.name} is called inside of the run {running.pipeline}, and is one itself",
                hint=f"call it before or after the `with` of {running.pipeline}",
            )
        if running is not None:
            raise UsageError(
                f"{self.name} is called by a step: a pipeline cannot run inside of a step",
                hint=f"call `{self.name}()` in the body of the pipeline",
            )
        file = Path(self.file)
        repo = repository(file.parent if file.is_file() else None)  # a notebook's cell is no file
        part = Selection((start,) if start else (), (only,) if only else ())
        return repo.run(self, parameters or {}, cache=cache, selection=part, live=1)


@overload
def step(function: Callable[..., Any]) -> StepFunction: ...
@overload
def step(**settings: Unpack[StepSettings]) -> Callable[[Callable[..., Any]], StepFunction]: ...
def step(function: Callable[..., Any] | None = None, **settings: Unpack[StepSettings]) -> Any:
    """A function as a step: recorded, stored, cached; called outside of a pipeline, itself.

    ``name`` is the function's unless it is said. ``environment`` names variables and ``files``
    repository paths that its result depends on; ``cache=False`` runs it every time,
    ``cache_policy`` says what else counts or does not. With a ``model`` of its own it makes a
    version of that, or uses it, and not the pipeline's. ``tags`` are put on all artifacts that it
    makes. The other options say how it is run: ``retries`` with ``backoff`` and ``timeout`` in
    seconds and the ``factor`` by which the backoff grows, and what is called ``on_start``,
    ``on_success`` and ``on_failure``.
    """
    if function is None:
        return lambda plain: StepFunction(plain, **settings)
    return StepFunction(function, **settings)


@overload
def pipeline(function: Callable[..., Any]) -> Pipeline: ...
@overload
def pipeline(**settings: Unpack[PipelineSettings]) -> Callable[[Callable[..., Any]], Pipeline]: ...
def pipeline(
    function: Callable[..., Any] | None = None, **settings: Unpack[PipelineSettings]
) -> Any:
    """A function that calls steps as a pipeline; calling it runs it and gives the run.

    ``name`` is the function's unless it is said. ``model`` is what its runs make or use,
    ``cache=False`` takes no result from the cache, and ``cache_policy`` is that of the steps which
    have none of their own. ``execution_mode`` says what happens when a step fails: "fail_fast" and
    "stop_on_failure" begin no other, "continue_on_failure" does all that does not need it.
    ``tags`` are put on its runs. ``run_name`` is a template like "exp-{date}-{rate}", with the
    names of parameters. The body of a ``dynamic`` one may branch on results: ``step(…).load()``.
    ``on_start``, ``on_success`` and ``on_failure`` are called for each run.
    """
    if function is None:
        return lambda plain: Pipeline(plain, **settings)
    return Pipeline(function, **settings)


def start_run(
    name: str,
    *,
    model: references.Model | str | None = None,
    parameters: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    tags: Iterable[str] = (),
) -> Session:
    """A run without a pipeline, for ``with``: the block is its one step, and is never cached.

    With ``model`` it makes a version; ``run_name`` and ``tags`` are as those of a pipeline. What
    the block raises is recorded as its failure and goes on. Raises UsageError inside of a step, a
    pipeline, or another such run.
    """
    frame = sys._getframe(1)
    place = Place(frame.f_code, frame.f_lineno, frame.f_globals)
    return Session(name, model, parameters, place, _open_run, run_name=run_name, tags=tags)


def _open_run(session: Session) -> contextlib.AbstractContextManager[None]:
    """The recording of a block in the repository of its file, else in that of this folder."""
    file = Path(session.pipeline.file)
    with contextlib.suppress(NoRepository):
        if file.is_file():
            return repository(file.parent).session(session)
    return repository().session(session)


def unmapped(value: Any) -> dsl.Unmapped:
    """A list that `step.map` and `step.product` hand whole to every call."""
    return dsl.Unmapped(value)


def data(path: str | Path) -> Any:
    """A file or folder of the repository as an input, by a path relative to its root.

    In a pipeline it is something to hand to a step, in a step the ``Path`` itself, and the bytes
    become a source that the step descends from. Elsewhere it is just the path.
    """
    text = Path(path).as_posix()
    running = context.current()
    if running is not None:
        return running.data(text)
    if dsl.composing():
        return DataFile(text)
    return repository().root / text


def load_artifact(name: str, version: str = "latest", wanted: type | None = None) -> Any:
    """The value of an artifact by name; in a step it becomes an input of the step."""
    return Artifact(name, version).load(wanted)


def save_artifact(value: Any, name: str) -> StoredOutput:
    """A value stored under a name, as a source for others. Not in a step: return it there."""
    running = context.current()
    if running is not None:
        if running.is_block:
            raise UsageError(
                f"the run {running.pipeline} is going on, and what it makes is stored with it",
                hint=f"`run.save({name!r}, value)`",
            )
        raise UsageError(
            "a step's results are what it returns",
            hint=f"return the value as `Annotated[T, {name!r}]`",
        )
    return repository().save(value, name)


def log_metadata(
    values: Mapping[str, Any],
    *,
    artifact: str | None = None,
    run: str | None = None,
    model: str | None = None,
    infer_artifact: bool = False,
    infer_model: bool = False,
) -> None:
    """Record facts: in a step of the step, elsewhere of what is named.

    In a step, numbers are metrics, and all of it is the version's too that the run makes; with
    ``artifact``, the name of an output, or ``infer_artifact`` the facts are that output's alone.
    ``model`` and ``infer_model`` insist on a version. Outside of a step ``artifact``
    ("features", "clf@v3:model"), ``run`` or ``model`` ("clf@v3") names what they are noted on.
    Values are plain JSON, paths, `Uri` and `StorageSize`; raises UsageError for others.
    """
    named = {"artifact": artifact, "run": run, "model": model}
    given = {kind: name for kind, name in named.items() if name is not None}
    count = len(given) + infer_artifact + infer_model
    if count > 1:
        raise UsageError("metadata is of one thing: one of `artifact`, `run` and `model`")
    if context.current() is not None or dsl.called_plainly() or not given:
        if run is not None:
            raise UsageError(
                "a step cannot log on a run: it is recorded when all steps are done",
                hint="without `run`, or `gitml metadata set RUN …` when it is there",
            )
        context.log_metadata(
            values,
            artifact=artifact,
            infer_artifact=infer_artifact,
            model=model,
            infer_model=infer_model,
        )
        return
    for kind, name in given.items():
        repository().set_metadata(name, values, kind)


def _warn_of(note: str | None) -> None:
    if note:
        warnings.warn(note, stacklevel=3)


def link_artifact_to_model(
    artifact: str | references.Artifact | StoredOutput,
    model: references.Model | str | None = None,
    *,
    name: str | None = None,
) -> VersionHandle | None:
    """Make an artifact that was made elsewhere a part of a model's version, as ``name``.

    In a step of a run that makes a version, it becomes part of that one, and an input of the step.
    Elsewhere a run is recorded that makes a new version of the ``model``, and that is given back:
    it has what the newest version has, or the one that ``model`` names, and the artifact. One that
    has it already is given back itself.
    """
    spelling = artifact if isinstance(artifact, str) else _spelled(artifact)
    wanted = references.Model(model) if isinstance(model, str) else model
    running = context.current()
    if running is not None:
        running.link(spelling, wanted.name if wanted is not None else None, name)
        return None
    if wanted is None:
        raise UsageError(
            f"which model {spelling} shall be linked to is not said",
            hint=f'`link_artifact_to_model({spelling!r}, Model("clf"))`',
        )
    return repository().link(wanted, spelling, name)


def _spelled(artifact: references.Artifact | StoredOutput) -> str:
    if isinstance(artifact, references.Artifact):
        return artifact.spelling
    return f"artifact/{artifact.name}@{artifact.digest.hex}"


def _load(spelling: str, wanted: type | None) -> Any:
    running = context.current()
    if running is not None:
        return running.load(spelling, wanted)
    return repository().artifact(spelling).load(wanted)


def repository(start: Path | None = None) -> Repo:
    """The repository around a folder, that of this process where none is given."""
    return Repo.discover(start or Path.cwd(), environment=os.environ, settings=True)


def _being_imported(pipeline: Pipeline) -> bool:
    """Whether the call stands at the top level of the pipeline's own file, and that is imported."""
    if pipeline.function.__module__ == "__main__":
        return False
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>" and code.co_filename == pipeline.file:
            module = sys.modules.get(pipeline.function.__module__)
            spec = getattr(module, "__spec__", None)
            return bool(getattr(spec, "_initializing", False)) or spec is not None
        frame = frame.f_back
    return False
