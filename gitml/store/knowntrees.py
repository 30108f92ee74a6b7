"""Which stored forms were once found to be which trees, so that nobody has to judge them again.

Judging the list of a million files takes seconds: each path, and the canonical form that the digest
is taken of. That a stored form is byte for byte the one that was judged takes its hash. What one
user has found in one clone is kept there, one small file a tree; losing it costs time only.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.fs import write_fully

FROM = 1024 * 1024
"""Stored forms of fewer bytes are judged in less time than it takes to be worth a file."""

_MOST = 256
_PROOF_BYTES = 32


class KnownTrees:
    """The trees that this user has judged, in a folder of their clone that need not be there.

    The folder's name carries the version of the rules by which they were judged.
    """

    def __init__(self, folder: Path) -> None:
        """Keep what is known below ``folder``."""
        self.folder = folder / "known-trees-1"

    def knows(self, digest: Digest, data: bytes) -> bool:
        """Whether ``data`` was found to be the stored form of this tree.

        Only a file of this user's own is believed: whoever shares the clone could write another.
        """
        if len(data) < FROM:
            return False
        try:
            descriptor = os.open(self._file(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            is_own = found.st_uid == os.geteuid() and not found.st_mode & (
                stat.S_IWGRP | stat.S_IWOTH
            )
            return is_own and os.read(descriptor, _PROOF_BYTES + 1) == _proof(digest, data)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def note(self, digest: Digest, data: bytes) -> None:
        """Remember that ``data`` was judged and is this tree; where that cannot be, do nothing.

        Written where it is, and not flushed: half a proof proves nothing.
        """
        if len(data) < FROM:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room()
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._file(digest), flags, 0o644)
            try:
                write_fully(descriptor, _proof(digest, data))
            finally:
                os.close(descriptor)

    def _file(self, digest: Digest) -> Path:
        return self.folder / digest.hex

    def _make_room(self) -> None:
        """Drop the older half of what is known once it is too much."""
        files = list(self.folder.iterdir())
        if len(files) > _MOST:
            files.sort(key=lambda file: file.lstat().st_mtime_ns)
            for file in files[: len(files) // 2]:
                file.unlink(missing_ok=True)


def _proof(digest: Digest, data: bytes) -> bytes:
    """The hash of a stored form, keyed by its tree: one tree's file proves nothing of another."""
    from blake3 import blake3

    return blake3(data, key=digest.raw).digest()
