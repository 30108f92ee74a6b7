"""How a step is to be run: how often, for how long, and who hears of it. Never part of its key."""

from __future__ import annotations

import contextlib
import inspect
import math
import numbers
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Literal

from gitml.errors import UsageError
from gitml.frozen import Frozen, fields, replace

Moment = Literal["on_start", "on_success", "on_failure"]
Callback = Callable[..., Any]

EXECUTION_MODES = ("fail_fast", "stop_on_failure", "continue_on_failure")
LONGEST_WAIT = 300.0
"""Seconds that at most lie between two attempts."""


class Callbacks(Frozen):
    """Functions that are called when a step or a pipeline starts, completes or fails.

    Each takes nothing; ``on_failure`` may take the exception.
    """

    on_start: Callback | None = None
    on_success: Callback | None = None
    on_failure: Callback | None = None

    def check(self, owner: str) -> None:
        """Raise UsageError for one that cannot be called so."""
        for moment in ("on_start", "on_success", "on_failure"):
            callback = getattr(self, moment)
            if callback is None:
                continue
            if not callable(callback):
                raise UsageError(
                    f"{owner}: {moment} is a {type(callback).__name__}, not a function",
                    hint=f"hand over the function itself, `{moment}=notify`",
                )
            given = (Exception(),) if moment == "on_failure" else ()
            if not (_takes(callback) or _takes(callback, *given)):
                allowed = "the exception, or nothing" if given else "nothing"
                raise UsageError(f"{owner}: the function for {moment} takes {allowed}")

    def call(self, moment: Moment, error: BaseException | None = None) -> str | None:
        """Call the one for this moment; what it raised, for people, None when all was well.

        An error of a callback is never the step's: the step goes on. Ctrl-C comes out.
        """
        callback: Callback | None = getattr(self, moment)
        if callback is None:
            return None
        try:
            if error is not None and _takes(callback, error):
                callback(error)
            else:
                callback()
        except KeyboardInterrupt:
            raise
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - a callback ends no run
            traceback.print_exc()
            name = getattr(callback, "__qualname__", repr(callback))
            return f"its {moment} `{name}` raised {type(raised).__name__}: {raised}"
        return None


class StepOptions(Frozen):
    """Attempts and time limit of a step, and its callbacks.

    ``retries`` are attempts after the first. ``backoff`` is the wait before the first retry in
    seconds; with each further one it is ``factor`` times as long. ``timeout`` is the time of one
    attempt, in seconds.
    """

    retries: int = 0
    backoff: float = 1.0
    factor: float = 2.0
    timeout: float | None = None
    callbacks: Callbacks = Callbacks()

    def check(self, owner: str) -> None:
        """Raise UsageError for options that mean nothing."""
        if type(self.retries) is not int or self.retries < 0:
            raise UsageError(f"{owner}: retries is {self.retries!r}, not a number of attempts")
        if not _seconds(self.backoff):
            raise UsageError(f"{owner}: backoff is {self.backoff!r}, not a number of seconds")
        if not (_seconds(self.factor) and self.factor >= 1):
            raise UsageError(f"{owner}: factor is {self.factor!r}, not a number from 1 on")
        if self.timeout is not None and not (_seconds(self.timeout) and self.timeout > 0):
            raise UsageError(f"{owner}: timeout is {self.timeout!r}, not a number of seconds")
        self.callbacks.check(owner)

    def changed(self, owner: str, options: Mapping[str, Any]) -> StepOptions:
        """These with some of them changed, by the names that `@step` has; raises UsageError."""
        own = fields(self).keys() - {"callbacks"}
        theirs = fields(self.callbacks).keys()
        if unknown := options.keys() - own - theirs:
            known = ", ".join(sorted(own | theirs))
            raise UsageError(
                f"{owner}: a step has no option `{min(unknown)}`", hint=f"there are: {known}"
            )
        callbacks = {key: value for key, value in options.items() if key in theirs}
        mine = {key: value for key, value in options.items() if key in own}
        return replace(self, callbacks=replace(self.callbacks, **callbacks), **mine)

    def wait(self, failed: int) -> float:
        """The seconds between the attempt number ``failed`` and the next."""
        with contextlib.suppress(OverflowError):
            return min(self.backoff * float(self.factor) ** (failed - 1), LONGEST_WAIT)
        return LONGEST_WAIT if self.backoff else 0.0


DEFAULT_OPTIONS = StepOptions()


def check_mode(mode: str, owner: str) -> str:
    """The execution mode, if it is one; raises UsageError."""
    if mode not in EXECUTION_MODES:
        known = ", ".join(EXECUTION_MODES)
        raise UsageError(f"{owner}: `{mode}` is no execution mode", hint=f"there are: {known}")
    return mode


def _takes(callback: Callback, *given: Any) -> bool:
    try:
        inspect.signature(callback).bind(*given)
    except TypeError:
        return False
    except ValueError:  # compiled code without a signature
        return not given
    return True


def _seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return 0 <= float(value) < math.inf
