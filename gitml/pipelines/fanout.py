"""A step that is called for each of many items, as one execution with a result for each.

`FanOut` is such an execution: it computes the items that no earlier one has, and stores all. Items
are found by a key of their own: that of the step without what it is mapped over, and the item's
arguments. So a change of one item computes one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gitml.code.sourcefile import digest_text
from gitml.code.syntax import quote
from gitml.code.values import NotPlain, canonical_value
from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Map, Output
from gitml.errors import CorruptData, MissingBytes, UsageError
from gitml.frozen import Frozen, replace
from gitml.history.entries import StepEntry
from gitml.materializers import Rules, arrow
from gitml.materializers.items import Cell, Items, cell, cells
from gitml.pipelines.attempts import attempted
from gitml.pipelines.dsl import Fan
from gitml.pipelines.plan import PlannedStep
from gitml.pipelines.storing import Storing, matched, store_value
from gitml.store.store import Writer

ITEMS = "map-items"
"""The name of the output that has a row for each item: key, seconds, cached."""

_COLUMNS = ("materializer", "value")
"""What is kept of a result; the name of the output follows in the name of the column."""

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


class FanOut:
    """One execution of a step that is called for many items.

    ``base`` is the key of the step without what it is mapped over, empty where items cannot be
    cached. ``sources`` is what its inputs were made of in the end.
    """

    def __init__(
        self,
        planned: PlannedStep,
        base: str,
        sources: set[ObjectId],
        rules: Rules,
        writer: Writer,
    ) -> None:
        assert planned.fan is not None  # noqa: S101 - whoever makes one has asked
        self._fan: Fan = planned.fan
        self._planned = planned
        self._rules = rules
        self._writer = writer
        self._known: dict[str, Cells] = {}
        self._rows: list[Row] = []
        self._noted = 0
        self.base = base
        self._sources = sources
        self._taken_from: set[ObjectId] = set()

    def learn(self, entry: StepEntry, sources: Iterable[ObjectId]) -> None:
        """Take over the items of an earlier execution, but for those that are known already."""
        named = {one.name: one for one in entry.record.outputs}
        with contextlib.suppress(CorruptData, MissingBytes):  # they are computed again
            table = arrow.read(self._writer.read(named[ITEMS].digest))
            outputs = (named[one.name].digest for one in self._planned.step.outputs)
            stored = [cells(self._writer.read(one)) for one in outputs]
            self._learn(table, stored)
            self._taken_from.update(sources)

    def reached(self) -> tuple[ObjectId, ...]:
        """The sources of results that were taken over, where the inputs do not lead to them."""
        return tuple(sorted(self._taken_from - self._sources))

    def call(self, given: Mapping[str, Any], tell: Callable[[int, int], None]) -> None:
        """Have a result for each item: those that are known, and the others computed.

        ``tell`` is called with how many are done, and of how many.
        """
        items = list(arguments_of(self._fan, given, self._planned.name))
        for row in rows(self._fan, items, self.base, self._known, self._compute):
            self._rows.append(row)
            tell(len(self._rows), len(items))

    def _compute(self, arguments: dict[str, Any]) -> Cells:
        step, name = self._planned.step, self._planned.name
        call = functools.partial(step.function, **arguments)
        returned, _ = attempted(step.options, name, call)
        return tuple(cell(one, self._rules) for one in matched(step.outputs, returned, name))

    def stored(self, storing: Storing, pipeline: str) -> tuple[Output, ...]:
        """The results, each output a list, and the table of the items."""
        made = []
        for n, spec in enumerate(self._planned.step.outputs):
            results = Items(tuple(one.cells[n] for one in self._rows))
            output = storing.output(self._planned, spec, results, self._rules)
            made.append(replace(output, type="list"))
        artifact = f"{pipeline}.{self._planned.name}.{ITEMS}"
        table = table_of(self._rows)
        return (
            *made,
            store_value(self._writer, table, name=ITEMS, artifact=artifact, rules=Rules()),
        )

    def kept(self, pipeline: str, observed: Mapping[str, str]) -> Output | None:
        """The results so far, for the record of a run in which an item failed; None without any.

        ``observed`` are files that the items read.
        """
        rows = [one for one in self._rows if one.key]
        if not rows:
            return None
        return store_items(
            self._writer,
            self._with_results(rows),
            (pipeline, self._planned.name),
            self.base,
            observed,
            self.made_of,
        )

    def fresh(self) -> bytes | None:
        """The results since this was asked before, as the bytes of a table; None without any."""
        rows, self._noted = self._rows[self._noted :], len(self._rows)
        rows = [one for one in rows if one.key and not one.cached]
        return arrow.write(self._with_results(rows)) if rows else None

    @property
    def made_of(self) -> tuple[str, ...]:
        """The sources of all results so far."""
        return tuple(sorted(one.hex for one in {*self._sources, *self._taken_from}))

    def _with_results(self, rows: list[Row]) -> Any:
        table = table_of(rows)
        for n, spec in enumerate(self._planned.step.outputs):
            for place, column in enumerate(_COLUMNS):
                values = [one.cells[n][place] for one in rows]
                table = table.append_column(f"{column} {spec.name}", [values])
        return table

    def learn_kept(self, items: Output) -> None:
        """Take over what a run had before an item failed, but for what is known already."""
        with contextlib.suppress(CorruptData, MissingBytes):  # they are computed again
            table = arrow.read(self._writer.read(items.digest))
            names = [one.name for one in self._planned.step.outputs]
            columns = [f"{column} {name}" for name in names for column in _COLUMNS]
            if not {"key", *columns} <= set(table.column_names):
                raise CorruptData("the table of items lacks columns")
            stored = [
                list(
                    zip(
                        *(table.column(f"{one} {name}").to_pylist() for one in _COLUMNS),
                        strict=True,
                    )
                )
                for name in names
            ]
            self._learn(table, stored)

    def _learn(self, table: Any, stored: Iterable[list[Cell]]) -> None:
        # With an expiry: what an execution took over itself is older than its record says.
        own = self._planned.policy.seconds is not None
        self._known = {**known_rows(table, stored, own=own), **self._known}

    def record(self, *, reusable: bool) -> Map:
        """What the record says of the items; others take them over where they are ``reusable``."""
        cached = sum(one.cached for one in self._rows)
        key = self.base if reusable else ""
        return Map(self._fan.kind, self._fan.over, len(self._rows), cached, key or None)


def store_items(
    writer: Writer,
    table: Any,
    step: tuple[str, str],
    key: str,
    observed: Mapping[str, str],
    sources: Iterable[str],
) -> Output:
    """The results of a mapped ``step`` (pipeline and name) that did not finish, in the store."""
    pipeline, name = step
    artifact = f"{pipeline}.{name}.{ITEMS}"
    made = store_value(writer, table, name=ITEMS, artifact=artifact, rules=Rules())
    known = {"key": key, "observed": dict(observed), "sources": list(sources)}
    return replace(made, metadata={"rows": table.num_rows, **known})


def joined(tables: Iterable[bytes]) -> Any:
    """Several tables of results as one; raises CorruptData."""
    import pyarrow as pa

    try:
        return pa.concat_tables([arrow.read(one) for one in tables])
    except (pa.ArrowException, TypeError) as error:
        raise CorruptData("the tables of items do not fit together") from error


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
        texts = [f"{quote(name)} {canonical_value(arguments[name])}" for name in fan.over]
    except NotPlain:
        return ""
    return digest_text("\n".join(["item 1", base, *texts]))


def rows(
    fan: Fan,
    items: Iterable[dict[str, Any]],
    base: str,
    known: Mapping[str, Cells],
    compute: Callable[[dict[str, Any]], Cells],
) -> Iterator[Row]:
    """A row for each item, in order: those that are known, and the others computed.

    What an item raises names the item in a note.
    """
    for number, arguments in enumerate(items):
        key = item_key(base, fan, arguments) if base else ""
        own = {name: arguments[name] for name in fan.over}
        if key in known:
            yield Row(key, own, known[key], 0.0, cached=True)
            continue
        began = time.perf_counter()
        try:
            results = compute(arguments)
        except BaseException as error:
            said = ", ".join(f"{name}={_short(arguments[name])}" for name in fan.over)
            error.add_note(f"while the item {number} was computed: {said}")
            raise
        yield Row(key, own, results, time.perf_counter() - began, cached=False)


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


def known_rows(table: Any, outputs: Iterable[list[Cell]], *, own: bool = False) -> dict[str, Cells]:
    """The results of an earlier execution by the keys of its items; raises CorruptData.

    With ``own`` those alone that it computed itself.
    """
    keys = table.column("key").to_pylist()
    if own:
        cached = table.column("cached").to_pylist()
        keys = ["" if one else key for key, one in zip(keys, cached, strict=True)]
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
