"""The measuring itself: order, peaks, failures and the table."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tests.bench.measure import Measurement, Table, compare

PYTHON = [sys.executable, "-I", "-S", "-c"]


def test_commands_take_turns_and_warm_up(tmp_path: Path) -> None:
    note = "import sys; open('log', 'a').write(sys.argv[1])"
    table = compare(
        {"a": [*PYTHON, note, "a"], "b": [*PYTHON, note, "b"]}, runs=2, warmup=1, cwd=tmp_path
    )
    assert (tmp_path / "log").read_text() == "ababab"
    assert [(row.name, len(row.seconds)) for row in table.rows] == [("a", 2), ("b", 2)]


def test_time_and_memory_are_those_of_the_command(tmp_path: Path) -> None:
    mine = bytearray(80_000_000)  # this process's own memory must not count
    table = compare(
        {
            "small": [*PYTHON, "pass"],
            "large": [*PYTHON, "bytearray(b'x') * 60_000_000"],
            "slow": [*PYTHON, "import time; time.sleep(0.2)"],
        },
        runs=1,
        warmup=0,
        cwd=tmp_path,
    )
    small, large, slow = table.rows
    assert len(mine) > small.peak_bytes
    assert large.peak_bytes - small.peak_bytes > 50_000_000
    assert slow.median >= 0.2


def test_a_failing_command_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="bad ended with status 3"):
        compare({"bad": [*PYTHON, "raise SystemExit(3)"]}, runs=1)
    with pytest.raises(RuntimeError, match=r"absent cannot be started: .*no-such-command"):
        compare({"absent": ["no-such-command"]}, runs=1)


def test_the_table_is_markdown_with_its_conditions() -> None:
    rows = (
        Measurement("fast", (0.010, 0.012, 0.011), (0.004, 0.002, 0.003), 12_400_000),
        Measurement("slow", (2.0, 1.5), (0.5, 1.0), 300_000_000),
    )
    assert str(Table(rows, "On a machine.")) == (
        "On a machine.\n"
        "\n"
        "| command | median | min | max | CPU | peak RSS |\n"
        "|---|---:|---:|---:|---:|---:|\n"
        "| fast | 11.0 ms | 10.0 ms | 12.0 ms | 3.0 ms | 12 MB |\n"
        "| slow | 1.75 s | 1.50 s | 2.00 s | 750.0 ms | 300 MB |\n"
    )
    conditions = compare({"true": ["true"]}, runs=1).conditions
    assert f"Python {platform.python_version()}; git version " in conditions
    assert "1 interleaved runs after 1 to warm up" in conditions
