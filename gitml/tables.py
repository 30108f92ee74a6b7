"""Tables side by side: what changed in the columns, the rows and the cells of two files.

CSV and TSV, Parquet, Arrow and Feather, JSON lines. Whatever the bytes are, the answer is a
`TableChange`: of what is no table, or too large a one to compare, it says so. The work is linear in
the rows, and the memory is bounded by limits that are checked before anything is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml.errors import UsageError

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
_MAX_NESTED_ROWS = 200_000
_MAX_DEPTH = 60
_MAX_GUESSES = 400
_SHOWN = 12
_KEY = re.compile(r"(?i)^(?:id|key|uuid|guid|index|.*[_ -](?:id|key|uuid)|[a-z]+Id)$")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*\Z")
_JSON_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Statistics:
    """A numeric column in short: its nulls, its least and greatest value, its mean.

    The latter are absent where there is no value, or one that is not a finite number.
    """

    nulls: int
    least: float | None
    greatest: float | None
    mean: float | None


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column on both sides whose cells differ.

    ``cells`` counts them among the rows that both sides have; it is absent where rows could only be
    compared as wholes. The statistics are those of numeric columns, over all rows of a side.
    """

    name: str
    cells: int | None
    old: Statistics | None = None
    new: Statistics | None = None


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs between two tables.

    ``added`` and ``removed`` are columns with their types, ``renamed`` pairs of columns with equal
    content, ``retyped`` columns with both types. ``rows`` is the number of rows on both sides.
    Rows are told apart by the column ``key``, or else ``aligned`` by "position" where there are as
    many on both sides and most are equal, or else compared as wholes, "rows", so that a changed one
    counts as removed and added. ``problem`` says why there is nothing to compare.
    """

    rows: tuple[int, int] = (0, 0)
    added: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    renamed: Sequence[tuple[str, str]] = ()
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    aligned: str = "rows"
    key: str | None = None
    rows_added: int = 0
    rows_removed: int = 0
    rows_changed: int = 0
    columns: Sequence[ColumnChange] = ()
    skipped: Sequence[str] = ()
    problem: str | None = None

    def __bool__(self) -> bool:
        columns = self.added or self.removed or self.renamed or self.retyped
        return bool(columns or self.rows_added or self.rows_removed or self.rows_changed)

    def lines(self) -> Iterator[str]:
        """The change in words, a line each."""
        if self.problem is not None:
            yield self.problem
            return
        yield self._row_line()
        for words, names in (("new", self.added), ("removed", self.removed)):
            yield from (
                f"column {name} ({kind}) is {words}" for name, kind in _first(names.items())
            )
        yield from (f"column {old} is now {new}" for old, new in _first(self.renamed))
        for name, (old, new) in _first(self.retyped.items()):
            yield f"column {name} was {old} and is {new}"
        for column in _first(self.columns):
            yield _column_line(column)
        if self.skipped:
            yield f"not compared: {', '.join(self.skipped[:_SHOWN])}"

    def document(self) -> dict[str, Any]:
        """The change for JSON."""
        if self.problem is not None:
            return {"problem": self.problem}
        return {
            "rows": {
                "old": self.rows[0],
                "new": self.rows[1],
                "added": self.rows_added,
                "removed": self.rows_removed,
                "changed": self.rows_changed,
                "aligned": self.aligned,
                "key": self.key,
            },
            "columns": {
                "added": dict(self.added),
                "removed": dict(self.removed),
                "renamed": [list(one) for one in self.renamed],
                "retyped": {name: list(both) for name, both in self.retyped.items()},
                "changed": [_column_document(one) for one in self.columns],
                "skipped": list(self.skipped),
            },
        }

    def _row_line(self) -> str:
        old, new = self.rows
        counts = [
            f"{count:,} {word}"
            for count, word in (
                (self.rows_added, "added"),
                (self.rows_removed, "removed"),
                (self.rows_changed, "changed"),
            )
            if count
        ]
        how = f" by {self.key}" if self.key is not None else ""
        total = f"{new:,}" if old == new else f"{old:,} → {new:,}"
        same = "the same in another order" if self.aligned == "rows" else "all the same"
        return f"rows {total}: {', '.join(counts) or same}{how if counts else ''}"


def compare_tables(old: bytes | Path, new: bytes | Path, *, key: str | None = None) -> TableChange:
    """What differs between two tables, given as bytes or as files.

    ``key`` names the column that tells rows apart; without it, one that is unique on both sides and
    is called like a key does. Raises UsageError where the ``key`` that was asked for is none, and
    nothing else: bytes that are no table, and tables that are too large, give a ``problem``.
    """
    try:
        before, after = _read(old), _read(new)
    except _NotReadable as error:
        return TableChange(problem=str(error))
    if key is not None:
        _check_key(before, after, key)
    try:
        return _Comparison(before, after, key).change()
    except _arrow_errors() as error:
        return TableChange(problem=f"the tables cannot be compared: {_in_short(error)}")


class _NotReadable(Exception):
    """There is no table here that can be compared; the text says why."""


def _arrow_errors() -> tuple[type[BaseException], ...]:
    """What reading and computing can raise for bytes that somebody made up."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError, TypeError)


def _in_short(error: BaseException) -> str:
    """The first words of a message of a library's: what follows may be the file's content."""
    text = str(error).strip() or type(error).__name__
    return re.split(r"[\n:]", text, maxsplit=1)[0][:80].strip().lower()


# Reading


def _read(source: bytes | Path) -> pa.Table:
    data = _content(source)
    try:
        table = _decoded(data)
        table.validate(full=True)
        return _flat(table)
    except _arrow_errors() as error:
        raise _NotReadable(f"not a readable table: {_in_short(error)}") from error


def _content(source: bytes | Path) -> bytes:
    """The bytes, if they are not too many; a file is read, never mapped, for it may change."""
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise _NotReadable(f"not a readable table: {reason}") from error
    if len(source) > MAX_BYTES:
        raise _NotReadable(f"too large to compare row by row: more than {MAX_BYTES >> 20} MiB")
    return source


def _decoded(data: bytes) -> pa.Table:
    """The table in some bytes, whose first ones tell the format."""
    if data[:4] == b"PAR1":
        return _parquet(data)
    if data[:6] == b"ARROW1":
        return _arrow(data)
    if data[:4] in (b"FEA1", b"PARE"):
        raise _NotReadable("not a readable table: a form that gitml does not read")
    if data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"{":
        return _json(data)
    return _csv(data)


def _refuse_size(rows: int, columns: int) -> None:
    if columns > _MAX_COLUMNS or rows * max(columns, 1) > MAX_CELLS:
        raise _NotReadable(f"too large to compare row by row: {rows:,} rows of {columns:,} columns")


def _refuse_bytes(size: int) -> None:
    if size > MAX_UNPACKED:
        raise _NotReadable(f"too large to compare row by row: {size >> 20:,} MiB unpacked")


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
        texts = [one.name for one in schema if _is_text(one.type)]
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
        raise _NotReadable("not a readable table: a text does not end")
    rest = bare.translate(None, bytes(set(range(256)) - set(b"[]{}\n")))
    for _ in range(_MAX_DEPTH):
        shorter = rest.replace(b"[]", b"").replace(b"{}", b"")
        if len(shorter) == len(rest):
            break
        rest = shorter
    if rest.strip(b"\n"):
        raise _NotReadable("not a readable table: values are nested too deep, or not closed")


def _csv(data: bytes) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    text = _as_utf8(data)
    first = text.lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0].rstrip(b"\r")
    if not first or b"\0" in text[:65536]:
        raise _NotReadable("not a readable table: no line of text")
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
            raise _NotReadable("not a readable table: broken UTF-16") from error
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

    for _ in range(_MAX_DEPTH):
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


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


def _is_plain(kind: pa.DataType) -> bool:
    """Whether values of this type have a size of their own, and can be compared as they are."""
    import pyarrow.types as types

    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


# Comparing


def _check_key(old: pa.Table, new: pa.Table, key: str) -> None:
    """Raise UsageError unless a column can be the key of both tables."""
    for table in (old, new):
        if key not in table.column_names:
            raise UsageError(f"there is no column {key!r} on both sides")


class _Comparison:
    """Two tables, their common columns in a form in which cells can be compared."""

    def __init__(self, old: pa.Table, new: pa.Table, key: str | None) -> None:
        self.old = old
        self.new = new
        self.wanted = key
        self.skipped: list[str] = []
        self.pairs: dict[str, tuple[Any, Any]] = {}
        there = set(new.column_names)
        for name in old.column_names:
            if name in there:
                pair = _comparable(old.column(name), new.column(name))
                if pair is None:
                    self.skipped.append(name)
                else:
                    self.pairs[name] = pair

    def change(self) -> TableChange:
        """What differs."""
        old, new = self.old, self.new
        kinds = {one.name: _kind(one.type) for one in old.schema}
        now = {one.name: _kind(one.type) for one in new.schema}
        removed = {name: kind for name, kind in kinds.items() if name not in now}
        added = {name: kind for name, kind in now.items() if name not in kinds}
        renamed = self._renamed(removed, added)
        for before, after in renamed:
            del removed[before], added[after]
        retyped = {
            name: (kind, now[name]) for name, kind in kinds.items() if now.get(name, kind) != kind
        }
        rows = self._rows()
        return TableChange(
            rows=(old.num_rows, new.num_rows),
            added=added,
            removed=removed,
            renamed=renamed,
            retyped=retyped,
            skipped=self.skipped,
            **rows,
        )

    def _renamed(
        self, removed: Mapping[str, str], added: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """The columns that have the same content under another name."""
        found: list[tuple[str, str]] = []
        if self.old.num_rows != self.new.num_rows or len(removed) * len(added) > _MAX_GUESSES:
            return found
        left = dict(added)
        for before, kind in removed.items():
            for after in [name for name, other in left.items() if other == kind]:
                pair = _comparable(self.old.column(before), self.new.column(after))
                if pair is not None and not _count(_differs(*pair)):
                    found.append((before, after))
                    del left[after]
                    break
        return found

    def _rows(self) -> dict[str, Any]:
        """How rows were told apart, and how many and which cells differ."""
        key = self._key()
        if key is not None:
            return self._by_key(key)
        if self.old.num_rows == self.new.num_rows:
            masks = {name: _differs(*pair) for name, pair in self.pairs.items()}
            changed = _count_any(list(masks.values()))
            if 2 * changed <= self.old.num_rows:
                columns = self._columns({name: _count(mask) for name, mask in masks.items()})
                return {"aligned": "position", "rows_changed": changed, "columns": columns}
        return self._as_wholes()

    def _key(self) -> str | None:
        """The column that tells rows apart: the one that was asked for, or an obvious one."""
        if self.wanted is not None:
            if self.wanted in self.pairs and _is_key(*self.pairs[self.wanted]):
                return self.wanted
            raise UsageError(
                f"the column {self.wanted!r} does not tell rows apart: it has nulls or duplicates"
            )
        for name, pair in self.pairs.items():
            if _KEY.match(name) and not _is_fraction(pair[0].type) and _is_key(*pair):
                return name
        return None

    def _by_key(self, key: str) -> dict[str, Any]:
        import pyarrow.compute as pc

        old_key, new_key = self.pairs[key]
        places = pc.index_in(new_key, value_set=old_key)
        held = pc.is_valid(places)
        both = places.drop_null()
        masks = {
            name: _differs(old.take(both), new.filter(held))
            for name, (old, new) in self.pairs.items()
            if name != key
        }
        columns = self._columns({name: _count(mask) for name, mask in masks.items()})
        return {
            "aligned": "key",
            "key": key,
            "rows_added": self.new.num_rows - len(both),
            "rows_removed": self.old.num_rows - len(both),
            "rows_changed": _count_any(list(masks.values())),
            "columns": columns,
        }

    def _as_wholes(self) -> dict[str, Any]:
        """Rows as a multiset: how many stand more often on one side than on the other."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.pairs:
            surplus = self.new.num_rows - self.old.num_rows
            return {"rows_added": max(surplus, 0), "rows_removed": max(-surplus, 0)}
        names = [f"c{place}" for place in range(len(self.pairs))]
        sides = []
        for side, weight in ((0, -1), (1, 1)):
            arrays = [pair[side] for pair in self.pairs.values()]
            count = pa.repeat(pa.scalar(weight, pa.int64()), len(arrays[0]))
            sides.append(pa.table([*arrays, count], [*names, "weight"]))
        grouped = pa.concat_tables(sides).group_by(names, use_threads=False)
        sums = grouped.aggregate([("weight", "sum")])["weight_sum"]
        zero = pa.scalar(0, pa.int64())
        added = pc.sum(pc.max_element_wise(sums, zero)).as_py() or 0
        removed = -(pc.sum(pc.min_element_wise(sums, zero)).as_py() or 0)
        columns = self._columns(dict.fromkeys(self.pairs)) if added or removed else ()
        return {"rows_added": added, "rows_removed": removed, "columns": columns}

    def _columns(self, cells: Mapping[str, int | None]) -> list[ColumnChange]:
        """The columns with changed cells, or, where those are unknown, with other statistics."""
        found = []
        for name, count in cells.items():
            if count == 0:
                continue
            old, new = (_statistics(one.column(name)) for one in (self.old, self.new))
            if count is not None or old != new:
                found.append(ColumnChange(name, count, old, new))
        return found


def _comparable(old: Any, new: Any) -> tuple[Any, Any] | None:
    """Two columns as arrays of one type in which cells can be compared; None where they cannot."""
    old, new = _one_array(old), _one_array(new)
    kinds = [one.type.value_type if _is_dictionary(one.type) else one.type for one in (old, new)]
    if all(map(_is_text, kinds)):
        return _codes(old, new)
    if any(map(_is_dictionary, (old.type, new.type))):
        return None
    if kinds[0] == kinds[1] and _is_plain(kinds[0]):
        return old, new
    if all(map(_is_number, kinds)):
        import pyarrow as pa

        return old.cast(pa.float64(), safe=False), new.cast(pa.float64(), safe=False)
    if all(_is_plain(kind) or _is_text(kind) for kind in kinds):
        return _codes(_texts(old), _texts(new))
    if max(len(old), len(new)) <= _MAX_NESTED_ROWS and all(map(_is_list, kinds)):
        return _codes(_texts(old), _texts(new))
    return None


def _one_array(column: Any) -> Any:
    """A column in one piece, dictionaries of its pieces united."""
    if _is_dictionary(column.type) and column.num_chunks:
        column = column.unify_dictionaries()
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _is_dictionary(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_dictionary(kind))


def _is_fraction(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_floating(kind) or types.is_boolean(kind))


def _is_list(kind: pa.DataType, depth: int = 0) -> bool:
    """Whether values are lists of what has a size of its own: their texts are not much larger."""
    import pyarrow.types as types

    if depth > _MAX_DEPTH:
        return False
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_list(kind.value_type, depth + 1)
    if types.is_struct(kind):
        return all(_is_list(kind.field(n).type, depth + 1) for n in range(kind.num_fields))
    return bool(types.is_null(kind)) or _is_plain(kind) or _is_text(kind)


def _texts(array: Any) -> Any:
    """An array as texts, each value as it is written."""
    import pyarrow as pa

    if _is_text(array.type):
        return array
    if _is_plain(array.type):
        return array.cast(pa.string())
    return pa.array([None if one is None else repr(one) for one in array.to_pylist()], pa.string())


def _codes(old: Any, new: Any) -> tuple[Any, Any]:
    """Two arrays of texts as numbers, equal where the texts are; a dictionary is not unfolded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = []
    for array in (old, new):
        found = array.dictionary if _is_dictionary(array.type) else array
        values.append(pc.unique(found.cast(pa.large_binary())))
    known = pc.unique(pa.concat_arrays(values))
    coded = []
    for array in (old, new):
        if _is_dictionary(array.type):
            table = pc.index_in(array.dictionary.cast(pa.large_binary()), value_set=known)
            valid = pc.is_valid(array.dictionary)
            coded.append(pc.if_else(valid, table, None).take(array.indices))
        else:
            places = pc.index_in(array.cast(pa.large_binary()), value_set=known)
            coded.append(pc.if_else(pc.is_valid(array), places, None))
    return coded[0], coded[1]


def _differs(old: Any, new: Any) -> Any:
    """Where two arrays of one length differ; null and NaN are equal to themselves."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    differs = pc.fill_null(pc.not_equal(old, new), False)
    if types.is_floating(old.type):
        both = pc.and_(pc.is_nan(old), pc.is_nan(new))
        differs = pc.and_not(differs, pc.fill_null(both, False))
    return pc.or_(differs, pc.xor(pc.is_null(old), pc.is_null(new)))


def _count(mask: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(mask).as_py() or 0)


def _count_any(masks: Sequence[Any]) -> int:
    """In how many places at least one of the masks is set."""
    import pyarrow.compute as pc

    if not masks:
        return 0
    whole = masks[0]
    for mask in masks[1:]:
        whole = pc.or_(whole, mask)
    return _count(whole)


def _is_key(old: Any, new: Any) -> bool:
    """Whether every value is there, and once, on both sides."""
    import pyarrow.compute as pc

    return all(
        not one.null_count and pc.count_distinct(one).as_py() == len(one) for one in (old, new)
    )


def _statistics(column: Any) -> Statistics | None:
    """What can be said of a numeric column; None of another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_number(column.type):
        return None
    values = column.cast(pa.float64(), safe=False)
    finite = values.filter(pc.is_finite(values))
    if not len(finite):
        return Statistics(column.null_count, None, None, None)
    ends = pc.min_max(finite).as_py()
    mean = pc.mean(finite).as_py()
    return Statistics(column.null_count, ends["min"], ends["max"], mean)


def _kind(kind: pa.DataType) -> str:
    """A type as people write it; a dictionary is how it is stored, not what it is."""
    text = str(kind.value_type if _is_dictionary(kind) else kind)
    return text if len(text) <= 60 else f"{text[:59]}…"


# Words


def _first(items: Any) -> list[Any]:
    return list(items)[:_SHOWN]


def _column_line(column: ColumnChange) -> str:
    cells = "" if column.cells is None else f": {column.cells:,} changed"
    parts = []
    if column.old is not None and column.new is not None:
        for name in ("mean", "least", "greatest", "nulls"):
            old, new = getattr(column.old, name), getattr(column.new, name)
            if old != new:
                parts.append(f"{name} {_number(old)} → {_number(new)}")
    return f"column {column.name}{cells}{', ' if cells and parts else ': ' if parts else ''}" + (
        ", ".join(parts)
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.6g}"


def _column_document(column: ColumnChange) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "cells": column.cells}
    for side, found in (("old", column.old), ("new", column.new)):
        if found is not None:
            document[side] = {
                "nulls": found.nulls,
                "least": found.least,
                "greatest": found.greatest,
                "mean": found.mean,
            }
    return document
