"""``cache explain``: why a step would run now, and since when."""

from __future__ import annotations

import shutil

import pytest

from gitml.errors import NameNotFound
from gitml.pipelines.explain import Explanation
from tests.workshop import Workshop, states

CODE = """\
from pathlib import Path
import gitml
from gitml import pipeline, step

FACTOR = 2


def scaled(value):
    return value * FACTOR


@step
def read(raw: Path) -> int:
    return len(raw.read_text())


@step
def scale(value: int, offset: int = 0) -> int:
    return scaled(value) + offset


@step(cache=False)
def show(value: int) -> int:
    return value


@pipeline
def example(offset: int = 0):
    show(scale(read(gitml.data("raw.txt")), offset))
"""


@pytest.fixture
def example(workshop: Workshop) -> Workshop:
    workshop.write("raw.txt", "abc")
    workshop.code("pipelines/example.py", CODE)
    return workshop


def explain(workshop: Workshop, step: str) -> Explanation:
    workshop.forget()
    try:
        (found,) = workshop.repo().explain(step, workshop.path)
        return found
    finally:
        workshop.forget()


def test_a_step_that_never_ran(example: Workshop) -> None:
    told = explain(example, "example.read")
    assert (told.outcome, told.since, told.changed) == ("run", None, ())
    told = explain(example, "example.scale")
    assert told.outcome == "unknown"
    assert told.reason == "read has to run first"


def test_a_hit_names_its_execution(example: Workshop) -> None:
    run = example.run("example")
    told = explain(example, "scale")
    assert told.outcome == "cached"
    assert told.hit == told.since == run.steps["scale"].entry.commit
    assert told.changed == ()
    told = explain(example, "example.show")
    assert (told.outcome, told.reason) == ("uncached", "it is declared `cache=False`")


@pytest.mark.parametrize(
    ("old", "new", "step", "part", "how"),
    [
        ("FACTOR = 2", "FACTOR = 3", "scale", "FACTOR", "changed"),
        ("value * FACTOR", "FACTOR * value", "scale", "scaled", "changed"),
        ("offset: int = 0) -> int", "offset: int = 1) -> int", "scale", "scale", "changed"),
        ("example(offset: int = 0)", "example(offset: int = 5)", "scale", "offset", "changed"),
    ],
)
def test_a_miss_names_the_part(
    example: Workshop, old: str, new: str, step: str, part: str, how: str
) -> None:
    run = example.run("example")
    example.code("pipelines/example.py", CODE.replace(old, new))
    told = explain(example, step)
    assert told.outcome == "run"
    assert told.since == run.steps[step].entry.commit
    assert any(part in one.part and one.how == how for one in told.changed), told.changed
    assert explain(example, "read").outcome == "cached"


def test_changed_data_is_an_input(example: Workshop) -> None:
    example.run("example")
    example.write("raw.txt", "abcd")
    told = explain(example, "read")
    assert told.outcome == "run"
    assert [(one.part, one.how) for one in told.changed] == [("input raw", "changed")]
    assert explain(example, "scale").outcome == "unknown"


def test_explaining_leaves_nothing_behind(example: Workshop) -> None:
    example.run("example")
    example.write("raw.txt", "something else")
    before = example.refs(), {one.digest for one in example.repo().store.objects()}
    explain(example, "read")
    assert (example.refs(), {one.digest for one in example.repo().store.objects()}) == before


def test_an_unknown_step_is_told_with_the_near_ones(example: Workshop) -> None:
    example.run("example")
    with pytest.raises(NameNotFound, match="no step is called `raed`") as caught:
        explain(example, "example.raed")
    assert caught.value.hint == "did you mean `read`?"


def test_a_result_with_the_right_key_that_is_not_reused_says_why(example: Workshop) -> None:
    example.run("example")
    example.repo().clear_cache(step="scale")
    told = explain(example, "scale")
    assert (told.outcome, told.reason) == ("run", "its result was cleared")
    again = example.run("example")
    assert states(again) == {"read": "cached", "scale": "completed", "show": "completed"}
    assert explain(example, "scale").hit == again.steps["scale"].entry.commit
    shutil.rmtree(example.path / ".git/gitml/store")
    assert explain(example, "read").reason == "the bytes of its result are gone"
