"""Packs: written, read and walked through (docs/format.md).

A pack is a header and entries, each of which says all about itself, so that its index can be made
again from the pack alone and a half-written pack is good up to its last whole entry. Nothing here
verifies the digest of a blob: that is the last step of `reader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gitml.errors import CorruptData, StorageError
from gitml.fs import flush_to_disk, storage_errors, write_fully
from gitml.store import codec as codecs
from gitml.store.digest import PIECE, new_hasher
from gitml.store.packformat import (
    BLOB,
    CHECK,
    CHUNK,
    ENTRY,
    ENTRY_HEADER,
    MARK,
    NO_BASE,
    OBJECT,
    PACK_HEADER,
    PACK_MAGIC,
    PART,
    TREE,
    VERSION,
    WHOLE,
)
from gitml.store.packindex import ChunkRow, ObjectRow, PackIndex, Tables

_BUFFER = 1024 * 1024
_SHORT = 64 * 1024
_MUCH = 16 * _BUFFER
_READ_AT_ONCE = _BUFFER
"""Bytes behind which a read of neighbouring chunks ends with the next one."""
_FULL_BYTES = 8 * 1024**3
_FULL_OBJECTS = 200_000
NO_INDEX = "the index is missing"
MAX_PARTS = 1 << 24
"""Parts of one object: 16 TiB in chunks of 1 MiB; an object's list is held in memory."""


class Span(NamedTuple):
    """Where an entry begins and ends in its pack, and what it is."""

    start: int
    end: int
    digest: bytes
    is_chunk: bool


class Pack:
    """One pack to read from; its tables are read at the first look-up.

    If its index is missing, damaged or of another version, the tables come from a walk through
    the pack itself: slower, and just as right, because what is read is verified anyway.
    """

    def __init__(self, path: Path, tables: Tables | PackIndex | None = None) -> None:
        """``tables`` are given for a pack that has no index beside it yet."""
        self.path = path
        self._tables: Tables | PackIndex | None = tables
        self._length: int | None = None
        self._has_bases: bool | None = None
        self.index_fault: str | None = None

    @property
    def tables(self) -> Tables | PackIndex:
        """The tables; raises StorageError where the pack cannot be read.

        They are empty if the pack is gone, for another process may remove one at any time.
        """
        if self._tables is None:
            try:
                with self.opened() as descriptor:
                    self._length = os.fstat(descriptor).st_size
                    self._tables = self._read_index() or _tables_of(descriptor, self.path)
            except FileNotFoundError:
                self._tables = Tables()
            except OSError as error:
                raise StorageError(f"cannot read {self.path}") from error
        return self._tables

    def _read_index(self) -> PackIndex | None:
        """The index beside the pack, or None with ``index_fault`` set."""
        path = self.path.with_suffix(".idx")
        try:
            return PackIndex.open(path)
        except FileNotFoundError:
            self.index_fault = NO_INDEX
        except (CorruptData, OSError) as error:
            self.index_fault = f"the index is damaged: {error}"
        return None

    def find_chunk(self, digest: bytes) -> ChunkRow | None:
        """The row of a chunk whose entry ends within the file, or None."""
        row = self.tables.find_chunk(digest)
        return row if row and self._holds(row.offset + row.stored) else None

    def chunk_finder(self, expected: int) -> Callable[[bytes], ChunkRow | None]:
        """What finds the row of a chunk, made for ``expected`` questions.

        In a truncated pack it also finds chunks whose bytes are not there any more.
        """
        return self.tables.chunk_finder(expected)

    def find_object(self, digest: bytes) -> ObjectRow | None:
        """The row of an object whose entry begins within the file, or None.

        Its chunks stand before it, so in a truncated pack this is enough to know.
        """
        row = self.tables.find_object(digest)
        return row if row and self._holds(row.offset) else None

    def objects_among(self, digests: Collection[bytes]) -> list[bytes]:
        """Those of the digests for which `find_object` finds one: many in one walk."""
        found = self.tables.find_objects(digests)
        return [digest for digest, row in found if self._holds(row.offset)]

    def lone_chunks(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of the sorted digests that are blobs here of one chunk, which needs no other pack.

        Of thousands each costs a comparison.
        """
        return {
            digest for digest, row in self.tables.lone_chunks(digests) if self._holds(row.offset)
        }

    def _holds(self, end: int) -> bool:
        return self._length is None or end + ENTRY_HEADER <= self._length

    def parts(self, digest: bytes, row: ObjectRow) -> list[tuple[bytes, int]]:
        """The chunks that an object is made of: digests and plain lengths.

        Raises CorruptData unless the object's entry is whole; OSError passes through.
        """
        with self.opened() as descriptor:
            return self.read_parts(descriptor, digest, row)

    def spans(self, *, gaps: bool = False) -> list[Span]:
        """Every entry that the tables name, in the order of the file.

        Unless ``gaps`` are allowed, raises CorruptData where these are not the whole file: it holds
        damage, an entry twice, or one of a type that a later version wrote. OSError passes through.
        """
        found = [
            Span(row.offset, row.offset + ENTRY_HEADER + row.stored, raw, is_chunk=True)
            for raw, row in self.tables.chunks()
        ]
        with self.opened() as descriptor:
            length = os.fstat(descriptor).st_size
            for raw, one in self.tables.objects():
                entry = _read_entry(descriptor, one.offset)
                if entry is not None and (entry.kind, entry.digest) == (one.kind, raw):
                    found.append(Span(one.offset, entry.end, raw, is_chunk=False))
        found.sort()
        ends = [PACK_HEADER.size, *(span.end for span in found)]
        if not gaps and [*(span.start for span in found), length] != ends:
            raise CorruptData(f"{self.path} is not what its index says", hint="`gitml fsck`")
        return found

    def entry_end(self, offset: int) -> int | None:
        """Where the entry at an offset ends, None where there is none; raises OSError."""
        with self.opened() as descriptor:
            entry = _read_entry(descriptor, offset)
        return entry.end if entry is not None else None

    def has_bases(self) -> bool:
        """Whether any chunk is stored against another one; an index is read for it once."""
        if self._has_bases is None or isinstance(self.tables, Tables):
            self._has_bases = self.tables.has_codec(codecs.DELTA)
        return self._has_bases

    def holds_whole(self, digest: bytes) -> bool:
        """Whether the entry of a chunk is here and as it was written."""
        row = self.find_chunk(digest)
        if row is None:
            return False
        try:
            with self.opened() as descriptor:
                entry = _read_entry(descriptor, row.offset)
                length = os.fstat(descriptor).st_size
                return entry is not None and _is_whole(descriptor, entry, length)
        except OSError:
            return False

    def bases(self) -> set[bytes]:
        """Every chunk, of any pack, against which one of this pack is stored; raises OSError."""
        rows = [row for _, row in self.tables.chunks() if row.codec == codecs.DELTA]
        if not rows:
            return set()
        with self.opened() as descriptor:
            entries = [_read_entry(descriptor, row.offset) for row in rows]
        return {entry.base for entry in entries if entry is not None}

    def base_of(self, digest: bytes) -> bytes | None:
        """The chunk against which one of this pack is stored, if any; raises OSError."""
        row = self.find_chunk(digest)
        if row is None or row.codec != codecs.DELTA:
            return None
        with self.opened() as descriptor:
            entry = _read_entry(descriptor, row.offset)
        return entry.base if entry is not None and entry.base != NO_BASE else None

    def read_parts(self, descriptor: int, digest: bytes, row: ObjectRow) -> list[tuple[bytes, int]]:
        """`parts`, from the descriptor that `opened` gives."""
        entry = _read_entry(descriptor, row.offset)
        if entry is None or (entry.kind, entry.digest) != (row.kind, digest):
            raise CorruptData(f"no such object at byte {row.offset}")
        payload, parts = _read_object(descriptor, entry)
        if OBJECT.unpack_from(payload) != (row.size, row.entries):
            raise CorruptData(f"the object at byte {row.offset} is not as the index says")
        return parts

    def stream_chunk(self, descriptor: int, digest: bytes, row: ChunkRow) -> Iterator[bytes]:
        """The plain bytes of a chunk of any length, unverified but of the declared length.

        Not for a DELTA. Raises CorruptData; OSError passes through.
        """
        self._chunk_entry(os.pread(descriptor, ENTRY_HEADER, row.offset), digest, row)
        start = row.offset + ENTRY_HEADER
        yield from codecs.decode(row.codec, descriptor, start, row.stored, row.plain)

    def read_chunk(self, descriptor: int, digest: bytes, row: ChunkRow) -> StoredChunk:
        """All stored bytes of a chunk, unverified, in one read: mind their length before.

        Raises CorruptData unless it is the chunk that the index means; OSError passes through.
        """
        data = os.pread(descriptor, ENTRY_HEADER + row.stored, row.offset)
        return self._stored_chunk(memoryview(data), digest, row)

    def read_chunks(
        self, descriptor: int, rows: Iterable[tuple[bytes, ChunkRow]]
    ) -> Iterator[tuple[bytes, ChunkRow, StoredChunk]]:
        """All stored bytes of several chunks, unverified, neighbours in one read.

        What is not as the index means is left out; OSError passes through.
        """
        for run in neighbours(rows):
            start = run[0][1].offset
            _, last = run[-1]
            data = os.pread(descriptor, last.offset + last.stored + ENTRY_HEADER - start, start)
            for digest, row in run:
                at = row.offset - start
                with suppress(CorruptData):
                    yield digest, row, self._stored_chunk(memoryview(data)[at:], digest, row)

    def _stored_chunk(self, data: memoryview, digest: bytes, row: ChunkRow) -> StoredChunk:
        """The chunk whose entry begins these bytes, if it is as the index says."""
        entry = self._chunk_entry(bytes(data[:ENTRY_HEADER]), digest, row)
        stored = data[ENTRY_HEADER : ENTRY_HEADER + row.stored]
        if len(stored) != row.stored:
            raise CorruptData(f"the pack ends within the chunk at byte {row.offset}")
        return StoredChunk(stored, entry.base, entry.header, entry.check)

    def _chunk_entry(self, data: bytes, digest: bytes, row: ChunkRow) -> _Entry:
        """The header of a chunk's entry, if it is as the index says."""
        entry = _entry_of(data, row.offset)
        expected = (CHUNK, row.codec, row.stored, row.plain, digest)
        if entry is None or entry[1:6] != expected:
            raise CorruptData(f"no such chunk at byte {row.offset}")
        return entry

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The pack's descriptor for the block; raises OSError."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class StoredChunk(NamedTuple):
    """A chunk as it lies in a pack; ``base`` is zero where its codec has none."""

    stored: memoryview
    base: bytes
    header: bytes
    check: bytes

    def is_whole(self) -> bool:
        """Whether these are still the bytes that somebody wrote, by the check of the entry."""
        return _check(self.stored, self.header) == self.check


class PreparedChunk(NamedTuple):
    """A chunk that waits to be added to a pack: lengths in bytes, ``header`` with its check."""

    digest: bytes
    plain: int
    codec: int
    header: bytes
    stored: bytes | memoryview

    @classmethod
    def of(
        cls,
        digest: bytes,
        plain: int,
        codec: int,
        stored: bytes | memoryview,
        base: bytes = NO_BASE,
    ) -> PreparedChunk:
        """The chunk in its stored form; ``base`` is the digest of what a DELTA is against."""
        header = _header(CHUNK, digest, plain, codec, stored, base)
        return cls(digest, plain, codec, header, stored)


class PackBuilder:
    """A pack being written to a temporary file, readable meanwhile through ``pack``.

    Entries gather in memory up to a megabyte. After an error while writing, the file's end is not
    known any more and the builder refuses to finish: it can only be thrown away.
    """

    def __init__(self, path: Path) -> None:
        """Create the file exclusively; raises StorageError."""
        self._tables = Tables()
        self.pack = Pack(path, self._tables)
        self._buffer = bytearray(PACK_HEADER.pack(PACK_MAGIC, VERSION, 0))
        self._written = 0
        self._is_broken = False
        with storage_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)

    def add_chunk(self, digest: bytes, plain: int, codec: int, stored: bytes | memoryview) -> None:
        """Add a chunk of ``plain`` bytes in its stored form, unless it is there already."""
        self.add_prepared(PreparedChunk.of(digest, plain, codec, stored))

    def add_prepared(self, chunk: PreparedChunk) -> None:
        """Add a chunk whose entry is made already, unless it is there already."""
        if not self._tables.find_chunk(chunk.digest):
            offset = self._append(chunk.header, chunk.stored)
            row = ChunkRow(offset, len(chunk.stored), chunk.plain, chunk.codec)
            self._tables.add_chunk(chunk.digest, row)

    @property
    def is_full(self) -> bool:
        """Whether the pack is so large that the next object should begin another."""
        return self._written >= _FULL_BYTES or self._tables.count_objects() >= _FULL_OBJECTS

    def has_object(self, digest: bytes) -> bool:
        """Whether the pack has an object already."""
        return self._tables.has_object(digest)

    def add_blob(self, digest: bytes, plain: int, codec: int, stored: bytes | memoryview) -> None:
        """Add a blob that is one chunk, or none if it is empty, unless it is there already.

        The same bytes as by `add_chunk` and `add_object`, in a third of the time: folders have
        thousands of small files.
        """
        if not plain or self._tables.find_chunk(digest):
            self.add_object(digest, BLOB, plain, 0, [(digest, plain)] if plain else [])
            return
        header = ENTRY.pack(MARK, CHUNK, codec, 0, len(stored), plain, digest, NO_BASE)
        payload = WHOLE.pack(plain, 0, digest, plain)
        second = ENTRY.pack(MARK, BLOB, codecs.RAW, 0, WHOLE.size, plain, digest, NO_BASE)
        buffer = self._buffer
        offset = self._written + len(buffer)
        buffer += header
        buffer += _check(stored, header)
        buffer += stored
        buffer += second
        buffer += _check(payload, second)
        buffer += payload
        self._tables.add_blob(digest, ChunkRow(offset, len(stored), plain, codec))
        if len(buffer) >= _BUFFER:
            self.write_out()

    def add_object(
        self, digest: bytes, kind: int, size: int, entries: int, parts: list[tuple[bytes, int]]
    ) -> None:
        """Add an object made of ``parts``, each a chunk's digest and plain length."""
        payload = OBJECT.pack(size, entries) + b"".join(PART.pack(*part) for part in parts)
        plain = sum(length for _, length in parts)
        offset = self._append(_header(kind, digest, plain, codecs.RAW, payload), payload)
        self._tables.add_object(digest, kind, offset, payload, parts)

    def write_out(self) -> None:
        """Hand every entry so far to the system: they survive a kill of this process."""
        with self._writing():
            write_fully(self._descriptor, self._buffer)
        self._written += len(self._buffer)
        self._buffer.clear()

    def write_ahead(self) -> None:
        """Have the disk take what there is, if it is so much that `finish` would have to wait."""
        if self._written >= _MUCH:
            with self._writing():
                getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def finish(self) -> bytes:
        """Make the pack durable and give the bytes of its index; raises StorageError."""
        self.write_out()
        with self._writing():
            os.fchmod(self._descriptor, 0o444 & os.fstat(self._descriptor).st_mode)
            flush_to_disk(self._descriptor)
        self.close()
        return self._tables.encode(self._written)

    def close(self) -> None:
        """Give the descriptor back; the file stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, header: bytes, stored: bytes | memoryview) -> int:
        """Add one entry and give its offset."""
        offset = self._written + len(self._buffer)
        self._buffer += header
        self._buffer += stored
        if len(self._buffer) >= _BUFFER:
            self.write_out()
        return offset

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Refuse a broken builder, and break it when writing fails."""
        if self._is_broken:
            raise StorageError(f"cannot go on with {self.pack.path} after an error")
        try:
            with storage_errors(self.pack.path):
                yield
        except StorageError:
            self._is_broken = True
            raise


class _Entry(NamedTuple):
    """The header of an entry, and where the entry is."""

    offset: int
    kind: int
    codec: int
    stored: int
    plain: int
    digest: bytes
    base: bytes
    check: bytes
    header: bytes

    @property
    def end(self) -> int:
        """The offset just behind the entry."""
        return self.offset + ENTRY_HEADER + self.stored


def walk(descriptor: int, *, resync: bool) -> tuple[Tables, int]:
    """The tables of all whole entries of a pack, and where the last of them ends.

    Without ``resync`` the walk stops at the first damage, which is what a half-written pack
    needs; with it, the walk goes on at the next entry that is whole.
    """
    length = os.fstat(descriptor).st_size
    tables = Tables()
    offset = end = PACK_HEADER.size
    while offset < length:
        entry = _read_entry(descriptor, offset)
        if entry is None or not _is_whole(descriptor, entry, length):
            if not resync:
                break
            offset = _next_mark(descriptor, offset + 1, length)
            continue
        if entry.kind == CHUNK:
            row = ChunkRow(offset, entry.stored, entry.plain, entry.codec)
            tables.add_chunk(entry.digest, row)
        elif entry.kind in (BLOB, TREE):
            with suppress(CorruptData):
                listed = _read_object(descriptor, entry)
                tables.add_object(entry.digest, entry.kind, offset, *listed)
        offset = end = entry.end
    return tables, end


def has_header(descriptor: int) -> bool:
    """Whether the file begins as a pack of the version that we write."""
    return os.pread(descriptor, PACK_HEADER.size, 0) == header_bytes()


def header_bytes() -> bytes:
    """What a pack of the version that we write begins with."""
    return PACK_HEADER.pack(PACK_MAGIC, VERSION, 0)


def _tables_of(descriptor: int, path: Path) -> Tables:
    """The tables of a pack without a good index; raises StorageError for a later version.

    A pack with a good index is of our version whatever its header says: a flipped bit there
    must not shut the whole store.
    """
    header = os.pread(descriptor, PACK_HEADER.size, 0)
    if len(header) == PACK_HEADER.size:
        magic, version, _ = PACK_HEADER.unpack(header)
        if magic == PACK_MAGIC and version > VERSION:
            raise StorageError(
                f"{path} is a pack of version {version}, which this gitml cannot read",
                hint="a later version wrote it: `pip install --upgrade gitml`",
            )
    return walk(descriptor, resync=True)[0]


def _read_entry(descriptor: int, offset: int) -> _Entry | None:
    """The entry header at ``offset``, or None if there is none."""
    return _entry_of(os.pread(descriptor, ENTRY_HEADER, offset), offset)


def _entry_of(data: bytes, offset: int) -> _Entry | None:
    """The entry header that these bytes are, or None if they are none."""
    if len(data) != ENTRY_HEADER or not data.startswith(MARK):
        return None
    _, kind, codec, _, stored, plain, digest, base = ENTRY.unpack_from(data)
    header, check = data[: ENTRY.size], data[ENTRY.size :]
    return _Entry(offset, kind, codec, stored, plain, digest, base, check, header)


def _is_whole(descriptor: int, entry: _Entry, length: int) -> bool:
    """Whether the entry ends within the file and its check agrees."""
    if entry.end > length:
        return False
    hasher = new_hasher()
    position = entry.offset + ENTRY_HEADER
    while position < entry.end:
        piece = os.pread(descriptor, min(PIECE, entry.end - position), position)
        if not piece:
            return False
        hasher.update(piece)
        position += len(piece)
    hasher.update(entry.header)
    return hasher.digest(CHECK) == entry.check


def _next_mark(descriptor: int, offset: int, length: int) -> int:
    """Where the next mark of an entry stands at or behind ``offset``; ``length`` if nowhere."""
    while offset < length:
        window = os.pread(descriptor, _BUFFER, offset)
        found = window.find(MARK)
        if found >= 0:
            return offset + found
        if len(window) < len(MARK):
            break
        offset += len(window) - len(MARK) + 1
    return length


def _read_object(descriptor: int, entry: _Entry) -> tuple[bytes, list[tuple[bytes, int]]]:
    """The payload of an object's entry and its parts; raises CorruptData unless it is whole."""
    where = f"the object at byte {entry.offset}"
    count, rest = divmod(entry.stored - OBJECT.size, PART.size)
    if rest or not 0 <= count <= MAX_PARTS:
        raise CorruptData(f"{where} has no list of parts")
    payload = os.pread(descriptor, entry.stored, entry.offset + ENTRY_HEADER)
    if _check(payload, entry.header) != entry.check:
        raise CorruptData(f"{where} is damaged")
    parts = list(PART.iter_unpack(payload[OBJECT.size :]))
    if sum(length for _, length in parts) != entry.plain:
        raise CorruptData(f"{where} has parts that do not add up")
    return payload, parts


def _header(
    kind: int,
    digest: bytes,
    plain: int,
    codec: int,
    stored: bytes | memoryview,
    base: bytes = NO_BASE,
) -> bytes:
    """The header of an entry, with the check over it and the stored bytes."""
    header = ENTRY.pack(MARK, kind, codec, 0, len(stored), plain, digest, base)
    return header + _check(stored, header)


def _check(stored: bytes | memoryview, header: bytes) -> bytes:
    """The check of an entry, all of whose stored bytes are here."""
    from blake3 import blake3

    if len(stored) < _SHORT:
        return blake3(b"".join((stored, header))).digest(CHECK)
    hasher = new_hasher()
    hasher.update(stored)
    hasher.update(header)
    return hasher.digest(CHECK)


def neighbours(
    rows: Iterable[tuple[bytes, ChunkRow]],
) -> Iterator[list[tuple[bytes, ChunkRow]]]:
    """Chunks of one pack by their places, in runs that are worth one read each."""
    run: list[tuple[bytes, ChunkRow]] = []
    for one in sorted(rows, key=lambda one: one[1].offset):
        if run:
            _, before = run[-1]
            is_near = one[1].offset - before.offset - before.stored < 2 * ENTRY_HEADER
            if not is_near or one[1].offset - run[0][1].offset >= _READ_AT_ONCE:
                yield run
                run = []
        run.append(one)
    if run:
        yield run
