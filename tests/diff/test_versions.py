"""What differs between versions, as data: deltas, best values, ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.diff.versions import Comparison, Row, compare_versions
from gitml.entities.ids import Digest
from gitml.handles import VersionHandle


@dataclass
class Made:
    """What a comparison asks of a version."""

    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, Any] = field(default_factory=dict)
    signatures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stored:
    digest: Digest


def compare(versions: list[Made], **directions: str) -> Comparison:
    return compare_versions(cast("list[VersionHandle]", versions), directions)


def row(rows: tuple[Row, ...], name: str) -> Row:
    return next(one for one in rows if one.name == name)


def metrics(name: str, *values: float | None, **directions: str) -> Comparison:
    made = [Made({name: one} if one is not None else {}) for one in values]
    return compare(made, **directions)


def test_deltas_go_to_the_version_before_that_has_the_metric() -> None:
    found = row(metrics("acc", 0.5, None, 0.75, 0.5).metrics, "acc")
    assert found.values == (0.5, None, 0.75, 0.5)
    assert found.deltas == (None, None, 0.25, -0.25)


@pytest.mark.parametrize(("direction", "best"), [("max", {1, 3}), ("min", {0}), (None, set[int]())])
def test_the_best_are_marked_by_the_declared_direction_alone(
    direction: str | None, best: set[int]
) -> None:
    directions = {"acc": direction} if direction else {}
    found = row(metrics("acc", 0.5, 0.9, None, 0.9, math.nan, **directions).metrics, "acc")
    assert found.best == best
    assert found.direction == direction


def test_a_metric_of_a_step_has_the_direction_of_its_last_part() -> None:
    assert row(metrics("train.acc", 1.0, acc="max").metrics, "train.acc").best == {0}
    assert row(metrics("acc.train", 1.0, acc="max").metrics, "acc.train").best == set()


def test_ranks_put_absent_and_nan_last() -> None:
    assert metrics("acc", 0.5, None, 0.9, math.nan, acc="max").ranked("acc") == [2, 0, 1, 3]
    assert metrics("loss", 0.5, None, 0.9, loss="min").ranked("loss") == [0, 2, 1]
    assert metrics("acc", 0.5, 0.9).ranked("other") == [0, 1]


def test_parameters_and_artifacts_say_where_they_agree() -> None:
    one, two = Digest("1" * 64), Digest("2" * 64)
    table = compare(
        [
            Made(
                parameters={"depth": 6, "seed": 1}, artifacts={"m": Stored(one), "t": Stored(one)}
            ),
            Made(parameters={"depth": 6}, artifacts={"m": Stored(two), "t": Stored(one)}),
        ]
    )
    assert {one.name: one.same for one in table.parameters} == {"depth": True, "seed": False}
    assert {one.name: one.same for one in table.artifacts} == {"m": False, "t": True}
    assert row(table.artifacts, "m").values == (one, two)


def test_nothing_compares_to_nothing() -> None:
    assert compare([]) == Comparison((), (), (), ())


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_deltas_add_up(values: list[float | None]) -> None:
    found = metrics("m", *values, m="max")
    known = [one for one in values if one is not None]
    if not known:
        assert found.metrics == ()
        return
    (made,) = found.metrics
    steps = [one for one in made.deltas if one is not None]
    assert len(steps) == len(known) - 1
    assert steps == [after - before for before, after in pairwise(known)]
    assert made.best == {i for i, one in enumerate(values) if one == max(known)}
    assert found.ranked("m")[0] in made.best
