"""A step that is called for each of many items, as one execution with a result for each.

The items of earlier executions are found by a key of their own: that of the step without what it is
mapped over, and the item's arguments. So a change of one item computes one.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gitml.entities import codec
from gitml.errors import CorruptData, UsageError
from gitml.frozen import Frozen
from gitml.materializers.items import Cell
from gitml.pipelines.dsl import Fan
from gitml.pipelines.sourcefile import digest_text
from gitml.pipelines.syntax import quote
from gitml.pipelines.values import NotPlain, canonical_value

ITEMS = "map-items"
"""The name of the output that has a row for each item: key, seconds, cached."""

_LONGEST = 1000
"""Characters of a text among the arguments that are kept."""

Cells = tuple[Cell, ...]


class Row(Frozen):
    """One item: its key ("" where it has none), its results, how long they took.

    ``arguments`` are those that it was mapped over, for people.
    """

    key: str
    arguments: Mapping[str, Any]
    cells: Cells
    seconds: float
    cached: bool


def arguments_of(fan: Fan, given: Mapping[str, Any], step: str) -> Iterator[dict[str, Any]]:
    """The arguments of each item; raises UsageError for what cannot be mapped over."""
    lists = {}
    for name in fan.over:
        value = given[name]
        if not isinstance(value, (list, tuple)):
            raise UsageError(
                f"{step} is mapped over `{name}`, which is a {type(value).__name__}, not a list",
                hint=f"`unmapped(…)` hands `{name}` whole to every call",
            )
        lists[name] = value
    sizes = {name: len(one) for name, one in lists.items()}
    if fan.kind == "map" and len(set(sizes.values())) > 1:
        said = ", ".join(f"`{name}` has {size}" for name, size in sizes.items())
        raise UsageError(
            f"{step} is mapped over lists of different lengths: {said}",
            hint=f"`{step}.product(…)` takes every combination",
        )
    many = zip if fan.kind == "map" else itertools.product
    for values in many(*lists.values()):
        yield {**given, **dict(zip(lists, values, strict=True))}


def item_key(base: str, fan: Fan, arguments: Mapping[str, Any]) -> str:
    """The key of an item, empty where an argument is not plain data."""
    try:
        texts = [f"{quote(name)} {canonical_value(arguments[name], _refuse)}" for name in fan.over]
    except NotPlain:
        return ""
    return digest_text("\n".join(["item 1", base, *texts]))


def rows(
    fan: Fan,
    items: Iterable[dict[str, Any]],
    base: str,
    known: Mapping[str, Cells],
    compute: Callable[[dict[str, Any]], Cells],
) -> list[Row]:
    """A row for each item, in order: those that are known, and the others computed.

    What an item raises names the item in a note.
    """
    found = []
    for number, arguments in enumerate(items):
        key = item_key(base, fan, arguments) if base else ""
        own = {name: arguments[name] for name in fan.over}
        if key in known:
            found.append(Row(key, own, known[key], 0.0, cached=True))
            continue
        began = time.perf_counter()
        try:
            cells = compute(arguments)
        except BaseException as error:
            said = ", ".join(f"{name}={_short(arguments[name])}" for name in fan.over)
            error.add_note(f"while the item {number} was computed: {said}")
            raise
        found.append(Row(key, own, cells, time.perf_counter() - began, cached=False))
    return found


def table_of(found: Iterable[Row]) -> Any:
    """The Arrow table of the items."""
    import pyarrow as pa

    done = list(found)
    return pa.table(
        {
            "key": pa.array([one.key for one in done], pa.string()),
            "arguments": pa.array([_text(one.arguments) for one in done], pa.string()),
            "seconds": pa.array([round(one.seconds, 6) for one in done], pa.float64()),
            "cached": pa.array([one.cached for one in done], pa.bool_()),
        }
    )


def known_rows(table: Any, outputs: Iterable[list[Cell]]) -> dict[str, Cells]:
    """The results of an earlier execution by the keys of its items; raises CorruptData."""
    keys = table.column("key").to_pylist()
    columns = list(outputs)
    if any(len(one) != len(keys) for one in columns):
        raise CorruptData("the table of items and the results differ in length")
    cells = zip(*columns, strict=True) if columns else itertools.repeat((), len(keys))
    return {key: tuple(one) for key, one in zip(keys, cells, strict=True) if key}


def _text(arguments: Mapping[str, Any]) -> str:
    """The arguments as JSON, those that are large cut off."""
    return codec.dump_line({name: _plain(one) for name, one in arguments.items()})


def _plain(value: object) -> object:
    if isinstance(value, (type(None), bool, int, float)):
        return codec.plain(value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    return _short(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _refuse(value: object) -> str:
    raise NotPlain(type(value).__name__)
