"""Errors at the command line: their words, their JSON, their exit codes; nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitml import errors
from gitml.cli import failures
from gitml.cli.invocation import Invocation
from gitml.testing.sealed import GitRepository, Project

PIPELINE = """\
import os
import sys
import time

from gitml import Model, pipeline, step


@step
def first() -> int:
    return 1


@step
def second(number: int, how: str) -> int:
    print("about to", how, flush=True)
    if how == "sleep":
        time.sleep(60)
    if how == "exit":
        sys.exit("enough")
    if how == "raise":
        raise ValueError("\\x1b[2Jforged")
    return number


@pipeline(model=Model("clf"))
def training(how: str = "work"):
    second(first(), how)
"""


@pytest.fixture
def ready(project: Project) -> Project:
    project.write("pipelines/training.py", PIPELINE)
    project.commit("a pipeline")
    return project


def error_of(text: str) -> dict[str, object]:
    """The one JSON error on standard error."""
    found = json.loads(text.splitlines()[-1])
    assert isinstance(found, dict)
    assert found.pop("schema") == "gitml.error/1"
    assert set(found) == {"error", "causes", "hint", "exit_code"}
    return found


def test_exit_codes_are_those_of_the_classes(project: Project) -> None:
    for arguments, kind in (
        (["show", "nothing"], errors.NameNotFound),
        (["log", "--nothing"], errors.UsageError),
        (["model", "compare"], errors.UsageError),
        (["-C", ".git", "status"], errors.NoRepository),
        (["-C", "nowhere", "status"], errors.UsageError),
        (["--stack", "nowhere", "stack", "show"], errors.NameNotFound),
        (["run", "nothing.py"], errors.NameNotFound),
    ):
        done = project.gitml(*arguments, status=kind.exit_code)
        assert done.out == ""
        assert done.err.startswith("Error: ")
        assert "Traceback" not in done.err


def test_an_error_as_json_is_the_same_error(ready: Project) -> None:
    plain = ready.gitml("show", "nothing", status=6)
    found = error_of(ready.gitml("show", "nothing", "--json", status=6).err)
    assert plain.err.splitlines()[0] == f"Error: {found['error']}"
    assert found["exit_code"] == 6
    misspelt = error_of(ready.gitml("log", "--json", "--faild", status=2).err)
    assert misspelt["hint"] == "did you mean `--failed`?"


def test_a_command_without_json_says_so_in_words(project: Project) -> None:
    assert project.gitml("init", "--json", status=2).err.startswith("Error: no such option")


def test_a_failed_step_shows_its_traceback_and_nothing_that_drives_a_terminal(
    ready: Project,
) -> None:
    done = ready.gitml("run", "training", "-p", "how=raise", status=1)
    assert "\x1b" not in done.err
    assert "about to raise\n" in done.err
    assert 'pipelines/training.py", line 21, in second' in done.err
    assert "Caused by: ValueError: \\x1b[2Jforged\nHint: `gitml show " in done.err
    shown = ready.gitml("show", "training").out
    assert "ValueError in the step second" in shown
    assert "about to raise" in shown


def test_a_failed_run_as_json_is_the_record_and_the_error(ready: Project) -> None:
    done = ready.gitml("run", "training", "-p", "how=raise", "--json", status=1)
    assert done.json["state"] == "failed"
    assert done.json["failure"]["step"] == "second"
    assert done.json["version"] is None
    assert error_of(done.err)["causes"] == ["ValueError: \x1b[2Jforged"]


def test_a_step_that_ends_the_process_is_a_failure(ready: Project) -> None:
    done = ready.gitml("run", "training", "-p", "how=exit", status=1)
    assert "Error: second called `sys.exit('enough')`" in done.err
    assert len(ready.gitml("log", "--failed", "--json").json["runs"]) == 1


def test_ctrl_c_records_the_run_and_says_how_to_go_on(ready: Project) -> None:
    command = ["gitml", "run", "training", "-p", "how=sleep"]
    running = subprocess.Popen(
        command, cwd=ready.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    lines = [""]
    while not lines[-1].startswith("about to"):
        lines.append(running.stderr.readline())
        assert lines[-1], lines
    running.send_signal(signal.SIGINT)
    out, rest = running.communicate(timeout=30)
    assert running.returncode == failures.INTERRUPTED
    assert out == ""
    assert "Traceback" not in rest
    run = ready.gitml("log", "--failed", "--json").json["runs"][0]
    assert run["state"] == "interrupted"
    said = f"recorded as {run['id'][:12]} with 1 finished step kept"
    assert said in rest
    assert "`gitml run training`" in rest


def test_a_killed_run_is_recorded_by_the_next_command(ready: Project) -> None:
    command = ["gitml", "run", "training", "-p", "how=sleep"]
    running = subprocess.Popen(
        command, cwd=ready.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    while not running.stderr.readline().startswith("about to"):
        assert running.poll() is None
    running.kill()
    running.communicate()
    done = ready.gitml("log", "--json")
    assert done.json["runs"][0]["state"] == "interrupted"
    assert done.err.startswith("Recorded the run ")
    assert ready.gitml("log").err == ""


def test_a_reader_that_leaves_early_is_no_error(ready: Project) -> None:
    ready.gitml("run", "training")
    done = subprocess.run(
        ["bash", "-c", "set -o pipefail; gitml show training --json | head -c 1"],
        cwd=ready.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


def test_what_nobody_foresaw_is_two_lines_and_a_log(
    capsys: pytest.CaptureFixture[str], sealed_environment: object
) -> None:
    try:
        raise KeyError("secret-free")
    except KeyError as error:
        code = failures.report(error, Invocation(), ["run"])
    assert code == failures.BUG
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Error: gitml met something that it did not foresee (KeyError)"
    log = Path(second.removeprefix("Hint: the details are in "))
    assert log.is_relative_to(os.environ["XDG_STATE_HOME"])
    text = log.read_text()
    assert text.startswith("gitml 0.")
    assert "Traceback (most recent call last)" in text


def test_a_bug_without_a_place_for_the_log_is_still_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    invocation = Invocation()
    invocation.json = True
    assert failures.report(KeyError("key"), invocation, []) == failures.BUG
    found = error_of(capsys.readouterr().err)
    assert "KeyError: 'key'" in str(found["error"])
    assert found["exit_code"] == failures.BUG


def test_the_environment_failing_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(28, "No space left on device", "/x/y")
    assert failures.report(full, Invocation(), []) == errors.StorageError.exit_code
    assert capsys.readouterr().err == "Error: no space left on device: /x/y\n"


def test_a_promotion_needs_a_reason_where_nobody_can_be_asked(ready: Project) -> None:
    ready.gitml("run", "training")
    done = ready.gitml("promote", "clf@v1", "production", status=2)
    assert done.err.splitlines()[1] == "Hint: `gitml promote clf@v1 production -m WHY`"
    assert ready.gitml("stage", "list").out == ""


def test_a_dry_run_says_the_same_and_changes_nothing(ready: Project) -> None:
    ready.gitml("run", "training")
    before = ready.git("for-each-ref")
    would = ready.gitml("promote", "clf@v1", "production", "--dry-run").out
    assert ready.gitml("delete", "clf@v1", "-n").out == "Would delete the version clf@v1\n"
    assert ready.git("for-each-ref") == before
    did = ready.gitml("promote", "clf@v1", "production", "-m", "why").out
    assert would.replace("Would promote", "Promoted") == did
    assert ready.gitml("stage", "clear", "clf", "production", "-n").out.startswith("Would clear")
    ready.gitml("delete", "clf@v1", "-n", status=1)


def test_before_init_there_is_no_repository(git_repository: GitRepository) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gitml", "status"],
        cwd=git_repository.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == errors.NoRepository.exit_code
    assert "Hint: `gitml init` writes it" in done.stderr
