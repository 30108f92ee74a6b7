"""Differences: each changed chunk finds its older self, and comes back through it."""

from __future__ import annotations

import itertools
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.store import codec, delta
from gitml.store.chunking import cuts
from gitml.store.delta import Difference, differences, is_fit
from gitml.store.digest import hash_bytes
from gitml.store.parts import Part

SOURCE = random.Random(0)
"""Always the same: where edits fall on the edges of chunks decides a few percent."""
LINES = [
    b"%d,%s,w%04x\n" % (n, SOURCE.randbytes(20).hex().encode(), n % 997) for n in range(60_000)
]
TABLE = b"".join(LINES)


class Chunks:
    """Chunks of a few versions by digest, and what is asked of them."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    def cut(self, data: bytes) -> list[Part]:
        parts = []
        for start, end in itertools.pairwise([0, *cuts(data, is_last=True)]):
            chunk = data[start:end]
            digest = hash_bytes(chunk).raw
            self.data[digest] = chunk
            parts.append((digest, len(chunk)))
        return parts

    def load(self, parts: list[Part]) -> list[bytes]:
        assert [len(self.data[digest]) for digest, _ in parts] == [length for _, length in parts]
        return [self.data[digest] for digest, _ in parts]

    def worth(self, digest: bytes) -> int:
        return len(self.data[digest]) // 2

    def between(self, older: list[Part], newer: list[Part]) -> list[Difference]:
        found = list(differences(older, newer, self.load, self.worth, lambda part: part))
        for one in found:
            base = self.data[one.base]
            data = codec.decode_whole(codec.DELTA, one.stored, one.plain, base)
            assert data == self.data[one.digest]
        return found


def edited_evenly(lines: list[bytes], share: float = 0.01) -> bytes:
    chance = random.Random(5)
    rows = []
    for line in lines:
        kind = chance.random()
        if kind < share / 2:
            rows.append(b"a new row %d\n" % len(rows))
        if kind >= share or kind < share / 2:
            rows.append(line)
    return b"".join(rows)


def test_edits_all_over_cost_a_few_percent() -> None:
    chunks = Chunks()
    older, newer = chunks.cut(TABLE), chunks.cut(edited_evenly(LINES))
    assert len({*older} & {*newer}) < len(newer) / 10
    found = chunks.between(older, newer)
    covered = {one.digest for one in found} | {digest for digest, _ in older}
    assert sum(size for digest, size in newer if digest not in covered) < len(TABLE) * 0.05
    assert sum(len(one.stored) for one in found) < len(TABLE) * 0.05


def test_what_has_moved_is_found_where_it_went() -> None:
    """A long insertion: behind it the distance is another, and the edges tell."""
    chunks = Chunks()
    older = chunks.cut(TABLE)
    half = len(LINES) // 2
    inserted = random.Random(1).randbytes(1_000_000)
    moved = edited_evenly(LINES[:half]) + inserted + edited_evenly(LINES[half:])
    found = chunks.between(older, chunks.cut(moved))
    assert sum(one.plain for one in found) > len(TABLE) * 0.9


def test_what_went_further_than_is_read_ahead_is_found_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delta, "_AHEAD", 0)
    monkeypatch.setattr(delta, "_NEAR", 100_000)
    monkeypatch.setattr(delta, "_TOGETHER", 1)
    chunks = Chunks()
    half = len(LINES) // 2
    moved = edited_evenly(LINES[half:]) + edited_evenly(LINES[:half])
    found = chunks.between(chunks.cut(TABLE), chunks.cut(moved))
    assert sum(one.plain for one in found) > len(TABLE) * 0.9


def test_both_versions_are_read_once() -> None:
    chunks = Chunks()
    older, newer = chunks.cut(TABLE), chunks.cut(edited_evenly(LINES))
    read: list[Part] = []

    def load(parts: list[Part]) -> list[bytes]:
        read.extend(parts)
        return chunks.load(parts)

    found = list(differences(older, newer, load, chunks.worth, lambda part: part))
    assert sum(one.plain for one in found) > len(TABLE) * 0.9
    assert len(read) == len(set(read))


def test_shared_chunks_and_repeated_ones_are_left_alone() -> None:
    chunks = Chunks()
    older = chunks.cut(TABLE)
    assert chunks.between(older, older) == []
    assert chunks.between(older, []) == chunks.between([], older) == []
    doubled = chunks.cut(edited_evenly(LINES) * 2)
    found = chunks.between(older, doubled)
    assert len({one.digest for one in found}) == len(found)


def test_little_to_win_is_not_worth_reading_much() -> None:
    chunks = Chunks()
    older, newer = chunks.cut(TABLE), chunks.cut(edited_evenly(LINES))
    last = next(digest for digest, _ in reversed(newer) if (digest, 0) not in older)
    read: list[Part] = []

    def load(parts: list[Part]) -> list[bytes]:
        read.extend(parts)
        return chunks.load(parts)

    def worth(digest: bytes) -> int:
        return 1000 if digest == last else 0

    assert list(differences(older, newer, load, worth, lambda part: part)) == []
    assert read == []


def test_what_does_not_pay_is_not_stored() -> None:
    chunks = Chunks()
    older, newer = chunks.cut(TABLE), chunks.cut(os.urandom(1_000_000))
    assert chunks.between(older, newer) == []


def test_the_root_decides_what_is_stored_against() -> None:
    chunks = Chunks()
    older, newer = chunks.cut(TABLE), chunks.cut(edited_evenly(LINES))
    root = (hash_bytes(TABLE[:250_000]).raw, 250_000)
    chunks.data[root[0]] = TABLE[:250_000]

    def root_of(part: Part) -> Part | None:
        return root if part == older[0] else None

    found = list(differences(older, newer, chunks.load, chunks.worth, root_of))
    assert found
    assert {one.base for one in found} == {root[0]}


def test_short_and_long_chunks_are_passed_over() -> None:
    chunks = Chunks()
    short, long = os.urandom(100), bytes(codec.MAX_WHOLE + 1)
    parts = [(hash_bytes(data).raw, len(data)) for data in (short, long)]
    chunks.data.update(zip((parts[0][0], parts[1][0]), (short, long), strict=True))
    assert not any(map(is_fit, parts))
    assert chunks.between(chunks.cut(TABLE), parts) == []
    assert chunks.between(parts, chunks.cut(TABLE)) == []


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=12), st.lists(st.integers(0, 6)))
@settings(deadline=None, max_examples=40)
def test_any_two_lists_of_parts_are_safe(older: list[int], newer: list[int]) -> None:
    chunks = Chunks()
    blocks = [bytes([number % 3]) * (500 + 900 * number) for number in range(7)]
    parts = [(hash_bytes(data).raw, len(data)) for data in blocks]
    chunks.data = dict(zip((digest for digest, _ in parts), blocks, strict=True))
    found = chunks.between([parts[n] for n in older], [parts[n] for n in newer])
    shared = {parts[n][0] for n in older}
    assert not shared & {one.digest for one in found}
