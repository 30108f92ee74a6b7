"""What differs between two tables: as values, in words, and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Statistics:
    """A numeric column in short: its nulls, its least and greatest value, its mean.

    The latter are absent where there is no value, or one that is not a finite number.
    """

    nulls: int
    least: float | None
    greatest: float | None
    mean: float | None


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column on both sides whose cells differ.

    ``cells`` counts them among the rows that both sides have; it is absent where rows could only be
    compared as wholes. The statistics are those of numeric columns, over all rows of a side.
    """

    name: str
    cells: int | None
    old: Statistics | None = None
    new: Statistics | None = None


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs between two tables.

    ``added`` and ``removed`` are columns with their types, ``renamed`` pairs of columns with equal
    content, ``retyped`` columns with both types. ``rows`` is the number of rows on both sides.
    Rows are told apart by the column ``key``, or else ``aligned`` by "position" where there are as
    many on both sides and most are equal, or else compared as wholes, "rows", so that a changed one
    counts as removed and added. ``problem`` says why there is nothing to compare.
    """

    rows: tuple[int, int] = (0, 0)
    added: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    renamed: Sequence[tuple[str, str]] = ()
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    aligned: str = "rows"
    key: str | None = None
    rows_added: int = 0
    rows_removed: int = 0
    rows_changed: int = 0
    columns: Sequence[ColumnChange] = ()
    skipped: Sequence[str] = ()
    problem: str | None = None

    def __bool__(self) -> bool:
        columns = self.added or self.removed or self.renamed or self.retyped
        return bool(columns or self.rows_added or self.rows_removed or self.rows_changed)

    def lines(self) -> Iterator[str]:
        """The change in words, a line each."""
        if self.problem is not None:
            yield self.problem
            return
        yield self._row_line()
        for words, names in (("new", self.added), ("removed", self.removed)):
            yield from (
                f"column {name} ({kind}) is {words}" for name, kind in _first(names.items())
            )
        yield from (f"column {old} is now {new}" for old, new in _first(self.renamed))
        for name, (old, new) in _first(self.retyped.items()):
            yield f"column {name} was {old} and is {new}"
        for column in _first(self.columns):
            yield _column_line(column)
        if self.skipped:
            yield f"not compared: {', '.join(self.skipped[:_SHOWN])}"

    def document(self) -> dict[str, Any]:
        """The change for JSON."""
        if self.problem is not None:
            return {"problem": self.problem}
        return {
            "rows": {
                "old": self.rows[0],
                "new": self.rows[1],
                "added": self.rows_added,
                "removed": self.rows_removed,
                "changed": self.rows_changed,
                "aligned": self.aligned,
                "key": self.key,
            },
            "columns": {
                "added": dict(self.added),
                "removed": dict(self.removed),
                "renamed": [list(one) for one in self.renamed],
                "retyped": {name: list(both) for name, both in self.retyped.items()},
                "changed": [_column_document(one) for one in self.columns],
                "skipped": list(self.skipped),
            },
        }

    def _row_line(self) -> str:
        old, new = self.rows
        counts = [
            f"{count:,} {word}"
            for count, word in (
                (self.rows_added, "added"),
                (self.rows_removed, "removed"),
                (self.rows_changed, "changed"),
            )
            if count
        ]
        how = f" by {self.key}" if self.key is not None else ""
        total = f"{new:,}" if old == new else f"{old:,} → {new:,}"
        same = "the same in another order" if self.aligned == "rows" else "all the same"
        return f"rows {total}: {', '.join(counts) or same}{how if counts else ''}"


def _first(items: Any) -> list[Any]:
    return list(items)[:_SHOWN]


def _column_line(column: ColumnChange) -> str:
    cells = "" if column.cells is None else f": {column.cells:,} changed"
    parts = []
    if column.old is not None and column.new is not None:
        for name in ("mean", "least", "greatest", "nulls"):
            old, new = getattr(column.old, name), getattr(column.new, name)
            if old != new:
                parts.append(f"{name} {_number(old)} → {_number(new)}")
    return f"column {column.name}{cells}{', ' if cells and parts else ': ' if parts else ''}" + (
        ", ".join(parts)
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.6g}"


def _column_document(column: ColumnChange) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "cells": column.cells}
    for side, found in (("old", column.old), ("new", column.new)):
        if found is not None:
            document[side] = {
                "nulls": found.nulls,
                "least": found.least,
                "greatest": found.greatest,
                "mean": found.mean,
            }
    return document
