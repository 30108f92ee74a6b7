"""Killed writers, writers at the same time, full disks: nothing is lost, nothing is in the way."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import StorageError
from gitml.fs import ProcessIdentity
from gitml.store.digest import hash_bytes
from gitml.store.store import LARGE, Store

WRITES = """
import sys; from pathlib import Path
from gitml.store.store import Store
writer = Store(Path(sys.argv[1])).writer()
number = 0
while True:
    data = b"%d," % number * 2000
    writer.put_bytes(data)
    number += 1
    if number % 10 == 0:
        writer.flush()
        print(number, flush=True)
"""


def test_what_a_killed_writer_flushed_is_saved(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    flushed = 0
    argv = [sys.executable, "-c", WRITES, str(store.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while flushed < 200:
            flushed = int(child.stdout.readline())
        assert store.recover() == []  # it lives: its file is its own
        child.kill()
        rest = child.stdout.read().split()
    assert child.returncode == -signal.SIGKILL
    flushed = int(rest[-1]) if rest else flushed
    assert list(store.objects()) == []
    saved = store.recover()
    assert len(saved) >= flushed
    for number in range(flushed):
        assert store.read(hash_bytes(b"%d," % number * 2000)) == b"%d," % number * 2000
    assert list(store.check()) == []
    assert os.listdir(store.root / "tmp") == []
    assert store.recover() == []


def test_a_pack_cut_anywhere_is_good_up_to_its_last_whole_entry(tmp_path: Path) -> None:
    whole = Store(tmp_path / "whole")
    blobs = [b"%d." % number * 30 for number in range(5)] + [b""]
    with whole.writer() as writer:
        for blob in blobs:
            writer.put_bytes(blob)
    (pack,) = (whole.root / "packs").glob("*.pack")
    data = pack.read_bytes()
    dead = ProcessIdentity(4_194_303, "1", *ProcessIdentity.current().to_text().split("+")[2:])
    saved_before = 0
    for length in range(0, len(data) + 1, 17):
        store = Store(tmp_path / "cut")
        store.layout.prepare()
        (store.root / f"tmp/{dead.to_text()}+00000000.pack").write_bytes(data[:length])
        saved = store.recover()
        assert saved_before <= len(saved) <= len(blobs)
        saved_before = len(saved)
        assert {store.read(digest) for digest in saved} <= set(blobs)
        assert list(store.check()) == []
        assert os.listdir(store.root / "tmp") == []
        shutil.rmtree(store.root)
    assert saved_before >= len(blobs) - 1


def test_loose_files_of_the_dead_are_saved_if_they_are_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.layout.prepare()
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    good, bad = os.urandom(1000), os.urandom(1000)
    for number, (data, digest) in enumerate(
        [(good, hash_bytes(good)), (bad[:-1], hash_bytes(bad))]
    ):
        name = f"{dead}+0000000{number}+{digest.hex}.loose"
        (store.root / "tmp" / name).write_bytes(data)
    (store.root / "tmp" / f"{dead}+00000003.part").write_bytes(b"half an index")
    assert store.recover() == [hash_bytes(good)]
    assert store.read(hash_bytes(good)) == good
    assert os.listdir(store.root / "tmp") == []


def test_what_cannot_be_judged_is_left_for_a_week(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.layout.prepare()
    foreign = store.root / "tmp/12+34+elsewhere+another-boot+00000000.pack"
    unknown = store.root / "tmp/what is this"
    for path in (foreign, unknown):
        path.write_bytes(b"x")
    assert store.recover() == []
    assert foreign.exists()
    assert unknown.exists()
    old = time.time() - 8 * 24 * 3600
    for path in (foreign, unknown):
        os.utime(path, (old, old))
    assert store.recover() == []
    assert os.listdir(store.root / "tmp") == []


def test_a_living_writer_may_be_silent_for_weeks(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.writer() as writer:
        digest = writer.put_bytes(b"slowly")
        writer.flush()
        old = time.time() - 30 * 24 * 3600
        for path in (store.root / "tmp").iterdir():
            os.utime(path, (old, old))
        assert Store(store.root).recover() == []
        assert len(os.listdir(store.root / "tmp")) == 2
    assert store.read(digest) == b"slowly"


COMMITS = """
import sys; from pathlib import Path
from gitml.store.store import Store
store = Store(Path(sys.argv[1]))
for number in range(1000):
    with store.writer() as writer:
        writer.put_bytes(b"%d;" % number * 100)
        writer.put_file(Path(sys.argv[2]))
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(6))
def test_whatever_was_committed_survives_a_kill(tmp_path: Path, seed: int) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(LARGE))
    store = Store(tmp_path / "store")
    argv = [sys.executable, "-c", COMMITS, str(store.root), str(large)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.1))
        child.kill()
        lines = [first, *child.stdout.read().splitlines()]
    committed = [int(line) for line in lines if line.strip()]
    for number in committed:
        assert store.read(hash_bytes(b"%d;" % number * 100))
    assert store.read(hash_bytes(large.read_bytes())) == large.read_bytes()
    store.recover()
    assert os.listdir(store.root / "tmp") == []
    assert list(store.check()) == []


SHARES = """
import sys; from pathlib import Path
from gitml.store.store import Store
store = Store(Path(sys.argv[1]))
sys.stdin.read(1)
for part in range(3):
    with store.writer() as writer:
        for number in range(40):
            writer.put_bytes(b"shared %d" % (part * 40 + number) * 50)
        writer.put_bytes(sys.argv[2].encode())
        writer.put_file(Path(sys.argv[3]))
    store.recover()
"""


def test_sixteen_processes_may_write_the_same_at_once(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(LARGE))
    store = Store(tmp_path / "store")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SHARES, str(store.root), f"own {number}", str(large)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(16)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"g")
        child.stdin.flush()
    outcomes = [(child.communicate(timeout=60)[1].decode(), child.returncode) for child in children]
    assert outcomes == [("", 0)] * 16
    for number in range(120):
        assert store.read(hash_bytes(b"shared %d" % number * 50))
    for number in range(16):
        assert store.read(hash_bytes(b"own %d" % number))
    assert list(store.check()) == []
    assert os.listdir(store.root / "tmp") == []


LIMITED = """
import resource, signal, sys; from pathlib import Path
from gitml.errors import StorageError
from gitml.store.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
store = Store(Path(sys.argv[1]))
try:
    with store.writer() as writer:
        for number in range(400):
            writer.put_bytes(number.to_bytes(2, "big") * 2000 if sys.argv[2] == "dull"
                             else __import__("os").urandom(4000))
        if sys.argv[2] == "file":
            writer.put_file(Path(sys.argv[3]))
except StorageError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.parametrize("kind", ["noise", "file"])
def test_a_limit_of_file_size_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    with store.writer() as writer:
        before = writer.put_bytes(b"before")
    argv = [sys.executable, "-c", LIMITED, str(store.root), kind, str(tmp_path / "large")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {store.root}")
    assert "ulimit -f" in done.stdout
    assert os.listdir(store.root / "tmp") == []
    assert [one.digest for one in Store(store.root).objects()] == [before]
    assert list(store.check()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount")
    yield folder
    # Lazily: an index may still be mapped by a traceback that pytest keeps.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_next_write_works(small_disk: Path, tmp_path: Path) -> None:
    store = Store(small_disk / "store")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(LARGE))
    with store.writer() as writer:
        before = writer.put_bytes(b"before")
    with pytest.raises(StorageError, match="cannot write") as caught, store.writer() as writer:
        writer.put_file(large)
    assert "df -h" in (caught.value.hint or "")
    assert caught.value.causes() == ["no space left on device"]
    with pytest.raises(StorageError, match="cannot write"), store.writer() as writer:
        for _ in range(500):
            writer.put_bytes(os.urandom(4000))
    assert os.listdir(store.root / "tmp") == []
    with pytest.raises(StorageError), store.writer() as writer:
        with pytest.raises(StorageError):
            for _ in range(500):
                writer.put_bytes(os.urandom(4000))
        writer.commit()  # a broken pack must not become visible, even for who goes on
    with store.writer() as writer:
        after = writer.put_bytes(b"after")
    assert {one.digest for one in store.objects()} == {before, after}
    assert list(store.check()) == []
    elsewhere = Store(tmp_path / "elsewhere")
    with elsewhere.writer() as writer:
        digest, _ = writer.put_file(large)
    with pytest.raises(StorageError, match="cannot write"):
        elsewhere.copy_to(digest, small_disk / "out")
    assert os.listdir(small_disk) == ["store"]


def test_the_next_writer_goes_on_where_a_killed_one_stopped(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    argv = [sys.executable, "-c", WRITES, str(store.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        flushed = int(child.stdout.readline())
        child.kill()
    assert os.listdir(store.root / "tmp")
    with store.writer() as writer:
        assert all(writer.has(hash_bytes(b"%d," % number * 2000)) for number in range(flushed))
    assert os.listdir(store.root / "tmp") == []
    (index,) = store.root.glob("packs/*.idx")
    index.unlink()
    Store(store.root).writer()
    assert index.exists()


def test_a_store_that_cannot_be_tidied_can_still_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.layout.prepare()
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    (store.root / f"tmp/{dead}+00000000.pack").mkdir()
    with store.writer() as writer:
        digest = writer.put_bytes(b"after")
    assert store.read(digest) == b"after"
