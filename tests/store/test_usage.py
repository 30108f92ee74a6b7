"""What takes the space: every byte counted once, shared ones told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.store import tree as trees
from gitml.store.gc import GRACE, collect
from gitml.store.store import LARGE, Store, Tree, TreeEntry
from gitml.store.usage import Usage, usage


def du(store: Store) -> int:
    """What plain ``du`` says of the store, in bytes."""
    done = subprocess.run(
        ["du", "-sb", str(store.root)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])


def adds_up(store: Store, found: Usage) -> None:
    assert found.total == du(store)
    parts = (found.live, found.unreferenced, found.duplicates, found.condemned, found.temporary)
    assert sum(parts) + found.overhead == found.total
    assert found.overhead >= 0
    for group in found.groups:
        assert group.stored <= found.live + found.unreferenced


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, *blobs: bytes) -> list[Digest]:
    with store.writer() as writer:
        return [writer.put_bytes(one) for one in blobs]


def test_an_empty_store(store: Store) -> None:
    found = usage(store, set(), {})
    assert (found.total, found.live, found.overhead) == (0, 0, 0)


def test_the_sums_are_those_of_du(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(LARGE))
    one, two = put(store, b"dull " * 4000, os.urandom(3000))
    (dead,) = put(store, os.urandom(7000))
    with store.writer() as writer:
        loose = writer.put_file(large)[0]
        entries = [
            TreeEntry("a", trees.REGULAR, 20_000, one),
            TreeEntry("b", trees.REGULAR, LARGE, loose),
        ]
        folder = writer.put_tree(Tree.of(entries))
    live = {d.raw for d in (one, two, loose, folder)}
    names = {"pointer": {"folder": {folder}, "two": {two}, "both": {one, two}}}
    found = usage(Store(store.root), live, names)
    adds_up(store, found)
    assert found.unreferenced == 7000 + 96 + 96 + 56
    assert found.live > LARGE + 3000
    shares = {share.name: share for share in found.groups[0].shares}
    assert shares["folder"].size == 20_000 + LARGE
    assert shares["folder"].own >= LARGE
    assert shares["two"].own == 0
    assert shares["two"].shared == 3000 + 96 + 96 + 56
    assert shares["both"].own == 0
    assert found.savings.plain == 20_000 + LARGE + 3000
    assert found.savings.compression > 19_000
    collect(store, lambda: live, grace=GRACE, now=time.time() + GRACE + 5)
    found = usage(Store(store.root), live, names)
    adds_up(store, found)
    assert found.unreferenced == 0
    assert found.condemned > 7000
    writer = store.writer()
    writer.put_bytes(os.urandom(9000))
    writer.flush()
    found = usage(Store(store.root), live, names)
    adds_up(store, found)
    assert found.temporary > 9000
    writer.abort()
    assert dead.raw not in live


def test_what_two_names_need_is_counted_once(store: Store) -> None:
    a, b, c = put(store, os.urandom(1000), os.urandom(2000), os.urandom(4000))
    names = {"version": {"m@v1": {a, b}, "m@v2": {b, c}}}
    found = usage(store, {a.raw, b.raw, c.raw}, names)
    (group,) = found.groups
    entry = 96 + 96 + 56
    assert [(s.name, s.size, s.own, s.shared) for s in group.shares] == [
        ("m@v1", 3000, 1000 + entry, 2000 + entry),
        ("m@v2", 6000, 4000 + entry, 2000 + entry),
    ]
    assert group.shared == 2000 + entry
    assert group.stored == found.live == 7000 + 3 * entry


def test_duplicates_and_shared_members(store: Store) -> None:
    (blob,) = put(store, os.urandom(5000))
    hidden = store.root.parent / "hidden"
    packs = list(store.layout.packs.iterdir())
    hidden.mkdir()
    for path in packs:
        path.rename(hidden / path.name)
    again = Store(store.root)
    data = Store(hidden).root
    raw = next(path for path in data.iterdir() if path.suffix == ".pack").read_bytes()[16:]
    with again.writer() as writer:
        writer.put_bytes(b"first")
        assert writer.put_bytes(raw[96 : 96 + 5000]) == blob
    for path in hidden.iterdir():
        path.rename(store.layout.packs / path.name)
    found = usage(Store(store.root), {blob.raw}, {})
    adds_up(store, found)
    assert found.duplicates == 5000 + 96 + 96 + 56


def test_versions_of_a_folder_are_saved_by_deduplication(store: Store) -> None:
    blobs = [os.urandom(2000) for _ in range(10)]
    digests = put(store, *blobs)
    versions = []
    with store.writer() as writer:
        for number in range(5):
            entries = [
                TreeEntry(f"{n}", trees.REGULAR, 2000, one)
                for n, one in enumerate(digests)
                if n != number
            ]
            versions.append(writer.put_tree(Tree.of(entries)))
    live = {one.raw for one in (*digests, *versions)}
    found = usage(store, live, {})
    assert found.savings.plain == 5 * 9 * 2000
    assert found.savings.dedup == 5 * 9 * 2000 - 10 * 2000
    assert found.savings.stored == 10 * 2000
