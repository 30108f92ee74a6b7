"""One call of a step's function, tried as often and for as long as its options say."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from gitml.errors import UsageError
from gitml.pipelines.guard import Guard
from gitml.pipelines.options import StepOptions
from gitml.pipelines.timelimit import time_limit

T = TypeVar("T")


def attempted(options: StepOptions, name: str, once: Callable[[], T]) -> tuple[T, int]:
    """What the first attempt that went well returned, and its number.

    Raises what the last attempt raised. What came between is written to standard error, so that it
    stands in the step's log. Nothing is tried again after Ctrl-C, `sys.exit` and a UsageError.
    """
    number = 1
    while True:
        try:
            return _limited(options, name, once), number
        except (KeyboardInterrupt, SystemExit, UsageError):
            raise
        except BaseException as error:  # also what asyncio and others cancel with
            if number > options.retries:
                raise
            traceback.print_exc()
            wait = options.wait(number)
            reason = f"{name}: attempt {number} of {options.retries + 1} raised"
            _say(f"{reason} {type(error).__name__}, the next one follows in {wait:g} s")
        time.sleep(wait)
        number += 1


def _limited(options: StepOptions, name: str, once: Callable[[], T]) -> T:
    with time_limit(options.timeout, functools.partial(_overdue, name)):
        return once()


def guarded(once: Callable[[], T]) -> T:
    """What a call returns, in its `own_process`."""
    with own_process():
        return once()


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """A block after which the process is as it was; a child that it forked ends there."""
    process = os.getpid()
    try:
        with Guard():
            yield
    finally:
        if os.getpid() != process:
            os._exit(0 if sys.exc_info()[0] is None else 1)


def _overdue(name: str) -> None:
    _say(f"{name}: its time is up; it ends when the compiled code that it is in comes back")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
