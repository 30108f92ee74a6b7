"""The folder remote: the suite, and what only a folder does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitml.errors import AuthenticationFailed, ConfigError, StorageError, Unreachable
from gitml.remotes.base import Access
from gitml.remotes.folder import FolderRemote
from gitml.remotes.opening import open_remote
from gitml.testing.remote_suite import KEY, RemoteSuite


class TestFolder(RemoteSuite):
    page = 30

    def remote(self, folder: Path) -> FolderRemote:
        root = folder / "lake"
        root.mkdir()
        return FolderRemote(root)

    def again(self, remote: FolderRemote) -> FolderRemote:
        return FolderRemote(remote.root)


@pytest.fixture
def lake(tmp_path: Path) -> FolderRemote:
    root = tmp_path / "lake"
    root.mkdir()
    return FolderRemote(root)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """It may be the mount point of a disk that comes back."""
    remote = FolderRemote(tmp_path / "absent")
    for use in (
        lambda: remote.put(KEY, b"x"),
        lambda: remote.stat([KEY]),
        lambda: list(remote.get(KEY)),
        lambda: list(remote.list()),
        lambda: remote.delete([KEY]),
    ):
        with pytest.raises(Unreachable):
            use()
    assert not remote.root.exists()


def test_what_a_killed_writer_left_goes_with_the_next_put(lake: FolderRemote) -> None:
    script = (
        "import os, sys; from pathlib import Path; from gitml.remotes import folder\n"
        "folder.flush_to_disk = lambda descriptor: os._exit(9)\n"
        f"folder.FolderRemote(Path(sys.argv[1])).put({KEY!r}, b'x' * 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, lake.url], check=False)
    assert done.returncode == 9
    assert len(list((lake.root / ".tmp").iterdir())) == 1
    assert lake.stat([KEY]) == {}
    assert list(lake.list()) == []
    lake.put(KEY, b"y")
    assert list((lake.root / ".tmp").iterdir()) == []


def test_a_flush_that_fails_leaves_nothing(
    lake: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    lake.put(KEY, b"before")
    monkeypatch.setattr("gitml.remotes.folder.flush_to_disk", fail)
    with pytest.raises(StorageError):
        lake.put(KEY, b"after")
    assert lake.read(KEY, 10) == b"before"
    assert list((lake.root / ".tmp").iterdir()) == []


def test_a_flush_that_fails_keeps_none_of_many(
    lake: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []

    def fail_once(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 5:
            raise OSError(28, "No space left on device")

    lake.put(KEY, b"before")
    monkeypatch.setattr("gitml.remotes.folder.flush_to_disk", fail_once)
    contents = {KEY: b"after", **{f"many/{number}": b"x" for number in range(20)}}
    with pytest.raises(StorageError):
        lake.put_all(contents.items())
    assert lake.stat(contents) == {KEY: 6}
    assert list((lake.root / ".tmp").iterdir()) == []


def test_a_put_is_flushed_before_it_is_seen(
    lake: FolderRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = {"flush_to_disk": os.fsync, "sync_directory": lambda path: None}

    def flush(descriptor: int) -> None:
        seen.append(f"flush {lake.stat([KEY])}")
        real["flush_to_disk"](descriptor)

    def sync(path: Path) -> None:
        seen.append(f"folder {path.name} {lake.stat([KEY])}")

    lake.put("packs/first", b"x")  # makes the folders
    monkeypatch.setattr("gitml.remotes.folder.flush_to_disk", flush)
    monkeypatch.setattr("gitml.remotes.folder.sync_directory", sync)
    lake.put(KEY, b"abc")
    assert seen == ["flush {}", f"folder packs {{{KEY!r}: 3}}"]


def test_a_link_in_the_place_of_an_object_is_none(lake: FolderRemote, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not an object")
    (lake.root / "packs").mkdir()
    (lake.root / KEY).symlink_to(secret)
    assert lake.stat([KEY]) == {}
    assert lake.path_of(KEY) is None
    assert list(lake.list()) == []
    lake.put(KEY, b"object")
    assert secret.read_bytes() == b"not an object"
    assert lake.read(KEY, 10) == b"object"


def test_a_shared_folder_is_shared_whatever_the_umask(lake: FolderRemote) -> None:
    lake.root.chmod(0o2770)
    before = os.umask(0o077)
    try:
        lake.put("packs/deep/a", b"x")
    finally:
        os.umask(before)
    assert (lake.root / "packs/deep/a").stat().st_mode & 0o777 == 0o440
    assert (lake.root / "packs/deep").stat().st_mode & 0o7777 == 0o2770


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_one_may_only_read(lake: FolderRemote) -> None:
    lake.put(KEY, b"x")
    lake.root.chmod(0o555)
    try:
        with pytest.raises(AuthenticationFailed):
            FolderRemote(lake.root).put("other", b"y")
    finally:
        lake.root.chmod(0o755)
    assert lake.read(KEY, 1) == b"x"


def test_the_forms_of_its_url(tmp_path: Path) -> None:
    access = Access(tmp_path / "repository", {"HOME": str(tmp_path / "home")})
    for url, root in {
        "/srv/lake": "/srv/lake",
        "file:///srv/a%20b": "/srv/a b",
        "file://localhost/srv/lake": "/srv/lake",
        "../lake": str(tmp_path / "lake"),
        "~/lake": str(tmp_path / "home/lake"),
        "./a:b": str(tmp_path / "repository/a:b"),
    }.items():
        assert open_remote(url, access).url == root
    for url in ("file://host/srv", "file:srv", "", "file://"):
        with pytest.raises(ConfigError):
            FolderRemote.open(url, access)
