"""What a writer relies on without having written it, and how that is kept from gc meanwhile.

A writer does not store again what is held. Between its look at a copy and the record that names
the bytes, nothing in git speaks for them, so gc could take them away. Two things prevent that. The
writer notes the time on each file that it relies on, and gc looks at the time once more after it
has taken a file out of its place. And a file in ``tmp/`` says since when a writer is at work:
nothing that was written or relied upon since then is collected, however short the grace.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from gitml.errors import StorageError
from gitml.fs import storage_errors
from gitml.store.layout import WRITER, Layout, discard, listed

T = TypeVar("T")

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Lease:
    """One writer's hold on what was there before it. It ends with `end`, or with the process."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kept: set[Path] = set()
        self._folders: dict[Path, set[str]] = {}
        self._lock = Lock()
        self._ending: weakref.finalize[[Path], Lease] | None = None

    def begin(self) -> None:
        """Say that a writer is at work, unless that is said already; raises StorageError."""
        if self._ending is not None:
            return
        self._layout.prepare()
        path = self._layout.temporary(WRITER)
        with storage_errors(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        self._ending = weakref.finalize(self, discard, path)

    def keep(self, files: Iterable[Path]) -> bool:
        """Whether all these files stay in their places until the lease ends; any thread may ask."""
        for path in files:
            if path in self._kept:
                continue
            with self._lock:
                if not self._note(path):
                    return False
                self._kept.add(path)
        return True

    def keep_loose(self, path: Path) -> bool:
        """Whether a loose file with bytes stays in its place until the lease ends.

        One note holds for all that are kept of its folder, so that thousands of them cost a look
        each, and those that are linked to working files no note beside each.
        """
        folder = path.parent
        with suppress(OSError):
            if folder not in self._folders and path.stat().st_size:
                with self._lock:
                    self._write(lambda: self._layout.freshen_folder(folder))
                    self._folders.setdefault(folder, set())
            if path.stat().st_size:
                self._folders[folder].add(path.name)
                return True
        return False

    def _write(self, note: Callable[[], T]) -> T | None:
        """What comes of a note on what is relied upon; None where nothing can be written."""
        try:
            self.begin()
            return note()
        except StorageError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _READ_ONLY:
                return None
            raise

    def _note(self, path: Path) -> bool:
        """Whether a file is in its place, and will be; where nothing can be written, only that."""
        is_there = self._write(lambda: self._layout.freshen(path))
        return path.exists() if is_there is None else is_there

    @property
    def size(self) -> int:
        """How much is kept: it grows with whatever comes to it."""
        return len(self._kept) + len(self._folders) + sum(map(len, self._folders.values()))

    def confirm(self) -> set[Path]:
        """The folders of everything that is kept, which is in its place.

        A gc that was killed may have left some of it condemned: it is put back. Raises
        StorageError for a file that somebody has removed.
        """
        for path in self._lost():
            for one in self._layout.condemned_files():
                if self._layout.place_of(one.name) == path:
                    self._layout.bring_back(one.path)
            if not path.exists():
                raise removed_meanwhile(path)
        return {path.parent for path in self._kept} | self._folders.keys()

    def _lost(self) -> list[Path]:
        """What is kept and not in its place."""
        lost = [path for path in self._kept if not path.exists()]
        for folder, names in self._folders.items():
            there = {path.name for path in listed(folder)} if names else set()
            lost += [folder / name for name in names - there]
        return lost

    def end(self) -> None:
        """Let gc treat the files as any other."""
        if self._ending is not None:
            self._ending()
            self._ending = None
        self._kept, self._folders = set(), {}


def removed_meanwhile(path: Path) -> StorageError:
    """The error for a file that was there when somebody began to rely on it."""
    return StorageError(
        f"{path} was removed while it was relied upon; nothing was written",
        hint="run the same command again",
    )
