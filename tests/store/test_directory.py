"""Members and restoring: files of a folder, many at once, to the store and back."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IFCHR, S_IFSOCK

import pytest

from gitml.errors import CorruptData, MissingBytes, StorageError, UsageError
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.directory import list_directory
from gitml.store.store import LARGE, Store, Tree, TreeEntry

FILES = {"a": b"a", "empty": b"", "d/run": b"#!", "d/e/Größe": b"big" * 1000, "z": b"z" * LARGE}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "d/run").chmod(0o755)
    os.symlink("../a", root / "d/link")
    return root


def put(store: Store, folder: Path) -> Tree:
    with store.writer() as writer:
        return Tree.of(m.entry for m in writer.put_members(folder, list_directory(folder).names))


def looks(root: Path) -> dict[str, object]:
    return {
        str(one.relative_to(root)): (
            os.readlink(one) if one.is_symlink() else (one.read_bytes(), one.stat().st_mode)
        )
        for one in root.rglob("*")
        if one.is_symlink() or not one.is_dir()
    }


def test_members_have_entries_and_stats(store: Store, folder: Path) -> None:
    names = list_directory(folder).names
    with store.writer() as writer:
        members = writer.put_members(folder, names)
    assert [(m.entry.path, m.entry.mode == trees.SYMLINK) for m in members] == [
        (name, mode == trees.SYMLINK) for name, mode in names
    ]
    for entry, stat in members:
        path = folder / entry.path
        if entry.mode != trees.SYMLINK:
            assert (entry.size, entry.digest) == (stat.st_size, hash_bytes(path.read_bytes()))
            assert store.read(entry.digest) == path.read_bytes()
        now = path.lstat()
        assert (stat[:7], stat.st_mtime_ns, stat.st_ctime_ns) == (
            now[:7],
            now.st_mtime_ns,
            now.st_ctime_ns,
        )
    assert list(store.check()) == []


def test_entries_come_back_below_a_folder_in_use(store: Store, folder: Path) -> None:
    tree = put(store, folder)
    out = folder.parent / "out"
    (out / "d").mkdir(parents=True)
    (out / "mine").write_bytes(b"mine")
    (out / "a").write_bytes(b"another a, and longer")
    (out / "d/run").symlink_to("../mine")
    stats = store.restore(out, tree.entries)
    assert [stat == (out / e.path).lstat() for e, stat in zip(tree.entries, stats, strict=True)]
    assert looks(out) == looks(folder) | {"mine": (b"mine", (out / "mine").stat().st_mode)}
    (out / "a").unlink()
    store.restore(out, [entry for entry in tree.entries if entry.path == "a"])
    assert (out / "a").read_bytes() == b"a"


@pytest.mark.parametrize("what", ["link", "file", "folder", "dangling"])
def test_what_stands_in_the_way_is_named_and_left(store: Store, folder: Path, what: str) -> None:
    tree = put(store, folder)
    out, elsewhere = folder.parent / "out", folder.parent / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    match what:
        case "link":
            (out / "d").symlink_to(elsewhere)
        case "dangling":
            (out / "d").symlink_to("nowhere")
        case "file":
            (out / "d").write_bytes(b"mine")
        case "folder":
            (out / "d/run/mine").mkdir(parents=True)
    before = looks(out)
    with pytest.raises(UsageError, match=r"out/d(/run)? is a (symbolic link|file|folder)"):
        store.restore(out, [entry for entry in tree.entries if entry.path == "d/run"])
    assert looks(out) == before
    assert os.listdir(elsewhere) == []
    assert [name for _, _, files in os.walk(out) for name in files if ".tmp" in name] == []


def test_nothing_that_is_wrong_is_restored(store: Store, folder: Path) -> None:
    with store.writer() as writer:
        blob, outside = writer.put_bytes(b"data"), writer.put_bytes(b"../../outside")
    out = folder.parent / "out"
    out.mkdir()
    (out / "f").write_bytes(b"before")
    for entry, error in (
        (TreeEntry("f", trees.REGULAR, 5, blob), CorruptData),
        (TreeEntry("f", trees.SYMLINK, 13, outside), CorruptData),
        (TreeEntry("f", trees.REGULAR, 4, hash_bytes(b"absent")), MissingBytes),
        (TreeEntry("../f", trees.REGULAR, 4, blob), CorruptData),
    ):
        with pytest.raises(error):
            store.restore(out, [entry])
        assert looks(out) == {"f": (b"before", (out / "f").stat().st_mode)}
    with pytest.raises(StorageError):
        store.restore(folder.parent / "absent", [TreeEntry("f", trees.REGULAR, 4, blob)])


ODD = (b"two\nlines", b"caf\xe9", b"\x01\x7f", b"a b", b"-x", b"n" * 255, "é".encode() * 127)


@pytest.mark.parametrize("many", [False, True])
def test_every_name_and_depth_that_a_system_allows(
    store: Store, tmp_path: Path, many: bool
) -> None:
    root = tmp_path / "in"
    for folder in (b"", b"sub\nfolder/", b"d/" * 300):
        (root / os.fsdecode(folder)).mkdir(parents=True, exist_ok=True)
        for name in ODD:
            (root / os.fsdecode(folder + name)).write_bytes(b"content of " + name)
    os.symlink("sub\nfolder/two\nlines", root / "a link\nof two lines")
    for number in range(600 if many else 0):  # then several processes share the work
        (root / f"many\n{number}").write_bytes(b"%d" % number)
    with store.writer() as writer:
        digest, _ = writer.put_directory(root)
    Store(store.root).copy_to(digest, tmp_path / "out")
    assert looks(tmp_path / "out") == looks(root)
    assert list(Store(store.root).check()) == []


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_and_nothing_is_kept(
    store: Store, folder: Path, kind: str
) -> None:
    path = folder / "d/e/other"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, S_IFSOCK | 0o600)
    else:
        try:
            os.mknod(path, S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    with pytest.raises(UsageError, match=rf"other: it is a .*{kind}"), store.writer() as writer:
        writer.put_directory(folder)
    with pytest.raises(UsageError), store.writer() as writer:
        writer.put_file(path)
    assert list(Store(store.root).objects()) == []
