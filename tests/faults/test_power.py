"""The power goes in the middle of a command: what it had made durable is there, the rest is not.

On a real ext4, whose bytes and names go to the disk when it likes unless they are flushed. Skipped
where this user cannot mount one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench, Swept
from tests.faults.injection import Fault, Missed
from tests.faults.power import WITH_JOURNAL, WITHOUT_JOURNAL, Disk, NoDisk, disk_in
from tests.faults.scenarios import PUT, SCENARIOS, Scenario

ROUNDS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        with disk_in(tmp_path / "power") as made:
            yield made
    except NoDisk as error:
        pytest.skip(f"cannot mount a disk to cut off: {error}")


def cut(bench: Bench, scenario: Scenario, disk: Disk, faults: list[Fault], flags: int) -> Swept:
    """Cut the power at each of some points; one that moved is tried three times."""
    swept = Swept()
    for fault in faults:
        for _ in range(3):
            try:
                bench.cut_power(scenario, disk, fault.point, flags)
            except Missed:
                verdict = "missed"
                continue
            except AssertionError as error:
                verdict = f"flags {flags}: {error}"
            else:
                verdict = "good"
            break
        swept.add(fault, verdict)
    return swept


@pytest.mark.parametrize("flags", [WITH_JOURNAL, WITHOUT_JOURNAL])
def test_a_power_cut(bench: Bench, disk: Disk, flags: int) -> None:
    points = bench.undisturbed(PUT).kills
    cut(bench, PUT, disk, random.Random(flags).sample(points, 1), flags).check()


@pytest.mark.sweep
@pytest.mark.parametrize("flags", [WITH_JOURNAL, WITHOUT_JOURNAL])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_many_power_cuts(bench: Bench, scenario: Scenario, disk: Disk, flags: int) -> None:
    points = bench.undisturbed(scenario).kills
    faults = random.Random(flags).sample(points, min(ROUNDS, len(points)))
    cut(bench, scenario, disk, faults, flags).check()
