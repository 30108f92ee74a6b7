"""Plans: names are resolved once, data is taken once, and nothing is written."""

from __future__ import annotations

import pytest

from gitml.errors import NameNotFound, UsageError
from gitml.pipelines.output import Capture
from gitml.pipelines.plan import FromStep, Pinned, Plan, Value
from tests.workshop import Workshop

CODE = """\
from pathlib import Path
from typing import Annotated
import gitml
from gitml import Artifact, Model, pipeline, step


@step
def read(raw: Path, limit: int = 3) -> Annotated[str, "text"]:
    return raw.read_text()[:limit]


@step
def join(left: str, right: str, saved: str) -> str:
    return left + right + saved


@pipeline(model=Model("net"))
def example(limit: int = 2):
    raw = gitml.data("data/./raw.txt")
    join(read(raw, limit), read(raw), Artifact("words"))
"""


@pytest.fixture
def planned(workshop: Workshop) -> Workshop:
    workshop.write("data/raw.txt", "abcdef")
    workshop.code("pipelines/example.py", CODE)
    workshop.repo().save("saved", "words")
    return workshop


def plan(workshop: Workshop, **parameters: object) -> Plan:
    workshop.forget()
    repo = workshop.repo()
    runner = repo._runner(2)
    writer = repo.store.writer()
    try:
        pipeline = repo.load_pipeline("example", workshop.path)
        return runner.prepare(pipeline, parameters, "default", writer, Capture())[0].plan
    finally:
        writer.abort()
        workshop.forget()


def test_a_plan_has_steps_in_order_and_what_they_are_bound_to(planned: Workshop) -> None:
    made = plan(planned)
    assert made.pipeline == "example"
    assert [one.name for one in made.steps] == ["read", "read_2", "join"]
    first, second, third = made.steps
    raw = first.bindings["raw"]
    assert isinstance(raw, Pinned)
    assert raw.spelling == "data/raw.txt"
    assert second.bindings["raw"] is raw, "the same file is taken once"
    assert first.bindings["limit"] == Value(2)
    assert second.bindings["limit"] == Value(3)
    assert third.bindings["left"] == FromStep("read", "text")
    assert isinstance(third.bindings["saved"], Pinned)
    assert third.bindings["saved"].spelling == "artifact/words@latest"
    assert {pin.name for pin in made.pins} == {"artifact/words@latest", "data/raw.txt"}
    assert made.model is not None
    assert made.model.name == "net"
    assert made.uses is None


def test_planning_writes_no_ref_and_no_byte(planned: Workshop) -> None:
    before = planned.refs(), {one.digest for one in planned.repo().store.objects()}
    plan(planned)
    assert (planned.refs(), {one.digest for one in planned.repo().store.objects()}) == before
    assert not list((planned.path / ".git/gitml/store/tmp").rglob("*"))
    assert not list((planned.path / ".git/gitml").rglob("*.jsonl"))


def test_parameters_with_a_dot_are_those_of_steps(planned: Workshop) -> None:
    made = plan(planned, limit=1, **{"read_2.limit": 5})
    assert [one.bindings["limit"] for one in made.steps[:2]] == [Value(1), Value(5)]
    assert dict(made.parameters) == {"limit": 1, "read_2.limit": 5}
    with pytest.raises(UsageError, match="has no parameter `limits`") as caught:
        plan(planned, limits=1)
    assert caught.value.hint == "did you mean `limit`?"


def test_what_cannot_be_resolved_stops_the_plan(planned: Workshop) -> None:
    text = CODE.replace('Artifact("words")', 'Artifact("wrods")')
    planned.code("pipelines/example.py", text)
    with pytest.raises(NameNotFound, match="no artifact is called `wrods`") as caught:
        plan(planned)
    assert caught.value.hint == "did you mean `words`?"
    planned.code("pipelines/example.py", CODE.replace("data/./raw.txt", "data/raw.csv"))
    with pytest.raises(NameNotFound, match=r"no data at data/raw\.csv"):
        plan(planned)


def test_the_same_plan_twice_is_the_same(planned: Workshop) -> None:
    one, two = plan(planned), plan(planned)
    assert one.code == two.code
    assert one.pins == two.pins
    codes = [[step.closure.code_id for step in made.steps] for made in (one, two)]
    assert codes[0] == codes[1]
