"""``gitml show NAME --log -f``: what a run prints in another process, until it ends."""

from __future__ import annotations

import os
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
from gitml import pipeline, step


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


@pipeline(run_name="exp")
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


def test_a_killed_run_ends_too(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = workshop.repo()
    with going(workshop, tmp_path / "fifo") as run:
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not follow_log(repo, "exp", "fit")
    assert repo.going() == []
