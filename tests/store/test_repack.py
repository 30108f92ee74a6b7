"""Packs rewritten without what nothing needs: byte for byte, and whole or not at all."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import codec as codecs
from gitml.store.gc import GRACE, collect
from gitml.store.pack import Pack
from gitml.store.repack import rewrite
from gitml.store.store import Store


def entries(pack: Pack) -> dict[tuple[bytes, bool], bytes]:
    """Every entry of a pack, header and all."""
    data = pack.path.read_bytes()
    return {(one.digest, one.is_chunk): data[one.start : one.end] for one in pack.spans()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_entries_are_copied_as_they_are(store: Store) -> None:
    blobs = [b"dull " * 500, os.urandom(3000), b"short", b""]
    with store.writer() as writer:
        digests = [writer.put_bytes(one) for one in blobs]
    (pack,) = store.packs()
    os.utime(pack.path, (1e9, 1e9))
    wanted = {digests[0].raw, digests[2].raw, digests[3].raw}
    made = Pack(rewrite(store.layout, pack, [s for s in pack.spans() if s.digest in wanted]))
    assert made.path != pack.path
    assert made.path.stat().st_mtime == 1e9
    assert made.path.stat().st_mode & 0o222 == 0
    before = entries(pack)
    assert entries(made) == {key: data for key, data in before.items() if key[0] in wanted}
    again = rewrite(store.layout, Pack(made.path), Pack(made.path).spans())
    assert again == made.path
    assert os.listdir(store.root / "tmp") == []


def test_a_damaged_entry_stops_the_rewriting(store: Store) -> None:
    with store.writer() as writer:
        for number in range(3):
            writer.put_bytes(os.urandom(100 + number))
    (pack,) = store.packs()
    spans = pack.spans()
    pack.path.chmod(0o644)
    data = bytearray(pack.path.read_bytes())
    data[200] ^= 1
    pack.path.write_bytes(data)
    with pytest.raises(CorruptData):
        rewrite(store.layout, Pack(pack.path), spans)
    assert len(list(store.layout.packs.glob("*.pack"))) == 1
    assert os.listdir(store.root / "tmp") == []


def test_a_base_lives_as_long_as_what_is_stored_against_it(store: Store, tmp_path: Path) -> None:
    source = random.Random(0)
    rows = [f"{n},{source.random()},{source.random()}\n" for n in range(60_000)]
    versions: list[Digest] = []
    contents = []
    for turn in range(2):
        if turn:
            rows = [one if n % 97 else f"{n},edited,{n}\n" for n, one in enumerate(rows)]
        file = tmp_path / f"table{turn}"
        file.write_text("".join(rows))
        contents.append(file.read_bytes())
        with store.writer() as writer:
            versions.append(writer.put_file(file)[0])
    old, new = versions
    assert store.maintain([(old, new)]).deltas > 0
    store = Store(store.root)
    deltas = [r for p in store.packs() for _, r in p.tables.chunks() if r.codec == codecs.DELTA]
    assert deltas
    for grace, after in ((GRACE, GRACE), (GRACE, 3 * GRACE), (0.0, 3 * GRACE)):
        now = time.time() + 5 + after
        collect(Store(store.root), lambda: {new.raw}, grace=grace, now=now)
        assert Store(store.root).read(new) == contents[1]
        assert [one for one in Store(store.root).check() if one.digests] == []
    needed = {base for pack in Store(store.root).packs() for base in pack.bases()}
    assert needed  # though nothing but differences needs them
    collect(Store(store.root), set, grace=0.0, now=time.time() + 5 + 4 * GRACE)
    assert list(Store(store.root).objects()) == []
    assert list(store.layout.packs.iterdir()) == []
