"""Large content as chunks: cut, hashed and encoded by several threads in constant memory.

One thread reads and cuts, one hashes the whole, both of which must go in order; one names the
chunks and looks which are held; more of them encode those that are not, which is most of the work
of new content; and one waits for the disk. Nearly all of it happens outside the interpreter's lock.
The looks need it often, so one thread has them all, for many chunks at once: two that wait for each
other take longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gitml.entities.ids import Digest
from gitml.store import codec as codecs
from gitml.store.chunking import cuts
from gitml.store.digest import new_hasher
from gitml.store.pack import PreparedChunk
from gitml.store.parts import Part
from gitml.store.tensors import Region, regions_of
from gitml.store.threads import processors, workers

if TYPE_CHECKING:
    from concurrent.futures import Future

    from blake3 import blake3

ReadAt = Callable[[int, int], bytes]

_SEGMENT = 4 * 1024 * 1024
"""Bytes that are read and cut at a time; the threads have a few of these in hand."""

_UNNAMED = 4
"""Runs that wait for the names of their chunks: so many that no thread waits for another's turn."""

_MUCH = 64 * 1024 * 1024
"""Stored bytes that are added before the disk is asked to begin with them."""


class Chunked(NamedTuple):
    """What was cut: the digest of the whole, and its parts in order."""

    digest: Digest
    parts: list[Part]


class _Run(NamedTuple):
    """Some chunks in a row: their bytes, where they end there, and the width of their numbers."""

    data: memoryview
    ends: list[int]
    width: int


class _Named(NamedTuple):
    """A chunk of a run: its digest, where it begins and ends there, whether it is held."""

    digest: bytes
    start: int
    end: int
    is_held: bool


def is_worth_cutting(read_at: ReadAt, size: int) -> bool:
    """Whether content shrinks or has tensors; other content costs half as much kept whole.

    ``read_at(offset, length)`` gives the bytes. What it raises passes through.
    """
    return (
        len(regions_of(read_at, size)) > 1
        or codecs.is_compressible(size, read_at)
        or codecs.best_width(size, read_at) > 1
    )


def put_chunks(
    read_at: ReadAt,
    size: int,
    held: Callable[[Collection[bytes]], set[bytes]],
    add: Callable[[PreparedChunk], None],
    write_ahead: Callable[[], None],
) -> Chunked:
    """Cut ``size`` bytes into chunks and ``add`` those that are not held yet.

    ``read_at(offset, length)`` gives the bytes, and raises if they are fewer. ``held(digests)``
    gives those that are held, and ``add`` gets the others, one twice if it occurs twice. Now and
    then ``write_ahead`` has the disk begin with what was added. Only ``read_at`` and ``add`` are
    called by this thread. What any of the callables raises passes through.
    """
    hasher = new_hasher()
    with workers(1) as whole, workers(1) as namer, _Adding(add, write_ahead) as adding:
        waiting: deque[tuple[_Run, Future[blake3], Future[list[_Named]]]] = deque()
        for run in _runs(read_at, size):
            hashed, named = whole.submit(hasher.update, run.data), namer.submit(_named, run, held)
            waiting.append((run, hashed, named))
            if len(waiting) > _UNNAMED:
                adding.take(*_settled(waiting.popleft()))
        while waiting:
            adding.take(*_settled(waiting.popleft()))
        parts = adding.finish()
    return Chunked(Digest(hasher.hexdigest()), parts)


def _settled(
    one: tuple[_Run, Future[blake3], Future[list[_Named]]],
) -> tuple[_Run, list[_Named]]:
    """A run whose bytes are in the digest of the whole, with its chunks."""
    run, hashed, named = one
    hashed.result()
    return run, named.result()


class _Adding:
    """Runs on their way into a pack: encoded by several threads, added in order by one.

    A context manager.
    """

    def __init__(
        self, add: Callable[[PreparedChunk], None], write_ahead: Callable[[], None]
    ) -> None:
        self._add = add
        self._write_ahead = write_ahead
        self._parts: list[Part] = []
        self._encoding: deque[tuple[list[_Named], Future[list[PreparedChunk]] | None]] = deque()
        self._unwritten = 0
        self._writing: Future[None] | None = None

    def __enter__(self) -> _Adding:
        self._open = ExitStack()
        self._encoders = self._open.enter_context(workers())
        self._disk = self._open.enter_context(workers(1))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def take(self, run: _Run, named: list[_Named]) -> None:
        """Have what is not held of a run added, sooner or later."""
        is_new = not all(one.is_held for one in named)
        encoded = self._encoders.submit(_encoded, run, named) if is_new else None
        self._encoding.append((named, encoded))
        if len(self._encoding) > processors() + 1:
            self._add_first()

    def finish(self) -> list[Part]:
        """Add what is still on its way; the parts of the whole, in order."""
        while self._encoding:
            self._add_first()
        if self._writing is not None:
            self._writing.result()
        return self._parts

    def _add_first(self) -> None:
        named, encoded = self._encoding.popleft()
        for chunk in encoded.result() if encoded is not None else ():
            self._add(chunk)
            self._unwritten += len(chunk.stored)
        self._parts.extend((one.digest, one.end - one.start) for one in named)
        if self._unwritten >= _MUCH and (self._writing is None or self._writing.done()):
            if self._writing is not None:
                self._writing.result()
            self._writing, self._unwritten = self._disk.submit(self._write_ahead), 0


def _runs(read_at: ReadAt, size: int) -> Iterator[_Run]:
    """The content as runs of whole chunks, which together are all of it."""
    at = 0
    for region in regions_of(read_at, size):
        width = _width_of(region, at, size, read_at)
        if width > 1:
            codecs.prepare(region.end - at)
        while at < region.end:
            length = min(_SEGMENT, region.end - at)
            data = memoryview(read_at(at, length))
            ends = cuts(data, is_last=at + length == region.end)
            yield _Run(data[: ends[-1]], ends, width)
            at += ends[-1]


def _width_of(region: Region, start: int, size: int, read_at: ReadAt) -> int:
    """The width of numbers with which the region becomes smallest, going by samples."""
    is_whole = region.end - start == size
    widths = (2, 4, 8) if is_whole else (region.width,)
    if widths == (1,):
        return 1
    return codecs.best_width(
        region.end - start, lambda offset, length: read_at(start + offset, length), widths
    )


def _named(run: _Run, held: Callable[[Collection[bytes]], set[bytes]]) -> list[_Named]:
    """The chunks of a run with their names."""
    from blake3 import blake3

    bounds = list(pairwise((0, *run.ends)))
    digests = [blake3(run.data[start:end]).digest() for start, end in bounds]
    found = held(digests)
    return [
        _Named(digest, start, end, digest in found)
        for digest, (start, end) in zip(digests, bounds, strict=True)
    ]


def _encoded(run: _Run, named: list[_Named]) -> list[PreparedChunk]:
    """The chunks of a run that are not held, as they are to be added."""
    done = []
    codec = codecs.RAW
    for one in named:
        if not one.is_held:
            data = run.data[one.start : one.end]
            codec, stored = codecs.encode(data, run.width, is_doubtful=codec == codecs.RAW)
            length = one.end - one.start
            done.append(PreparedChunk.of(one.digest, length, codec, stored))
    return done
