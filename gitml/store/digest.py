"""Digests of bytes: BLAKE3-256, as ``b3sum`` prints it, over memory, streams and files.

Files are read, never mapped: a file that another program truncates while we hash it would kill
the process with SIGBUS, and 256 KiB reads that stay in the cache are as fast.
blake3 is imported at the first hash, so that looking up a name costs no import.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.fs import storage_errors

if TYPE_CHECKING:
    from blake3 import blake3

PIECE = 256 * 1024
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
    hasher = new_hasher()
    os.lseek(descriptor, 0, os.SEEK_SET)
    for piece in read_pieces(descriptor):
        hasher.update(piece)
    return Digest(hasher.hexdigest())


def read_pieces(descriptor: int) -> Iterator[memoryview]:
    """The bytes from the descriptor's position to the end; a piece is valid until the next."""
    buffer = memoryview(bytearray(PIECE))
    while count := os.readv(descriptor, [buffer]):
        yield buffer[:count]
