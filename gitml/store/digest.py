"""Digests of bytes: BLAKE3-256, as ``b3sum`` prints it, over memory, streams and files.

Files are read, never mapped: a file that another program truncates while we hash it would kill
the process with SIGBUS, and 256 KiB reads that stay in the cache are as fast. Of a large file one
thread hashes what another has read.
blake3 is imported at the first hash, so that looking up a name costs no import.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.fs import storage_errors

if TYPE_CHECKING:
    from blake3 import blake3

PIECE = 256 * 1024
_AHEAD = 4 * 1024 * 1024
"""Bytes that are read of a large file while as many are hashed."""

_LARGE = 4 * _AHEAD
TREE_CONTEXT = "gitml 2026 tree 1"


def new_hasher() -> blake3:
    """A BLAKE3 hasher to be fed with ``update``; ``digest()`` gives the 32 bytes."""
    from blake3 import blake3

    return blake3()


def hash_bytes(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of ``data``."""
    from blake3 import blake3

    return Digest(blake3(data).hexdigest())


def hash_tree_form(pieces: Iterable[bytes]) -> Digest:
    """The digest of a tree's canonical form: keyed apart, so that it is never a blob's digest."""
    from blake3 import blake3

    hasher = blake3(derive_key_context=TREE_CONTEXT)
    for piece in pieces:
        hasher.update(piece)
    return Digest(hasher.hexdigest())


def hash_file(path: Path) -> Digest:
    """The digest of the file's bytes, in constant memory; raises StorageError."""
    with storage_errors(path, "read"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return hash_descriptor(descriptor)
        finally:
            os.close(descriptor)


def hash_descriptor(descriptor: int) -> Digest:
    """The digest of an open file's bytes, from its start; raises OSError."""
    return hash_up_to(descriptor, math.inf)[0]


def hash_up_to(descriptor: int, most: float) -> tuple[Digest, int]:
    """The digest of an open file's bytes, from its start, and how many they are; OSError.

    Once there are more than ``most`` no more are read.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    if os.fstat(descriptor).st_size >= _LARGE:
        return _hash_behind(descriptor, most)
    hasher, count = new_hasher(), 0
    for piece in read_pieces(descriptor):
        hasher.update(piece)
        count += len(piece)
        if count > most:
            break
    return Digest(hasher.hexdigest()), count


def _hash_behind(descriptor: int, most: float) -> tuple[Digest, int]:
    """`hash_up_to`, of the position on, in a thread that follows the reading."""
    from gitml.store.threads import workers

    hasher, count = new_hasher(), 0
    buffer, other = (memoryview(bytearray(_AHEAD)) for _ in range(2))
    with workers(1) as thread:
        hashed = None
        while count <= most and (length := os.readv(descriptor, [buffer])):
            count += length
            if hashed is not None:
                hashed.result()
            hashed = thread.submit(hasher.update, buffer[:length])
            buffer, other = other, buffer
        if hashed is not None:
            hashed.result()
    return Digest(hasher.hexdigest()), count


def read_pieces(descriptor: int) -> Iterator[memoryview]:
    """The bytes from the descriptor's position to the end; a piece is valid until the next."""
    buffer = memoryview(bytearray(PIECE))
    while count := os.readv(descriptor, [buffer]):
        yield buffer[:count]
