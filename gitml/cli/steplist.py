"""How a run goes, on a terminal: steps that are done stay as lines, below are those to come."""

from __future__ import annotations

import sys
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, TextIO

from gitml.cli import render
from gitml.cli.region import Region
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.pipelines.outcome import StepEvent

_WORDS = {"completed": "ran", "cached": "cached", "started": "running", "taken": "taken"}
_TICK = 0.2
_SHOWN = 6
"""Steps at most that the list has below what is done."""


def event_lines(pipeline: str, event: StepEvent) -> list[str]:
    """What is to be printed of an event, for good."""
    if event.state in ("plan", "items"):
        return []
    if event.state == "note":
        return [f"{paint('warning', 'Note:')} {note}" for note in event.notes]
    took = "" if event.state == "started" else render.duration(event.seconds)
    if event.items is not None and event.items[0]:
        took += f", {event.items[0]} of {render.count(event.items[1], 'item')} reused"
    label = "dim" if event.state in ("cached", "taken") else "run"
    return [_line(pipeline, event.step, label, _WORDS.get(event.state, event.state), took)]


def _line(pipeline: str, step: str, label: str, word: str, behind: str) -> str:
    return f"  {paint(label, f'{word:8}')} {f'{pipeline}.{step}':28} {behind}".rstrip()


class PlainProgress:
    """A line a step, as it ends; on a terminal that cannot move its cursor also as it begins.

    ``tell`` takes the events of a run, ``live`` is where it shows what steps print.
    """

    live = 2

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, event: StepEvent) -> None:
        """Print what there is to say."""
        if event.state != "started" or self._terminal:
            render.tell(*event_lines(self._pipeline, event))


class StepList:
    """A live list: the step at work with its time, and the next ones.

    A context manager; behind its block the list is gone, whatever ended it, and the lines of the
    steps that were done stand. ``tell`` and ``live`` may be called from any thread.
    """

    def __init__(self, pipeline: str, stream: TextIO, tick: float = _TICK) -> None:
        self._pipeline = pipeline
        self._region = Region(stream)
        self._tick = tick
        self._waiting: list[str] = []
        self._running: tuple[str, float] | None = None
        self._items = ""
        self._lock = Lock()
        self._over = Event()
        self._thread: Thread | None = None

    def __enter__(self) -> StepList:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._region.close()

    def tell(self, event: StepEvent) -> None:
        """Take an event of the run."""
        with self._lock:
            if event.state == "plan":
                self._waiting = list(event.steps)
            elif event.state == "items":
                self._items = "{}/{}".format(*event.items or ())
            elif event.state == "started":
                self._items = ""
                self._running = (event.step, time.monotonic())
                self._waiting = [one for one in self._waiting if one != event.step]
                if self._thread is None:  # what takes no time needs no list
                    self._thread = Thread(target=self._go, daemon=True)
                    self._thread.start()
            else:
                if event.step:
                    self._running = None
                    self._waiting = [one for one in self._waiting if one != event.step]
                    self._region.draw(())
                self._region.add(*event_lines(self._pipeline, event))

    def live(self, data: bytes) -> None:
        """Show what a step printed."""
        with self._lock:
            self._region.add_bytes(data)

    def _go(self) -> None:
        while not self._over.wait(self._tick):
            with self._lock:
                self._region.draw(self._list())

    def _list(self) -> list[str]:
        if self._running is None:
            return []
        step, began = self._running
        seconds = time.monotonic() - began
        if seconds < self._tick:
            return []
        took = render.duration(float(int(seconds))) if seconds >= 1 else ""
        lines = [_line(self._pipeline, step, "run", "running", f"{self._items:5} {took}".strip())]
        most = max(min(_SHOWN, self._region.room()[1] - 2), 1)
        names = self._waiting
        if len(names) >= most:
            names = names[: max(most - 2, 0)]
        lines += [_line(self._pipeline, one, "dim", "waiting", "") for one in names]
        more = len(self._waiting) - len(names)
        if more and most > 1:
            lines.append(paint("dim", f"  … and {render.count(more, 'step')} more"))
        return lines


def progress(pipeline: str) -> PlainProgress | StepList:
    """What shows how a run of a pipeline goes: a live list where there is a terminal for it."""
    if render.moves(sys.stderr):
        return StepList(pipeline, sys.stderr)
    return PlainProgress(pipeline)
