"""Where the tensors of a file lie: chunks are cut there, and numbers are told apart by it.

A fine-tuned model shares whole tensors with the one it came from, so a chunk must not reach from
one tensor into the next. safetensors and npy say in a few bytes where their tensors are; we read
no more than that, never trust it, and a file that is malformed is cut as any other file is: the
regions decide how bytes are stored, never what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from gitml.store.chunking import SMALLEST

ReadAt = Callable[[int, int], bytes]

MAX_HEADER = 4 * 1024 * 1024
"""Bytes of a safetensors header that we parse: some 30,000 tensors. The format allows 100 MB."""

MAX_TENSORS = 100_000

_WIDTHS = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
}
_NPY = b"\x93NUMPY"
_NPY_PREFIX = 12
_NPY_MAX_HEADER = 64 * 1024
_NPY_TYPE = re.compile(rb"'descr': *'[<>|=]([fiuc])([0-9]{1,2})' *[,}]")


@dataclass(frozen=True, slots=True)
class Region:
    """A run of bytes that is cut by itself, from where the one before ends up to ``end``.

    ``width`` is that of its numbers in bytes (2, 4 or 8), 1 where there are none that we know.
    """

    end: int
    width: int


def regions_of(read_at: ReadAt, size: int) -> list[Region]:
    """The regions of a file of ``size`` bytes, ascending, the last one ending at ``size``.

    ``read_at(offset, length)`` gives bytes of the file. A file of another kind, or one that we
    cannot make sense of, is one region of width 1. An empty file has none.
    """
    if not size:
        return []
    tensors = _npy_tensors(read_at, size)
    if tensors is None:
        tensors = _safetensors(read_at, size)
    return list(_regions(tensors or [], size))


def _regions(tensors: list[tuple[int, int, int]], size: int) -> Iterator[Region]:
    """The regions between and around tensors, each given as begin, end and width.

    A tensor below the smallest chunk goes with its neighbours: bounds of its own would cost more
    than they save.
    """
    at = 0
    for begin, end, width in tensors:
        if end - begin >= SMALLEST:
            if begin > at:
                yield Region(begin, 1)
            yield Region(end, width)
            at = end
    if at < size:
        yield Region(size, 1)


def _safetensors(read_at: ReadAt, size: int) -> list[tuple[int, int, int]] | None:
    """The tensors that a safetensors header lists, by offset; None if it is no good header.

    8 bytes of length, then that much JSON: name to dtype, shape and the two data_offsets, which
    count from the end of the header.
    """
    head = read_at(0, 9)
    length = int.from_bytes(head[:8], "little")
    if head[8:] != b"{" or not 2 <= length <= min(MAX_HEADER, size - 8):
        return None
    text = read_at(8, length)
    if text.count(b"{") > MAX_TENSORS + 2:
        return None
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    header.pop("__metadata__", None)
    start = 8 + length
    tensors: list[tuple[int, int, int]] = []
    for one in header.values():
        offsets = one.get("data_offsets") if isinstance(one, dict) else None
        dtype = one.get("dtype") if isinstance(one, dict) else None
        if (
            not isinstance(offsets, list)
            or len(offsets) != 2
            or not all(type(offset) is int for offset in offsets)
            or not isinstance(dtype, str)
            or not 0 <= offsets[0] <= offsets[1] <= size - start
        ):
            return None
        tensors.append((start + offsets[0], start + offsets[1], _WIDTHS.get(dtype, 1)))
    tensors.sort()
    for (_, end, _), (begin, _, _) in pairwise(tensors):
        if begin < end:
            return None
    return tensors


def _npy_tensors(read_at: ReadAt, size: int) -> list[tuple[int, int, int]] | None:
    """The one array of an npy file; None if it is no such file or has no plain numbers."""
    head = read_at(0, _NPY_PREFIX)
    if head[:6] != _NPY or len(head) < _NPY_PREFIX:
        return None
    prefix, length = (10, head[8:10]) if head[6] == 1 else (12, head[8:12])
    begin = prefix + int.from_bytes(length, "little")
    if begin > min(size, _NPY_MAX_HEADER):
        return None
    found = _NPY_TYPE.search(read_at(prefix, begin - prefix))
    if found is None:
        return None
    width = int(found[2])
    if found[1] == b"c":
        width //= 2
    return [(begin, size, width if width in (2, 4, 8) else 1)]
