"""Files that share their blocks with the store: clones, hard links, and the seal over them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import ConfigError, CorruptData, StorageError
from gitml.store import links
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes, hash_file
from gitml.store.directory import list_directory
from gitml.store.links import is_sealed, link_mode, seal_of
from gitml.store.store import LARGE, Store, Tree, TreeEntry

NOISE = os.urandom(LARGE)
LINK_FROM = links.LINK_FROM
pytestmark = pytest.mark.usefixtures("small_files_are_linked")


def linked(path: Path) -> Store:
    return Store(path / "store", link="hardlink")


def put(store: Store, path: Path, data: bytes | None = None) -> Digest:
    if data is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with store.writer() as writer:
        return writer.put_file(path)[0]


def restore(store: Store, digest: Digest, path: Path, mode: int = trees.REGULAR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = store.info(digest).size
    store.restore(path.parent, [TreeEntry(path.name, mode, size, digest)])
    return path


def edit_in_place(path: Path, data: bytes = b"!") -> None:
    """As root can, or an editor that does not mind the mode."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(0o444)


def test_the_words_of_the_setting() -> None:
    assert [link_mode(word) for word in (None, "auto", "hardlink", "copy")] == [
        "auto",
        "auto",
        "hardlink",
        "copy",
    ]
    with pytest.raises(ConfigError, match=r"gitml\.link is `symlink`"):
        link_mode("symlink")


@pytest.mark.parametrize("data", [b"small", NOISE, b"text" * LARGE], ids=["small", "noise", "text"])
def test_a_hard_linked_file_is_the_stores(tmp_path: Path, data: bytes) -> None:
    store = linked(tmp_path)
    before = None
    path = tmp_path / "file"
    path.write_bytes(data)
    before = path.stat()
    digest = put(store, path)
    loose = store.layout.loose(digest)
    now = path.stat()
    assert loose.samefile(path)
    assert (now.st_nlink, now.st_mode & 0o777, now.st_size) == (2, 0o444, len(data))
    assert now.st_mtime_ns // 10**9 == before.st_mtime_ns // 10**9
    assert now.st_mtime_ns % 10**9 == seal_of(digest)
    assert is_sealed(now, digest)
    assert restore(store, digest, tmp_path / "out/file").samefile(path)
    assert list(store.check()) == []
    assert os.listdir(store.root / "tmp") == []
    assert put(store, path) == digest
    assert Store(store.root).read(digest) == data


def test_small_files_are_packed_also_by_who_wants_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LINK_FROM", LINK_FROM)
    store = linked(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/small").write_bytes(NOISE[: LINK_FROM - 1])
    (tmp_path / "in/large").write_bytes(NOISE[:LINK_FROM])
    with store.writer() as writer:
        members = writer.put_members(tmp_path / "in", list_directory(tmp_path / "in").names)
        tree = writer.put_tree(members.tree())
    store.copy_to(tree, tmp_path / "out")
    for name, names in (("small", 1), ("large", 3)):
        assert (tmp_path / "in" / name).stat().st_nlink == names
        assert (tmp_path / "out" / name).stat().st_nlink == names
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


def test_members_have_the_stats_that_commit_left(tmp_path: Path) -> None:
    store = linked(tmp_path)
    root = tmp_path / "in"
    for number in range(600):
        (root / f"{number % 5}").mkdir(parents=True, exist_ok=True)
        (root / f"{number % 5}/{number}").write_bytes(b"%d" % (number // 2))
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("empty")
    with store.writer() as writer:
        members = writer.put_members(root, list_directory(root).names)
        tree = writer.put_tree(members.tree())
    for entry, status in members:
        now = (root / entry.path).lstat()
        assert (status[:7], status.st_mtime_ns, status.st_ctime_ns) == (
            now[:7],
            now.st_mtime_ns,
            now.st_ctime_ns,
        )
    store.copy_to(tree, tmp_path / "out")
    for entry, _ in members:
        assert (tmp_path / "out" / entry.path).read_bytes() == (root / entry.path).read_bytes()
    names = {loose.stat().st_nlink for _, loose in store.layout.loose_files()}
    assert names == {4}  # two equal files in the working tree, of which one is the store's; two out


def test_what_cannot_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = linked(tmp_path)
    twice = tmp_path / "twice"
    twice.write_bytes(b"has two names")
    os.link(twice, tmp_path / "other")
    (tmp_path / "name").symlink_to("plain")
    (tmp_path / "plain").write_bytes(b"by a symbolic link")
    (tmp_path / "empty").write_bytes(b"")
    modes = {}
    for name in ("twice", "name", "empty"):
        modes[name] = (tmp_path / name).stat()
        digest = put(store, tmp_path / name)
        assert store.read(digest) == (tmp_path / name).read_bytes()
        assert not store.layout.loose(digest).exists()
        assert (tmp_path / name).stat().st_mode == modes[name].st_mode
    run = tmp_path / "run"
    run.write_bytes(b"#!/bin/sh\n")
    run.chmod(0o755)
    digest = put(store, run)
    assert run.stat().st_mode & 0o777 == 0o555
    plain = restore(store, digest, tmp_path / "out/plain", trees.REGULAR)
    assert plain.stat().st_nlink == 1
    assert not plain.stat().st_mode & 0o111
    assert restore(store, digest, tmp_path / "out/run", trees.EXECUTABLE).samefile(run)
    monkeypatch.setattr(links, "_MOST_NAMES", 3)
    assert not restore(store, digest, tmp_path / "out/more", trees.EXECUTABLE).samefile(run)


def test_links_of_somebody_else_are_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = linked(tmp_path)
    digest = put(store, tmp_path / "file", b"mine")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    other = linked(tmp_path)
    assert not is_sealed((tmp_path / "file").stat(), digest)
    out = restore(other, digest, tmp_path / "out")
    assert out.read_bytes() == b"mine"
    assert out.stat().st_nlink == 1
    path = tmp_path / "theirs"
    path.write_bytes(b"of another")
    assert not other.layout.loose(put(other, path)).exists()


def test_restoring_over_a_link_to_the_same_file_leaves_no_second_name(tmp_path: Path) -> None:
    store = linked(tmp_path)
    digest = put(store, tmp_path / "work/file", b"data")
    restore(store, digest, tmp_path / "work/file")
    assert os.listdir(tmp_path / "work") == ["file"]
    assert (tmp_path / "work/file").stat().st_nlink == 2


@pytest.mark.parametrize("has_another_copy", [True, False])
def test_an_edit_in_place_is_never_delivered(tmp_path: Path, has_another_copy: bool) -> None:
    """Whoever uses the file next sees that the seal is broken."""
    if has_another_copy:
        with Store(tmp_path / "store").writer() as writer:
            writer.put_bytes(b"good data")
        (pack,) = (tmp_path / "store/packs").glob("*.pack")
        kept = {path.name: path.read_bytes() for path in (tmp_path / "store/packs").iterdir()}
        shutil.rmtree(pack.parent)
    store = linked(tmp_path)
    work = tmp_path / "work/file"
    digest = put(store, work, b"good data")
    if has_another_copy:
        for name, data in kept.items():
            (tmp_path / "store/packs" / name).write_bytes(data)
    edit_in_place(work)
    store = linked(tmp_path)
    if has_another_copy:
        assert restore(store, digest, tmp_path / "out/file").read_bytes() == b"good data"
    else:
        with pytest.raises(CorruptData, match="is damaged in"):
            restore(store, digest, tmp_path / "out/file")
        assert not (tmp_path / "out/file").exists()
        assert put(linked(tmp_path), tmp_path / "again", b"good data") == digest
        assert restore(linked(tmp_path), digest, tmp_path / "out/file").read_bytes() == b"good data"
    assert work.read_bytes() == b"!ood data"  # the edit is kept
    ((aside, _),) = store.layout.set_aside_files()
    assert digest.hex in aside.name
    assert aside.samefile(work)
    assert store.layout.loose(digest).exists() != has_another_copy


def test_adding_after_an_edit_in_place_stores_the_edit_and_heals(tmp_path: Path) -> None:
    store = linked(tmp_path)
    work = tmp_path / "work/file"
    digest = put(store, work, b"good data")
    edit_in_place(work)
    edited = put(linked(tmp_path), work)
    assert edited == hash_file(work)
    assert linked(tmp_path).read(edited) == b"!ood data"
    with pytest.raises(CorruptData):
        linked(tmp_path).read(digest)
    assert put(linked(tmp_path), tmp_path / "again", b"good data") == digest
    fresh = linked(tmp_path)
    assert fresh.read(digest) == b"good data"
    assert list(fresh.check()) == []
    assert work.read_bytes() == b"!ood data"


def test_a_broken_seal_over_good_bytes_is_set_again(tmp_path: Path) -> None:
    store = linked(tmp_path)
    work = tmp_path / "work/file"
    digest = put(store, work, b"good data")
    os.utime(work)
    work.chmod(0o644)
    assert restore(store, digest, tmp_path / "out").samefile(work)
    assert is_sealed(work.stat(), digest)
    assert work.stat().st_mode & 0o222 == 0


def test_a_file_that_changes_before_commit_is_not_taken(tmp_path: Path) -> None:
    store = linked(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(b"before")
    changed = pytest.raises(StorageError, match="file changed while it was read")
    with changed, store.writer() as writer:
        writer.put_file(path)
        path.write_bytes(b"behind")
    assert list(store.objects()) == []
    assert os.listdir(store.root / "tmp") == []
    assert path.read_bytes() == b"behind"
    assert path.stat().st_nlink == 1


def test_an_edit_behind_the_commit_does_not_become_the_stat_of_a_member(tmp_path: Path) -> None:
    store = linked(tmp_path)
    root = tmp_path / "in"
    root.mkdir()
    (root / "a").write_bytes(b"data")
    with store.writer() as writer:
        members = writer.put_members(root, [("a", trees.REGULAR)])
        seal = writer._store.links.seal

        def sealing(path: Path, digest: Digest) -> None:
            seal(path, digest)
            edit_in_place(root / "a")

        writer._store.links.seal = sealing  # type: ignore[method-assign]
    assert members[0].stat.st_mtime_ns != (root / "a").stat().st_mtime_ns


def test_without_the_setting_nothing_is_shared(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", link="copy")
    digest = put(store, tmp_path / "file", NOISE)
    assert (tmp_path / "file").stat().st_nlink == 1
    assert restore(store, digest, tmp_path / "out").stat().st_nlink == 1
    assert not (store.root / "reflink").exists()


@pytest.fixture(scope="module")
def cloning_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a file system that makes clones, in an image of its own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.xfs", "mount", "umount"))):
        pytest.skip("needs root and mkfs.xfs")
    base = tmp_path_factory.mktemp("clones")
    image, folder = base / "image", base / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    made = subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True)
    if made.returncode or mounted.returncode:
        pytest.skip(f"no XFS here: {(made.stderr + mounted.stderr).decode()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # an index may be mapped still


def used(folder: Path) -> int:
    os.sync()
    counts = os.statvfs(folder)
    return (counts.f_blocks - counts.f_bfree) * counts.f_frsize


def test_where_files_can_be_cloned_they_are(
    cloning_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LINK_FROM", LINK_FROM)
    base = cloning_folder / "auto"
    path = base / "file"
    base.mkdir()
    data = b"text and more" * (20 * LARGE // 13)
    path.write_bytes(data)
    before, room = path.stat(), used(base)
    store = Store(base / "store")
    digest = put(store, path)
    out = restore(store, digest, base / "out")
    assert used(base) - room < len(data) // 4
    assert (store.root / "reflink").read_text() == "yes\n"
    assert store.layout.loose(digest).read_bytes() == out.read_bytes() == data
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert (path.stat().st_mode, path.stat().st_nlink) == (before.st_mode, 1)
    assert is_sealed(store.layout.loose(digest).stat(), digest)
    assert out.stat().st_mode & 0o200
    edit_in_place(out)  # a clone is a file of its own
    assert Store(store.root).read(digest) == data
    small = put(store, base / "small", b"small")
    assert not store.layout.loose(small).exists()
    edit_in_place(store.layout.loose(digest))
    with pytest.raises(CorruptData):
        restore(Store(store.root), digest, base / "out2")
    assert not (base / "out2").exists()


def test_what_lies_elsewhere_is_copied(cloning_folder: Path, tmp_path: Path) -> None:
    base = cloning_folder / "elsewhere"
    base.mkdir()
    for link in ("auto", "hardlink"):
        store = Store(base / link, link=link)
        digest = put(store, tmp_path / link, NOISE)
        assert store.read(digest) == NOISE
        assert restore(store, digest, tmp_path / f"out-{link}").read_bytes() == NOISE
        assert restore(store, digest, base / f"out-{link}").read_bytes() == NOISE
        assert (tmp_path / link).stat().st_nlink == 1
        assert list(store.check()) == []


def test_a_folder_of_files_is_cloned_by_several_processes(cloning_folder: Path) -> None:
    base = cloning_folder / "many"
    (base / "in").mkdir(parents=True)
    for number in range(60):
        (base / f"in/{number}").write_bytes(b"%d" % number * 70_000)
    store = Store(base / "store")
    with store.writer() as writer:
        digest, _ = writer.put_directory(base / "in")
    assert len(list(store.layout.loose_files())) == 60
    store.copy_to(digest, base / "out")
    assert {path.name: path.read_bytes() for path in (base / "out").iterdir()} == {
        path.name: path.read_bytes() for path in (base / "in").iterdir()
    }


def test_the_memory_of_clones_is_asked_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(store, tmp_path / "file", NOISE)
    answer = (store.root / "reflink").read_text()
    (store.root / "reflink").chmod(0o644)
    (store.root / "reflink").write_text("no\n")
    assert answer in ("yes\n", "no\n")
    again = Store(store.root)
    put(again, tmp_path / "file", NOISE[1:])
    assert (store.root / "reflink").read_text() == "no\n"
    assert again.read(hash_bytes(NOISE[1:])) == NOISE[1:]


def test_the_seal_is_frozen() -> None:
    assert seal_of(hash_bytes(b"hello\n")) == int("8e4c7c1b", 16) % 999_999_999 + 1
    tree = Tree.of([])
    assert seal_of(tree.digest) > 0
