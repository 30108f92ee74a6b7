from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.errors import CorruptData
from gitml.materializers import arrow
from gitml.materializers.base import Rules
from gitml.materializers.pandas import PandasMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

BERLIN = "Europe/Berlin"
HOURS = dt.timezone(dt.timedelta(hours=2))
DAYS = pd.date_range("2026-01-31", periods=3)


def objects(*values: Any) -> pd.Series:
    return pd.Series(list(values), dtype=object)


# One column of three rows for each kind that is kept.
COLUMNS: dict[str, Callable[[], Any]] = {
    "int8": lambda: np.array([1, 2, -3], "int8"),
    "uint64": lambda: np.array([1, 2, 2**63], "uint64"),
    "float": lambda: [1.5, np.nan, -0.0],
    "float16": lambda: np.array([1, np.inf, 3], "float16"),
    "bool": lambda: [True, False, True],
    "str": lambda: ["a", None, "ünï"],
    "str object": lambda: objects("a", None, "b"),
    "str object nan": lambda: objects("a", np.nan, "b"),
    "string python": lambda: pd.array(["a", pd.NA, "b"], dtype=pd.StringDtype("python")),
    "string pyarrow": lambda: pd.array(["a", pd.NA, "b"], dtype=pd.StringDtype("pyarrow")),
    "Int64": lambda: pd.array([1, None, 3], dtype="Int64"),
    "UInt8": lambda: pd.array([1, None, 3], dtype="UInt8"),
    "Float32": lambda: pd.array([1.5, None, 3], dtype="Float32"),
    "boolean": lambda: pd.array([True, None, False], dtype="boolean"),
    "days": lambda: DAYS,
    "nanoseconds": lambda: DAYS.as_unit("ns"),
    "seconds": lambda: pd.DatetimeIndex(["2026-01-31", None, "1900-01-01"]).as_unit("s"),
    "zoned": lambda: DAYS.tz_localize(BERLIN),
    "utc": lambda: pd.to_datetime(["2026", None, "2027"], utc=True),
    "offset": lambda: DAYS.tz_localize(HOURS),
    "timedelta": lambda: pd.to_timedelta(["1s", None, "2s"]),
    "ordered": lambda: pd.Categorical(["b", None, "a"], categories=["b", "a", "z"], ordered=True),
    "numbers as categories": lambda: pd.Categorical([3, 1, 3]),
    "range of categories": lambda: pd.Categorical([0, 2, 1], categories=pd.RangeIndex(3)),
    "cut": lambda: pd.cut([1, 2, 3], 2),
    "period": lambda: pd.PeriodIndex(["2026-01", None, "2026-03"], freq="M"),
    "interval": lambda: pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3], closed="left"),
    "interval of days": lambda: pd.arrays.IntervalArray.from_arrays(
        DAYS.tz_localize(BERLIN), DAYS.tz_localize(BERLIN) + pd.Timedelta("1h"), closed="both"
    ),
    "arrow list": lambda: pd.array([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow string": lambda: pd.array(["x", None, "y"], dtype=pd.ArrowDtype(pa.string())),
    "bytes": lambda: objects(b"a", None, b"\xff"),
    "date": lambda: objects(dt.date(2026, 1, 31), None, dt.date(1, 1, 1)),
    "int object": lambda: objects(1, None, 2**62),
    "bool object": lambda: objects(True, pd.NA, False),
    "float object": lambda: objects(1.5, None, np.nan),
    "nothing but None and nan": lambda: objects(None, np.nan, None),
    "None": lambda: objects(None, None, None),
    "NaT": lambda: objects(pd.NaT, pd.NaT, pd.NaT),
}
# Not every column can label rows: pandas has no index of half floats or of lists.
LABELS = sorted(COLUMNS.keys() - {"float16", "arrow list"})


def frame(*names: str) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(COLUMNS[name]()) for name in names or COLUMNS})


def index(name: str) -> pd.Index:
    values = pd.Series(COLUMNS[name]())
    return pd.Index(values.array, dtype=values.dtype, name=name)


def many_levels() -> pd.MultiIndex:
    days = pd.date_range("2026-01-31", periods=2, tz=BERLIN)
    return pd.MultiIndex.from_product([range(2), ["b", "a"], days], names=["x", None, ("t", 1)])


def save(value: object) -> bytes:
    saved = PandasMaterializer().save(value, Rules())
    assert isinstance(saved, bytes)
    return saved


def load(raw: bytes) -> Any:
    return PandasMaterializer().load(SavedContent(raw), None, Rules())


def same_index(left: Any, right: Any) -> None:
    pd.testing.assert_index_equal(left, right, exact=True, check_exact=True)
    assert getattr(left, "freq", None) == getattr(right, "freq", None)
    assert repr(list(left.names)) == repr(list(right.names))
    if isinstance(left, pd.MultiIndex):
        for one, other in zip(left.levels, right.levels, strict=True):
            same_index(one, other)


def same(left: Any, right: Any) -> bool:
    """As pandas compares, and beyond: missing values by kind, levels, labels, attributes."""
    assert type(left) is type(right)
    same_index(left.index, right.index)
    assert left.attrs == right.attrs
    if isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right, check_exact=True)
        columns = [(left, right)]
    else:
        same_index(left.columns, right.columns)
        pd.testing.assert_frame_equal(left, right, check_exact=True)
        count = len(left.columns)
        columns = [(left.iloc[:, place], right.iloc[:, place]) for place in range(count)]
    for one, other in columns:
        assert repr(one.dtype) == repr(other.dtype)
        assert list(map(repr, one)) == list(map(repr, other))
        if isinstance(one.dtype, pd.StringDtype):
            assert one.dtype.storage == other.dtype.storage
        if isinstance(one.dtype, pd.DatetimeTZDtype):
            assert type(one.dtype.tz) is type(other.dtype.tz)
    return True


class TestPandas(MaterializerSuite):
    materializer = PandasMaterializer
    library = "pandas"

    def values(self, folder: Path) -> Mapping[str, object]:
        plain = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
        noted = plain.copy()
        noted.attrs = {"source": {"rows": (1, 2)}}
        missing = pd.MultiIndex.from_tuples([(1, None), (None, "a"), (2, "b")])
        return {
            "every column": frame(),
            "plain": plain,
            "attrs": noted,
            "levels": pd.DataFrame({"v": range(8)}, index=many_levels()),
            "some of the levels": pd.DataFrame({"v": range(8)}, index=many_levels()).iloc[3:5],
            "levels of columns": pd.DataFrame([range(8)], columns=many_levels()),
            "missing in levels": pd.DataFrame({"v": range(3)}, index=missing),
            "nothing": pd.DataFrame(),
            "rows only": pd.DataFrame(index=range(3)),
            "columns only": pd.DataFrame(columns=["a", "b"]),
            "number columns": pd.DataFrame([[1, 2]], columns=[1, 2.5]),
            "range columns": pd.DataFrame([[1, 2]], columns=pd.RangeIndex(0, 4, 2)),
            "twice the same column": pd.DataFrame([[1, "x"]], columns=["a", "a"]),
            "day columns": pd.DataFrame([[1, 2, 3]], columns=DAYS),
            "hours": pd.DataFrame(
                {"v": range(3)}, index=pd.date_range("2026", periods=3, freq="h", name="h")
            ),
            "months": pd.Series(range(3), index=pd.period_range("2026-01", periods=3, freq="M")),
            "steps": pd.Series(range(3), index=pd.timedelta_range("1h", periods=3, freq="h")),
            "series": pd.Series([1.5, 2.5], name=("a", 1)),
            "series without name": pd.Series([1.5, 2.5]),
            "series of objects": objects("a", "b"),
            "empty series": pd.Series([], dtype="category"),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        class Frame(pd.DataFrame):
            pass

        strict = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
        unnamed = dt.timezone(dt.timedelta(hours=1), "here")
        noted = pd.DataFrame({"a": [1]})
        noted.attrs = {"f": len}
        odd = pd.DataFrame({"a": [1]}, index=objects(1.5))
        odd.index = pd.Index([dt.time(1)], dtype=object)
        return {
            "mixed": (pd.DataFrame({"a": [1, "x"]}), "value['a'] is an object column of int, str"),
            "two kinds of missing": (objects(None, np.nan, "x").to_frame("a"), "of str, None, nan"),
            "dicts": (objects({}), "value is an object column of dict"),
            "too large": (objects(2**70), "value holds a value that Arrow cannot store"),
            "surrogate": (objects("\ud83d"), "value holds a value"),
            "complex": (pd.DataFrame({"a": [1j]}), "value['a'] has dtype complex128"),
            "sparse": (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "Sparse"),
            "big-endian": (pd.DataFrame({"a": np.array([1], ">f8")}), "value['a'] has dtype >f8"),
            "subclass": (Frame({"a": [1]}), "a subclass"),
            "flags": (strict, "allows_duplicate_labels"),
            "zone": (
                pd.DataFrame({"a": DAYS.tz_localize(unnamed)}),
                "value['a'] has the time zone",
            ),
            "attrs": (noted, "value.attrs['f'] is a"),
            "index": (odd, "value.index is an object column of datetime.time"),
        }

    def same(self, left: Any, right: Any) -> bool:
        return same(left, right)


@pytest.mark.parametrize("name", COLUMNS)
def test_each_column_alone(name: str) -> None:
    for value in (frame(name), frame(name)[name], frame(name).iloc[:0], frame(name).iloc[::2]):
        assert same(load(save(value)), value)


@pytest.mark.parametrize("name", LABELS)
def test_each_column_as_labels(name: str) -> None:
    rows = pd.DataFrame({"v": range(3)}, index=index(name))
    assert same(load(save(rows)), rows)
    columns = pd.DataFrame([range(3)], columns=index(name))
    assert same(load(save(columns)), columns)


@given(
    st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4),
    st.lists(st.sampled_from(LABELS), max_size=3),
    st.lists(st.integers(0, 2), max_size=6),
    st.sampled_from([None, "n", 3, ("a", 1)]),
)
@settings(max_examples=60)
def test_any_rows_of_any_columns_under_any_labels(
    names: list[str], labels: list[str], rows: list[int], name: object
) -> None:
    value = pd.concat([frame(one) for one in names], axis=1)
    if len(labels) == 1:
        value.index = index(labels[0])
    elif labels:
        value.index = pd.MultiIndex.from_arrays([index(one) for one in labels])
    value.columns.name = name
    value = value.iloc[rows]
    raw = save(value)
    assert same(load(raw), value)
    assert save(load(raw)) == raw


def test_blocks_do_not_show() -> None:
    whole = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6], "s": ["x", None, "z"]})
    grown = pd.DataFrame({"a": [0, 1, 2, 3]})
    grown["b"] = [0, 4, 5, 6]
    grown["s"] = ["w", "x", None, "z"]
    grown = grown.iloc[1:].reset_index(drop=True)
    assert save(grown) == save(whole)


def test_what_is_loaded_can_be_written_to() -> None:
    loaded = load(save(pd.DataFrame({"a": [1.0, 2.0], "b": [True, False]})))
    loaded.iloc[0, 0] = 5.0
    loaded.loc[1, "b"] = True
    assert loaded["a"].tolist() == [5.0, 2.0]


def test_arrow_reads_it_itself() -> None:
    table = arrow.read(save(pd.DataFrame({"a": [1], "when": DAYS[:1].tz_localize(BERLIN)})))
    assert table.column_names == ["a", "when"]
    assert table["when"].to_pylist() == [dt.datetime(2026, 1, 30, 23, tzinfo=dt.UTC)]


def test_the_description_is_for_ever() -> None:
    value = pd.DataFrame({"c": pd.Categorical(["x"], ordered=True), "d": DAYS[:1]})
    about = json.loads(arrow.read(save(value)).schema.metadata[b"gitml.pandas"])
    labels = about.pop("labels")
    assert arrow.read(base64.b64decode(labels)).column("index").to_pylist() == ["c", "d"]
    text = {"kind": "string", "missing": "nan", "storage": "pyarrow"}
    if not isinstance(value.columns.dtype, pd.StringDtype):  # pandas 2
        text = {"kind": "object", "missing": None, "of": "str"}
    category = {"kind": "category", "labels": {"values": text}, "name": None, "ordered": True}
    assert about == {
        "format": 1,
        "type": "frame",
        "columns": {"kind": "plain", "labels": {"values": text}, "name": None},
        "index": {"kind": "range", "name": None, "range": [0, 1, 1]},
        "arrays": [category, str(value["d"].dtype)],
    }


def test_a_plain_arrow_table_is_no_frame() -> None:
    with pytest.raises(CorruptData):
        load(arrow.write(pa.table({"a": [1]})))


def test_metadata() -> None:
    facts = PandasMaterializer().metadata
    assert facts(pd.DataFrame({"a": [1], 2: [True]})) == {
        "rows": 1,
        "index": "int64",
        "columns": [["a", "int64"], ["2", "bool"]],
    }
    assert facts(pd.Series([1.5], name="x")) == {
        "rows": 1,
        "index": "int64",
        "name": "x",
        "dtype": "float64",
    }
