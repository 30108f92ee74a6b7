"""Large content as chunks: cut, hashed and encoded by several threads in constant memory.

One thread reads, cuts and hashes the whole, which must go in order; the others hash and encode
the chunks, which is most of the work. All of it happens outside the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gitml.entities.ids import Digest
from gitml.store import codec as codecs
from gitml.store.chunking import cuts
from gitml.store.digest import hash_bytes, new_hasher
from gitml.store.pack import PreparedChunk
from gitml.store.parts import Part
from gitml.store.tensors import Region, regions_of
from gitml.store.threads import in_order, workers

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
    by several threads at once, ``add`` called by this one, with a chunk twice if it occurs twice.
    What any of them raises passes through.
    """
    codecs.prepare(size)
    hasher = new_hasher()
    parts: list[Part] = []

    def hashed() -> Iterator[_Run]:
        for run in _runs(read_at, size):
            hasher.update(run.data)
            yield run

    with workers() as pool:
        for chunks in in_order(pool, lambda run: _encoded(run, is_held), hashed()):
            for chunk in chunks:
                if isinstance(chunk, PreparedChunk):
                    add(chunk)
                    parts.append((chunk.digest, chunk.plain))
                else:
                    parts.append(chunk)
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


def _encoded(run: _Run, is_held: Callable[[bytes], bool]) -> list[Part | PreparedChunk]:
    """For each chunk of a run: its name and length if it is held, else what is to be added."""
    done: list[Part | PreparedChunk] = []
    start = 0
    for end in run.ends:
        data = run.data[start:end]
        digest = hash_bytes(data).raw
        if is_held(digest):
            done.append((digest, end - start))
        else:
            codec, stored = codecs.encode(data, run.width)
            done.append(PreparedChunk.of(digest, end - start, codec, stored))
        start = end
    return done
