"""Digests of files: the same however large the file is and however it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from blake3 import blake3

from gitml.errors import StorageError
from gitml.store.digest import hash_file, hash_up_to
from gitml.store.directory import SourceFile

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, MIB, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 21 * MIB + 5])
def test_the_digest_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert hash_file(tmp_path / "file").raw == blake3(data).digest()


@pytest.mark.parametrize("size", [MIB, 40 * MIB])
def test_no_more_is_read_than_is_wanted(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert hash_up_to(descriptor, math.inf)[1] == size
        _, count = hash_up_to(descriptor, 10)
    finally:
        os.close(descriptor)
    assert 10 < count <= size // 4


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_of_another_length_than_before_has_no_digest(
    tmp_path: Path, size: int, by: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    with SourceFile(path) as source:
        os.truncate(path, size + by)
        with pytest.raises(StorageError, match="changed while it was read"):
            source.digest()
