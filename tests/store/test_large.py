"""Large files as chunks: shared across versions and files, in constant memory, from any damage."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, StorageError
from gitml.store import codec, large, parts
from gitml.store import pack as pack_module
from gitml.store.chunking import LARGEST
from gitml.store.digest import hash_bytes
from gitml.store.pack import PreparedChunk
from gitml.store.packformat import BLOB
from gitml.store.parts import ChunkSource
from gitml.store.store import LARGE, Store, Tree, TreeEntry
from gitml.store.tree import REGULAR
from tests.store.test_tensors import safetensors


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def rows(count: int, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return b"".join(b"%d,%.5f,w%04x\n" % (n, chance.random(), n * n % 4001) for n in range(count))


TABLE = rows(200_000)


def put(store: Store, path: Path, data: bytes) -> Digest:
    path.write_bytes(data)
    with store.writer() as writer:
        digest, size = writer.put_file(path)
    assert (digest, size) == (hash_bytes(data), len(data))
    assert store.read(digest) == data
    return digest


def size_of(store: Store) -> int:
    return sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())


def test_versions_share_what_they_have_in_common(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path / "a", TABLE)
    first = size_of(store)
    assert first < len(TABLE) * 0.6
    edited = TABLE[:1_000_000] + rows(100, seed=2) + TABLE[1_000_500:]
    put(store, tmp_path / "b", edited)
    assert size_of(store) - first < 4 * LARGEST
    put(store, tmp_path / "c", TABLE[500_000:])
    assert list(store.check()) == []


def test_the_same_file_again_writes_nothing(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path / "a", TABLE)
    before = sorted(store.root.rglob("*"))
    put(store, tmp_path / "b", TABLE)
    assert sorted(store.root.rglob("*")) == before


def test_a_file_shares_with_itself(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path / "a", bytes(20 * LARGE))
    assert size_of(store) < 10_000
    with store.writer() as writer:
        (tmp_path / "b").write_bytes(TABLE * 2)
        writer.put_file(tmp_path / "b")
        digest, _ = writer.put_file(tmp_path / "b")
        assert writer.read(digest) == TABLE * 2
    assert list(store.check()) == []


def test_frozen_tensors_are_stored_once(store: Store, tmp_path: Path) -> None:
    layers = {f"layer.{n}": os.urandom(300_000) for n in range(12)}
    header = safetensors(dict.fromkeys(layers, ("F32", 300000)))[: -12 * 300_000]
    put(store, tmp_path / "base", header + b"".join(layers.values()))
    before = size_of(store)
    layers["layer.7"] = os.urandom(300_000)
    put(store, tmp_path / "tuned", header + b"".join(layers.values()))
    assert size_of(store) - before < 300_000 + 15_000


def test_large_folders_share_what_their_trees_have_in_common(store: Store) -> None:
    with store.writer() as writer:
        digest = writer.put_bytes(b"x")
        names = [f"folder/{number:06d}.png" for number in range(20_000)]
        entries = [TreeEntry(name, REGULAR, 1, hash_bytes(name.encode())) for name in names]
        first = writer.put_tree(Tree.of(entries))
    before = size_of(store)
    with store.writer() as writer:
        entries[9_000:9_000] = [TreeEntry("folder/009000b.png", REGULAR, 1, digest)]
        second = writer.put_tree(Tree.of(entries))
    assert size_of(store) - before < before / 3
    assert (len(store.read_tree(first)), len(store.read_tree(second))) == (20_000, 20_001)
    assert list(store.check([first, second])) == []


def packs(store: Store) -> list[Path]:
    return sorted((store.root / "packs").glob("*.pack"))


def break_chunk(store: Store, number: int = 5) -> bytes:
    """Flip a bit in the stored bytes of one chunk of the only pack; its digest."""
    (pack,) = store.packs()
    digest, row = sorted(pack.tables.chunks(), key=lambda one: one[1].offset)[number]
    with pack.opened() as descriptor:
        entry = bytearray(os.pread(descriptor, 100, row.offset + 96))
    entry[50] ^= 4
    pack.path.chmod(0o644)
    with pack.path.open("r+b") as file:
        file.seek(row.offset + 96)
        file.write(entry)
    return digest


def test_damage_to_one_chunk_is_no_doubt_about_its_neighbours(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path / "table", TABLE)
    (pack,) = store.packs()
    chunks = {digest for digest, _ in pack.tables.chunks()}
    assert store.proven_chunks(chunks).keys() == chunks
    broken = break_chunk(store)
    assert Store(store.root).proven_chunks([*chunks, bytes(32)]).keys() == chunks - {broken}
    last = max(pack.tables.chunks(), key=lambda one: one[1].offset)
    os.truncate(pack.path, last[1].offset + 200)
    assert Store(store.root).proven_chunks(chunks).keys() == chunks - {broken, last[0]}


def test_many_chunks_are_read_together_and_damage_found_elsewhere(
    store: Store, tmp_path: Path
) -> None:
    put(store, tmp_path / "table", TABLE)
    (pack,) = store.packs()
    wanted = [(digest, row.plain) for digest, row in pack.tables.chunks()]
    with ChunkSource(pack, store.packs) as source:
        good = source.load_all([*wanted, wanted[0]])
        assert [hash_bytes(data).raw for data in good] == [*(d for d, _ in wanted), wanted[0][0]]
        with pytest.raises(CorruptData):
            source.load_all([(wanted[0][0], wanted[0][1] - 1)])
    broken = break_chunk(store)
    other = Store(tmp_path / "other")
    put(other, tmp_path / "table", TABLE)
    both = [pack, *other.packs()]
    with ChunkSource(pack, lambda: both) as source:
        assert source.load_all(wanted) == good[:-1]
    with (
        ChunkSource(pack, store.packs) as source,
        pytest.raises(CorruptData, match=broken.hex()[:8]),
    ):
        source.load_all(wanted)


def test_a_disk_that_fails_while_more_is_added_is_not_believed_later(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    # The system tells of an error once: the flush at the end would succeed.
    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr(large, "_MUCH", 1024)
    monkeypatch.setattr(pack_module, "_MUCH", 1)
    (tmp_path / "table").write_bytes(TABLE * 4)
    with pytest.raises(StorageError), store.writer() as writer:
        writer.put_file(tmp_path / "table")
    assert store.packs() == []
    assert not list((store.root / "tmp").iterdir())


def test_a_damaged_chunk_is_not_held_and_storing_again_heals(store: Store, tmp_path: Path) -> None:
    digest = put(store, tmp_path / "a", TABLE)
    break_chunk(store)
    with pytest.raises(CorruptData):
        Store(store.root).read(digest)
    edited = TABLE[:-20_000]
    other = put(Store(store.root), tmp_path / "b", edited)
    healed = Store(store.root)
    assert healed.read(other) == edited
    assert healed.read(digest) == TABLE  # the first file's chunk is taken from the second's pack
    assert list(healed.check([digest, other])) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_the_check_of_another_user_is_no_proof(store: Store, tmp_path: Path) -> None:
    """A chunk that is well formed, with a good check, but is not what its digest says."""
    path = tmp_path / "a"
    path.write_bytes(TABLE)
    names = []
    with store.writer() as writer:
        writer.put_file(path)
        names = [raw for raw, _ in writer._building().pack.tables.chunks()]
        writer.abort()
        builder = writer._building()
        for name in names:
            builder.add_prepared(PreparedChunk.of(name, 5, codec.RAW, b"wrong"))
        builder.add_object(hash_bytes(b"x").raw, BLOB, 5, 0, [(names[0], 5)])
    (pack,) = packs(store)
    os.chown(pack, 12345, 12345)
    put(Store(store.root), path, TABLE)


def test_a_part_of_another_length_or_none_is_damage(store: Store) -> None:
    digest = hash_bytes(b"whole")
    with store.writer() as writer:
        builder = writer._building()
        chunk = hash_bytes(b"part")
        builder.add_prepared(PreparedChunk.of(chunk.raw, 4, codec.RAW, b"part"))
        builder.add_object(digest.raw, BLOB, 8, 0, [(chunk.raw, 3), (chunk.raw, 5)])
        missing = hash_bytes(b"missing")
        builder.add_object(missing.raw, BLOB, 8, 0, [(chunk.raw, 4), (missing.raw, 4)])
    for one in (digest, missing):
        with pytest.raises(CorruptData):
            store.read(one)
    assert {damage.digests for damage in store.check()} == {(digest,), (missing,)}


def put_delta(store: Store, *, base_codec: int = codec.RAW, base: bytes | None = None) -> Digest:
    """An object of two chunks, the second stored against the first."""
    old, new = os.urandom(30_000), b""
    new = old[:10_000] + b"edited" + old[10_000:]
    first, second = hash_bytes(old).raw, hash_bytes(new).raw
    whole = hash_bytes(old + new)
    with store.writer() as writer:
        builder = writer._building()
        stored = old if base_codec == codec.RAW else codec.encode_delta(old, new)
        builder.add_prepared(PreparedChunk.of(first, len(old), base_codec, stored, second))
        delta = codec.encode_delta(new, old)
        builder.add_prepared(
            PreparedChunk.of(second, len(new), codec.DELTA, delta, first if base is None else base)
        )
        listed = [(first, len(old)), (second, len(new))]
        builder.add_object(whole.raw, BLOB, len(old + new), 0, listed)
    return whole


def test_a_difference_is_read_through_its_base(store: Store) -> None:
    digest = put_delta(store)
    assert hash_bytes(store.read(digest)) == digest
    assert list(store.check()) == []
    assert size_of(store) < 35_000


@pytest.mark.parametrize(
    ("base_codec", "base", "why"),
    [
        (codec.DELTA, None, "itself a difference"),
        (codec.RAW, bytes(32), "missing"),
        (codec.RAW, hash_bytes(b"nobody has it").raw, "missing"),
    ],
)
def test_a_base_that_is_no_base_is_refused(
    store: Store, base_codec: int, base: bytes | None, why: str
) -> None:
    digest = put_delta(store, base_codec=base_codec, base=base)
    with pytest.raises(CorruptData) as caught:
        store.read(digest)
    assert why in " ".join(caught.value.causes())
    (damage,) = store.check()
    assert damage.digests == (digest,)
    assert why in damage.reason


def test_the_check_of_a_difference_needs_its_base(store: Store) -> None:
    put_delta(store)
    (pack,) = store.packs()
    (delta,) = [one for one in pack.tables.chunks() if one[1].codec == codec.DELTA]
    assert parts.proofs(pack, dict([delta]), store.packs)
    break_chunk(store, 0)
    assert not parts.proofs(pack, dict([delta]), store.packs)


def test_a_codec_of_a_later_version_says_so(store: Store) -> None:
    digest = hash_bytes(b"x" * 20)
    with store.writer() as writer:
        builder = writer._building()
        for half in (b"x" * 9, b"x" * 11):
            name = hash_bytes(half).raw
            builder.add_prepared(PreparedChunk.of(name, len(half), 99, b"?"))
        listed = [(hash_bytes(b"x" * size).raw, size) for size in (9, 11)]
        builder.add_object(digest.raw, BLOB, 20, 0, listed)
    with pytest.raises(StorageError, match="codec 99"):
        store.read(digest)


MEASURE = """
import resource, sys
from pathlib import Path
from gitml.store.store import Store
def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
store = Store(Path(sys.argv[1]))
with store.writer() as writer:
    digest, _ = writer.put_file(Path(sys.argv[2]))
store.copy_to(digest, Path(sys.argv[3]))
print(peak())
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for number, times in enumerate((10, 30)):
        path = tmp_path / f"{number}"
        with path.open("wb") as file:
            for turn in range(times):
                file.write(TABLE[turn * 1000 :])
        arguments = [tmp_path / f"store{number}", path, tmp_path / f"out{number}"]
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 30
    assert peaks[1] < 200


def test_reading_the_tree_of_a_large_folder_starts_no_threads(store: Store) -> None:
    """With threads about, a checkout could not divide its work among processes."""
    names = [f"folder/{number:06d}.png" for number in range(40_000)]
    entries = [TreeEntry(name, REGULAR, 1, hash_bytes(name.encode())) for name in names]
    with store.writer() as writer:
        digest = writer.put_tree(Tree.of(entries))
    script = """
import os, sys
from pathlib import Path
from gitml.entities.ids import Digest
from gitml.store.store import Store
print(len(Store(Path(sys.argv[1])).read_tree(Digest(sys.argv[2]))))
print(sorted({"numpy", "pyarrow"} & sys.modules.keys()), len(os.listdir("/proc/self/task")))
"""
    command = [sys.executable, "-c", script, str(store.root), digest.hex]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told == "40000\n[] 1\n"
