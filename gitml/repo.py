"""``Repo``: the one facade. It finds the repository, wires the layers, and has a method a verb.

What runs pipelines, moves stages or checks bytes is imported by the methods that do: reading the
records (``log``, ``status``, ``show``) should not wait for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitml import config as configuration
from gitml.config import Config
from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId, check_name, check_twins
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.entities.records import Output, RunStep, Saved, Source
from gitml.errors import (
    AmbiguousName,
    ConfigError,
    GitmlError,
    NameNotFound,
    NoRepository,
    RaceLost,
    StorageError,
    UsageError,
)
from gitml.frozen import Frozen
from gitml.fs import write_durably
from gitml.git import locks
from gitml.git.odb import Commit, Odb
from gitml.git.process import Git, init_repository
from gitml.git.refs import Change
from gitml.git.snapshot import WorkTree, look, record_code
from gitml.handles import Parts, RunHandle, StepHandle, StoredOutput, VersionHandle
from gitml.history import journal
from gitml.history.index import Index
from gitml.history.notes import Notes, ulid
from gitml.history.record import Person, Recorder, saved_ref, timestamp
from gitml.history.revs import Found, ModelState, Names, read_promotion
from gitml.stack.stack import DEFAULT, SETTING, Stack, stack_named, stacks

if TYPE_CHECKING:
    from gitml.diff import Comparison
    from gitml.doctor import Finding
    from gitml.git.transport import Tell
    from gitml.history.check import Problem
    from gitml.history.heal import Healed
    from gitml.history.lineage import Ancestor
    from gitml.hooks.follow import Followed
    from gitml.hooks.install import Change as HookChange
    from gitml.hooks.install import Hooks
    from gitml.materializers import Rules
    from gitml.pipelines.discovery import Definition
    from gitml.pipelines.dsl import PipelineFunction
    from gitml.pipelines.execute import StepEvent
    from gitml.pipelines.explain import Explanation
    from gitml.pipelines.run import Runner
    from gitml.promotion.online import Online
    from gitml.promotion.promote import Move, Promoter
    from gitml.remotes.base import Access, Remote
    from gitml.remotes.names import NamedRemote
    from gitml.store.gc import Act, Collection
    from gitml.store.maintenance import Maintenance
    from gitml.store.store import Store
    from gitml.store.usage import Usage
    from gitml.sync.catalogue import Catalogue
    from gitml.sync.fetching import Fetched
    from gitml.sync.pushing import Plan as PushPlan
    from gitml.sync.supply import RemoteSupply
    from gitml.sync.upload import Moved
    from gitml.tables import TableChange
    from gitml.workspace.adding import Added
    from gitml.workspace.checkout import Move as DataMove
    from gitml.workspace.compare import DataChange, DataSide
    from gitml.workspace.merging import Merged
    from gitml.workspace.moving import Removed, Renamed
    from gitml.workspace.resolving import Side
    from gitml.workspace.statcache import View
    from gitml.workspace.status import DataState
    from gitml.workspace.survey import Look
    from gitml.workspace.workingtree import WorkingTree


T = TypeVar("T")

_GLOBS = {"GIT_LITERAL_PATHSPECS": "0"}
_PATIENCE = 30.0
"""Seconds for which a promotion is tried again when others are first."""


class PipelineEntry(Frozen):
    """A pipeline: where it is defined (absent when only its runs are known), and its runs."""

    name: str
    definition: Definition | None
    runs: int
    last: RunHandle | None


class ArtifactEntry(Frozen):
    """A version of an artifact: its bytes, the step or source that made it, and when (seconds)."""

    output: Output
    commit: ObjectId
    made_by: str
    at: float


class Status(Frozen):
    """How the repository stands.

    ``warnings`` are things to mend, each with a command; ``tree`` has the branch, and what a
    snapshot of a run started now would take and what it would not; ``data`` the state of each
    pointer's data.
    """

    stack: str
    tree: WorkTree
    runs: Sequence[RunHandle]
    models: Sequence[ModelState]
    data: Sequence[DataState]
    warnings: Sequence[str]


class Pulled(Frozen):
    """What a pull did: what was fetched, where the branch went, which data was checked out.

    ``forwarded`` is the commit at which the branch is now, None where it stayed; ``brought`` counts
    the objects that came besides.
    """

    fetched: Fetched
    forwarded: ObjectId | None
    data: Sequence[DataMove]
    brought: int


class Report(Frozen):
    """What ``fsck`` found, and how much it looked at.

    ``blobs`` are those that records and pointers name, ``read`` the stored objects that were read
    in full, of ``held``; ``healed`` what is whole again.
    """

    problems: Sequence[Problem]
    records: int
    blobs: int
    read: int
    held: int
    healed: Sequence[Healed] = ()


class Difference(Frozen):
    """What differs between two states of the repository.

    ``data`` are the pointers whose data differs; ``tables`` the changes of tables among their
    files, by path; ``versions`` two model versions side by side, where the states are such.
    """

    old: str
    new: str
    data: Sequence[DataChange]
    tables: Mapping[str, TableChange]
    versions: Comparison | None = None

    def __bool__(self) -> bool:
        rows = (*self.versions.metrics, *self.versions.parameters) if self.versions else ()
        return bool(self.data) or not all(row.same for row in rows)


class Repo:
    """A repository with gitml in it. Command line, web and Python API hold only this.

    ``environment`` are the variables that steps may declare; ``stack`` overrides the active one.
    ``tell`` may be set: it hears in a phrase when a remote is waited for.
    """

    def __init__(
        self,
        git: Git,
        *,
        environment: Mapping[str, str] | None = None,
        stack: str | None = None,
    ) -> None:
        self.git = git
        self.tell: Tell | None = None
        self._environment = environment or {}
        self._stack = stack or self._environment.get("GITML_STACK")

    @classmethod
    def discover(
        cls,
        start: Any = ".",
        *,
        environment: Mapping[str, str] | None = None,
        stack: str | None = None,
    ) -> Repo:
        """The repository around a path, or that of a GitPython ``git.Repo``.

        Raises NoRepository, with the command that makes or opens one.
        """
        path = getattr(start, "working_dir", None) or getattr(start, "git_dir", None) or start
        return cls(Git.discover(Path(path).absolute()), environment=environment, stack=stack)

    @classmethod
    def init(cls, path: Path, *, environment: Mapping[str, str] | None = None) -> tuple[Repo, bool]:
        """The repository at ``path`` with a ``gitml.toml``, and whether that had to be written.

        git's own repository is made where there is none.
        """
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is no folder", hint="`gitml init FOLDER`")
        try:
            git = Git.discover(path)
        except NoRepository as error:
            if "not inside" not in error.message and "no such folder" not in error.message:
                raise
            git = init_repository(path)
        import time

        file = git.work_tree() / configuration.FILE
        project = ulid(time.time())
        text = (
            configuration.adopted(file, project)
            if file.exists()
            else configuration.template(project)
        )
        if text is None:
            configuration.read(file)
        else:
            file.write_text(text, encoding="utf-8")
        repo = cls(git, environment=environment)
        repo.install_drivers()
        return repo, text is not None

    @classmethod
    def of_url(cls, url: str, *, environment: Mapping[str, str], tell: Tell | None = None) -> Repo:
        """The repository at a URL, to be read: its records as they are now, and no work tree.

        A copy of the records is kept in the user's cache.
        """
        from gitml.sync.mirror import mirrored

        base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '.')}/.cache"
        git, config = mirrored(url, Path(base) / "gitml" / "repositories", tell=tell)
        repo = cls(git, environment=environment)
        if config is not None:
            repo.config = configuration.read(config)
        return repo

    @classmethod
    def clone(
        cls,
        url: str,
        folder: Path | None,
        *,
        data: bool = True,
        environment: Mapping[str, str] | None = None,
        tell: Tell | None = None,
        moved: Moved | None = None,
    ) -> tuple[Repo, Pulled]:
        """A clone of a git repository with its records and, unless told not to, its data.

        Without a folder it is called as git would call it. A clone that was killed is finished.
        Raises what `cloning.clone` and `checkout` raise; where data cannot be had, the clone stays.
        """
        from gitml.sync import cloning
        from gitml.sync.download import forget_arrivals

        place = folder or Path(cloning.folder_of(url))
        git, fetched = cloning.clone(url, place.absolute(), tell=tell)
        repo = cls(git, environment=environment)
        repo.install_drivers()
        if repo._supply is not None and moved is not None:
            repo._supply.moved = moved
        try:
            moves = repo.checkout() if data and repo._has_config else []
        finally:
            cloning.finish(git)
        repo.store.tidy()
        forget_arrivals(repo.store.layout)
        return repo, Pulled(fetched, repo.odb.resolve("HEAD"), tuple(moves), 0)

    def _read_config_again(self) -> None:
        """Forget what followed from ``gitml.toml`` when git has put another in its place."""
        catalogue = self.__dict__.pop("_catalogue", None)
        if catalogue is not None:
            catalogue.remote.close()
        for name in ("config", "_supply", "store", "parts", "workspace"):
            self.__dict__.pop(name, None)

    def complete_clone(self) -> Pulled | None:
        """Bring to a clone that plain git made what ``gitml clone`` would have brought.

        None where there is no git remote, or its records were fetched before.
        """
        from gitml.git import refs
        from gitml.history.record import TRACKING

        if not self.git.has_remote() or refs.targets(self.git, [TRACKING]):
            return None
        fetched = self.fetch()
        return Pulled(fetched, None, tuple(self.checkout()), 0)

    @property
    def root(self) -> Path:
        """The top of the work tree; raises NoRepository where there is none."""
        return self.git.work_tree()

    @cached_property
    def config(self) -> Config:
        """``gitml.toml``; raises NoRepository before ``gitml init``, ConfigError when wrong."""
        return configuration.read(self.root / configuration.FILE)

    @cached_property
    def odb(self) -> Odb:
        """git's objects."""
        return Odb(self.git)

    @cached_property
    def index(self) -> Index:
        """The index of the records."""
        return Index(self.git, self.odb)

    @cached_property
    def store(self) -> Store:
        """The bytes: below the common git directory, or where ``gitml.store`` says."""
        from gitml.store.links import link_mode
        from gitml.store.store import Store

        link = link_mode(self.git.config("gitml.link"))
        elsewhere = self.git.config("gitml.store")
        supply = self._supply
        if not elsewhere:
            return Store(self.git.common / "gitml" / "store", link=link, supply=supply)
        from gitml.history.clones import is_remembered, register, remember

        root = Path(elsewhere)

        def introduce() -> None:
            register(root, self.git)
            remember(root, self.git)

        if (root / "format").exists():
            with contextlib.suppress(StorageError):  # where it may only be read
                introduce()
        known = is_remembered(root, self.git)
        return Store(root, introduce, link, is_known=known, supply=supply)

    @cached_property
    def parts(self) -> Parts:
        """What handles need of this repository."""
        notes = Notes(self.git, self.odb)
        return Parts(self.odb, self.index, notes, lambda: self.store, lambda: self._rules)

    @property
    def names(self) -> Names:
        """Every name as it is now."""
        return self.parts.names()

    @property
    def _has_config(self) -> bool:
        if "config" in self.__dict__:
            return True
        return self.git.root is not None and (self.git.root / configuration.FILE).exists()

    @property
    def _rules(self) -> Rules:
        from gitml.materializers import Rules

        if not self._has_config:
            return Rules()
        return Rules(allow_pickle=self.config.pickle, trusted_types=self.config.trusted_types)

    @property
    def _person(self) -> Person | None:
        identity = self.git.identity()
        return Person(*identity) if identity else None

    def close(self) -> None:
        """End the processes and let go of the files that reading opened."""
        if "odb" in self.__dict__:
            self.odb.close()
        if "index" in self.__dict__:
            self.index.close()
        catalogue = self.__dict__.pop("_catalogue", None)
        if catalogue is not None:
            catalogue.remote.close()

    # Pipelines and runs

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
        tell: Callable[[StepEvent], None] = lambda event: None,
        live: int = 2,
    ) -> RunHandle:
        """Run a pipeline on the active stack and record it.

        ``live`` is the descriptor that shows what steps print. A run that fails is recorded too:
        the error that comes out has it as ``run``.
        """
        self._refuse_second_config(Path(pipeline.file).parent)
        runner = self._runner(live)
        runner.recover()
        try:
            finished = runner.run(
                pipeline, parameters or {}, self.active_stack, cache=cache, tell=tell
            )
        except BaseException as error:
            recorded = getattr(error, "finished", None)
            if recorded is not None:
                self.index.refresh()
                error.run = self.run_of(recorded.commit)  # type: ignore[attr-defined]
            raise
        self.index.refresh()
        return self.run_of(finished.commit)

    def run_unrecorded(
        self,
        pipeline: PipelineFunction,
        parameters: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[StepEvent], None] = lambda event: None,
        live: int = 2,
    ) -> list[str]:
        """Run a pipeline and keep nothing of it; the names of its steps."""
        self._refuse_second_config(Path(pipeline.file).parent)
        runner = self._runner(live)
        return runner.run_unrecorded(pipeline, parameters or {}, self.active_stack, tell=tell)

    def recover(self) -> list[ObjectId]:
        """Record the runs whose processes were killed; their commits. Cheap when there are none.

        Locks on refs that killed processes left are broken.
        """
        locks.break_abandoned(self.git)
        if not journal.orphans(self.git.common / "gitml" / "journal"):
            return []
        return self._runner(2).recover()

    def _runner(self, live: int) -> Runner:
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
        )

    def runs(
        self,
        *,
        limit: int | None = None,
        pipeline: str | None = None,
        state: str | None = None,
        model: str | None = None,
    ) -> list[RunHandle]:
        """Runs, newest first; ``state`` "failed" means all that did not complete."""
        entries = self.index.runs(limit=limit, pipeline=pipeline, state=state, model=model)
        return [RunHandle(one, self.parts) for one in entries]

    def run_of(self, commit: ObjectId) -> RunHandle:
        """The run of a commit; raises NameNotFound."""
        entry = self.index.run(commit)
        if entry is None:
            raise NameNotFound(f"no run is called {commit.short}", hint="`gitml log`")
        return RunHandle(entry, self.parts)

    def explain(self, text: str, here: Path) -> list[Explanation]:
        """Why a step would run or be cached now: ``STEP`` or ``PIPELINE.STEP``."""
        from gitml.pipelines.explain import explain

        return explain(self._runner(2), self._pipelines_with(text, here), text.rpartition(".")[2])

    def _pipelines_with(self, text: str, here: Path) -> Iterator[PipelineFunction]:
        from gitml.pipelines import discovery

        wanted, _, step = text.rpartition(".")
        ran = {one.record.pipeline for one in self.index.steps_named(step)}
        for definition in discovery.find(self.root, self.config.pipeline_paths):
            if (wanted and definition.name == wanted) or (not wanted and definition.name in ran):
                yield discovery.load(definition, self.root)

    # Data beside its pointers

    @cached_property
    def workspace(self) -> WorkingTree:
        """The working tree as a place of data."""
        from gitml.workspace.workingtree import WorkingTree

        return WorkingTree(self.git, lambda: self.store)

    def _inside(self, paths: Sequence[Path]) -> list[str]:
        return [self.workspace.relative(path.absolute()) for path in paths]

    def add(
        self,
        paths: Sequence[Path] = (),
        *,
        everything: bool = False,
        rehash: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> list[Added]:
        """Store data and give it pointers, staged; with ``everything`` all data that differs.

        See ``gitml.workspace.adding.add``.
        """
        from gitml.workspace import pointerfiles
        from gitml.workspace.adding import add

        self.config  # noqa: B018 - without gitml.toml there is no project to add to
        if not dry_run:
            self.install_drivers()
        wanted, unfinished = self._inside(paths), list[str]()
        if everything:
            differing = ("changed", "conflict", *(("clean",) if rehash else ()))
            states = self.data_status()
            wanted += [one.path for one in states if one.state in differing]
            unstaged = pointerfiles.unstaged(self.git)
            unfinished = [
                one.path
                for one in states
                if one.state == "behind" or (one.state == "clean" and one.path in unstaged)
            ]
        flags = {"rehash": rehash, "force": force, "dry_run": dry_run}
        return add(self.workspace, wanted, unfinished=unfinished, **flags)

    def checkout(
        self,
        paths: Sequence[Path] = (),
        *,
        view: View | None = None,
        force: bool = False,
        side: Side | None = None,
        dry_run: bool = False,
    ) -> list[DataMove]:
        """Make data follow the pointers; see ``gitml.workspace.checkout.checkout``.

        Where a model version is checked out, its artifacts are written beside their pointers.
        """
        from gitml.workspace.checkout import checkout

        inside = self._inside(paths)
        moves = checkout(self.workspace, inside, view=view, force=force, side=side, dry_run=dry_run)
        if not paths and view is None and (self.root / SUFFIX).is_dir():
            from gitml.workspace.deployment import check_out_artifacts

            moves += check_out_artifacts(self.workspace, self.odb, dry_run=dry_run)
        return moves

    def remove(
        self,
        paths: Sequence[Path],
        *,
        keep: bool = False,
        recursive: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> list[Removed]:
        """Stop tracking data; see ``gitml.workspace.moving.remove``."""
        from gitml.workspace.moving import remove

        inside = self._inside(paths)
        flags = {"keep": keep, "recursive": recursive, "force": force, "dry_run": dry_run}
        return remove(self.workspace, inside, **flags)

    def move(
        self, sources: Sequence[Path], target: Path, *, dry_run: bool = False
    ) -> list[Renamed]:
        """Move data with its pointer; see ``gitml.workspace.moving.move``."""
        from gitml.workspace.moving import move

        (inside,) = self._inside([target])
        return move(self.workspace, self._inside(sources), inside, dry_run=dry_run)

    def data_status(self) -> list[DataState]:
        """The state of each pointer's data; reads nothing that its time stamps vouch for."""
        from gitml.workspace.status import data_status

        return data_status(self.workspace)

    def _data_state(self, files: Sequence[str], begun: Look | None) -> list[DataState]:
        """The state of the data of the pointers at some paths, with a look that has begun."""
        from gitml.workspace import pointerfiles
        from gitml.workspace.status import data_status

        return data_status(self.workspace, pointerfiles.at(self.root, files), begun)

    def _begin_look(self) -> Look | None:
        """Have git look at the data while other questions are answered, where there is any."""
        if not (self.git.directory / "gitml" / "stat" / "index").exists():
            return None
        from gitml.workspace.survey import Look

        with suppress(StorageError):
            return Look.begin(self.workspace, self.workspace.cache())
        return None

    def diff(self, words: Sequence[str], here: Path, *, staged: bool = False) -> Difference:
        """What differs between two states: ``[A [B]] [PATH…]`` as on the command line.

        Without a state, the working tree is compared with the pointers in git's index, with one it
        is compared with that; with ``staged``, the index is compared with HEAD or that state.
        ``A..B`` and ``A...B`` mean what they mean to git.
        """
        from gitml.workspace.compare import compare_sides

        states, paths = self._states_and_paths(words, here)
        if staged and len(states) > 1:
            raise UsageError("with `--staged` there is one state to compare the index with")
        old = self._side(states[0] if states else "HEAD" if staged else None, index=True)
        new = self._side(states[1] if len(states) > 1 else None, index=staged)
        versions = None
        if len(states) == 2 and all(self._is_version(one) for one in states):
            versions = self.compare(states)
        within = self._inside(paths)
        data = compare_sides(old, new, within)
        return Difference(old.label, new.label, data, self._tables(data, new), versions)

    def _states_and_paths(self, words: Sequence[str], here: Path) -> tuple[list[str], list[Path]]:
        """Which of the words are states, the first two at most, and which are paths."""
        states: list[str] = []
        for place, word in enumerate(words):
            full = here / word
            is_path = os.path.lexists(full) or os.path.lexists(f"{full}.gitml")
            if is_path and not word.startswith((".", "/")) and self.odb.resolve(word) is not None:
                raise AmbiguousName(
                    f"`{word}` is a path and a revision", hint=f"`./{word}` is the path"
                )
            if is_path or place >= 2 or len(states) == 2:
                return states, [here / one for one in words[place:]]
            states += self._ends(word)
        return states[:2], []

    def _ends(self, word: str) -> list[str]:
        """The states that a word means: one, or the two ends of a range."""
        for dots in ("...", ".."):
            left, found, right = word.partition(dots)
            if found:
                left, right = left or "HEAD", right or "HEAD"
                if dots == "...":
                    ends = ["--end-of-options", left, right]
                    done = self.git.process("merge-base", *ends)
                    left = done.stdout.decode().strip() or left
                return [left, right]
        return [word]

    def _is_version(self, name: str) -> bool:
        try:
            return self.resolve(name).kind in ("version", "model")
        except NameNotFound:
            return False

    def _side(self, name: str | None, *, index: bool) -> DataSide:
        """The state of the data that a name means; without one, the index or the working tree."""
        from gitml.workspace import compare

        if name is None and index:
            return compare.side_of_index("the index", self.workspace, self.odb)
        if name is None:
            return compare.side_of_working_tree("the working tree", self.workspace)
        if name == "HEAD" and self.odb.resolve("HEAD") is None:
            return compare.DataSide("HEAD")
        found = self.resolve(name)
        if found.output is not None:
            output = found.output
            pointer = Pointer(output.digest, output.kind, output.size)
            label = found.label if "@" in name else name
            return compare.side_of_pointers(label, {found.name: pointer}, self.store)
        if found.commit is None:
            raise NameNotFound(f"{name} has no version")
        side = compare.side_of_commit(name, self.workspace, self.odb, found.commit)
        if found.kind not in ("version", "model"):
            return side
        version = self.version_of(found.commit)
        made = {
            f":{artifact}": Pointer(stored.digest, stored.record.kind, stored.size)
            for artifact, stored in version.artifacts.items()
        }
        artifacts = compare.side_of_pointers("", made, self.store)
        return compare.DataSide(version.label, {**side.contents, **artifacts.contents})

    def _tables(self, data: Sequence[DataChange], new: DataSide) -> dict[str, TableChange]:
        """The changes of the tables among changed files, where something can read them."""
        from gitml.workspace.tablediff import changed_tables

        return changed_tables(data, new, self.store)

    def merge_pointers(self, base: bytes, ours: bytes, theirs: bytes, path: str) -> Merged:
        """The pointer after a merge; see ``gitml.workspace.merging.merge``."""
        from gitml.workspace.merging import merge

        return merge(self.store, base, ours, theirs, path)

    def described_pointer(self, data: bytes) -> Iterator[str]:
        """A pointer's lines and its folder's files, for ``git diff``."""
        from gitml.workspace.merging import described

        return described(self.store, data)

    def install_drivers(self) -> bool:
        """Have git merge and show pointers by gitml, in this clone; whether that was new."""
        from gitml.workspace.merging import install_drivers

        return install_drivers(self.git)

    # Names

    def resolve(self, text: str) -> Found:
        """What a name means; raises NameNotFound, AmbiguousName."""
        return self.names.resolve(text)

    def step_of(self, commit: ObjectId) -> StepHandle:
        """The step execution of a commit; raises NameNotFound."""
        entry = self.index.step(commit)
        if entry is None:
            raise NameNotFound(f"no step is called {commit.short}", hint="`gitml log`")
        return StepHandle(RunStep(entry.record.name, "completed", commit), entry, self.parts)

    def source_of(self, commit: ObjectId) -> Source:
        """The record of a source; raises NameNotFound."""
        data = self.odb.file(commit, ".gitml/source.json")
        if data is None:
            raise NameNotFound(f"no source is called {commit.short}")
        return codec.from_json(Source, data, f"{commit.short}:.gitml/source.json")

    def commit_of(self, commit: ObjectId) -> Commit:
        """A commit as git has it; raises MissingBytes."""
        return self.odb.commit(commit)

    def kind_of(self, commit: ObjectId) -> str:
        """What a commit is: "run", "step", "version", "source", "commit" … by its trailer."""
        for kind, _ in self.index.with_prefix(commit.hex):
            return kind
        return dict(self.odb.commit(commit).trailers()).get("Gitml-Kind", "commit")

    def short(self, oid: ObjectId) -> str:
        """The shortest way to write an id: seven digits, more where those mean two things."""
        length = self.index.unique_length(oid)
        if self.index.with_prefix(oid.hex):
            return oid.hex[:length]
        while length < 40 and self.odb.resolve(oid.hex[:length]) not in (oid, None):
            length += 1
        return oid.hex[:length]

    def lineage(self, text: str) -> Ancestor:
        """What a name's record was made of, all the way up."""
        from gitml.history.lineage import Lineage

        found = self.resolve(text)
        if found.commit is None:
            raise NameNotFound(f"{text} has no version")
        return Lineage(self.index, self.odb).of(found.commit, found.name)

    # Artifacts

    def artifacts(self, name: str | None = None, *, run: str | None = None) -> list[ArtifactEntry]:
        """Artifacts, newest first: each name with each of its digests once, or those of a run."""
        wanted = {one.id for one in self._run_steps(run)} if run is not None else None
        seen: set[tuple[str, str]] = set()
        entries = []
        for artifact, digest, step, output in self.index.outputs(name):
            if (artifact, digest.hex) in seen or (wanted is not None and step not in wanted):
                continue
            seen.add((artifact, digest.hex))
            entry = self.index.step(step)
            if entry is not None:
                made = next(one for one in entry.record.outputs if one.name == output)
                by = f"{entry.record.pipeline}.{entry.record.name}"
                entries.append(ArtifactEntry(made, step, by, entry.at))
        by_hand = self.index.saved(name) if run is None else []
        entries += [
            ArtifactEntry(one.record.output(), one.id, "", one.at)
            for one in by_hand
            if (one.record.name, one.record.digest.hex) not in seen
        ]
        if name is not None and not entries:
            raise NameNotFound.among("artifact", name, self.names.artifact_names())
        return entries

    def _run_steps(self, run: str) -> list[Any]:
        found = self.resolve(run)
        if found.kind not in ("run", "pipeline") or found.commit is None:
            raise UsageError(f"{run} is {_a(found.kind)}, not a run", hint="`gitml log` lists runs")
        steps = self.run_of(found.commit).steps.values()
        return [one.found for one in steps if one.found is not None]

    def artifact(self, text: str) -> StoredOutput:
        """The bytes that a name means; raises NameNotFound where it means no artifact.

        A bare name is an artifact's here, also where a pipeline or a model shares it.
        """
        bare = not any(mark in text for mark in "@/") and text in self.names.artifact_names()
        found = self.resolve(f"artifact/{text}" if bare else text)
        if found.output is None or found.commit is None:
            known = ""
            if found.kind in ("model", "version") and found.commit is not None:
                version = self.version_of(found.commit)
                known = ", ".join(f"`{version.label}:{one}`" for one in version.artifacts)
            raise UsageError(
                f"{text} is a {found.kind}, not an artifact",
                hint=f"its artifacts: {known}" if known else None,
            )
        return StoredOutput(found.output, found.commit, self.parts)

    def save(self, value: Any, name: str) -> StoredOutput:
        """A value stored by hand under an artifact's name; what loads it gets it as a source.

        ``value`` may be a ``Path``: then the file or folder itself is stored. Saving the same bytes
        again changes nothing.
        """
        import time

        from gitml.pipelines.execute import store_value

        check_twins([check_name(name, "artifact")], self.names.artifact_names(), "artifact")
        self.config  # noqa: B018 - without gitml.toml there is no project to save into
        now = time.time()
        recorder = Recorder(self.git, self.odb, self._person or Person())
        with self.store.writer() as writer:
            output = store_value(writer, value, name=name, artifact=name, rules=self._rules)
            record = Saved(
                name=name,
                digest=output.digest,
                kind=output.kind,
                size=output.size,
                materializer=output.materializer,
                type=output.type,
                at=timestamp(now),
                metadata=output.metadata,
            )
            writer.commit()
            source, tag = recorder.saved(record, now)
            ref = saved_ref(name, output.digest)
            if not any(one.name == ref for one in self.index.refs_below(ref)):
                recorder.publish_few([Change(ref, tag, None)], f"save {name}")
                self.index.refresh()
        return StoredOutput(output, source, self.parts)

    # Other clones

    @property
    def _bytes_remote(self) -> str | None:
        """The name of the remote where bytes go: the active stack's, else the default one.

        None where there is no remote at all. Raises UsageError where there are several and none is
        the default.
        """
        store = self.active_stack.artifact_store if self._has_config else "local"
        if store != "local":
            return store
        if not self._remotes:
            return None
        from gitml.remotes.names import remote_named

        return remote_named(self._remotes, None).name

    @cached_property
    def _catalogue(self) -> Catalogue | None:
        """What is known of the remote where bytes go; None where there is none."""
        from gitml.store.digest import hash_bytes
        from gitml.sync.catalogue import Catalogue

        name = self._bytes_remote
        if name is None:
            return None
        remote = self.remote(name)
        place = hash_bytes(remote.url.encode()).hex[:16]
        return Catalogue(remote, self.git.common / "gitml" / "remotes" / place)

    @cached_property
    def _supply(self) -> RemoteSupply | None:
        """Where bytes come from that the store lacks; None where there is no remote for bytes."""
        try:
            if not self._remotes:
                return None
        except ConfigError:  # who needs the settings says so; what is here can be read without
            return None
        from gitml.sync.supply import RemoteSupply

        def opened() -> Catalogue:
            catalogue = self._catalogue
            if catalogue is None:
                raise UsageError("there is no remote for bytes", hint="`gitml remote add NAME URL`")
            return catalogue

        return RemoteSupply(opened, lambda: self.store)

    def fetch(
        self, remote: str | None = None, *, tell: Tell | None = None, dry_run: bool = False
    ) -> Fetched:
        """Bring the records that a git remote has and this clone lacks; see `Fetcher.fetch`.

        Without a name it is the remote of the branch, or the only one.
        """
        from gitml.git import transport
        from gitml.sync.fetching import Fetcher

        chosen = transport.choose(self.git, remote)
        fetcher = Fetcher(self.git, self.odb, self.index, self._person or Person())
        return fetcher.fetch(chosen, tell=tell, dry_run=dry_run)

    def push(
        self,
        words: Sequence[str] = (),
        *,
        remote: str | None = None,
        runs: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        tell: Tell | None = None,
        moved: Moved | None = None,
        dry_run: bool = False,
    ) -> PushPlan:
        """Push the current branch and all versions, or what the words name; see `Pusher.push`.

        ``confirm`` is asked before code is published that is on no branch of the remote; it raises
        for a no.
        """
        from gitml.git import transport
        from gitml.sync.order import Carrier
        from gitml.sync.pushing import Pusher

        chosen = transport.choose(self.git, remote)
        person = self._person or Person()
        carrier = Carrier(self.git, self.store, lambda: self._catalogue)
        if moved is not None:
            carrier.moved = moved
        pusher = Pusher(self.git, self.odb, self.index, person, confirm, carrier.carry, tell)
        plan = pusher.push(chosen, words, runs=runs, dry_run=dry_run)
        plan.lost, plan.sent = carrier.lost, carrier.sent.size
        if not words and not dry_run:
            plan.promoted = self._promote_pending(chosen)
        return plan

    def _promote_pending(self, remote: str) -> list[Move]:
        """Make the promotions that waited for the git remote, oldest first."""
        from gitml.git import refs
        from gitml.history.record import PENDING

        done = []
        pending = refs.list_refs(self.git, [PENDING])
        tags = [(self.odb.tag(one.target), one) for one in pending]
        for tag, ref in sorted(tags, key=lambda pair: pair[0].message.partition('"at": ')[2]):
            model, _, leaf = tag.name.partition("@")
            stage, _, n = leaf.partition("/")
            promotion = read_promotion(tag, model, stage, int(n))
            label = self.names.model(model).label(ref.commit)
            done.append(self.promote(label, stage, promotion.reason, remote=remote, retry=True))
            refs.update(self.git, [Change(ref.name, None, ref.target)], f"promote {label}")
        return done

    def pull(
        self,
        remote: str | None = None,
        *,
        everything: bool = False,
        last: int = 0,
        include: Sequence[str] = (),
        force: bool = False,
        tell: Tell | None = None,
        moved: Moved | None = None,
    ) -> Pulled:
        """Fetch, move the branch forward, and check its data out; see `sync.pulling`.

        Artifacts of runs come when they are read: before that with ``everything``, of the ``last``
        runs, or where an artifact's name matches a glob of ``include``.
        """
        from gitml.sync.download import forget_arrivals
        from gitml.sync.pulling import Puller

        fetched = self.fetch(remote, tell=tell)
        if self._supply is not None and moved is not None:
            self._supply.moved = moved
        self.store.tidy()
        puller = Puller(self.git, self.odb, self.index, self.store)
        moved_to = puller.forward(fetched.remote)
        if moved_to is not None:
            self._read_config_again()
            puller.store = self.store
            if self._supply is not None and moved is not None:
                self._supply.moved = moved
        data = self.checkout(force=force) if self._has_config else []
        brought = puller.bring(everything=everything, last=last, include=include)
        forget_arrivals(self.store.layout)
        return Pulled(fetched, moved_to, tuple(data), brought)

    # Models, versions, stages

    def models(self) -> list[ModelState]:
        """All models."""
        names = self.names
        return [names.model(one) for one in names.models]

    def model(self, name: str) -> ModelState:
        """A model; raises NameNotFound with the nearest ones."""
        return self.names.model(name)

    def versions(self, model: str) -> list[VersionHandle]:
        """The versions of a model that are not deleted: by number, then the drafts."""
        state = self.names.model(model)
        return [self.version_of(commit) for commit in state.visible]

    def version(self, text: str) -> VersionHandle:
        """The version that ``clf@v3``, ``clf@production`` or ``clf`` (its latest) means."""
        found = self.resolve(f"model/{text}" if "/" not in text else text)
        if found.commit is None:
            raise NameNotFound(f"{text} has no version")
        return self.version_of(found.commit)

    def version_of(self, commit: ObjectId) -> VersionHandle:
        """The version of a commit; raises NameNotFound."""
        entry = self.index.version(commit)
        if entry is None:
            raise NameNotFound(f"no version is called {commit.short}")
        return VersionHandle(entry, self.parts)

    def compare(self, texts: Sequence[str]) -> Comparison:
        """Versions side by side: of one model all, or those that are named."""
        from gitml.diff import compare_versions

        if len(texts) == 1 and "@" not in texts[0]:
            versions = self.versions(texts[0])
        else:
            versions = [self.version(text) for text in texts]
        return compare_versions(versions, self.config.directions)

    def consumers(self, version: VersionHandle) -> list[RunHandle]:
        """The runs that used a version, newest first."""
        return [self.run_of(commit) for commit in self.index.runs_using(version.id)]

    def _promoter(self, *, dry_run: bool, online: Online | None = None) -> Promoter:
        from gitml.promotion.promote import Promoter

        return Promoter(self.git, self.odb, self.index, self.config, self._person, dry_run, online)

    def _online(self, remote: str | None) -> Online | None:
        """The git remote on which stages move; None where there is none."""
        from functools import partial

        from gitml.git import transport
        from gitml.promotion.online import Online
        from gitml.sync import tracking
        from gitml.sync.fetching import Fetcher

        if remote is None and not self.git.has_remote():
            return None
        chosen = transport.choose(self.git, remote)
        fetcher = Fetcher(self.git, self.odb, self.index, self._person or Person())
        bring = partial(fetcher.fetch, chosen, tags_only=True)
        return Online(self.git, chosen, bring, partial(tracking.tracked, chosen))

    def _moving(
        self,
        move: Callable[[Promoter], T],
        names: Callable[[], Sequence[str]],
        online: Online | None,
        *,
        retry: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
    ) -> T:
        """What a move of a stage gives, made on the git remote where there is one.

        The remote's tags are fetched first, and the versions that ``names`` says are pushed: so the
        move is judged by what everybody sees. With ``retry`` it is judged and made again when
        somebody else was first.
        """
        import time

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if online is not None:
                    online.bring()
                    for name in names():
                        self.push([name], remote=online.remote, confirm=confirm)
                return move(self._promoter(dry_run=False, online=online))
            except RaceLost:
                if not retry or time.monotonic() > deadline:
                    raise

    def _unpublished(self, remote: str, model: str, stage: str, which: str = "") -> list[str]:
        """The versions of a model that a move of a stage names and that are not on the remote."""
        from gitml.sync import tracking

        names = self.names
        if model not in names.models:
            return []
        state = names.model(model)
        named = [one.promotion.version for one in state.stages.get(stage, ())]
        named += [names.version(model, which)] if which else []
        labels = dict.fromkeys(state.label(one) for one in named if one is not None)
        noted = {one.name for one in names.tracked}
        return [one for one in labels if tracking.tracked(remote, f"refs/tags/{one}") not in noted]

    def promote(
        self,
        version: str,
        stage: str,
        reason: str,
        *,
        remote: str | None = None,
        retry: bool = False,
        local: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        dry_run: bool = False,
    ) -> Move:
        """Make ``clf@v3`` the holder of a stage; see ``Promoter.promote``.

        Where there is a git remote it is made there: a version that is not on it is pushed first.
        ``retry`` promotes again when somebody was first, for half a minute; ``local`` keeps the
        promotion for the next push. With ``dry_run``, here and below, the answer is the same and
        nothing is written.
        """
        model, at, which = version.removeprefix("model/").partition("@")
        if not at:
            raise UsageError(
                f"{version} names no version", hint=f"`gitml promote {model}@latest {stage}`"
            )
        online = self._online(remote)
        if local and online is not None:
            promoter = self._promoter(dry_run=dry_run)
            return promoter.keep_for_later(model, which, stage, reason)
        if dry_run:
            return self._promoter(dry_run=True).promote(model, which, stage, reason)
        return self._moving(
            lambda promoter: promoter.promote(model, which, stage, reason),
            lambda: self._unpublished(online.remote, model, stage, which) if online else [],
            online,
            retry=retry,
            confirm=confirm,
        )

    def rollback(
        self,
        model: str,
        stage: str,
        reason: str | None = None,
        *,
        remote: str | None = None,
        dry_run: bool = False,
    ) -> Move:
        """Bring the holder before back; see ``Promoter.rollback``."""
        if dry_run:
            return self._promoter(dry_run=True).rollback(model, stage, reason)
        online = self._online(remote)
        return self._moving(
            lambda promoter: promoter.rollback(model, stage, reason),
            lambda: self._unpublished(online.remote, model, stage) if online else [],
            online,
        )

    def clear_stage(
        self,
        model: str,
        stage: str,
        reason: str,
        *,
        remote: str | None = None,
        dry_run: bool = False,
    ) -> Move:
        """Leave a stage without a holder; see ``Promoter.clear``."""
        if dry_run:
            return self._promoter(dry_run=True).clear(model, stage, reason)
        online = self._online(remote)
        return self._moving(
            lambda promoter: promoter.clear(model, stage, reason),
            lambda: self._unpublished(online.remote, model, stage) if online else [],
            online,
        )

    def repair_stage(self, model: str, stage: str, *, dry_run: bool = False) -> list[str]:
        """End a fork of a stage: the remote's moves stay; see ``Promoter.repair``."""
        return self._promoter(dry_run=dry_run).repair(model, stage)

    def delete(self, text: str, reason: str, *, dry_run: bool = False) -> tuple[str, str]:
        """Delete a version or a run; ("version" or "run", its label)."""
        found = self.resolve(text)
        if found.kind == "run" and found.commit is not None:
            return "run", self._promoter(dry_run=dry_run).delete_run(found.commit)
        if found.kind != "version":
            raise UsageError(
                f"{text} is {_a(found.kind)}; versions and runs can be deleted",
                hint=f"`gitml delete {found.name}@v1 -m WHY`" if found.kind == "model" else None,
            )
        assert found.commit is not None  # noqa: S101 - a version has a commit
        commit = found.commit
        if dry_run:
            promoter = self._promoter(dry_run=True)
            return "version", promoter.delete_version(found.name, commit.hex, reason)
        online = self._online(None)
        is_there = online is not None and self._is_published(online.remote, found)
        return "version", self._moving(
            lambda promoter: promoter.delete_version(found.name, commit.hex, reason),
            lambda: (),
            online if is_there else None,
        )

    def _is_published(self, remote: str, version: Found) -> bool:
        """Whether the remote was seen to have a number for a version."""
        from gitml.sync import tracking

        state = self.names.model(version.name)
        numbers = [n for n, one in state.numbers.items() if one == version.commit]
        noted = {one.name for one in self.names.tracked}
        tags = (f"refs/tags/{version.name}@v{n}" for n in numbers)
        return any(tracking.tracked(remote, one) in noted for one in tags)

    # Metadata

    def set_metadata(self, text: str, values: Mapping[str, Any]) -> str:
        """Add metadata to a record without rewriting it; the label of the record."""
        found = self._record(text)
        assert found.commit is not None  # noqa: S101 - _record gives those that have one
        self.parts.notes.add(found.commit, values, self._person or Person())
        is_run = found.kind in ("run", "pipeline")
        return f"run {self.short(found.commit)}" if is_run else found.label

    def metadata(self, text: str) -> dict[str, Any]:
        """The metadata of a record: what was logged, what was noted later over it."""
        found = self._record(text)
        assert found.commit is not None  # noqa: S101 - _record gives those that have one
        logged: Mapping[str, Any] = {}
        if version := self.index.version(found.commit):
            logged = {**version.metrics, **version.record.metadata}
        elif run := self.index.run(found.commit):
            logged = run.metrics
        elif step := self.index.step(found.commit):
            logged = {**step.metrics, **step.record.metadata}
        return {**logged, **self.parts.notes.values(found.commit)}

    def _record(self, text: str) -> Found:
        found = self.resolve(text)
        if found.commit is None or found.kind == "commit":
            raise UsageError(f"{text} is {_a(found.kind)}, which carries no metadata")
        return found

    # Stacks

    @property
    def active_stack(self) -> Stack:
        """The stack that runs use: ``--stack``, ``GITML_STACK``, the git setting, ``default``."""
        name = self._stack or self.git.config(SETTING) or DEFAULT
        return stack_named(self.config, name)

    def stacks(self) -> list[Stack]:
        """All stacks, ``default`` first."""
        return list(stacks(self.config).values())

    def stack(self, name: str) -> Stack:
        """A stack; raises NameNotFound with the nearest ones."""
        return stack_named(self.config, name)

    def set_stack(self, name: str) -> Stack:
        """Make a stack the active one of this clone; no file changes."""
        stack = stack_named(self.config, name)
        self.git.set_config(SETTING, None if name == DEFAULT else name)
        return stack

    # Remotes

    def remotes(self) -> list[NamedRemote]:
        """The places for bytes that ``gitml.toml`` and git's configuration name."""
        return list(self._remotes.values())

    def remote(self, name: str | None = None) -> Remote:
        """A remote, opened with this user's credentials, tried again when connections break.

        The default one when none is named. Nothing is asked of it yet: what is wrong there shows at
        the first use. Close it in the end. Raises NameNotFound; UsageError without a choice.
        """
        from gitml.remotes.names import remote_named
        from gitml.remotes.opening import open_remote

        named = remote_named(self._remotes, name)
        return open_remote(named.url, self._access(named.settings), self.tell)

    def add_remote(
        self, name: str, url: str, here: Path, *, default: bool = False, local: bool = False
    ) -> NamedRemote:
        """Name a remote in ``gitml.toml``, or with ``local`` for this clone alone.

        A relative path counts from ``here``, and in the file from the root. A folder that is not
        there is made where its parent is. Raises UsageError for a name that is taken, ConfigError
        for a URL that is none, or holds a secret.
        """
        from gitml.remotes import names, opening

        check_twins([check_name(name, "remote")], self._remotes, "remote")
        url = opening.from_root(url, here, self.root)
        known = self._remotes.get(name)
        if known is not None and known.url != url:
            raise UsageError(
                f"there is a remote {name} already: {known.url}",
                hint=f"`gitml remote remove {name}`, or take another name",
            )
        opening.prepare(url, self._access({}), self.root)
        if known is None and local:
            self.git.set_config(f"{names.SETTING}.{name}.url", url)
        elif known is None:
            text = self.config.path.read_text("utf-8")
            self._rewrite(configuration.with_remote(text, name, url, default=default))
        if default and (local or known is not None):
            self.git.set_config(names.SETTING, name)
        return self._remotes[name]

    def remove_remote(self, name: str) -> NamedRemote:
        """Forget a remote; what lies there stays. UsageError while a stack keeps bytes there."""
        from gitml.remotes import names

        named = names.remote_named(self._remotes, name)
        for stack in self.stacks():
            if stack.artifact_store == name and name in self.config.remotes:
                raise UsageError(
                    f"the stack {stack.name} keeps its artifacts on {name}",
                    hint=f"change `stacks.{stack.name}.artifact_store` in gitml.toml first",
                )
        if name in self.config.remotes:
            text = self.config.path.read_text("utf-8")
            self._rewrite(configuration.without_remote(text, name))
        if named.settings:
            self.git.run("config", "--remove-section", f"{names.SETTING}.{name}", accept=(0, 128))
        if self.git.config(names.SETTING) == name:
            self.git.set_config(names.SETTING, None)
        self.git.__dict__.pop("settings", None)
        return named

    def check_remote(self, name: str | None = None, *, read_only: bool = False) -> list[Finding]:
        """What works on a remote and on the git remote, found out by doing it; see the module."""
        from gitml.doctor_remotes import examine_git_remote, examine_remote

        with self.remote(name) as remote:
            found = examine_remote(remote, read_only=read_only)
        return [*found, *examine_git_remote(self.git, read_only=read_only)]

    @property
    def _remotes(self) -> dict[str, NamedRemote]:
        from gitml.remotes.names import known_remotes

        return known_remotes(self.config if self._has_config else None, self.git.settings)

    def _access(self, settings: Mapping[str, str]) -> Access:
        """What remotes are opened with: this user's environment, git's credentials and settings."""
        from functools import partial

        from gitml.git.credentials import stored_credentials
        from gitml.remotes.base import Access

        program = self.git.config("core.sshCommand")
        own = {"sshcommand": program} if program else {}
        return Access(
            self.git.root or self.git.common,
            self._environment,
            partial(stored_credentials, self.git),
            {**own, **settings},
        )

    def _rewrite(self, text: str) -> None:
        """Replace ``gitml.toml``, and read it again."""
        write_durably(self.config.path, text.encode())
        self.__dict__.pop("config", None)

    # Care

    def status(self) -> Status:
        """How the repository stands, without importing or running any of its code."""
        self.git.work_tree()
        pointers = self.git.start("ls-files", "-z", "--", "*.gitml", env=_GLOBS)
        begun = self._begin_look()
        tree = look(self.git)
        runs, models, warnings = self.runs(limit=3), self.models(), list(self._warnings(tree))
        listed = os.fsdecode(pointers.communicate()[0]).split("\0")[:-1]
        listed += [one for one in tree.untracked if one.endswith(SUFFIX)]
        data: Sequence[DataState] = ()
        try:
            data = self._data_state(listed, begun) if listed or begun else ()
        except StorageError as error:
            warnings.append(f"{error.message}: what follows says nothing of the data")
        return Status(
            stack=self.active_stack.name,
            tree=tree,
            runs=runs,
            models=models,
            data=data,
            warnings=tuple(warnings),
        )

    def _warnings(self, tree: WorkTree) -> Iterator[str]:
        if self.config.unknown:
            tables = ", ".join(f"[{one}]" for one in self.config.unknown)
            yield f"gitml.toml has tables that this version does not know: {tables}"
        code = record_code(self.odb, tree.head) if tree.head is not None else None
        if code is not None and code != tree.head:
            if tree.branch:
                yield f"the branch ends in a record; `git reset --soft {code.short}` takes it off"
        elif code is not None and self.odb.file(code, ".gitml/.gitattributes") is not None:
            yield (
                "the branch goes on from a record, so all that runs on it seems to descend from "
                "that; `git rebase --onto CODE RECORD` takes the record out"
            )
        for one in tree.dirty_submodules:
            yield f"the submodule {one} has changes of its own: a run would be refused"
        for oid, text in self.index.problems():
            yield f"the record {oid.short} cannot be read ({text}): `gitml fsck`"

    def follow(self, moved: Mapping[str, str] | None) -> Followed | None:
        """Let data follow the pointers that git moved; see ``hooks.follow``."""
        from gitml.hooks.follow import follow

        return follow(self.workspace, moved)

    def hooks(self) -> Hooks:
        """How git's hooks of this clone stand."""
        from gitml.hooks import install

        return install.look(self.git, sys.executable)

    def install_hooks(self, *, dry_run: bool = False) -> list[HookChange]:
        """Put gitml's hooks in place, behind those that are there; see ``hooks.install``."""
        from gitml.hooks import install

        changes = install.install(self.git, sys.executable, dry_run=dry_run)
        if not dry_run:
            self.install_drivers()
        return changes

    def uninstall_hooks(self, *, dry_run: bool = False) -> list[HookChange]:
        """Take gitml's hooks away and bring back what was there; see ``hooks.install``."""
        from gitml.hooks import install

        return install.uninstall(self.git, sys.executable, dry_run=dry_run)

    def fsck(self, *, sample: int | None = None, seed: int = 0, repair: bool = False) -> Report:
        """Every record checked, and every stored byte, or with ``sample`` that many objects.

        Problems name the versions that they affect. ``repair`` heals what has a good copy anywhere
        and looks again.
        """
        from gitml.history.check import check_records

        done = check_records(self.git, self.odb, self.store, sample=sample, seed=seed)
        healed: Sequence[Healed] = ()
        if repair and any(one.is_of_bytes for one in done.problems):
            from gitml.history.heal import heal

            healed = heal(done)
            done = check_records(self.git, self.odb, self.store, sample=sample, seed=seed)
        elif repair:  # one that was killed may have healed all and left its temporary files
            self.store.recover()
        problems, blobs = tuple(done.problems), len(done.blobs)
        return Report(problems, len(done.checked), blobs, done.read, done.held, tuple(healed))

    def gc(self, prune: str | None = None, *, dry_run: bool = False) -> Collection:
        """Collect the bytes that nothing names any more, of all clones that share the store.

        ``prune`` is a time in git's words (``now``, ``3.days.ago``; two weeks by default): what is
        younger stays. Raises what `reachable_digests` raises, with nothing deleted.
        """
        import time

        from gitml.history.clones import sharing
        from gitml.history.reachable import reachable_digests
        from gitml.store import gc

        grace = gc.GRACE
        if prune is not None:
            try:
                grace = max(0.0, time.time() - self.git.expiry(prune))
            except GitmlError:
                hint = "`gitml gc --prune=3.days.ago`"
                raise UsageError(f"`{prune}` is no point in time", hint=hint) from None
        store = self.store
        marks = lambda: reachable_digests(sharing(store.root, self.git), store)  # noqa: E731
        return gc.collect(store, marks, grace=grace, dry_run=dry_run)

    def drop(self, *, dry_run: bool = False) -> Collection:
        """Free the bytes here that the remote for bytes has for certain; they come back when read.

        Raises UsageError where there is no remote, and where other clones share the store.
        """
        from gitml.git import refs, walk
        from gitml.history.clones import sharing
        from gitml.store import gc
        from gitml.sync.needs import needs_at, new_needs
        from gitml.sync.proof import proven

        catalogue, store = self._catalogue, self.store
        if catalogue is None:
            raise UsageError(
                "there is no remote for bytes, so what is here is nowhere else",
                hint="`gitml remote add NAME URL --default`, then `gitml push`",
            )
        others = sharing(store.root, self.git)[1:]
        if others:
            raise UsageError(
                f"the store is shared with {others[0].common}, which may need what is dropped",
                hint="`gitml gc` frees what none of the clones names",
            )
        tips = {ObjectId(one) for one in refs.targets(self.git, ["refs"]).values()}
        commits = walk.existing(self.git, tips | walk.heads(self.git.directory))
        needs = {**new_needs(self.git, commits, ()), **needs_at(self.git, commits)}
        gone = proven(store, catalogue, list(needs.values()))

        def live() -> set[bytes]:
            return {one.digest.raw for one in store.objects()} - gone

        return gc.collect(store, live, grace=0.0, dry_run=dry_run)

    def maintenance(self, *, dry_run: bool = False) -> Maintenance:
        """Store versions by what they share, in fewer files, and let git do the same to its own.

        Raises StorageError; what was done before an error stays done.
        """
        from gitml.git.process import GitFailed
        from gitml.git.upkeep import tidy
        from gitml.history.successions import checked_out, successions

        store = self.store
        pairs = successions(self.git, self.index, store)
        in_use = checked_out(self.git, store, {digest for pair in pairs for digest in pair})
        done = store.maintain(pairs, in_use=in_use, dry_run=dry_run)
        if not dry_run:
            with suppress(GitFailed):  # git's own words come with git's own commands
                tidy(self.git)
        return done

    def usage(self) -> tuple[Usage, str]:
        """What takes the space of the store, and why that may be incomplete, else an empty text.

        By pointer of the work tree, by model version and by artifact.
        """
        from gitml.history.clones import sharing
        from gitml.history.reachable import reachable_digests
        from gitml.store.usage import usage

        store, doubt = self.store, ""
        groups = self._named_digests()
        try:
            live = reachable_digests(sharing(store.root, self.git), store)
        except GitmlError as error:
            doubt = error.message
            live = {one.digest.raw for one in store.objects()}
        return usage(store, live, groups), doubt

    def _named_digests(self) -> dict[str, dict[str, set[Digest]]]:
        """What pointers, model versions and artifacts stand for: kind → name → digests."""
        pointers = {}
        if self.git.root is not None:
            tracked = self.workspace.pointers()
            pointers = {one.path: {one.pointer.digest} for one in tracked if one.pointer}
        versions = {
            version.label: {one.digest for one in version.artifacts.values()}
            for model in self.names.models
            for version in self.versions(model)
        }
        artifacts: dict[str, set[Digest]] = {}
        for name, digest, *_ in self.index.outputs():
            artifacts.setdefault(name, set()).add(digest)
        for saved in self.index.saved():
            artifacts.setdefault(saved.record.name, set()).add(saved.record.digest)
        return {"pointer": pointers, "version": versions, "artifact": artifacts}

    def restore_condemned(self) -> Sequence[Act]:
        """Put back what `gc` has condemned and not deleted yet."""
        from gitml.store import gc

        return gc.restore(self.store)

    def doctor(self, *, fix: bool = False) -> list[Finding]:
        """What is wrong with this clone or machine, and what helps; see ``doctor.examine``."""
        from gitml import doctor

        names = lambda: self.names  # noqa: E731
        patient = doctor.Patient(
            self.git, self.index, names, self.store, self.workspace, sys.executable
        )
        return doctor.examine(patient, fix=fix)

    def reindex(self) -> int:
        """Make what is derived again: the index from git, the packs' indexes; the refs read."""
        self.store.recover()
        return self.index.rebuild()

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


def _a(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
