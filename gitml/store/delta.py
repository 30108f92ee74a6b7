"""Differences: chunks of a newer version stored against those of the older one.

Cutting by content finds what two versions share as long as edits leave whole chunks alone. Edits
that are scattered over all of a file leave none, yet each chunk differs little from the one that
stood in its place before. Here such pairs are found, and the newer chunk is encoded with the older
one as zstd's dictionary. Nothing is stored against a difference, so a chunk takes one base at most.

Both versions are read once, side by side, for reading them is most of the work: the older one is
a little ahead, and what was read of it last is kept. What has gone further than that waits until
all of the older version is known, and is read again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain
from math import inf
from typing import NamedTuple, TypeVar

from gitml.store import codec as codecs
from gitml.store.parts import Part
from gitml.store.threads import in_order, workers

Item = TypeVar("Item")
Load = Callable[[list[Part]], list[bytes]]

SHORTEST = 1024
"""Below this many bytes a difference saves hardly more than its own header."""

_EDGE = 64
"""So many bytes on each side of a cut tell it apart; the cut itself depends on 48 of them."""

_MOST_EDGES = 1 << 20
"""Cuts that are kept in memory; of larger versions only some are looked for."""

_RELUCTANCE = 50
"""So many bytes of the older version are read at most for each stored byte that could be saved."""

_NEAR = 64 * 1024 * 1024
"""Bytes of the older version, and of chunks that wait, that are kept in memory."""

_AHEAD = 16 * 1024 * 1024
"""So many bytes of the older version are read ahead of the newer one."""

_TOGETHER = 16
"""Chunks that a thread has in hand at a time."""


class Difference(NamedTuple):
    """A chunk as a difference: its digest and plain length, its base, and the stored bytes."""

    digest: bytes
    plain: int
    base: bytes
    stored: bytes


class _Read(NamedTuple):
    """A chunk of a version: where it begins there, and its bytes."""

    at: int
    part: Part
    data: bytes


class _Pair(NamedTuple):
    """A chunk and what to store it against; bytes that are not at hand are None."""

    part: Part
    data: bytes | None
    base: Part
    base_data: bytes | None


class _Late(NamedTuple):
    """A chunk of whose edges nothing is known yet, and its place if that stays so."""

    part: Part
    data: bytes | None
    edges: tuple[bytes, bytes]
    place: int


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

    ``load`` gives the plain bytes of some chunks; threads call it, and CorruptData that it raises
    passes through. ``worth`` says how many stored bytes of a difference from
    anything are worth it for a chunk; 0 for none. ``root_of`` gives what to store against in place
    of an older chunk, which may be a difference itself; None for nothing. Where too little is
    wanted for what has to be read, as after the first time, there are none.
    """
    shared = {digest for digest, _ in older} & {digest for digest, _ in newer}
    gone = _starts(older, shared)
    most = {digest: worth(digest) for _, (digest, _) in _starts(newer, shared)}
    wanted = [one for one in _starts(newer, shared) if most[one[1][0]]]
    if not gone or sum(most.values()) * _RELUCTANCE < sum(length for _, (_, length) in gone):
        return

    def read(some: list[tuple[int, Part]]) -> list[_Read]:
        loaded = load([part for _, part in some])
        return [_Read(at, part, data) for (at, part), data in zip(some, loaded, strict=True)]

    def encode(some: list[_Pair]) -> list[Difference]:
        absent = [one.part for one in some if one.data is None]
        absent += [one.base for one in some if one.base_data is None]
        loaded = dict(zip(absent, load(absent), strict=True))
        done = []
        for part, data, base, base_data in some:
            stored = codecs.encode_delta(data or loaded[part], base_data or loaded[base])
            if len(stored) <= most[part[0]]:
                done.append(Difference(*part, base[0], stored))
        return done

    with workers() as pool:
        known = _Older(older, in_order(pool, read, _groups(gone)))
        pairing = _Pairing(known, _Alignment(older, newer), root_of)
        in_place = pairing.pairs(in_order(pool, read, _groups(wanted)))
        for some in in_order(pool, encode, chain(in_place, pairing.late())):
            yield from some


def _starts(parts: list[Part], shared: set[bytes]) -> list[tuple[int, Part]]:
    """The chunks of one version only that may be stored as a difference or be a base.

    Each once, with where it begins.
    """
    found: list[tuple[int, Part]] = []
    known = set(shared)
    at = 0
    for part in parts:
        if part[0] not in known and is_fit(part):
            known.add(part[0])
            found.append((at, part))
        at += part[1]
    return found


class _Older:
    """The older version, read from its beginning as far as is asked, with the nearest kept."""

    def __init__(self, parts: list[Part], chunks: Iterator[list[_Read]]) -> None:
        """``chunks`` reads those of its chunks that may be bases, in order."""
        self._parts = parts
        self._chunks = chunks
        self._places = {digest: index for index, (digest, _) in enumerate(parts)}
        self._step = 2 * len(parts) // _MOST_EDGES + 1
        self._edges: dict[bytes, int] = {}
        self._end = 0
        self._near: dict[bytes, bytes] = {}
        self._kept = 0

    def part(self, place: int) -> Part:
        """The chunk in a place."""
        return self._parts[place]

    def read_to(self, position: float) -> None:
        """Know the chunks up to a position."""
        while self._end < position and (some := next(self._chunks, None)) is not None:
            for one in some:
                self._add(*one)

    def find(self, edges: tuple[bytes, bytes]) -> int | None:
        """The place of the longer of the chunks known so far with one of these edges, or None."""
        found = [self._edges[edge] for edge in edges if edge in self._edges]
        return max(found, key=lambda place: self._parts[place][1], default=None)

    def near(self, part: Part) -> bytes | None:
        """The bytes of a chunk, if it was read lately."""
        return self._near.get(part[0])

    def _add(self, at: int, part: Part, data: bytes) -> None:
        place = self._places[part[0]]
        if place % self._step == 0:
            for edge in _edges(data):
                self._edges.setdefault(edge, place)
        self._end = at + len(data)
        self._near[part[0]] = data
        self._kept += len(data)
        while self._kept > _NEAR:
            self._kept -= len(self._near.pop(next(iter(self._near))))


class _Pairing:
    """Finds for each chunk of the newer version the one to store it against."""

    def __init__(
        self, older: _Older, aligned: _Alignment, root_of: Callable[[Part], Part | None]
    ) -> None:
        self._older = older
        self._aligned = aligned
        self._root_of = root_of
        self._late: list[_Late] = []
        self._kept = 0

    def pairs(self, chunks: Iterable[list[_Read]]) -> Iterator[list[_Pair]]:
        """The pairs of chunks whose edges are found about where they have to be."""
        for some in chunks:
            found = [self._in_place(*one) for one in some]
            yield [pair for pair in found if pair is not None]

    def late(self) -> Iterator[list[_Pair]]:
        """The pairs of all others: by an edge anywhere, or else by place."""
        if self._late:
            self._older.read_to(inf)
        for some in _groups(self._late):
            found = []
            for part, data, edges, place in some:
                like = self._older.find(edges)
                found.append(self._pair(part, data, place if like is None else like))
            yield [pair for pair in found if pair is not None]

    def _in_place(self, at: int, part: Part, data: bytes) -> _Pair | None:
        self._older.read_to(at + self._aligned.shift(at) + part[1] + _AHEAD)
        edges = _edges(data)
        like = self._older.find(edges)
        if like is not None:
            self._aligned.found(at, like)
            return self._pair(part, data, like)
        self._kept += len(data)
        kept = data if self._kept <= _NEAR else None
        self._late.append(_Late(part, kept, edges, self._aligned.place(at, part[1])))
        return None

    def _pair(self, part: Part, data: bytes | None, place: int) -> _Pair | None:
        base = self._root_of(self._older.part(place))
        if base is None or not is_fit(base):
            return None
        return _Pair(part, data, base, self._older.near(base))


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

    def found(self, at: int, place: int) -> None:
        """Note where the chunk at a position of the newer version has its like."""
        self._last = (at, self._start(place) - at)

    def shift(self, at: int) -> int:
        """How far behind a position of the newer version the same is in the older one.

        As at the last pair or shared chunk before it: ask in the order of the version.
        """
        number = bisect_right(self._anchors, (at, 0)) - 1
        shared = self._anchors[number] if number >= 0 else (0, 0)
        return max(shared, self._last)[1]

    def place(self, at: int, length: int) -> int:
        """The index of the older chunk about where one of the newer version is."""
        index = bisect_right(self._ends, max(0, at + length // 2 + self.shift(at)))
        return min(index, len(self._ends) - 1)

    def _start(self, index: int) -> int:
        return self._ends[index] - self._lengths[index]


def _edges(data: bytes) -> tuple[bytes, bytes]:
    """What stands behind the cut before a chunk and before the cut behind it, told apart."""
    return b"<" + data[:_EDGE], b">" + data[-_EDGE:]


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    """The items in lists of a length that is worth a thread's turn."""
    for start in range(0, len(items), _TOGETHER):
        yield items[start : start + _TOGETHER]
