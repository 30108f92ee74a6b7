"""The first rows of an Arrow IPC file that is too large to read: the heads of its buffers.

The layout is that of the Arrow columnar format; a message is a flatbuffer, of which only the lists
of nodes and buffers are needed. What is read is validated before it is looked into, since offsets
may point anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from gitml.errors import CorruptData
from gitml.materializers.base import library

_MAX_MESSAGE = 64 << 20
_MAX_VALUES = 1 << 20
"""Bytes of text that are read of a column."""
_RECORD_BATCH = 3


class _Unknown(Exception):
    """A type of which it is not known how many buffers it has."""


class _Batch(NamedTuple):
    """A record batch: where its body begins, the rows of its nodes, the places of its buffers."""

    body: int
    nodes: Iterator[int]
    buffers: Iterator[tuple[int, int]]


def first_rows(file: BinaryIO, schema: Any, rows: int) -> list[Any]:
    """For each of the fields the first rows as an array, or None where they are not to be had.

    They are of the first record batch, and validated. Raises CorruptData, and what pyarrow raises.
    """
    try:
        reader = _Reader(file, _first_batch(file))
        return reader.columns([field.type for field in schema], rows)
    except (struct.error, IndexError, StopIteration, RuntimeError) as error:
        raise CorruptData("not a table in Arrow IPC format") from error


class _Reader:
    """Takes nodes and buffers in the order of the columns."""

    def __init__(self, file: BinaryIO, batch: _Batch) -> None:
        self._pa = library("pyarrow", "arrow")
        self._file = file
        self._batch = batch

    def columns(self, kinds: list[Any], rows: int) -> list[Any]:
        """The columns of these types; behind one of an unknown shape there are none."""
        found: list[Any] = []
        try:
            for kind in kinds:
                array = self._column(kind, rows)
                if array is not None:
                    array.validate(full=True)
                found.append(array)
        except _Unknown:
            pass
        return [*found, *[None] * (len(kinds) - len(found))]

    def _column(self, kind: Any, rows: int) -> Any:
        pa, types = self._pa, self._pa.types
        if types.is_null(kind):
            return pa.nulls(min(rows, next(self._batch.nodes)))
        if _is_text(types, kind):
            return self._text(kind, rows)
        if _is_flat(types, kind):
            rows = min(rows, next(self._batch.nodes))
            validity = self._take((rows + 7) // 8)
            return self._built(kind, rows, validity, self._take((rows * kind.bit_width + 7) // 8))
        self._pass_over(kind)
        return None

    def _text(self, kind: Any, rows: int) -> Any:
        rows = min(rows, next(self._batch.nodes))
        validity = self._take((rows + 7) // 8)
        large = self._pa.types.is_large_string(kind) or self._pa.types.is_large_binary(kind)
        width = 8 if large else 4
        ends = self._take((rows + 1) * width)
        last = int.from_bytes(ends[-width:], "little") if rows else 0
        values = self._take(min(last, _MAX_VALUES))
        return self._built(kind, rows, validity, ends, values) if last <= _MAX_VALUES else None

    def _pass_over(self, kind: Any) -> None:
        """Take the nodes and buffers of a column whose rows are not shown."""
        types = self._pa.types
        if isinstance(kind, self._pa.BaseExtensionType):
            kind = kind.storage_type
        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind)
        if types.is_struct(kind) or types.is_fixed_size_list(kind):
            buffers = 1
        elif is_list or types.is_dictionary(kind) or _is_flat(types, kind):
            buffers = 2
        elif _is_text(types, kind):
            buffers = 3
        elif types.is_null(kind):
            buffers = 0
        else:
            raise _Unknown
        next(self._batch.nodes)
        for _ in range(buffers):
            next(self._batch.buffers)
        for place in range(kind.num_fields if buffers and not types.is_dictionary(kind) else 0):
            self._pass_over(kind.field(place).type)

    def _take(self, length: int) -> bytes:
        """The first bytes of the next buffer: as many, or all where it has fewer."""
        offset, size = next(self._batch.buffers)
        if offset < 0 or size < 0:
            raise CorruptData("not a table in Arrow IPC format")
        self._file.seek(self._batch.body + offset)
        return self._file.read(min(length, size))

    def _built(self, kind: Any, rows: int, validity: bytes, *buffers: bytes) -> Any:
        given = [self._pa.py_buffer(one) for one in buffers]
        bits = self._pa.py_buffer(validity) if validity else None
        return self._pa.Array.from_buffers(kind, rows, [bits, *given])


def _first_batch(file: BinaryIO) -> _Batch:
    """The first record batch behind the place where the file stands."""
    while True:
        mark, length = struct.unpack("<iI", file.read(8))
        if mark != -1 or not 16 <= length <= _MAX_MESSAGE:
            raise CorruptData("not a table in Arrow IPC format")
        message = file.read(length)
        body = file.tell()
        table = _Table(message, struct.unpack_from("<I", message)[0])
        if table.number(1, "<B") == _RECORD_BATCH:
            record = table.table(2)
            if record.place(3):
                raise CorruptData("the buffers of this table are compressed")
            nodes = (rows for rows, _ in record.pairs(1))
            return _Batch(body, nodes, record.pairs(2))
        file.seek(body + table.number(3, "<q"))


class _Table:
    """A table of a flatbuffer: its fields by number."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - struct.unpack_from("<i", data, at)[0]
        if not 0 <= self._vtable < len(data):
            raise IndexError("a table outside of its message")

    def place(self, field: int) -> int:
        """Where a field stands; 0 where it is absent."""
        (size,) = struct.unpack_from("<H", self._data, self._vtable)
        slot = 4 + 2 * field
        if slot + 2 > size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._vtable + slot)
        return self._at + offset if offset else 0

    def number(self, field: int, form: str) -> int:
        """A number; 0 where it is absent."""
        place = self.place(field)
        return int(struct.unpack_from(form, self._data, place)[0]) if place else 0

    def table(self, field: int) -> _Table:
        """A table within this one."""
        return _Table(self._data, self._behind(field))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A list of pairs of numbers."""
        start = self._behind(field)
        (count,) = struct.unpack_from("<I", self._data, start)
        data = memoryview(self._data)[start + 4 : start + 4 + 16 * count]
        return struct.iter_unpack("<qq", data)

    def _behind(self, field: int) -> int:
        place = self.place(field)
        return place + int(struct.unpack_from("<I", self._data, place)[0])


def _is_text(types: Any, kind: Any) -> bool:
    return any(
        check(kind)
        for check in (
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
        )
    )


def _is_flat(types: Any, kind: Any) -> bool:
    """Whether the values stand side by side in one buffer."""
    return bool(
        types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind)
    )
