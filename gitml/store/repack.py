"""Rewriting a pack without what nothing needs any more: whole entries are copied as they are.

Nothing is decoded or encoded, so the digests, the codecs and the bases of deltas stay what they
were. What was written is walked through before it is published, as an abandoned pack would be.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gitml.errors import CorruptData
from gitml.fs import flush_to_disk, storage_errors, write_fully
from gitml.store.digest import PIECE
from gitml.store.layout import Layout, discard
from gitml.store.pack import Pack, Span, header_bytes, walk


def rewrite(layout: Layout, pack: Pack, spans: Sequence[Span]) -> Path:
    """A new pack with these entries of ``pack``, in their order.

    It is durable and published when this returns, and as old as the pack that it was made of. The
    old pack stays. Raises CorruptData, with nothing written, if one of the entries is damaged, and
    StorageError.
    """
    with storage_errors(pack.path, "read"):
        used = pack.path.stat()
    temporary, index = extract(layout, pack, spans)
    try:
        with storage_errors(temporary):
            os.utime(temporary, ns=(used.st_atime_ns, used.st_mtime_ns))
        return layout.publish_pack(temporary, index)
    except BaseException:
        discard(temporary)
        raise


def extract(layout: Layout, pack: Pack, spans: Sequence[Span]) -> tuple[Path, bytes]:
    """These entries of a pack as another one, durable in ``tmp/``, and the bytes of its index.

    It is the caller's to publish or to discard. Raises as `rewrite`.
    """
    temporary = layout.temporary(".pack")
    try:
        with storage_errors(temporary):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o444)
            try:
                return temporary, _filled(descriptor, pack, spans)
            finally:
                os.close(descriptor)
    except BaseException:
        discard(temporary)
        raise


def _filled(descriptor: int, pack: Pack, spans: Sequence[Span]) -> bytes:
    """Copy the entries into the open file and make it durable; the bytes of its index."""
    with pack.opened() as source:
        write_fully(descriptor, header_bytes())
        for start, end, *_ in spans:
            while start < end:
                piece = os.pread(source, min(PIECE, end - start), start)
                if not piece:
                    raise CorruptData(f"{pack.path} ends within an entry", hint="`gitml fsck`")
                write_fully(descriptor, piece)
                start += len(piece)
    length = os.fstat(descriptor).st_size
    tables, end = walk(descriptor, resync=False)
    if end != length:
        raise CorruptData(f"{pack.path} has a damaged entry", hint="`gitml fsck`")
    flush_to_disk(descriptor)
    return tables.encode(length)
