"""Executions that this clone does not take from the cache any more, after ``gitml cache clear``.

A line a step commit in ``<common git dir>/gitml/cleared``, added at the end in one write, so that
several may clear at once. Records, their ids and their bytes stay as they are, and other clones
hear nothing of it. Deleting the file takes all of it back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from gitml.entities.ids import ObjectId
from gitml.fs import make_directories, storage_errors, write_fully


class Cleared:
    """What was cleared when it was first asked for; ``common`` is the common git directory."""

    def __init__(self, common: Path) -> None:
        self._path = common / "gitml" / "cleared"

    def __contains__(self, step: ObjectId) -> bool:
        return step.hex.encode() in self._ids

    def add(self, steps: Iterable[ObjectId]) -> None:
        """Clear these executions from now on; raises StorageError where it cannot be written."""
        lines = b"".join(f"{one.hex}\n".encode() for one in steps)
        make_directories(self._path.parent)
        with storage_errors(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o644)
            try:
                end = os.lseek(descriptor, 0, os.SEEK_END)
                # A line that a kill cut off must not swallow the next one.
                torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
                write_fully(descriptor, b"\n" * torn + lines)
            finally:
                os.close(descriptor)
        self.__dict__.pop("_ids", None)

    @cached_property
    def _ids(self) -> frozenset[bytes]:
        with contextlib.suppress(FileNotFoundError):
            return frozenset(self._path.read_bytes().split())
        return frozenset()
