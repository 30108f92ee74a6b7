"""Pipelines and the stacks they run on: finding, running, recovering, explaining."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml import config as configuration
from gitml.entities.ids import ObjectId
from gitml.errors import ConfigError, NameNotFound, UsageError
from gitml.frozen import Frozen
from gitml.git import locks
from gitml.git.refs import Ref
from gitml.handles import RunHandle, VersionHandle
from gitml.history import journal
from gitml.history.entries import StepEntry
from gitml.history.record import Person, made_at, run_ref
from gitml.repo.stages import Stages

if TYPE_CHECKING:
    from gitml.pipelines.discovery import Definition
    from gitml.pipelines.dsl import PipelineFunction
    from gitml.pipelines.explain import Explanation
    from gitml.pipelines.outcome import StepEvent
    from gitml.pipelines.output import Live
    from gitml.pipelines.references import Model
    from gitml.pipelines.run import Finished, Runner
    from gitml.pipelines.sealing import Sealing
    from gitml.pipelines.selection import Selection
    from gitml.pipelines.session import Session


class PipelineEntry(Frozen):
    """A pipeline: where it is defined (absent when only its runs are known), and its runs."""

    name: str
    definition: Definition | None
    runs: int
    last: RunHandle | None


class CachedStep(Frozen):
    """A result that the cache offers: the step's commit and key, when it was made (seconds).

    ``size`` are the bytes of its outputs, as they are outside of the store; ``here`` tells whether
    the store has them all; ``run`` is the first run that has the commit.
    """

    commit: ObjectId
    pipeline: str
    step: str
    key: str
    at: float
    size: int
    here: bool
    run: ObjectId | None


class Pipelines(Stages):
    """The part of the facade that runs things.

    Where ``strict_env`` is set, the whole environment counts for the cache, whatever ``gitml.toml``
    says.
    """

    strict_env = False

    def pipelines(self) -> list[PipelineEntry]:
        """The pipelines that files define and those that have run; no code of theirs is run."""
        from gitml.pipelines import discovery

        defined = {one.name: one for one in discovery.find(self.root, self.config.pipeline_paths)}
        counts = dict(self.index.pipelines())
        entries = []
        for name in sorted({*defined, *counts}):
            last = self.runs(pipeline=name, limit=1) if name in counts else []
            entries.append(
                PipelineEntry(
                    name, defined.get(name), counts.get(name, 0), last[0] if last else None
                )
            )
        return entries

    def load_pipeline(self, text: str, here: Path) -> PipelineFunction:
        """The pipeline that ``NAME``, ``FILE.py`` or ``FILE.py:NAME`` means, its file imported."""
        from gitml.pipelines import discovery

        self._refuse_second_config(here)
        return discovery.load(
            discovery.choose(text, self.root, self.config.pipeline_paths, here), self.root
        )

    def run(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any] | None = None,
        *,
        cache: bool = True,
        selection: Selection | None = None,
        tell: Callable[[StepEvent], None] = lambda event: None,
        live: Live = 2,
    ) -> RunHandle:
        """Run a pipeline, or the selected part of it, on the active stack and record it.

        Stages that its steps have asked for move when its version is there; what forbids that is
        raised, and the run and the version stand.

        ``live`` is the descriptor, or the callable, that shows what steps print. A run that fails
        is recorded too: the error that comes out has it as ``run``.
        """
        from gitml.pipelines.selection import WHOLE

        self._refuse_second_config(Path(pipeline.file).parent)
        runner = self._runner(live)
        self._record_killed()
        bound = pipeline.bound(parameters or {})
        with self._recorded_failures():
            finished = runner.run(
                bound,
                parameters or {},
                self.active_stack,
                cache=cache,
                selection=selection or WHOLE,
                tell=tell,
            )
        run = self._run_that(finished)
        bound.has_run(run)
        return run

    @contextlib.contextmanager
    def session(self, session: Session) -> Iterator[None]:
        """Run a block of somebody's code as a run of one step, and record it.

        What it raises comes out as it is, with the recorded run as ``run``.
        """
        file = Path(session.pipeline.file)
        self._refuse_second_config(file.parent if file.is_file() else self.root)
        runner = self._runner(1)
        self._record_killed()
        ended: list[Finished] = []
        with self._recorded_failures(), runner.block(session, self.active_stack, ended.append):
            yield
        session.recorded = self._run_that(*ended)

    def link(self, model: Model | str, artifact: str, name: str | None = None) -> VersionHandle:
        """A new version of a model: what a version has, and an artifact by name, as ``name``.

        The version is the one that ``model`` names, else the newest, else there is none yet. One
        that has the artifact under this name already is given back itself.
        """
        import dataclasses

        from gitml.pipelines.linking import linking
        from gitml.pipelines.references import Model as Wanted

        wanted = Wanted(model) if isinstance(model, str) else model
        found = self.artifact(artifact)
        called = name or found.name
        links: dict[str, str] = {}
        if wanted.version is not None or wanted.name in self.names.models:
            base = self.version(f"{wanted.name}@{wanted.which}")
            held = base.artifacts.get(called)
            if held is not None and held.digest == found.digest:
                return base
            links = {one: f"model/{base.label}:{one}" for one in base.artifacts}
        links[called] = artifact
        made = linking(dataclasses.replace(wanted, version=None), links)
        return self.run(made, {}).model_versions[wanted.name]

    @contextlib.contextmanager
    def _recorded_failures(self) -> Iterator[None]:
        """A block whose errors have the recorded run as ``run``, where there is one."""
        try:
            yield
        except BaseException as error:
            recorded = getattr(error, "finished", None)
            if recorded is not None:
                self.index.refresh()
                error.run = self.run_of(recorded.commit)  # type: ignore[attr-defined]
            raise

    def _run_that(self, finished: Finished) -> RunHandle:
        """A run that has ended; stages that its steps have asked for move now."""
        if finished.new:
            self.index.refresh()
        else:
            ref = run_ref(finished.record.pipeline, finished.record.started, finished.commit)
            self.index.take(Ref(ref, finished.commit, finished.commit))
        made = self.run_of(finished.commit)
        asked = {one: why for one, why in finished.stages.items() if one[0] in finished.new}
        if asked:
            for (model, stage), reason in asked.items():
                self.promote(made.model_versions[model].label, stage, reason)
            self.index.refresh()
            return self.run_of(finished.commit)
        return made

    def forecast(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any] | None = None,
        *,
        cache: bool = True,
        selection: Selection | None = None,
    ) -> list[Explanation]:
        """What a run would do with each step now, and why; nothing is run, nothing is written."""
        from gitml.pipelines.explain import forecast
        from gitml.pipelines.selection import WHOLE

        self.index.refresh()
        part = selection or WHOLE
        bound = pipeline.bound(parameters or {})
        return forecast(self._runner(2), bound, parameters or {}, part, cache=cache)

    def run_unrecorded(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[StepEvent], None] = lambda event: None,
        live: Live = 2,
    ) -> list[str]:
        """Run a pipeline and keep nothing of it; the names of its steps."""
        self._refuse_second_config(Path(pipeline.file).parent)
        runner = self._runner(live)
        bound = pipeline.bound(parameters or {})
        return runner.run_unrecorded(bound, parameters or {}, self.active_stack, tell=tell)

    def recover(self) -> list[ObjectId]:
        """Record the runs whose processes were killed; their commits. Cheap when there are none.

        Locks on refs that killed processes left are broken.
        """
        locks.break_abandoned(self.git)
        if not journal.orphans(journal.folder(self.git.common)):
            return []
        return self._record_killed()

    def _record_killed(self) -> list[ObjectId]:
        from gitml.pipelines.recovery import Recovery

        return Recovery(self.git, self.odb, self.index, self.store).recover()

    def explain(self, text: str, here: Path) -> list[Explanation]:
        """Why a step would run or be cached now: ``STEP`` or ``PIPELINE.STEP``."""
        from gitml.pipelines.explain import explain

        return explain(self._runner(2), self._pipelines_with(text, here), text.rpartition(".")[2])

    def cached_steps(
        self,
        pipeline: str | None = None,
        step: str | None = None,
        older_than: float | None = None,
    ) -> list[CachedStep]:
        """The results that the cache offers to steps with the same key, newest first.

        ``older_than`` (seconds) leaves those that were made at least so long ago. Raises
        NameNotFound for a pipeline or step that never ran.
        """
        from gitml.history.cleared import Cleared

        if pipeline is not None and pipeline not in dict(self.index.pipelines()):
            raise NameNotFound.among("pipeline", pipeline, dict(self.index.pipelines()))
        found = self.index.cacheable_steps(pipeline, step)
        if step is not None and not found:
            names = {one.record.name for one, _ in self.index.cacheable_steps(pipeline)}
            if step not in names:
                raise NameNotFound.among("cached step", step, names)
        cleared, now = Cleared(self.git.common), time.time()
        return [
            self._cached_step(entry, run)
            for entry, run in found
            if entry.id not in cleared
            and (older_than is None or now - made_at(entry.record) >= older_than)
        ]

    def clear_cache(
        self,
        pipeline: str | None = None,
        step: str | None = None,
        older_than: float | None = None,
    ) -> list[CachedStep]:
        """Have no later run of this clone reuse those results; what they are.

        Records and bytes stay. What a run asks for by name (``--resume``, ``--from``) it gets.
        """
        from gitml.history.cleared import Cleared

        found = self.cached_steps(pipeline, step, older_than)
        gone = [one.commit for one in found]
        # A run in which an item of a mapped step failed keeps the results of the others itself.
        for run in self.index.runs(pipeline=pipeline, state="failed"):
            old = older_than is None or time.time() - run.at >= older_than
            if old and any(one.items and step in (None, one.name) for one in run.record.steps):
                gone.append(run.id)
        if gone:
            Cleared(self.git.common).add(gone)
        return found

    def _cached_step(self, entry: StepEntry, run: ObjectId | None) -> CachedStep:
        record = entry.record
        here = all(self.store.has(one.digest) for one in record.outputs)
        size = sum(one.size for one in record.outputs)
        key, at = record.key or "", made_at(record)
        return CachedStep(entry.id, record.pipeline, record.name, key, at, size, here, run)

    def _runner(self, live: Live) -> Runner:
        from gitml.pipelines.run import Runner

        self._refuse_unknown_store()
        return Runner(
            git=self.git,
            odb=self.odb,
            index=self.index,
            store=self.store,
            person=self._person or Person(),
            rules=self._rules,
            environment=self._environment,
            live=live,
            cards=self.config.models,
            strict_env=self.strict_env or self.config.strict_env,
            sealing=self._sealing(),
        )

    def _sealing(self) -> Sealing | None:
        """What signs the records of runs; None where nobody asked for it."""
        from gitml.git.settings import signs_runs, signs_tags

        asked = self.config.signing
        tags, runs = signs_tags(self.git, asked.tags), signs_runs(self.git, asked.runs)
        if not tags and not runs:
            return None
        from gitml.pipelines.sealing import Sealing

        return Sealing(self.git, tags=tags, records=runs)

    def _pipelines_with(self, text: str, here: Path) -> Iterator[PipelineFunction]:
        from gitml.pipelines import discovery

        wanted, _, step = text.rpartition(".")
        ran = {one.record.pipeline for one in self.index.steps_named(step)}
        for definition in discovery.find(self.root, self.config.pipeline_paths):
            if (wanted and definition.name == wanted) or (not wanted and definition.name in ran):
                yield discovery.load(definition, self.root)

    def _refuse_unknown_store(self) -> None:
        """Raise ConfigError where the active stack keeps artifacts on a remote that is none."""
        stack = self.active_stack
        if stack.artifact_store != "local" and stack.artifact_store not in self._remotes:
            raise ConfigError(
                f"the stack {stack.name} keeps artifacts on `{stack.artifact_store}`, which is no "
                "remote",
                hint=f"`gitml remote add {stack.artifact_store} URL` makes it one, "
                "`gitml stack set default` goes back to the local store",
            )

    def _refuse_second_config(self, here: Path) -> None:
        """Raise UsageError for a ``gitml.toml`` between a folder and the root."""
        folder = here.resolve()
        root = self.root.resolve()
        while folder != root and root in folder.parents:
            if (folder / configuration.FILE).exists():
                inside = os.path.relpath(folder, root)
                raise UsageError(
                    f"there is a second {configuration.FILE} in {inside}; "
                    "only the one at the repository's root counts",
                    hint=f"`git rm {inside}/{configuration.FILE}`",
                )
            folder = folder.parent
