"""The canonical text of plain data."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import pathlib
import re
import struct
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.code.values import NotPlain, TooLarge, canonical_value, looks_secret


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Config:
    depth: int = 3
    colour: Colour = Colour.RED


@dataclasses.dataclass(slots=True)
class Slotted:
    depth: int = 3


class Pair(collections.namedtuple("Pair", "a b")):
    __slots__ = ()


def name_of(value: Any) -> str:
    if not hasattr(value, "__qualname__"):
        raise NotPlain
    return str(value.__qualname__)


def test_what_is_no_data_is_refused_where_nothing_refers_to_it() -> None:
    for value in (len, Colour, [object()]):
        with pytest.raises(NotPlain):
            canonical_value(value)


def text_of(value: object, **options: Any) -> str:
    return canonical_value(value, name_of, **options)


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5)
)
HASHABLE = st.recursive(ATOMS, lambda one: st.lists(one, max_size=3).map(tuple), max_leaves=5)
VALUES = st.recursive(
    HASHABLE,
    lambda one: st.one_of(
        st.lists(one, max_size=3),
        st.dictionaries(HASHABLE, one, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=8,
)


def identity(value: Any) -> Any:
    """A value with its types, so that == is as strict as the canonical text."""
    if isinstance(value, float):
        return ("float", "nan" if value != value else struct.pack(">d", value))
    if isinstance(value, dict):
        return ("dict", [(identity(k), identity(v)) for k, v in value.items()])
    if isinstance(value, (set, frozenset)):
        return (type(value), sorted(repr(identity(one)) for one in value))
    if isinstance(value, (list, tuple)):
        return (type(value), [identity(one) for one in value])
    return (type(value), value)


def test_the_form_is_as_documented_for_ever() -> None:
    value = {"é": [1, -16.5, None], (True, b"x"): {"b", "a"}, int: np.int16(3), "c": Config()}
    assert text_of(value) == (
        'dict["\\u00e9" list[0x1 float -0x1.0800000000000p+4 none ] '
        'tuple[true bytes "78" ] set["a" "b" ] '
        """@"int" array "[('', '<i2')]" "()" "0300" """
        '"c" dataclass[@"Config" dict["depth" 0x3 "colour" enum[@"Colour" "RED" ] ] ] ]'
    )
    assert text_of("/one/x", root="/one") == 'root "/x"'


@given(VALUES, VALUES)
def test_texts_agree_exactly_when_types_and_values_do(one: Any, other: Any) -> None:
    assert (text_of(one) == text_of(other)) is (identity(one) == identity(other))


@given(st.permutations([*range(20), 1024, 2048, 4096, "a", "b", None]))
def test_a_set_has_one_text_whatever_its_order(members: list[Any]) -> None:
    backwards: set[Any] = set()
    for member in reversed(members):
        backwards.add(member)
    assert text_of(set(members)) == text_of(backwards)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Config(3), Config(4)),
        (Config(), Config(colour=Colour.BLUE)),
        (Slotted(3), Slotted(4)),
        (Pair(1, 2), (1, 2)),
        (collections.deque([1]), [1]),
        (collections.defaultdict(list), collections.defaultdict(set)),
        (functools.partial(len, 1), functools.partial(len, 2)),
        (re.compile("a"), re.compile("a", re.IGNORECASE)),
        (pathlib.PurePosixPath("a"), "a"),
        (range(3), range(4)),
        (dt.date(2026, 1, 1), dt.datetime(2026, 1, 1)),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
        (np.arange(3), np.arange(3.0)),
        (np.arange(4), np.arange(4).reshape(2, 2)),
        (np.float64(1), 1.0),
        (int, float),
    ],
)
def test_values_that_differ_have_different_texts(one: Any, other: Any) -> None:
    assert text_of(one) != text_of(other)
    assert text_of(one) == text_of(one)


def test_an_attribute_set_on_a_dataclass_counts() -> None:
    config = Config()
    config.extra = 1  # type: ignore[attr-defined]
    assert text_of(config) != text_of(Config())


def test_paths_below_the_root_are_written_from_there() -> None:
    assert text_of("/one/data", root="/one") == text_of("/two/data", root="/two")
    assert text_of("/one", root="/one") == text_of("/two", root="/two")
    assert text_of("/one/data", root="/one") != text_of("/data", root="/one")
    assert text_of("/oneness", root="/one") == text_of("/oneness")


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [object(), cyclic(), np.array([object()]), [1, object()], iter([])]
)
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(NotPlain):
        text_of(value)


def test_a_value_beyond_the_limit_is_refused_early() -> None:
    assert text_of("x" * 98, limit=100)
    for value in ("x" * 99, np.zeros(100), {"a" * 60, "b" * 60}, list(range(50))):
        with pytest.raises(TooLarge):
            text_of(value, limit=100)


@pytest.mark.parametrize("name", ["HF_TOKEN", "OPENAI_API_KEY", "db_password", "AWS_SECRET_ID"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZER", "MAX_TOKENS", "KEYBOARD", "MODE"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not looks_secret(name)
