"""The calls of a pipeline with what a run says of them; options and policies have their own."""

from __future__ import annotations

import pytest

from gitml import pipeline, step
from gitml.errors import UsageError
from gitml.pipelines.graph import override


@step
def number(start: int = 1) -> int:
    return start


@step
def double(value: int, times: int = 2) -> int:
    return value * times


def test_parameters_of_steps_can_be_replaced() -> None:
    @pipeline
    def example() -> None:
        double(double(number()))

    nodes = override(example.compose({}), {"double_2.times": 9, "number.start": 4})
    assert [node.bindings.get("times") for node in nodes] == [None, 2, 9]
    assert nodes[0].bindings == {"start": 4}
    for path, words in (
        ("double_3.times", "no step has the parameter `double_3.times`"),
        ("double.speed", "no step has the parameter `double.speed`"),
        ("double.value", "the output of another step"),
    ):
        with pytest.raises(UsageError, match=words):
            override(example.compose({}), {path: 1})
