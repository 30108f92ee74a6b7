"""No parser fails in a way that nobody foresaw: what once did, and a short search for more.

`python -m tests.fuzz` searches for as long as one likes.
"""

from __future__ import annotations

import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import known
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Target

EXAMPLES = 25
MOST_SECONDS = 5
MOST_KIB = 300 << 10

every_target = pytest.mark.parametrize("target", TARGETS, ids=str)


def try_in_bounds(target: Target, data: bytes) -> bool:
    before, began = peak(), time.monotonic()
    was_read = target.try_out(data)
    assert time.monotonic() - began < MOST_SECONDS
    assert peak() - before < MOST_KIB
    return was_read


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@every_target
def test_what_once_failed(target: Target) -> None:
    for data in known(target.name):
        try_in_bounds(target, data)


@every_target
def test_an_example_is_read(target: Target) -> None:
    assert any(try_in_bounds(target, seed) for seed in target.seeds())


@every_target
def test_damaged_examples(target: Target) -> None:
    @given(data=mutated(target.seeds()))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    def search(data: bytes) -> None:
        try_in_bounds(target, data)

    search()


@given(data=st.binary(max_size=64))
@settings(max_examples=20)
def test_any_bytes(data: bytes) -> None:
    for target in TARGETS:
        try_in_bounds(target, data)
