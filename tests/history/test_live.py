"""Runs that go on: what other processes see of them, and what is left when they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.fs import ProcessIdentity
from gitml.history.live import Window, follow, going

ABOUT = {
    "pipeline": "training",
    "name": "exp-1",
    "started": "2026-01-02T03:04:05.000000Z",
    "steps": ["load", "fit"],
}


def window(folder: Path) -> Window:
    made = Window(folder)
    made.about = ABOUT
    return made


def test_a_run_is_seen_from_its_first_step_until_it_ends(tmp_path: Path) -> None:
    with window(tmp_path) as ours:
        ours.ended("load", "cached")
        assert list(tmp_path.iterdir()) == []
        ours.begun("fit", 5.0, 0)
        (run,) = going(tmp_path)
        assert (run.pipeline, run.name, run.steps) == ("training", "exp-1", ("load", "fit"))
        assert run.current is not None and run.current.step == "fit"
        assert run.process == ProcessIdentity.current().pid
        ours.ended("fit", "completed")
        (run,) = going(tmp_path)
        assert (run.current, run.ended) == (None, {"fit": "completed"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        (None, [("load", b"one\n"), ("load", b"two\n"), ("fit", b"three"), ("fit", b"end\n")]),
        ("fit", [("fit", b"three"), ("fit", b"end\n")]),
        ("load", [("load", b"one\n"), ("load", b"two\n")]),
        ("none", []),
    ],
)
def test_what_it_prints_is_followed_step_by_step(
    tmp_path: Path, step: str | None, seen: list[tuple[str, bytes]]
) -> None:
    ours = window(tmp_path)
    ours.begun("load", 5.0, 0)
    (run,) = going(tmp_path)
    log = ours.open_log()
    log.write(b"one\n")

    def second() -> None:
        log.write(b"two\n")
        ours.ended("load", "completed")
        ours.begun("fit", 6.0, 8)
        log.write(b"three")

    def third() -> None:
        log.write(b"end\n")
        ours.__exit__()  # what came last is seen, although the files are gone

    happens = iter([second, third])
    with log:
        found = [(one.step, one.data) for one in follow(run, step, lambda: next(happens)())]
        for left in happens:
            left()
    assert found == seen
    assert list(follow(run, None, lambda: None)) == []


def test_the_files_of_dead_processes_go(tmp_path: Path) -> None:
    ours = window(tmp_path)
    ours.begun("load", 5.0, 0)
    ours.open_log().close()
    me = ProcessIdentity.current()
    for old in list(tmp_path.iterdir()):
        dead = ProcessIdentity(me.pid, "1", me.host, me.boot).to_text()
        old.rename(tmp_path / f"{dead}.0123abcd{old.suffix}")
    assert going(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_or_written_is_passed_over(tmp_path: Path) -> None:
    me = ProcessIdentity.current().to_text()
    for number, text in enumerate(["", '{"format": 1}\n', '{"format": 9}\n', "{", "[]\n"]):
        (tmp_path / f"{me}.0000000{number}.jsonl").write_text(text)
    (tmp_path / "other.jsonl").write_text("")
    assert going(tmp_path) == []
    (tmp_path / "file").write_text("")
    with window(tmp_path / "file") as ours:
        ours.begun("load", 5.0, 0)
        with ours.open_log() as log:
            assert log.write(b"abc") == 3
