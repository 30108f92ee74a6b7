"""Whether the bytes of artifacts that are here are what their digests say, read again."""

from __future__ import annotations

from collections.abc import Iterable

from gitml.entities.ids import Digest
from gitml.entities.records import Output
from gitml.errors import CorruptData, MissingBytes
from gitml.store.store import Store

QUICK = 32 << 20
"""Bytes that are read without being asked to: a tenth of a second or less."""


def damaged(store: Store, outputs: Iterable[Output], most: int | None) -> tuple[list[Digest], int]:
    """Those of some held artifacts that are damaged, and how many bytes were not read.

    ``most`` is how many bytes are read, of the smallest artifacts first and of a folder's smallest
    files; None is all of them. What is not held is passed over.
    """
    left = most
    found: list[Digest] = []
    unread = 0
    for output in sorted(outputs, key=lambda one: (one.size, one.digest)):
        try:
            members = _members(store, output)
        except CorruptData:
            found.append(output.digest)
            continue
        except MissingBytes:
            continue
        for size, digest in members:
            if left is not None and size > left:
                unread += size
                continue
            left = left - size if left is not None else None
            if not store.is_sound(digest) and not store.absent([digest]):
                found.append(output.digest)
                break
    return found, unread


def _members(store: Store, output: Output) -> list[tuple[int, Digest]]:
    """The blobs that an artifact consists of, with their sizes, the smallest first."""
    if store.absent([output.digest]):
        return []
    if output.kind != "tree":
        return [(output.size, output.digest)]
    entries = store.read_tree(output.digest).entries
    return sorted({(one.size, one.digest) for one in entries if one.digest is not None})
