"""Values that the threads have, too, which a block of code starts.

A context variable is not handed on to a new thread, nor to those of a pool: what a step does in
parallel would not know of the step.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Inherited(Generic[T]):
    """A value that holds in a block, in what is called there and in threads that begin meanwhile.

    A thread that is older than all blocks at work, or younger than those of several threads, may
    belong to anybody: it has no value.
    """

    def __init__(self, name: str) -> None:
        self._here: ContextVar[T | None] = ContextVar(name, default=None)
        self._blocks: list[_Block[T]] = []

    def get(self) -> T | None:
        """The value here, None where there is none."""
        here = self._here.get()
        if here is not None or not self._blocks:
            return here
        thread = threading.current_thread()
        blocks = [one for one in tuple(self._blocks) if thread not in one.older]
        return blocks[-1].value if len({one.thread for one in blocks}) == 1 else None

    def anywhere(self) -> list[T]:
        """The values of all blocks at work, whatever thread they are in."""
        return [one.value for one in tuple(self._blocks)]

    def holding(self, value: T) -> AbstractContextManager[None]:
        """A block with a value, for this thread and those that begin meanwhile."""
        return _Block(self._here, value, self._blocks)

    def here(self, value: T) -> AbstractContextManager[None]:
        """A block with a value for this thread alone."""
        return _Block(self._here, value, [])


class _Block(Generic[T]):
    """A block with a value, among those ``at_work``.

    Its end is one call, for which there is room where the code has lowered the recursion limit.
    """

    def __init__(self, here: ContextVar[T | None], value: T, at_work: list[_Block[T]]) -> None:
        self.value = value
        self.thread = threading.current_thread()
        self.older = set(threading.enumerate())
        self._here = here
        self._at_work = at_work

    def __enter__(self) -> None:
        self._at_work.append(self)
        self._token = self._here.set(self.value)

    def __exit__(self, *_: object) -> None:
        self._at_work.remove(self)
        self._here.reset(self._token)
