"""The runs that have to do with something."""

from __future__ import annotations

import json

import pytest

from gitml.errors import NameNotFound, UsageError
from tests.workshop import TRAINING, Workshop


def about(workshop: Workshop, text: str) -> list[str]:
    runs = workshop.repo().runs(about=text, here=workshop.path)
    return [str(one.id) for one in runs]


@pytest.fixture
def ran(workshop: Workshop) -> tuple[Workshop, list[str]]:
    """Three runs: with other data the second, by a snapshot the third; an unrelated pipeline."""
    runs = [workshop.training().run()]
    workshop.write("data/raw.json", json.dumps({"rows": [4]}))
    workshop.commit("other data")
    runs.append(workshop.run())
    workshop.code("pipelines/training.py", TRAINING.replace("row * 2", "row * 3"), None)
    runs.append(workshop.run(parameters={"rate": 0.3}))
    workshop.code(
        "pipelines/other.py",
        "from gitml import pipeline, step\n\n\n@step\ndef one() -> int:\n    return 1\n\n\n"
        "@pipeline\ndef other():\n    one()\n",
    )
    runs.append(workshop.run("other"))
    return workshop, [str(one.id) for one in runs]


def test_a_file_of_the_data_and_of_the_code(ran: tuple[Workshop, list[str]]) -> None:
    workshop, (first, second, third, other) = ran
    assert about(workshop, "data/raw.json") == [third, second, first]
    assert about(workshop, "pipelines/other.py") == [other]
    (workshop.path / "data/raw.json").unlink()
    assert about(workshop, "data/raw.json") == [third, second, first]
    with pytest.raises(NameNotFound):
        about(workshop, "data/never.json")


def test_an_artifact_by_name_and_by_bytes(ran: tuple[Workshop, list[str]]) -> None:
    workshop, (first, second, third, _) = ran
    assert about(workshop, "table") == [third, second, first]
    digest = workshop.repo().version("clf@v2").artifacts["table"].digest.hex[:12]
    assert about(workshop, f"table@{digest}") == [second]


def test_versions_models_runs_and_commits(ran: tuple[Workshop, list[str]]) -> None:
    workshop, (first, second, third, _) = ran
    assert about(workshop, "clf@v1") == [first]
    assert about(workshop, "model/clf") == [third, second, first]
    assert about(workshop, first[:10]) == [first]
    on_top = workshop.git("rev-parse", "HEAD~1").strip()
    assert about(workshop, on_top) == [third, second]  # the third of a snapshot on top of it


def test_runs_with_a_metric_and_since_a_moment(ran: tuple[Workshop, list[str]]) -> None:
    workshop, (first, second, third, other) = ran
    repo = workshop.repo()
    assert [str(one.id) for one in repo.runs(metric="accuracy")] == [third, second, first]
    with pytest.raises(NameNotFound, match="no metric is called `acuracy`"):
        repo.runs(metric="acuracy")
    assert repo.runs(since=repo.runs()[0].entry.at) == repo.runs(limit=1)
    assert str(repo.runs(since=repo.moment_of("1 hour ago"))[0].id) == other
    with pytest.raises(UsageError):
        repo.moment_of("")
