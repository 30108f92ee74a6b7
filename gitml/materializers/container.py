"""Dicts, lists and tuples of values that JSON lacks: tables, arrays, estimators, … by name.

**Format 1.** An Arrow table with a row for each value: ``name`` (text, the key; null in a list or
tuple), ``materializer`` (name, ``/``, version) and ``value``, the bytes that it made. The metadata
of its schema says at ``container`` what it was: ``dict``, ``list`` or ``tuple``. The rows of a dict
are sorted by name, so **a dict comes back in the order of its keys**. It is written as the `arrow`
materializer does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitml import materializers
from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import arrow
from gitml.materializers.base import JSON, Content, Materializer, Rules, library
from gitml.materializers.items import CellContent

_COLUMNS = ["name", "materializer", "value"]
_KINDS = {b"dict": dict, b"list": list, b"tuple": tuple}


class ContainerMaterializer(Materializer):
    """Containers whose values have materializers of their own, but for those that make files."""

    name = "container"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The IPC bytes; raises UnsupportedValue, with the place."""
        pa = library("pyarrow", "arrow")
        is_dict = isinstance(value, dict)
        pairs = sorted(value.items()) if is_dict else list(enumerate(value))
        cells = [_cell(name, one, rules) for name, one in pairs]
        table = pa.table(
            {
                "name": pa.array([name if is_dict else None for name, _ in pairs], pa.string()),
                "materializer": pa.array([one for one, _ in cells], pa.string()),
                "value": pa.array([one for _, one in cells], pa.large_binary()),
            }
        )
        return arrow.write(table.replace_schema_metadata({"container": type(value).__name__}))

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The container; raises CorruptData."""
        table: Any = arrow.read(content.read())
        said = (getattr(getattr(table, "schema", None), "metadata", None) or {}).get(b"container")
        if said not in _KINDS or table.column_names != _COLUMNS:
            raise CorruptData("not a table of a container's values")
        names, made, values = (table.column(one).to_pylist() for one in _COLUMNS)
        found = [
            materializers.load_value(CellContent(data), name.partition("/")[0], None, rules)
            for name, data in zip(made, values, strict=True)
        ]
        kind = _KINDS[said]
        return dict(zip(names, found, strict=True)) if kind is dict else kind(found)

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The number of values, and the first of the names."""
        names: list[JSON] = sorted(value)[:100] if isinstance(value, dict) else []
        return {"values": len(value), **({"names": names} if names else {})}


def _cell(name: object, value: object, rules: Rules) -> tuple[str, bytes]:
    found = materializers.for_value(value, rules)
    try:
        data = found.save(value, rules)
    except UnsupportedValue as error:
        raise UnsupportedValue(f"value[{name!r}]: {error.message}", hint=error.hint) from error
    if isinstance(data, Path):
        raise UnsupportedValue(
            f"value[{name!r}] is stored as a file or folder, which no container holds",
            hint="return it as an output of its own",
        )
    return f"{found.name}/{found.version}", data
