"""A run's configuration in a file: what it changes, what it ignores, and how it is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gitml import CachePolicy
from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.pipelines.configuration import RunConfiguration, read_configuration
from gitml.pipelines.references import Model
from gitml.testing.sealed import SealedEnvironment
from tests.workshop import Workshop, load

MULTIPLYING = "a0: &a0 [1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
"""Nine lists of nine aliases: half a kilobyte that means a billion values."""


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
        assert found.steps == {"train": {"cache": True}}
        assert found.options == {"cache": False, "model": Model("clf")}
        assert found.note(tmp_path / name) is None


def test_what_is_said_of_steps_and_the_run(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "execution_mode": "continue_on_failure",
            "retry": {"max_retries": 2, "delay": 5},
            "cache_policy": {"expires_after": "7d", "include_artifact_ids": True},
            "run_name": "exp-{date}",
            "tags": ["nightly"],
            "substitutions": {"who": "ada"},
            "success_hook_source": {"module": "os.path", "attribute": "join"},
            "steps": {
                "load": {"cache_policy": "no_cache"},
                "train": {
                    "retry": {"max_retries": 3, "delay": 1.5, "backoff": 2},
                    "timeout": 60,
                    "cache_policy": {"ignored_inputs": ["workers"], "cache_func": "os.getcwd"},
                    "failure_hook_source": "os.getcwd",
                },
            },
        },
    )
    assert found.options == {
        "execution_mode": "continue_on_failure",
        "policy": CachePolicy(expires_after="7d"),
        "run_name": "exp-{date}",
        "substitutions": {"who": "ada"},
    }
    assert found.retry == {"retries": 2, "backoff": 5, "factor": 1}
    assert found.tags == ("nightly",)
    assert found.hooks == {"on_success": os.path.join}
    assert found.ignored == ("cache_policy.include_artifact_ids",)
    assert found.steps == {
        "load": {"cache": False},
        "train": {
            "retries": 3,
            "backoff": 1.5,
            "factor": 2,
            "timeout": 60,
            "cache_policy": CachePolicy(ignored_inputs=["workers"], cache_func=os.getcwd),
            "on_failure": os.getcwd,
        },
    }


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
    assert found.options["model"].card == {"license": "MIT"}
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
        ({"retry": 3}, "`retry` should be a table, not a whole number: 3"),
        ({"steps": {"a": {"retry": {"max_retries": 1.5}}}}, "`steps.a.retry.max_retries` should"),
        ({"retry": {"max_retries": -1}}, "`retry` should have numbers from 0 on"),
        ({"steps": {"a": {"timeout": "1m"}}}, "`steps.a.timeout` should be a number, not text"),
        ({"execution_mode": "fast"}, "`execution_mode` should be one of fail_fast, .*, not 'fast'"),
        ({"cache_policy": 3}, '`cache_policy` should be a table, "default" or "no_cache", not a'),
        (
            {"steps": {"a": {"cache_policy": {"expires_after": "soon"}}}},
            "`steps.a.cache_policy`: expires_after of a cache policy should be a length of time",
        ),
        ({"on_failure": 3}, "`on_failure` should be a function, like `alerts.notify`, not a whole"),
        ({"failure_hook_source": "absent.f"}, "`failure_hook_source` names absent.f, which cannot"),
        ({"tags": "nightly"}, "`tags` should be a list, not text: 'nightly'"),
        ({"tags": ["a, b"]}, "`tags`: "),
        ({"steps": {"fit": {"tags": "raw"}}}, "`steps.fit.tags` should be a list, not text: 'raw'"),
        ({"steps": {"fit": {"tags": ["a, b"]}}}, "`steps.fit.tags`: "),
        ({"run_name": 3}, "`run_name` should be text, not a whole number: 3"),
        ({"substitutions": {"who": 3}}, "`substitutions.who` should be text, not a whole number"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, document)


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NameNotFound) as refused:
        read(tmp_path, {"steps": {"train": {"paramters": {}}}})
    assert refused.value.hint == "did you mean `steps.train.parameters`?"
    with pytest.raises(NameNotFound, match=r"`model\.nme`") as refused:
        read(tmp_path, {"model": {"nme": "clf"}})
    assert refused.value.hint == "did you mean `model.name`?"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("run.txt", ""), ("run.toml", "= 1"), ("run.yaml", "a: [1"), ("no.toml", None)],
        *[("deep.yaml", "[" * 2000), ("deep.json", "[" * 200_000)],
        *[("loop.yaml", "parameters: &a {b: *a}"), ("many.yaml", MULTIPLYING)],
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(GitmlError, match=name):
        read_configuration(tmp_path / name, {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.yaml", "a: 1\nb: [1, 2\nc: 3\n", r"run.yaml cannot be read: line 3, column 2: exp"),
        ("run.yaml", "a: 1\n\tb: 2\n", "line 2, column 1: found character"),
        ("run.json", '{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        ("run.toml", "a = 1\nb =\n", r"Invalid value \(at line 2, column 4\)"),
        (
            "run.yaml",
            "steps:\n  fit:\n    timeout: 1\n    timeout: 2\n",
            "line 4: `steps.fit.timeout` is set already, in line 3",
        ),
        ("run.yaml", "tags: [{a: 1, a: 2}]", r"line 1: `tags\[0\].a` is set already, in line 1"),
        ("run.json", '{"steps": {"a": {}, "a": {}}}', "`a` stands twice in one table"),
        ("run.toml", "a = 1\na = 2\n", r"Cannot overwrite a value \(at line 2, column"),
    ],
)
def test_a_mistake_is_said_once_with_its_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as refused:
        read_configuration(tmp_path / name, {})
    assert refused.value.__cause__ is None and "\n" not in refused.value.message


def test_a_merge_of_yaml_sets_no_key_twice(tmp_path: Path) -> None:
    text = "parameters: &a {rate: 1, depth: 2}\nsteps: {fit: {parameters: {<<: *a, rate: 3}}}\n"
    (tmp_path / "run.yaml").write_text(text)
    found = read_configuration(tmp_path / "run.yaml", {})
    assert found.parameters == {"rate": 1, "depth": 2, "fit.rate": 3, "fit.depth": 2}


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "nightly.yaml").write_text("")
    with pytest.raises(UsageError, match=r"nightli\.yaml does not exist") as absent:
        read_configuration(tmp_path / "nightli.yaml", {})
    assert absent.value.hint == f"did you mean `{tmp_path / 'nightly.yaml'}`?"
    (tmp_path / "conf").mkdir()
    for name in ("conf", "conf.yaml"):
        (tmp_path / name).mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=f"{name} is a folder"):
            read_configuration(tmp_path / name, {})


def test_a_number_without_a_point_is_one_where_a_number_is_wanted(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/tuned.py",
        """\
        from gitml import pipeline, step

        @step
        def fit(C: float, tol: float | None = None, name: str = "") -> list:
            return [C, tol, name]

        @pipeline
        def tuned(C: float = 1.0, name: str = ""):
            fit(C, name=name)
        """,
    )
    file = workshop.path / "run.yaml"
    file.write_text(
        "parameters: {C: 1e-3, name: 1e3}\nsteps: {fit: {timeout: 1e3, parameters: {tol: 2e-4}}}\n"
    )
    pipeline = workshop.repo().load_pipeline("tuned", workshop.path)
    done = workshop.repo().run(pipeline.with_options(config_path=file))
    assert load(done, "fit") == [0.001, 0.0002, "1e3"]


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


FLAKY = """\
from gitml import pipeline, step

calls = []


@step
def flaky(most: int) -> int:
    calls.append("flaky")
    if calls.count("flaky") <= most:
        raise ValueError("no luck")
    return most


@step(retries=1, backoff=0)
def stubborn(most: int) -> int:
    calls.append("stubborn")
    if calls.count("stubborn") <= most:
        raise ValueError("no luck")
    return most


@pipeline
def example(flaky_most: int = 0, stubborn_most: int = 0):
    flaky(flaky_most)
    stubborn(stubborn_most)
"""


def test_options_in_code_have_the_keys_of_a_file(workshop: Workshop) -> None:
    workshop.code("pipelines/example.py", FLAKY)
    workshop.forget()
    example: Any = workshop.repo().load_pipeline("example", workshop.path)
    told: list[str] = []
    other = example.with_options(
        retry={"max_retries": 3},
        execution_mode="continue_on_failure",
        steps={"flaky": {"on_failure": lambda: told.append("flaky")}},
        on_success=lambda: told.append("all"),
        on_failure=lambda error: told.append(str(error)),
        model=Model("clf"),
        tags=["nightly"],
    )
    run = other(flaky_most=3)
    assert (run.status, told, run.model_version.model) == ("completed", ["all"], "clf")
    assert run.tags == ("nightly",)
    assert run.steps["flaky"].found.record.attempts == 4
    with pytest.raises(GitmlError) as failed:  # its own retries come before those of all
        other(flaky_most=5, stubborn_most=9)
    assert failed.value.run.steps["stubborn"].status == "failed"  # type: ignore[attr-defined]
    assert told[1:] == ["no luck"]
    with pytest.raises(UsageError, match=r"with_options: `steps.flaky.timeout` should be a number"):
        example.with_options(steps={"flaky": {"timeout": "long"}})
    with pytest.raises(NameNotFound, match="no key of with_options is called `retries`"):
        example.with_options(retries=3)
    with pytest.raises(UsageError, match="flaky: timeout is -1, not a number of seconds"):
        example.with_options(steps={"flaky": {"timeout": -1}})()
    workshop.forget()
