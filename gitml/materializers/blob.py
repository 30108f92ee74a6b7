"""Bytes, and files or folders on disk: stored as they are, without any format of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitml.errors import UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules


class BytesMaterializer(Materializer):
    """``bytes``: the stored bytes are the value."""

    name = "bytes"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The value itself; raises UnsupportedValue for anything but ``bytes``."""
        if type(value) is not bytes:
            raise UnsupportedValue(
                f"value is a {type(value).__name__}, not bytes", hint="return `bytes(value)`"
            )
        return value

    def load(self, content: Content, wanted: type | None, rules: Rules) -> bytes:
        """The stored bytes."""
        return content.read()

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The size in bytes."""
        return {"size": len(value)}


class PathMaterializer(Materializer):
    """``pathlib.Path``: the file or folder that it points to is the value.

    It comes back as a path to a private copy: the content and the kind are what was saved, the
    place is not.
    """

    name = "path"
    version = 1

    def save(self, value: Any, rules: Rules) -> Path:
        """The path, once it is known to be a file or folder; raises UnsupportedValue."""
        path = Path(value)
        if not (path.is_file() or path.is_dir()):
            what = "is neither a file nor a folder" if path.exists() else "does not exist"
            raise UnsupportedValue(
                f"the returned path {what}: {path}", hint="write the file before the step returns"
            )
        return path

    def load(self, content: Content, wanted: type | None, rules: Rules) -> Path:
        """A private copy of the file or folder."""
        return Path(content.path())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The name, and the size in bytes of a file or the number of files in a folder."""
        path = Path(value)
        if path.is_dir():
            files = sum(1 for one in path.rglob("*") if one.is_file())
            return {"name": path.name, "kind": "folder", "files": files}
        return {"name": path.name, "kind": "file", "size": path.stat().st_size}
