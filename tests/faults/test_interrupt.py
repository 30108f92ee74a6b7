"""Runs that end before their time: Ctrl-C, kill -9, a full disk; and damage that is found later."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import CorruptData, GitmlError, MissingBytes, StorageError
from gitml.pipelines.outcome import StepEvent
from gitml.store.store import Writer
from tests.faults.oracle import judge, leftovers
from tests.workshop import Workshop, group_of, load, states, wait_for

SLOW = """\
import time
from pathlib import Path
from gitml import Model, pipeline, step


@step
def first() -> int:
    return 1


@step
def second(value: int, wait: bool = True) -> int:
    print("working", flush=True)
    Path({here!r}).touch()
    while wait:
        time.sleep(0.01)
    return value + 1


@step
def third(value: int) -> int:
    return value + 1


@pipeline(model=Model("net"))
def slow(wait: bool = True):
    third(second(first(), wait))


if __name__ == "__main__":
    slow()
"""


@pytest.fixture
def slow(workshop: Workshop) -> Workshop:
    """A pipeline whose second step touches ``../here`` and then takes for ever."""
    here = str(workshop.path.with_name("here"))
    workshop.code("pipelines/slow.py", SLOW.format(here=here))
    return workshop


def started(workshop: Workshop, *arguments: str) -> subprocess.Popen[str]:
    process = workshop.start(*arguments)
    here = workshop.path.with_name("here")
    try:
        wait_for(lambda: here.exists() or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
    except BaseException:
        process.kill()
        raise
    return process


@pytest.mark.parametrize(
    ("command", "code"),
    [(["pipelines/slow.py"], -signal.SIGINT), (["-m", "gitml", "run", "slow"], 130)],
)
def test_ctrl_c_in_a_step(slow: Workshop, command: list[str], code: int) -> None:
    with group_of(started(slow, *command)) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, (out, err)
    (run,) = slow.repo().runs()
    assert run.status == "interrupted"
    assert states(run) == {"first": "completed", "second": "interrupted", "third": "skipped"}
    assert run.steps["second"].log() == "working\n"
    assert run.failure is not None
    assert run.failure.step == "second"
    assert slow.repo().models() == []
    assert leftovers(slow) == []
    judge(slow)
    again = slow.run("slow", {"wait": False})
    assert states(again) == {"first": "cached", "second": "completed", "third": "completed"}
    assert [one.status for one in slow.repo().runs(state="failed")] == ["interrupted"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_asks_to_end_is_recorded(slow: Workshop, number: signal.Signals) -> None:
    """So end a job that is cancelled and a container that is stopped: no command comes after."""
    text = (slow.path / "pipelines/slow.py").read_text()
    wait = "    while wait:\n        time.sleep(0.01)\n"
    assert wait in text
    slow.code(
        "pipelines/slow.py",
        text.replace(wait, "    if wait:\n        subprocess.run(['sleep', '61'])\n").replace(
            "import time\n", "import subprocess\nimport time\n"
        ),
    )
    with group_of(started(slow, "-m", "gitml", "run", "slow")) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)  # the pipe is closed: the child has gone too
    assert process.returncode == 128 + number, (out, err)
    assert "Interrupted: recorded as" in err
    (run,) = slow.repo().runs()
    assert states(run) == {"first": "completed", "second": "interrupted", "third": "skipped"}
    assert run.failure is not None and run.failure.message == number.name
    assert leftovers(slow) == []
    judge(slow)


def test_kill_nine_in_a_step(slow: Workshop) -> None:
    with group_of(started(slow, "pipelines/slow.py")) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert slow.repo().runs() == [], "nothing could be recorded by the dead"
    judge(slow)
    repo = slow.repo()
    (commit,) = repo.recover()
    (run,) = repo.runs(state="failed")
    assert run.id == commit
    assert run.status == "interrupted"
    assert states(run) == {"first": "completed", "second": "interrupted", "third": "skipped"}
    assert load(run, "first") == 1
    assert slow.repo().recover() == []
    again = slow.run("slow", {"wait": False})
    assert states(again) == {"first": "cached", "second": "completed", "third": "completed"}
    assert leftovers(slow) == []
    judge(slow)


def test_gc_after_a_kill_takes_the_snapshot_and_nothing_breaks(slow: Workshop) -> None:
    """What only the journal remembers is git's to collect."""
    text = (slow.path / "pipelines/slow.py").read_text()
    slow.code("pipelines/slow.py", text.replace("return 1", "return 10"), None)
    with group_of(started(slow, "pipelines/slow.py")) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    slow.git("gc", "--quiet", "--prune=now")
    assert slow.repo().recover() == []
    assert leftovers(slow) == []
    run = slow.run("slow", {"wait": False})
    assert load(run, "third") == 12
    judge(slow)


def test_gc_during_a_run_cannot_make_it_a_broken_record(slow: Workshop) -> None:
    text = (slow.path / "pipelines/slow.py").read_text()
    slow.code("pipelines/slow.py", text.replace("return 1", "return 10"), None)

    def collect(event: StepEvent) -> None:
        if (event.step, event.state) == ("third", "started"):
            slow.git("gc", "--quiet", "--prune=now")

    error = slow.fails("slow", {"wait": False}, tell=collect)
    assert isinstance(error, MissingBytes)
    assert "git has collected the snapshot" in error.message
    assert slow.repo().runs() == []
    judge(slow)
    slow.commit("now it is committed")
    assert slow.run("slow", {"wait": False}, tell=collect).status == "completed"
    judge(slow)


def test_the_next_run_records_the_killed_one_by_itself(slow: Workshop) -> None:
    with group_of(started(slow, "pipelines/slow.py")) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert slow.states("slow", {"wait": False})["first"] == "cached"
    recorded = [one.status for one in slow.repo().runs()]
    assert recorded == ["completed", "interrupted"]


def test_a_run_that_still_runs_is_left_alone(slow: Workshop) -> None:
    """Two runs at once in one clone: neither takes the other for dead, both are recorded."""
    with group_of(started(slow, "pipelines/slow.py")) as process:
        other = slow.run("slow", {"wait": False})
        assert other.status == "completed"
        assert slow.repo().recover() == []
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert sorted(one.status for one in slow.repo().runs()) == ["completed", "interrupted"]
    judge(slow)


def test_a_journal_cut_anywhere_is_read_as_far_as_it_goes(slow: Workshop) -> None:
    with group_of(started(slow, "pipelines/slow.py")) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    (journal,) = (slow.path / ".git/gitml/journal").iterdir()
    data = journal.read_bytes()
    kept = slow.path.with_name("kept")
    shutil.copytree(slow.path / ".git", kept)

    def killed_again(journal_bytes: bytes) -> None:
        shutil.rmtree(slow.path / ".git")
        shutil.copytree(kept, slow.path / ".git")
        journal.write_bytes(journal_bytes)

    for length in [0, 1, len(data) // 2, len(data) - 1]:
        killed_again(data[:length])
        assert slow.repo().recover() == []
        assert slow.run("slow", {"wait": False}).status == "completed"
        assert leftovers(slow) == []
    killed_again(data + b'{"half": ')
    assert len(slow.repo().recover()) == 1


# A disk that is full


BIG = """\
import os
from gitml import Model, pipeline, step


@step
def small() -> int:
    return 1


@step
def big(value: int, size: int = 1) -> bytes:
    import random
    return random.Random(0).randbytes(size << 20)


@pipeline(model=Model("net"))
def heavy(size: int = 1):
    big(small(), size)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_next_run_works(workshop: Workshop, small_disk: Path) -> None:
    workshop.code("pipelines/heavy.py", BIG)
    workshop.git("config", "gitml.store", str(small_disk / "store"))
    error = workshop.fails("heavy", {"size": 12})
    assert isinstance(error, GitmlError)
    assert error.exit_code == 1
    assert "cannot write" in error.message
    assert str(small_disk) in error.message
    assert "df -h" in (error.hint or "")
    left = [one for one in (small_disk / "store").rglob("*") if one.is_file()]
    assert all(one.stat().st_size < 1 << 20 for one in left), left
    judge(workshop)
    assert states(error.run) == {"small": "completed", "big": "failed"}  # type: ignore[attr-defined]
    run = workshop.run("heavy", {"size": 1})
    assert states(run) == {"small": "cached", "big": "completed"}
    assert load(run, "small") == 1
    judge(workshop)


def test_a_repository_on_a_full_disk_keeps_what_it_has(
    workshop: Workshop, small_disk: Path
) -> None:
    """git's own objects do not fit: the run fails, nothing is half there, and later it works."""
    there = Workshop(small_disk / "bob")
    shutil.copytree(workshop.path, there.path)
    there.code("pipelines/heavy.py", BIG)
    there.run("heavy", {"size": 0})
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    before = there.refs()
    error = there.fails("heavy", {"size": 1})
    assert isinstance(error, GitmlError), error
    assert error.exit_code == 1
    assert there.refs() == before
    filler.unlink()
    judge(there)
    run = there.run("heavy", {"size": 1})
    assert run.status == "completed"
    assert leftovers(there) == []
    there.close()


@pytest.mark.parametrize("salvaged", [True, False])
def test_no_record_names_bytes_that_could_not_be_written(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, salvaged: bool
) -> None:
    """A step is done when its bytes have left the process, not before."""
    flush, calls = Writer.flush, itertools.count(1)

    def full(writer: Writer) -> None:
        if next(calls) == 2:
            raise StorageError("cannot write: the disk is full")
        flush(writer)

    monkeypatch.setattr(Writer, "flush", full)
    if not salvaged:
        monkeypatch.setattr(Writer, "salvage", Writer.abort)
    workshop.training()
    error = workshop.fails()
    assert isinstance(error, StorageError)
    (run,) = workshop.repo().runs()
    first = "completed" if salvaged else "skipped"
    assert states(run) == {"prepare": first, "train": "failed"}
    judge(workshop)
    monkeypatch.undo()
    again = workshop.states()
    assert again == {"prepare": "cached" if salvaged else "completed", "train": "completed"}
    judge(workshop)


def test_a_limit_on_files_is_told(workshop: Workshop) -> None:
    """Without the right to mount, a limit on the size of files stands for the full disk."""
    workshop.code("pipelines/heavy.py", BIG)
    workshop.code(
        "run.py", "import sys; sys.path.insert(0, 'pipelines')\nimport heavy\nheavy.heavy(4)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))

    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=workshop.path,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    judge(workshop)
    (run,) = workshop.repo().runs()
    assert states(run) == {"small": "completed", "big": "failed"}
    workshop.python("run.py")
    judge(workshop)


# Damage that is found later


def test_a_corrupt_index_is_made_again(workshop: Workshop) -> None:
    workshop.training()
    run = workshop.run()
    index = workshop.path / ".git/gitml/index.sqlite"
    size = index.stat().st_size
    for damage in (b"", b"not a database", os.urandom(size), index.read_bytes()[: size // 2]):
        index.write_bytes(damage)
        assert [one.id for one in workshop.repo().runs()] == [run.id]
        assert workshop.states() == {"prepare": "cached", "train": "cached"}
        for one in workshop.repo().runs()[:-1]:
            workshop.repo().delete(one.id.short, "tidy")


def test_two_runs_at_once_find_the_index_together(workshop: Workshop) -> None:
    workshop.training()
    workshop.code(
        "race.py",
        """
        import sys
        sys.path.insert(0, "pipelines")
        from training import training
        for n in range(4):
            training(float(sys.argv[1]) + n / 10)
        """,
    )
    one, two = (workshop.start("race.py", start) for start in "12")
    with group_of(one), group_of(two):
        told = [process.communicate(timeout=120) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), told
    repo = workshop.repo()
    assert [one.label for one in repo.versions("clf")] == [f"clf@v{n}" for n in range(1, 9)]
    assert len(repo.runs()) == 8
    judge(workshop)
    assert leftovers(workshop) == []


def test_a_corrupt_record_spoils_nothing_else(workshop: Workshop) -> None:
    """A damaged object of git's: its run is named, everything else works on."""
    workshop.training()
    good = workshop.run()
    bad = workshop.run("training", {"rate": 0.25})
    pack = workshop.path / ".git/objects/pack"
    for one in list(pack.glob("*.pack")):
        data = one.read_bytes()
        for file in pack.glob(f"{one.stem}.*"):
            file.unlink()
        subprocess.run(["git", "unpack-objects", "-q"], cwd=workshop.path, input=data, check=True)
    blob = workshop.git("rev-parse", f"{bad.id}:.gitml/run.json")
    path = workshop.path / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    for name in ("index.sqlite",):
        (workshop.path / ".git/gitml" / name).unlink()
    repo = workshop.repo()
    assert [one.id for one in repo.runs()] == [good.id]
    assert repo.version("clf@v1").load("model") == good.model_version.load("model")  # type: ignore[union-attr]
    assert any("cannot be read" in one for one in repo.status().warnings)
    problems = workshop.problems()
    assert any(one.kind in ("corrupt-record", "missing-object") for one in problems), problems
    assert workshop.states("training", {"rate": 0.75})["prepare"] == "cached"


def test_a_record_of_a_later_version_is_refused_by_name(workshop: Workshop) -> None:
    workshop.training()
    run = workshop.run()
    text = workshop.git("show", f"{run.id}:.gitml/run.json")
    document = {**json.loads(text), "format": 2}
    workshop.write(".git/later.json", json.dumps(document))
    blob = workshop.git("hash-object", "-w", ".git/later.json")
    from tests.history.test_check import with_file

    data = workshop.git("cat-file", "blob", blob).encode()
    tree = with_file(workshop, str(run.id), ".gitml/run.json", data)
    message = workshop.git("log", "-1", "--format=%B", str(run.id))
    code, *above = workshop.parents(run.id)
    made = workshop.git("commit-tree", tree, "-p", code, "-p", above[0], "-F", "-", text=message)
    workshop.git("update-ref", f"refs/gitml/runs/training/209901/{made[:12]}", made)
    repo = workshop.repo()
    assert [one.id for one in repo.runs()] == [run.id]
    assert any("format 2" in text for _, text in repo.index.problems())
    with pytest.raises(CorruptData, match="format 2"):
        repo.index.run(repo.odb.resolve(made))  # type: ignore[arg-type]


def test_a_child_of_a_step_does_not_outlive_it(workshop: Workshop) -> None:
    """A child process of a step does not outlive an interrupted run."""
    here = workshop.path.with_name("here")
    workshop.code(
        "pipelines/child.py",
        f"""
        import subprocess, sys
        from pathlib import Path
        from gitml import pipeline, step

        @step
        def wait() -> int:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path({str(here)!r}).write_text(str(child.pid))
            return child.wait()

        @pipeline
        def child():
            wait()
        """,
    )
    with group_of(started(workshop, "-m", "gitml", "run", "child")) as process:
        wait_for(lambda: here.read_text() != "")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    child = int(here.read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in _state(child))
    (run,) = workshop.repo().runs()
    assert run.status == "interrupted"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


# The items of a mapped step


ITEMS = """\
import time
from pathlib import Path
from gitml import pipeline, step


@step
def score(n: int) -> int:
    text = Path("factor.txt").read_text()
    if n < 3:
        time.sleep(1.1)
    else:
        Path({here!r}).touch()
        while Path("wait").exists():
            time.sleep(0.01)
    return n * int(text)


@pipeline
def scores():
    score.map([1, 2, 3, 4])


if __name__ == "__main__":
    scores()
"""


@pytest.fixture
def killed(workshop: Workshop) -> Workshop:
    """A run that was killed in the third of four items."""
    workshop.write("factor.txt", "10")
    workshop.code("scores.py", ITEMS.format(here=str(workshop.path.with_name("here"))))
    (workshop.path / "wait").touch()
    with group_of(started(workshop, "scores.py")) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    (workshop.path / "wait").unlink()
    return workshop


def cached_items(workshop: Workshop) -> int:
    run = workshop.run("scores.py")
    assert load(run, "score") == [n * int(Path("factor.txt").read_text()) for n in (1, 2, 3, 4)]
    record = workshop.record(run.steps["score"].entry.commit, "step.json")
    return int(record["map"]["cached"])


def test_the_items_of_a_killed_step_are_cached(killed: Workshop) -> None:
    kept = killed.path.with_name("kept")
    shutil.copytree(killed.path / ".git", kept)
    assert cached_items(killed) == 2
    assert [one.status for one in killed.repo().runs()] == ["completed", "interrupted"]
    assert leftovers(killed) == []
    assert states(killed.run("scores.py")) == {"score": "cached"}
    judge(killed)
    (path,) = (kept / "gitml/journal").glob("*.items")
    data = path.read_bytes()
    for damaged, cached in [(data[:-1], 1), (bytes([data[0] ^ 1]) + data[1:], 1), (None, 0)]:
        shutil.rmtree(killed.path / ".git")
        shutil.copytree(kept, killed.path / ".git")
        here = killed.path / ".git/gitml/journal" / path.name
        here.unlink()
        if damaged is not None:
            here.write_bytes(damaged)
        assert len(killed.repo().recover()) == bool(cached)
        assert leftovers(killed) == []
        assert cached_items(killed) == cached


def test_the_items_of_a_killed_step_are_not_reused_where_a_file_changed(killed: Workshop) -> None:
    killed.write("factor.txt", "11")
    assert cached_items(killed) == 0
    judge(killed)
