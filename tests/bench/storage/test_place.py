"""Old trees move away, links are never written through, and the disk is counted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.storage.inputs import MIB
from tests.bench.storage.place import Place, disk_bytes


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "place", tmp_path / "peers", {"SITE": "{home}/site"})
    yield place
    if place.root.exists():
        place.clear()


def test_a_fresh_place_moves_the_old_one_away(place: Place) -> None:
    (place.work / "small").write_text("stays on the disk")
    (place.work / "large").write_bytes(bytes(2 * MIB))
    home = Path(place.env["HOME"])
    (home / "cache").write_text("of one tool")
    place.fresh()
    assert list(place.work.iterdir()) == []
    assert list(home.iterdir()) == []
    kept = {path.name for path in (place.root / "attic").rglob("*") if path.is_file()}
    assert {"small", "cache"} <= kept
    assert "large" not in kept


def test_the_environment_is_a_users_and_knows_the_peers(place: Place, tmp_path: Path) -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in place.env
    assert place.env["SITE"] == place.env["HOME"] + "/site"
    assert place.env["PATH"].split(os.pathsep)[-1] == str(tmp_path / "peers" / "bin")


def test_a_new_version_is_a_new_file(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_text("first")
    place.put(source, "data")
    os.link(place.work / "data", place.work / "stored")
    source.write_text("second")
    place.put(source, "data")
    assert (place.work / "data").read_text() == "second"
    assert (place.work / "stored").read_text() == "first"


def test_disk_bytes_counts_a_file_once(place: Place) -> None:
    (place.work / "store").mkdir()
    (place.work / "store" / "one").write_bytes(b"x" * 65536)
    once = disk_bytes([place.work / "store"])
    os.link(place.work / "store" / "one", place.work / "store" / "two")
    assert once >= 65536
    assert disk_bytes([place.work / "store", place.work / "absent"]) == once


def test_clear_removes_what_a_tool_protected(place: Place) -> None:
    folder = place.work / "objects"
    folder.mkdir()
    (folder / "file").write_text("x")
    (folder / "file").chmod(0o444)
    folder.chmod(0o555)
    place.clear()
    assert not place.root.exists()
