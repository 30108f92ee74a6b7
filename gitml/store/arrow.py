"""The stored form of a tree: an Arrow IPC stream of one record batch, read with suspicion.

The stream is written by one library and may be read by another; what holds both together is the
digest over the canonical form, which is computed again from whatever was read.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from operator import gt
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store.knowntrees import KnownTrees, Proof
from gitml.store.tree import MAX_ARROW_BYTES, MAX_ENTRIES, Columns, Tree, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

_CONTINUES = 0xFFFFFFFF
_SCHEMA = bytes.fromhex(
    "ffffffff400100001000000000000a000e000600050008000a000000000104001000000000000a000c000000"
    "040008000a0000003c00000004000000010000000c00000008000c0004000800080000001000000004000000"
    "01000000310000000a0000006769746d6c2e74726565000004000000a8000000640000003400000004000000"
    "78ffffff0000000f10000000180000000400000000000000060000006469676573740000aaffffff20000000"
    "a4ffffff00000002100000001800000004000000000000000400000073697a6500000000d6ffffff40000000"
    "d0ffffff00000002100000001c0000000400000000000000040000006d6f6465000006000800040006000000"
    "20000000100014000800000007000c00000010001000000000000004100000001c0000000400000000000000"
    "0400000070617468000000000400040004000000"
)
_HEAD = bytes.fromhex("14000000000000000c0016000600050008000c000c0000000003040018000000")
_MIDDLE = bytes.fromhex("00000a0018000c00040008000a000000ac00000010000000")
_BUFFERS = bytes.fromhex("0000000009000000")
_NODES = bytes.fromhex("0000000004000000")
_END = bytes.fromhex("ffffffff00000000")
_BATCH = struct.Struct(f"<{len(_HEAD)}sQ{len(_MIDDLE)}sQ8s18Q8s8Q")
_MESSAGE = struct.Struct("<Ii")


def encode(tree: Tree) -> bytes:
    """The tree as an uncompressed Arrow IPC stream of one record batch.

    The bytes that the library would write, put together here: importing it takes longer than
    adding ten thousand files.
    """
    offsets, paths, modes, sizes, digests = tree.columns
    buffers = [memoryview(column).cast("B") for column in (offsets, paths, modes, sizes, digests)]
    lengths = [len(buffer) for buffer in buffers]
    pieces: list[bytes | memoryview] = [_SCHEMA, _batch_message(len(tree), lengths)]
    for buffer in buffers:
        pieces += (buffer, bytes(-len(buffer) % 8))
    return b"".join([*pieces, _END])


def _batch_message(count: int, lengths: Sequence[int]) -> bytes:
    """The message before the buffers of a record batch: where each of them is."""
    places: list[int] = []
    position = 0
    for number, length in enumerate(lengths):
        if number != 1:  # the second buffer of the first column; every column begins with a bitmap
            places += (position, 0)
        places += (position, length)
        position += length + -length % 8
    nodes = (count, 0) * 4
    batch = _BATCH.pack(_HEAD, position, _MIDDLE, count, _BUFFERS, *places, _NODES, *nodes)
    return _MESSAGE.pack(_CONTINUES, len(batch)) + batch


def decode(
    read: Callable[[], Iterable[bytes]], digest: Digest, known: KnownTrees | None = None
) -> Tree:
    """The tree with this digest from its Arrow form; raises CorruptData if they disagree.

    ``read`` gives the form in pieces. Our own is taken apart while it comes, so that a long one is
    in memory once; for that of another writer it is asked again. Columns that this version does
    not know are left aside; they are no part of the identity. What is ``known`` is not judged
    again, and what was judged is noted there.
    """
    proof = Proof(digest)
    columns = _own_columns(_Pieces(_seen(read(), proof)))
    if columns is None:
        proof = Proof(digest)
        tree = _decode_any(b"".join(_seen(read(), proof)), digest)
    elif known is not None and known.knows(proof):
        return Tree(columns, digest)
    else:
        tree = _judged(columns, digest)
    if tree.digest != digest:
        raise CorruptData(f"the entries of tree {digest.hex} are not what its digest says")
    if known is not None:
        known.note(proof)
    return tree


def _seen(pieces: Iterable[bytes], proof: Proof) -> Iterator[bytes]:
    """The pieces, as the proof takes them in; raises CorruptData when they are too much."""
    for piece in pieces:
        proof.add(piece)
        if proof.length > MAX_ARROW_BYTES:
            raise CorruptData(f"a tree has at most {MAX_ARROW_BYTES:,} bytes")
        yield piece


class _Pieces:
    """Bytes that come in pieces, taken in other portions from the start to the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._rest = memoryview(b"")

    def views(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes, or what is left."""
        while count:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    return
            view, self._rest = self._rest[:count], self._rest[count:]
            count -= len(view)
            yield view

    def take(self, count: int) -> bytes:
        """`views` as one piece."""
        return b"".join(self.views(count))

    def padded(self, count: int) -> bytes:
        """`take`, and behind it what fills up eight bytes is left aside."""
        taken = self.take(count)
        self.take(-count % 8)
        return taken


def _own_columns(stream: _Pieces) -> Columns | None:
    """The columns of a stream that `encode` could have made, or None for any other stream."""
    head = stream.take(len(_SCHEMA) + _MESSAGE.size + _BATCH.size)
    start = len(_SCHEMA) + _MESSAGE.size
    if not head.startswith(_SCHEMA) or len(head) < start + _BATCH.size:
        return None
    fields = _BATCH.unpack_from(head, start)
    count = fields[3]
    if count > MAX_ENTRIES or fields[10] > MAX_ARROW_BYTES:
        return None
    lengths = [4 * (count + 1), fields[10], 4 * count, 8 * count, 32 * count]
    if head[len(_SCHEMA) :] != _batch_message(count, lengths):
        return None
    offsets, paths, modes, sizes, digests = map(stream.padded, lengths)
    if stream.take(len(_END) + 1) != _END:
        return None
    columns = Columns(array("i", offsets), paths, array("I", modes), array("Q", sizes), digests)
    is_covered = columns.offsets[0] == 0 and columns.offsets[-1] == len(paths)
    return columns if is_covered else None


def _judged(columns: Columns, digest: Digest) -> Tree:
    """The tree of columns that nobody has looked at; raises CorruptData."""
    offsets, paths, modes, sizes, digests = columns
    if any(map(gt, offsets, islice(offsets, 1, None))):
        raise CorruptData(f"the entries of tree {digest.hex} cannot be read")
    names = [paths[at:end] for at, end in pairwise(offsets)]
    return Tree.of_columns(names, modes, sizes, digests)


def _decode_any(data: bytes, digest: Digest) -> Tree:
    """The tree in a stream that any writer of Arrow made; raises CorruptData."""
    import pyarrow as pa

    try:
        _refuse_compression(data)
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
        names, modes, sizes, digests = (_column(table, field) for field in arrow_schema())
    except (pa.ArrowException, OSError, struct.error, ValueError, KeyError) as error:
        raise CorruptData(f"the entries of tree {digest.hex} cannot be read") from error
    return Tree.of_columns(
        names.to_pylist(),
        array("I", _fixed_bytes(modes, 4)),
        array("Q", _fixed_bytes(sizes, 8)),
        _fixed_bytes(digests, 32),
    )


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
