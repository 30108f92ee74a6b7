"""One job on all processors: forked processes that draw slices of it, and nothing shared.

Many small files cost system calls and interpreter time, which threads of one process cannot
share out. So a job forks: every process, this one too, draws the numbers of slices from one pipe
until none is left. What a worker leaves undone, even by dying, the caller finds missing and does
itself, so that an error always happens, with all that is known about it, in one process.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn

from gitml.fs import write_fully

SLICE = 250
"""Small files that a process takes at a time."""

_NUMBER = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_MOST_NUMBERS = 15_000
"""What fits into a pipe at once, with room to spare."""

_MOST_PROCESSES = 8


class Share(NamedTuple):
    """What one process did: its pid, and what its job gave back."""

    pid: int
    result: bytes


def run_divided(
    count: int,
    slice_size: int,
    job: Callable[[Iterator[range]], bytes],
    adopt: Callable[[Share], None],
    lose: Callable[[int], None],
) -> None:
    """Do ``count`` things in slices of about ``slice_size``, in as many processes as pay.

    ``job(slices)`` does what it draws from ``slices`` and gives back bytes; it runs in every
    process. ``adopt`` gets what each gave back, in this process, while the one that made it still
    lives. ``lose`` gets the pid of a worker that is gone and has given nothing back. What ``job``
    and ``adopt`` raise in this process passes through; no worker outlives the call.
    """
    slice_size = max(slice_size, count // _MOST_NUMBERS + 1)
    slices = -(-count // slice_size)
    draw, numbers = os.pipe()
    workers: list[_Worker] = []
    try:
        write_fully(numbers, b"".join(map(_NUMBER.pack, range(slices))))
        os.close(numbers)
        owner = os.getpid()
        for _ in range(min(slices, _processors()) - 1):
            drawn = _drawn(draw, slice_size, count, parent=owner)
            workers.append(_Worker.start(partial(job, drawn)))
        adopt(Share(owner, job(_drawn(draw, slice_size, count))))
        for worker in list(workers):
            if worker.hand_over(adopt):
                workers.remove(worker)
                worker.end()
    finally:
        os.close(draw)
        for worker in workers:
            worker.end()
            lose(worker.pid)


def _processors() -> int:
    """How many processes one job may have; 1 where forking is not safe."""
    try:
        # A lock that another thread holds would stay locked in a fork for ever.
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - only their number counts
            return 1
        return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    except (OSError, AttributeError):
        return 1


def _drawn(pipe: int, slice_size: int, count: int, parent: int | None = None) -> Iterator[range]:
    """The slices that this process draws, as long as its parent lives."""
    while data := os.read(pipe, _NUMBER.size):  # so few bytes never come apart
        if parent is not None and os.getppid() != parent:
            return
        (number,) = _NUMBER.unpack(data)
        yield range(number * slice_size, min(count, (number + 1) * slice_size))


class _Worker(NamedTuple):
    """A forked process, the pipe of its result, and the pipe that it waits at afterwards."""

    pid: int
    result: int
    leave: int

    @classmethod
    def start(cls, work: Callable[[], bytes]) -> _Worker:
        """Fork; raises OSError."""
        result, result_end = os.pipe()
        leave_end, leave = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(result)
            os.close(leave)
            _work(work, result_end, leave_end)
        os.close(result_end)
        os.close(leave_end)
        return cls(pid, result, leave)

    def hand_over(self, adopt: Callable[[Share], None]) -> bool:
        """Wait for the result and have it adopted; whether there was one."""
        with os.fdopen(os.dup(self.result), "rb") as pipe:
            data = pipe.read()
        if len(data) < _LENGTH.size or len(data) - _LENGTH.size != _LENGTH.unpack_from(data)[0]:
            return False
        adopt(Share(self.pid, data[_LENGTH.size :]))
        return True

    def end(self) -> None:
        """Let the process go, or make it, and wait until it is gone."""
        os.close(self.result)
        os.close(self.leave)
        with suppress(OSError):
            os.kill(self.pid, signal.SIGTERM)
        with suppress(OSError):
            os.waitpid(self.pid, 0)


def _work(work: Callable[[], bytes], result: int, leave: int) -> NoReturn:
    """Do the work of a worker and leave without a trace of the process that it was forked from."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        data = work()
        write_fully(result, _LENGTH.pack(len(data)) + data)
        os.close(result)
        os.read(leave, 1)
    finally:
        os._exit(0)
