"""The step key: every part of it counts, every difference has a name, no secret is in it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from gitml.code.closure import Closure, unwrap
from gitml.pipelines.cache import StepKey, step_key
from gitml.pipelines.keychange import Change, changes
from tests.code.project import Project

CLOSURE = Closure(
    source="pipelines/training.py:train",
    code_id="a" * 64,
    files=(),
    parts={"function train": "1" * 64, "distribution numpy": "2" * 64},
    distributions={"numpy": "2.0"},
    modules=frozenset(),
    uncached=None,
    warnings=(),
)
PARTS: dict[str, Any] = {
    "name": "train",
    "closure": CLOSURE,
    "parameters": {"depth": 6},
    "inputs": {"features": "blake3:" + "3" * 64},
    "outputs": [("model", "sklearn/1"), ("report", "json/1")],
    "input_materializers": {"features": "arrow/1"},
    "environment": {"MODE": "fast"},
    "files": {"data/words.txt": "blake3:" + "4" * 64},
    "python": "3.11",
}


def key(**changed: Any) -> StepKey:
    return step_key(**{**PARTS, **changed})


def why(**changed: Any) -> list[tuple[str, str]]:
    """How the key differs from the one of PARTS; the digest must say the same."""
    old, new = key(), key(**changed)
    found = [(change.part, change.how) for change in changes(old.parts, new.parts)]
    assert (old.digest != new.digest) is bool(found)
    return found


def test_the_key_is_the_same_for_ever() -> None:
    assert list(key().parts) == sorted(
        [
            *("code distribution numpy", "code function train", "environment MODE"),
            *("file data/words.txt", "input features", "materializer features", "name"),
            *("output model", "output report", "parameter depth", "python 3.11", "source"),
        ]
    )
    assert key().digest == "ed82037d4900489bc932f0fc10ec1076d24f05602eda05af37a973888aefaa0b"


def test_the_given_name_is_a_miss_so_steps_made_in_a_loop_differ() -> None:
    assert why(name="train_2") == [("name", "changed")]


def test_a_move_to_another_file_is_a_miss() -> None:
    moved = replace(CLOSURE, source="other.py:train")
    assert why(closure=moved) == [("source", "changed")]


def test_changed_code_is_a_miss() -> None:
    parts = {"function train": "9" * 64, "module clean.py": "5" * 64}
    assert why(closure=replace(CLOSURE, parts=parts)) == [
        ("code distribution numpy", "removed"),
        ("code function train", "changed"),
        ("code module clean.py", "added"),
    ]


def test_the_code_id_and_the_files_of_the_closure_are_no_part() -> None:
    assert why(closure=replace(CLOSURE, code_id="b" * 64, warnings=("x",))) == []


@pytest.mark.parametrize("value", [6.0, "6", True, None, [6], {"a": 6}])
def test_a_parameter_of_another_value_or_type_is_a_miss(value: object) -> None:
    assert why(parameters={"depth": value}) == [("parameter depth", "changed")]


def test_the_arguments_of_a_partial_are_a_miss(project: Project) -> None:
    project.write("steps.py", "def train(x, depth): return x\n")
    train = project.load().train
    made = []
    for depth in (6, 7):
        step, bound = unwrap(functools.partial(train, depth=depth))
        made.append(step_key(**{**PARTS, "closure": project.trace(step), "parameters": bound}))
    assert changes(made[0].parts, made[1].parts) == [Change("parameter depth", "changed")]


def test_other_inputs_are_a_miss() -> None:
    assert why(inputs={"features": "blake3:" + "5" * 64}) == [("input features", "changed")]


def test_other_outputs_or_materializer_versions_are_a_miss() -> None:
    assert why(outputs=[("model", "sklearn/2"), ("report", "json/1")]) == [
        ("output model", "changed")
    ]
    assert why(outputs=[("report", "json/1"), ("model", "sklearn/1")]) == [
        ("output model", "changed"),
        ("output report", "changed"),
    ]
    assert why(input_materializers={"features": "arrow/2"}) == [
        ("materializer features", "changed")
    ]


def test_declared_variables_and_files_are_a_miss() -> None:
    assert why(environment={"MODE": "slow"}) == [("environment MODE", "changed")]
    assert why(environment={"MODE": None}) == [("environment MODE", "changed")]
    assert why(environment={"MODE": ""}) == [("environment MODE", "changed")]
    assert why(files={"data/words.txt": "absent"}) == [("file data/words.txt", "changed")]


def test_another_minor_version_of_python_is_a_miss() -> None:
    assert why(python="3.12") == [("python 3.11", "removed"), ("python 3.12", "added")]


def test_no_digest_of_a_secret_is_in_the_parts() -> None:
    def parts(**environment: str | None) -> dict[str, str]:
        return dict(key(environment=environment).parts)

    assert parts(HF_TOKEN="one") == parts(HF_TOKEN="two") != parts(HF_TOKEN=None)
    assert parts(DB="postgres://me:one@host/x") == parts(DB="postgres://me:two@host/x")
    assert parts(DB="postgres://host/x") != parts(DB="postgres://host/y")


def test_names_cannot_be_shifted_from_one_part_to_another() -> None:
    one = key(parameters={"a": 'b" 0'}, inputs={})
    other = key(parameters={'a" "b': 0}, inputs={})
    assert one.digest != other.digest
    assert key(inputs={"x": "y"}, files={}).digest != key(inputs={}, files={"x": "y"}).digest
