"""``gitml show NAME --log -f``: what a run prints that goes on in another process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gitml.cli import render
from gitml.cli.describe import describe_going
from gitml.cli.render import paint
from gitml.errors import NameNotFound

if TYPE_CHECKING:
    from gitml.repo import Repo

_EVERY = 0.1
"""Seconds between two looks."""


def follow_log(repo: Repo, name: str, step: str | None) -> bool:
    """Print what a run prints until it ends, of one step that alone; False where none goes on.

    Raises NameNotFound for a step that the run has not.
    """
    found = repo.going(name)
    if not found:
        return False
    run = found[0]
    if step is not None and run.steps and step not in run.steps:
        raise NameNotFound.among("step", step, run.steps)
    if len(found) > 1:
        render.tell(f"{len(found)} runs go on; this is the newest: {describe_going(run)}")
    from gitml.history.live import follow

    at, held = "", b""
    for piece in follow(run, step, lambda: time.sleep(_EVERY)):
        if piece.step != at:
            _print(held)
            at, held = piece.step, b""
            if step is None:
                render.answer(paint("head", at))
        whole, newline, held = (held + piece.data).rpartition(b"\n")
        if newline:
            _print(whole)
    _print(held)
    if step is None:
        recorded = repo.ended(run)
        if recorded is None:
            render.tell(f"The run of {run.pipeline} ended without a record")
        else:
            render.tell(f"Run {repo.short(recorded.id)} of {run.pipeline}: {recorded.status}")
    elif not at:
        render.tell(f"{step} printed nothing")
    return True


def _print(data: bytes) -> None:
    """Print lines; of one that was written over by carriage returns what it came to."""
    if data:
        lines = data.decode("utf-8", "replace").split("\n")
        render.answer(*(one.rstrip("\r").rpartition("\r")[2] for one in lines))
