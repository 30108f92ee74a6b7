"""Connections that break, servers that are killed, and remotes that lie."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitml.errors import ConnectionLost, CorruptData, GitmlError
from gitml.remotes.base import Access, FilePart, Remote
from gitml.remotes.http import HttpRemote
from gitml.remotes.layers import Counted, Patience, Retrying
from gitml.remotes.object_store import S3Remote
from gitml.remotes.ssh import SshRemote
from gitml.remotes.transfer import download
from gitml.testing.lying_remote import LIES, LyingRemote
from gitml.testing.remote_suite import KEY, OTHER
from tests.remotes.proxy import CuttingProxy
from tests.servers import S3Server, SshServer, start_s3, stop

IMPATIENT = Patience(seconds=30, pause=0.002, longest=0.05)


@contextmanager
def cutting(port: int, *, every: int = 1 << 62, share: float = 0.0) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(port, every=every, share=share)
    try:
        yield proxy
    finally:
        proxy.close()


def s3(server: S3Server, prefix: str, port: int = 0) -> S3Remote:
    endpoint = f"http://127.0.0.1:{port}" if port else ""
    return S3Remote.open(
        server.url(prefix, endpoint=endpoint), Access(Path(), server.environment())
    )


def pulled(remote: Remote, size: int, target: Path, data: bytes) -> Counted:
    """Download through what breaks; the count of what went over the line."""
    counted = Counted(remote)
    download(Retrying(counted, IMPATIENT), KEY, size, target, part=1 << 20)
    assert target.read_bytes() == data
    return counted


def test_a_bucket_through_a_connection_that_is_cut_at_every_64_kib(
    s3_server: S3Server, tmp_path: Path
) -> None:
    data = os.urandom(6 << 20)
    prefix = secrets.token_hex(4)
    s3(s3_server, prefix).put(KEY, data)
    with cutting(s3_server.port, every=64 << 10) as proxy:
        pulled(s3(s3_server, prefix, proxy.port), len(data), tmp_path / "t", data)
        assert proxy.cuts > len(data) // (64 << 10)
        assert proxy.received < 3 * len(data)


def test_a_web_server_through_a_connection_that_is_cut(s3_server: S3Server, tmp_path: Path) -> None:
    data = os.urandom(6 << 20)
    prefix = secrets.token_hex(4)
    s3(s3_server, prefix).put(KEY, data)
    with cutting(s3_server.filer, every=64 << 10) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/buckets/team-bucket/{prefix}"
        counted = pulled(HttpRemote.open(url, Access(tmp_path)), len(data), tmp_path / "t", data)
        assert proxy.cuts >= len(data) // (64 << 10)
        # Headers come again, and the first try of each part, which was to come in one piece.
        assert proxy.received < len(data) + proxy.cuts * 4096 + 6 * (64 << 10)
        assert counted.counts.received <= len(data) + (1 << 20)


def test_another_machine_through_a_connection_that_is_cut(
    ssh_server: SshServer, tmp_path: Path
) -> None:
    data = os.urandom(3 << 20)
    root = tmp_path / "lake"
    root.mkdir()
    environment = {
        "GIT_SSH_COMMAND": f"ssh -F {ssh_server.config} -oHostKeyAlias=lake -oControlPath=none"
    }
    known = ssh_server.config.parent / "known"
    line = known.read_text().splitlines()[0].split(" ", 1)[1]
    known.write_text(f"{known.read_text()}lake {line}\n")
    with cutting(ssh_server.port, every=1 << 20) as proxy:
        url = ssh_server.url(root).replace(f":{ssh_server.port}", f":{proxy.port}")
        with SshRemote.open(url, Access(tmp_path, environment)) as remote:
            Retrying(remote, IMPATIENT).put(KEY, data)
            pulled(remote, len(data), tmp_path / "t", data)
        assert proxy.cuts >= 3
        assert proxy.received < len(data) + (proxy.cuts + 1) * (1 << 20)


def busy(server: S3Server, count: int) -> None:
    """Put and get so many objects where 30 of 100 connections get nowhere."""
    prefix = secrets.token_hex(4)
    with cutting(server.port, share=0.3, every=20_000) as proxy:
        remote = Retrying(s3(server, prefix, proxy.port), IMPATIENT)
        keys = [f"objects/{number}" for number in range(count)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda key: remote.put(key, key.encode() * 100), keys))
            assert remote.stat(keys) == {key: len(key) * 100 for key in keys}
            found = list(threads.map(lambda key: remote.read(key, 1 << 20), keys))
        assert found == [key.encode() * 100 for key in keys]
        assert proxy.cuts > count // 10


def test_a_server_that_is_too_busy(s3_server: S3Server) -> None:
    busy(s3_server, 150)


@pytest.mark.sweep
def test_a_server_that_is_too_busy_for_ten_thousand(s3_server: S3Server) -> None:
    busy(s3_server, 10_000)


@pytest.mark.sweep
def test_a_hundred_mebibytes_cut_at_every_64_kib(s3_server: S3Server, tmp_path: Path) -> None:
    data = os.urandom(100 << 20)
    prefix = secrets.token_hex(4)
    s3(s3_server, prefix).put(KEY, data)
    with cutting(s3_server.port, every=64 << 10) as proxy:
        pulled(s3(s3_server, prefix, proxy.port), len(data), tmp_path / "t", data)
        assert proxy.received < 3 * len(data)


@pytest.mark.sweep
def test_a_server_that_is_killed_in_the_middle_of_a_put_comes_back(
    s3_server: S3Server, tmp_path: Path
) -> None:
    """Parts of a file, put at once: none is half there, and all are there in the end."""
    folder = tmp_path / "server"
    server = start_s3(folder)
    file = tmp_path / "large"
    file.write_bytes(os.urandom(48 << 20))
    parts = {f"parts/{at:02}": FilePart(file, at << 20, 1 << 20) for at in range(48)}
    remote = Retrying(s3(server, "x"), Patience(seconds=90))
    remote.stat([KEY])
    restarted: list[S3Server] = []
    killed: list[bool] = []

    def kill_and_start() -> None:
        time.sleep(0.3)
        stop(server.pid)
        killed.append(True)
        time.sleep(1)
        restarted.append(start_s3(folder, ports=server.ports))

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda key: remote.put(key, parts[key]), parts))
        assert killed
        killer.join()
        data = file.read_bytes()
        for key, part in parts.items():
            assert remote.read(key, 1 << 20) == data[part.start : part.start + part.length]
    finally:
        killer.join()
        for one in restarted:
            stop(one.pid)


# Remotes that lie


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one(tmp_path: Path, lie: str) -> None:
    """The liars of the tests lie: what comes is never what was put, or it does not come."""
    from gitml.remotes.folder import FolderRemote

    (tmp_path / "lake").mkdir()
    honest = FolderRemote(tmp_path / "lake")
    honest.put(KEY, b"0123456789" * 1000)
    honest.put(OTHER, b"other bytes" * 1000)
    liar = LyingRemote(honest, lie)
    try:
        received = liar.read(KEY, 1 << 20)
    except (CorruptData, ConnectionLost):
        return
    assert received != b"0123456789" * 1000
    liar.is_honest = True
    assert liar.read(KEY, 1 << 20) == b"0123456789" * 1000


@pytest.mark.parametrize("lie", LIES)
def test_a_download_is_as_long_as_it_should_be_or_fails(tmp_path: Path, lie: str) -> None:
    from gitml.remotes.folder import FolderRemote

    (tmp_path / "lake").mkdir()
    honest = FolderRemote(tmp_path / "lake")
    data = os.urandom(3 << 20)
    honest.put(KEY, data)
    honest.put(OTHER, os.urandom(3 << 20))
    target = tmp_path / "target"
    try:
        download(LyingRemote(honest, lie), KEY, len(data), target, part=1 << 20)
    except GitmlError:
        assert target.stat().st_size <= len(data)
    else:
        assert target.stat().st_size == len(data)
        assert target.read_bytes() != data  # which its digest shows, to whoever looks
