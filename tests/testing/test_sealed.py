"""The sealed world keeps the outer one out, and the repository fixture drives the real git."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gitml.cli
from gitml.testing.sealed import COLUMNS, IDENTITY, GitRepository, Project, SealedEnvironment
from gitml.testing.sealed import sealed_variables as sealed_variables_for


def test_only_what_is_named_gets_in(tmp_path: Path) -> None:
    outer = {
        "PATH": "/usr/bin",
        "GIT_DIR": "/elsewhere/.git",
        "GITML_STACK": "shared",
        "CI": "true",
        "SECRET_TOKEN": "x",
        "PYTHONWARNINGS": "error",
        "PYTEST_CURRENT_TEST": "kept",
    }
    inner = sealed_variables_for(tmp_path / "home", outer)
    assert inner.keys().isdisjoint(outer.keys() - {"PATH", "PYTEST_CURRENT_TEST"})
    assert inner["PYTEST_CURRENT_TEST"] == "kept"
    assert inner["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]


def test_every_test_starts_in_an_empty_home_of_its_own(
    sealed_environment: SealedEnvironment,
) -> None:
    assert Path.cwd() == sealed_environment.home == Path.home()
    assert list(sealed_environment.home.iterdir()) == []
    assert os.environ["NO_COLOR"] == "1"
    assert os.environ["COLUMNS"] == str(COLUMNS)
    assert time.tzname[0] == "UTC"


def test_git_sees_only_the_sealed_configuration(sealed_environment: SealedEnvironment) -> None:
    listing = subprocess.run(
        ["git", "config", "--list", "--show-origin"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    sealed = f"file:{sealed_environment.home}.sealed/gitconfig\t"
    assert listing
    assert [line for line in listing if not line.startswith(sealed)] == []


def test_what_processes_inherit_is_not_that_of_whoever_started_the_tests(tmp_path: Path) -> None:
    """As under nohup, in the background of a script, for somebody with a strict umask."""
    code = (
        "import os, signal\n"
        "from gitml.testing.sealed import seal_process\n"
        "seal_process()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN  # which is Python's own way\n"
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()\n"
        "open('file', 'w').close()\n"
        "print(oct(os.stat('file').st_mode & 0o777), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
    )

    def inherit() -> None:
        os.umask(0o077)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, preexec_fn=inherit, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"0o644\n", b"")
    assert done.returncode == -signal.SIGHUP


def test_names_of_files_have_all_letters(sealed_environment: SealedEnvironment) -> None:
    (sealed_environment.home / "Müller.csv").touch()
    listing = [sys.executable, "-c", "import os; print(os.listdir())"]
    assert subprocess.run(listing, capture_output=True, check=True).stdout.decode() == (
        "['Müller.csv']\n"
    )


HOSTILE = """
LC_ALL=C PYTHONUTF8=0 PYTHONIOENCODING=ascii PYTHONWARNINGS=error COLUMNS=40 TZ=Asia/Tokyo
HOME=/nonexistent XDG_CONFIG_HOME=/x GIT_DIR=/nonexistent GIT_INDEX_FILE=/x GIT_AUTHOR_NAME=x
GIT_TRACE=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=commit.gpgSign GIT_CONFIG_VALUE_0=true
GIT_TEMPLATE_DIR=/x PAGER=false EDITOR=false SSH_AUTH_SOCK=/x FORCE_COLOR=1 CI=true BASH_ENV=/x
"""


def test_the_seal_holds_on_a_hostile_machine(tmp_path: Path) -> None:
    tests = "names_of_files or sees_only or identity or starts_in"
    arguments = [
        "-n",
        "1",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'base'}",
        "-k",
        tests,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, __file__],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], **dict(one.split("=") for one in HOSTILE.split())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        umask=0o077,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
    assert b"5 passed" in done.stdout


def test_commits_carry_the_sealed_identity(git_repository: GitRepository) -> None:
    git_repository.write("folder/a.txt", "one\n")
    commit = git_repository.commit("add a")
    assert git_repository.git("log", "-1", "--format=%an <%ae> %s") == (
        f"{IDENTITY[0]} <{IDENTITY[1]}> add a"
    )
    assert git_repository.git("rev-parse", "main") == commit
    assert git_repository.git("show", "HEAD:folder/a.txt") == "one"


def test_frozen_dates_make_equal_ids(
    sealed_environment: SealedEnvironment, git_repository: GitRepository
) -> None:
    sealed_environment.freeze_dates("2026-01-02T03:04:05+00:00")
    git_repository.commit("fixed")
    assert git_repository.git("log", "-1", "--format=%aI %cI") == (
        "2026-01-02T03:04:05+00:00 2026-01-02T03:04:05+00:00"
    )


def test_without_identity_git_refuses_to_commit(
    sealed_environment: SealedEnvironment, git_repository: GitRepository
) -> None:
    sealed_environment.forget_identity()
    with pytest.raises(
        AssertionError, match=r"(?s)git commit.*was given and auto-detection is disabled"
    ):
        git_repository.commit()


def test_a_failing_git_shows_its_output(git_repository: GitRepository) -> None:
    with pytest.raises(AssertionError, match=r"(?s)git rev-parse.*unknown revision.*exit 128"):
        git_repository.git("rev-parse", "nowhere")


def test_a_project_is_initialised_and_clean(request: pytest.FixtureRequest) -> None:
    if not hasattr(gitml.cli, "main"):
        pytest.skip("gitml.cli has no commands yet")
    project: Project = request.getfixturevalue("project")
    assert "gitml.toml" in project.git("ls-files").splitlines()
    assert project.git("status", "--porcelain") == ""
    assert project.gitml("--version").out.startswith("gitml")
    with pytest.raises(AssertionError, match=r"(?s)gitml no-such-command.*\[exit 2\]"):
        project.gitml("no-such-command")
    assert "no-such-command" in project.gitml("no-such-command", status=2).err
