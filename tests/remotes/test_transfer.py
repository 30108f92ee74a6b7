"""A large object into a file, going on where it was left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitml.errors import CorruptData
from gitml.remotes.folder import FolderRemote
from gitml.remotes.layers import Counted, Retrying
from gitml.remotes.transfer import download
from gitml.testing.remote_suite import KEY
from tests.remotes.broken import Breaking

PART = 256 << 10
DATA = os.urandom((3 << 20) + 77)


@pytest.fixture
def lake(tmp_path: Path) -> FolderRemote:
    root = tmp_path / "lake"
    root.mkdir()
    remote = FolderRemote(root)
    remote.put(KEY, DATA)
    return remote


def test_what_was_there_is_not_fetched_again(lake: FolderRemote, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for held in (0, 1, PART, PART + 5, len(DATA) - 1, len(DATA)):
        target.write_bytes(DATA[:held])
        counted = Counted(lake)
        download(counted, KEY, len(DATA), target, part=PART)
        assert target.read_bytes() == DATA
        assert counted.counts.received == len(DATA) - held


def test_a_connection_cut_at_every_64_kib_repeats_a_part_at_most(
    lake: FolderRemote, tmp_path: Path
) -> None:
    counted = Counted(lake)
    breaking = Breaking(counted, every=64 << 10)
    target = tmp_path / "target"
    remote = Retrying(breaking, sleep=lambda seconds: None)
    download(remote, KEY, len(DATA), target, part=PART)
    assert target.read_bytes() == DATA
    assert breaking.failed >= 48
    assert counted.counts.received <= len(DATA) + breaking.failed * PART


def test_a_file_that_is_longer_than_the_object_is_not_its_beginning(
    lake: FolderRemote, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(DATA + b"x")
    with pytest.raises(CorruptData):
        download(lake, KEY, len(DATA), target)
