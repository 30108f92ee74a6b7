"""The digest is that of everybody else, whatever computes it."""

from __future__ import annotations

import hashlib

import pytest

from gitml.entities import checksum


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff" * 1000])
def test_it_is_sha256(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(data).hexdigest()
    assert checksum.sha256_hex(data) == expected

    def absent(name: str) -> object:
        if name != "hashlib":
            raise ImportError(name)
        return hashlib

    monkeypatch.setattr(checksum, "import_module", absent)
    assert checksum.sha256_hex(data) == expected
