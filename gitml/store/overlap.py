"""How many bytes of one set of blobs and folders another set has already, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes
from gitml.store import parts
from gitml.store.holdings import Holdings


def shared_bytes(store: Holdings, old: Iterable[Digest], new: Iterable[Digest]) -> int:
    """The plain bytes of ``new`` that lie in chunks which ``old`` has too, each chunk once.

    Reads indexes and lists of parts, and no blob. What is not in this store counts as nothing: its
    chunks are not known here.
    """
    known = _chunks(store, old)
    return sum(length for chunk, length in _chunks(store, new).items() if chunk in known)


def _chunks(store: Holdings, digests: Iterable[Digest]) -> dict[bytes, int]:
    """The chunks behind blobs and folders with their plain lengths; loose blobs are their own."""
    found: dict[bytes, int] = {}
    for raw in {raw for digest in digests for raw in members(store, digest)}:
        for pack in store.packs():
            row = pack.find_object(raw)
            if row is None:
                continue
            with suppress(CorruptData, OSError):
                whole = parts.names(pack, raw, row) == [raw]
                found.update({raw: row.size} if whole else dict(pack.parts(raw, row)))
                break
        else:
            with suppress(CorruptData, MissingBytes):
                found[raw] = store.info(Digest.from_bytes(raw)).size
    return found


def members(store: Holdings, digest: Digest) -> list[bytes]:
    """The raw digests of the files behind a digest: itself, or those of its folder's files."""
    with suppress(CorruptData, MissingBytes):
        if store.info(digest).kind == "tree":
            content = store.read_tree(digest).columns.digests
            return [content[at : at + 32] for at in range(0, len(content), 32)]
    return [digest.raw]
