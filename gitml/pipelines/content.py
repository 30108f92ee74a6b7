"""Stored bytes as materializers see them: read into memory, or checked out to a scratch folder."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitml.entities.records import Output
from gitml.store.store import Store, Writer


@dataclass
class StoredContent:
    """An output's bytes in a store or in the writer of a run that is going on.

    ``original`` is the file of the working tree where the bytes were just taken from there; it is
    handed out instead of a copy.
    """

    store: Store | Writer
    output: Output
    original: Path | None = None

    @property
    def kind(self) -> str:
        """What the bytes are: "blob" or "tree"."""
        return self.output.kind

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the materializer noted when it saved them."""
        return self.output.metadata

    def read(self) -> bytes:
        """The bytes, verified against their digest; raises CorruptData, MissingBytes."""
        return self.store.read(self.output.digest)

    def path(self) -> Path:
        """A file or folder with the bytes, verified; it is gone when the process ends."""
        if self.original is not None:
            return self.original
        target = Path(tempfile.mkdtemp(dir=scratch())) / (self.output.artifact or "artifact")
        self.store.copy_to(self.output.digest, target)
        return target


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gitml-", ignore_cleanup_errors=True)


def scratch() -> str:
    """The scratch folder of this process, removed when the interpreter ends."""
    return _scratch_folder().name
