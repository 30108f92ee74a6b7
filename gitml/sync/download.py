"""Bytes from a remote: what is asked for, verified before anybody sees it in the store.

A pack comes whole where most of it is wanted, else the entries that are, out of its parts. It grows
as a file in ``tmp/`` that has the pack's own offsets, and a list of the parts that are there; so
the same command again goes on where a kill stopped it. What comes out is published as a pack of the
store: the very pack, or one of the entries that came.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes, StorageError
from gitml.fs import flush_to_disk, storage_errors
from gitml.remotes.base import PART
from gitml.store import parts
from gitml.store.digest import hash_bytes, hash_file
from gitml.store.layout import Layout, discard, listed
from gitml.store.lookup import doubtful_chunks
from gitml.store.pack import Pack, Span
from gitml.store.packformat import BLOB, ENTRY_HEADER
from gitml.store.packindex import ObjectRow, PackIndex
from gitml.store.reader import fault_of
from gitml.store.repack import extract
from gitml.store.store import Store
from gitml.sync.catalogue import Catalogue, Part, Sheet

_SMALL = 1 << 20
"""Bytes up to which a pack is taken whole: another request costs as much."""
_MOSTLY = 0.5
_GAP = 64 << 10
_FIRST_LOOK = 4 << 10
_MUCH = 4
"""Parts of a file from which on the disk begins before all of them are here."""

Moved = Callable[[int, int], None]
"""Hears of bytes: how many have just come, and how many there will be in all as far as known."""


class Incoming:
    """A pack or file that is on its way: a file of its full length, and which parts it has.

    One process at a time works on it; the next one finds what is there.
    """

    def __init__(self, layout: Layout, name: str, sheet: Sheet, catalogue: Catalogue) -> None:
        layout.prepare()
        self.sheet = sheet
        self._catalogue = catalogue
        self.path = layout.root / "tmp" / f"{name}.incoming"
        self._list = layout.root / "tmp" / f"{name}.arrived"
        with storage_errors(self.path):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.ftruncate(self._descriptor, sheet.length)
            self._marks = os.open(self._list, flags, 0o644)
            os.ftruncate(self._marks, len(sheet.parts))
        self._ranges: list[tuple[int, int]] = []
        self._guard = Lock()
        self._flusher = ThreadPoolExecutor(1, "gitml-flush")
        self._ahead: list[Future[None]] = []

    @property
    def is_whole(self) -> bool:
        """Whether every part has arrived."""
        return os.pread(self._marks, len(self.sheet.parts), 0).count(1) == len(self.sheet.parts)

    def lacks(self, start: int, end: int) -> bool:
        """Whether a range has not arrived."""
        if any(low <= start and end <= high for low, high in self._ranges):
            return False
        first, last = start // PART, max(start, end - 1) // PART
        return os.pread(self._marks, last - first + 1, first).count(1) != last - first + 1

    def take_part(self, part: Part) -> int:
        """Bring a part, believed once its digest agrees; its bytes, 0 where it is here."""
        number = part.start // PART
        if os.pread(self._marks, 1, number) == b"\1":
            return 0
        data = self._catalogue.remote.get_range(part.key, 0, part.length)
        if hash_bytes(data) != part.digest:
            raise _wrong(part.key, self._catalogue)
        self._write(data, part.start)
        with storage_errors(self._list):
            os.pwrite(self._marks, b"\1", number)
        with self._guard:
            if len(self.sheet.parts) > _MUCH and all(one.done() for one in self._ahead):
                self._wait_ahead()
                self.write_ahead()
        return part.length

    def write_ahead(self) -> None:
        """Have the disk take what is here, behind the caller: `finish` has less to wait for."""
        flush = getattr(os, "fdatasync", os.fsync)
        self._ahead.append(self._flusher.submit(flush, self._descriptor))

    def _wait_ahead(self) -> None:
        """Wait for what the disk has begun; raises StorageError where it could not."""
        while self._ahead:
            self._flushed(self._ahead.pop().result)

    def _flushed(self, flush: Callable[[], None]) -> None:
        """Flush, or forget what has arrived: what the disk did not take may still read right."""
        try:
            with storage_errors(self.path):
                flush()
        except StorageError:
            self.throw_away()
            raise

    def take_range(self, start: int, end: int) -> int:
        """Bring a range, whose bytes are verified by who reads them."""
        for part in self.sheet.parts[start // PART : (end - 1) // PART + 1]:
            low = max(start, part.start)
            high = min(end, part.start + part.length)
            data = self._catalogue.remote.get_range(part.key, low - part.start, high - low)
            self._write(data, low)
        self._ranges.append((start, end))
        return end - start

    def _write(self, data: bytes, at: int) -> None:
        with storage_errors(self.path), memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._descriptor, view[done:], at + done)

    def finish(self, suffix: str, layout: Layout) -> Path:
        """The whole file, durable, under a name of this process in ``tmp/``."""
        self._wait_ahead()
        with storage_errors(self.path):
            os.fchmod(self._descriptor, 0o444)
        self._flushed(lambda: flush_to_disk(self._descriptor))
        discard(self._list)
        return layout.rename_temporary(self.path, suffix)

    def throw_away(self) -> None:
        """Forget what has arrived: it is not needed any more, or it is not what it should be."""
        discard(self._list)
        discard(self.path)

    def close(self) -> None:
        """Let another process go on."""
        self._flusher.shutdown()
        os.close(self._descriptor)
        os.close(self._marks)


def forget_arrivals(layout: Layout) -> None:
    """Remove what is left of packs on their way that nobody brings: for who has all it wants."""
    for path in listed(layout.root / "tmp"):
        with suppress(OSError):
            if path.suffix == ".arrived" and not path.with_suffix(".incoming").exists():
                path.unlink()
            elif path.suffix == ".incoming":
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    discard(path.with_suffix(".arrived"))
                    discard(path)
                finally:
                    os.close(descriptor)


@dataclass
class _Arrival:
    """A pack on its way, and what is wanted of it: raw digests."""

    name: str
    incoming: Incoming
    index: PackIndex
    pack: Pack
    objects: set[bytes] = field(default_factory=set)
    chunks: set[bytes] = field(default_factory=set)
    is_whole: bool = False


@dataclass
class Downloader:
    """Brings objects from a remote into a store."""

    store: Store
    catalogue: Catalogue
    moved: Moved = lambda done, whole: None
    _whole: int = 0

    def bring(self, digests: Collection[Digest]) -> set[Digest]:
        """Bring objects that the store lacks; those that the remote has not.

        Of a tree only the list of its files comes; they are objects themselves, to be asked for
        when it is here. Raises CorruptData where the remote's bytes are not what they should be:
        nothing of it is in the store then.
        """
        wanted = set(digests)
        if not wanted:
            return set()
        self.catalogue.check_format()
        homes, files, absent = self._locate(wanted)
        with ExitStack() as stack:
            arrivals = {}
            for name, objects in sorted(homes.items()):
                arrivals[name] = self._arrival(name, stack)
                arrivals[name].objects |= objects
            self._fill(arrivals, stack)
            self._verify(arrivals)
            for one in arrivals.values():
                self._publish(one)
        for digest in files:
            self._bring_file(digest)
        self.store.forget_listing()
        return absent

    def _locate(
        self, wanted: Collection[Digest]
    ) -> tuple[dict[str, set[bytes]], list[Digest], set[Digest]]:
        """The objects of each pack, the files that are no pack's, and what is nowhere."""
        left = {one.raw: one for one in wanted}
        homes: dict[str, set[bytes]] = {}
        self._find(left, homes)
        found = self.catalogue.whereabouts(sorted(left.values()))
        names = {name for one in found.values() for name in one.packs}
        self.catalogue.sheets(sorted(names))
        self._find(left, homes)
        loose = {file for one in found.values() for file in one.files}
        files = [one for one in sorted(left.values()) if one in loose or self._is_file(one)]
        return homes, files, set(left.values()).difference(files)

    def _find(self, left: dict[bytes, Digest], homes: dict[str, set[bytes]]) -> None:
        """Move what is in the packs that are known of from what is ``left`` into ``homes``."""
        for name, (_, index) in self.catalogue.known_sheets().items():
            if not left:
                return
            for raw, _ in index.find_objects(left):
                homes.setdefault(name, set()).add(raw)
                del left[raw]

    def _is_file(self, digest: Digest) -> bool:
        """Whether a member of a tree is a file by itself."""
        with suppress(MissingBytes):
            self.catalogue.file(digest)
            return True
        return False

    def _arrival(self, name: str, stack: ExitStack) -> _Arrival:
        sheet, index = self.catalogue.sheet(name)
        incoming = Incoming(self.store.layout, name, sheet, self.catalogue)
        stack.callback(incoming.close)
        return _Arrival(name, incoming, index, Pack(incoming.path, index))

    # Bytes into the files

    def _fill(self, arrivals: dict[str, _Arrival], stack: ExitStack) -> None:
        """Bring the entries of the objects, then their chunks, then the bases of those."""
        for one in arrivals.values():
            needed = sum(row.stored for _, row in one.index.find_objects(one.objects))
            length = one.incoming.sheet.length
            one.is_whole = length <= _SMALL or needed >= _MOSTLY * length
            self._whole += length if one.is_whole else needed
        whole = [one for one in arrivals.values() if one.is_whole]
        self._take_parts((one.incoming, part) for one in whole for part in one.incoming.sheet.parts)
        for one in whole:
            if one.incoming.sheet.length > _SMALL:
                one.incoming.write_ahead()  # while what came is verified
        for name in list(arrivals):
            self._take_entries(arrivals[name])
        todo = [(chunk, one) for one in arrivals.values() for chunk in self._chunks_of(one)]
        seen: set[bytes] = set()
        while todo:
            fresh: list[tuple[bytes, _Arrival]] = []
            for chunk, first in todo:
                if chunk not in seen:
                    seen.add(chunk)
                    place = self._home_of(chunk, first, arrivals, stack)
                    if place is not None:
                        place.chunks.add(chunk)
                        fresh.append((chunk, place))
            self._take_chunks(fresh)
            todo = [
                (base, place)
                for chunk, place in fresh
                if place.pack.has_bases() and (base := place.pack.base_of(chunk)) is not None
            ]

    def _take_parts(self, items: Iterable[tuple[Incoming, Part]]) -> None:
        def take(item: tuple[Incoming, Part]) -> None:
            incoming, part = item
            self.moved(incoming.take_part(part), self._whole)

        for _ in self.catalogue.at_once(take, items):
            pass

    def _take_entries(self, one: _Arrival) -> None:
        """The entries that say which chunks an object has, where that does not go without."""
        if one.is_whole:
            return
        length = one.incoming.sheet.length
        rows = {raw: row for raw in one.objects if (row := one.index.find_object(raw))}
        many = [row for raw, row in rows.items() if one.index.find_chunk(raw) is None]
        self._take(one, [(row.offset, min(row.offset + _FIRST_LOOK, length)) for row in many])
        ends = [(row, self._end_of(one, row)) for row in rows.values()]
        self._take(one, [(row.offset, end) for row, end in ends])

    def _end_of(self, one: _Arrival, row: ObjectRow) -> int:
        """Where the entry of an object ends; one that is not here yet is as short as can be."""
        shortest = row.offset + ENTRY_HEADER + 56
        if one.incoming.lacks(row.offset, row.offset + ENTRY_HEADER):
            return min(shortest, one.incoming.sheet.length)
        end = one.pack.entry_end(row.offset)
        return min(end or shortest, one.incoming.sheet.length)

    def _chunks_of(self, one: _Arrival) -> Iterator[bytes]:
        if one.is_whole:
            one.chunks.update(one.index.chunk_names())
            one.objects.update(one.index.object_names())
        for raw in one.objects - one.chunks:
            row = one.index.find_object(raw)
            if row is not None:
                yield from parts.names(one.pack, raw, row)
        if one.is_whole and one.pack.has_bases():
            yield from one.pack.bases() - one.chunks

    def _home_of(
        self, chunk: bytes, first: _Arrival, arrivals: dict[str, _Arrival], stack: ExitStack
    ) -> _Arrival | None:
        """The pack on its way that has a chunk, begun if need be; None where the store has it."""
        if first.index.find_chunk(chunk):
            return first
        for one in arrivals.values():
            if one.index.find_chunk(chunk):
                return one
        if self.store.proven_chunks([chunk]):
            return None
        for name, (_, index) in list(self.catalogue.known_sheets().items()):
            if index.find_chunk(chunk):
                arrivals[name] = self._arrival(name, stack)
                return arrivals[name]
        raise CorruptData(
            f"{self.catalogue.remote.url} lacks a part of what it has: blake3:{chunk.hex()}"
        )

    def _take_chunks(self, items: Sequence[tuple[bytes, _Arrival]]) -> None:
        by_place: dict[str, tuple[_Arrival, list[tuple[int, int]]]] = {}
        for chunk, place in items:
            row = place.index.find_chunk(chunk)
            if row is not None and not place.is_whole:
                spans = by_place.setdefault(place.name, (place, []))[1]
                spans.append((row.offset, row.offset + ENTRY_HEADER + row.stored))
        for place, spans in by_place.values():
            self._take(place, spans)

    def _take(self, one: _Arrival, spans: Iterable[tuple[int, int]]) -> None:
        """Bring ranges, those that are close to each other in one go."""
        wanted = [span for span in _joined(spans) if one.incoming.lacks(*span)]

        def take(span: tuple[int, int]) -> None:
            self.moved(one.incoming.take_range(*span), self._whole)

        for _ in self.catalogue.at_once(take, wanted):
            pass

    # What they are

    def _verify(self, arrivals: dict[str, _Arrival]) -> None:
        """Raise CorruptData, and throw away what arrived, unless all of it has its digests."""
        packs = [one.pack for one in arrivals.values()]
        everywhere = lambda: [*packs, *self.store.packs()]  # noqa: E731
        for one in arrivals.values():
            try:
                self._verify_one(one, everywhere)
            except (CorruptData, OSError) as error:
                one.incoming.throw_away()
                raise CorruptData(
                    f"packs/{one.name} on {self.catalogue.remote.url} has wrong bytes; "
                    "nothing of it was kept",
                    hint="the same command again gets it anew, once it is right there",
                ) from error

    def _verify_one(self, one: _Arrival, everywhere: Callable[[], list[Pack]]) -> None:
        rows = dict(one.index.find_chunks(one.chunks))
        with parts.ChunkSource(one.pack, everywhere) as source:
            for raw in [*doubtful_chunks(one.pack, rows.items()), *(one.chunks - rows.keys())]:
                if raw not in rows or not source.holds(one.pack, raw, rows[raw]):
                    raise CorruptData(f"blake3:{raw.hex()} is not what its name says")
        for raw, found in one.index.find_objects(one.objects):
            if found.kind == BLOB and raw in one.chunks:
                continue  # a blob that is one chunk, which has been read
            copy = self.store.pack_copy(one.pack, Digest.from_bytes(raw), found, everywhere)
            fault = fault_of(copy, self.store.known_trees)
            if fault is not None:
                raise CorruptData(f"blake3:{raw.hex()}: {fault}")

    def _publish(self, one: _Arrival) -> None:
        """Let the store have it: the pack itself, or one made of what came of it."""
        layout = self.store.layout
        if one.is_whole or one.incoming.is_whole:
            path = one.incoming.finish(".pack", layout)
            layout.publish_pack(path, one.incoming.sheet.index)
        else:
            path, index = extract(layout, one.pack, self._spans(one))
            layout.publish_pack(path, index)
        one.incoming.throw_away()

    def _spans(self, one: _Arrival) -> list[Span]:
        spans = []
        for raw in one.chunks:
            if row := one.index.find_chunk(raw):
                end = row.offset + ENTRY_HEADER + row.stored
                spans.append(Span(row.offset, end, raw, is_chunk=True))
        for raw in one.objects:
            if found := one.index.find_object(raw):
                end = self._end_of(one, found)
                spans.append(Span(found.offset, end, raw, is_chunk=False))
        return sorted(spans)

    def _bring_file(self, digest: Digest) -> None:
        """Bring a large blob that is no pack's."""
        layout = self.store.layout
        sheet = self.catalogue.file(digest)
        self._whole += sheet.length
        with _closing(Incoming(layout, digest.hex, sheet, self.catalogue)) as incoming:
            self._take_parts((incoming, part) for part in sheet.parts)
            if hash_file(incoming.path) != digest:
                incoming.throw_away()
                raise _wrong(f"files/{digest.hex[:2]}/{digest.hex[2:]}", self.catalogue)
            layout.publish_loose(incoming.finish(f"+{digest.hex}.loose", layout), digest)
            incoming.throw_away()


@contextmanager
def _closing(incoming: Incoming) -> Iterator[Incoming]:
    try:
        yield incoming
    finally:
        incoming.close()


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those with a small gap between them as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + _GAP:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _wrong(key: str, catalogue: Catalogue) -> CorruptData:
    return CorruptData(
        f"{key} on {catalogue.remote.url} has wrong bytes; nothing of it was kept",
        hint="the same command again gets it anew, once it is right there",
    )
