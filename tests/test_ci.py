""".ci/run with stand-ins for the tools: what it calls, how it ends, what it prints last."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = """\
```sh
python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[demo]' && gitml demo
python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest --flag
```
"""
# Each stand-in says how it was called, and fails when it is the one that BROKEN names.
STAND_IN = '#!/bin/sh\necho "ran $(basename "$0") $*"\n[ "$(basename "$0") $1" != "$BROKEN" ]\n'
TOOLS = ("python3", "pip", "ruff", "mypy", "lint-imports", "pytest", "strace")


def run_ci(folder: Path, *, broken: str = "", readme: str | None = README) -> tuple[list[str], int]:
    """The lines that .ci/run prints in a tree with stand-ins, and its exit status."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
    if readme is not None:
        (folder / "README.md").write_text(readme)
    tools = folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).write_text(STAND_IN)
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["bash", folder / ".ci/run"],
        env={"PATH": f"{tools}:/usr/bin:/bin", "BROKEN": broken, "CI": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout + done.stderr).splitlines(), done.returncode


def test_every_check_runs_and_pytest_has_the_last_word(tmp_path: Path) -> None:
    lines, status = run_ci(tmp_path)
    ran = [line.removeprefix("ran ") for line in lines if line.startswith("ran ")]
    assert ran[0].startswith("python3 -m venv ")
    assert ran[1:] == [
        "pip install -e .[dev]",
        "ruff check",
        "ruff format --check",
        "mypy ",
        "lint-imports --no-logo --no-cache",
        "pytest --flag",
    ]
    assert lines[-1] == "ran pytest --flag"
    assert status == 0


@pytest.mark.parametrize("broken", ["ruff check", "ruff format", "mypy ", "lint-imports --no-logo"])
def test_a_failing_check_fails_the_whole_and_stops_nothing(broken: str, tmp_path: Path) -> None:
    lines, status = run_ci(tmp_path, broken=broken)
    assert status == 1
    assert lines[-1] == "ran pytest --flag"
    assert [line for line in lines if line.startswith("FAILED: ")]


def test_failing_tests_fail_the_whole(tmp_path: Path) -> None:
    lines, status = run_ci(tmp_path, broken="pytest --flag")
    assert (lines[-1], status) == ("ran pytest --flag", 1)


def test_a_failing_installation_ends_it(tmp_path: Path) -> None:
    lines, status = run_ci(tmp_path, broken="pip install")
    assert (lines[-1], status) == ("ran pip install -e .[dev]", 1)


@pytest.mark.parametrize("readme", [None, "# Nothing to type\n"])
def test_a_readme_without_its_test_line_fails(readme: str | None, tmp_path: Path) -> None:
    lines, status = run_ci(tmp_path, readme=readme)
    assert "FAILED: README's test line" in lines
    assert (lines[-1], status) == ("ran pytest ", 1)
