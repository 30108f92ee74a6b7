from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import StorageError
from gitml.git.scan import PrivateIndex
from gitml.store.digest import hash_bytes
from gitml.workspace import statcache, survey
from gitml.workspace.statcache import Block, Held, StatCache, packed_stat
from tests.workspace.conftest import Clone, later

POINTER = Pointer(Digest("ab" * 32), "tree", 0)
PATHS = st.lists(
    st.binary(min_size=1, max_size=5000).filter(lambda one: b"\0" not in one), unique=True
)


def rows(paths: list[bytes]) -> list[tuple[bytes, int, bytes, bytes]]:
    return [
        (one, statcache.REGULAR, bytes([n % 256]) * 32, struct.pack(">10I", *[n] * 6, 0, 3, 4, n))
        for n, one in enumerate(paths)
    ]


@given(PATHS)
def test_entries_come_back_in_the_order_of_their_bytes(paths: list[bytes]) -> None:
    found = list(Block.of(rows(paths)).rows())
    assert [os.fsencode(one.path) for one in found] == sorted(paths)
    assert {os.fsencode(one.path): one.id for one in found} == {
        path: digest[:20] for path, _, digest, _ in rows(paths)
    }


def test_a_cache_survives_being_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "index"
    held = Held("data", POINTER)
    StatCache.read(path).saved({"data": (held, Block.of(rows([b"data/a", b"data/b"])))})
    other = Held("data.csv", POINTER)
    StatCache.read(path).saved({"data.csv": (other, Block.of(rows([b"data.csv"])))})
    cache = StatCache.read(path)
    assert list(cache.held) == ["data.csv", "data"]  # `.` comes before `/`
    assert cache.held["data"].pointer == POINTER
    assert [one.path for one in cache.entries("data")] == ["data/a", "data/b"]
    cache.saved({"data": None})
    assert list(StatCache.read(path).held) == ["data.csv"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "absent", "folder"])
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index"
    StatCache.read(path).saved({"data": (Held("data", POINTER), Block.of(rows([b"data/a"])))})
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flip":
        data[30] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "folder":
        path.mkdir()
    assert StatCache.read(path).held == {}


def test_a_cache_that_cannot_be_read_is_not_taken_for_an_absent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that believed it would leave what has to go, and never remove it."""
    path = tmp_path / "index"
    StatCache.read(path).saved({"data": (Held("data", POINTER), Block.of(rows([b"data/a"])))})
    failure = OSError(errno.EIO, "input/output error")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(failure))
    with pytest.raises(StorageError, match="cannot read"):
        StatCache.read(path)


@pytest.mark.parametrize("size", [0, 1, (4 << 30) - 1, 4 << 30, (8 << 30) + 7])
def test_git_reads_what_we_write_whatever_the_size(tmp_path: Path, size: int) -> None:
    """A size beyond 32 bits is cut; git reports 4 GiB as changed, and our own look says no."""
    folder, root = tmp_path / "stat", tmp_path / "root"
    root.mkdir()
    with (root / "big").open("wb") as file:
        file.truncate(size)
    os.utime(root / "big", (1e9, 1e9))
    now = (root / "big").lstat()
    statcache.prepare(folder)
    looked = now.st_ctime_ns + 2_000_000_000
    digest = hash_bytes(b"") if size == 0 else Digest("cd" * 32)
    packed = packed_stat(now, looked, looked)
    block = Block.of([(b"big", statcache.REGULAR, digest.raw, packed)])
    cache = StatCache.read(folder / "index")
    cache.saved({"big": (Held("big", Pointer(digest, "blob", size)), block)})
    seen = PrivateIndex(folder, root).scan([]).seen()
    assert seen.reported == (("big",) if size == 4 << 30 else ())
    (entry,) = StatCache.read(folder / "index").entries("big")
    assert entry.is_unchanged(now)
    assert entry.id == digest.raw[:20]
    with (root / "big").open("ab") as file:
        file.write(b"x")
    assert not entry.is_unchanged((root / "big").lstat())
    assert PrivateIndex(folder, root).scan([]).seen().reported == ("big",)


def test_a_change_within_the_second_of_the_look_is_found(clone: Clone) -> None:
    """git compares seconds: same second, same size, same inode would pass for unchanged."""
    clone.write("data.csv", b"aaaa")
    clone.add("data.csv")
    (clone.path / "data.csv").write_bytes(b"bbbb")
    assert clone.differing() == {"data.csv": "M"}
    (clone.path / "data.csv").write_bytes(b"aaaa")
    assert clone.differing() == {}


def test_a_change_within_the_tick_of_the_reading_is_found(tmp_path: Path) -> None:
    """No stat can tell it: an entry that was read so soon after its last change is hashed again."""
    file = tmp_path / "f"
    file.write_bytes(b"aaaa")
    found = file.lstat()
    hot = packed_stat(found, found.st_mtime_ns + 10_000_000, found.st_mtime_ns + 10_000_000)
    entry = next(Block.of([(b"f", statcache.REGULAR, bytes(32), hot)]).rows())
    assert not entry.is_unchanged(found)
    recent = packed_stat(found, found.st_mtime_ns + 30_000_000, found.st_mtime_ns + 30_000_000)
    entry = next(Block.of([(b"f", statcache.REGULAR, bytes(32), recent)]).rows())
    assert entry.is_unchanged(found)


def test_an_older_time_set_back_is_found(clone: Clone) -> None:
    """Tools that keep times (rsync -t, tar) change a file without changing its mtime."""
    file = clone.write("data.csv", b"aaaa")
    os.utime(file, (1e9, 1e9))
    clone.add("data.csv")
    file.write_bytes(b"bbbb")
    os.utime(file, (1e9, 1e9))
    assert clone.differing() == {"data.csv": "M"}


def test_what_proved_unchanged_is_not_reported_by_git_again(clone: Clone) -> None:
    ahead = time.time() + 1  # so that the second in which they are looked at is not a later one
    for n in range(5):
        os.utime(clone.write(f"data/{n}", f"{n}"), (ahead, ahead))
    clone.add("data")
    time.sleep(max(0, ahead - time.time()))
    later()
    tree = clone.repo.workspace
    assert len(tree.index.scan(["data"]).seen().reported) == 5
    assert clone.differing() == {}
    assert tree.index.scan(["data"]).seen().reported == ()


def test_a_file_of_another_size_is_not_read_for_status(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grown", "other"):
        clone.write(f"data/{name}", "same size")
    clone.add("data")
    clone.write("data/grown", "another size")
    clone.write("data/other", "SAME SIZE")
    read: list[str] = []
    monkeypatch.setattr(
        "gitml.workspace.survey.hash_member",
        lambda path, look=survey.hash_member: (read.append(path.name), look(path))[1],
    )
    assert clone.differing() == {"data/grown": "M", "data/other": "M"}
    assert read == ["other"]


def test_nobodys_settings_count(clone: Clone) -> None:
    file = clone.write("data/a", "a")
    clone.write("data/.gitattributes", "* text=auto filter=evil\n")
    clone.add("data")
    clone.write(".git/info/attributes", "* filter=evil\n")
    clone.git("config", "--global", "filter.evil.clean", f"touch {clone.path}/evil; cat")
    clone.git("config", "--global", "core.fileMode", "false")
    clone.git("config", "--global", "core.ignoreStat", "true")
    assert clone.differing() == {}
    file.chmod(0o755)
    assert clone.differing() == {"data/a": "M"}
    clone.write("data/a", "b")
    assert clone.differing() == {"data/a": "M"}
    assert not (clone.path / "evil").exists()


@pytest.mark.parametrize("part", ["HEAD", "config", "objects", "refs"])
def test_a_part_that_is_lost_or_damaged_is_made_again(clone: Clone, part: str) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    lost = clone.path / ".git/gitml/stat" / part
    if lost.is_dir():
        lost.rmdir()
    else:
        lost.write_text("junk\n")
    assert clone.differing() == {}
    clone.write("data/a", "b")
    assert clone.differing() == {"data/a": "M"}
