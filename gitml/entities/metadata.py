"""Metadata as records keep it: plain JSON, with a mark where a value is more than that.

A ``Uri`` and a ``StorageSize`` are written as ``{"$type": "uri", "value": …}``, so that they come
back as what they were (docs/format.md, "Metadata").
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitml.entities import codec
from gitml.errors import UsageError

DEEPEST = 50
"""Levels of containers in a value of a record, which itself may have `codec.MAX_DEPTH`."""

_MAX_VALUE = 1 << 20
_MAX_BITS = 14_000  # JSON of Python's own reads at most 4300 digits
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class Uri(str):
    """A text that says where something is: a page, a bucket, a file. It has a scheme.

    Raises UsageError for what has none, and for white space or control characters in it.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Uri:
        """The URI; raises UsageError."""
        if not (isinstance(text, str) and _URI.fullmatch(text) and text.isprintable()):
            raise UsageError(
                f"{text!r} is no URI", hint="with a scheme: `Uri('https://example.org/report')`"
            )
        return super().__new__(cls, text)


class StorageSize(int):
    """A number of bytes, shown as ``1.2 GB``. Raises UsageError for less than none."""

    __slots__ = ()

    def __new__(cls, count: int) -> StorageSize:
        """So many bytes; raises UsageError."""
        try:
            number = operator.index(count)
        except TypeError:
            number = -1
        if isinstance(count, bool) or number < 0:
            raise UsageError(f"{count!r} is no number of bytes", hint="a whole number, 0 or more")
        return super().__new__(cls, number)


_TYPES: Mapping[str, type[Uri] | type[StorageSize]] = {"uri": Uri, "bytes": StorageSize}


def check_bounds(value: Any, depth: int, where: str) -> None:
    """Raise UsageError for a value that lies too deep in another, or is a number too large."""
    if depth > DEEPEST:
        raise UsageError(
            f"{_whole(where)} contains itself, or has more than {DEEPEST} levels",
            hint="a record takes plain data: `str(value)` keeps what it looks like",
        )
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise UsageError(
            f"{where} is a number of more than 4000 digits, too large for a record",
            hint="`hex(value)` keeps it as text, `save_artifact(value, name)` as an artifact",
        )


def _whole(where: str) -> str:
    """The name of a value without the long way into it."""
    name = where.partition("[")[0]
    return f"{name}`" if name.count("`") % 2 else name


def leaves(
    values: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Names and values, those of nested mappings joined by dots; raises UsageError for a name."""
    check_bounds(None, depth, f"what is logged as `{prefix.partition('.')[0]}`")
    if not isinstance(values, Mapping):
        raise UsageError(
            f"what is logged is a {type(values).__name__}, not names with values",
            hint="`log_metadata({'rows': 12})`",
        )
    for key, value in values.items():
        if not isinstance(key, str) or not key:
            raise UsageError(f"the name of a metric should be text, not {key!r}")
        if isinstance(value, Mapping) and _marked(value) is None:
            yield from leaves(value, f"{prefix}{key}.", depth + 1)
        else:
            yield prefix + key, value


def recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a record keeps them, by their names; raises UsageError for what it cannot."""
    return {name: recordable(value, name) for name, value in leaves(values)}


def recordable(value: Any, name: str) -> Any:
    """One value as a record keeps it; raises UsageError for what is not plain, or too large."""
    made = _plain(value, name)
    size = len(codec.dump_line({name: made}))
    if size > _MAX_VALUE:
        raise UsageError(
            f"the metadata `{name}` has {size >> 20} MiB, and a record takes {_MAX_VALUE >> 20}",
            hint="return it as an output of the step, or `save_artifact(value, name)`",
        )
    return made


def typed(value: Any) -> Any:
    """A value of a record as what it was: a ``Uri``, a ``StorageSize``, or plain as it is."""
    if isinstance(value, Mapping):
        kind = _marked(value)
        if kind is not None:
            try:
                return kind(value["value"])
            except UsageError:  # of a later version, or written by hand
                return value["value"]
        return {key: typed(one) for key, one in value.items()}
    return [typed(one) for one in value] if isinstance(value, list) else value


def all_typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a record with its values as what they were."""
    return {name: typed(value) for name, value in values.items()}


def _marked(value: Mapping[str, Any]) -> type[Uri] | type[StorageSize] | None:
    """The type that a mapping stands for; None where it is a mapping."""
    return _TYPES.get(str(value["$type"])) if value.keys() == {"$type", "value"} else None


def _plain(value: Any, name: str, depth: int = 0) -> Any:
    check_bounds(value, depth, f"the metadata `{name}`")
    for word, kind in _TYPES.items():
        if isinstance(value, kind):
            return {"$type": word, "value": str(value) if kind is Uri else int(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{name}[{i}]", depth + 1) for i, one in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(one, name, depth + 1) for one in value), key=repr)
    if isinstance(value, Mapping):
        marked = _marked(value)
        if marked is not None:  # as it is written on the command line
            return _plain(marked(value["value"]), name)
        return {str(key): _plain(one, f"{name}.{key}", depth + 1) for key, one in value.items()}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(float(value))
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(
        f"the metadata `{name}` is a {type(value).__name__}, which is not plain JSON",
        hint="log its text, or return it as an output of the step",
    )
