"""Tables read from bytes that somebody made up: whole and in memory, or not at all.

The limits are checked before anything is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.tables.kinds import MAX_DEPTH, is_text

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".tsv", ".parquet", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson")
"""How files are called that `compare_tables` can read."""

MAX_BYTES = 256 << 20
"""A file above this size is not compared."""
MAX_CELLS = 20_000_000
"""Nor is a table with more cells (rows times columns) than this."""
MAX_UNPACKED = 1 << 30
"""Nor one that takes more bytes than this when it is unpacked: declared, or after any batch."""

_MAX_COLUMNS = 10_000
_NUMBER = re.compile(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*\Z")
_JSON_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')


class NotReadable(Exception):
    """There is no table here that can be compared; the text says why."""


def arrow_errors() -> tuple[type[BaseException], ...]:
    """What reading and computing can raise for bytes that somebody made up."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError, TypeError)


def in_short(error: BaseException) -> str:
    """The first words of a message of a library's: what follows may be the file's content."""
    text = str(error).strip() or type(error).__name__
    return re.split(r"[\n:]", text, maxsplit=1)[0][:80].strip().lower()


def read(source: bytes | Path) -> pa.Table:
    """The table in some bytes or in a file, without structs; raises NotReadable."""
    data = _content(source)
    try:
        table = _decoded(data)
        table.validate(full=True)
        return _flat(table)
    except arrow_errors() as error:
        raise NotReadable(f"not a readable table: {in_short(error)}") from error


def _content(source: bytes | Path) -> bytes:
    """The bytes, if they are not too many; a file is read, never mapped, for it may change."""
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise NotReadable(f"not a readable table: {reason}") from error
    if len(source) > MAX_BYTES:
        raise NotReadable(f"too large to compare row by row: more than {MAX_BYTES >> 20} MiB")
    return source


def _decoded(data: bytes) -> pa.Table:
    """The table in some bytes, whose first ones tell the format."""
    if data[:4] == b"PAR1":
        return _parquet(data)
    if data[:6] == b"ARROW1":
        return _arrow(data)
    if data[:4] in (b"FEA1", b"PARE"):
        raise NotReadable("not a readable table: a form that gitml does not read")
    if data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"{":
        return _json(data)
    return _csv(data)


def _refuse_size(rows: int, columns: int) -> None:
    if columns > _MAX_COLUMNS or rows * max(columns, 1) > MAX_CELLS:
        raise NotReadable(f"too large to compare row by row: {rows:,} rows of {columns:,} columns")


def _refuse_bytes(size: int) -> None:
    if size > MAX_UNPACKED:
        raise NotReadable(f"too large to compare row by row: {size >> 20:,} MiB unpacked")


def _parquet(data: bytes) -> pa.Table:
    """A Parquet file. Texts stay behind a dictionary: one of them may stand in every row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    limits = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1_000_000}
    with pq.ParquetFile(pa.BufferReader(data), **limits) as file:
        metadata, schema = file.metadata, file.schema_arrow
        _refuse_size(metadata.num_rows, metadata.num_columns)
        groups = range(metadata.num_row_groups)
        _refuse_bytes(sum(metadata.row_group(n).total_byte_size for n in groups))
        texts = [one.name for one in schema if is_text(one.type)]
    with pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts, **limits) as file:
        batches = _bounded(file.iter_batches(batch_size=16_384, use_threads=False))
        wanted = batches[0].schema if batches else file.schema_arrow
    return pa.Table.from_batches(batches, schema=wanted)


def _arrow(data: bytes) -> pa.Table:
    import pyarrow as pa

    with pa.ipc.open_file(pa.BufferReader(data)) as file:
        _refuse_size(file.num_record_batches, 1)
        batches = _bounded(file.get_batch(place) for place in range(file.num_record_batches))
        return pa.Table.from_batches(batches, schema=file.schema)


def _bounded(batches: Iterator[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches, as long as they are not too many rows or bytes together."""
    rows, size, found = 0, 0, []
    for batch in batches:
        rows += batch.num_rows
        size += batch.get_total_buffer_size()
        _refuse_size(rows, batch.num_columns)
        _refuse_bytes(size)
        batch.validate(full=True)
        found.append(batch)
    return found


def _json(data: bytes) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    _refuse_depth(data)
    longest = max(map(len, data.split(b"\n")))
    _refuse_size(data.count(b"\n"), 1)
    # A block has to hold a line; where blocks are many, their columns may have other types.
    options = json.ReadOptions(use_threads=False, block_size=max(4 << 20, 2 * longest + 2))
    table = json.read_json(pa.BufferReader(data), read_options=options)
    _refuse_size(table.num_rows, table.num_columns)
    return table


def _refuse_depth(data: bytes) -> None:
    """Raise unless values are nested so little that the parser's recursion stays on its stack."""
    bare = _JSON_TEXT.sub(b"", data)
    if b'"' in bare:
        raise NotReadable("not a readable table: a text does not end")
    rest = bare.translate(None, bytes(set(range(256)) - set(b"[]{}\n")))
    for _ in range(MAX_DEPTH):
        shorter = rest.replace(b"[]", b"").replace(b"{}", b"")
        if len(shorter) == len(rest):
            break
        rest = shorter
    if rest.strip(b"\n"):
        raise NotReadable("not a readable table: values are nested too deep, or not closed")


def _csv(data: bytes) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    text = _as_utf8(data)
    first = text.lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0].rstrip(b"\r")
    if not first or b"\0" in text[:65536]:
        raise NotReadable("not a readable table: no line of text")
    counts = {mark: _outside_quotes(first).count(mark) for mark in (b",", b"\t", b";", b"|")}
    mark = max(counts, key=lambda one: counts[one])
    _refuse_size(text.count(b"\n"), counts[mark] + 1)
    cells = first.decode("utf-8", "replace").split(mark.decode())
    is_bare = all(_NUMBER.match(one) for one in cells)
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(use_threads=False, autogenerate_column_names=is_bare),
        parse_options=csv.ParseOptions(delimiter=mark.decode(), newlines_in_values=True),
    )
    _refuse_size(table.num_rows, table.num_columns)
    return table


def _as_utf8(data: bytes) -> bytes:
    """The text in UTF-8: from UTF-16 where a mark says so; what is not UTF-8 is Latin-1."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise NotReadable("not a readable table: broken UTF-16") from error
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1").encode()
    return data


def _outside_quotes(line: bytes) -> bytes:
    return b"".join(line.split(b'"')[::2])


def _flat(table: pa.Table) -> pa.Table:
    """The table with structs as columns of their own, and no two columns of one name."""
    import pyarrow as pa

    for _ in range(MAX_DEPTH):
        if not any(pa.types.is_struct(one.type) for one in table.schema):
            break
        table = table.flatten()
        _refuse_size(table.num_rows, table.num_columns)
    names: dict[str, None] = {}
    for name in table.column_names:
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name}#{number}"
        names[unique] = None
    return table.rename_columns(list(names))
