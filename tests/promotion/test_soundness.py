"""Bytes of a version that are damaged keep it from a stage: before, only their names were seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.errors import PolicyNotMet
from gitml.promotion import soundness
from tests.workshop import Workshop

CODE = """
from typing import Annotated

import numpy as np
from gitml import Model, pipeline, step


@step
def train() -> Annotated[np.ndarray, "model"]:
    return np.random.default_rng(7).integers(0, 255, {size}, dtype=np.uint8)


@pipeline(model=Model("clf"))
def training():
    train()
"""


@pytest.fixture
def one(workshop: Workshop) -> Workshop:
    workshop.code("pipelines/training.py", CODE.format(size=200_000))
    workshop.run()
    return workshop


def spoil(workshop: Workshop) -> None:
    """Change a byte in the middle of what the store has of the model."""
    store = workshop.path / ".git/gitml/store"
    file = max(
        (one for one in store.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size
    )
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    status = file.stat()
    file.chmod(0o644)
    file.write_bytes(data)
    assert status.st_size == len(data)


def promote(workshop: Workshop, *, thorough: bool = False) -> None:
    repo = workshop.repo()
    repo.verify_bytes = thorough
    repo.promote("clf@v1", "production", "why")


def test_a_damaged_artifact_is_not_promoted(one: Workshop) -> None:
    spoil(one)
    with pytest.raises(PolicyNotMet) as caught:
        promote(one)
    assert "model: damaged here" in " ".join(caught.value.causes())
    assert "gitml fsck --repair" in " ".join([*caught.value.causes(), str(caught.value.hint)])


def test_what_is_large_is_read_when_it_is_asked_for(
    one: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundness, "QUICK", 1000)
    spoil(one)
    with pytest.raises(PolicyNotMet, match="clf@v1"):
        promote(one, thorough=True)
    promote(one)


def test_a_policy_asks_for_every_byte(one: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "QUICK", 1000)
    file = Path(one.path / "gitml.toml")
    rule = '\n[policy.production]\nrequire = [{ bytes = "verified" }]\n'
    file.write_text(file.read_text() + rule)
    one.commit("policy")
    dry = one.repo().promote("clf@v1", "production", "why", dry_run=True)
    assert dry.verdict is not None
    assert [check.found for check in dry.verdict.checks] == ["model"]
    spoil(one)
    with pytest.raises(PolicyNotMet) as caught:
        promote(one)
    assert "not whole: model" in " ".join(caught.value.causes())


def test_a_damaged_file_of_a_folder_is_not_promoted(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/training.py",
        """
        import random
        from pathlib import Path
        from typing import Annotated

        from gitml import Model, pipeline, step


        @step
        def train() -> Annotated[Path, "model"]:
            folder = Path("out")
            folder.mkdir(exist_ok=True)
            (folder / "a").write_bytes(random.Random(7).randbytes(200_000))
            (folder / "b").write_text("b")
            return folder


        @pipeline(model=Model("clf"))
        def training():
            train()
        """,
    )
    workshop.run()
    promote(workshop)
    spoil(workshop)
    assert [one.kind for one in workshop.problems()] == ["corrupt-blob"]
    with pytest.raises(PolicyNotMet):
        workshop.repo().promote("clf@v1", "staging", "why")
