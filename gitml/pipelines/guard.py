"""What a step changes in the process that runs it is put back, where gitml could not go on with it.

A step is a function of somebody's, and code that makes a daemon of itself closes all descriptors,
deep recursions move the interpreter's limit. The process has to record the step afterwards. And
what a step that fails or is interrupted has started does not go on without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

_closerange = os.closerange
_running: list[Guard] = []


class Guard:
    """A block in which `os.closerange` passes over what was open before; the limit is restored.

    In a process that the block forks, everything is closed. A block that raises takes the programs
    along that it started and did not wait for, where the system says which those are.
    """

    def __enter__(self) -> Guard:
        """Look at the process as it is."""
        self.process = os.getpid()
        self.open = _open_descriptors()
        self._children = _children()
        self._limit = sys.getrecursionlimit()
        _running.append(self)
        os.closerange = _close_others
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put it back; the limit first, which may have no room for a call."""
        sys.setrecursionlimit(self._limit)
        if os.getpid() == self.process:
            _running.remove(self)
            if not _running:
                os.closerange = _closerange
            if kind is not None:
                _end(_children() - self._children)


def _close_others(low: int, high: int, /) -> None:
    """`os.closerange` without what is not the steps' own."""
    here = os.getpid()
    guards = [one for one in tuple(_running) if one.process == here]
    for number in sorted({n for one in guards for n in one.open if low <= n < high}):
        _closerange(low, number)
        low = number + 1
    _closerange(low, high)


def _children() -> set[int]:
    """The processes that this one has started and that nobody has waited for."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found


def _end(processes: set[int]) -> None:
    """Ask processes to end, but for git, which may be ours and ends by itself."""
    for one in processes:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{one}/comm").read_text() != "git\n":
                os.kill(one, signal.SIGTERM)


def _open_descriptors() -> frozenset[int]:
    """The numbers of all open descriptors; none where the system does not say."""
    found = set()
    with contextlib.suppress(OSError):
        for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - names, no paths
            with contextlib.suppress(OSError):  # that of the listing itself
                os.fstat(number)
                found.add(number)
    return frozenset(found)
