"""A block with a time limit, in the thread that runs it.

An exception is raised in the block when its time is up. Python delivers it between two of its own
instructions: at once where Python code runs, sleeps, waits for a lock or for a system call, but in
compiled code only when that comes back. It is raised again every second, for code that swallowed
it. Nothing short of the end of the process stops compiled code; see docs/python.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_AGAIN = 1.0
"""Seconds after which it is raised again, and after which compiled code is named as the holder."""


class _TimeIsUp(BaseException):
    """What is raised in the block; no Exception, so that `except Exception` lets it pass."""


@contextlib.contextmanager
def time_limit(seconds: float | None, overdue: Callable[[], None]) -> Iterator[None]:
    """Raise TimeoutError for a block that takes longer; with None there is no limit.

    ``overdue`` is called, from another thread, where the block does not end when it should.
    """
    if seconds is None:
        yield
        return
    late = threading.Timer(seconds + _AGAIN, overdue)
    late.daemon = True
    try:
        with _alarm(seconds):
            late.start()
            yield
    except _TimeIsUp as up:
        error = TimeoutError(f"it took longer than {seconds:g} s")
        raise error.with_traceback(up.__traceback__) from None
    finally:
        late.cancel()


def _alarm(seconds: float) -> contextlib.AbstractContextManager[None]:
    main = threading.current_thread() is threading.main_thread()
    if main and hasattr(signal, "setitimer"):
        return _by_signal(seconds)
    return _by_thread(seconds)


@contextlib.contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    """With the system's timer, whose signal also interrupts system calls."""
    over = False

    def ring(number: int, frame: FrameType | None) -> None:
        if not over:
            raise _TimeIsUp

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    """With a thread, where there are no signals: this does not interrupt a system call."""
    thread = ctypes.c_ulong(threading.get_ident())
    over = threading.Event()
    turn = threading.Lock()

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            with turn:
                if not over.is_set():
                    _raise_in(thread, ctypes.py_object(_TimeIsUp))
            wait = _AGAIN

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with turn:
            over.set()
            _raise_in(thread, None)  # one that has not been delivered yet


def _raise_in(thread: ctypes.c_ulong, error: ctypes.py_object[type[BaseException]] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
