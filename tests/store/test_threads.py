"""Work in threads: in order, not far ahead, and over when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from gitml.store.threads import in_order, processors, workers


def test_results_come_in_order_and_not_far_ahead() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * 2

    with workers() as pool:
        for done, result in enumerate(in_order(pool, work, items())):
            assert result == done * 2
            assert len(begun) <= done + processors() + 3


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError(number)
        return number

    seen: list[int] = []
    before = threading.active_count()
    with pytest.raises(ValueError, match="3"), workers() as pool:
        seen.extend(in_order(pool, work, range(1000)))
    assert seen == [0, 1, 2]
    assert threading.active_count() == before


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    def read() -> Iterator[int]:
        with workers() as pool:
            yield from in_order(pool, abs, range(1000))

    before = threading.active_count()
    reading = read()
    assert next(reading) == 0
    reading.close()
    assert threading.active_count() == before
