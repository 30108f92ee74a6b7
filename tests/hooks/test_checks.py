"""The checks as git and pre-commit start them: what each is told, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitml.errors import ConfigError
from gitml.git.process import Git
from gitml.hooks.checks import (
    POINTERS,
    RECORDS,
    SECRETS,
    Occasion,
    before_commit,
    before_push,
)
from gitml.repo import Repo
from gitml.testing.sealed import GitRepository, Project

TOKEN = "gl" + "pat-" + "Xy7Qw2Lr9Tz4Kd8Vb3Ns"
ALL = (POINTERS, SECRETS, RECORDS)


def check(
    repository: GitRepository, wanted: tuple[str, ...] = ALL, limit: int | None = None, **told: str
) -> list[str]:
    git = Git.discover(repository.path)
    occasion = Occasion((), told)
    found = before_commit(git, wanted, occasion, lambda: Repo(git).workspace, limit)
    return [f"{one.path}:{one.line}" for one in found]


@pytest.fixture
def faulty(project: Project) -> Project:
    """A project with one thing to mend for each check, staged."""
    project.write(".gitml/step.json", "{}")
    project.write("a.gitml", "no pointer\n")
    project.write("big.bin", b"\0" * 3000)
    project.write("conf.py", f"x = 1\ntoken = '{TOKEN}'\n")
    project.git("add", ".")
    return project


def test_each_check_finds_its_own(faulty: Project) -> None:
    assert check(faulty, (RECORDS,)) == [".gitml/:0"]
    assert check(faulty, (POINTERS,)) == ["a.gitml:0"]
    assert check(faulty, (SECRETS,)) == ["conf.py:2"]
    assert check(faulty) == [".gitml/:0", "a.gitml:0", "conf.py:2"]


def test_the_limit_comes_from_the_settings_unless_it_is_given(faulty: Project) -> None:
    with (faulty.path / "gitml.toml").open("a") as file:
        file.write('[hooks]\nlimit = "2 kB"\nexclude = ["*.gitml", "conf.*"]\n')
    assert check(faulty, (POINTERS, SECRETS)) == ["big.bin:0"]
    assert check(faulty, (POINTERS,), limit=3000) == []
    (faulty.path / "gitml.toml").write_text("[hooks]\nlimit = 'much'\n")
    with pytest.raises(ConfigError):
        check(faulty)


def test_without_settings_the_usual_ones_hold(faulty: Project) -> None:
    (faulty.path / "gitml.toml").unlink()
    assert check(faulty, (POINTERS, SECRETS)) == ["a.gitml:0", "conf.py:2"]


def test_the_index_is_the_one_that_git_names(faulty: Project) -> None:
    other = faulty.path / ".git" / "other"
    faulty.git("read-tree", f"--index-output={other}", "HEAD")
    faulty.git("add", ".")
    assert check(faulty, GIT_INDEX_FILE=".git/other") == []
    assert check(faulty, GIT_INDEX_FILE=str(faulty.path / ".git" / "index")) != []


def test_commits_that_exist_are_judged_against_where_they_came_from(faulty: Project) -> None:
    base = faulty.git("rev-parse", "HEAD")
    faulty.commit("it went in")
    assert check(faulty) == []
    told = {"PRE_COMMIT_FROM_REF": base, "PRE_COMMIT_TO_REF": "HEAD"}
    assert check(faulty, **told) == [".gitml/:0", "a.gitml:0", "conf.py:2"]


def test_pre_commit_names_one_ref_of_a_push(project: Project) -> None:
    record = "a record\n\nGitml-Kind: run\nGitml-Code: " + project.git("rev-parse", "HEAD")
    project.write(".gitml/run.json", "{}")
    tip = project.commit(record)
    told = {
        "PRE_COMMIT_REMOTE_BRANCH": "refs/heads/main",
        "PRE_COMMIT_FROM_REF": f"{tip}~1",
        "PRE_COMMIT_TO_REF": tip,
    }
    git = Git.discover(project.path)
    assert [one.path for one in before_push(git, "origin", Occasion((), told))] == ["main"]
    line = f"refs/heads/main {tip} refs/heads/main {'0' * 40}"
    assert len(before_push(git, "origin", Occasion((), {}, [line]))) == 1
    assert before_push(git, "origin", Occasion((), {}, [])) == []


def imported(project: Project, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gitml", *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_commit_of_code_waits_for_little(project: Project) -> None:
    project.write("code.py", "x = 1\n")
    project.git("add", ".")
    heavy = {"pyarrow", "dulwich", "git", "sqlite3", "blake3", "zstandard", "numpy", "tempfile"}
    modules = imported(project, "hooks", "run", "pre-commit")
    assert heavy & modules == set()
    theirs = ("gitml.repo", "gitml.store", "gitml.history", "gitml.pipelines", "gitml.workspace")
    assert [one for one in modules if one.startswith(theirs)] == []


def test_a_name_from_a_folder_means_what_it_means_there(faulty: Project) -> None:
    faulty.write("sub/conf.py", f"token = '{TOKEN}'\n")
    faulty.git("add", ".")
    done = subprocess.run(
        ["gitml", "hooks", "run", SECRETS, "conf.py"],
        cwd=Path(faulty.path / "sub"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sub/conf.py:1: a token of GitLab\n")
    assert TOKEN not in done.stderr
