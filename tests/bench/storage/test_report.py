"""The report tells who wins, also when it is not gitml, and hides no gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.measure import Usage
from tests.bench.storage.inputs import MIB
from tests.bench.storage.report import report
from tests.bench.storage.results import Results


def used(seconds: float, peak: int = MIB) -> Usage:
    return Usage(seconds, 0.5, peak)


def results(scale: float = 1) -> Results:
    made = Results(scale, conditions="On a machine")
    made.versions = dict.fromkeys(("cp + sync", "gitml", "git-lfs", "borg"), "1.0")
    made.missing = {"DVC": "not installed", "gitml reflink": "no reflinks on this file system"}
    for seconds in (0.7, 0.8, 0.9):
        made.record("add blob", "gitml", used(seconds, 100 * MIB), 1024 * MIB)
    made.record("add blob", "borg", used(2.4, 73 * MIB), 1024 * MIB)
    made.record("add blob", "cp + sync", used(2.0, 10 * MIB), None)
    made.gap("add blob", "git-lfs", "failed: git was stopped after 300 s")
    for tool, seconds, stored in (("gitml", 2.0, 20), ("borg", 1.6, 51)):
        made.record("add table in places", tool, used(seconds, 73 * MIB), stored * MIB)
    return made


def row(text: str, start: str) -> dict[str, str]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    head = lines[0]
    return dict(zip(head, next(line for line in lines if line[0].startswith(start)), strict=True))


def test_a_won_row() -> None:
    won = row(report(results()), "add 1 GiB incompressible")
    assert won["gitml"] == "**0.80** (**1,024**)"
    assert won["borg"] == "2.40¹ (**1,024**)"
    assert won["floor"] == "`cp + sync` 2.00¹"
    assert won["goal"] == "≤ 0.9 s, memory ≤ 256 MiB; reflink ≤ 0.35 s, memory ≤ 256 MiB"
    assert won["result"] == "gitml fastest, 3.0 times before borg; goal met by gitml"


def test_a_lost_row_says_so() -> None:
    lost = row(report(results()), "its second version")
    assert lost["result"] == (
        "borg fastest, gitml 1.2 times slower; gitml smallest, borg 2.5 times as much; "
        "**goal missed by gitml: 2.00 s, 20.0 MiB**"
    )
    assert lost["borg"] == "**1.60**¹ (51.0)"


def test_gaps_are_told() -> None:
    text = report(results())
    cells = row(text, "add 1 GiB incompressible")
    assert cells["DVC"] == "not installed"
    assert cells["gitml reflink"] == "no reflinks on this file system"
    assert cells["git-lfs"] == "[1]"
    assert "[1] failed: git was stopped after 300 s" in text
    assert "Left out: DVC: not installed" in text


def test_goals_are_judged_at_full_size_only() -> None:
    text = report(results(0.01))
    assert "goal met" not in text
    assert "goal missed" not in text
    assert row(text, "add 10.2 MiB incompressible")["gitml"].startswith("**0.80**")


def test_rates_and_floors_are_goals_too() -> None:
    made = results()
    made.versions["zstd -3"] = "1.5"
    made.sizes["add float32"] = 90_000_000
    made.record("add float32", "gitml", used(0.5), 80 * MIB)
    made.record("add float32", "zstd -3", used(0.3), 79 * MIB)
    told = row(report(made), "add a model of 85.8 MiB")
    assert told["result"] == (
        "180 MB/s; **goal missed by gitml: 180 MB/s, not smaller than `zstd -3`**"
    )


def test_results_are_kept_and_joined(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results().save(path)
    kept = Results.load(path)
    assert report(kept) == report(results())
    other = Results(1)
    other.record("status million", "gitml", used(3.0), None)
    kept.join(other)
    assert "status, nothing changed" in report(kept)


def test_a_column_can_come_from_another_disk() -> None:
    here, there = results(), Results(1, conditions="On another disk")
    there.versions = {"gitml reflink": "1.0", "gitml": "1.0"}
    there.record("add blob", "gitml reflink", used(0.2), MIB)
    there.record("add blob", "gitml", used(9.0), MIB)
    here.join(there)
    cells = row(report(here), "add 1 GiB incompressible")
    assert cells["gitml reflink"] == "**0.20**¹ (**1.0**)"
    assert cells["gitml"] == "0.80 (1,024)"
    assert "but for add blob (gitml reflink): On another disk" in report(here)


def test_other_scales_make_no_table() -> None:
    with pytest.raises(ValueError, match=r"scale 0\.5 beside 1"):
        results().join(results(0.5))
