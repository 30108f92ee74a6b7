from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import struct
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import Rules
from gitml.materializers.json import MAX_DEPTH, JsonMaterializer, decode, plain, text
from gitml.testing.materializer_suite import MaterializerSuite

Point = namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


def encode(value: object) -> bytes:
    saved = JsonMaterializer().save(value, Rules())
    assert isinstance(saved, bytes)
    return saved


def same(left: Any, right: Any) -> bool:
    """Equal in type and bits, all the way down; sets and dicts in any order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, np.generic):
        return left.tobytes() == right.tobytes()
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict | set | frozenset):
        # Members that are equal but not the same (0.0 and -0.0) cannot be in one set.
        def members(value: Any) -> list[Any]:
            items = value.items() if isinstance(value, dict) else value
            return sorted(items, key=lambda one: encode(one))

        return len(left) == len(right) and all(map(same, members(left), members(right)))
    return repr(left) == repr(right)


class TestJson(MaterializerSuite):
    materializer = JsonMaterializer
    library = "numpy"

    def values(self, folder: Path) -> Mapping[str, object]:
        return {
            "none": None,
            "true": True,
            "one": 1,
            "one as float": 1.0,
            "minus zero": -0.0,
            "zero": 0,
            "huge": 10**400,
            "below": -(2**63) - 1,
            "nan": math.nan,
            "other nan": struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0],
            "infinite": [math.inf, -math.inf],
            "text": 'π "quoted" \u2028 \x00 😀',
            "list": [1, [2.5, None], {}],
            "tuple": (1, (), [()]),
            "dict": {"b": 1, "a": {"c": (1,)}},
            "dict with other keys": {0: "cat", 1: "dog", (1, 2): None, "x": 3, None: 1},
            "looks like a tag": {"$tuple": [1]},
            "looks like a tag in part": {"$tuple": [1], "a": 2},
            "looks like a dict tag": {"$dict": [["a", 1]]},
            "set": {"a", "b", "c", 1, None, (1, 2), frozenset({"x", "y"})},
            "frozen set": frozenset({"a", "b"}),
            "bytes inside": [b"", b"\x00\xff"],
            "complex": complex(-0.0, math.nan),
            "date": dt.date(1, 1, 1),
            "naive": dt.datetime(2026, 1, 31, 12, 0, 0, 1),
            "utc": dt.datetime(2026, 1, 31, tzinfo=dt.UTC),
            "offset": dt.datetime(2026, 1, 31, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
            "timedelta": dt.timedelta(days=-1, microseconds=1),
            "decimal": [decimal.Decimal("1.50"), decimal.Decimal("-0E-7"), decimal.Decimal("sNaN")],
            "uuid": uuid.UUID(int=7),
            "metrics": {"accuracy": np.float64(0.93), "n": np.int32(3), "ok": np.bool_(True)},
            "small float": [np.float32(0.1), np.float16(math.inf)],
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        loop: list[object] = []
        loop.append([loop])
        deep: list[object] = []
        for _ in range(MAX_DEPTH + 1):
            deep = [deep]
        zoned = dt.datetime(2026, 1, 31, tzinfo=ZoneInfo("UTC"))
        return {
            "enum": ({"a": [0, 1, 2, Colour.RED]}, "value['a'][3] is a "),
            "named tuple": ([Point(1, 2)], "value[0] is a "),
            "ordered dict": (OrderedDict(), "value is a collections.OrderedDict"),
            "surrogate": (["\ud83d"], "value[0] holds a lone surrogate"),
            "surrogate key": ({"\ud83d": 1}, "lone surrogate"),
            "cycle": (loop, "value[0][0] contains itself"),
            "depth": (deep, "more than 100 levels"),
            "zone": ([zoned], "value[0] has a time zone"),
            "named zone": (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "Z")), "zone"),
            "fold": (dt.datetime(2026, 1, 31, fold=1), "fold"),
            "function": ({"f": len}, "value['f'] is a builtin_function_or_method"),
            "array": ({"w": np.zeros(2)}, "value['w'] is a numpy.ndarray"),
            "wide float": ([np.longdouble(1)], "value[0] is a numpy.longdouble"),
        }

    def same(self, left: Any, right: Any) -> bool:
        return same(left, right)


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
TEXT = st.text(st.characters(exclude_categories=("Cs",))) | st.sampled_from(["$", "$set", "$dict"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    FLOATS,
    TEXT,
    st.binary(max_size=20),
    st.complex_numbers(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(dt.UTC)).map(lambda one: one.replace(fold=0)),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.floats(width=32).map(np.float32),
    st.integers(-128, 127).map(np.int8),
)
KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.dates(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXT, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=150)
def test_any_value_comes_back_and_is_written_the_same_again(value: object) -> None:
    raw = encode(value)
    assert same(decode(raw), value)
    assert encode(decode(raw)) == raw


@given(st.dictionaries(TEXT | KEYS, st.integers()), st.randoms(use_true_random=False))
def test_the_order_of_insertion_does_not_show(value: dict[Any, int], random: Any) -> None:
    pairs = list(value.items())
    random.shuffle(pairs)
    assert encode(dict(pairs)) == encode(value)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_value_or_corrupt(source: str) -> None:
    try:
        decode(source.encode("utf-8", "surrogatepass"))
    except CorruptData:
        return


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": [1.5, None]}, '{"a":[1.5,null],"b":1}'),
        ((1, "π"), '{"$tuple":[1,"π"]}'),
        ({2: "b", 1: "a"}, '{"$dict":[[1,"a"],[2,"b"]]}'),
        ({"$x": 1}, '{"$dict":[["$x",1]]}'),
        ({"b", "a"}, '{"$set":["a","b"]}'),
        (2**63, '{"$int":"0x8000000000000000"}'),
        (2**63 - 1, "9223372036854775807"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
        (math.nan, '{"$float":"nan"}'),
        (-math.inf, '{"$float":"-inf"}'),
        (1j, '{"$complex":[0.0,1.0]}'),
        (b"ab", '{"$bytes":"YWI="}'),
        (decimal.Decimal("1.50"), '{"$decimal":"1.50"}'),
        (uuid.UUID(int=7), '{"$uuid":"00000000-0000-0000-0000-000000000007"}'),
        (dt.date(2026, 1, 31), '{"$date":"2026-01-31"}'),
        (dt.datetime(2026, 1, 31, tzinfo=dt.UTC), '{"$datetime":"2026-01-31T00:00:00+00:00"}'),
        (dt.timedelta(days=1, microseconds=2), '{"$timedelta":[1,0,2]}'),
        (np.float32(0.5), '{"$numpy":["float32",0.5]}'),
    ],
)
def test_the_format_is_for_ever(value: object, written: str) -> None:
    assert text(plain(value)) == written
    assert same(decode(written.encode()), value)


def test_a_dict_comes_back_in_key_order() -> None:
    loaded = decode(encode({"b": 1, "a": 2}))
    assert isinstance(loaded, dict) and list(loaded) == ["a", "b"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"$unknown":1}',
        b'{"$int":"0x1","b":2}',
        b"NaN",
        b'{"$numpy":["object",1]}',
        b'{"$set":[[]]}',
        b'{"$date":1}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_was_never_written_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptData):
        decode(raw)


def test_the_deepest_value_comes_back() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = {(): [value]} if not isinstance(value, dict) else [value]
    with pytest.raises(UnsupportedValue):
        encode([[value]] * 60)
    nested: object = 1
    for _ in range(MAX_DEPTH):
        nested = (nested,)
    assert same(decode(encode(nested)), nested)


def test_metadata_shows_what_is_short() -> None:
    facts = JsonMaterializer().metadata
    assert facts(0.93) == {"type": "float", "value": 0.93}
    assert facts("x" * 81) == {"type": "str", "length": 81}
    assert facts(math.nan) == {"type": "float"}
    assert facts({"a": 1}) == {"type": "dict", "length": 1}
