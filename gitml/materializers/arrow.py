"""Arrow tables and record batches as uncompressed Arrow IPC in one canonical layout.

**Format 1.** A ``Table`` is an IPC *file*, a ``RecordBatch`` an IPC *stream*; each holds exactly
one record batch. Arrow leaves much of a column's memory open: how it is cut into chunks, what
stands under a null, the bits behind the last row, values that no list refers to. All of that is
made canonical before it is written, so that equal tables give equal bytes. Keys of schema and field
metadata are sorted. Refused: unions, run-end encoded columns and list views.
"""

from __future__ import annotations

from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

_EXTENSION = b"ARROW:extension:name"


class ArrowMaterializer(Materializer):
    """``pyarrow.Table`` and ``pyarrow.RecordBatch``, with schema metadata and dictionaries."""

    name = "arrow"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The IPC bytes; raises UnsupportedValue with the column that has no canonical layout."""
        pa = library("pyarrow", "arrow")
        if type(value) is pa.RecordBatch:
            return write(pa.Table.from_batches([value]), stream=True)
        if type(value) is pa.Table:
            return write(value)
        raise UnsupportedValue(f"value is a {type_name(value)}, not an Arrow table")

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The table in one chunk, or the record batch; raises CorruptData."""
        return read(content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The number of rows, and the columns as pairs of name and type."""
        columns: list[JSON] = [[field.name, str(field.type)] for field in value.schema]
        return {"rows": value.num_rows, "columns": shown(columns)}


def write(table: Any, *, stream: bool = False) -> bytes:
    """The canonical IPC file (or stream) of a table; raises UnsupportedValue."""
    pa = library("pyarrow", "arrow")
    library("pyarrow.compute", "arrow")  # it is no attribute before somebody imports it
    columns = []
    for index, field in enumerate(table.schema):
        try:
            whole = _one_chunk(pa, table.column(index))
            columns.append(_canonical(pa, whole))
        except pa.ArrowException as error:
            raise UnsupportedValue(
                f"the column {field.name!r} of type {field.type} cannot be stored exactly",
                hint="a column of more than 2 GiB of text needs the type `large_string`",
            ) from error
    schema = pa.schema(
        [_sorted_metadata(field) for field in table.schema], _sorted(table.schema.metadata)
    )
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=None)
    opened = pa.ipc.new_stream if stream else pa.ipc.new_file
    with opened(sink, schema, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def read(raw: bytes) -> Any:
    """The table (from an IPC file) or record batch (from a stream), fully validated.

    Validated, because offsets that point outside their buffer would otherwise read foreign memory.
    Raises CorruptData, and UnsupportedValue for an extension type that nothing here defines.
    """
    pa = library("pyarrow", "arrow")
    try:
        source = pa.BufferReader(raw)
        if raw.startswith(b"ARROW1"):
            value = pa.ipc.open_file(source).read_all()
        else:
            value = pa.ipc.open_stream(source).read_next_batch()
        value.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
        raise CorruptData("not a table in Arrow IPC format") from error
    for field in value.schema:
        unknown = (field.metadata or {}).get(_EXTENSION)
        if unknown is not None:
            raise UnsupportedValue(
                f"the column {field.name!r} has the Arrow extension type {unknown.decode()!r}, "
                "which is not registered here",
                hint="import the library that defines it before the value is loaded",
            )
    return value


def _sorted(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    return dict(sorted(metadata.items())) if metadata else metadata


def _sorted_metadata(field: Any) -> Any:
    return field.with_metadata(_sorted(field.metadata)) if field.metadata else field


def _one_chunk(pa: Any, column: Any) -> Any:
    """A column as one array; dictionaries that differ between chunks are united."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.unify_dictionaries().combine_chunks()


def _canonical(pa: Any, array: Any) -> Any:
    """An equal array of which every byte follows from its values."""
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _canonical(pa, array.storage))
    if types.is_dictionary(kind):
        indices, values = _canonical(pa, array.indices), _canonical(pa, array.dictionary)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if types.is_null(kind):
        return pa.nulls(len(array))
    if types.is_boolean(kind):
        bits = _bits(pa.compute.fill_null(array, False))
        return _built(pa, array, [pa.py_buffer(bits)])
    if types.is_string_view(kind) or types.is_binary_view(kind):
        large = pa.large_string() if types.is_string_view(kind) else pa.large_binary()
        return _canonical(pa, array.cast(large)).cast(kind)
    if types.is_nested(kind) or types.is_run_end_encoded(kind):
        return _nested(pa, array)
    return _nulls_cleared(pa, array) if array.null_count else _compact(pa, array)


def _compact(pa: Any, array: Any) -> Any:
    """A flat array over buffers that hold its values and nothing else; a copy only if need be."""
    if len(array) == 0:
        return pa.array([], array.type)
    if array.offset == 0 and array.get_total_buffer_size() == array.nbytes:
        return array
    return pa.concat_arrays([array, array.slice(0, 0)])


def _nulls_cleared(pa: Any, array: Any) -> Any:
    """A flat array with zero bytes, or no text, under its nulls."""
    types, kind = pa.types, array.type
    if types.is_string(kind) or types.is_large_string(kind):
        filled = pa.compute.fill_null(array, pa.scalar("", kind))
    elif types.is_binary(kind) or types.is_large_binary(kind):
        filled = pa.compute.fill_null(array, pa.scalar(b"", kind))
    else:
        width = kind.bit_width // 8
        flat = array.view(pa.binary(width))
        filled = pa.compute.fill_null(flat, pa.scalar(b"\0" * width, flat.type))
    return _built(pa, array, _compact(pa, filled).buffers()[1:])


def _nested(pa: Any, array: Any) -> Any:
    """A canonical list, map or struct: children without what only a null refers to."""
    types, kind = pa.types, array.type
    if types.is_struct(kind):
        children = [_canonical(pa, child) for child in array.flatten()]
        return _built(pa, array, [], children)
    if types.is_map(kind):
        array = _entries(pa, array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0)
        ends = pa.compute.cumulative_sum(lengths)
        offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
        child = _canonical(pa, array.flatten())
        return _built(pa, array, [offsets.buffers()[1]], [child], kind)
    if types.is_fixed_size_list(kind):
        return _built(pa, array, [], [_canonical(pa, _filled_children(pa, array))])
    raise UnsupportedValue(
        f"an Arrow column of type {kind} has no canonical layout",
        hint="cast it to a plain type before it is returned",
    )


def _entries(pa: Any, array: Any) -> Any:
    """A map array seen as the list of its key-value structs, over the same memory."""
    kind = array.type
    entries = pa.StructArray.from_arrays(
        [array.keys, array.items], fields=[kind.key_field, kind.item_field]
    )
    return pa.Array.from_buffers(
        pa.list_(pa.field("entries", entries.type, nullable=False)),
        len(array),
        array.buffers()[:2],
        offset=array.offset,
        children=[entries],
    )


def _filled_children(pa: Any, array: Any) -> Any:
    """The children of a fixed-size list, nulls where the list itself is null."""
    size = array.type.list_size
    if array.null_count == 0:
        return array.flatten()
    taken: list[int | None] = []
    for index, valid in enumerate(array.is_valid().to_pylist()):
        start = (index + array.offset) * size
        taken += range(start, start + size) if valid else [None] * size
    return array.values.take(pa.array(taken, pa.int64()))


def _built(
    pa: Any, like: Any, buffers: list[Any], children: list[Any] | None = None, kind: Any = None
) -> Any:
    """An array of these buffers with the validity of ``like``; no bitmap when nothing is null."""
    validity = pa.py_buffer(_bits(like.is_valid())) if like.null_count else None
    return pa.Array.from_buffers(
        kind or like.type, len(like), [validity, *buffers], like.null_count, children=children
    )


def _bits(booleans: Any) -> bytes:
    """The values of a boolean array without nulls as a bitmap, zero behind the last one."""
    count = len(booleans)
    if count == 0:
        return b""
    raw: bytes = booleans.buffers()[1].to_pybytes()
    number = int.from_bytes(raw, "little") >> int(booleans.offset)
    return (number & ((1 << count) - 1)).to_bytes((count + 7) // 8, "little")
