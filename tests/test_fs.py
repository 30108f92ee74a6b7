"""Durable writes, judged paths and identities of processes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.errors import CorruptData, StorageError
from gitml.fs import (
    ProcessIdentity,
    are_plain_paths,
    hint_in,
    judge_relative_path,
    judge_relative_paths,
    make_directories,
    storage_errors,
    sync_directory,
    temporary_name,
    write_durably,
)


def test_a_durable_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_durably(target, b"old")
    write_durably(target, b"new" * 100_000, mode=0o600)
    assert target.read_bytes() == b"new" * 100_000
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_durable_write_syncs_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        calls.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))[:6])
        fsync(descriptor)

    def seen_rename(source: object, target: object) -> None:
        calls.append("rename")
        rename(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_rename)
    write_durably(tmp_path / "file", b"x")
    assert calls == ["fsync .gitml", "rename", "fsync " + tmp_path.name[:6]]


def test_a_failed_sync_throws_the_new_file_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    write_durably(target, b"old")
    tries = []

    def failing(descriptor: int) -> None:
        tries.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match="cannot write") as caught:
        write_durably(target, b"new")
    assert len(tries) == 1
    assert caught.value.causes() == ["input/output error"]
    assert "dmesg" in (caught.value.hint or "")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_limit_of_size_is_told_with_its_path(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from gitml.errors import StorageError\n"
        "from gitml.fs import write_durably\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_durably(Path(sys.argv[1]), b'x' * 5000)\n"
        "except StorageError as error: print(error.message, '|', error.hint)\n"
    )
    target = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"cannot write {target} | ")
    assert "ulimit -f" in done.stdout
    assert os.listdir(tmp_path) == []


def test_what_git_says_of_a_file_system_has_the_hint_of_its_errno(tmp_path: Path) -> None:
    words = "error: unable to create temporary file: Read-only file system\nfatal: unpack failed"
    assert hint_in(words, tmp_path / "x").startswith("the file system is read-only; `df ")
    assert "ls -ld" in hint_in("fatal: Permission denied", tmp_path / "x")
    assert hint_in("fatal: no idea", tmp_path / "x") == "`df .`"


def test_make_directories_takes_what_is_there(tmp_path: Path) -> None:
    make_directories(tmp_path / "a/b/c")
    make_directories(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        make_directories(tmp_path / "file/below")


def test_storage_errors_keep_the_cause() -> None:
    nowhere = Path("/nowhere/x")
    with (
        pytest.raises(StorageError, match=r"cannot read /nowhere/x\Z") as caught,
        storage_errors(nowhere, "read"),
    ):
        nowhere.read_bytes()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(StorageError):
        sync_directory(Path("/nowhere/x"))


def test_a_folder_that_is_not_there_is_named_and_not_the_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path / "no/x"):
        (tmp_path / "no" / temporary_name()).write_bytes(b"")
    assert caught.value.causes() == [f"no such file or directory: {tmp_path}/no"]


PATHS = json.loads((Path(__file__).parent / "corpora/paths.json").read_text())
HOSTILE = [text.encode("utf-8", "surrogateescape") for text in PATHS["refused"]]
GOOD = [text.encode("utf-8", "surrogateescape") for text in PATHS["allowed"]]
TWINS = [[text.encode("utf-8", "surrogateescape") for text in pair] for pair in PATHS["twins"]]


@pytest.mark.parametrize("raw", HOSTILE, ids=lambda raw: repr(raw[:30]))
def test_hostile_paths_are_refused(raw: bytes) -> None:
    with pytest.raises(CorruptData, match="unsafe path"):
        judge_relative_path(raw)


@pytest.mark.parametrize("raw", GOOD, ids=lambda raw: repr(raw[:30]))
def test_good_paths_come_back_byte_for_byte(raw: bytes) -> None:
    assert judge_relative_path(raw).encode("utf-8", "surrogateescape") == raw


@pytest.mark.parametrize("raws", TWINS, ids=repr)
def test_twins_are_refused(raws: list[bytes]) -> None:
    for raw in raws:
        judge_relative_path(raw)
    with pytest.raises(CorruptData, match="two paths"):
        judge_relative_paths(raws)


def test_neighbours_are_no_twins() -> None:
    raws = [b"a/b", b"a/c", b"a.txt", b"ab", b"b/a", b"a-b"]
    assert judge_relative_paths(raws) == [raw.decode() for raw in raws]


@given(st.binary(max_size=40))
def test_whatever_is_let_through_stays_below_and_is_no_git_folder(raw: bytes) -> None:
    try:
        text = judge_relative_path(raw)
    except CorruptData:
        return
    assert os.fsencode(os.path.normpath(os.path.join("/top", os.fsdecode(raw)))).startswith(
        b"/top/"
    )
    for component in text.replace("\\", "/").split("/"):
        assert unicodedata.normalize("NFC", component).casefold().rstrip(". ") != ".git"


def test_this_process_is_alive_and_a_reaped_one_is_not() -> None:
    mine = ProcessIdentity.current()
    assert mine.is_alive()
    assert ProcessIdentity.parse(mine.to_text()) == mine
    assert "/" not in mine.to_text()
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gitml.fs import ProcessIdentity; print(ProcessIdentity.current().to_text())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ProcessIdentity.parse(child.stdout.strip()).is_alive()


def test_a_process_that_is_dead_but_not_reaped_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        stat = Path(f"/proc/{child.pid}/stat")
        mine = ProcessIdentity.current()
        start = stat.read_text().rpartition(")")[2].split()[19]
        its = ProcessIdentity(child.pid, start, mine.host, mine.boot)
        assert its.is_alive()
        child.kill()
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        assert not its.is_alive()


def test_only_certain_death_counts() -> None:
    mine = ProcessIdentity.current()
    gone = 4_194_303  # the highest pid of Linux is one below this
    assert not ProcessIdentity(gone, "1", mine.host, mine.boot).is_alive()
    assert ProcessIdentity(gone, "1", "elsewhere", mine.boot).is_alive()
    assert ProcessIdentity(gone, "1", mine.host, "another-boot").is_alive()
    assert not ProcessIdentity(mine.pid, "0", mine.host, mine.boot).is_alive()


@pytest.mark.parametrize("text", ["", "1+2+3", "x+1+h+b", "1+2+3+4+5", "1+2+a/b+c", "-1+2+h+b"])
def test_other_text_is_no_identity(text: str) -> None:
    with pytest.raises(CorruptData):
        ProcessIdentity.parse(text)


@given(st.lists(st.text("aAb/.-\0", max_size=5).map(str.encode)), st.booleans())
def test_what_is_plain_is_safe(raws: list[bytes], in_order: bool) -> None:
    raws = sorted(set(raws)) if in_order else raws
    if are_plain_paths(raws):
        assert judge_relative_paths(raws) == [raw.decode() for raw in raws]
        assert raws == sorted(set(raws))


def test_plain_paths_are_seen_as_plain() -> None:
    assert are_plain_paths([])
    assert are_plain_paths([b"IMG_1.JPG", b"a-b", b"a.b/c", b"a/b", b"a0"])
    for bad in (
        [b"a", b"A"],
        [b"a", b"a/b"],
        [b"B/x", b"b/y"],
        [b"a\0b"],
        [b"b", b"a"],
        [b"a" * 256],
    ):
        assert not are_plain_paths(bad)
