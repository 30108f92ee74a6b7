from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.arrow import ArrowMaterializer, read, write
from gitml.testing.materializer_suite import MaterializerSuite

ENTRY = pa.struct([("a", pa.int32()), ("b", pa.string())])
COLUMNS: dict[str, tuple[list[Any], pa.DataType]] = {
    "bool": ([True, None, False, True], pa.bool_()),
    "int8": ([1, None, -3, 0], pa.int8()),
    "float16": ([np.float16(1.5), None, np.float16(-0.0), None], pa.float16()),
    "float64": ([1.5, None, float("inf"), 0.0], pa.float64()),
    "string": (["a", None, "", "ünï"], pa.string()),
    "large string": (["a", None, "", "ünï"], pa.large_string()),
    "string view": (["a" * 20, None, "", "b" * 13], pa.string_view()),
    "binary": ([b"a", None, b"", b"\xff"], pa.binary()),
    "fixed binary": ([b"abc", None, b"def", b"ghi"], pa.binary(3)),
    "decimal": ([decimal.Decimal("1.20"), None, None, decimal.Decimal(0)], pa.decimal128(5, 2)),
    "zoned": ([dt.datetime(2026, 1, 1), None, None, None], pa.timestamp("us", "Europe/Berlin")),
    "date": ([dt.date(2026, 1, 1), None, None, None], pa.date32()),
    "duration": ([dt.timedelta(1), None, None, None], pa.duration("ms")),
    "interval": ([(1, 2, 3), None, (0, 0, 0), None], pa.month_day_nano_interval()),
    "null": ([None] * 4, pa.null()),
    "list": ([[1, 2], None, [], [None]], pa.list_(pa.int64())),
    "list of text": ([["x"], None, ["yy", None], []], pa.large_list(pa.string())),
    "fixed list": ([[1, 2], None, [3, None], [4, 5]], pa.list_(pa.int32(), 2)),
    "struct": ([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 2, "b": None}], ENTRY),
    "list of structs": ([[{"a": 1}], None, [{"b": "x"}, None], []], pa.list_(ENTRY)),
    "map": ([[("a", 1)], None, [("b", None), ("c", 2)], []], pa.map_(pa.string(), pa.int32())),
    "dictionary": (["x", None, "y", "x"], pa.dictionary(pa.int8(), pa.string())),
    "uuid": ([b"0" * 16, None, b"1" * 16, None], pa.uuid()),
}


def table(*names: str) -> pa.Table:
    arrays = {name: pa.array(*COLUMNS[name]) for name in names or COLUMNS}
    return pa.table(arrays).replace_schema_metadata({"z": "1", "a": "2"})


class TestArrow(MaterializerSuite):
    materializer = ArrowMaterializer
    library = "pyarrow"

    def values(self, folder: Path) -> Mapping[str, object]:
        whole = table()
        return {
            "whole": whole,
            "batch": whole.to_batches()[0],
            "no rows": whole.slice(0, 0),
            "nothing": pa.table({}),
            "without metadata": whole.replace_schema_metadata(None),
            "same names": pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
            "not nullable": pa.table(
                [pa.array([1])], pa.schema([pa.field("a", pa.int64(), False, {"unit": "m"})])
            ),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
        union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
        return {
            "runs": (pa.table({"a": runs}), "has no canonical layout"),
            "union": (pa.table({"a": union}), "has no canonical layout"),
            "array": (pa.array([1]), "not an Arrow table"),
        }

    def same(self, left: Any, right: Any) -> bool:
        return type(left) is type(right) and bool(left.equals(right, check_metadata=True))


@pytest.mark.parametrize("name", COLUMNS)
def test_how_a_column_lies_in_memory_does_not_show(name: str) -> None:
    plain = table(name)
    expected = write(plain)
    around = pa.concat_tables([plain.slice(1, 2), plain, plain.slice(0, 1)]).combine_chunks()
    assert write(around.slice(2, 4)) == expected
    assert (
        write(pa.concat_tables([plain.slice(0, 1), plain.slice(1, 0), plain.slice(1)])) == expected
    )


@given(
    st.sampled_from([name for name in COLUMNS if name not in ("null", "uuid")]),
    st.lists(st.integers(0, 3), max_size=20),
    st.lists(st.integers(0, 20), max_size=3),
)
@settings(max_examples=150)
def test_any_rows_cut_anywhere(name: str, rows: list[int], cuts: list[int]) -> None:
    items, kind = COLUMNS[name]
    whole = pa.table({"a": pa.array([items[row] for row in rows], kind)})
    raw = write(whole)
    assert read(raw).equals(whole)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [whole.slice(one, other - one) for one, other in pairwise(edges)]
    assert write(pa.concat_tables(pieces)) == raw


def test_what_stands_under_a_null_does_not_show() -> None:
    def column(hidden: int) -> pa.Table:
        valid = pa.py_buffer(b"\x05")
        data = pa.py_buffer(bytes([1, hidden, 3]))
        return pa.table({"a": pa.Array.from_buffers(pa.int8(), 3, [valid, data])})

    assert column(7).equals(column(9))
    assert write(column(7)) == write(column(9))


def test_dictionaries_of_chunks_become_one() -> None:
    chunks = [pa.array([one]).dictionary_encode() for one in ("x", "y", "x")]
    loaded = read(write(pa.table({"a": pa.chunked_array(chunks)})))
    assert loaded["a"].to_pylist() == ["x", "y", "x"]
    assert loaded["a"].num_chunks == 1


def test_the_order_of_metadata_does_not_show() -> None:
    plain = table("bool")
    turned = plain.replace_schema_metadata({"a": "2", "z": "1"})
    assert write(turned) == write(plain)


def test_offsets_that_point_outside_are_corrupt() -> None:
    raw = bytearray(write(pa.table({"a": ["aaaa", "bbbb"]})))
    place = raw.index((4).to_bytes(4, "little") + (8).to_bytes(4, "little"))
    raw[place + 4 : place + 8] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(CorruptData):
        read(bytes(raw))


def test_an_extension_type_that_nothing_here_knows() -> None:
    field = pa.field("a", pa.int8(), metadata={"ARROW:extension:name": "acme.thing"})
    raw = write(pa.table([pa.array([1], pa.int8())], pa.schema([field])))
    with pytest.raises(UnsupportedValue, match=r"acme\.thing"):
        read(raw)


def test_metadata() -> None:
    facts = ArrowMaterializer().metadata(pa.table({"a": pa.array([1, 2], pa.int8())}))
    assert facts == {"rows": 2, "columns": [["a", "int8"]]}
    wide = pa.table({str(one): [1] for one in range(300)})
    columns = ArrowMaterializer().metadata(wide)["columns"]
    assert isinstance(columns, list) and len(columns) == 201 and columns[-1] == "and 100 more"
