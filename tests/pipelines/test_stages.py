"""A stage that a step asks for moves when the version of its run is there."""

from __future__ import annotations

import pytest

from gitml import Model
from gitml.errors import UsageError
from tests.workshop import Workshop

PIPELINE = """
from typing import Annotated
from gitml import Model, get_context, pipeline, step

@step
def train(depth: int) -> Annotated[dict, "model"]:
    return {"depth": depth}

@step
def judge(model: dict) -> None:
    if model["depth"] < 3:
        get_context().model.set_stage("staging", force=True)
    if model["depth"] < 0:
        Model("other").set_stage("staging")

@pipeline(model=Model("clf"))
def training(depth: int = 1):
    judge(train(depth))
"""


@pytest.fixture
def staged(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", PIPELINE)
    return workshop


def holders(workshop: Workshop) -> dict[str, list[str]]:
    return {one.label: one.stages for one in workshop.repo().versions("clf")}


def test_it_waits_for_the_version_and_the_one_before_steps_down(staged: Workshop) -> None:
    staged.run("training")
    assert holders(staged) == {"clf@v1": ["staging"]}
    staged.run("training", {"depth": 2})
    assert holders(staged) == {"clf@v1": [], "clf@v2": ["staging"]}
    event = staged.git("cat-file", "tag", "clf@staging/2")
    assert "set by the step judge of training" in event
    staged.run("training", {"depth": 3})
    assert holders(staged)["clf@v2"] == ["staging"]
    assert staged.problems() == []


def test_a_step_moves_no_stage_of_another_model(staged: Workshop) -> None:
    error = staged.fails("training", {"depth": -1})
    assert "this run makes no version of other" in str(error)
    assert staged.repo().models() == []


def test_outside_of_steps_it_moves_at_once(
    staged: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.run("training", {"depth": 3})
    monkeypatch.chdir(staged.path)
    Model("clf", version=1).set_stage("production", "good")
    assert holders(staged) == {"clf@v1": ["production"]}
    with pytest.raises(UsageError):
        Model("clf").set_stage("latest")
