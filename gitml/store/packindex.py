"""The index of a pack: two sorted tables of fixed width, and the same while a pack is written.

An index file lies behind fan-outs, mapped and searched with the standard library. It can be made
again from its pack alone (docs/format.md).
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import add
from pathlib import Path
from typing import NamedTuple

from gitml.errors import CorruptData
from gitml.store import codec as codecs
from gitml.store.digest import hash_bytes
from gitml.store.packformat import (
    BLOB,
    CHUNK_ROW,
    ENTRY_HEADER,
    FAN_OUT,
    INDEX_HEADER,
    INDEX_MAGIC,
    OBJECT,
    OBJECT_ROW,
    VERSION,
    WHOLE,
)

_CODEC_AT = 24
_SEARCH_COST = 20
"""Rows that are put into a table in the time of one search."""
_MOST_PLACES = 200_000
"""Rows of an index of which a table may stay in memory: about 30 MB."""


class ChunkRow(NamedTuple):
    """Where a chunk's entry is, and what it holds: lengths in bytes, codec by number."""

    offset: int
    stored: int
    plain: int
    codec: int


class ObjectRow(NamedTuple):
    """Where an object's entry is, and what it is: ``kind`` is BLOB or TREE.

    ``size`` is in plain bytes (of a tree: the sum of its files), ``stored`` in bytes of this
    pack, headers included; ``entries`` counts a tree's entries.
    """

    offset: int
    size: int
    entries: int
    stored: int
    kind: int


class Tables:
    """The two tables of a pack that is being written or walked through, in memory.

    Rows are kept packed as the index will hold them, since a pack may have millions.
    """

    def __init__(self) -> None:
        self._chunks: dict[bytes, bytes] = {}
        self._objects: dict[bytes, bytes] = {}

    def add_chunk(self, digest: bytes, row: ChunkRow) -> None:
        """Add a chunk; the first entry of a digest stays the one."""
        self._chunks.setdefault(digest, CHUNK_ROW.pack(*row))

    def add_object(
        self, digest: bytes, kind: int, offset: int, payload: bytes, parts: list[tuple[bytes, int]]
    ) -> None:
        """Add an object whose entry's payload is given; its chunks stand before it in the pack."""
        size, entries = OBJECT.unpack_from(payload)
        stored = ENTRY_HEADER + len(payload)
        for part, _ in parts:
            if row := self.find_chunk(part):
                stored += ENTRY_HEADER + row.stored
        self._objects.setdefault(digest, OBJECT_ROW.pack(offset, size, entries, stored, kind))

    def add_blob(self, digest: bytes, row: ChunkRow) -> None:
        """Add a new chunk and the blob that it is, whose entry follows the chunk's."""
        offset, stored, plain, _ = row
        self._chunks[digest] = CHUNK_ROW.pack(*row)
        behind = offset + ENTRY_HEADER + stored
        stored += 2 * ENTRY_HEADER + WHOLE.size
        self._objects.setdefault(digest, OBJECT_ROW.pack(behind, plain, 0, stored, BLOB))

    def has_object(self, digest: bytes) -> bool:
        """Whether there is a row of the object."""
        return digest in self._objects

    def count_objects(self) -> int:
        """How many objects there are."""
        return len(self._objects)

    def find_chunk(self, digest: bytes) -> ChunkRow | None:
        """The row of the chunk, or None."""
        row = self._chunks.get(digest)
        return ChunkRow(*CHUNK_ROW.unpack(row)) if row else None

    def find_object(self, digest: bytes) -> ObjectRow | None:
        """The row of the object, or None."""
        row = self._objects.get(digest)
        return ObjectRow(*OBJECT_ROW.unpack(row)) if row else None

    def chunk_finder(self, expected: int) -> Callable[[bytes], ChunkRow | None]:
        """What `find_chunk` does, for ``expected`` times."""
        del expected
        return self.find_chunk

    def find_objects(self, digests: Collection[bytes]) -> Iterator[tuple[bytes, ObjectRow]]:
        """Those of the objects that have a row, with it, by digest."""
        for digest in sorted(self._objects.keys() & digests):
            yield digest, ObjectRow(*OBJECT_ROW.unpack(self._objects[digest]))

    def has_codec(self, codec: int) -> bool:
        """Whether any chunk is stored with a codec."""
        return any(row[_CODEC_AT] == codec for row in self._chunks.values())

    def lone_chunks(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, ObjectRow]]:
        """Those of the sorted digests that are blobs of one chunk, with the blob's row."""
        for digest in digests:
            row, blob = self.find_chunk(digest), self.find_object(digest)
            if row is not None and blob is not None and _is_lone(row, blob):
                yield digest, blob

    def objects(self) -> Iterator[tuple[bytes, ObjectRow]]:
        """Every object with its row, by digest."""
        for digest in sorted(self._objects):
            yield digest, ObjectRow(*OBJECT_ROW.unpack(self._objects[digest]))

    def chunks(self) -> Iterator[tuple[bytes, ChunkRow]]:
        """Every chunk with its row, by digest."""
        for digest in sorted(self._chunks):
            yield digest, ChunkRow(*CHUNK_ROW.unpack(self._chunks[digest]))

    def encode(self, pack_length: int) -> bytes:
        """The index file for these tables: a pure function of the pack's entries."""
        objects = sorted(self._objects)
        chunks = objects if self._objects.keys() == self._chunks.keys() else sorted(self._chunks)
        header = INDEX_HEADER.pack(INDEX_MAGIC, VERSION, 0, pack_length, len(objects), len(chunks))
        pieces = [header, _fan_out(objects), _fan_out(chunks)]
        for table, digests in ((self._objects, objects), (self._chunks, chunks)):
            pieces += map(add, digests, map(table.__getitem__, digests))
        return b"".join(pieces)


class PackIndex:
    """An index file over its bytes, checked against its name, searched where it lies."""

    def __init__(self, data: bytes | mmap.mmap, path: Path) -> None:
        """Take the bytes of the index at ``path``; raises CorruptData if they are not its own."""
        if hash_bytes(memoryview(data)).hex != path.stem.rpartition("+")[2]:  # of a condemned one
            raise CorruptData(f"{path} is not what its name says")
        self._data = data
        try:
            magic, version, _, self.pack_length, objects, chunks = INDEX_HEADER.unpack_from(data)
            start = INDEX_HEADER.size
            self._object_fan = (0, *FAN_OUT.unpack_from(data, start))
            self._chunk_fan = (0, *FAN_OUT.unpack_from(data, start + FAN_OUT.size))
        except struct.error as error:
            raise CorruptData(f"{path} is too short for an index") from error
        self._objects_at = start + 2 * FAN_OUT.size
        self._chunks_at = self._objects_at + objects * (32 + OBJECT_ROW.size)
        if (
            (magic, version) != (INDEX_MAGIC, VERSION)
            or len(data) != self._chunks_at + chunks * (32 + CHUNK_ROW.size)
            or list(self._object_fan) != sorted(self._object_fan)
            or list(self._chunk_fan) != sorted(self._chunk_fan)
            or (self._object_fan[-1], self._chunk_fan[-1]) != (objects, chunks)
        ):
            raise CorruptData(f"{path} is not an index of version {VERSION}")
        widths = (32 + OBJECT_ROW.size, 32 + CHUNK_ROW.size)
        self._object_places = _Places(data, self._object_fan, self._objects_at, widths[0])
        self._chunk_places = _Places(data, self._chunk_fan, self._chunks_at, widths[1])

    @classmethod
    def of(cls, data: bytes) -> PackIndex:
        """The index that was just made of these bytes."""
        return cls(data, Path(f"{hash_bytes(data).hex}.idx"))

    @classmethod
    def open(cls, path: Path) -> PackIndex:
        """The index at ``path``, mapped; raises CorruptData, FileNotFoundError or OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size == 0:
                raise CorruptData(f"{path} is empty")
            return cls(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), path)
        finally:
            os.close(descriptor)

    def find_chunk(self, digest: bytes) -> ChunkRow | None:
        """The row of the chunk, or None."""
        at = self._chunk_places.find(digest)
        return ChunkRow(*CHUNK_ROW.unpack_from(self._data, at + 32)) if at else None

    def find_object(self, digest: bytes) -> ObjectRow | None:
        """The row of the object, or None."""
        at = self._object_places.find(digest)
        return ObjectRow(*OBJECT_ROW.unpack_from(self._data, at + 32)) if at else None

    def find_chunks(self, digests: Collection[bytes]) -> Iterator[tuple[bytes, ChunkRow]]:
        """Those of the chunks that have a row, with it, by digest: many in one walk."""
        for digest, at in self._chunk_places.find_in_order(sorted(digests)):
            yield digest, ChunkRow(*CHUNK_ROW.unpack_from(self._data, at + 32))

    def find_objects(self, digests: Collection[bytes]) -> Iterator[tuple[bytes, ObjectRow]]:
        """Those of the objects that have a row, with it, by digest: many in one walk."""
        for digest, at in self._object_places.find_in_order(sorted(digests)):
            yield digest, ObjectRow(*OBJECT_ROW.unpack_from(self._data, at + 32))

    def chunk_names(self) -> list[bytes]:
        """The digest of every chunk, sorted."""
        return self._chunk_places.names()

    def object_names(self) -> list[bytes]:
        """The digest of every object, sorted."""
        return self._object_places.names()

    def has_codec(self, codec: int) -> bool:
        """Whether any chunk is stored with a codec."""
        width, first = 32 + CHUNK_ROW.size, self._chunks_at + 32 + _CODEC_AT
        return codec in bytes(memoryview(self._data)[first::width])

    def chunk_finder(self, expected: int) -> Callable[[bytes], ChunkRow | None]:
        """What `find_chunk` does, for ``expected`` times."""
        data, start, width = self._data, self._chunks_at, 32 + CHUNK_ROW.size
        if (len(data) - start) // width > expected * _SEARCH_COST:
            return self.find_chunk
        places = {data[at : at + 32]: at for at in range(start, len(data), width)}

        def find(digest: bytes) -> ChunkRow | None:
            at = places.get(digest)
            return ChunkRow(*CHUNK_ROW.unpack_from(data, at + 32)) if at else None

        return find

    def lone_chunks(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, ObjectRow]]:
        """Those of the sorted digests that are blobs of one chunk, with the blob's row.

        Many are found in one walk through the tables, and no table is made for them.
        """
        objects = dict(self._object_places.find_in_order(digests))
        for digest, at in self._chunk_places.find_in_order(sorted(objects)):
            row = ChunkRow(*CHUNK_ROW.unpack_from(self._data, at + 32))
            blob = ObjectRow(*OBJECT_ROW.unpack_from(self._data, objects[digest] + 32))
            if _is_lone(row, blob):
                yield digest, blob

    def objects(self) -> Iterator[tuple[bytes, ObjectRow]]:
        """Every object with its row, by digest."""
        for at in range(self._objects_at, self._chunks_at, 32 + OBJECT_ROW.size):
            row = OBJECT_ROW.unpack_from(self._data, at + 32)
            yield self._data[at : at + 32], ObjectRow(*row)

    def chunks(self) -> Iterator[tuple[bytes, ChunkRow]]:
        """Every chunk with its row, by digest."""
        for at in range(self._chunks_at, len(self._data), 32 + CHUNK_ROW.size):
            row = CHUNK_ROW.unpack_from(self._data, at + 32)
            yield self._data[at : at + 32], ChunkRow(*row)


class _Places:
    """Where the rows of one kind begin in an index.

    Who asks often is answered out of a table, made when searching has taken as long as making it.
    """

    def __init__(
        self, data: bytes | mmap.mmap, fan: tuple[int, ...], start: int, width: int
    ) -> None:
        self._data, self._fan, self._start, self._width = data, fan, start, width
        self._asked = 0
        self._table: dict[bytes, int] | None = None

    def find(self, digest: bytes) -> int:
        """The offset of the row that begins with ``digest``, or 0."""
        if self._table is not None:
            return self._table.get(digest, 0)
        self._asked += 1
        rows = self._fan[-1]
        if self._asked * _SEARCH_COST > rows and rows < _MOST_PLACES:
            data, width = self._data, self._width
            end = self._start + rows * width
            self._table = {data[at : at + 32]: at for at in range(self._start, end, width)}
        return self._search(digest)

    def names(self) -> list[bytes]:
        """The digest of every row."""
        data, width, end = self._data, self._width, self._start + self._fan[-1] * self._width
        return [data[at : at + 32] for at in range(self._start, end, width)]

    def find_in_order(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
        """Those of the sorted digests that have a row, with its offset."""
        data, width, rows = self._data, self._width, self._fan[-1]
        if rows > len(digests) * _SEARCH_COST:
            yield from ((one, at) for one in digests if (at := self._search(one)))
            return
        at, end = self._start, self._start + rows * width
        seen = data[at : at + 32] if rows else b""
        for digest in digests:
            while seen < digest and at < end:
                at += width
                seen = data[at : at + 32]
            if at == end:
                return
            if seen == digest:
                yield digest, at

    def _search(self, digest: bytes) -> int:
        data, start, width = self._data, self._start, self._width
        low, high = self._fan[digest[0]], self._fan[digest[0] + 1]
        row = bisect_left(
            range(high),
            digest,
            low,
            high,
            key=lambda row: data[start + row * width : start + row * width + 32],
        )
        at = start + row * width
        return at if row < high and data[at : at + 32] == digest else 0


def _is_lone(row: ChunkRow, blob: ObjectRow) -> bool:
    """Whether a blob is this chunk and nothing else, and the chunk needs no other."""
    return row.codec != codecs.DELTA and (blob.kind, blob.size) == (BLOB, row.plain)


def _fan_out(digests: list[bytes]) -> bytes:
    """For each first byte, how many of the sorted digests begin with it or a lower one."""
    ends = [bisect_left(digests, bytes([byte])) for byte in range(1, 256)]
    return FAN_OUT.pack(*ends, len(digests))
