from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import UnsupportedValue
from gitml.materializers.base import Rules
from gitml.materializers.blob import BytesMaterializer, PathMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, digest


class TestBytes(MaterializerSuite):
    materializer = BytesMaterializer
    library = "numpy"
    any_bytes = True

    def values(self, folder: Path) -> Mapping[str, object]:
        return {"empty": b"", "all": bytes(range(256))}

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {"bytearray": (bytearray(b"a"), "bytearray"), "text": ("a", "str, not bytes")}


class TestPath(MaterializerSuite):
    materializer = PathMaterializer
    library = "numpy"
    any_bytes = True

    def values(self, folder: Path) -> Mapping[str, object]:
        (folder / "model.bin").write_bytes(b"\x00\x01")
        tree = folder / "tree"
        (tree / "inner").mkdir(parents=True, exist_ok=True)
        (tree / "inner" / "a.txt").write_text("a")
        (tree / "b.txt").write_text("b")
        return {"file": folder / "model.bin", "folder": tree}

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {"missing": (Path("/does/not/exist"), "does not exist: /does/not/exist")}

    def same(self, left: Any, right: Any) -> bool:
        return digest(left) == digest(right)


def test_a_pipe_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsupportedValue, match="neither a file nor a folder"):
        PathMaterializer().save(tmp_path / "pipe", Rules())


def test_metadata(tmp_path: Path) -> None:
    values = TestPath().values(tmp_path)
    facts = PathMaterializer().metadata
    assert facts(values["file"]) == {"name": "model.bin", "kind": "file", "size": 2}
    assert facts(values["folder"]) == {"name": "tree", "kind": "folder", "files": 2}
    assert BytesMaterializer().metadata(b"abc") == {"size": 3}
