"""The stored form of a tree: an Arrow IPC stream of one record batch, read with suspicion.

The stream is written by one library and may be read by another; what holds both together is the
digest over the canonical form, which is computed again from whatever was read.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store.tree import MAX_ARROW_BYTES, Tree, arrow_schema, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa


def encode(tree: Tree) -> bytes:
    """The tree as an uncompressed Arrow IPC stream of one record batch."""
    import pyarrow as pa

    batch = to_arrow(tree)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=None)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes, digest: Digest) -> Tree:
    """The tree with this digest from its Arrow form; raises CorruptData if they disagree.

    Columns that this version does not know are left aside; they are no part of the identity.
    """
    import pyarrow as pa

    if len(data) > MAX_ARROW_BYTES:
        raise CorruptData(f"a tree of {len(data):,} bytes is too large")
    try:
        _refuse_compression(data)
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
        names, modes, sizes, digests = (_column(table, field) for field in arrow_schema())
    except (pa.ArrowException, OSError, struct.error, ValueError, KeyError) as error:
        raise CorruptData(f"the entries of tree {digest.hex} cannot be read") from error
    tree = Tree.of_columns(
        names.to_pylist(),
        array("I", _fixed_bytes(modes, 4)),
        array("Q", _fixed_bytes(sizes, 8)),
        _fixed_bytes(digests, 32),
    )
    if tree.digest != digest:
        raise CorruptData(f"the entries of tree {digest.hex} are not what its digest says")
    return tree


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    """A column, if it has the type of version 1 and no gaps; raises ValueError."""
    column = table.column(field.name)
    if column.type != field.type or column.null_count:
        raise ValueError(f"the column {field.name} has another type")
    return column


def _fixed_bytes(column: pa.ChunkedArray, width: int) -> bytes:
    """The bytes of a column whose values have ``width`` bytes each."""
    pieces = []
    for chunk in column.chunks:
        start = chunk.offset * width
        if len(chunk):
            pieces.append(memoryview(chunk.buffers()[1])[start : start + len(chunk) * width])
    return b"".join(pieces)


def _refuse_compression(data: bytes) -> None:
    """Raise ValueError for a record batch with compressed buffers.

    Arrow would expand them before anybody can look at the size, a few bytes into gigabytes. The
    metadata of a message is a flatbuffer: slot 2 of ``Message`` is its header, slot 3 of
    ``RecordBatch`` the compression.
    """
    import pyarrow as pa

    reader = pa.ipc.MessageReader.open_stream(data)
    for message in iter(lambda: _next_message(reader), None):
        if message.type not in ("schema", "record batch"):
            raise ValueError(f"a tree has no message of type {message.type}")
        if message.type == "record batch":
            metadata = message.metadata.to_pybytes()
            root = struct.unpack_from("<I", metadata)[0]
            header = _slot(metadata, root, 2)
            header += struct.unpack_from("<I", metadata, header)[0]
            if _slot(metadata, header, 3):
                raise ValueError("a tree must not be compressed")


def _next_message(reader: pa.ipc.MessageReader) -> pa.Message | None:
    try:
        return reader.read_next_message()
    except StopIteration:
        return None


def _slot(buffer: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table lies, or 0 if the table does not have it."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0 or 4 + 2 * number + 2 > struct.unpack_from("<H", buffer, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0
