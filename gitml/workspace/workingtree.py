"""A working tree with data in it: its root, its pointers, its stat cache, its lock."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.errors import Locked, StorageError, UsageError
from gitml.frozen import Frozen
from gitml.fs import (
    is_abandoned,
    is_temporary,
    make_directories,
    storage_errors,
    write_durably,
)
from gitml.git.process import Git
from gitml.git.scan import PrivateIndex
from gitml.workspace import pointerfiles, statcache
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.statcache import StatCache, View

if TYPE_CHECKING:
    from gitml.store.store import Store

_PATIENCE = 600.0
"""Seconds to wait for another command that moves data in this working tree."""


class WorkingTree(Frozen):
    """One working tree of a repository; each linked one has its own cache and its own views.

    ``open_store`` gives the store, and is called when bytes are needed.
    """

    git: Git
    open_store: Callable[[], Store]

    @property
    def root(self) -> Path:
        """The top of the working tree; raises NoRepository where there is none."""
        return self.git.work_tree()

    @cached_property
    def store(self) -> Store:
        """The bytes."""
        return self.open_store()

    @property
    def folder(self) -> Path:
        """The private git directory of the stat cache."""
        return self.git.directory / "gitml" / "stat"

    @cached_property
    def index(self) -> PrivateIndex:
        """What compares the stat cache with the file system."""
        statcache.prepare(self.folder)
        return PrivateIndex(self.folder, self.root)

    def cache(self) -> StatCache:
        """The stat cache as it is now."""
        return StatCache.read(self.folder / "index")

    def clock(self) -> int:
        """The time now, for the stat cache.

        The earliest there is where nothing can be written, as on a disk that is read-only or full:
        then nothing that is looked at counts as settled, and everything can be looked at.
        """
        with suppress(StorageError):
            statcache.prepare(self.folder)
            return statcache.clock(self.folder)
        return 0

    def pointers(self) -> list[Tracked]:
        """Every pointer, sorted by path."""
        return pointerfiles.find(self.git)

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Be the only command that moves data here; raises Locked when that does not come about.

        The system lets go of the lock when the process ends, however it does.
        """
        statcache.prepare(self.folder)
        path = self.folder / "lock"
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _acquire(descriptor, _PATIENCE if wait else 0.0)
            _sweep(self.folder, self.root)
            self._finish_removal()
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def writing(self, paths: Iterable[str]) -> Iterator[None]:
        """Say for the length of a block beside which files others may be left half written.

        Who takes the lock after a process that was killed removes those. The caller holds it.
        """
        folders = sorted({path.rpartition("/")[0] for path in paths})
        for folder in folders:  # a power cut may have taken what is noted below
            _sweep_temporaries(self.root / folder)
        path = self.folder / "writing"
        with storage_errors(path):
            path.write_bytes(b"\0".join(map(os.fsencode, folders)))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def removing(self, pointers: Iterable[str]) -> Iterator[None]:
        """Say for the length of a block which pointers are removed, the index knowing of it.

        Who takes the lock after a process that was killed in it removes the rest.
        """
        path = self.folder / "removing"
        write_durably(path, b"\0".join(map(os.fsencode, sorted(pointers))))  # a part would lie
        yield
        path.unlink(missing_ok=True)

    def unfinished(self) -> list[Path]:
        """What was being written beside its target, anywhere below the root, by whomever."""
        wanted = [":(glob)**/.gitml-*.tmp", ":(glob)**/.gitml-*.tmp/**"]
        env = {"GIT_LITERAL_PATHSPECS": "0"}
        listing = os.fsdecode(
            self.git.run("ls-files", "-z", "--others", "--", *wanted, env=env)
        ).split("\0")
        found: dict[Path, None] = {}
        for parts in (one.split("/") for one in listing if is_temporary(one)):
            at = next(n for n, name in enumerate(parts) if is_temporary(name))
            found[self.root.joinpath(*parts[: at + 1])] = None
        return list(found)

    def _finish_removal(self) -> None:
        path = self.folder / "removing"
        if not path.exists():
            return
        listed = os.fsdecode(path.read_bytes()).split("\0")
        pointers = [one for one in listed if pointerfiles.data_path(one) is not None] or ["."]
        back = os.fsdecode(self.git.run("ls-files", "-z", "--", *pointers)).split("\0")
        for pointer in set(pointers) - set(back) - {"."}:
            (self.root / pointer).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def views(self) -> dict[str, View]:
        """Which folders are checked out in part, and which part, by path."""
        if not self._views.exists():
            return {}
        import json

        try:
            document = json.loads(self._views.read_bytes())
            return {
                path: View(tuple(one["include"]), tuple(one["exclude"]))
                for path, one in document["views"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def keep_views(self, changes: Mapping[str, View | None]) -> None:
        """Remember that some folders are checked out in part, or as a whole again (None)."""
        before = self.views()
        views = {path: view for path, view in {**before, **changes}.items() if view is not None}
        if views == before:
            return
        import json

        documents = {
            path: {"include": view.include, "exclude": view.exclude}
            for path, view in sorted(views.items())
        }
        make_directories(self._views.parent)
        text = json.dumps({"format": 1, "views": documents}, indent=2)
        write_durably(self._views, text.encode() + b"\n")

    @property
    def _views(self) -> Path:
        return self.git.directory / "gitml" / "views.json"

    def relative(self, given: Path) -> str:
        """A path as people give it, from the root; raises UsageError where it lies outside.

        The folders above are resolved, the last name is not: it may be a link that is meant.
        """
        parent = Path(os.path.realpath(given.parent if given.name else given))
        name = given.name if given.name not in ("", "..") else ""
        if given.name == "..":
            parent = Path(os.path.realpath(given))
        root = Path(os.path.realpath(self.root))
        full = parent / name if name else parent
        if full != root and root not in full.parents:
            raise UsageError(f"{given} is outside of the repository at {self.root}")
        return "" if full == root else full.relative_to(root).as_posix()


def _acquire(descriptor: int, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= until:
            raise Locked(
                "another gitml moves data in this working tree",
                hint="wait for it to end; `ps -C gitml` shows it",
            )
        time.sleep(0.05)


def _sweep(folder: Path, root: Path) -> None:
    """Remove what killed commands left; whoever holds the lock is alone."""
    with os.scandir(folder) as found:
        stale = [one.name for one in found if one.name.startswith(("index-", "clock-", ".gitml-"))]
    for name in stale:
        with suppress(OSError):  # a clock may be that of a look that goes on without the lock
            if name[0] != "c" or time.time() - (folder / name).stat().st_ctime > 60:
                (folder / name).unlink()
    with suppress(FileNotFoundError):
        for inside in (folder / "writing").read_bytes().split(b"\0"):
            _sweep_temporaries(root / os.fsdecode(inside))
        (folder / "writing").unlink()


def _sweep_temporaries(folder: Path) -> None:
    """Remove what dead processes were writing in a folder beside its target."""
    left = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        left = [Path(one.path) for one in found if is_temporary(one.name)]
    for path in left:
        remove_abandoned(path)


def remove_abandoned(path: Path) -> bool:
    """Whether this was something unfinished of a dead process, and is gone now."""
    with suppress(OSError):
        found = path.lstat()
        if is_abandoned(path.name, found.st_mtime):
            if stat.S_ISDIR(found.st_mode):
                import shutil

                shutil.rmtree(path)
            else:
                path.unlink()
            return True
    return False
