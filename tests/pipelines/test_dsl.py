"""Composing pipelines: what the decorators make of calls, and what they refuse."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Annotated, Any

import pytest

from gitml import Artifact, Model, data, pipeline, step
from gitml.errors import InvalidName, UsageError
from gitml.pipelines import dsl
from gitml.pipelines.dsl import Handle
from gitml.pipelines.references import DataFile


@step
def number(start: int = 1) -> int:
    return start


@step
def double(value: int, times: int = 2) -> Annotated[int, "doubled"]:
    return value * times


@step
def split(value: int) -> tuple[Annotated[int, "low"], Annotated[int, "high"]]:
    return value // 2, value - value // 2


def compose(function: Any, **arguments: Any) -> list[dsl.Node]:
    made: dsl.PipelineFunction = pipeline(function)
    return made.compose(made.arguments((), arguments))


def test_a_step_outside_of_a_pipeline_is_the_plain_function() -> None:
    assert double(4) == 8
    assert double(4, times=3) == 12
    assert double.name == "double"
    assert split(5) == (2, 3)


def test_calls_become_nodes_in_order_with_what_they_are_bound_to() -> None:
    def example(times: int = 5) -> None:
        low, _ = split(double(number(), times))
        double(low)

    nodes = compose(example)
    assert [node.name for node in nodes] == ["number", "double", "split", "double_2"]
    assert nodes[1].bindings == {"value": Handle("number", "output"), "times": 5}
    assert nodes[3].bindings == {"value": Handle("split", "low"), "times": 2}


def test_the_same_step_twice_has_two_names_and_a_named_step_its_own() -> None:
    named = step(name="first")(double.function)

    def example() -> None:
        for _ in range(3):
            double(number())
        named(number())

    names = [node.name for node in compose(example)]
    assert names[:4] == ["number", "double", "number_2", "double_2"]
    assert names[4:] == ["number_3", "double_3", "number_4", "first"]


def test_what_a_call_is_given_may_be_data_an_artifact_or_a_version_s_artifact() -> None:
    def example() -> None:
        double(data("raw/numbers.csv"))
        double(Artifact("features", version="9c41f07b"))
        double(Model("clf", version=3).artifact("model"))

    given = [node.bindings["value"] for node in compose(example)]
    assert given[0] == DataFile("raw/numbers.csv")
    assert given[1].spelling == "artifact/features@9c41f07b"
    assert given[2].spelling == "clf@3:model"


def test_pipelines_inside_pipelines_are_one_graph() -> None:
    @pipeline
    def inner(times: int) -> Any:
        return double(number(), times)

    @pipeline
    def outer() -> None:
        double(inner(7))

    nodes = outer.compose({})
    assert [node.name for node in nodes] == ["number", "double", "double_2"]
    assert nodes[1].bindings["times"] == 7
    assert nodes[2].bindings["value"] == Handle("double", "doubled")


def test_pipelines_that_call_each_other_are_named_as_a_cycle() -> None:
    @pipeline
    def egg() -> None:
        hen()

    @pipeline
    def hen() -> None:
        number()
        egg()

    with pytest.raises(UsageError, match="cycle: hen → egg → hen"):
        hen.compose({})


@pytest.mark.parametrize(
    "value", [None, True, 3, 2.5, float("inf"), "text", [1, [2, "x"]], {"a": {"b": (1,)}}]
)
def test_plain_values_are_parameters(value: Any) -> None:
    def example(given: Any) -> None:
        double(number(), given)

    assert compose(example, given=value)[1].bindings["times"] == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "is a object, which is no parameter"),
        ({1: "a"}, "should be text, not 1"),
        ([1, {2}], r"given\[1\] is a set"),
        (b"bytes", "is a bytes, which is no parameter"),
        (lambda: 1, "is a function, which is no parameter"),
    ],
)
def test_other_values_are_refused_where_they_are_given(value: Any, words: str) -> None:
    def example(given: Any) -> None:
        number(given)

    with pytest.raises(UsageError, match=words):
        compose(example, given=value)


def test_an_output_cannot_be_judged_unpacked_or_hidden_in_a_list() -> None:
    def branches() -> None:
        if number():
            double(1)

    def unpacks() -> None:
        _, _ = number()

    def hides() -> None:
        double([number()])

    for function, words in (
        (branches, "not known while the pipeline is composed"),
        (unpacks, "cannot be unpacked"),
        (hides, "inside a container"),
    ):
        with pytest.raises(UsageError, match=words):
            compose(function)


def test_calls_that_do_not_fit_say_so() -> None:
    def too_many() -> None:
        number(1, 2)

    with pytest.raises(UsageError, match="the call of the step number does not fit: too many"):
        compose(too_many)

    @pipeline
    def example(depth: int = 1) -> None:
        number(depth)

    with pytest.raises(UsageError, match="the pipeline example has no parameter `deep`") as caught:
        example.arguments((), {"deep": 2})
    assert caught.value.hint == "did you mean `depth`?"
    with pytest.raises(UsageError, match="cannot be called so: too many") as caught:
        example.arguments((1, 2), {})
    assert caught.value.hint == "its parameters are: depth"


def test_a_pipeline_without_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="calls no step"):
        pipeline(name="empty")(lambda: None).compose({})


def test_names_follow_the_grammar() -> None:
    for make in (
        lambda: step(name="two words")(double.function),
        lambda: pipeline(name="../up")(double.function),
        lambda: Artifact("a/b"),
        lambda: Model("v7"),
        lambda: step(lambda value: value),
    ):
        with pytest.raises(InvalidName):
            make()


def test_arguments_of_a_partial_are_parameters() -> None:
    tripled = step(functools.partial(double.function, times=3))

    def example() -> None:
        tripled(number())

    nodes = compose(example)
    assert nodes[1].bindings["times"] == 3
    assert tripled(2) == 6


@pytest.mark.parametrize(
    "order",
    [
        "from gitml import pipeline",
        "import gitml.pipelines.dsl\nfrom gitml import pipeline",
        "import gitml.repo\nfrom gitml import pipeline",
        "from gitml import step\nimport gitml.api\nfrom gitml import pipeline",
        "import gitml.pipelines.run, gitml.testing.sealed\nfrom gitml import pipeline",
    ],
)
def test_the_decorator_is_the_decorator_in_any_order_of_imports(order: str) -> None:
    check = "assert pipeline(name='p')(lambda: None).name == 'p'"
    done = subprocess.run([sys.executable, "-c", f"{order}\n{check}"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
