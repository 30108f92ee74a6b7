"""``gitml show NAME --log -f``: what a run prints in another process, until it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitml.cli.follow import follow_log
from gitml.errors import NameNotFound
from tests.workshop import Workshop

WAITING = """\
from gitml import Model, pipeline, step


@step
def load() -> int:
    print("loading")
    return 1


@step
def fit(value: int) -> int:
    print("10%\\r20%")
    print("fitting")
    with open("FIFO") as said:
        print(said.read())
    print("the end", end="")
    return value


@pipeline(run_name="exp", tags=["nightly"], model=Model("clf"))
def example():
    fit(load())
"""


@contextmanager
def going(workshop: Workshop, fifo: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the example in another process, waiting for a word."""
    os.mkfifo(fifo)
    workshop.code("pipelines/example.py", WAITING.replace("FIFO", str(fifo)))
    command = [sys.executable, "-m", "gitml", "run", "example"]
    run = subprocess.Popen(command, cwd=workshop.path, stderr=subprocess.DEVNULL)
    try:
        while not any(one.current and one.current.step == "fit" for one in workshop.repo().going()):
            assert run.poll() is None
            time.sleep(0.02)
        yield run
    finally:
        run.kill()
        run.wait()


def test_a_run_is_followed_until_it_ends(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = workshop.repo()
    with going(workshop, tmp_path / "fifo") as run:
        assert not follow_log(repo, "other", None)
        (one,) = repo.status().going
        assert (one.name, one.process, one.ended) == ("exp", run.pid, {"load": "completed"})
        with pytest.raises(NameNotFound, match="no step is called `fti`"):
            follow_log(repo, "exp", "fti")
        say = threading.Thread(target=(tmp_path / "fifo").write_text, args=("go on",))
        say.start()
        assert follow_log(repo, "example", None)
        say.join()
        assert run.wait() == 0
    told = capsys.readouterr()
    assert told.out == "load\nloading\nfit\n20%\nfitting\ngo on\nthe end\n"
    (recorded,) = repo.runs()
    assert told.err == f"Run {repo.short(recorded.id)} of example: completed\n"
    assert list((workshop.path / ".git/gitml/live").iterdir()) == []


def test_the_log_has_the_runs_that_go_on(workshop: Workshop, tmp_path: Path) -> None:
    def log(*arguments: str) -> str:
        return workshop.python("-m", "gitml", "log", *arguments).out

    with going(workshop, tmp_path / "fifo") as run:
        shown = r"Running   exp example  fit, 1 of 2 steps done  for [0-9.]+ m?s\n"
        narrowed = ("--pipeline", "example", "--tag", "nightly", "--model", "clf")
        for options in ((), ("--graph",), narrowed):
            assert re.fullmatch(shown, log(*options))
        for other in ("--tag", "--pipeline", "--model"):
            told = workshop.python("-m", "gitml", "log", other, "other", status=6)
            assert "Running" not in told.out
        assert log("--failed") == ""
        document = json.loads(log("--json"))
        assert document["runs"] == []
        (only,) = document["going"]
        assert (only["name"], only["process"], only["step"]) == ("exp", run.pid, "fit")
        assert (only["models"], only["tags"]) == (["clf"], ["nightly"])
        (tmp_path / "fifo").write_text("go on")
        assert run.wait() == 0
    lines = log().splitlines()
    assert "exp" in lines[1]
    assert "Running" not in "".join(lines)


def test_a_killed_run_ends_too(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = workshop.repo()
    with going(workshop, tmp_path / "fifo") as run:
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not follow_log(repo, "exp", "fit")
    assert repo.going() == []
