"""Tables side by side, against a plain model in Python; and bytes that are none."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.errors import UsageError
from gitml.tables import ColumnChange, Statistics, compare_tables, reading


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=7)
    return sink.getvalue()


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(table, sink, compression="zstd", chunksize=5)
    return sink.getvalue()


def csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa_csv.write_csv(table, sink)
    return sink.getvalue()


def json_lines(table: pa.Table) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


FORMS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": parquet,
    "arrow": arrow,
    "csv": csv,
    "json lines": json_lines,
}
OLD = pa.table({"id": [1, 2, 3], "city": ["Rome", "Oslo", None], "rain": [1.5, 2.5, 3.5]})
NEW = pa.table({"id": [1, 3, 4], "city": ["Roma", None, "Bern"], "rain": [1.5, 2.0, 3.5]})


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_are_told_apart_by_their_key(form: Callable[[pa.Table], bytes]) -> None:
    found = compare_tables(form(OLD), form(NEW))
    assert (found.problem, found.aligned, found.key, found.rows) == (None, "key", "id", (3, 3))
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 1, 2)
    assert {one.name: one.cells for one in found.columns} == {"city": 1, "rain": 1}
    assert found.columns[1] == ColumnChange(
        "rain", 1, Statistics(0, 1.5, 3.5, 2.5), Statistics(0, 1.5, 3.5, 7 / 3)
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_equal_tables_have_no_difference(form: Callable[[pa.Table], bytes]) -> None:
    found = compare_tables(form(OLD), form(OLD))
    assert not found
    assert list(found.lines()) == ["rows 3: all the same"]


def test_formats_can_differ() -> None:
    found = compare_tables(csv(OLD), parquet(NEW))
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 1, 2)


def test_columns_that_came_went_or_changed_their_type_are_named() -> None:
    old = pa.table({"a": [1, 2], "gone": ["x", "y"], "b": [1, 2], "kept": ["p", "q"]})
    new = pa.table({"a": [1.0, 2.5], "fresh": [True, False], "kept": ["p", "q"], "c": [1, 2]})
    found = compare_tables(parquet(old), parquet(new))
    assert found.added == {"fresh": "bool"}
    assert found.removed == {"gone": "string"}
    assert found.renamed == [("b", "c")]
    assert found.retyped == {"a": ("int64", "double")}
    assert {one.name: one.cells for one in found.columns} == {"a": 1}
    assert list(found.lines())[1:5] == [
        "column fresh (bool) is new",
        "column gone (string) is removed",
        "column b is now c",
        "column a was int64 and is double",
    ]


def test_without_a_key_rows_are_compared_in_place_or_as_wholes() -> None:
    old = pa.table({"x": [0.1, 0.2, 0.3, 0.4], "y": ["a", "b", "c", "d"]})
    in_place = pa.table({"x": [0.1, 0.2, 9.0, 0.4], "y": ["a", "b", "c", "d"]})
    found = compare_tables(csv(old), csv(in_place))
    assert (found.aligned, found.rows_changed) == ("position", 1)
    assert [(one.name, one.cells) for one in found.columns] == [("x", 1)]
    moved = compare_tables(csv(old), csv(old.take([3, 0, 1, 2])))
    assert not moved
    assert list(moved.lines()) == ["rows 4: the same in another order"]
    longer = compare_tables(csv(old), csv(pa.concat_tables([old.take([3, 1, 1]), in_place])))
    assert (longer.aligned, longer.rows_added, longer.rows_removed) == ("rows", 4, 1)
    assert longer.rows_changed == 0


def test_a_key_can_be_asked_for() -> None:
    old = pa.table({"city": ["Rome", "Oslo"], "id": [7, 7]})
    new = pa.table({"city": ["Oslo", "Rome"], "id": [7, 8]})
    found = compare_tables(csv(old), csv(new), key="city")
    assert (found.aligned, found.rows_changed) == ("key", 1)
    for key in ("id", "absent"):
        with pytest.raises(UsageError):
            compare_tables(csv(old), csv(new), key=key)


def test_null_and_nan_are_equal_to_themselves() -> None:
    table = pa.table({"x": [float("nan"), None, 1.0], "y": [None, "", "z"]})
    assert not compare_tables(parquet(table), parquet(table))
    other = pa.table({"x": [None, float("nan"), 1.0], "y": ["", "", "z"]})
    found = compare_tables(parquet(table), parquet(other), key=None)
    assert (found.rows_added, found.rows_removed) == (1, 1)


def test_nested_values_are_compared_too() -> None:
    old = pa.table({"id": [1, 2], "box": [{"x": 1, "y": [1, 2]}, {"x": 2, "y": None}]})
    new = pa.table({"id": [1, 2], "box": [{"x": 1, "y": [1, 3]}, {"x": 5, "y": None}]})
    for form in (parquet, arrow, json_lines):
        found = compare_tables(form(old), form(new))
        assert {one.name: one.cells for one in found.columns} == {"box.x": 1, "box.y": 1}


def test_types_of_every_kind_are_compared() -> None:
    import datetime as dt
    import decimal

    columns: dict[str, tuple[Any, Any]] = {
        "bool": (True, False),
        "decimal": (decimal.Decimal("1.20"), decimal.Decimal("1.30")),
        "date": (dt.date(2026, 1, 2), dt.date(2026, 1, 3)),
        "time": (dt.datetime(2026, 1, 2, 3), dt.datetime(2026, 1, 2, 4)),
        "bytes": (b"\xff\x00", b"\xff\x01"),
        "text": ("a", "ä"),
    }
    old = pa.table({"id": [1], **{name: [both[0]] for name, both in columns.items()}})
    new = pa.table({"id": [1], **{name: [both[1]] for name, both in columns.items()}})
    for form in (parquet, arrow):
        found = compare_tables(form(old), form(new))
        assert {one.name for one in found.columns} == set(columns)
        assert not compare_tables(form(new), form(new))


def test_what_cannot_be_compared_is_named() -> None:
    views = pa.array(["a", "b"]).cast(pa.string_view())
    table = pa.table({"id": [1, 2], "view": views})
    found = compare_tables(arrow(table), arrow(table))
    assert (found.skipped, bool(found)) == (["view"], False)
    assert list(found.lines())[-1] == "not compared: view"


# Text files as people have them


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (b"a\tb\n1\tx\n2\ty\n", b"a\tb\n1\tx\n2\tz\n", 1),
        (b"a;b\n1;x,x\n2;y\n", b"a;b\n1;x,x\n2;z\n", 1),
        (b'"a, b",c\n"1\n2",3\n4,5\n', b'"a, b",c\n"1\n2",3\n4,6\n', 1),
        (b"a,b\r\n1,x\r\n2,y\r\n", b"a,b\n1,x\n2,y\n", 0),
        (b"\xef\xbb\xbfa,b\n1,x\n", b"a,b\n1,x\n", 0),
        ("a,b\n1,x\n2,y\n".encode("utf-16"), b"a,b\n1,x\n2,y", 0),
        ("größe\nä\nö\n".encode("latin-1"), "größe\nä\nö\n".encode(), 0),
        (b"1,2\n3,4\n", b"1,2\n3,5\n", 1),
        (b"a,a\n1,2\n3,4\n", b"a,a\n1,2\n3,5\n", 1),
        (b"a\n1\n\n3\n", b"a\n1\n\n3\n", 0),
    ],
)
def test_text_files_as_people_have_them(old: bytes, new: bytes, changed: int) -> None:
    found = compare_tables(old, new)
    assert (found.problem, found.rows_changed, bool(found)) == (None, changed, changed > 0)


# What is no table


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "line feeds": b"\n\n\n",
    "ragged": b"a,b\n1,2,3\n",
    "binary": bytes(range(256)),
    "broken UTF-16": b"\xff\xfe\x00",
    "half a Parquet file": parquet(OLD)[:-20],
    "half an Arrow file": arrow(OLD)[:-20],
    "the first bytes": b"PAR1",
    "the first bytes of Arrow": b"ARROW1\0\0",
    "old Feather": b"FEA1" + bytes(40),
    "broken JSON": b'{"a": 1}\n{"a": \n',
    "types that change": b'{"a": 1}\n{"a": {"b": 1}}\n',
    "a text without an end": b'{"a": "x}\n',
    "deep lists": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep between values": b'{"a":[1,' * 100_000 + b"1" + b"]}" * 100_000,
    "brackets in texts": b'{"a":["]",' * 100_000 + b"1" + b"]}" * 100_000,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_table_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(data)
    for old, new in ((data, csv(NEW)), (csv(OLD), data), (path, path)):
        found = compare_tables(old, new)
        assert found.problem is not None
        assert found.problem.startswith("not a readable table: ")
        assert list(found.lines()) == [found.problem]
        assert found.document() == {"problem": found.problem}


def test_a_file_that_cannot_be_read_is_no_table(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        assert "not a readable table" in str(compare_tables(path, path).problem)


def test_the_message_has_nothing_of_the_content() -> None:
    found = compare_tables(csv(OLD), b"a,b\nhunter2,x,\x1b[31m\n")
    assert found.problem == "not a readable table: csv parse error"


def test_too_large_tables_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "MAX_CELLS", 8)
    for form in FORMS.values():
        found = compare_tables(form(OLD), form(NEW))
        assert str(found.problem).startswith("too large to compare row by row")
    monkeypatch.setattr(reading, "MAX_BYTES", 8)
    path = tmp_path / "a.csv"
    path.write_bytes(csv(OLD))
    assert "too large" in str(compare_tables(path, path).problem)


def test_declared_sizes_are_not_believed() -> None:
    huge = pa.table({"n": pa.nulls(100_000_000)})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, huge.schema) as writer:
        writer.write_table(huge)
    assert len(sink.getvalue()) < 10_000
    assert "too large" in str(compare_tables(sink.getvalue(), sink.getvalue()).problem)


def test_a_column_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"text": pa.array([bytes(8 << 20)])})
    for form in (arrow, parquet):
        bomb = form(table)
        assert len(bomb) < 1 << 20
        found = compare_tables(bomb, bomb)
        assert (found.problem, found.rows, bool(found)) == (None, (1, 1), False)
        with monkeypatch.context() as patch:
            patch.setattr(reading, "MAX_UNPACKED", 4 << 20)
            found = compare_tables(bomb, bomb)
            assert str(found.problem).startswith("too large to compare row by row: ")


def test_a_text_that_stands_in_every_row_is_held_once() -> None:
    """Unfolded, the two sides would be 24 GB."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), ["x" * 4_000_000])
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, pa.schema([("text", texts.type)])) as writer:
        writer.write_table(pa.table({"text": texts}))
    found = compare_tables(sink.getvalue(), sink.getvalue())
    assert (found.problem, found.rows, bool(found)) == (None, (3000, 3000), False)


# Against a model


CELLS = st.one_of(st.none(), st.integers(-3, 3))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "käse"]))
ROWS = st.lists(st.tuples(CELLS, TEXTS), max_size=12)


def table_of(rows: list[tuple[int | None, str | None]]) -> pa.Table:
    return pa.table(
        {"x": pa.array([one[0] for one in rows], pa.int64()), "y": [one[1] for one in rows]},
        pa.schema([("x", pa.int64()), ("y", pa.string())]),
    )


@settings(max_examples=60)
@given(ROWS, ROWS, st.sampled_from([parquet, arrow]))
def test_rows_without_a_key_are_counted_as_a_multiset(
    old: list[Any], new: list[Any], form: Callable[[pa.Table], bytes]
) -> None:
    found = compare_tables(form(table_of(old)), form(table_of(new)))
    assert found.problem is None
    assert found.rows == (len(old), len(new))
    if found.aligned == "position":
        differing = sum(a != b for a, b in zip(old, new, strict=True))
        assert (found.rows_changed, found.rows_added, found.rows_removed) == (differing, 0, 0)
        for place, name in enumerate("xy"):
            cells = {one.name: one.cells for one in found.columns}.get(name, 0)
            assert cells == sum(a[place] != b[place] for a, b in zip(old, new, strict=True))
    else:
        before, after = Counter(old), Counter(new)
        assert found.rows_added == (after - before).total()
        assert found.rows_removed == (before - after).total()


KEYED = st.dictionaries(st.integers(0, 12), st.tuples(CELLS, TEXTS), max_size=10)


@settings(max_examples=60)
@given(KEYED, KEYED, st.randoms(use_true_random=False))
def test_rows_with_a_key_are_counted_by_it(
    old: dict[int, Any], new: dict[int, Any], random: Any
) -> None:
    sides = []
    for rows in (old, new):
        keys = list(rows)
        random.shuffle(keys)
        plain = table_of([rows[key] for key in keys])
        sides.append(plain.append_column("id", pa.array(keys, pa.int64())))
    found = compare_tables(parquet(sides[0]), parquet(sides[1]), key="id")
    both = old.keys() & new.keys()
    assert found.rows_added == len(new.keys() - both)
    assert found.rows_removed == len(old.keys() - both)
    assert found.rows_changed == sum(old[key] != new[key] for key in both)
    for place, name in enumerate("xy"):
        cells = {one.name: one.cells for one in found.columns}.get(name, 0)
        assert cells == sum(old[key][place] != new[key][place] for key in both)


@settings(max_examples=150)
@given(
    st.sampled_from([form(OLD) for form in FORMS.values()]),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6)), min_size=1, max_size=5),
)
def test_a_damaged_file_is_never_an_exception(data: bytes, edits: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(data)
    for place, piece in edits:
        at = place % (len(damaged) + 1)
        damaged[at : at + max(len(piece), 1)] = piece
    found = compare_tables(data, bytes(damaged))
    assert list(found.lines())
    json.dumps(found.document())


@settings(max_examples=150)
@given(st.binary(max_size=80), st.sampled_from([b"", b"PAR1", b"ARROW1\0\0", b"{", b"a,b\n"]))
def test_any_bytes_can_be_compared(data: bytes, begin: bytes) -> None:
    found = compare_tables(begin + data, csv(NEW))
    assert list(found.lines())
