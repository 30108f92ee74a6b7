"""Model cards: what is said of a model in code and in gitml.toml, in records and for people."""

from __future__ import annotations

from typing import Any

import pytest

from gitml import Model
from gitml.errors import ConfigError, UsageError
from tests.workshop import Workshop

PIPELINE = """
from typing import Annotated
from gitml import Model, pipeline, step

@step
def train(depth: int) -> Annotated[dict, "model"]:
    return {"depth": depth}

@pipeline(model=Model("clf", limitations="only |three| species", tags=["birds", "small"]))
def training(depth: int = 1):
    train(depth)
"""


def test_what_code_and_settings_say_is_in_the_record_and_in_markdown(workshop: Workshop) -> None:
    workshop.code("pipelines/training.py", PIPELINE)
    config = workshop.path / "gitml.toml"
    config.write_text(
        f'{config.read_text()}\n[models.clf]\nlicense = "CC0"\nlimitations = "unread"\n'
        'description = "Tells penguins apart"\n'
    )
    version = workshop.run("training").model_version
    assert version is not None
    assert version.card == {
        "description": "Tells penguins apart",
        "license": "CC0",
        "limitations": "only |three| species",
        "tags": ["birds", "small"],
    }
    document = workshop.record(version.id, "model.json")
    assert document["description"] == "Tells penguins apart"
    assert document["card"] == {k: v for k, v in version.card.items() if k != "description"}
    card = workshop.git("show", "clf@v1:.gitml/README.md")
    assert "## License\n\nCC0\n" in card and "Tags: birds, small\n" in card
    assert "## Limitations\n\nonly \\|three\\| species\n" in card
    assert version.card_text.strip() == card.strip()
    assert workshop.problems() == []


def test_a_version_of_which_nothing_is_said_has_no_card(workshop: Workshop) -> None:
    bare = PIPELINE.replace(', limitations="only |three| species", tags=["birds", "small"]', "")
    workshop.code("pipelines/training.py", bare)
    version = workshop.run("training").model_version
    assert version is not None and version.card == {}
    assert "card" not in workshop.record(version.id, "model.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "a model needs a name, and this one has ''"),
        ({"name": None}, "a model needs a name, and this one has None"),
        ({"name": "clf", "license": 3}, "license of the model clf should be text"),
        ({"name": "clf", "tags": "birds"}, "tags of the model clf should be a list of texts"),
        ({"name": "clf", "tags": [1]}, "tags of the model clf should be a list of texts"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Model(**arguments)
    assert caught.value.message == words


def test_a_field_that_no_card_has_is_named(workshop: Workshop) -> None:
    config = workshop.path / "gitml.toml"
    config.write_text(f'{config.read_text()}\n[models.clf]\nlicence = "CC0"\n')
    with pytest.raises(ConfigError, match=r"models\.clf\.licence is no field of a model card"):
        _ = workshop.repo().config
