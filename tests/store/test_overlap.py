"""Bytes that two sets of blobs and folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.store.overlap import shared_bytes
from gitml.store.store import LARGE, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_whole_blobs_and_members_of_folders_are_shared(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "same").write_bytes(b"s" * 3000)
    (folder / "other").write_bytes(os.urandom(500))
    with store.writer() as writer:
        same, other = writer.put_bytes(b"s" * 3000), writer.put_bytes(os.urandom(700))
        tree, _ = writer.put_directory(folder)
    assert shared_bytes(store, [same], [tree]) == 3000
    assert shared_bytes(store, [tree], [same, other]) == 3000
    assert shared_bytes(store, [other], [tree]) == 0
    assert shared_bytes(store, [same], [same]) == 3000


def test_a_large_file_shares_the_chunks_around_a_change(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    content = os.urandom(2 * LARGE)
    old.write_bytes(content)
    new.write_bytes(content[:LARGE] + b"inserted" + content[LARGE:])
    with store.writer() as writer:
        (one, size), (two, _) = writer.put_file(old), writer.put_file(new)
    assert shared_bytes(store, [one], [two]) == 0  # as they were put: nothing is known yet
    store.maintain([(one, two)])
    assert size // 2 < shared_bytes(store, [one], [two]) < size


def test_what_is_not_here_counts_as_nothing(store: Store) -> None:
    absent = Digest("1" * 64)
    assert shared_bytes(store, [absent], [absent]) == 0
