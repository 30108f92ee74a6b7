"""Bob's repository: three pipelines over one data file, small enough to run in milliseconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.workshop import Copy, Workshop, model_for_copies

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


@pytest.fixture(scope="session")
def bob_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("bob")) as made:
        made.write("data/raw.json", json.dumps({"rows": [1, 2, None, 3]}))
        made.write("pipelines/features.py", FEATURES)
        made.write("lib/scaling.py", SCALING)
        made.write("pipelines/training.py", TRAINING)
        made.write("pipelines/inference.py", INFERENCE)
        with (made.path / "gitml.toml").open("a", encoding="utf-8") as file:
            file.write('\n[metrics.accuracy]\ndirection = "max"\n')
        made.commit("three pipelines")
        yield made


@pytest.fixture(scope="session")
def trained_once(
    bob_once: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(bob_once.path, folder / "bob")
    with model_for_copies(folder) as made:
        made.run("features")
        for rate in RATES:
            made.run("training", {"rate": rate})
        yield made


@pytest.fixture
def bob(bob_once: Workshop, copied: Copy) -> Workshop:
    """The three pipelines and their data, committed; nothing has run."""
    return copied(bob_once)


@pytest.fixture
def trained(trained_once: Workshop, copied: Copy) -> Workshop:
    """The same after ``features`` once and ``training`` three times: ``clf`` versions 1 to 3."""
    return copied(trained_once)
