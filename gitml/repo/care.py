"""The care of a repository: status, hooks, checking, collecting, repairing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.entities.pointer import SUFFIX
from gitml.errors import GitmlError, StorageError, UsageError
from gitml.frozen import Frozen
from gitml.git.snapshot import WorkTree, look, record_code
from gitml.handles import RunHandle
from gitml.history.models import ModelState
from gitml.repo.data import Data

if TYPE_CHECKING:
    from gitml.doctor import Finding
    from gitml.history.check import Problem
    from gitml.history.heal import Healed
    from gitml.history.live import Going
    from gitml.hooks.follow import Followed
    from gitml.hooks.install import Change as HookChange
    from gitml.hooks.install import Hooks
    from gitml.store.gc import Act, Collection
    from gitml.store.maintenance import Maintenance
    from gitml.store.usage import Usage
    from gitml.workspace.status import DataState

_GLOBS = {"GIT_LITERAL_PATHSPECS": "0"}


class Status(Frozen):
    """How the repository stands.

    ``warnings`` are things to mend, each with a command; ``tree`` has the branch, and what a
    snapshot of a run started now would take and what it would not; ``data`` the state of each
    pointer's data; ``going`` the runs that go on in other processes.
    """

    stack: str
    tree: WorkTree
    runs: Sequence[RunHandle]
    models: Sequence[ModelState]
    data: Sequence[DataState]
    warnings: Sequence[str]
    going: Sequence[Going] = ()


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


class Care(Data):
    """The part of the facade that looks after the clone and its store."""

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
            going=self.going(),
        )

    def follow(self, moved: Mapping[str, str] | None) -> Followed | None:
        """Let data follow the pointers that git moved; see ``hooks.follow``."""
        from gitml.hooks.follow import follow

        return follow(self.workspace, moved)

    def hooks(self) -> Hooks:
        """How git's hooks of this clone stand."""
        from gitml.hooks import install

        events = install.EVENTS if self.git.root is not None else install.SERVER_EVENTS
        return install.look(self.git, sys.executable, events)

    def install_hooks(self, *, server: bool = False, dry_run: bool = False) -> list[HookChange]:
        """Put gitml's hooks in place, behind those that are there; see ``hooks.install``.

        ``server`` means the hook of a repository that others push to; the index is made then, so
        that the first push need not wait for it. Raises UsageError for the hooks of people in a
        repository without a work tree.
        """
        from gitml.history.index import Index
        from gitml.hooks import install

        if not server and self.git.root is None:
            raise UsageError(
                f"{self.git.directory} has no work tree, so nobody commits in it",
                hint="`gitml hooks install --server` guards what is pushed to it",
            )
        events = install.SERVER_EVENTS if server else install.EVENTS
        changes = install.install(self.git, sys.executable, events, dry_run=dry_run)
        if server and not dry_run:
            with closing(Index(self.git, self.odb, of_runs=False)) as index:
                index.refresh()
        elif not dry_run:
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

    def gc(
        self, prune: str | None = None, *, ignore_missing: bool = False, dry_run: bool = False
    ) -> Collection:
        """Collect the bytes that nothing names any more, of all clones that share the store.

        ``prune`` is a time in git's words (``now``, ``3.days.ago``; two weeks by default): what is
        younger stays. Where the list of a folder's files cannot be had, every blob may be one of
        them, and stays; with ``ignore_missing`` none is. Raises what `reachable` raises, with
        nothing deleted.
        """
        import time
        from dataclasses import replace

        from gitml.history.clones import sharing
        from gitml.history.reachable import reachable
        from gitml.store import gc

        grace = gc.GRACE
        if prune is not None:
            try:
                grace = max(0.0, time.time() - self.git.expiry(prune))
            except GitmlError:
                hint = "`gitml gc --prune=3.days.ago`"
                raise UsageError(f"`{prune}` is no point in time", hint=hint) from None
        store, unlisted, spared = self.store, 0, dict[bytes, int]()

        def live() -> set[bytes]:
            nonlocal unlisted, spared
            found = reachable(sharing(store.root, self.git), store)
            unlisted = len(found.unlisted)
            if unlisted and not ignore_missing:
                held = gc.blobs(store).items()
                spared = {raw: size for raw, size in held if raw not in found.digests}
            return found.digests | spared.keys()

        done = gc.collect(store, live, grace=grace, dry_run=dry_run)
        return replace(done, unlisted=unlisted, spared=sum(spared.values()))

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
        from gitml.history.reachable import reachable
        from gitml.store.usage import usage

        store, doubt = self.store, ""
        groups = self._named_digests()
        try:
            found = reachable(sharing(store.root, self.git), store)
            live = found.digests
            if found.unlisted:
                doubt = f"the lists of files of {len(found.unlisted)} folders are not here"
        except GitmlError as error:
            doubt = error.message
            live = {one.digest.raw for one in store.objects()}
        return usage(store, live, groups), doubt

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
