"""Differences: chunks of a newer version stored against those of the older one.

Cutting by content finds what two versions share as long as edits leave whole chunks alone. Edits
that are scattered over all of a file leave none, yet each chunk differs little from the one that
stood in its place before. Here such pairs are found, and the newer chunk is encoded with the older
one as zstd's dictionary. Nothing is stored against a difference, so a chunk takes one base at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple, TypeVar

from gitml.store import codec as codecs
from gitml.store.parts import Part
from gitml.store.threads import in_order, workers

Item = TypeVar("Item")
Load = Callable[[bytes, int], bytes]

SHORTEST = 1024
"""Below this many bytes a difference saves hardly more than its own header."""

_EDGE = 64
"""So many bytes on each side of a cut tell it apart; the cut itself depends on 48 of them."""

_MOST_EDGES = 1 << 20
"""Cuts that are kept in memory; of larger versions only some are looked for."""

_RELUCTANCE = 50
"""So many bytes of the older version are read at most for each stored byte that could be saved."""

_TOGETHER = 16
"""Chunks that a thread has in hand at a time."""


class Difference(NamedTuple):
    """A chunk as a difference: its digest and plain length, its base, and the stored bytes."""

    digest: bytes
    plain: int
    base: bytes
    stored: bytes


class _Wanted(NamedTuple):
    """A chunk that may become a difference: where it begins in its version, and its bytes.

    ``like`` is the index of the older chunk with the same edge, or None.
    """

    at: int
    part: Part
    data: bytes
    like: int | None


def is_fit(part: Part) -> bool:
    """Whether a chunk has a length with which it can be a difference or a base."""
    return SHORTEST <= part[1] <= codecs.MAX_WHOLE


def differences(
    older: list[Part],
    newer: list[Part],
    load: Load,
    worth: Callable[[bytes], int],
    root_of: Callable[[Part], Part | None],
) -> Iterator[Difference]:
    """The chunks of the newer version as differences from the older one, where that pays.

    ``load`` gives a chunk's plain bytes by digest and length; threads call it, and CorruptData
    that it raises passes through. ``worth`` says how many stored bytes of a difference from
    anything are worth it for a chunk; 0 for none. ``root_of`` gives what to store against in place
    of an older chunk, which may be a difference itself; None for nothing. Where too little is
    wanted for what has to be read, as after the first time, there are none.
    """
    shared = {digest for digest, _ in older} & {digest for digest, _ in newer}
    wanted = _wanted(newer, shared, worth)
    gone = [part for part in older if part[0] not in shared and is_fit(part)]
    to_win = sum(worth(digest) for _, (digest, _) in wanted)
    if not gone or to_win * _RELUCTANCE < sum(length for _, length in gone):
        return

    def encode(found: list[tuple[_Wanted, Part]]) -> list[Difference]:
        done = []
        for (_, (digest, plain), data, _), base in found:
            stored = codecs.encode_delta(data, load(*base))
            if len(stored) <= worth(digest):
                done.append(Difference(digest, plain, base[0], stored))
        return done

    with workers() as pool:
        edges = _Edges(older)
        for found in in_order(pool, lambda some: _edges_of(some, load), _groups(gone)):
            edges.add(found)
        aligned = _Alignment(older, newer)

        def look(some: list[tuple[int, Part]]) -> list[_Wanted]:
            loaded = [(at, part, load(*part)) for at, part in some]
            return [_Wanted(at, part, data, edges.find(data)) for at, part, data in loaded]

        def pair(some: list[_Wanted]) -> list[tuple[_Wanted, Part]]:
            bases = [root_of(older[aligned.place(one)]) for one in some]
            found = zip(some, bases, strict=True)
            return [(one, base) for one, base in found if base is not None and is_fit(base)]

        for some in in_order(pool, encode, map(pair, in_order(pool, look, _groups(wanted)))):
            yield from some


def _wanted(
    newer: list[Part], shared: set[bytes], worth: Callable[[bytes], int]
) -> list[tuple[int, Part]]:
    """The chunks that may become differences, each once, and where they begin."""
    found: list[tuple[int, Part]] = []
    known = set(shared)
    at = 0
    for part in newer:
        if part[0] not in known and is_fit(part) and worth(part[0]):
            known.add(part[0])
            found.append((at, part))
        at += part[1]
    return found


class _Edges:
    """Which chunk of the older version begins or ends with some bytes."""

    def __init__(self, older: list[Part]) -> None:
        self._lengths = [length for _, length in older]
        self._places = {digest: index for index, (digest, _) in enumerate(older)}
        self._step = 2 * len(older) // _MOST_EDGES + 1
        self._found: dict[bytes, int] = {}

    def add(self, some: list[tuple[bytes, tuple[bytes, bytes]]]) -> None:
        """Chunks by digest, with their first and last bytes."""
        for digest, edges in some:
            place = self._places[digest]
            if place % self._step == 0:
                for edge in edges:
                    self._found.setdefault(edge, place)

    def find(self, data: bytes) -> int | None:
        """The longer of the chunks that begin or end as ``data`` does, or None."""
        found = [self._found[edge] for edge in _edges(data) if edge in self._found]
        return max(found, key=self._lengths.__getitem__, default=None)


class _Alignment:
    """Where in the older version a chunk of the newer one belongs."""

    def __init__(self, older: list[Part], newer: list[Part]) -> None:
        self._ends = list(accumulate(length for _, length in older))
        self._lengths = [length for _, length in older]
        places = {digest: index for index, (digest, _) in enumerate(older)}
        self._anchors: list[tuple[int, int]] = []
        at = 0
        for digest, length in newer:
            if (index := places.get(digest)) is not None:
                self._anchors.append((at, self._start(index) - at))
            at += length
        self._last = (0, 0)

    def place(self, one: _Wanted) -> int:
        """The index of the older chunk to store ``one`` against; ask in the order of the version.

        Without an edge in common it is the chunk as far behind the last pair, or shared chunk.
        """
        at, (_, length), _, like = one
        if like is None:
            number = bisect_right(self._anchors, (at, 0)) - 1
            shared = self._anchors[number] if number >= 0 else (0, 0)
            _, shift = max(shared, self._last)
            index = bisect_right(self._ends, max(0, at + length // 2 + shift))
            return min(index, len(self._ends) - 1)
        self._last = (at, self._start(like) - at)
        return like

    def _start(self, index: int) -> int:
        return self._ends[index] - self._lengths[index]


def _edges_of(some: list[Part], load: Load) -> list[tuple[bytes, tuple[bytes, bytes]]]:
    return [(part[0], _edges(load(*part))) for part in some]


def _edges(data: bytes) -> tuple[bytes, bytes]:
    """What stands behind the cut before a chunk and before the cut behind it, told apart."""
    return b"<" + data[:_EDGE], b">" + data[-_EDGE:]


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    """The items in lists of a length that is worth a thread's turn."""
    for start in range(0, len(items), _TOGETHER):
        yield items[start : start + _TOGETHER]
