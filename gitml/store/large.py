"""Large content as chunks: cut, hashed and encoded by several threads in constant memory.

One thread reads, cuts and hashes the whole, which must go in order; one names the chunks and looks
which are held; more of them encode those that are not, which is most of the work of new content.
Nearly all of it happens outside the interpreter's lock. The looks need it often, so one thread has
them all: two that wait for each other take longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from gitml.entities.ids import Digest
from gitml.store import codec as codecs
from gitml.store.chunking import cuts
from gitml.store.digest import hash_bytes, new_hasher
from gitml.store.pack import PreparedChunk
from gitml.store.parts import Part
from gitml.store.tensors import Region, regions_of
from gitml.store.threads import processors, workers

ReadAt = Callable[[int, int], bytes]

_SEGMENT = 4 * 1024 * 1024
"""Bytes that are read and cut at a time; the threads have a few of these in hand."""


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
    is_held: Callable[[bytes], bool],
    add: Callable[[PreparedChunk], None],
) -> Chunked:
    """Cut ``size`` bytes into chunks and ``add`` those that are not held yet.

    ``read_at(offset, length)`` gives the bytes, and raises if they are fewer. ``is_held`` is asked
    by another thread, ``add`` called by this one, with a chunk twice if it occurs twice. What any
    of the callables raises passes through.
    """
    codecs.prepare(size)
    hasher = new_hasher()
    parts: list[Part] = []
    with workers() as encoders, workers(1) as namer:
        naming: deque[tuple[_Run, Future[list[_Named]]]] = deque()
        encoding: deque[tuple[list[_Named], Future[list[PreparedChunk]] | None]] = deque()

        def settle(unnamed: int, unadded: int) -> None:
            """Have what is not held encoded and added, in order, until so few runs are in hand."""
            while len(naming) > unnamed:
                run, future = naming.popleft()
                named = future.result()
                is_new = not all(one.is_held for one in named)
                encoding.append((named, encoders.submit(_encoded, run, named) if is_new else None))
            while len(encoding) > unadded:
                named, encoded = encoding.popleft()
                for chunk in encoded.result() if encoded is not None else ():
                    add(chunk)
                parts.extend((one.digest, one.end - one.start) for one in named)

        for run in _runs(read_at, size):
            naming.append((run, namer.submit(_named, run, is_held)))
            hasher.update(run.data)
            settle(1, processors())
        settle(0, 0)
    return Chunked(Digest(hasher.hexdigest()), parts)


def _runs(read_at: ReadAt, size: int) -> Iterator[_Run]:
    """The content as runs of whole chunks, which together are all of it."""
    at = 0
    for region in regions_of(read_at, size):
        width = _width_of(region, at, size, read_at)
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


def _named(run: _Run, is_held: Callable[[bytes], bool]) -> list[_Named]:
    """The chunks of a run with their names."""
    named = []
    start = 0
    for end in run.ends:
        digest = hash_bytes(run.data[start:end]).raw
        named.append(_Named(digest, start, end, is_held(digest)))
        start = end
    return named


def _encoded(run: _Run, named: list[_Named]) -> list[PreparedChunk]:
    """The chunks of a run that are not held, as they are to be added."""
    done = []
    for one in named:
        if not one.is_held:
            codec, stored = codecs.encode(run.data[one.start : one.end], run.width)
            length = one.end - one.start
            done.append(PreparedChunk.of(one.digest, length, codec, stored))
    return done
