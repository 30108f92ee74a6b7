"""What a chart takes from records: versions, runs, and the series of one run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitml.cli.invocation import Invocation
from gitml.cli.plot import plot
from gitml.errors import NameNotFound, UsageError
from tests.workshop import Copy, Workshop, model_for_copies

CODE = """
from typing import Annotated

from gitml import Curve, Model, log_metrics, pipeline, step

@step
def train(rate: float = 0.5) -> float:
    for epoch in (0, 1, 5, 5, 2):
        log_metrics({"loss": 1.0 / (epoch + 1)}, step=epoch)
    log_metrics({"loss": float("nan")}, step=3)
    log_metrics({"accuracy": rate, "odd": float("inf") if rate > 0.5 else 1})
    return rate

@step
def tune(rate: float) -> float:
    log_metrics({"loss": rate, "score": 2 * rate}, step=0)
    if rate == 0.75:
        log_metrics({"late": 1})
    return rate

@pipeline(model=Model("clf"))
def training(rate: float = 0.5):
    tune(train(rate))

@step
def quiet() -> Annotated[Curve, "roc"]:
    return Curve.roc([0, 1], [0.1, 0.9])

@pipeline
def silent():
    quiet()
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    with model_for_copies(tmp_path_factory.mktemp("charting")) as made:
        made.code("pipelines/training.py", CODE)
        for rate in (0.25, 0.5, 0.75):
            made.run("training", {"rate": rate})
        made.run("silent")
    return made


@pytest.fixture
def drawn(filled: Workshop, copied: Copy) -> Workshop:
    return copied(filled)


def test_versions_runs_and_series_are_lines(drawn: Workshop) -> None:
    repo = drawn.repo()
    versions = repo.chart(["clf"], ["accuracy"])
    assert (versions.x, versions.y) == ("version", "accuracy")
    assert versions.lines[0].points == ((1.0, 0.25), (2.0, 0.5), (3.0, 0.75))
    assert [versions.label(x) for x in (1.0, 2.0, 3.0)] == ["v1", "v2", "v3"]
    assert repo.chart(["clf"], ["accuracy"], limit=1).lines[0].points == ((3.0, 0.75),)

    runs = repo.chart(["training"], ["accuracy", "score"], limit=2)
    assert [line.name for line in runs.lines] == ["accuracy", "score"]
    assert [y for _, y in runs.lines[0].points] == [0.5, 0.75]
    assert [y for _, y in runs.lines[1].points] == [1.0, 1.5]
    assert runs.label(2.0) == repo.short(repo.runs(pipeline="training")[0].id)

    run = repo.runs(pipeline="training")[0].id.hex
    series = repo.chart([run, "clf@v1"], ["tune.loss", "score"])
    assert [line.name for line in series.lines][1:4] == [
        f"{repo.short(repo.run_of(repo.runs(pipeline='training')[0].id).id)} score",
        "clf@v1 tune.loss",
        "clf@v1 score",
    ]
    loss = repo.chart(["clf@v1"], ["train.loss"])
    assert [x for x, _ in loss.lines[0].points] == [0.0, 1.0, 2.0, 3.0, 5.0], "gaps, and back again"
    assert loss.notes == (
        "train.loss: nan at 3",
        "train.loss: 1 of its steps came again: the last value counts",
    )
    step = repo.runs(pipeline="training")[0].steps["tune"].found
    assert step is not None
    assert repo.chart([step.id.hex], ["loss"]).lines[0].points == ((0.0, 0.75),)


def test_a_curve_draws_itself(drawn: Workshop) -> None:
    chart = drawn.repo().chart(["roc"])
    assert (chart.x, chart.y) == ("false positive rate", "true positive rate")
    assert chart.lines[0].points == ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    shown = str(drawn.repo().artifact("roc").preview())
    assert "area  1.0" in shown
    assert shown.endswith("false positive rate")
    page = drawn.repo().artifact("roc")._repr_html_()
    assert "true positive rate" in page


def test_gaps_are_told(drawn: Workshop) -> None:
    repo = drawn.repo()
    assert repo.chart(["clf"], ["odd"]).notes == ("odd: inf at v3",)
    late = repo.chart(["clf"], ["late"])
    assert late.lines[0].points == ((3.0, 1.0),)
    assert late.notes == ("late: none in v1, v2",)
    assert math.isinf(repo.chart(["clf"], ["odd"]).lines[0].points[2][1])


def test_what_cannot_be_drawn_is_told_with_what_can(drawn: Workshop) -> None:
    repo = drawn.repo()
    with pytest.raises(NameNotFound, match="no metric of clf is called `acuracy`") as caught:
        repo.chart(["clf"], ["acuracy"])
    assert "`accuracy`" in (caught.value.hint or "")
    for names, words, hint in (
        (["clf"], "say which", "--metric accuracy"),
        (["clf", "training"], "no axis in common: clf over version and training over run", ""),
        (["HEAD"], "HEAD is a commit, which has no metrics to draw", "gitml plot"),
        (["training.train"], "is an artifact", "gitml plot"),
        ([repo.runs(pipeline="silent")[0].id.hex], "has no series of a metric", "log_metrics"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            repo.chart(names)
        assert hint in (refused.value.hint or "")
    with pytest.raises(NameNotFound, match="silent has no metrics"):
        repo.chart(["silent"])


def draw(*arguments: str) -> str:
    """What the command prints; what it raises comes out."""
    done = CliRunner().invoke(plot, arguments, obj=Invocation(), catch_exceptions=False)
    return done.stdout


def test_the_command_draws_and_writes(drawn: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = draw("clf", "--metric", "accuracy")
    assert out.splitlines()[0] == "accuracy"
    assert out.splitlines()[-1].split() == ["v1", "v2", "v3"]
    assert "\x1b" not in out, "a pipe gets no colours"
    assert "* accuracy" in draw("clf", "-m", "accuracy", "-m", "score"), "signs tell lines apart"
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert "\x1b[" in draw("clf", "-m", "accuracy", "-m", "score")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in draw("clf", "-m", "accuracy", "-m", "score")

    pytest.importorskip("matplotlib")
    for name in ("chart.json", "chart.svg", "chart.PNG"):
        assert draw("clf", "-m", "accuracy", "--out", name).startswith("Wrote ")
        assert Path(name).stat().st_size > 500
    for name, words in (
        ("a.pdf", "does not say what"),
        ("no/a.svg", "folder that is not there"),
        ("pipelines.png", "is a folder"),
    ):
        Path("pipelines.png").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=words):
            draw("clf", "-m", "accuracy", "--out", name)
