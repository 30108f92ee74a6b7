"""A step may do to its process what code does: gitml goes on and records it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gitml.errors import StepFailed
from gitml.pipelines.guard import Guard
from tests.workshop import Workshop, load, wait_for

PIPELINE = """\
import os, sys
from gitml import pipeline, step

@step
def closing() -> int:
    os.closerange(3, 4096)
    return 1

@step
def shallow(one: int) -> int:
    depth = next(n for n in range(10, 1000) if allows(n))
    sys.setrecursionlimit(depth)
    return one + 1

@step
def falling(two: int) -> int:
    sys.setrecursionlimit(next(n for n in range(10, 1000) if allows(n)))
    return falling_down(two)

def allows(depth):
    try:
        sys.setrecursionlimit(depth)
    except RecursionError:
        return False
    return True

def falling_down(n):
    return falling_down(n + 1)

@pipeline
def rough(fall: bool = False):
    two = shallow(closing())
    if fall:
        falling(two)
"""


def test_a_step_that_closes_all_descriptors_or_lowers_the_limit_is_recorded(
    workshop: Workshop,
) -> None:
    """Both ended with 70 and a log: gitml's own files were closed, its own calls had no room."""
    workshop.code("pipelines/rough.py", PIPELINE)
    limit = sys.getrecursionlimit()
    run = workshop.run("rough")
    assert load(run, "shallow") == 2
    with pytest.raises(StepFailed) as caught:
        workshop.run("rough", {"fall": True})
    assert isinstance(caught.value.__cause__, RecursionError)
    assert sys.getrecursionlimit() == limit
    assert os.closerange.__module__ == "posix"


def test_what_a_step_that_fails_has_started_ends_with_it(
    workshop: Workshop, tmp_path: Path
) -> None:
    """A program that nobody waited for went on when the run was over."""
    workshop.code(
        "pipelines/leaving.py",
        f"""\
import os, sys
from pathlib import Path
from gitml import pipeline, step

@step
def leave(fail: bool) -> int:
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    Path({str(tmp_path / "child")!r}).write_text(str(os.posix_spawn(words[0], words, os.environ)))
    if fail:
        raise ValueError("no")
    return 1

@pipeline
def leaving(fail: bool = True):
    leave(fail)
""",
    )
    with pytest.raises(StepFailed):
        workshop.run("leaving")
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: has_ended(child))
    workshop.run("leaving", {"fail": False})  # what a step that is well leaves behind is its own
    child = int((tmp_path / "child").read_text())
    assert not has_ended(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def has_ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_the_step_opened_is_closed_and_so_is_all_in_a_child() -> None:
    ours = os.open(os.devnull, os.O_RDONLY)
    with Guard():
        theirs = os.open(os.devnull, os.O_RDONLY)
        os.closerange(ours, theirs + 1)
        os.fstat(ours)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(theirs)
        child = os.fork()
        if child == 0:
            os.closerange(ours, ours + 1)
            try:
                os.fstat(ours)
            except OSError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    os.close(ours)
