"""The results of a step that was mapped over many items: one Arrow table, a list when loaded.

**Format 1.** The table has a row for each item, in order: ``materializer`` (name, ``/``, version)
and ``value``, the bytes that it made of the result. It is written as the `arrow` materializer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitml import materializers
from gitml.errors import CorruptData, UnsupportedValue
from gitml.frozen import Frozen
from gitml.materializers import arrow
from gitml.materializers.base import JSON, Content, Materializer, Rules, library

Cell = tuple[str, bytes]
"""The result of one item: its materializer with version, and the bytes."""


class Items(Frozen):
    """The results of all items, as bytes."""

    cells: tuple[Cell, ...]


class ItemsMaterializer(Materializer):
    """`Items` as an Arrow table; what comes back is the list of the values."""

    name = "items"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The IPC bytes."""
        pa = library("pyarrow", "arrow")
        names, values = [one[0] for one in value.cells], [one[1] for one in value.cells]
        columns = {"materializer": pa.array(names, pa.string())}
        columns["value"] = pa.array(values, pa.large_binary())
        return arrow.write(pa.table(columns))

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The values in the order of their items; raises CorruptData."""
        return [
            materializers.load_value(CellContent(data), name.partition("/")[0], None, rules)
            for name, data in cells(content.read())
        ]

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The number of items."""
        return {"items": len(value.cells)}


def cells(data: bytes) -> list[Cell]:
    """The results in the bytes of such a table; raises CorruptData."""
    table: Any = arrow.read(data)
    pa = library("pyarrow", "arrow")
    fields = [("materializer", pa.string()), ("value", pa.large_binary())]
    found = [(one.name, one.type) for one in getattr(table, "schema", ())]
    if found != fields or any(column.null_count for column in table.columns):
        raise CorruptData("the table of items has other columns")
    columns = (table.column(name).to_pylist() for name in ("materializer", "value"))
    return list(zip(*columns, strict=True))


def cell(value: object, rules: Rules) -> Cell:
    """The result of one item as bytes; raises UnsupportedValue for what is a file or folder."""
    found = materializers.for_value(value, rules)
    data = found.save(value, rules)
    if isinstance(data, Path):
        raise UnsupportedValue(
            "a mapped step cannot return files",
            hint="return `bytes`, or let one step make the folder of all of them",
        )
    return f"{found.name}/{found.version}", data


class CellContent:
    """The bytes of one value of many as content."""

    kind = "blob"

    def __init__(self, data: bytes) -> None:
        self.metadata: Mapping[str, object] = {}
        self._data = data

    def read(self) -> bytes:
        """The bytes."""
        return self._data

    def path(self) -> Path:
        """Never asked for: such values are no files."""
        raise UnsupportedValue("a value of many is no file")
