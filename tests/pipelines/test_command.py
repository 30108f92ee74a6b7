"""Commands as steps: what they are given, what is taken, when they run again, how they fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import StepFailed, UsageError
from gitml.pipelines.command import CommandStep
from tests.workshop import Workshop, load, states, wait_for

CODE = """\
import json
from pathlib import Path
import gitml
from gitml import CommandStep, Model, pipeline, step


@step
def numbers(raw: Path) -> list[int]:
    return json.loads(raw.read_text())


grow = CommandStep(
    ["sh", "tools/grow.sh", "{rows}", "{grown}", "{by}"],
    name="grow",
    inputs=["rows"],
    outputs=["grown"],
    parameters={"by": 2},
    environment=["UNIT"],
)


@step
def total(grown: Path) -> int:
    return sum(map(int, grown.read_text().split()))


@pipeline(model=Model("sum"))
def growing(by: int = 2):
    total(grow(numbers(gitml.data("raw.json")), by))
"""
SCRIPT = """\
echo "growing by $3"
for row in $(tr '[],' '   ' < "$1"); do echo $((row * $3)) >> "$2"; done
"""


@pytest.fixture
def growing(workshop: Workshop) -> Workshop:
    workshop.write("raw.json", "[1, 2, 3]")
    workshop.write("tools/grow.sh", SCRIPT)
    workshop.code("pipelines/growing.py", CODE)
    return workshop


def test_a_command_stands_between_functions_and_is_cached(growing: Workshop) -> None:
    told: list[Any] = []
    first = growing.run("growing", tell=told.append)
    assert load(first, "total") == 12
    assert first.steps["grow"].log() == "growing by 2\n"
    assert not [one for one in told if one.state == "note"]
    record = growing.record(first.steps["grow"].entry.commit, "step.json")
    assert record["source"] == "command:grow"
    assert [one["path"] for one in record["files"]] == ["tools/grow.sh"]
    assert record["parameters"] == {"by": 2}
    assert set(growing.states("growing").values()) == {"cached"}
    assert load(growing.run("growing", {"by": 3}), "total") == 18
    assert growing.problems() == []


@pytest.mark.parametrize("change", ["script", "data", "environment"])
def test_it_runs_again_when_what_it_is_made_of_changes(growing: Workshop, change: str) -> None:
    growing.run("growing")
    environment = {}
    if change == "script":
        growing.write("tools/grow.sh", SCRIPT.replace("growing by", "times"))
    elif change == "data":
        growing.write("raw.json", "[1, 2, 4]")
    else:
        environment["UNIT"] = "m"
    assert growing.states("growing", environment=environment)["grow"] == "completed"


def test_it_does_not_run_again_for_what_it_does_not_name(growing: Workshop) -> None:
    growing.run("growing")
    growing.write("tools/other.sh", "true\n")
    growing.commit()
    assert set(growing.states("growing").values()) == {"cached"}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3\n", "the command of grow ended with status 3: sh tools/grow.sh "),
        ("kill -9 $$\n", "the command of grow ended with SIGKILL"),
        ("true\n", "the command of grow wrote no grown"),
    ],
)
def test_a_command_that_fails(growing: Workshop, script: str, message: str) -> None:
    growing.write("tools/grow.sh", f"echo before\n{script}")
    error: Any = growing.fails("growing")
    assert isinstance(error, StepFailed)
    assert error.message.startswith(message)
    assert states(error.run) == {"numbers": "completed", "grow": "failed", "total": "skipped"}
    assert error.run.steps["grow"].log() == "before\n"


def test_a_program_that_is_not_there() -> None:
    step = CommandStep(["./absent"], name="absent")
    with pytest.raises(StepFailed, match=r"\./absent cannot be started"):
        step()


def test_called_outside_of_a_pipeline_it_runs(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("x")
    step = CommandStep("cat {raw} | tr x y > {made}", name="copy", inputs=["raw"], outputs=["made"])
    assert step(tmp_path / "a b.txt").read_text() == "y"
    several = CommandStep(
        "echo {text} > {one}; echo 2 > {two}; awk '{print}' {one}",
        name="several",
        outputs=["one", "two"],
        parameters={"text": "it's"},
    )
    assert [path.read_text() for path in several()] == ["it's\n", "2\n"]


def test_a_file_that_the_command_did_not_write_is_not_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.txt").write_text("of yesterday")
    with pytest.raises(StepFailed, match=r"left out\.txt as it was"):
        CommandStep("true", name="lazy", outputs={"out": "out.txt"})()
    step = CommandStep("echo today > out.txt", name="keen", outputs={"out": "out.txt"})
    assert step().read_text() == "today\n"


def test_what_an_interrupted_command_started_does_not_go_on(tmp_path: Path) -> None:
    import signal
    import threading

    step = CommandStep(f"sleep 60 & echo $! > {tmp_path}/pid; wait", name="slow")

    def interrupt() -> None:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        step()
    thread.join()
    child = int((tmp_path / "pid").read_text())
    wait_for(lambda: is_dead(child))


def is_dead(child: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{child}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": []}, "has no command"),
        ({"inputs": ["a"], "outputs": ["a"]}, "two things called `a`"),
        ({"inputs": ["a b"]}, "`a b` is no name"),
        ({"outputs": {"a": "../out"}}, r"writes to \.\./out, which is outside"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandStep(**{"command": ["true"], "name": "odd", **options})
