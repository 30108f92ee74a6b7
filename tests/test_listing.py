"""Runs and versions as tables."""

from __future__ import annotations

import pytest

from gitml import Model
from gitml.errors import UsageError
from tests.workshop import Workshop

PIPELINE = """
from typing import Annotated
from gitml import Model, log_metrics, pipeline, step

@step
def train(depth: object, name: str) -> Annotated[dict, "model"]:
    log_metrics({"accuracy": 0.5 if name == "a" else 0.75})
    return {"depth": depth, "name": name}

@pipeline(model=Model("clf"))
def training(depth=1, name: str = "a"):
    train(depth, name)
"""


@pytest.fixture
def trained(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", PIPELINE)
    workshop.run("training")
    workshop.run("training", {"name": "b"})
    return workshop


def test_runs_are_a_list_and_a_table(trained: Workshop) -> None:
    runs = trained.repo().runs()
    table = runs.to_arrow()
    assert table.num_rows == len(runs) == 2
    assert table["id"].to_pylist() == [str(one.id) for one in runs]
    assert table["parameters.name"].to_pylist() == ["b", "a"]
    assert table["metrics.accuracy"].to_pylist() == [0.75, 0.5]
    assert str(table.schema.field("started").type) == "timestamp[us, tz=UTC]"
    frame = runs.to_pandas()
    assert frame["metrics.accuracy"].max() == 0.75 and set(frame["status"]) == {"completed"}
    assert trained.repo().runs(pipeline="none").to_arrow().num_rows == 0


def test_versions_are_a_table_with_their_stages(
    trained: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.repo().promote("clf@v2", "production", "why")
    monkeypatch.chdir(trained.path)
    table = Model("clf").versions().to_arrow()
    assert table["version"].to_pylist() == ["clf@v1", "clf@v2"]
    assert table["stages"].to_pylist() == [[], ["production"]]
    assert table["number"].to_pylist() == [1, 2]
    with pytest.raises(UsageError, match="of another repository"):
        Model("clf", repo="https://example.org/x").versions()


def test_handles_show_themselves_in_a_line(trained: Workshop) -> None:
    repo = trained.repo()
    repo.promote("clf@v2", "production", "why")
    run, version = repo.runs()[0], repo.version("clf@v2")
    artifact = version.artifacts["model"]
    assert repr(run) == f"<Run training {run.id.short}: completed, 1 step>"
    assert repr(run.steps["train"]) == "<Step train: completed>"
    assert repr(version) == "<Version clf@v2 [production]>"
    assert repr(artifact) == f"<Artifact model@{artifact.digest.short}: dict, 22 bytes>"
    assert repr(repo.versions("clf")) == "<Version clf@v1>\n<Version clf@v2 [production]>"
    head, *rows = repr(repo.compare(["clf"])).splitlines()
    assert head.split() == ["name", "clf@v1", "clf@v2"]
    assert rows[0].split() == ["metric", "accuracy", "0.5", "0.75"]
    assert len(rows) == 4, "a metric, two parameters, an artifact"


def test_pandas_has_dates_numbers_and_gaps(trained: Workshop) -> None:
    trained.git("remote", "add", "origin", "../nowhere.git")  # from now on versions are drafts
    trained.run("training", {"name": "c", "depth": None})
    trained.repo().put_alias("clf@v1", "champion")
    frame = trained.repo().versions("clf").to_pandas()
    assert list(frame["version"])[:2] == ["clf@v1", "clf@v2"] and frame["number"].isna()[2]
    assert [list(one) for one in frame["aliases"]] == [["champion"], [], []]
    assert str(frame["created"].dtype).startswith("datetime64[") and frame["created"].is_unique
    assert frame["metrics.accuracy"].mean() == pytest.approx(2 / 3)
    assert frame["parameters.depth"].isna().tolist() == [False, False, True]


def test_a_parameter_of_several_types_is_text(trained: Workshop) -> None:
    trained.run("training", {"depth": "deep"})
    table = trained.repo().runs().to_arrow()
    assert table["parameters.depth"].to_pylist() == ["deep", "1", "1"]


def test_polars_takes_it(trained: Workshop) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(trained.repo().runs().to_arrow())
    assert frame["metrics.accuracy"].to_list() == [0.75, 0.5]
    versions = polars.from_arrow(trained.repo().versions("clf").to_arrow())
    best = versions.sort("metrics.accuracy", descending=True).row(0, named=True)
    assert (best["version"], best["stages"], best["parameters.name"]) == ("clf@v2", [], "b")
    assert versions.schema["created"] == polars.Datetime("us", "UTC")
    assert polars.from_arrow(trained.repo().runs(pipeline="none").to_arrow()).is_empty()
