"""A run's configuration in a file: what it changes, what it ignores, and how it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.pipelines.configuration import RunConfiguration, read_configuration
from gitml.testing.sealed import SealedEnvironment
from tests.workshop import Workshop, load


def read(path: Path, document: Any, **environment: str) -> RunConfiguration:
    file = path / "run.json"
    file.write_text(json.dumps(document))
    return read_configuration(file, environment)


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    texts = {
        "run.toml": 'enable_cache = false\n[parameters]\nrate = 0.1\n[model]\nname = "clf"\n'
        "[steps.train]\nenable_cache = true\n[steps.train.parameters]\ndepth = 3\n",
        "run.yaml": "enable_cache: false\nparameters: {rate: 0.1}\nmodel: {name: clf}\n"
        "steps:\n  train:\n    enable_cache: true\n    parameters:\n      depth: 3\n",
        "run.json": '{"enable_cache": false, "parameters": {"rate": 0.1}, "model": "clf", "steps":'
        ' {"train": {"enable_cache": true, "parameters": {"depth": 3}}}}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found = read_configuration(tmp_path / name, {})
        assert found.parameters == {"rate": 0.1, "train.depth": 3}
        assert (found.cache, found.caches) == (False, {"train": True})
        assert found.model is not None
        assert found.model.name == "clf"
        assert found.note(tmp_path / name) is None


def test_what_has_no_meaning_is_named_once(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "settings": {"docker": {"requirements": ["numpy"]}},
            "steps": {"train": {"step_operator": "vertex"}},
            "model": {"name": "clf", "license": "MIT", "save_models_to_registry": True},
        },
    )
    assert found.ignored == (
        "settings",
        "steps.train.step_operator",
        "model.save_models_to_registry",
    )
    assert found.model is not None and found.model.card == {"license": "MIT"}
    note = found.note(Path("run.json"))
    assert note is not None
    assert note.startswith("run.json sets what has no meaning here: settings, steps.train")


def test_variables_are_filled_in(tmp_path: Path) -> None:
    document = {
        "parameters": {
            "depth": "${DEPTH}",
            "path": "s3://${BUCKET}/data",
            "name": "${NAME:-none}",
            "list": ["${DEPTH}"],
        }
    }
    found = read(tmp_path, document, DEPTH="8", BUCKET="lake")
    assert found.parameters == {"depth": 8, "path": "s3://lake/data", "name": "none", "list": [8]}
    with pytest.raises(UsageError, match=r"`parameters.depth` names the variable DEPTH, which is"):
        read(tmp_path, document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1], "should hold a table, not a list"),
        ({"parameters": [1]}, "`parameters` should be a table, not a list"),
        ({"enable_cache": "no"}, "`enable_cache` should be true or false, not text: 'no'"),
        ({"steps": {"train": 3}}, "`steps.train` should be a table, not a whole number: 3"),
        (
            {"steps": {"train": {"enable_cache": 1}}},
            "`steps.train.enable_cache` should be true or false, not a whole number: 1",
        ),
        ({"model": 3}, "`model` should be a name or a table"),
        ({"model": {"version": 1}}, "`model` has no `name`"),
        ({"model": {"name": "clf", "version": 1.5}}, "`model.version` should be text"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, document)


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NameNotFound) as refused:
        read(tmp_path, {"steps": {"train": {"paramters": {}}}})
    assert "did you mean `steps.train.parameters`" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("name", "text"),
    [("run.txt", ""), ("run.toml", "= 1"), ("run.yaml", "a: [1"), ("no.toml", None)],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(GitmlError, match=name):
        read_configuration(tmp_path / name, {})


def test_a_pipeline_with_options_runs_with_them(
    workshop: Workshop, sealed_environment: SealedEnvironment
) -> None:
    workshop.training()
    workshop.write(
        "run.toml", '[parameters]\nrate = "${RATE}"\n[steps.prepare]\nenable_cache = false\n'
    )
    sealed_environment.set("RATE", "0.25")
    text = (workshop.path / "pipelines" / "training.py").read_text()
    workshop.code(
        "pipelines/training.py",
        text + "\n\nslow = training.with_options(config_path='run.toml')\n",
    )
    workshop.forget()
    repo = workshop.repo()
    training: Any = repo.load_pipeline("training", workshop.path)
    slow = training.with_options(config_path="run.toml")
    first = slow()
    assert first.parameters == {"rate": 0.25}
    assert load(first, "train", "model") == {"weights": [0.5, 1.0, 1.5]}
    again = slow()
    assert {name: one.status for name, one in again.steps.items()} == {
        "prepare": "completed",
        "train": "cached",
    }
    assert slow(rate=1.0).parameters == {"rate": 1.0}
    named = slow.with_options(parameters={"train.rate": 2.0}, enable_cache=False)()
    assert load(named, "train", "model") == {"weights": [4.0, 8.0, 12.0]}
    assert training().parameters == {"rate": 0.5}, "the pipeline itself is as it was"
    with pytest.raises(UsageError, match="no step is called `trian`"):
        workshop.write("wrong.json", '{"steps": {"trian": {"enable_cache": false}}}')
        training.with_options(config_path="wrong.json")()
    workshop.forget()
