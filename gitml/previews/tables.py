"""The heads of tables: Arrow IPC files, Parquet, comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO

from gitml.errors import CorruptData
from gitml.materializers.base import library
from gitml.previews import arrays, ipc
from gitml.previews.preview import COLUMNS, ROWS, Preview, cell, headed, rows_note

SMALL = 16 << 20
"""Bytes of a file that is read as a whole."""
_HEAD = 64 << 10
_TEXT = 1024
"""Bytes of the result of an item that are looked at where it is a text."""
_PARQUET = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1_000_000}


def arrow(file: BinaryIO, size: int, known: Mapping[str, Any]) -> Preview:
    """The first rows of an Arrow IPC file or stream; ``known`` are the metadata of the value.

    The columns have the types that are known of them, which are those of pandas or polars. Raises
    CorruptData, and what pyarrow raises.
    """
    schema, head, rows = _head(file, size, known.get("rows"))
    return _table(schema, head, rows, known)


def items(file: BinaryIO, size: int, known: Mapping[str, Any]) -> Preview:
    """The results of the first items of a mapped step, each as its materializer wrote it.

    JSON and texts are shown, of an array its shape, of other values how long they are. Raises
    CorruptData, and what pyarrow raises.
    """
    schema, head, count = _head(file, size, known.get("items"))
    if schema.names != ["materializer", "value"] or any(one is None for one in head):
        return _table(schema, head, count, {})
    pairs = zip(*(one.slice(0, ROWS).to_pylist() for one in head), strict=True)
    rows = [[str(n), *_item(*pair)] for n, pair in enumerate(pairs)]
    notes = rows_note(len(rows), count)
    facts = {"items": count} if count is not None else {}
    return Preview("table", facts, [("item", ""), ("value", "")], rows, notes=notes)


def _item(materializer: str, data: bytes) -> list[str]:
    """The cells of one result."""
    name = materializer.partition("/")[0]
    if name in ("json", "structured", "text"):
        return [cell(data[:_TEXT].decode("utf-8", "replace"))]
    if name == "npy":
        found = arrays.npy(io.BytesIO(data), len(data))
        is_cut = any("cut off" in note for note in found.notes)
        words = [f"{key} {one}" for key, one in found.facts.items()]
        return [cell(", ".join([*["cut off"] * is_cut, *words]))]
    return [cell(f"{materializer}, {len(data):,} bytes")]


def _head(file: BinaryIO, size: int, rows: object) -> tuple[Any, list[Any], int | None]:
    """The schema of an IPC file or stream, its first rows as arrays, and how many it has.

    ``rows`` is what is known of their number, for a file too large to be read.
    """
    pa = library("pyarrow", "arrow")
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    if size <= SMALL:
        whole = _whole(pa, pa.py_buffer(file.read()), is_file)
        whole.validate(full=True)
        head = [column.combine_chunks() for column in whole.slice(0, ROWS).columns[:COLUMNS]]
        return whole.schema, head, whole.num_rows
    start = 8 if is_file else 0
    file.seek(start)
    schema = pa.ipc.read_schema(pa.ipc.read_message(pa.PythonFile(file, "r")))
    file.seek(start)
    head = ipc.first_rows(file, list(schema)[:COLUMNS], ROWS)
    return schema, list(head), rows if isinstance(rows, int) else None


def parquet(file: BinaryIO) -> Preview:
    """The first rows of a Parquet file: pages of its first row group; raises what pyarrow does."""
    pa = library("pyarrow", "arrow")
    pq = library("pyarrow.parquet", "arrow")
    with pq.ParquetFile(
        pa.PythonFile(file, "r"), buffer_size=_HEAD, pre_buffer=False, **_PARQUET
    ) as opened:
        schema, metadata = opened.schema_arrow, opened.metadata
        arrays: list[Any] = [None] * min(COLUMNS, len(schema))
        if metadata.num_row_groups and not _is_large(metadata.row_group(0)):
            names = schema.names[:COLUMNS]
            batches = opened.iter_batches(ROWS, row_groups=[0], columns=names, use_threads=False)
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=True)
                arrays = batch.columns
                schema = pa.schema([*batch.schema, *list(schema)[len(batch.schema) :]])
        return _table(schema, arrays, metadata.num_rows, {})


def separated(data: bytes, *, whole: bool) -> Preview:
    """The first lines of a table of comma- or tab-separated values; ``data`` is its beginning."""
    text = data.decode("utf-8-sig", "replace").replace("\0", "\\0")
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    first = text.split("\n", 1)[0]
    mark = max(",\t;|", key=first.count)
    try:
        lines = list(islice(csv.reader(io.StringIO(text), delimiter=mark), ROWS + 2))
    except csv.Error as error:
        raise CorruptData("not a table of separated values") from error
    if not lines:
        return Preview("table", {"rows": 0}, notes=("it is empty",))
    is_cut = not whole and len(lines) == 1  # nothing says that the first line ends there
    names = lines[0]
    if is_cut and not text.endswith("\n"):
        names = names[:-1] or names
    columns, notes = headed(((name, "") for name in names), is_cut=is_cut)
    rows = [
        [cell(one) for one in [*row, *[""] * len(columns)][: len(columns)]]
        for row in lines[1 : ROWS + 1]
    ]
    if not whole or len(lines) > ROWS + 1:
        notes = [f"the first {len(rows)} rows", *notes]
    return Preview("table", {}, columns, rows, notes=notes)


def _table(
    schema: Any, arrays: Sequence[Any], rows: int | None, known: Mapping[str, Any]
) -> Preview:
    """The preview of a table with these first rows, as arrays."""
    kinds = {
        one[0]: one[1]
        for one in known.get("columns", ())
        if isinstance(one, list) and len(one) == 2
    }
    if "dtype" in known and len(schema):
        kinds[schema.names[0]] = known["dtype"]
    columns, notes = headed(
        (field.name, str(kinds.get(field.name, field.type))) for field in schema
    )
    listed = [None if one is None else one.slice(0, ROWS) for one in arrays[:COLUMNS]]
    count = max((len(one) for one in listed if one is not None), default=0)
    cells = [["…"] * count if one is None else _cells(one) for one in listed]
    shown = [list(row) for row in zip(*cells, strict=True)] if count else []
    facts: dict[str, Any] = {"rows": rows} if rows is not None else {}
    facts["columns"] = len(schema)
    if rows == 0:
        notes = ["it has no rows", *notes]
    elif not count and len(schema):
        notes = ["its first rows cannot be read without the rest", *notes]
    else:
        notes = [*rows_note(count, rows), *notes]
    return Preview("table", facts, columns, shown, notes=notes)


def _cells(array: Any) -> list[str]:
    found = []
    for one in array:
        try:
            found.append(cell(one.as_py()))
        except (ValueError, OverflowError, UnicodeDecodeError):  # a date that Python lacks
            found.append(cell(str(one)))
    return found


def _whole(pa: Any, data: Any, is_file: bool) -> Any:
    """All of a small file or stream as a table."""
    with (pa.ipc.open_file if is_file else pa.ipc.open_stream)(data) as opened:
        return opened.read_all()


def _is_large(group: Any) -> bool:
    """Whether a page of a row group may take more memory than a preview is worth."""
    columns = (group.column(place) for place in range(min(COLUMNS, group.num_columns)))
    return any(one.total_uncompressed_size > 4 * SMALL for one in columns)
