"""Bytes on their way while lines are cut, servers die, disks fill up and remotes lie.

Each law in small; ``pytest -m sweep tests/sync/test_faults.py`` tries them in full size.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import GitmlError, StorageError
from gitml.remotes.base import Remote
from gitml.remotes.folder import FolderRemote
from gitml.remotes.layers import Patience, Retrying
from gitml.store.store import Store
from gitml.sync.catalogue import Catalogue
from gitml.sync.download import Downloader
from gitml.sync.needs import Need
from gitml.sync.upload import Uploader
from gitml.testing.lying_remote import LIES, LyingRemote
from tests.remotes.test_faults import IMPATIENT, cutting, s3
from tests.servers import S3Server, start_s3, stop

MIB = 1 << 20
CUT = 64 << 10


def filled(folder: Path, size: int) -> tuple[Store, dict[Digest, Need]]:
    """A store with so many bytes, in blobs of 200 kB, and what a push of them needs."""
    store = Store(folder, link="copy")
    source = random.Random(size)
    with store.writer() as writer:
        digests = [writer.put_bytes(source.randbytes(200_000)) for _ in range(size // 200_000)]
    return store, {one: Need(one, "blob", 200_000, "x") for one in digests}


def push(store: Store, remote: Remote, notes: Path, needs: dict[Digest, Need]) -> None:
    Uploader(store, Catalogue(remote, notes)).send(needs)


def pull(folder: Path, remote: Remote, notes: Path, needs: dict[Digest, Need]) -> Store:
    store = Store(folder, link="copy")
    assert Downloader(store, Catalogue(remote, notes)).bring(needs) == set()
    return store


def are_equal(one: Store, other: Store, needs: dict[Digest, Need]) -> bool:
    return list(other.check()) == [] and all(one.read(d) == other.read(d) for d in needs)


def cut_everywhere(server: S3Server, folder: Path, size: int) -> None:
    """Pull over a line that is cut at every 64 KiB; what came twice is bounded by the cuts."""
    prefix = secrets.token_hex(4)
    bob, needs = filled(folder / "bob", size)
    push(bob, s3(server, prefix), folder / "b", needs)
    with cutting(server.port, every=CUT) as proxy:
        remote = Retrying(s3(server, prefix, proxy.port), IMPATIENT)
        alice = pull(folder / "alice", remote, folder / "a", needs)
        assert proxy.cuts >= size // CUT
        assert proxy.received <= size + (proxy.cuts + 1) * CUT
        assert proxy.received < 3 * size
    assert are_equal(bob, alice, needs)
    assert list((folder / "alice/tmp").iterdir()) == []


def test_a_pull_over_a_line_that_is_cut(s3_server: S3Server, tmp_path: Path) -> None:
    cut_everywhere(s3_server, tmp_path, 4 * MIB)


@pytest.mark.sweep
def test_a_pull_of_a_hundred_mebibytes_cut_everywhere(s3_server: S3Server, tmp_path: Path) -> None:
    cut_everywhere(s3_server, tmp_path, 100 * MIB)


@pytest.mark.parametrize("what", ["parts/", "packs/", "where/"])
@pytest.mark.parametrize("lie", LIES)
def test_nothing_is_believed_of_a_remote_that_lies(tmp_path: Path, lie: str, what: str) -> None:
    """Also bombs: the pull ends with a key in its words, and comes right once the remote does."""
    (tmp_path / "lake").mkdir()
    honest = FolderRemote(tmp_path / "lake")
    bob, needs = filled(tmp_path / "bob", MIB)
    for digest, need in needs.items():  # several packs, so that there is something to swap
        push(bob, honest, tmp_path / "b", {digest: need})
    liar = LyingRemote(honest, lie, prefix=what)
    alice = Store(tmp_path / "alice", link="copy")
    try:
        absent = Downloader(alice, Catalogue(liar, tmp_path / "a")).bring(needs)
    except GitmlError as error:
        assert any(word in str(error) for word in (what, "packs/", "blake3:"))
        assert not any(map(alice.has, needs))
    else:  # it sends us to where they are not: then they are nowhere
        assert (lie, what) == ("swapped", "where/")
        assert absent
        assert absent | set(filter(alice.has, needs)) == set(needs)
    liar.is_honest = True
    alice = pull(tmp_path / "alice", liar, tmp_path / "a", needs)
    assert are_equal(bob, alice, needs)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_half_way_through_a_pull(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    remote = FolderRemote(tmp_path / "lake")
    bob, needs = filled(tmp_path / "bob", 6 * MIB)
    push(bob, remote, tmp_path / "b", needs)
    with pytest.raises(StorageError) as caught:
        pull(small_disk / "alice", remote, tmp_path / "a", needs)
    assert str(small_disk) in str(caught.value)
    assert not any(map(Store(small_disk / "alice").has, needs))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    alice = pull(small_disk / "alice", remote, tmp_path / "a", needs)
    assert are_equal(bob, alice, needs)
    assert list((small_disk / "alice/tmp").iterdir()) == []


@pytest.mark.sweep
def test_a_server_that_is_killed_in_the_middle_of_a_push(
    s3_server: S3Server, tmp_path: Path
) -> None:
    """No object is named before its bytes, and the push ends once the server is back."""
    bob, needs = filled(tmp_path / "bob", 100 * MIB)
    server = start_s3(tmp_path / "server")
    back: list[S3Server] = []

    def kill_and_start() -> None:
        time.sleep(0.5)
        stop(server.pid)
        time.sleep(1)
        back.append(start_s3(tmp_path / "server", ports=server.ports))

    remote = Retrying(s3(server, "x"), Patience(seconds=90))
    assert Catalogue(remote, tmp_path / "look").holds(needs) == set()
    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        push(bob, remote, tmp_path / "b", needs)
        killer.join()
        alice = pull(tmp_path / "alice", remote, tmp_path / "a", needs)
        assert are_equal(bob, alice, needs)
    finally:
        killer.join()
        for one in back:
            stop(one.pid)
