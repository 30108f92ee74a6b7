"""A writer to a folder that is killed at any call: nothing torn is seen, and the next one ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import RaceLost
from gitml.remotes.base import Content, FilePart
from gitml.remotes.folder import FolderRemote
from gitml.testing.remote_suite import KEY, OTHER

CALLS = (
    *("open", "write", "copy_file_range", "pread", "fsync", "close"),
    *("replace", "link", "unlink", "mkdir", "fchmod"),
)
"""All by which a put talks to the system."""


def killed_at(number: int, action: Callable[[], None]) -> bool:
    """Do something in a process that dies before its call of this number; whether it died."""
    pid = os.fork()
    if not pid:
        seen = 0

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen == number:
                    os._exit(9)
                return real(*arguments, **named)

            return call

        try:
            for name in CALLS:
                setattr(os, name, counting(getattr(os, name)))
            action()
        except BaseException:
            os._exit(7)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9)
    return code == 9


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a process dies there as on a disk, and sooner."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def everything(remote: FolderRemote, file: Path) -> dict[str, Content]:
    return {KEY: file, OTHER: b"bytes", "parts/ab/01": FilePart(file, 100, 3_000)}


def put(remote: FolderRemote, file: Path) -> None:
    remote.put(KEY, file)


def create(remote: FolderRemote, file: Path) -> None:
    try:
        remote.put(KEY, file, create=True)
    except RaceLost:
        assert remote.read(KEY, 1 << 20) == file.read_bytes()


def put_all(remote: FolderRemote, file: Path) -> None:
    remote.put_all(everything(remote, file).items())


@pytest.mark.parametrize("action", [put, create, put_all], ids=lambda action: action.__name__)
def test_killed_at_every_call(quick: Path, action: Callable[[FolderRemote, Path], None]) -> None:
    file = quick / "source"
    file.write_bytes(os.urandom(10_000))
    data = file.read_bytes()
    wanted = {KEY: data, OTHER: b"bytes", "parts/ab/01": data[100:3_100]}
    for number in range(1, 200):
        root = quick / str(number)
        root.mkdir()
        was_killed = killed_at(number, lambda root=root: action(FolderRemote(root), file))
        after = FolderRemote(root)
        for key, size in after.stat(wanted).items():
            assert after.read(key, size) == wanted[key], (number, key)
        action(FolderRemote(root), file)
        assert after.read(KEY, 1 << 20) == data
        after.put("last", b"")
        assert list((root / ".tmp").iterdir()) == []
        if not was_killed:
            assert number > 12
            return
    raise AssertionError("it never ended")


def test_no_name_is_given_to_what_is_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[int] = set()
    named: list[Path] = []
    synced: list[Path] = []
    fsync, replace = os.fsync, os.replace

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        flushed.add(os.fstat(descriptor).st_ino)
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        if place.is_dir():
            synced.append(place)

    def name(source: Any, target: Any) -> None:
        assert os.stat(source).st_ino in flushed
        named.append(Path(target))
        synced.clear()
        replace(source, target)

    file = tmp_path / "source"
    file.write_bytes(b"x" * 10_000)
    (tmp_path / "lake").mkdir()
    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", name)
    remote = FolderRemote(tmp_path / "lake")
    for action in (put, put_all):
        action(remote, file)
        assert {path.parent for path in named} <= set(synced)
        named.clear()
