"""Locks that a dead git left are broken; those that may be held by a living one are not."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from gitml.fs import ProcessIdentity, boot_time
from gitml.git import locks
from gitml.git.process import Git, GitFailed
from gitml.git.settings import set_setting
from gitml.testing.sealed import GitRepository

REF = "refs/gitml/runs/x"
CHAIN = "objects/info/commit-graphs/commit-graph-chain"
NEW = "1" * 40
ME = ProcessIdentity.current()
DEAD = ProcessIdentity(4_194_303, ME.start, ME.host, ME.boot)
BEFORE = ProcessIdentity(ME.pid, ME.start, ME.host, "00000000-0000-0000-0000-000000000000.1")
ELSEWHERE = ProcessIdentity(ME.pid, ME.start, "elsewhere", BEFORE.boot)
# A whole day more, so that the test's name, which has it, is the same in every process of a run.
OLDER_THAN_THE_BOOT = ((time.time() - boot_time()) // 86400 + 2) * 86400


@pytest.fixture
def git(git_repository: GitRepository) -> Git:
    return Git.discover(git_repository.path)


def left_by(git: Git, owner: ProcessIdentity, text: str, age: float) -> tuple[Path, Path]:
    """An announcement of a process, and a lock with this text and age in seconds."""
    announcement = git.common / "gitml/moves" / f"{owner.to_text()}+00000000"
    announcement.parent.mkdir(parents=True)
    announcement.write_text(json.dumps({"packed-refs": "", REF: NEW}))
    lock = git.common / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(text)
    os.utime(lock, (time.time() - age,) * 2)
    return announcement, lock


@pytest.mark.parametrize(
    ("owner", "text", "age", "broken"),
    [
        (DEAD, f"{NEW}\n", 1, True),
        (DEAD, NEW[:7], 1, True),
        (DEAD, "", 1, True),
        (DEAD, "", 0, False),  # another git may have made it this very moment
        (DEAD, f"{'2' * 40}\n", 1, False),
        (ME, f"{NEW}\n", 1, False),
        (BEFORE, f"{NEW}\n", OLDER_THAN_THE_BOOT, True),
        (BEFORE, f"{NEW}\n", 1, False),  # taken since: by another machine of this name
        (ELSEWHERE, f"{NEW}\n", OLDER_THAN_THE_BOOT, False),
    ],
)
def test_whose_lock_is_broken(
    git: Git, owner: ProcessIdentity, text: str, age: float, broken: bool
) -> None:
    announcement, lock = left_by(git, owner, text, age)
    locks.break_abandoned(git)
    assert lock.exists() is not broken
    assert announcement.exists() is not broken


@pytest.mark.parametrize("name", ["packed-refs", CHAIN])
def test_a_lock_that_says_nothing_is_broken_when_it_is_old(git: Git, name: str) -> None:
    announcement, lock = left_by(git, DEAD, f"{NEW}\n", 1)
    announcement.write_text(json.dumps({"packed-refs": "", CHAIN: ""}))
    silent = git.common / f"{name}.lock"
    silent.parent.mkdir(parents=True, exist_ok=True)
    beside = git.common / "packed-refs.new"
    for path in (silent, beside):
        path.touch()
        os.utime(path, (time.time() - 4,) * 2)
    assert 5.9 < locks.break_abandoned(git) < 6.1
    assert silent.exists()
    os.utime(silent, (time.time() - 11,) * 2)
    assert locks.break_abandoned(git) == 0
    assert not silent.exists()
    assert not announcement.exists()
    assert beside.exists() is (name != "packed-refs")
    assert lock.exists(), "it was not announced"


def test_who_runs_into_an_abandoned_lock_waits_for_it(git: Git) -> None:
    announcement, lock = left_by(git, DEAD, "", 1)
    for name in ("packed-refs.lock", "packed-refs.new"):
        (git.common / name).touch()
        os.utime(git.common / name, (time.time() - 9.7,) * 2)
    locks.run(git, {}, "pack-refs", "--all")
    assert not (git.common / "packed-refs.lock").exists()
    assert not lock.exists()
    assert not announcement.exists()


def test_nobody_waits_for_a_lock_of_somebody_else(git: Git) -> None:
    (git.common / "packed-refs.lock").touch()
    set_setting(git, "core.packedRefsTimeout", "0")
    with pytest.raises(GitFailed, match="packed-refs"):
        locks.run(git, {}, "pack-refs", "--all")
    assert list((git.common / "gitml/moves").iterdir()) == []


def test_git_is_announced_before_it_takes_a_lock(git: Git) -> None:
    process = git.start_held("pack-refs", "--all", stderr=subprocess.PIPE)
    with process, locks.announced(git, process, {}):
        (path,) = (git.common / "gitml/moves").iterdir()
        assert path.name.startswith(f"{process.pid}+")
        assert process.poll() is None
        assert not (git.common / "packed-refs").exists()
        assert process.communicate(b"\n")[1] == b""
    assert process.returncode == 0
    assert (git.common / "packed-refs").exists()


@pytest.mark.parametrize("end", ["killed", "could not remove it", "failed"])
def test_a_lock_that_is_there_when_git_has_ended(git: Git, end: str) -> None:
    lock = git.common / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    arguments = ("version",) if end != "failed" else ("cat-file", "-e", NEW)
    process = git.start_held(*arguments, stderr=subprocess.PIPE)
    with process, locks.announced(git, process, {REF: NEW}):
        lock.touch()
        if end == "killed":
            process.kill()
        else:
            process.communicate(b"\n")
        process.wait()
    time.sleep(locks.break_abandoned(git))
    assert locks.break_abandoned(git) == 0
    assert lock.exists() is (end == "failed"), "it would be somebody else's"
    assert list((git.common / "gitml/moves").iterdir()) == []


def test_an_announcement_lives_as_long_as_its_block(git: Git) -> None:
    folder = git.common / "gitml/moves"
    process = git.start_held("version", stderr=subprocess.PIPE)
    with process, locks.announced(git, process, {REF: NEW}):
        (path,) = folder.iterdir()
        assert json.loads(path.read_bytes()) == {"packed-refs": "", REF: NEW}
        locks.break_abandoned(git)
        assert path.exists()
    assert list(folder.iterdir()) == []


def test_what_was_cut_off_is_forgotten(git: Git) -> None:
    announcement, lock = left_by(git, DEAD, f"{NEW}\n", 1)
    announcement.write_bytes(b'{"refs/')
    locks.break_abandoned(git)
    assert not announcement.exists()
    assert lock.exists(), "nobody knows whose it is"
