"""Trees that want to write where they must not, and a folder that becomes a link meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.errors import CorruptData, GitmlError, StorageError, UsageError
from gitml.store import tree as trees
from gitml.store.store import Store
from gitml.store.tree import Tree, TreeEntry

PATHS = json.loads((Path(__file__).parents[1] / "corpora/paths.json").read_text())
LINKS = [
    *(
        "/etc/passwd",
        "..",
        "../x",
        "../../x",
        "a/../../x",
        "a/../../../x",
        "",
        ".git",
        ".git/hooks",
    ),
    *("C:\\x", "\\\\server\\share", "x/../..", "./../../x", "..\\..\\x", "\0", "a\0b"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A folder to write to; whatever happens, nothing beside it changes."""
    outside = tmp_path / "around"
    inside = outside / "target"
    inside.mkdir(parents=True)
    (outside / "precious").write_text("as it was")
    yield inside
    assert sorted(os.listdir(outside)) == ["precious", "target"]
    assert (outside / "precious").read_text() == "as it was"


def smuggled(store: Store, monkeypatch: pytest.MonkeyPatch, entries: list[TreeEntry]) -> Tree:
    """A tree that nobody judged, in the store under its true digest: as an attacker makes it."""
    with monkeypatch.context() as patch:
        for name in ("judge_relative_path", "judge_relative_paths"):
            if hasattr(trees, name):
                patch.setattr(trees, name, lambda raws: [os.fsdecode(raw) for raw in raws])
        tree = Tree.of(entries)
        with store.writer() as writer:
            writer.put_tree(tree)
    return tree


def refuses(store: Store, tree: Tree, target: Path, entries: list[TreeEntry]) -> None:
    for act in (
        lambda: store.read_tree(tree.digest),
        lambda: store.copy_to(tree.digest, target / "new"),
        lambda: store.restore(target, entries),
    ):
        with pytest.raises((CorruptData, StorageError)):
            act()
    assert os.listdir(target) == []


def entry(store: Store, path: str, mode: int = trees.REGULAR, data: bytes = b"evil") -> TreeEntry:
    with store.writer() as writer:
        return TreeEntry(path, mode, len(data), writer.put_bytes(data))


@pytest.mark.parametrize("number", range(len(PATHS["refused"])))
def test_a_hostile_path_in_a_tree(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    entries = [entry(store, "good"), entry(store, PATHS["refused"][number])]
    refuses(store, smuggled(store, monkeypatch, entries), target, entries)


@pytest.mark.parametrize("pair", PATHS["twins"], ids=ascii)
def test_twins_in_a_tree(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch, pair: list[str]
) -> None:
    entries = [entry(store, path) for path in pair]
    if pair[0] == pair[1]:  # no digest can be made of that
        with pytest.raises(CorruptData):
            Tree.of(entries)
        return
    refuses(store, smuggled(store, monkeypatch, entries), target, entries)


def test_what_is_allowed_is_written_where_it_says(store: Store, target: Path) -> None:
    for number, path in enumerate(PATHS["allowed"]):
        entries = [entry(store, path)]
        with store.writer() as writer:
            digest = writer.put_tree(Tree.of(entries))
        folders = [target / f"copied {number}", target / f"restored {number}"]
        store.copy_to(digest, folders[0])
        folders[1].mkdir()
        store.restore(folders[1], entries)
        for folder in folders:
            assert (folder / path).read_bytes() == b"evil"


@pytest.mark.parametrize("link", LINKS, ids=ascii)
def test_a_link_that_leads_out(store: Store, target: Path, link: str) -> None:
    entries = [entry(store, "link", trees.SYMLINK, link.encode())]
    with store.writer() as writer:
        digest = writer.put_tree(Tree.of(entries))
    acts = (
        lambda: store.copy_to(digest, target / "new"),
        lambda: store.restore(target, entries),
    )
    for act in acts:
        with pytest.raises(CorruptData):
            act()
    assert [name for _, _, names in os.walk(target) for name in names] == []


def test_a_file_below_a_link_of_the_same_tree(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(store, "a", trees.SYMLINK, b"b"), entry(store, "a/x")]
    refuses(store, smuggled(store, monkeypatch, entries), target, entries)


def test_a_link_in_the_way_is_never_followed(store: Store, target: Path) -> None:
    outside = target.parent
    (target / "out").symlink_to(outside)
    (target / "file").symlink_to(outside / "precious")
    with pytest.raises(UsageError, match="symbolic link"):
        store.restore(target, [entry(store, "out/precious")])
    (stat,) = store.restore(target, [entry(store, "file")])
    assert stat.st_size == 4
    assert not (target / "file").is_symlink()


# A race


SWAPS = """
import ctypes, os, sys
folder, outside = map(os.fsencode, sys.argv[1:])
link = folder + b".link"
os.symlink(outside, link)
exchange = ctypes.CDLL(None, use_errno=True).renameat2
here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
print(exchange(here, folder, here, link, both), flush=True)
while exchange(here, folder, here, link, both) == 0:
    pass
"""


@contextlib.contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """Another process makes a folder a link to ``outside`` and a folder again, all the time."""
    argv = [sys.executable, "-c", SWAPS, str(folder), str(outside)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"0\n":
            process.kill()
            pytest.skip("this file system cannot exchange two names")
        try:
            yield
            assert process.poll() is None
        finally:
            process.kill()


def race(root: Path, write: Callable[[], object], seconds: float, outside: Path) -> tuple[int, int]:
    """Write again and again below a folder that is swapped; how often it went well and not."""
    written = refused = 0
    began = time.monotonic()
    with swapping(root / "a", outside):
        while not os.listdir(outside):
            try:
                write()
                written += 1
            except (GitmlError, OSError):
                refused += 1
            took = time.monotonic() - began
            if took > 30 or (took > seconds and written and refused):
                break
    return written, refused


@pytest.fixture
def arena(tmp_path: Path) -> tuple[Path, Path]:
    """A folder to write to, and one beside it that must stay empty."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a/b").mkdir(parents=True)
    outside.mkdir()
    return root, outside


def test_the_race_is_real(arena: tuple[Path, Path]) -> None:
    """Who just opens the path writes outside soon."""
    root, outside = arena
    race(root, lambda: (root / "a/x").write_bytes(b"evil"), 30, outside)
    assert os.listdir(outside) == ["x"]


def run_race(store: Store, arena: tuple[Path, Path], seconds: float) -> None:
    root, outside = arena
    entries = [entry(store, "a/b/x"), entry(store, "a/x"), entry(store, "a/new/y")]
    written, refused = race(root, lambda: store.restore(root, entries), seconds, outside)
    assert os.listdir(outside) == []
    assert written
    assert refused


def test_a_folder_that_becomes_a_link_is_not_written_through(
    store: Store, arena: tuple[Path, Path]
) -> None:
    run_race(store, arena, 1)


@pytest.mark.sweep
def test_a_folder_that_becomes_a_link_for_a_minute(store: Store, arena: tuple[Path, Path]) -> None:
    run_race(store, arena, 60)
