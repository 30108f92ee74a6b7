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


class Proof:
    """The hash of a stored form, keyed by its tree: one tree's proof proves nothing of another."""

    def __init__(self, digest: Digest, data: bytes = b"") -> None:
        """Begin with ``data`` of the form that is said to be the tree ``digest``."""
        from blake3 import blake3

        self.digest = digest
        self.length = 0
        self._hasher = blake3(key=digest.raw)
        self.add(data)

    def add(self, piece: bytes) -> None:
        """Take in the next piece of the form."""
        self.length += len(piece)
        self._hasher.update(piece)

    def __bytes__(self) -> bytes:
        return self._hasher.digest()


class KnownTrees:
    """The trees that this user has judged, in a folder of their clone that need not be there.

    The folder's name carries the version of the rules by which they were judged.
    """

    def __init__(self, folder: Path) -> None:
        """Keep what is known below ``folder``."""
        self.folder = folder / "known-trees-1"

    def knows(self, proof: Proof) -> bool:
        """Whether this stored form was once found to be that tree.

        Only a file of this user's own is believed: whoever shares the clone could write another.
        """
        if proof.length < FROM:
            return False
        try:
            descriptor = os.open(self._file(proof), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            is_own = found.st_uid == os.geteuid() and not found.st_mode & (
                stat.S_IWGRP | stat.S_IWOTH
            )
            return is_own and os.read(descriptor, _PROOF_BYTES + 1) == bytes(proof)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def note(self, proof: Proof) -> None:
        """Remember that this form was judged and is that tree; where that cannot be, do nothing.

        Written where it is, and not flushed: half a proof proves nothing.
        """
        if proof.length < FROM:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room()
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._file(proof), flags, 0o644)
            try:
                write_fully(descriptor, bytes(proof))
            finally:
                os.close(descriptor)

    def _file(self, proof: Proof) -> Path:
        return self.folder / proof.digest.hex

    def _make_room(self) -> None:
        """Drop the older half of what is known once it is too much."""
        files = list(self.folder.iterdir())
        if len(files) > _MOST:
            files.sort(key=lambda file: file.lstat().st_mtime_ns)
            for file in files[: len(files) // 2]:
                file.unlink(missing_ok=True)
