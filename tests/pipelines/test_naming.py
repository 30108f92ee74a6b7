"""Names of runs: templates with parameters, found by name, never the identity."""

from __future__ import annotations

from typing import Any

import pytest

from gitml.errors import GitmlError, InvalidName, UsageError
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.naming import run_name
from tests.workshop import Workshop

NOW = 1767323045.25


def named(template: str | None, substitutions: dict[str, str] | None = None, **given: Any) -> Any:
    pipeline = PipelineFunction(lambda: None, name="example", run_name=template)
    pipeline.substitutions = substitutions or {}
    return run_name(pipeline, given, NOW)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (None, None),
        ("best", "best"),
        ("exp-{date}-{time}", "exp-2026_01_02-03_04_05_250000"),
        ("exp-{rate}-{fit.depth}-{words}", "exp-0.1-3-a-b"),
        ("{who}-{flag}-{none}-{list}", "ada-true-null-1-2"),
    ],
)
def test_places_are_filled(template: str | None, name: str | None) -> None:
    given = {"rate": 0.1, "fit.depth": 3, "words": "a / b!", "flag": True, "none": None}
    assert named(template, {"who": "ada"}, **given, list=[1, 2]) == name


@pytest.mark.parametrize(
    ("template", "kind", "words"),
    [
        ("exp-{speed}", UsageError, "has {speed}, which is no parameter"),
        ("{}", UsageError, "has {}, which is no parameter"),
        ("a b", InvalidName, "not a name for a run: 'a b'"),
        ("", InvalidName, "not a name for a run"),
        ("x" * 101, InvalidName, "not a name for a run"),
        ("cafe", InvalidName, "`cafe` reads as an id"),
    ],
)
def test_what_is_no_name(template: str, kind: type[GitmlError], words: str) -> None:
    with pytest.raises(kind, match=words):
        named(template)


def test_a_run_is_found_by_its_name_and_the_newest_of_several_is_meant(workshop: Workshop) -> None:
    workshop.training()
    text = (workshop.path / "pipelines/training.py").read_text()
    decorator = '@pipeline(model=Model("clf"), run_name="exp-{rate}")'
    workshop.code("pipelines/training.py", text.replace('@pipeline(model=Model("clf"))', decorator))
    first = workshop.run(parameters={"rate": 0.25})
    other = workshop.run(parameters={"rate": 0.5})
    assert (first.name, other.name) == ("exp-0.25", "exp-0.5")
    repo = workshop.repo()
    assert repo.resolve("exp-0.25").commit == repo.resolve("run/exp-0.25").commit == first.id
    again = workshop.run(parameters={"rate": 0.25})
    repo = workshop.repo()
    assert repo.resolve("exp-0.25").commit == again.id
    assert repo.resolve(first.id.short).commit == first.id
    assert workshop.record(first.id, "run.json")["name"] == "exp-0.25"
    assert workshop.problems() == []


def test_a_name_of_a_run_comes_behind_all_others(workshop: Workshop) -> None:
    workshop.training()
    text = (workshop.path / "pipelines/training.py").read_text()
    decorator = '@pipeline(model=Model("clf"), run_name="clf")'
    workshop.code("pipelines/training.py", text.replace('@pipeline(model=Model("clf"))', decorator))
    run = workshop.run()
    repo = workshop.repo()
    assert repo.resolve("clf").kind == "model"
    assert repo.resolve("run/clf").commit == run.id
