"""Which versions a run makes: of several models, with artifacts that were made elsewhere."""

from __future__ import annotations

import json

import pytest

from gitml import Artifact, Model, link_artifact_to_model
from gitml.cli.describe import version_marks
from gitml.cli.log import version_words
from gitml.errors import InvalidName, NameNotFound, UsageError
from gitml.pipelines.configuration import configured, read_configuration
from tests.workshop import Workshop

SEVERAL = """
from typing import Annotated
from gitml import Model, get_context, log_metrics, pipeline, step

@step
def prepare(rows: int) -> Annotated[list, "table"]:
    log_metrics({"rows": rows})
    return list(range(rows))

@step(model=Model("scaler", license="MIT"))
def scale(table: list, factor: int) -> Annotated[dict, "scaling"]:
    log_metrics({"factor": factor})
    if factor == 9:
        get_context().model.set_stage("staging", "nine")
    if factor < 0:
        raise ValueError("negative")
    return {"factor": factor}

@step
def train(table: list, scaling: dict, rate: float) -> Annotated[dict, "model"]:
    return {"w": rate}

@step(model=Model("scaler", version="latest"))
def use() -> Annotated[str, "used"]:
    return get_context().model.version

@pipeline(model=Model("clf"))
def training(rows: int = 2, factor: int = 2, rate: float = 0.5):
    table = prepare(rows)
    train(table, scale(table, factor), rate)

@pipeline
def scaling(rows: int = 2):
    scale(prepare(rows), 3)

@pipeline(model=Model("clf"))
def using():
    use()

@pipeline
def renamed():
    scale.with_options(model=Model("other"))(prepare(2), 2)

@pipeline(model=Model("clf"))
def twins():
    scale.with_options(model=Model("CLF"))(prepare(2), 2)
"""


def plain(text: str) -> str:
    """What is printed without its labels of colour."""
    return "".join(one for one in text if one.isprintable())


@pytest.fixture
def several(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", SEVERAL)
    return workshop


def test_a_step_with_a_model_of_its_own_makes_a_version_of_that(several: Workshop) -> None:
    run = several.run("training")
    assert {name: one.label for name, one in run.model_versions.items()} == {
        "clf": "clf@v1",
        "scaler": "scaler@v1",
    }
    clf, scaler = run.model_versions.values()
    assert run.model_version == clf and run.made_versions == [clf, scaler]
    assert (list(clf.artifacts), list(scaler.artifacts)) == (["table", "model"], ["scaling"])
    assert (dict(clf.metrics), dict(scaler.metrics)) == ({"rows": 2}, {"factor": 2})
    assert scaler.card == {"license": "MIT"}
    assert several.record(run.id, "run.json")["others"] == [{"model": "scaler"}]
    assert several.problems() == []


def test_each_model_resolves_by_its_own_steps(several: Workshop) -> None:
    first = several.run("training")
    again = several.run("training")
    assert again.made_versions == []
    assert [one.label for one in again.model_versions.values()] == ["clf@v1", "scaler@v1"]
    assert plain(version_words(again)) == "(clf@v1, scaler@v1 again)"
    half = several.run("training", {"rate": 0.25})
    assert plain(version_words(half)) == "clf@v2"
    assert plain(version_marks(half)) == "clf@v2, scaler@v1"
    assert "clf@v2, scaler@v1</caption>" in half._repr_html_()
    assert [one.label for one in half.made_versions] == ["clf@v2"]
    assert half.model_versions["scaler"] == first.model_versions["scaler"]
    repo = several.repo()
    assert repo.consumers(repo.version("scaler@v1")) == []
    assert several.problems() == []


def test_the_versions_of_a_run_appear_at_once_or_not_at_all(
    several: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = several.refs()
    several.git("tag", "scaler@v1/in-the-way", "HEAD")  # so that its number cannot be given
    several.fails("training")
    left = several.refs()
    assert left.keys() - before.keys() == {"refs/tags/scaler@v1/in-the-way"}


def test_a_pipeline_without_a_model_may_have_steps_with_one(several: Workshop) -> None:
    run = several.run("scaling")
    assert run.entry.record.model is None
    assert run.model_version is not None and run.model_version.label == "scaler@v1"
    assert several.run("renamed").model_version.label == "other@v1"  # type: ignore[union-attr]


def test_a_configuration_may_name_the_model_of_a_step(several: Workshop) -> None:
    repo = several.repo()
    found = repo.load_pipeline("scaling", several.path)
    told = {"steps": {"scale": {"model": {"name": "told", "license": "MIT"}}}}
    path = several.write("run.json", json.dumps(told))
    run = repo.run(configured(found, read_configuration(path, {})), {})
    assert [one.label for one in run.made_versions] == ["told@v1"]
    assert run.model_versions["told"].card == {"license": "MIT"}
    path.write_text(json.dumps({"steps": {"scale": {"model": 3}}}))
    with pytest.raises(UsageError, match="should be a name or a table"):
        read_configuration(path, {})


def test_a_step_that_uses_a_version_makes_none(several: Workshop) -> None:
    commit = several.run("scaling").model_version.id  # type: ignore[union-attr]
    run = several.run("using")
    assert run.steps["use"].outputs["used"].load() == commit.hex
    assert run.model_versions.keys() == {"clf"} and not run.model_versions["clf"].artifacts
    assert [pin.name for pin in run.entry.record.pins] == ["scaler@latest"]


def test_a_failed_run_makes_no_version_of_any(several: Workshop) -> None:
    error = several.fails("training", {"factor": -1})
    run = error.run  # type: ignore[attr-defined]
    assert run.model_versions == {} and several.repo().models() == []


def test_a_stage_is_for_the_model_of_its_step(several: Workshop) -> None:
    several.run("training", {"factor": 9})
    repo = several.repo()
    assert repo.version("scaler@staging").label == "scaler@v1"
    assert repo.version("clf@v1").stages == []


def test_models_that_differ_only_in_case_are_refused(several: Workshop) -> None:
    assert isinstance(several.fails("twins"), InvalidName)


LINKING = """
from typing import Annotated
from gitml import Model, link_artifact_to_model, pipeline, step

@step
def train(which: str, name: str) -> Annotated[dict, "model"]:
    link_artifact_to_model(which, name=name or None)
    return {"w": 1}

@pipeline(model=Model("clf"))
def training(which: str = "labels", name: str = ""):
    train(which, name)

@pipeline
def nothing(which: str = "labels"):
    train(which, "")
"""


@pytest.fixture
def linking(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", LINKING)
    workshop.repo().save(["cat", "dog"], "labels")
    return workshop


def test_a_step_links_what_was_made_elsewhere(linking: Workshop) -> None:
    version = linking.run("training").model_version
    assert version is not None and list(version.artifacts) == ["model", "labels"]
    assert version.load("labels") == ["cat", "dog"]
    source = linking.repo().artifact("labels").commit
    assert version.artifacts["labels"].commit == source
    assert str(source) in linking.git("rev-list", str(version.id)).split()
    assert linking.run("training").made_versions == []
    linking.repo().save(["cow"], "labels")
    again = linking.run("training").model_version
    assert again is not None and again.label == "clf@v2" and again.load("labels") == ["cow"]
    assert linking.problems() == []


def test_what_is_linked_may_have_another_name(linking: Workshop) -> None:
    linking.run("training")
    version = linking.run("training", {"which": "clf@v1:model", "name": "teacher"}).model_version
    assert version is not None and list(version.artifacts) == ["model", "teacher"]
    step = version.artifacts["teacher"].commit
    assert linking.repo().index.step(step) is not None  # the step that made it
    clash = linking.run("training", {"which": "labels", "name": "model"}).model_version
    assert clash is not None and list(clash.artifacts) == ["train.model", "train.linked.model"]


def test_what_cannot_be_linked_is_refused(linking: Workshop) -> None:
    assert isinstance(linking.fails("nothing"), UsageError)
    assert isinstance(linking.fails("training", {"which": "nobody"}), NameNotFound)
    assert isinstance(linking.fails("training", {"name": "a/b"}), InvalidName)


def test_outside_of_a_run_linking_makes_a_new_version(
    linking: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(linking.path)
    first = link_artifact_to_model("labels", "other")
    assert first is not None and first.label == "other@v1" and list(first.artifacts) == ["labels"]
    linking.run("training")
    stored = linking.repo().save({"t": 0.5}, "thresholds")
    second = link_artifact_to_model(stored, Model("clf", description="with thresholds"))
    assert second is not None and second.label == "clf@v2"
    assert second.card["description"] == "with thresholds"
    assert set(second.artifacts) == {"model", "labels", "thresholds"}
    assert second.load("thresholds") == {"t": 0.5} and second.load("model") == {"w": 1}
    assert second.run is not None and second.run.pipeline == "link"
    before = str(linking.repo().version("clf@v1").id)
    assert before in linking.git("rev-list", str(second.id)).split()
    again = link_artifact_to_model(Artifact("thresholds"), Model("clf"))
    assert again is not None and again.label == "clf@v2"  # it has them
    third = link_artifact_to_model("thresholds", Model("clf", version=1), name="labels")
    assert third is not None and third.load("labels") == {"t": 0.5} and len(third.artifacts) == 2
    assert linking.problems() == []


def test_what_cannot_be_linked_outside_of_a_run_makes_no_version(
    linking: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(linking.path)
    with pytest.raises(UsageError, match="which model"):
        link_artifact_to_model("labels")
    for artifact, model in (("labels", Model("clf", version=9)), ("nobody", "clf")):
        with pytest.raises(NameNotFound):
            link_artifact_to_model(artifact, model)
    for name in ("v3", "a b"):
        with pytest.raises(InvalidName):
            link_artifact_to_model("labels", name)
    with pytest.raises(InvalidName):
        link_artifact_to_model("labels", "clf", name="a/b")
    assert linking.repo().models() == []
