"""What is tried again is the same again."""

from __future__ import annotations

from collections import Counter

from tests.faults.bench import Bench
from tests.faults.scenarios import PROMOTE


def test_a_command_makes_the_same_calls_each_time(bench: Bench) -> None:
    """Though two gits run side by side, and something is kept for the user outside of it all."""

    def counted() -> Counter[tuple[str, str]]:
        with bench.copy(PROMOTE) as workshop:
            ended, calls = bench.injector.trace(PROMOTE.command, workshop.path)
        assert ended.code == 0, ended.text
        return Counter((call.process, call.name) for call in calls if call.mutates)

    assert counted() == counted()
