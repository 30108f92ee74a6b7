"""Small blobs straight out of packs: one look-up, one read and one hash for each of thousands.

A chunk whose digest is the blob's has the blob's bytes, so the object's own entry need not be
read. Whatever is not plain and good in that way is left to the reader, which tries every copy and
knows what to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gitml.store.codec import RAW, ZSTD
from gitml.store.pack import Pack, neighbours
from gitml.store.packformat import ENTRY_HEADER
from gitml.store.packindex import ChunkRow

_EMPTY = bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")

LIMIT = 4 * 1024 * 1024
"""Blobs of this size in bytes and more are read in pieces, by the careful way."""


def doubtful_chunks(pack: Pack, rows: Iterable[tuple[bytes, ChunkRow]]) -> list[bytes]:
    """Those of a pack's chunks that are not seen to be good here: the careful way has to look.

    Neighbours are read together, so that each of thousands costs little more than its hash, which
    is too short to be shared out among threads. Raises OSError.
    """
    from blake3 import blake3

    listed, decoder = list(rows), _Decoder()
    doubtful = [digest for digest, row in listed if not _is_small(row)]
    with pack.opened() as descriptor:
        for run in neighbours(one for one in listed if _is_small(one[1])):
            start, last = run[0][1].offset, run[-1][1]
            data = os.pread(descriptor, last.offset + ENTRY_HEADER + last.stored - start, start)
            for digest, row in run:
                at = row.offset - start + ENTRY_HEADER
                plain = decoder.plain(row, data[at : at + row.stored])
                if plain is None or blake3(plain).digest() != digest:
                    doubtful.append(digest)
    return doubtful


def _is_small(row: ChunkRow) -> bool:
    return row.plain < LIMIT and row.stored < LIMIT


class SmallBlobs:
    """The small blobs of some packs, each one chunk, and in no codec but zstd.

    A context manager, for packs stay open from the first read on.
    """

    def __init__(self, packs: Iterable[Pack], expected: int) -> None:
        """Prepare for about ``expected`` look-ups."""
        self._packs = [_OpenPack(pack, pack.chunk_finder(expected)) for pack in packs]
        self._decoder = _Decoder()

    def __enter__(self) -> SmallBlobs:
        return self

    def __exit__(self, *_: object) -> None:
        for pack in self._packs:
            pack.close()

    def find(self, digest: bytes) -> Path | None:
        """The file of the pack that has a blob, or None."""
        if digest == _EMPTY:  # the one blob that is no chunk
            return next((pack.path for pack in self._packs if pack.find_object(digest)), None)
        found = self._find(digest)
        return found and found[0].path

    def read(self, digest: bytes) -> bytes | None:
        """The verified bytes of a blob, or None if the careful way has to look."""
        from blake3 import blake3

        if digest == _EMPTY:
            return b""
        found = self._find(digest)
        if found is None:
            return None
        pack, row = found
        data = pack.read(row) if _is_small(row) else None
        data = self._decoder.plain(row, data) if data is not None else None
        return data if data is not None and blake3(data).digest() == digest else None

    def _find(self, digest: bytes) -> tuple[_OpenPack, ChunkRow] | None:
        for number, pack in enumerate(self._packs):
            row = pack.find(digest)
            if row is not None:
                if number:  # neighbours in a folder are neighbours in a pack
                    self._packs.insert(0, self._packs.pop(number))
                return pack, row
        return None


_NEXT = 4 * ENTRY_HEADER
"""Bytes between two chunks of which the second is the next: headers, and the entry of a blob."""
_AHEAD = 128 * 1024


class _OpenPack:
    """A pack that stays open from the first read on."""

    def __init__(self, pack: Pack, find: Callable[[bytes], ChunkRow | None]) -> None:
        self.path = pack.path
        self.find = find
        self.find_object = pack.find_object
        self._descriptor = -1
        self._end = 0
        self._ahead = b""
        self._ahead_at = 0

    def read(self, row: ChunkRow) -> bytes | None:
        """The stored bytes of a chunk, or None if they cannot be read.

        Who goes through the pack in its order has what follows read along.
        """
        at = row.offset + ENTRY_HEADER
        start, self._end, before = at - self._ahead_at, at + row.stored, self._end
        if start >= 0 and start + row.stored <= len(self._ahead):
            return self._ahead[start : start + row.stored]
        is_next = 0 <= at - before <= _NEXT
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._descriptor, max(row.stored, _AHEAD if is_next else 0), at)
        except OSError:
            return None
        if is_next:
            self._ahead, self._ahead_at = data, at
        return data[: row.stored]

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


class _Decoder:
    """Zstd frames in one call each, with memory bounded by what the index says."""

    def __init__(self) -> None:
        self._decompressor: object = None

    def plain(self, row: ChunkRow, stored: bytes) -> bytes | None:
        """The plain bytes of a chunk, unverified; None for another codec and for damage."""
        if row.codec == RAW:
            return stored
        return self._unframe(stored, row.plain) if row.codec == ZSTD else None

    def _unframe(self, stored: bytes, plain: int) -> bytes | None:
        """The content of one whole frame that declares ``plain`` bytes, or None."""
        from zstandard import ZstdDecompressor, ZstdError, frame_content_size

        decompressor = self._decompressor
        if not isinstance(decompressor, ZstdDecompressor):
            decompressor = self._decompressor = ZstdDecompressor()
        try:
            # Only the declared size bounds the memory: `max_output_size` does not.
            if frame_content_size(stored) != plain:
                return None
            return decompressor.decompress(stored, allow_extra_data=False)
        except ZstdError:
            return None
