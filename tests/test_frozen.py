"""Frozen values behave as frozen dataclasses do, which are the measure here."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pytest

from gitml import frozen
from gitml.frozen import Frozen


class Base(Frozen):
    extra: Mapping[str, int] = frozen.field(default_factory=dict, kw_only=True)


class Point(Base):
    """Where something is."""

    x: int
    y: int = 2
    seen: list[int] = frozen.field(default_factory=list, compare=False, repr=False)

    @cached_property
    def far(self) -> int:
        return self.x + self.y


@dataclasses.dataclass(frozen=True)
class Measure:
    x: int
    y: int = 2
    seen: list[int] = dataclasses.field(default_factory=list, compare=False, repr=False)
    extra: Mapping[str, int] = dataclasses.field(default_factory=dict, kw_only=True)


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, 3), {}),
    ((), {"x": 1, "y": 2}),
    ((1,), {"extra": {"a": 1}}),
    ((1, 2, [3]), {}),
    ((), {}),
    ((1,), {"x": 1}),
    ((1, 2, [], {}), {}),
    ((1,), {"z": 1}),
]


@pytest.mark.parametrize(("given", "named"), CALLS, ids=str)
def test_it_takes_what_a_dataclass_takes(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    try:
        expected = Measure(*given, **named)
    except TypeError:
        with pytest.raises(TypeError, match="Point"):
            Point(*given, **named)
        return
    made = Point(*given, **named)
    assert repr(made) == repr(expected).replace("Measure", "Point")
    assert {name: getattr(made, name) for name in frozen.fields(made)} == vars(expected)


def test_values_are_equal_by_class_and_by_the_fields_that_are_compared() -> None:
    assert Point(1) == Point(1, 2, [9])
    assert Point(1) != Point(2)
    assert Point(1) != Measure(1)

    class Other(Point):
        pass

    assert Other(1) != Point(1)
    assert Other(1).y == 2


def test_what_was_worked_out_once_is_no_part_of_a_value() -> None:
    one, other = Point(1), Point(1)
    assert one.far == 3
    assert one == other
    assert repr(one) == repr(other)


def test_nothing_is_set_or_taken_away_later() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="Point is frozen: x cannot be set"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="y cannot be deleted"):
        del point.y
    assert point == Point(1)


def test_defaults_are_made_for_each_value() -> None:
    Point(1).seen.append(1)
    assert Point(1).seen == []


class Pair(Frozen):
    left: str
    right: int = 0


def test_hashes_go_with_equality() -> None:
    assert {Pair("a"), Pair("a", 0), Pair("b")} == {Pair("a"), Pair("b")}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_copies_are_equal() -> None:
    pair = Pair("a", 1)
    assert frozen.replace(pair, right=2) == Pair("a", 2)
    assert pickle.loads(pickle.dumps(pair)) == copy.deepcopy(pair) == pair
    with pytest.raises(TypeError, match="Pair has no field middle"):
        frozen.replace(pair, middle=1)
