"""Which changed files are tables, and where their bytes are on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import tables
from gitml.errors import GitmlError
from gitml.workspace.compare import DataChange, DataSide, FileChange

if TYPE_CHECKING:
    from gitml.store.reader import Reader
    from gitml.tables import TableChange


def changed_tables(
    data: Sequence[DataChange], new: DataSide, reader: Reader
) -> dict[str, TableChange]:
    """The change of schema, rows and columns of each changed table, by its path.

    A table that cannot be read, or is too large for that, has none.
    """
    from gitml.tables import compare_tables

    found: dict[str, TableChange] = {}
    for change in data:
        for file in (one for one in change.files if _is_table(one)):
            with suppress(GitmlError):
                found[file.path] = compare_tables(*_bytes(change, file, new, reader))
    return found


def _is_table(file: FileChange) -> bool:
    both = file.old is not None and file.new is not None and file.kind == "changed"
    if not both or not file.path.lower().endswith(tables.SUFFIXES):
        return False
    assert file.old is not None and file.new is not None  # noqa: S101 - for the type checker
    return max(file.old.size, file.new.size) <= tables.MAX_BYTES


def _bytes(
    change: DataChange, file: FileChange, new: DataSide, reader: Reader
) -> tuple[bytes, Path | bytes]:
    assert file.old is not None and file.new is not None  # noqa: S101 - a change has both
    old = reader.read(file.old.digest)
    content = new.contents.get(change.path)
    if content is not None and content.disk is not None:
        return old, content.disk / file.path[len(change.path) + 1 :]
    return old, reader.read(file.new.digest)
