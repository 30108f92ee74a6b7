"""Whatever a step prints is shown while it runs and kept: Python, C and child processes alike."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gitml.pipelines.output import LIMIT, Capture
from tests.workshop import wait_for


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return tmp_path / "terminal"


def captured(shown: Path, body: Callable[[], object]) -> bytes:
    kept: list[bytes] = []
    with (
        shown.open("wb") as terminal,
        Capture(terminal.fileno()) as capture,
        capture.step(kept),
    ):
        body()
    return b"".join(kept)


def test_prints_writes_and_children_are_one_stream(shown: Path) -> None:
    def body() -> None:
        print("from print")
        sys.stdout.flush()
        os.write(1, b"from a descriptor\n")
        os.write(2, b"from stderr\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)

    text = captured(shown, body)
    assert text.splitlines() == [
        b"from print",
        b"from a descriptor",
        b"from stderr",
        b"from a child",
    ]
    assert shown.read_bytes() == text


def test_it_is_shown_while_the_step_runs(shown: Path) -> None:
    def body() -> None:
        os.write(1, b"early\n")
        wait_for(lambda: shown.read_bytes() == b"early\n")

    assert captured(shown, body) == b"early\n"


def test_descriptors_and_streams_are_as_they_were(shown: Path) -> None:
    def numbers() -> list[tuple[int, int]]:
        return [(os.fstat(one).st_dev, os.fstat(one).st_ino) for one in (1, 2)]

    before, streams = numbers(), (sys.stdout, sys.stderr)
    threads = threading.active_count()

    def fails() -> None:
        print("one line")
        raise ValueError

    with pytest.raises(ValueError):
        captured(shown, fails)
    assert numbers() == before
    assert (sys.stdout, sys.stderr) == streams
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) < 200 if os.path.isdir("/proc/self/fd") else True


def test_each_step_keeps_its_own(shown: Path) -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    with shown.open("wb") as terminal, Capture(terminal.fileno()) as capture:
        with capture.step(first):
            print("one")
        with capture.step(second):
            print("two")
    assert (first, second) == ([b"one\n"], [b"two\n"])
    assert shown.read_bytes() == b"one\ntwo\n"


def test_streams_that_are_no_descriptors_are_kept_too(
    shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", notebook)
    assert captured(shown, lambda: print("in a cell é")) == "in a cell é\n".encode()
    assert sys.stdout is notebook


def test_a_flood_keeps_its_head_and_its_tail(shown: Path) -> None:
    def body() -> None:
        os.write(1, b"first\n")
        for _ in range(LIMIT // (1 << 20) + 1):
            os.write(1, b"x" * (1 << 20))
        os.write(1, b"\nlast\n")

    text = captured(shown, body)
    assert text.startswith(b"first\n")
    assert text.endswith(b"\nlast\n")
    assert len(text) < LIMIT + 100
    assert b"bytes left out]" in text


def test_silence_starts_nothing() -> None:
    threads = threading.active_count()
    with Capture(2):
        assert threading.active_count() == threads
