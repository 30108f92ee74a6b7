"""A whole session at a tiny scale: with what is always there, and (a sweep) with every peer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.bench.storage.report import report
from tests.bench.storage.session import Settings, measured
from tests.bench.storage.works import SCENARIOS


def _settings(folder: Path, **others: object) -> Settings:
    return Settings(scale=0.0005, runs=1, folder=folder, lock=folder / "lock", **others)  # type: ignore[arg-type]


def test_a_session_measures_and_leaves_inputs_and_log(tmp_path: Path) -> None:
    told: list[str] = []
    settings = _settings(
        tmp_path, scenarios=("blob", "files"), tools=("find -newer", "git", "cp + sync")
    )
    with measured(settings, told.append) as results:
        assert set(results.versions) == {"find -newer", "git", "cp + sync"}
        assert results.gaps == {}
        assert set(results.figures["checkout files"]) == {"git", "cp + sync"}
        stored = results.figures["add blob"]["git"].stored
        assert stored is not None
        assert stored > results.sizes["add blob"]
        assert "| checkout of them |" in report(results)
    assert any(line.startswith("git: status 10 changed: 0.") for line in told)
    left = sorted(path.name for path in (tmp_path / "gitml-bench").iterdir())
    assert left == ["log", "recipe1-scale0.0005"]


def test_a_tool_that_fails_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "b3sum"
    broken.parent.mkdir()
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo 1.2.3 && exit\necho broken\nexit 7\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    settings = _settings(tmp_path, scenarios=("blob",), tools=("b3sum",))
    with measured(settings, lambda _: None) as results:
        assert results.versions == {"b3sum": "1.2.3"}
        assert results.gaps["add blob"] == {"b3sum": "failed: sh ended with status 123: broken"}
        assert "failed" in results.gaps["checkout blob"]["b3sum"]


def test_a_tool_that_is_not_there_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("git", "cp", "findmnt"):
        found = shutil.which(program)
        if found is not None:
            (tmp_path / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    with measured(_settings(tmp_path, scenarios=(), tools=("borg",)), lambda _: None) as results:
        assert results.missing == {"borg": "not installed"}


@pytest.mark.sweep
def test_every_scenario_with_every_tool(tmp_path: Path) -> None:
    peers = os.environ.get("GITML_BENCH_PEERS")
    settings = _settings(
        tmp_path,
        scenarios=tuple(scenario.name for scenario in SCENARIOS),
        peers=Path(peers) if peers else None,
    )
    with measured(settings, print) as results:
        failed = {
            (work, tool): reason
            for work, row in results.gaps.items()
            for tool, reason in row.items()
            if "installed" not in reason
        }
        assert failed == {}
        assert {tool for row in results.figures.values() for tool in row} == set(results.versions)
