"""What a command imports is what its user waits for: sets of modules, not a stopwatch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gitml.testing.sealed import Project

# None of these is needed to read the records: what brings them in makes every `status` slow.
HEAVY = {
    *("pyarrow", "numpy", "pandas", "sklearn", "skops", "dulwich", "git", "zstandard", "blake3"),
    *("importlib.metadata", "asyncio", "concurrent.futures", "http", "email", "tempfile"),
}
RUNS_CODE = ("gitml.pipelines", "gitml.promotion", "gitml.materializers", "gitml.store")


def imported(project: Project, *arguments: str) -> set[str]:
    """The modules that a command line imports, from Python's own log."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gitml", *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture
def with_a_run(project: Project) -> Project:
    project.write(
        "pipelines/training.py",
        "from gitml import Model, pipeline, step\n\n\n"
        "@step\ndef fit() -> int:\n    return 1\n\n\n"
        "@pipeline(model=Model('clf'))\ndef training():\n    fit()\n",
    )
    project.commit("a pipeline")
    project.gitml("run", "training")
    project.gitml("promote", "clf@v1", "production", "-m", "why")
    return project


def test_reading_commands_import_nothing_heavy(with_a_run: Project) -> None:
    for arguments in (
        *(["--version"], ["--help"], [], ["status"], ["log", "-n", "20"], ["log", "--graph"]),
        *(["model", "list"], ["stage", "log", "clf"], ["show", "clf"], ["lineage", "clf"]),
    ):
        modules = imported(with_a_run, *arguments)
        assert HEAVY & modules == set(), arguments
        assert [one for one in modules if one.startswith(RUNS_CODE)] == [], arguments


def test_the_version_and_the_help_import_no_command_and_no_layer(project: Project) -> None:
    allowed = {"gitml", "gitml.errors", "gitml.__main__"} | {
        f"gitml.cli{part}" for part in ("", ".group", ".invocation", ".failures", ".render")
    }
    for arguments in (["--version"], ["--help"], []):
        ours = {one for one in imported(project, *arguments) if one.startswith("gitml")}
        assert ours - allowed == set(), arguments


def test_the_check_sees_what_is_imported(with_a_run: Project) -> None:
    assert {"gitml.pipelines.run", "blake3"} <= imported(with_a_run, "run", "training")
