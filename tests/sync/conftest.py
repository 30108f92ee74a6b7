"""Two clones of one bare repository and a folder for bytes: Bob has work, Alice is fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workshop import Copy, Workshop, model_for_copies

ATTEMPT = """\
from gitml import pipeline, step


@step
def one() -> int:
    return 1


@pipeline
def attempt():
    one()
"""
"""A pipeline that makes no version."""

Clone = Callable[[str], Workshop]


@dataclass(frozen=True)
class Team:
    """Bob's clone, the bare repository, the folder for bytes, and what clones a test wants."""

    bob: Workshop
    server: Workshop
    clone: Clone
    lake: Path

    @property
    def url(self) -> str:
        return self.server.path.as_uri()


@pytest.fixture(scope="session")
def bob_once(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    with model_for_copies(tmp_path_factory.mktemp("sync")) as made:
        made.training()
    return made


@pytest.fixture
def team(bob_once: Workshop, copied: Copy, tmp_path: Path) -> Iterator[Team]:
    """Bob has the training pipeline, committed and not pushed; nothing has run."""
    bob = copied(bob_once)
    server = Workshop(tmp_path / "server.git")
    server.path.mkdir()
    server.git("init", "--quiet", "--bare")
    bob.git("remote", "add", "origin", server.path.as_uri())
    lake = tmp_path / "lake"
    lake.mkdir()
    with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[remotes.lake]\nurl = "{lake}"\n')
    bob.commit("a place for bytes")
    clones: list[Workshop] = []

    def clone(name: str) -> Workshop:
        bob.git("clone", "--quiet", server.path.as_uri(), str(tmp_path / name))
        clones.append(Workshop(tmp_path / name))
        return clones[-1]

    yield Team(bob, server, clone, lake)
    for one in clones:
        one.forget()
        one.close()
