"""Many small chunks at once: what is good is seen at a glance, the rest is named."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from gitml.store.codec import DELTA
from gitml.store.lookup import LIMIT, SmallBlobs, doubtful_chunks
from gitml.store.pack import Pack
from gitml.store.packformat import ENTRY_HEADER
from gitml.store.packindex import PackIndex
from gitml.store.store import Store


def packed(folder: Path, contents: list[bytes]) -> Pack:
    with Store(folder).writer() as writer:
        for one in contents:
            writer.put_bytes(one)
    (pack,) = Store(folder).packs()
    return pack


CONTENTS = [b"text " * number for number in range(1, 400)] + [os.urandom(3000) for _ in range(400)]


def test_good_chunks_are_not_doubtful_and_each_bad_one_is(tmp_path: Path) -> None:
    pack = packed(tmp_path / "store", CONTENTS)
    rows = dict(pack.tables.chunks())
    assert doubtful_chunks(pack, rows.items()) == []
    bad = sorted(rows)[::97]
    pack.path.chmod(0o644)
    with pack.path.open("r+b") as file:
        for digest in bad:
            at = rows[digest].offset + ENTRY_HEADER + rows[digest].stored // 2
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1]))
    assert sorted(doubtful_chunks(pack, rows.items())) == bad


def test_what_is_cut_off_too_long_or_in_another_codec_is_doubtful(tmp_path: Path) -> None:
    pack = packed(tmp_path / "store", CONTENTS[-3:])
    rows = sorted(pack.tables.chunks(), key=lambda one: one[1].offset)
    (one, row), (two, other), (three, last) = rows
    odd = [(one, row._replace(codec=DELTA)), (two, other._replace(plain=LIMIT)), (three, last)]
    assert sorted(doubtful_chunks(pack, odd)) == sorted([one, two])
    pack.path.chmod(0o644)
    os.truncate(pack.path, last.offset + ENTRY_HEADER + 10)
    assert doubtful_chunks(pack, rows) == [three]


def test_many_rows_of_an_index_are_those_that_are_found_one_by_one(tmp_path: Path) -> None:
    index = packed(tmp_path / "store", CONTENTS).tables
    assert isinstance(index, PackIndex)
    assert index.chunk_names() == [digest for digest, _ in index.chunks()]
    assert index.object_names() == [digest for digest, _ in index.objects()]
    asked = {*index.object_names()[::3], bytes(32), b"\xff" * 32}
    found = {digest: index.find_object(digest) for digest in asked}
    assert dict(index.find_objects(asked)) == {one: row for one, row in found.items() if row}
    chunks = {digest: index.find_chunk(digest) for digest in asked}
    assert dict(index.find_chunks(asked)) == {one: row for one, row in chunks.items() if row}
    codecs = {row.codec for _, row in index.chunks()}
    assert {codec for codec in range(8) if index.has_codec(codec)} == codecs


def test_blobs_are_read_in_any_order_and_one_that_is_damaged_spoils_no_neighbour(
    tmp_path: Path,
) -> None:
    large = [os.urandom(200_000), b"x" * 300_000]
    pack = packed(tmp_path / "store", [*CONTENTS[:300], *large, *CONTENTS[300:]])
    held = {blake3(one).digest(): one for one in [*CONTENTS, *large]}
    rows = sorted(pack.tables.chunks(), key=lambda one: one[1].offset)
    order = [digest for digest, _ in rows]
    for some in (order, order[::-1], order[::2] + order[1::2], order[:9] + order[400:] + order):
        with SmallBlobs([pack], len(some)) as blobs:
            assert all(blobs.read(digest) == held[digest] for digest in some)
    bad, row = rows[100]
    pack.path.chmod(0o644)
    with pack.path.open("r+b") as file:
        file.seek(row.offset + ENTRY_HEADER)
        file.write(b"\0\0\0\0")
    os.truncate(pack.path, rows[-1][1].offset + ENTRY_HEADER + 1)
    with SmallBlobs([pack], len(order)) as blobs:
        wrong = [digest for digest in order if blobs.read(digest) != held[digest]]
    assert wrong == [bad, order[-1]]
