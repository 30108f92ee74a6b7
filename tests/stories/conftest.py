"""Bob's repository: three pipelines over one data file, small enough to run in milliseconds."""

from __future__ import annotations

import json

import pytest

from tests.workshop import Workshop

FEATURES = """\
import json
from pathlib import Path
from typing import Annotated

import gitml
from gitml import pipeline, step


@step
def clean(raw: Path) -> Annotated[list, "features"]:
    return [row for row in json.loads(raw.read_text())["rows"] if row is not None]


@pipeline
def features():
    clean(gitml.data("data/raw.json"))
"""

SCALING = """\
def scale(values):
    return [value * 10 for value in values]
"""

TRAINING = """\
from typing import Annotated

from gitml import Artifact, Model, log_metadata, log_metrics, pipeline, step
from lib.scaling import scale


@step
def preprocess(features: list) -> list:
    return scale(features)


@step
def train(
    table: list, rate: float
) -> tuple[Annotated[dict, "model"], Annotated[dict, "metrics"], Annotated[bytes, "checkpoint"]]:
    accuracy = round(1.0 - abs(rate - 0.2), 6)
    log_metrics({"accuracy": accuracy})
    log_metadata({"note": "trained in tests"})
    return {"weight": rate * sum(table)}, {"accuracy": accuracy}, b"epoch 1"


@pipeline(model=Model("clf"))
def training(rate: float = 0.5):
    train(preprocess(Artifact("features")), rate)
"""

INFERENCE = """\
from typing import Annotated

from gitml import Artifact, Model, pipeline, step

production = Model("clf", version="production")


@step
def predict(model: dict, features: list) -> Annotated[list, "predictions"]:
    return [model["weight"] * value for value in features]


@pipeline(model=production)
def inference():
    predict(production.artifact("model"), Artifact("features"))
"""

RATES = (0.5, 0.2, 0.9)
"""The learning rates of versions 1 to 3; version 2 is the best."""


@pytest.fixture
def bob(workshop: Workshop) -> Workshop:
    """The three pipelines and their data, committed; nothing has run."""
    workshop.write("data/raw.json", json.dumps({"rows": [1, 2, None, 3]}))
    workshop.write("pipelines/features.py", FEATURES)
    workshop.write("lib/scaling.py", SCALING)
    workshop.write("pipelines/training.py", TRAINING)
    workshop.write("pipelines/inference.py", INFERENCE)
    with (workshop.path / "gitml.toml").open("a", encoding="utf-8") as file:
        file.write('\n[metrics.accuracy]\ndirection = "max"\n')
    workshop.commit("three pipelines")
    return workshop


@pytest.fixture
def trained(bob: Workshop) -> Workshop:
    """The same after ``features`` once and ``training`` three times: ``clf`` versions 1 to 3."""
    bob.run("features")
    for rate in RATES:
        bob.run("training", {"rate": rate})
    return bob
