"""Maintenance: the same bytes in less room, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import codec, maintenance
from gitml.store.digest import hash_bytes
from gitml.store.maintenance import Maintenance
from gitml.store.store import LARGE, Store
from tests.store.test_delta import LINES, TABLE, edited_evenly

EDITED = edited_evenly(LINES)
AGAIN = edited_evenly(EDITED.splitlines(keepends=True))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, *contents: bytes) -> list[Digest]:
    """Store each by itself, as versions are, through a file."""
    path = store.root.parent / "file"
    digests = []
    for data in contents:
        path.write_bytes(data)
        with store.writer() as writer:
            digests.append(writer.put_file(path)[0])
    return digests


def size_of(store: Store) -> int:
    return sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())


def check(store: Store, *contents: bytes) -> None:
    fresh = Store(store.root)
    for data in contents:
        assert fresh.read(hash_bytes(data)) == data
    assert list(fresh.check()) == []


def successions(digests: list[Digest]) -> list[tuple[Digest, Digest]]:
    return list(pairwise(digests))


def test_a_version_edited_all_over_becomes_differences(store: Store) -> None:
    digests = put(store, TABLE)
    first = size_of(store)
    digests += put(store, EDITED)
    assert size_of(store) > 1.8 * first
    before = size_of(store)
    planned = store.maintain(successions(digests), dry_run=True)
    assert size_of(store) == before
    done = store.maintain(successions(digests))
    assert (done.deltas, done.packed, done.merged, done.waiting) == (planned.deltas, 0, 0, 0)
    assert abs(done.after - planned.after) < 5_000
    assert before - size_of(store) == done.before - done.after
    assert size_of(store) < 1.12 * first
    check(store, TABLE, EDITED)
    assert Store(store.root).maintain(successions(digests)) == Maintenance()


def test_a_chain_of_versions_is_one_difference_deep(store: Store) -> None:
    digests = put(store, TABLE, EDITED)
    store.maintain(successions(digests))
    digests += put(store, AGAIN)
    store.maintain(successions(digests))
    check(store, TABLE, EDITED, AGAIN)
    rows = {raw: row for pack in store.packs() for raw, row in pack.tables.chunks()}
    bases = {base for pack in store.packs() for base in pack.bases()}
    assert bases
    assert all(rows[base].codec != codec.DELTA for base in bases)
    in_one = Store(store.root.parent / "other")
    put(in_one, TABLE, EDITED, AGAIN)
    in_one.maintain(successions(digests))
    check(in_one, TABLE, EDITED, AGAIN)


def test_in_the_wrong_order_nothing_breaks(store: Store) -> None:
    digests = put(store, TABLE, EDITED, AGAIN)
    pairs = [*successions(digests[::-1]), *successions(digests), (digests[0], digests[0])]
    nowhere = hash_bytes(b"nowhere")
    store.maintain([*pairs, (nowhere, digests[1]), (digests[1], nowhere)])
    store.maintain(pairs)
    check(store, TABLE, EDITED, AGAIN)


def test_small_files_have_differences_too(store: Store) -> None:
    text = b"".join(LINES[:900])
    digests = put(store, text, text.replace(b"7,", b"seven,", 20))
    assert store.maintain(successions(digests)).deltas == 1
    check(store, text)
    assert store.read(digests[1]) == text.replace(b"7,", b"seven,", 20)


def test_unrelated_versions_stay_as_they_are(store: Store) -> None:
    digests = put(store, TABLE, os.urandom(100_000), b"".join(LINES[::-1]))
    before = sorted(store.root.rglob("*"))
    assert store.maintain(successions(digests)) == Maintenance()
    assert sorted(store.root.rglob("*")) == before


def test_loose_versions_come_into_packs_where_they_share(store: Store) -> None:
    noise = os.urandom(3 * LARGE)
    longer = noise + os.urandom(LARGE // 4)
    digests = put(store, noise, longer, os.urandom(LARGE), os.urandom(LARGE))
    loose = {digest for digest, _ in store.layout.loose_files()}
    assert loose == set(digests)
    pairs = [(digests[0], digests[1]), (digests[2], digests[3])]
    assert store.maintain(pairs, in_use=digests[:2]) == Maintenance()
    linked = store.layout.loose(digests[0])
    os.link(linked, store.root.parent / "work")
    assert store.maintain(pairs[:1]) == Maintenance()
    (store.root.parent / "work").unlink()
    before = size_of(store)
    done = store.maintain(pairs)
    assert done.packed == 2
    assert before - size_of(store) == done.before - done.after > 2.5 * LARGE
    assert {digest for digest, _ in store.layout.loose_files()} == set(digests[2:])
    check(store, noise, longer)


def test_a_damaged_loose_file_is_left_to_fsck(store: Store) -> None:
    noise = os.urandom(3 * LARGE)
    digests = put(store, noise, noise[:-100])
    path = store.layout.loose(digests[0])
    path.chmod(0o644)
    path.write_bytes(noise[:-1] + b"!")
    store.maintain(successions(digests))
    assert path.exists()
    assert store.read(digests[1]) == noise[:-100]


def test_many_small_packs_become_one(store: Store) -> None:
    contents = [b"content %d\n" % number * 50 for number in range(maintenance.MANY + 3)]
    put(store, *contents[:-4])
    assert store.maintain([]) == Maintenance()
    put(store, *contents[-4:])
    times = [path.stat().st_mtime_ns for path in store.layout.packs.glob("*.pack")]
    done = store.maintain([])
    assert done.merged == len(contents)
    assert done.after < done.before
    (pack,) = store.layout.packs.glob("*.pack")
    assert pack.stat().st_mtime_ns == max(times)
    check(store, *contents)


def test_a_damaged_pack_is_not_copied(store: Store) -> None:
    contents = [os.urandom(500) for _ in range(maintenance.MANY)]
    digests = put(store, *contents)
    pack = next(p for p in store.packs() if p.find_object(digests[0].raw))
    data = bytearray(pack.path.read_bytes())
    data[200] ^= 1
    pack.path.chmod(0o644)
    pack.path.write_bytes(data)
    assert Store(store.root).maintain([]).merged == maintenance.MANY - 1
    assert pack.path.exists()
    with pytest.raises(CorruptData):
        Store(store.root).read(digests[0])
    assert Store(store.root).read(digests[1]) == contents[1]


def test_what_a_writer_may_rely_on_is_kept(store: Store) -> None:
    digests = put(store, TABLE, EDITED)
    other = Store(store.root)
    with other.writer() as writer:
        path = store.root.parent / "file"
        path.write_bytes(EDITED + b"more")
        digest, _ = writer.put_file(path)
        done = store.maintain(successions(digests))
        assert done.deltas
        assert done.waiting
    check(store, TABLE, EDITED, EDITED + b"more")
    assert digest == hash_bytes(EDITED + b"more")


def test_a_reader_in_the_middle_goes_on(store: Store) -> None:
    digests = put(store, TABLE, EDITED)
    reader = Store(store.root)
    assert reader.has(digests[1])
    store.maintain(successions(digests))
    assert reader.read(digests[1]) == EDITED


KILLED = """
import os, sys
from pathlib import Path
from gitml.entities.ids import Digest
from gitml.store.store import Store
number = int(sys.argv[2])
real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink")}
def counting(name):
    def call(*arguments, **options):
        global number
        number -= 1
        if number < 0:
            os._exit(9)
        return real[name](*arguments, **options)
    return call
for name in real:
    setattr(os, name, counting(name))
Store(Path(sys.argv[1])).maintain([tuple(map(Digest, sys.argv[3:5]))])
"""


def test_killed_anywhere_nothing_is_lost(store: Store, tmp_path: Path) -> None:
    small, edited = TABLE[: 2 * LARGE], EDITED[: 2 * LARGE]
    digests = put(store, small, edited)
    for number in range(30):
        root = tmp_path / f"copy{number}"
        shutil.copytree(store.root, root)
        arguments = [str(root), str(number), *(digest.hex for digest in digests)]
        done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
        assert [Store(root).read(digest) for digest in digests] == [small, edited]
        Store(root).maintain(successions(digests))
        check(Store(root), small, edited)
        shutil.rmtree(root)
        if done.returncode == 0:
            break
        assert done.returncode == 9
    assert done.returncode == 0
    assert number > 5
