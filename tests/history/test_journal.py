"""The steps of a killed run are found, up to where it was killed; those of a living one rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Code, Log, Output, RunStep, Step
from gitml.fs import ProcessIdentity
from gitml.history.journal import ABANDONED_AFTER, FinishedStep, Journal, orphans
from tests.history.ledger import digest_of

COMMIT = ObjectId("7295166bcd97395ee89bfd87d07f58a4e54a3354")
HEADER: dict[str, Any] = {
    "format": 1,
    "pipeline": "training",
    "parameters": {"depth": 6, "path": Path("data")},
    "code": codec.to_document(Code(COMMIT, COMMIT)),
    "stack": "default",
    "started": "2026-01-02T03:04:05.000000Z",
    "model": None,
    "person": ["Ada", "ada@example.org"],
    "environment": "# python\n",
    "steps": ["prepare", "train"],
}


def finished(name: str, *, executed: bool = True) -> FinishedStep:
    record = Step(
        *(name, "training", f"p.py:{name}", Code(COMMIT, COMMIT), "id", (), {}, ()),
        (Output("out", f"training.{name}", digest_of(name), "blob", 6, "json/1", "dict"),),
        *("2026-01-02T03:04:05.000000Z", 1.5),
        log=Log(digest_of("log"), 3),
        extra={"later": [1]},
    )
    entry = RunStep(name, "completed" if executed else "cached", COMMIT)
    metrics = {"accuracy": 0.5, "loss": float("inf")} if executed else {}
    return FinishedStep(entry, record if executed else None, metrics, 1767323046.25)


def dead() -> str:
    """The identity of a process that is certainly gone."""
    me = ProcessIdentity.current()
    return ProcessIdentity(me.pid, "1", me.host, me.boot).to_text()


def kill_owner(folder: Path) -> Path:
    """Make the one journal in the folder that of a dead process."""
    (path,) = folder.glob("*.jsonl")
    return path.rename(folder / f"{dead()}.0123abcd.jsonl")


def write(folder: Path, *steps: FinishedStep) -> Path:
    journal = Journal(folder, HEADER)
    for step in steps:
        journal.add(step)
    return kill_owner(folder)


def test_what_was_finished_comes_back(tmp_path: Path) -> None:
    steps = (finished("load", executed=False), finished("prepare"), finished("train"))
    path = write(tmp_path, *steps)
    (found,) = orphans(tmp_path)
    assert found.path == path
    assert found.steps == steps
    assert found.header == {**HEADER, "parameters": {"depth": 6, "path": "data"}}


def test_a_run_that_executed_nothing_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", HEADER)
    journal.add(finished("load", executed=False))
    journal.remove()
    assert not (tmp_path / "journal").exists()
    assert orphans(tmp_path / "journal") == []


def test_a_run_that_is_recorded_drops_its_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HEADER)
    journal.add(finished("prepare"))
    journal.add(finished("load", executed=False))
    assert len(list(tmp_path.iterdir())) == 1
    journal.remove()
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_journal(tmp_path: Path) -> None:
    Journal(tmp_path, HEADER).add(finished("prepare"))
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))  # a step may take longer than a week
    assert orphans(tmp_path) == []


KILLED = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from gitml.history.journal import Journal
from tests.history.test_journal import HEADER, finished

journal = Journal(Path(sys.argv[1]), HEADER)
journal.add(finished("prepare"))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_an_orphan(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), root], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert orphans(tmp_path) == []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (found,) = orphans(tmp_path)
    assert found.steps == (finished("prepare"),)


def test_whatever_the_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, finished("prepare"), finished("train"))
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 3
    for cut in {0, 1, *(end + by for end in ends for by in (-2, -1, 0)), ends[1] + 40}:
        path.write_bytes(whole[:cut])
        (found,) = orphans(tmp_path)
        count = max(sum(cut >= end for end in ends) - 1, 0)
        assert len(found.steps) == count, cut
        assert bool(found.header) is (cut >= ends[0])


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 300,
        b"{}",
        b"[]",
        b'{"at": 1, "step": 3}',
        b'{"at": "x", "step": {"format": 1, "name": "s", "state": "completed"}}',
        b'{"at": 1, "step": {"format": 1}}',
        b'{"at": 1, "record": [], "step": {"format": 1, "name": "s", "state": "completed"}}',
        b'{"at": 1, "step": {"format": 2, "name": "s", "state": "completed"}}',
    ],
)
def test_a_damaged_line_ends_the_journal_and_stops_no_command(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path, finished("prepare"), finished("train"))
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second + line + b"\n" + third)
    (found,) = orphans(tmp_path)
    assert found.steps == (finished("prepare"),)
    path.write_bytes(line + b"\n" + second)
    (found,) = orphans(tmp_path)
    assert found.steps == ()
    assert found.header == {}


def test_a_journal_of_a_later_gitml_is_left_to_it(tmp_path: Path) -> None:
    path = write(tmp_path, finished("prepare"))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(json.dumps({**json.loads(first), "format": 2}).encode() + b"\n" + second)
    assert orphans(tmp_path) == []
    assert path.exists()


@pytest.mark.parametrize(
    ("age", "abandoned"), [(ABANDONED_AFTER - 60, False), (ABANDONED_AFTER + 60, True)]
)
def test_a_process_that_cannot_be_judged_has_a_week(
    tmp_path: Path, age: float, abandoned: bool
) -> None:
    me = ProcessIdentity.current()
    path = write(tmp_path, finished("prepare"))
    then = time.time() - age
    for owner in (
        ProcessIdentity(me.pid, me.start, "elsewhere", me.boot).to_text(),
        ProcessIdentity(me.pid, me.start, me.host, "an-earlier-boot").to_text(),
        "not-an-identity",
    ):
        path = path.rename(tmp_path / f"{owner}.0123abcd.jsonl")
        os.utime(path, (then, then))
        assert bool(orphans(tmp_path)) is abandoned, owner
