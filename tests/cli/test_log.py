"""``gitml log`` on a terminal: git's pager, and bars."""

from __future__ import annotations

import math
import os
import pty
import subprocess
import sys

import pytest

from gitml.cli import render
from gitml.testing.sealed import Project, SealedEnvironment
from tests.workshop import TRAINING


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([0.0, 0.5, 1.0], "▁▅█"),
        ([2.0, 2.0], "▅▅"),
        ([0.0, 5e-324], "▅▅"),
        ([1.0, None, math.nan, 3.0], "▁  █"),
        ([-1e308, 1e308, math.inf], "▁█ "),
        ([], ""),
    ],
)
def test_numbers_are_bars_from_the_least_to_the_greatest(
    values: list[float | None], bars: str
) -> None:
    assert render.sparkline(values) == bars


def on_a_terminal(project: Project, *arguments: str, **environment: str) -> str:
    """What a command shows on a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "gitml", *arguments]
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": ""}
    env.pop("GIT_PAGER", None)
    env |= environment
    done = subprocess.Popen(command, cwd=project.path, stdout=child, stderr=child, env=env)
    os.close(child)
    shown = b""
    try:
        while piece := os.read(parent, 4096):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    assert done.wait() == 0, shown
    return shown.decode()


@pytest.fixture
def ran(project: Project, sealed_environment: SealedEnvironment) -> Project:
    project.write("data/raw.json", '{"rows": [1]}')
    project.write("pipelines/training.py", TRAINING)
    project.commit("code")
    project.gitml("run", "training")
    return project


def test_a_terminal_gets_the_log_through_gits_pager(ran: Project) -> None:
    shown = on_a_terminal(ran, "log", GIT_PAGER="sed s/^/paged:/")
    assert len(shown.splitlines()) == 2
    assert all(line.startswith("paged:") for line in shown.splitlines())
    assert "\x1b[" in shown  # the pager shows colours
    ran.git("config", "core.pager", "sed s/^/by-config:/")
    assert "by-config:" in on_a_terminal(ran, "log")
    assert "by-config:" not in on_a_terminal(ran, "log", GIT_PAGER="cat")
    ran.git("config", "pager.log", "false")
    assert "by-config:" not in on_a_terminal(ran, "log")


def test_a_pipe_gets_no_pager_and_a_pager_that_ends_early_is_no_error(ran: Project) -> None:
    ran.git("config", "core.pager", "sed s/^/by-config:/")
    assert "by-config:" not in ran.gitml("log").out
    assert on_a_terminal(ran, "log", GIT_PAGER="true") == ""
