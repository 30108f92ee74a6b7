"""Work on several processors at once, with its results in order and a bounded number in hand."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 8


def processors() -> int:
    """How many threads are worth it: one a processor that we may use, and no crowd."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:
        usable = os.cpu_count() or 1
    return max(1, min(_MOST, usable))


@contextmanager
def workers(count: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """So many threads, or `processors`, until the end of the block; what waits then is dropped."""
    from concurrent.futures import ThreadPoolExecutor  # with logging and more: 5 ms

    with ThreadPoolExecutor(count or processors()) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """What ``work`` makes of each item, in order, while the threads are some items ahead.

    What it raises comes out in its turn.
    """
    ahead: deque[Future[Result]] = deque()
    for item in items:
        ahead.append(pool.submit(work, item))
        if len(ahead) > processors() + 1:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
