"""Trees: a directory as sorted entries, with an identity that no library can change.

The digest of a tree is taken over the canonical form below (docs/format.md, "Trees"), and
the tree is kept as an Arrow IPC stream, which scales to millions of entries. Both are checked
when a tree is read: the Arrow bytes are only as good as the canonical form that they give.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.fs import judge_relative_path, judge_relative_paths
from gitml.store.digest import hash_tree_form

if TYPE_CHECKING:
    import pyarrow as pa

REGULAR = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK})

MAX_ENTRIES = 10_000_000
MAX_ARROW_BYTES = 1024**3
MAX_SIZE = (1 << 63) - 1
_VERSION = b"1"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file or symbolic link of a directory.

    ``path`` is relative with ``/`` (bytes that are no UTF-8 are kept by surrogateescape), ``mode``
    one of REGULAR, EXECUTABLE and SYMLINK, ``size`` in bytes. The bytes under ``digest`` are a
    file's content or a link's target.
    """

    path: str
    mode: int
    size: int
    digest: Digest

    @property
    def raw_path(self) -> bytes:
        """The path as the bytes that sort and hash."""
        return self.path.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Tree:
    """A directory's entries, sorted by the bytes of their paths; empty folders are not kept.

    Made by `Tree.of`, which judges every path.
    """

    entries: tuple[TreeEntry, ...]

    @classmethod
    def of(cls, entries: Iterable[TreeEntry]) -> Tree:
        """The tree of these entries in any order; raises CorruptData for an unsafe one."""
        ordered = sorted(entries, key=lambda entry: entry.raw_path)
        if len(ordered) > MAX_ENTRIES:
            raise CorruptData(f"a tree has at most {MAX_ENTRIES:,} entries")
        judge_relative_paths(entry.raw_path for entry in ordered)
        for entry in ordered:
            if entry.mode not in _MODES or not 0 <= entry.size <= MAX_SIZE:
                raise CorruptData(f"unknown mode or size of {entry.path!r} in a tree")
        return cls(tuple(ordered))

    @property
    def size(self) -> int:
        """The sum of the sizes of all entries, in bytes."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def digest(self) -> Digest:
        """The identity of the tree, from its canonical form."""
        return hash_tree_form(self.canonical_form())

    def canonical_form(self) -> bytes:
        """For each entry: octal mode, space, size, space, digest, space, path, NUL."""
        return b"".join(
            b"%06o %d %s %s\0" % (entry.mode, entry.size, entry.digest.hex.encode(), entry.raw_path)
            for entry in self.entries
        )


def encode(tree: Tree) -> bytes:
    """The tree as an uncompressed Arrow IPC stream of one record batch."""
    import pyarrow as pa

    entries = tree.entries
    columns = [
        pa.array([entry.raw_path for entry in entries], pa.binary()),
        pa.array([entry.mode for entry in entries], pa.uint32()),
        pa.array([entry.size for entry in entries], pa.uint64()),
        pa.array([entry.digest.raw for entry in entries], pa.binary(32)),
    ]
    batch = pa.record_batch(columns, schema=_schema())
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
        columns = [_column(table, field) for field in _schema()]
    except (pa.ArrowException, OSError, struct.error, ValueError, KeyError) as error:
        raise CorruptData(f"the entries of tree {digest.hex} cannot be read") from error
    tree = Tree.of(
        TreeEntry(path.decode("utf-8", "surrogateescape"), mode, size, Digest.from_bytes(raw))
        for path, mode, size, raw in zip(*columns, strict=True)
    )
    if tree.digest != digest:
        raise CorruptData(f"the entries of tree {digest.hex} are not what its digest says")
    return tree


def judge_link_target(path: str, target: bytes) -> None:
    """Check that the symbolic link at ``path`` of a tree cannot lead out of the tree.

    ``..`` may stand only in front and not climb above the tree: the folders of a link are real
    ones there, while a ``..`` behind a name could follow another link first. What comes then is
    judged as any path. Raises CorruptData.
    """
    rest = target
    climbed = 0
    while rest == b".." or rest.startswith(b"../"):
        rest = rest[3:]
        climbed += 1
    if climbed > path.count("/"):
        raise CorruptData(f"the symbolic link {path!r} leads out of its tree: {target[:120]!r}")
    if rest or not climbed:
        try:
            judge_relative_path(rest)
        except CorruptData as error:
            raise CorruptData(
                f"the symbolic link {path!r} is not a plain relative one: {target[:120]!r}"
            ) from error


def _schema() -> pa.Schema:
    """The columns that version 1 writes and needs."""
    import pyarrow as pa

    fields = [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("mode", pa.uint32(), nullable=False),
        pa.field("size", pa.uint64(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
    ]
    return pa.schema(fields, metadata={b"gitml.tree": _VERSION})


def _column(table: pa.Table, field: pa.Field) -> list[object]:
    """A column's values, if it has the type of version 1 and no gaps; raises ValueError."""
    column = table.column(field.name)
    if column.type != field.type or column.null_count:
        raise ValueError(f"the column {field.name} has another type")
    values: list[object] = column.to_pylist()
    return values


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
