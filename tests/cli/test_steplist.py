"""How a run goes on a terminal: what is drawn, what stays, and what is left when it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.cli.steplist import StepList, progress
from gitml.pipelines.outcome import StepEvent
from gitml.testing.sealed import Project, SealedEnvironment


class Screen:
    """A terminal: a real pseudo-terminal, and the lines that one would see on it."""

    def __init__(self, columns: int = 60, rows: int = 10) -> None:
        self._ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w")
        self.raw = ""
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int = 10) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """The lines, once they are as ``seen`` wants them."""
        while not seen(self.lines()):
            self.raw += os.read(self._ours, 65536).decode()
        return self.lines()

    def rest(self) -> list[str]:
        """The lines when nobody writes any more."""
        self.stream.close()
        try:
            while piece := os.read(self._ours, 65536):
                self.raw += piece.decode()
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(self._ours)
        return self.lines()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def lines(self) -> list[str]:
        """What has been written, as a terminal shows it; it knows what gitml uses and no more."""
        shown, row, column = [""], 0, 0
        for found in re.finditer(r"\x1b\[([0-9;]*)([A-Za-z])|([^\x1b])", self.raw):
            count, command, sign = found.groups()
            if command == "A":
                row = max(row - int(count or 1), 0)
            elif command == "J":
                shown = [*shown[:row], shown[row][:column]]
            elif command == "m":
                pass
            elif sign == "\r":
                column = 0
            elif sign == "\n":
                row += 1
                shown += [""] * (row + 1 - len(shown))
            else:
                assert sign is not None, found[0]
                line = shown[row].ljust(column)
                shown[row] = line[:column] + sign + line[column + 1 :]
                column += 1
        return [one.rstrip() for one in shown]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    made = Screen()
    yield made
    made.stream.close()


def listed(screen: Screen, *names: str) -> StepList:
    shown = StepList("example", screen.stream, tick=0.005)
    shown.tell(StepEvent("", "plan", steps=names))
    return shown


def test_what_is_done_stays_and_what_is_to_come_is_below(screen: Screen) -> None:
    with listed(screen, "load", "fit", "check") as shown:
        shown.tell(StepEvent("load", "cached", 0.002))
        shown.tell(StepEvent("fit", "started"))
        assert screen.until(lambda lines: len(lines) == 3) == [
            "  cached   example.load                 2.0 ms",
            "  running  example.fit",
            "  waiting  example.check",
        ]
        shown.live(b"epoch 1\nepo")
        assert screen.until(lambda lines: "epo" in lines) == [
            "  cached   example.load                 2.0 ms",
            "epoch 1",
            "epo",
            "  running  example.fit",
            "  waiting  example.check",
        ]
        shown.live(b"ch 2\n 10%\r 20%\r")
        screen.until(lambda lines: lines[3:4] == [" 20%"])
        shown.tell(StepEvent("", "note", notes=("careful",)))
        shown.tell(StepEvent("fit", "completed", 1.5))
    assert screen.rest() == [
        "  cached   example.load                 2.0 ms",
        "epoch 1",
        "epoch 2",
        " 20%",
        "Note: careful",
        "  ran      example.fit                  1.5 s",
        "",
    ]
    assert "\x1b[34m" in screen.raw


def test_the_items_of_a_mapped_step_are_counted(screen: Screen) -> None:
    with listed(screen, "score", "check") as shown:
        shown.tell(StepEvent("score", "started"))
        shown.tell(StepEvent("score", "items", items=(7, 12)))
        screen.until(lambda lines: lines[0] == "  running  example.score                7/12")
        shown.tell(StepEvent("score", "completed", 1.5, items=(5, 12)))
        shown.tell(StepEvent("check", "started"))
        screen.until(lambda lines: lines[1:] == ["  running  example.check"])
    assert screen.rest()[0] == "  ran      example.score                1.5 s, 5 of 12 items reused"


def test_many_steps_and_a_narrow_terminal(screen: Screen) -> None:
    screen.resize(20, 5)
    names = [f"step_{number}" for number in range(12)]
    with listed(screen, *names) as shown:
        shown.tell(StepEvent("step_0", "started"))
        assert screen.until(lambda lines: len(lines) == 3) == [
            "  running…le.step_0",
            "  waiting…le.step_1",
            "  … and 1…teps more",
        ]
        screen.resize(10)
        screen.until(lambda lines: any(len(one) == 9 for one in lines))
    assert all(not one.startswith("  waiting") for one in screen.rest())


def test_an_interruption_leaves_a_clean_screen(screen: Screen) -> None:
    with pytest.raises(KeyboardInterrupt), listed(screen, "load", "fit") as shown:
        shown.tell(StepEvent("load", "started"))
        screen.until(lambda lines: len(lines) == 2)
        shown.live(b"half a line")
        raise KeyboardInterrupt
    assert screen.rest() == ["half a line", ""]


def test_without_colours_it_moves_and_on_a_dumb_terminal_it_does_not(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", screen.stream)
    with listed(screen, "load") as shown:
        shown.tell(StepEvent("load", "started"))
        screen.until(lambda lines: lines == ["  running  example.load"])
        shown.tell(StepEvent("load", "completed", 0.1))
    monkeypatch.setenv("TERM", "dumb")
    with progress("example") as plain:
        plain.tell(StepEvent("", "plan", steps=("load",)))
        plain.tell(StepEvent("load", "started"))
    assert screen.rest() == [
        "  ran      example.load                 100 ms",
        "  running  example.load",
        "",
    ]
    assert "m" not in re.findall(r"\x1b\[[0-9;]*([A-Za-z])", screen.raw)


ENDLESS = """\
from gitml import pipeline, step


@step
def load() -> int:
    return 1


@step
def fit(value: int) -> int:
    print("fitting")
    while True:
        pass


@pipeline
def example():
    fit(load())
"""


def test_ctrl_c_on_a_real_terminal(
    project: Project, sealed_environment: SealedEnvironment, screen: Screen, tmp_path: Path
) -> None:
    project.write("pipelines/example.py", ENDLESS)
    project.commit("code")
    run = subprocess.Popen(
        [sys.executable, "-m", "gitml", "run", "example"],
        cwd=project.path,
        stdin=screen.stream,
        stdout=screen.stream,
        stderr=screen.stream,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    lines = screen.until(lambda lines: "  running  example.fit" in lines)
    assert [re.sub(r"[\d.]+ ms$", "… ms", one) for one in lines] == [
        "  ran      example.load                 … ms",
        "fitting",
        "  running  example.fit",
    ]
    screen.type("\x03")
    assert run.wait() == 128 + signal.SIGINT
    after = screen.rest()
    assert after[1] == "fitting"
    assert not any("running" in one or "waiting" in one for one in after)
