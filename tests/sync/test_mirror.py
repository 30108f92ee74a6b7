"""Artifacts of a repository that is known by its URL alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gitml
from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.repo import Repo
from tests.sync.conftest import Team


def test_a_model_is_loaded_by_url_and_follows_its_stage(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rate in (0.1, 0.2):
        team.bob.run("training", {"rate": rate})
    team.bob.repo().push()
    team.bob.repo().promote("clf@v1", "production", "first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = gitml.Model("clf", version="production", repo=team.url)
    assert model.load("model") == {"weights": [0.2, 0.4, 0.6000000000000001]}
    team.bob.repo().promote("clf@v2", "production", "second")
    assert model.load("model") == {"weights": [0.4, 0.8, 1.2000000000000002]}
    with pytest.raises(NameNotFound, match="staging"):
        gitml.Model("clf", version="staging", repo=team.url).load("model")
    with pytest.raises(UsageError, match="another repository"):
        model.artifact("model")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_command_line_needs_no_work_tree(team: Team, tmp_path: Path) -> None:
    team.bob.run()
    team.bob.repo().push()
    (tmp_path / "elsewhere").mkdir()
    code = "from gitml.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "artifact", "get", "clf@v1:model", "--repo", team.url],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere/model.json").exists()


def test_a_url_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(GitmlError, match="cannot be reached"):
        Repo.of_url(f"file://{tmp_path}/none.git", environment=os.environ)
