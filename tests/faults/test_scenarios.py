"""Every command that writes, disturbed at its system calls: a sample here, all with the sweeps.

kill -9, a call that fails, files that may not grow, a disk that is full, writes that are
short: nothing is lost, nothing is torn, and the same command again ends as if nothing had been.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.bench import Bench
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.sharing import SHARING

T = TypeVar("T")

SHARDS = 8
"""Parts of a sweep, so that two processes have about equally much to do."""

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
all_scenarios = pytest.mark.parametrize("scenario", (*SCENARIOS, *SHARING), ids=str)
every_shard = pytest.mark.parametrize("shard", range(SHARDS))


def sample(scenario: Scenario, faults: list[T], count: int) -> list[T]:
    """Some of the faults, each time the same."""
    return random.Random(scenario.name).sample(faults, min(count, len(faults)))


@every_scenario
def test_a_sample_of_faults(bench: Bench, scenario: Scenario) -> None:
    known = bench.undisturbed(scenario)
    assert len(known.kills) > 20
    assert len({fault.point.process for fault in known.kills}) > 1
    faults = [*sample(scenario, known.kills, 1), *sample(scenario, known.errors, 1)]
    bench.sweep(scenario, faults).check()


@pytest.mark.parametrize("scenario", SHARING, ids=str)
def test_a_kill_of_what_is_shared(bench: Bench, scenario: Scenario) -> None:
    bench.sweep(scenario, sample(scenario, bench.undisturbed(scenario).kills, 1)).check()


@every_scenario
def test_short_writes(bench: Bench, scenario: Scenario) -> None:
    bench.write_slowly(scenario)


@pytest.mark.sweep
@every_shard
@all_scenarios
def test_every_kill(bench: Bench, scenario: Scenario, shard: int) -> None:
    bench.sweep(scenario, bench.undisturbed(scenario).kills[shard::SHARDS]).check()


@pytest.mark.sweep
@every_shard
@every_scenario
def test_every_error(bench: Bench, scenario: Scenario, shard: int) -> None:
    bench.sweep(scenario, bench.undisturbed(scenario).errors[shard::SHARDS]).check()


@pytest.mark.sweep
@every_scenario
def test_files_that_may_not_grow(bench: Bench, scenario: Scenario) -> None:
    for largest in [1 << shift for shift in range(12, 23)]:
        bench.limit(scenario, largest)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.sweep
@every_scenario
def test_a_disk_with_little_room(bench: Bench, scenario: Scenario, small_disk: Path) -> None:
    for kib in (0, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 192, 256, 512, 1024, 4096):
        bench.fill_disk(scenario, small_disk, kib << 10)
