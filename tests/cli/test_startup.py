"""What a command imports is what its user waits for: sets of modules, not a stopwatch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gitml.testing.sealed import Project, SealedEnvironment
from tests.workshop import model_for_copies

# None of these is needed to read the records: what brings them in makes every `status` slow.
# (click brings inspect, uuid and platform, and for some options difflib.)
HEAVY = {
    *("pyarrow", "numpy", "pandas", "sklearn", "skops", "dulwich", "git", "zstandard", "blake3"),
    *("importlib.metadata", "asyncio", "concurrent.futures", "http", "email", "tempfile"),
    *("dataclasses", "hashlib", "random", "secrets", "shlex", "traceback"),
}
RUNS_CODE = ("gitml.pipelines", "gitml.promotion", "gitml.materializers", "gitml.store")


# What `log` and `status` may import of ours. Each module costs a third of a millisecond: one that
# is needed by some uses of a command only is imported by these.
READING = {
    *("gitml", "gitml.__main__", "gitml.config", "gitml.errors", "gitml.frozen", "gitml.fs"),
    *(f"gitml.cli{part}" for part in ("", ".group", ".invocation", ".failures", ".render")),
    *("gitml.cli.log", "gitml.cli.status", "gitml.cli.describe", "gitml.repo", "gitml.handles"),
    *(f"gitml.entities{part}" for part in ("", ".codec", ".ids", ".metadata")),
    *("gitml.entities.pointer", "gitml.entities.records"),
    *(f"gitml.git{part}" for part in ("", ".locks", ".odb", ".process", ".refs", ".snapshot")),
    *(f"gitml.history{part}" for part in ("", ".entries", ".index", ".intake", ".journal")),
    *(f"gitml.history.{part}" for part in ("models", "notes", "record", "revs")),
    *("gitml.stack", "gitml.listing"),
    *(f"gitml.repo.{part}" for part in ("care", "data", "opened", "pipelines", "records")),
    *("gitml.repo.sharing", "gitml.repo.stages", "gitml.repo.review", "gitml.repo.tagging"),
}


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


@pytest.fixture(scope="module")
def with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    with model_for_copies(tmp_path_factory.mktemp("startup")) as made:
        made.write(
            "pipelines/training.py",
            "from gitml import Model, pipeline, step\n\n\n"
            "@step\ndef fit() -> int:\n    return 1\n\n\n"
            "@pipeline(model=Model('clf'))\ndef training():\n    fit()\n",
        )
        made.commit("a pipeline")
        made.run("training")
        made.repo().promote("clf@v1", "production", "why")
    return Project(made.path)


def test_reading_commands_import_nothing_heavy(with_a_run: Project) -> None:
    for arguments in (
        *(["--version"], ["--help"], [], ["status"], ["log", "-n", "20"], ["log", "--graph"]),
        *(["model", "list"], ["stage", "log", "clf"], ["show", "clf"], ["lineage", "clf"]),
    ):
        modules = imported(with_a_run, *arguments)
        assert HEAVY & modules == set(), arguments
        assert [one for one in modules if one.startswith(RUNS_CODE)] == [], arguments


def test_the_version_and_the_help_import_no_command_and_no_layer(project: Project) -> None:
    allowed = {"gitml", "gitml.__main__", "gitml.errors", "gitml.frozen"} | {
        f"gitml.cli{part}" for part in ("", ".group", ".invocation", ".failures", ".render")
    }
    for arguments in (["--version"], ["--help"], []):
        ours = {one for one in imported(project, *arguments) if one.startswith("gitml")}
        assert ours - allowed == set(), arguments


def test_a_comparison_of_records_loads_nothing_that_makes_them(with_a_run: Project) -> None:
    for arguments in (["diff", "clf@v1", "clf@v1"], ["lineage", "diff", "clf@v1", "clf@v1"]):
        modules = imported(with_a_run, *arguments)
        found = {one for one in modules if one.startswith(("gitml.pipelines.", "gitml.code."))}
        assert found <= {"gitml.pipelines.keychange"}, arguments


def test_log_and_status_import_what_they_use(with_a_run: Project) -> None:
    for arguments in (["log", "-n", "20"], ["status"]):
        ours = {one for one in imported(with_a_run, *arguments) if one.startswith("gitml")}
        assert ours - READING == set(), arguments


# Two milliseconds each. What several questions can be answered by is asked once.
PROCESSES = {
    "--version": [],
    "log -n 20": ["rev-parse", "for-each-ref"],
    "log --graph": ["rev-parse", "for-each-ref"],
    "model list": ["rev-parse", "for-each-ref"],
    "show clf": ["rev-parse", "for-each-ref", "cat-file"],
    "status": ["rev-parse", "ls-files", "status", "for-each-ref", "cat-file", "config"],
}


@pytest.mark.parametrize("command", PROCESSES)
def test_reading_starts_few_git_processes(
    command: str, with_a_run: Project, sealed_environment: SealedEnvironment
) -> None:
    trace = sealed_environment.home / "trace"
    sealed_environment.set("GIT_TRACE2_EVENT", str(trace))
    with_a_run.gitml(*command.split())
    events = map(json.loads, trace.read_text().splitlines()) if trace.exists() else ()
    argv = [event["argv"] for event in events if event["event"] == "start"]
    # git starts others of its kind by itself; ours begin with the settings that the runner gives.
    started = [one[1:] for one in argv if one[1:2] == ["-c"]]
    # Some run beside each other.
    assert sorted(one[4] for one in started) == sorted(PROCESSES[command])


def test_the_check_sees_what_is_imported(with_a_run: Project) -> None:
    assert {"gitml.pipelines.run", "blake3"} <= imported(with_a_run, "run", "training")


MOVING = {
    "add big.bin": [
        *("rev-parse", "config", "ls-files", "ls-files", "check-ignore", "ls-files"),
        "-c",  # update-index, with more settings
    ],
    "checkout big.bin": ["rev-parse", "config", "ls-files"],  # what is gone is not compared
}


@pytest.mark.parametrize("command", MOVING)
def test_moving_data_loads_and_starts_what_it_uses(
    command: str, project: Project, sealed_environment: SealedEnvironment
) -> None:
    """Links where they can be had: then what is left is the start."""
    project.git("config", "gitml.link", "hardlink")
    project.write("first.bin", "a" * 100_000)
    project.gitml("add", "first.bin")
    project.write("big.bin", "b" * 100_000)
    if command.startswith("checkout"):
        project.gitml("add", "big.bin")
        (project.path / "big.bin").unlink()
    trace = sealed_environment.home / "trace"
    sealed_environment.set("GIT_TRACE2_EVENT", str(trace))
    modules = imported(project, *command.split())
    assert {"concurrent.futures", "secrets", "gitml.store.maintenance"} & modules == set()
    events = map(json.loads, trace.read_text().splitlines())
    argv = [event["argv"] for event in events if event["event"] == "start"]
    started = [one[5] for one in argv if one[1:2] == ["-c"]]
    assert sorted(started) == sorted(MOVING[command])
