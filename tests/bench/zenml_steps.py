"""ZenML's local orchestrator on ten no-op steps, executed and cached; run by ZenML's own Python.

ZenML imports its steps by name, so they stand in a module.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from zenml import pipeline, step

STEPS = 10


@step
def start() -> int:
    return 1


@step
def link(value: int, position: int) -> int:
    return value


@pipeline
def chain() -> None:
    value = start()
    for position in range(STEPS - 1):
        value = link(value, position)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    chain()  # makes the database, and fills the cache
    executed = seconds(lambda: chain.with_options(enable_cache=False)())
    chain()
    cached = min(seconds(chain) for _ in range(3))
    print("| pipeline | executed | cached |\n|---|---:|---:|")
    print(f"| chain of {STEPS} | {executed / STEPS * 1000:.0f} | {cached / STEPS * 1000:.0f} |")
