"""Metric series: logged point by point, kept as one table, whatever becomes of the step."""

from __future__ import annotations

import math
import os
import signal
import time

import pytest

from gitml.errors import CorruptData, StepFailed
from gitml.pipelines.series import Points, read
from tests.workshop import Workshop, group_of, wait_for

TRAIN = """
from gitml import Model, log_metadata, log_metrics, pipeline, step

@step
def train(ends: str = "well") -> int:
    log_metadata({"device": "cpu"})
    for epoch in (0, 1, 5, 5, 2):
        log_metrics({"loss": {"train": 1.0 / (epoch + 1)}, "accuracy": epoch / 10}, step=epoch)
    log_metrics({"loss.train": float("nan"), "peak": float("-inf")}, step=-3)
    if ends == "badly":
        raise ValueError("diverged")
    return 1

@pipeline(model=Model("clf"))
def training(ends: str = "well"):
    train(ends)
"""


@pytest.fixture
def trained(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", TRAIN)
    return workshop


def test_a_series_is_one_artifact_and_its_last_value_a_metric(trained: Workshop) -> None:
    run = trained.run()
    step = run.steps["train"]
    assert step.series["loss.train"].steps == (-3, 0, 1, 2, 5)
    assert step.series["loss.train"].values[1:] == (1.0, 0.5, 1 / 3, 1 / 6)
    assert math.isnan(step.series["loss.train"].values[0])
    assert step.series["peak"].values == (-math.inf,)
    assert step.metrics["accuracy"] == 0.2, "the last that was logged, not the furthest"
    assert trained.record(run.id, "metrics.json")["metrics"]["loss.train"] == "nan"

    kept = step.outputs["metric-series"]
    assert kept.name == "training.train.metric-series"
    assert kept.metadata["points"] == {"loss.train": 6, "accuracy": 5, "peak": 1}
    table = kept.load()
    assert table.column_names == ["step", "metric", "value", "time"]
    order = [row["step"] for row in table.to_pylist() if row["metric"] == "accuracy"]
    assert order == [0, 1, 5, 5, 2], "the rows stand as they were logged"
    assert table.column("time").to_pylist()[0].timestamp() == pytest.approx(time.time(), abs=600)
    assert run.model_version is not None
    assert "training.train.metric-series" in run.model_version.artifacts

    again = trained.run().steps["train"]
    assert again.status == "cached"
    assert again.series.keys() == step.series.keys()
    assert trained.problems() == []


def test_a_failed_step_leaves_what_it_logged_in_the_runs_record(trained: Workshop) -> None:
    error = trained.fails("training", {"ends": "badly"})
    assert isinstance(error, StepFailed)
    run = trained.repo().runs()[0]
    assert run.status == "failed"
    assert run.metrics["accuracy"] == 0.2
    step = run.steps["train"]
    assert step.series["accuracy"].steps == (0, 1, 2, 5)
    assert step.metadata == {"device": "cpu"}
    assert trained.problems() == []


KILLED = """
import time
from pathlib import Path
from gitml import log_metadata, log_metrics, pipeline, step

@step
def train() -> int:
    log_metadata({"device": "cpu"})
    for epoch in range(100):
        log_metrics({"loss": 1 / (epoch + 1)}, step=epoch)
    Path("logged").touch()
    time.sleep(600)
    return 1

@pipeline
def training():
    train()

if __name__ == "__main__":
    training()
"""


def test_a_killed_step_leaves_what_it_logged(workshop: Workshop) -> None:
    workshop.code("pipelines/training.py", KILLED)
    with group_of(workshop.start("pipelines/training.py")) as process:
        wait_for((workshop.path / "logged").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    workshop.code("pipelines/other.py", TRAIN.replace("def training", "def other"))
    workshop.run("other")
    (run,) = [one for one in workshop.repo().runs() if one.pipeline == "training"]
    assert run.status == "interrupted"
    assert run.metrics == {"loss": 0.01}
    assert run.steps["train"].series["loss"].steps == tuple(range(100))
    assert run.steps["train"].metadata == {"device": "cpu"}
    assert workshop.problems() == []


@pytest.mark.parametrize("step", ["1.5", "'1'", "True", "1 << 63", "[1]"])
def test_the_step_of_a_point_is_a_whole_number(workshop: Workshop, step: str) -> None:
    workshop.code("pipelines/training.py", TRAIN.replace("step=-3", f"step={step}"))
    error = workshop.fails()
    assert "not a whole number" in str(error)


def test_the_name_of_the_series_is_no_output(workshop: Workshop) -> None:
    code = TRAIN.replace("-> int", "-> Annotated[int, 'metric-series']")
    workshop.code("pipelines/training.py", "from typing import Annotated\n" + code)
    assert "as the one that keeps what `log_metrics` logs" in str(workshop.fails())


def test_other_tables_are_no_series() -> None:
    with pytest.raises(CorruptData, match="not a table of metric series"):
        read(object())


def test_points_of_equal_runs_differ_in_their_times_only() -> None:
    one, other = Points(), Points()
    for points, at in ((one, 1.0), (other, 2.5)):
        points.add(0, {"b": 1, "a": 2}, at)
        points.add(1, {"a": 3}, at)
    left, right = one.table(), other.table()
    assert left.drop_columns("time") == right.drop_columns("time")
    assert right.column("time").to_pylist()[0].timestamp() == 2.5
    assert read(left)["a"].values == (2.0, 3.0)


def test_a_hundred_thousand_points_take_seconds(workshop: Workshop) -> None:
    """A bound for a fifth of them, far above what it takes: a file opened per point would miss."""
    workshop.code(
        "pipelines/training.py",
        """
        import time
        from gitml import log_metrics, pipeline, step

        @step
        def train() -> float:
            began = time.process_time()
            for batch in range(20_000):
                log_metrics({"loss": 1 / (batch + 1)}, step=batch)
            return time.process_time() - began

        @pipeline
        def training():
            train()
        """,
    )
    run = workshop.run()
    assert run.steps["train"].outputs["output"].load() < 5
    assert len(run.steps["train"].series["loss"].steps) == 20_000
