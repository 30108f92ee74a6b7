"""Where content is cut: FastCDC with frozen parameters, so that two writers cut alike.

A cut depends on the few bytes before it and on where the chunk began, so an edit moves the cuts
near it and no others, and what two versions share is stored once. The algorithm, its table and
test vectors are in docs/format.md ("Where content is cut"). pyfastcdc does it at 3 GB/s; where it
is missing NumPy makes the same cuts, 20 times as slowly.

The algorithm is FastCDC as of 2020 (W. Xia et al., IEEE TPDS 31(9)), in the form that
fastcdc-rs (v2020) and pyfastcdc have, with normalisation level 1.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

from gitml.errors import StorageError

SMALLEST = 16 * 1024
AVERAGE = 64 * 1024
LARGEST = 256 * 1024
"""Lengths of chunks in bytes; only the last chunk of a run may be shorter than SMALLEST."""

MASK_BEFORE = 0x0000_D907_0353_7000
MASK_BEHIND = 0x0000_D90F_0353_0000
"""A cut needs a hash without these bits: 17 of them before AVERAGE, 15 behind it."""

_WINDOW = 48
"""The masks have bits below 2**48, and a byte moves one bit up with each that follows it."""

_BLOCK = 64 * 1024


def cuts(data: bytes | bytearray | memoryview, *, is_last: bool) -> list[int]:
    """The ends of the chunks of ``data``, ascending: offsets in bytes.

    With ``is_last`` the last end is the end of ``data``. Without it more is to follow, and only
    those ends are given that do not depend on it: cut what is behind the last of them again,
    together with what follows. Raises StorageError where nothing is installed that can cut.
    """
    return _cutter()(memoryview(data), is_last)


def gear() -> list[int]:
    """The table of FastCDC: for each byte, 64 bits out of the MD5 digest of 64 such bytes."""
    import hashlib

    return [
        int.from_bytes(hashlib.md5(bytes([byte]) * 64, usedforsecurity=False).digest()[:8], "big")
        for byte in range(256)
    ]


@cache
def _cutter() -> Callable[[memoryview, bool], list[int]]:
    """What cuts here: pyfastcdc if it is compiled, else NumPy, else pyfastcdc as it is."""
    compiled = _is_compiled()
    if not compiled:
        try:
            import numpy as np  # noqa: F401
        except ImportError:
            if compiled is None:
                raise StorageError(
                    "cannot cut large files into chunks: pyfastcdc is not installed",
                    hint="`pip install pyfastcdc`, or NumPy, which does the same more slowly",
                ) from None
        else:
            return cuts_by_numpy
    return cuts_by_pyfastcdc


def _is_compiled() -> bool | None:
    """Whether pyfastcdc has its compiled part, 200 times as fast; None if it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pyfastcdc import FastCDC
    except ImportError:
        return None
    return FastCDC.__module__.startswith("pyfastcdc.cy")


def cuts_by_pyfastcdc(data: memoryview, is_last: bool) -> list[int]:
    """`cuts` by pyfastcdc, which releases the GIL while it looks for a cut."""
    from pyfastcdc import FastCDC

    chunker = FastCDC(AVERAGE, min_size=SMALLEST, max_size=LARGEST, normalized_chunking=1, seed=0)
    return _certain([one.offset + one.length for one in chunker.cut_buf(data)], is_last)


def cuts_by_numpy(data: memoryview, is_last: bool) -> list[int]:
    """`cuts` by NumPy: the hash of every window at once, then a walk over the few candidates."""
    before, behind = _candidates(data)
    table = gear()
    ends: list[int] = []
    start = 0
    while start < len(data):
        start = _end_of_chunk(data, start, before, behind, table)
        ends.append(start)
    return _certain(ends, is_last)


def _certain(ends: list[int], is_last: bool) -> list[int]:
    """The ends that stay whatever follows: a cut is made by what stands before it.

    Only that the data ends makes a cut by itself, and it may be the place of a real one.
    """
    return ends if is_last else ends[:-1]


def _end_of_chunk(
    data: memoryview, start: int, before: list[int], behind: list[int], table: list[int]
) -> int:
    """Where the chunk that begins at ``start`` ends, if nothing follows ``data``."""
    left = len(data) - start
    if left <= SMALLEST:
        return len(data)
    longest = min(left, LARGEST)
    # Bytes are looked at in pairs: behind an odd length the last byte is not.
    stop = start + longest // 2 * 2
    middle = start + min(left, AVERAGE) // 2 * 2
    at = start + SMALLEST
    value = 0
    # The hash begins anew in each chunk, so near its beginning it is of fewer bytes than a window.
    while at < min(middle, start + SMALLEST + _WINDOW):
        value = (value << 1) + table[data[at]]
        if not value & MASK_BEFORE:
            return at
        at += 1
    for found, limit in ((before, middle), (behind, stop)):
        index = bisect_left(found, at)
        if index < len(found) and found[index] < limit:
            return found[index]
        at = max(at, limit)
    return start + longest


def _candidates(data: memoryview) -> tuple[list[int], list[int]]:
    """The positions whose window of 64 bytes has a hash without the bits of each mask.

    By doubling: the hash of 2k bytes is that of the last k plus that of the k before << k.
    """
    import numpy as np

    table = np.array(gear(), np.uint64)
    content = np.frombuffer(data, np.uint8)
    room, shifted = (np.empty(_BLOCK + 63, np.uint64) for _ in range(2))
    found: tuple[list[int], list[int]] = ([], [])
    for block in range(0, len(content), _BLOCK):
        first = max(0, block - 63)
        window = content[first : block + _BLOCK]
        hashes = np.take(table, window, out=room[: len(window)], mode="clip")
        for width in (1, 2, 4, 8, 16, 32):
            older = shifted[: max(0, len(hashes) - width)]
            np.left_shift(hashes[:-width], np.uint64(width), out=older)
            hashes[width:] += older
        for positions, mask in zip(found, (MASK_BEFORE, MASK_BEHIND), strict=True):
            bits = np.bitwise_and(hashes, np.uint64(mask), out=shifted[: len(hashes)])
            positions += (np.flatnonzero(bits[block - first :] == 0) + block).tolist()
    return found
