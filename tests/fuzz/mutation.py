"""Damage to bytes that are almost right: as a Hypothesis strategy, and at random."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

INTERESTING = (
    *(b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\0" * 8, b"\x80"),
    *(b"\n", b"\r\n", b"\0\0\0\1", b"..", b"/", b"\\", b"[" * 500, b'{"a":' * 300, b"1e999"),
    *(b"9" * 400, b"NaN", b"-", b"null", b"\xed\xa0\x80", b'"\\ud800"', b"\xe2\x80\xae", b"%00"),
)


def mutate(data: bytes, seeds: Sequence[bytes], source: random.Random) -> bytes:
    """The bytes with one thing changed in them."""
    buffer = bytearray(data)
    at = source.randrange(len(buffer) + 1)
    end = min(len(buffer), at + 1 + int(source.expovariate(1 / 8)))
    match source.randrange(8):
        case 0:
            for place in range(at, end):
                buffer[place] = source.randrange(256)
        case 1 if at < len(buffer):
            buffer[at] ^= 1 << source.randrange(8)
        case 2:
            del buffer[at:end]
        case 3:
            del buffer[at:]
        case 4:
            buffer[at:at] = source.choice(INTERESTING)
        case 5:
            new = source.choice(INTERESTING)
            buffer[at : at + len(new)] = new
        case 6:
            other = source.choice(seeds)
            start = source.randrange(len(other) + 1)
            buffer[at:end] = other[start : start + source.randrange(1, 200)]
        case _:
            buffer[at:at] = buffer[at:end] * source.randrange(1, 4)
    return bytes(buffer)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with a few things changed."""
    data = draw(st.sampled_from(seeds))
    source = random.Random(draw(st.integers(0, 1 << 32)))
    for _ in range(draw(st.integers(1, 4))):
        data = mutate(data, seeds, source)
    return data
