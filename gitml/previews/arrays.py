"""The corners of arrays, and the tensors that a file of safetensors has."""

from __future__ import annotations

import ast
import itertools
import json
import math
import struct
import tokenize
from collections.abc import Mapping
from typing import Any, BinaryIO

from gitml.errors import CorruptData
from gitml.materializers.base import library
from gitml.previews.preview import LINES, Preview, cell, headed

_CORNER = 6
_MAX_HEADER = 65536
_MAX_ITEM = 65536
_MAX_TENSORS = 16 << 20


def npy(file: BinaryIO, size: int) -> Preview:
    """Shape and dtype of a ``.npy`` file of ``size`` bytes, and the corner of its first matrix.

    One that is cut off says so. Raises CorruptData. Objects are refused by NumPy's own reading of
    the header.
    """
    numpy = library("numpy", "numpy")
    try:
        shape, fortran, dtype = _header(numpy, file)
        start = file.tell()
        facts = {"shape": list(shape), "dtype": str(dtype)}
        notes = [] if dtype.hasobject else cut_off(size - start, math.prod(shape) * dtype.itemsize)
        if dtype.hasobject or not 0 < dtype.itemsize <= _MAX_ITEM:
            return Preview("array", facts, notes=("its elements are not shown", *notes))
        if 0 in shape:
            return Preview("array", facts, notes=("it is empty",))
        corner = [min(_CORNER, one) for one in shape[-2:]]
        places = [range(one) for one in corner]
        steps = _steps(shape, dtype.itemsize, fortran)[-2:] if shape else []
        elements = []
        for index in itertools.product(*places):
            file.seek(start + sum(map(int.__mul__, index, steps)))
            data = file.read(dtype.itemsize)
            is_there = len(data) == dtype.itemsize or not notes
            elements.append(cell(numpy.frombuffer(data, dtype)[0]) if is_there else "")
    except (*_UNREADABLE, struct.error) as error:
        raise CorruptData("not an array in `.npy` format") from error
    width = corner[-1] if corner else 1
    rows = [elements[at : at + width] for at in range(0, len(elements), width)]
    columns, _ = headed((str(place), "") for place in range(width))
    total = math.prod(shape)
    if len(elements) < total:
        notes = [f"a corner of {total:,} elements", *notes]
    return Preview("array", facts, columns, rows, notes=notes)


def cut_off(there: int, said: int) -> list[str]:
    """A note of how many bytes of the elements are there, where they are fewer than was said."""
    return [f"it is cut off: {there:,} of {said:,} bytes of elements are there"] * (there < said)


def tensors(file: BinaryIO, size: int, known: Mapping[str, Any]) -> Preview:
    """Names, types and shapes of the tensors of a safetensors file; its header alone is read."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(size - 8, _MAX_TENSORS):
            raise CorruptData("the header of a safetensors file that is not one, or too long")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        listed = [(name, one["dtype"], one["shape"]) for name, one in header.items()]
        count = sum(math.prod(shape) for *_, shape in listed)
    except (ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError) as error:
        raise CorruptData("not a safetensors file") from error
    facts = {name: known[name] for name in ("class", "parameters") if name in known}
    facts |= {"tensors": len(listed), "elements": count}
    columns = [("tensor", ""), ("type", ""), ("shape", "")]
    rows = [[cell(name), cell(kind), cell(shape)] for name, kind, shape in listed[:LINES]]
    more = len(listed) > LINES
    notes = [f"the first {LINES} of {len(listed):,} tensors"] * more
    return Preview("tensors", facts, columns, rows, notes=notes)


_UNREADABLE = (
    *(ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError),
    *(SyntaxError, RecursionError, tokenize.TokenError),
)


def _header(numpy: Any, file: BinaryIO) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, order and dtype of the array that begins here; the file then stands at its bytes."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
        raise ValueError("no magic of `.npy`")
    form = "<H" if magic[6] == 1 else "<I"
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > _MAX_HEADER:
        raise ValueError("a header without end")
    said = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] == 3 else "latin1"))
    shape = tuple(said["shape"])
    if not all(type(one) is int and one >= 0 for one in shape):
        raise ValueError("a shape that makes no sense")
    return shape, bool(said["fortran_order"]), numpy.lib.format.descr_to_dtype(said["descr"])


def _steps(shape: tuple[int, ...], width: int, fortran: bool) -> list[int]:
    """How many bytes lie between neighbours in each dimension."""
    sizes = shape if fortran else shape[::-1]
    steps = [width * math.prod(sizes[:place]) for place in range(len(shape))]
    return steps if fortran else steps[::-1]
