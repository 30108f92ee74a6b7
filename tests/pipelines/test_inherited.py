"""Which threads have the value of a block."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from gitml.pipelines.inherited import Inherited

T = TypeVar("T")


@pytest.fixture
def value() -> Inherited[str]:
    return Inherited("value")


@pytest.fixture
def older() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


def in_thread(act: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def test_a_thread_that_begins_in_a_block_has_its_value(value: Inherited[str]) -> None:
    assert value.get() is None
    with value.holding("a"):
        assert value.get() == "a"
        assert in_thread(lambda: (value.get(), in_thread(value.get))) == ("a", "a")
    assert (value.get(), in_thread(value.get), value.anywhere()) == (None, None, [])


def test_an_older_thread_has_none_but_in_a_copied_context(
    value: Inherited[str], older: ThreadPoolExecutor
) -> None:
    with value.holding("a"):
        assert older.submit(value.get).result() is None
        assert older.submit(value.anywhere).result() == ["a"]
        assert older.submit(contextvars.copy_context().run, value.get).result() == "a"

        def act() -> str | None:
            with value.here("a"):
                return value.get()

        assert older.submit(act).result() == "a"


def test_of_blocks_within_blocks_the_inner_one_counts(value: Inherited[str]) -> None:
    with value.holding("a"):
        with value.holding("b"):
            assert in_thread(value.get) == "b"
        assert in_thread(value.get) == "a"


def test_a_thread_that_is_younger_than_the_blocks_of_two_threads_has_none(
    value: Inherited[str], older: ThreadPoolExecutor
) -> None:
    begun, end = threading.Event(), threading.Event()

    def other() -> str | None:
        with value.holding("b"):
            begun.set()
            end.wait()
            return value.get()

    with value.holding("a"):
        ended = older.submit(other)
        begun.wait()
        assert in_thread(value.get) is None
        assert value.get() == "a"
        end.set()
        assert ended.result() == "b"
        assert in_thread(value.get) == "a"
