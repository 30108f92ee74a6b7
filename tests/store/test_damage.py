"""Damage of every kind is noticed by who reads and by who checks, and can be healed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, GitmlError, MissingBytes, StorageError
from gitml.store import tree as trees
from gitml.store.store import LARGE, Store, Tree, TreeEntry

NOISE = os.urandom(LARGE)
BLOBS = {
    "raw": b"short",
    "zstd": b"long and dull, " * 500,
    "noise": os.urandom(5000),
    "loose": NOISE,
}


class Held:
    """A store with one blob of each kind and a tree of them."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        large = folder / "large"
        large.write_bytes(NOISE)
        with self.store.writer() as writer:
            self.digests = {
                name: writer.put_bytes(blob) for name, blob in BLOBS.items() if name != "loose"
            }
            self.digests["loose"] = writer.put_file(large)[0]
            entries = [
                TreeEntry(name, trees.REGULAR, len(BLOBS[name]), digest)
                for name, digest in self.digests.items()
            ]
            self.digests["tree"] = writer.put_tree(Tree.of(entries))
        self.large = large
        (self.pack,) = (self.store.root / "packs").glob("*.pack")
        self.index = self.pack.with_suffix(".idx")
        self.loose = self.store.layout.loose(self.digests["loose"])

    def reopened(self) -> Store:
        return Store(self.store.root)

    def read(self, name: str, store: Store | None = None) -> object:
        store = store or self.reopened()
        digest = self.digests[name]
        return store.read_tree(digest) if name == "tree" else store.read(digest)

    def span(self, name: str) -> tuple[int, int]:
        """Where the stored bytes of a blob's or tree's chunk are in the pack."""
        tables = self.store.packs()[0].tables
        row = tables.find_object(self.digests[name].raw)
        assert row is not None
        pieces = self.pack.read_bytes()
        part = pieces[row.offset + 96 + 16 : row.offset + 96 + 48]
        chunk = tables.find_chunk(part)
        assert chunk is not None
        return chunk.offset + 96, chunk.stored


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path, at: int, bits: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    overwrite(path, bytes(data))


def damaged(store: Store) -> set[Digest]:
    return {digest for one in store.check() if not one.readable for digest in one.digests}


@pytest.mark.parametrize("name", ["raw", "zstd", "noise", "tree"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_flipped_bit_in_a_pack(held: Held, tmp_path: Path, name: str, where: float) -> None:
    start, length = held.span(name)
    flip(held.pack, start + int((length - 1) * where))
    with pytest.raises(CorruptData, match=held.digests[name].hex) as caught:
        held.read(name)
    assert "gitml fsck" in (caught.value.hint or "")
    assert held.pack.name in caught.value.message
    with pytest.raises(CorruptData):
        held.reopened().copy_to(held.digests[name], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert damaged(held.reopened()) == {held.digests[name]}
    for other in held.digests:
        if other != name:
            held.read(other)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 100, 1000, -1])
def test_a_truncated_pack(held: Held, length: int) -> None:
    overwrite(held.pack, held.pack.read_bytes()[:length])
    store = held.reopened()
    lost = damaged(store)
    assert lost
    for name, digest in held.digests.items():
        if digest in lost:
            with pytest.raises((CorruptData, MissingBytes)):
                held.read(name)
        else:
            held.read(name)


def test_a_lost_pack_is_told_by_its_index(held: Held) -> None:
    held.pack.unlink()
    (damage,) = held.reopened().check()
    assert set(damage.digests) == {
        digest for name, digest in held.digests.items() if name != "loose"
    }
    assert (damage.path, damage.readable) == (held.pack, False)
    with pytest.raises(MissingBytes):
        held.read("raw")


def test_swapped_packs(held: Held) -> None:
    with held.store.writer() as writer:
        other = writer.put_bytes(b"in another pack")
    (second,) = {*held.pack.parent.glob("*.pack")} - {held.pack}
    first, last = held.pack.read_bytes(), second.read_bytes()
    overwrite(held.pack, last)
    overwrite(second, first)
    with pytest.raises((CorruptData, MissingBytes)):
        held.read("raw")
    assert {other, held.digests["raw"], held.digests["tree"]} <= damaged(held.reopened())


INDEX_DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": lambda path: overwrite(path, b""),
    "short": lambda path: overwrite(path, path.read_bytes()[:-1]),
    "long": lambda path: overwrite(path, path.read_bytes() + b"\0"),
    "header": lambda path: flip(path, 0),
    "fan-out": lambda path: flip(path, 500),
    "row": lambda path: flip(path, -10),
    "offset": lambda path: flip(path, 40 + 2048 + 32),
}


@pytest.mark.parametrize("kind", INDEX_DAMAGE)
def test_a_damaged_index_costs_nothing_but_time(held: Held, kind: str) -> None:
    good = held.index.read_bytes()
    INDEX_DAMAGE[kind](held.index)
    for name in held.digests:
        held.read(name)
    (damage,) = held.reopened().check()
    assert (damage.path, damage.readable, len(damage.digests)) == (held.index, True, 4)
    saved = held.reopened().recover()
    assert set(saved) == {digest for name, digest in held.digests.items() if name != "loose"}
    assert held.index.read_bytes() == good
    assert list(held.reopened().check()) == []


def test_a_store_that_is_open_sees_its_index_again(held: Held) -> None:
    held.index.unlink()
    store = held.reopened()
    held.read("raw", store)
    store.recover()
    held.read("raw", store)
    assert store.packs()[0].index_fault is None


def test_a_damaged_pack_without_index_keeps_what_is_whole(held: Held) -> None:
    start, _ = held.span("zstd")
    flip(held.pack, start + 3)
    held.index.unlink()
    held.read("raw")
    held.reopened().recover()
    store = held.reopened()
    assert not held.pack.exists()
    assert held.read("raw", store) == BLOBS["raw"]
    assert isinstance(held.read("tree", store), Tree)
    with pytest.raises(CorruptData):
        held.read("zstd", store)
    with store.writer() as writer:
        writer.put_bytes(BLOBS["zstd"])
    assert held.read("zstd") == BLOBS["zstd"]


@pytest.mark.parametrize("offset", [0, 4, 5, 8, 16, 24, 60, 90])
def test_a_damaged_entry_header(held: Held, offset: int) -> None:
    start, _ = held.span("noise")
    flip(held.pack, start - 96 + offset, 0x40)
    assert list(held.reopened().check())
    held.index.unlink()
    store = held.reopened()
    for name in ("raw", "zstd", "tree"):
        held.read(name, store)


@pytest.mark.parametrize("offset", [0, 8])
def test_a_damaged_pack_header_is_told_and_nothing_is_lost(held: Held, offset: int) -> None:
    flip(held.pack, offset, 0x20)
    (damage,) = held.reopened().check()
    assert (damage.path, damage.digests) == (held.pack, ())
    for name in held.digests:
        held.read(name)


def test_a_pack_of_a_later_version_asks_for_an_upgrade(held: Held) -> None:
    flip(held.pack, 8, 3)
    held.read("raw")
    held.index.unlink()
    with pytest.raises(StorageError, match="version 2"):
        held.read("raw")
    (damage,) = [one for one in held.reopened().check() if one.path == held.pack]
    assert not damage.readable


def test_a_loose_file(held: Held, tmp_path: Path) -> None:
    digest = held.digests["loose"]
    for data in (NOISE[:-1], NOISE + b"x", NOISE[:100] + b"!" + NOISE[101:], os.urandom(LARGE)):
        overwrite(held.loose, data)
        for act in (
            lambda store: store.read(digest),
            lambda store: store.copy_to(digest, tmp_path / "out"),
            lambda store: store.copy_to(held.digests["tree"], tmp_path / "out"),
        ):
            with pytest.raises(CorruptData, match=digest.hex):
                act(held.reopened())
        assert damaged(held.reopened()) == {digest}
        assert sorted(os.listdir(tmp_path)) == ["large", "store"]
    overwrite(held.loose, b"")
    assert not held.reopened().has(digest)
    assert damaged(held.reopened()) == {digest}


def test_swapped_loose_files(held: Held, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(os.urandom(LARGE))
    with held.store.writer() as writer:
        digest, _ = writer.put_file(other)
    path = held.store.layout.loose(digest)
    path.rename(tmp_path / "swap")
    held.loose.rename(path)
    (tmp_path / "swap").rename(held.loose)
    assert damaged(held.reopened()) == {digest, held.digests["loose"]}


def test_asking_for_an_absent_digest_is_damage(held: Held) -> None:
    absent = Digest("0" * 64)
    wanted = [absent, held.digests["raw"], held.digests["tree"]]
    (damage,) = held.reopened().check(wanted)
    assert (damage.digests, damage.readable) == ((absent,), False)


@pytest.mark.parametrize("order", [1, -1], ids=["same order", "other order"])
def test_storing_again_heals(held: Held, order: int) -> None:
    for name in ("raw", "zstd", "noise", "tree"):
        start, _ = held.span(name)
        flip(held.pack, start)
    overwrite(held.loose, b"wrong")
    store = held.reopened()
    tree = Tree.of(
        TreeEntry(name, trees.REGULAR, len(blob), held.digests[name])
        for name, blob in BLOBS.items()
    )
    with store.writer() as writer:
        for name in ("raw", "zstd", "noise")[::order]:
            writer.put_bytes(BLOBS[name])
        writer.put_file(held.large)
        writer.put_tree(tree)
    for name in held.digests:
        held.read(name)
        held.read(name, store)
    assert damaged(held.reopened()) == set()
    # The same entries in the same order have the same name: the new pack replaces the bad one.
    left = {one.path for one in held.reopened().check()}
    assert left == (set() if order == 1 else {held.pack})


def test_what_lacks_a_chunk_is_not_relied_upon(tmp_path: Path) -> None:
    """An object may be listed in one pack while its chunks were in another that is gone."""
    words = b"".join(b"%d\n" % number for number in range(400_000))
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(words)
    after.write_bytes(words + b"more\n")
    store = Store(tmp_path / "store")
    with store.writer() as writer:
        writer.put_file(before)
    (first,) = (store.root / "packs").glob("*.pack")
    with store.writer() as writer:
        digest, _ = writer.put_file(after)
    first.unlink()
    first.with_suffix(".idx").unlink()
    store = Store(store.root)
    with store.writer() as writer:
        assert not writer.rely_on(digest)
        assert writer.rely_on_all([digest.raw]) == [digest.raw]
        writer.put_file(after)
    store = Store(store.root)
    assert store.read(digest) == after.read_bytes()
    with store.writer() as writer:
        assert writer.rely_on(digest)


def test_a_good_copy_is_read_in_place_of_a_bad_one(held: Held) -> None:
    loose = held.store.layout.loose(held.digests["noise"])
    loose.parent.mkdir(exist_ok=True)
    loose.write_bytes(BLOBS["noise"])
    start, _ = held.span("noise")
    flip(held.pack, start)
    assert held.read("noise") == BLOBS["noise"]
    (damage,) = held.reopened().check()
    assert damage.readable
    overwrite(loose, b"bad too")
    with pytest.raises(CorruptData):
        held.read("noise")


@given(data=st.data())
@settings(max_examples=60)
def test_no_single_byte_of_a_pack_or_index_goes_unnoticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder)
    with store.writer() as writer:
        digests = [writer.put_bytes(BLOBS[name]) for name in ("raw", "zstd", "noise")]
    path = data.draw(st.sampled_from(sorted(folder.glob("packs/*"))))
    flip(path, data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(1, 255)))
    assert list(Store(folder).check())
    for digest, name in zip(digests, ("raw", "zstd", "noise"), strict=True):
        try:
            assert Store(folder).read(digest) == BLOBS[name]
        except GitmlError:
            assert digest in {one for damage in Store(folder).check() for one in damage.digests}


def test_mending_loses_nothing_that_can_be_read(tmp_path: Path) -> None:
    """Bytes are proven by their digest, entries by their check: the second may fail alone."""
    store = Store(tmp_path / "store")
    with store.writer() as writer:
        digests = [writer.put_bytes(one) for one in (b"1,2\n" * 5000, b"x" * 200, b"")]
    (pack,) = store.root.glob("packs/*.pack")
    (index,) = store.root.glob("packs/*.idx")
    whole, listed = pack.read_bytes(), index.read_bytes()
    for at in range(16, 16 + 96, 3):
        for path in store.root.rglob("*"):
            if path.is_file() and path.name != "format":
                path.unlink()
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        index.write_bytes(listed)
        before = readable(Store(store.root), digests)
        Store(store.root).mend()
        mended = Store(store.root)
        assert readable(mended, digests) == before, at
        assert [one for one in mended.check() if not one.readable] == []


def readable(store: Store, digests: list[Digest]) -> list[Digest]:
    found = []
    for digest in digests:
        try:
            store.read(digest)
        except (CorruptData, MissingBytes):
            continue
        found.append(digest)
    return found
