"""A blob as a file to seek in: packed in chunks, packed whole, loose."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes, UsageError
from gitml.store import codec
from gitml.store.digest import hash_bytes
from gitml.store.store import LARGE, Store

TABLE = b"".join(b"%d,%d\n" % (n, n * n % 4001) for n in range(200_000))
NOISE = random.Random(7).randbytes(LARGE + 1000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("window") / "store")
    file = store.root.parent / "file"
    with store.writer() as writer:
        writer.put_bytes(b"a few")
        for data in (TABLE, NOISE):
            file.write_bytes(data)
            writer.put_file(file)
    return store


@pytest.mark.parametrize("data", [b"a few", TABLE, NOISE], ids=["whole", "chunks", "loose"])
def test_any_part_of_it_can_be_read(store: Store, data: bytes) -> None:
    chance = random.Random(3)
    with store.window(hash_bytes(data)) as window:
        assert window.size == len(data)
        assert window.is_verified is (data is not NOISE)
        for _ in range(50):
            start, length = chance.randrange(len(data)), chance.randrange(70_000)
            window.seek(start)
            assert window.read(length) == data[start : start + length]
            assert window.tell() == min(start + length, len(data))
        window.seek(-3, 2)
        assert window.read() == data[-3:]
        assert window.read(5) == b""


def test_a_chunk_that_is_too_long_to_keep_is_read_through(store: Store) -> None:
    with store.writer() as writer:
        digest = writer.put_bytes(TABLE * 4)
    assert len(TABLE) * 4 > codec.MAX_WHOLE
    with store.window(digest) as window:
        assert not window.is_verified
        for start in (2_150_000, 4_000_000, 100):
            window.seek(start)
            assert window.read(90_000) == (TABLE * 4)[start : start + 90_000]


def test_what_is_not_a_blob_here_is_refused(store: Store) -> None:
    (store.root.parent / "folder").mkdir(exist_ok=True)
    with store.writer() as writer:
        tree, _ = writer.put_directory(store.root.parent / "folder")
    with pytest.raises(UsageError, match="is a tree"):
        store.window(tree)
    with pytest.raises(MissingBytes):
        store.window(Digest("00" * 32))


def test_a_damaged_chunk_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(TABLE)
    with Store(tmp_path / "store").writer() as writer:
        writer.put_file(file)
    (pack,) = tmp_path.glob("store/**/*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with Store(tmp_path / "store").window(hash_bytes(TABLE)) as window, pytest.raises(CorruptData):
        window.read()
