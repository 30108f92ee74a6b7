"""Model versions side by side: their metrics, parameters and artifacts, with the best marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gitml.entities.records import Signature
from gitml.frozen import Frozen
from gitml.handles import VersionHandle
from gitml.htmltable import plain, table


class Row(Frozen):
    """One parameter, metric or artifact over all versions; ``values`` has None where it is absent.

    Of a metric, ``deltas`` are the differences to the version before it that has the metric, and
    ``best`` the positions of the best values, empty where no direction is declared.
    """

    name: str
    values: tuple[Any, ...]
    deltas: tuple[float | None, ...] = ()
    best: frozenset[int] = frozenset()
    direction: str | None = None

    @property
    def same(self) -> bool:
        """Whether all versions agree."""
        return all(value == self.values[0] for value in self.values)


class Comparison(Frozen):
    """Model versions side by side, in the order in which they were asked for.

    ``signatures`` are rows of what their models take and give, by artifact.
    """

    versions: tuple[VersionHandle, ...]
    metrics: tuple[Row, ...]
    parameters: tuple[Row, ...]
    artifacts: tuple[Row, ...]
    signatures: tuple[Row, ...] = ()

    def __repr__(self) -> str:
        return plain(*self._table())

    def _repr_html_(self) -> str:
        """The comparison as a notebook shows it, a column a version."""
        return table(*self._table())

    def _table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """The head and the rows, a column a version."""
        groups = (("metric", self.metrics), ("parameter", self.parameters))
        rows: list[tuple[Any, ...]] = [
            (kind, row.name, *row.values) for kind, part in groups for row in part
        ]
        rows += [
            ("artifact", row.name, *(one.short if one else None for one in row.values))
            for row in self.artifacts
        ]
        rows += [("takes", row.name, *map(_words, row.values)) for row in self.signatures]
        return ("", "name", *(one.label for one in self.versions)), rows

    def ranked(self, metric: str) -> list[int]:
        """The positions of the versions, best value of a metric first; absent values last."""
        row = next((one for one in self.metrics if one.name == metric), None)
        if row is None:
            return list(range(len(self.versions)))
        sign = 1 if row.direction == "min" else -1

        def order(i: int) -> tuple[bool, float]:
            value = row.values[i]
            usable = value is not None and not math.isnan(value)
            return (not usable, sign * value if usable else 0.0)

        return sorted(range(len(self.versions)), key=order)


def compare_versions(
    versions: Sequence[VersionHandle], directions: Mapping[str, str]
) -> Comparison:
    """Metrics with deltas and best values, parameters and artifacts of versions side by side.

    ``directions`` says of a metric whether "max" or "min" is better; without it none is best.
    """
    metrics = metric_rows([one.metrics for one in versions], directions)
    parameters = rows_of([one.parameters for one in versions])
    artifacts = rows_of([{k: a.digest for k, a in one.artifacts.items()} for one in versions])
    signatures = rows_of([one.signatures for one in versions])
    return Comparison(tuple(versions), metrics, parameters, artifacts, signatures)


def metric_rows(
    tables: Sequence[Mapping[str, float]], directions: Mapping[str, str]
) -> tuple[Row, ...]:
    """Each metric over several records, with deltas and best values."""
    return tuple(
        _metric(name, values, _direction(name, directions)) for name, values in _rows(tables)
    )


def rows_of(tables: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Each name of some tables with its value in every one of them."""
    return tuple(Row(name, values) for name, values in _rows(tables))


def _words(signature: Signature | None) -> str | None:
    from gitml.pipelines.signature import words

    return None if signature is None else words(signature)


def _rows(tables: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[Any, ...]]]:
    """Each name of the tables with its value in every one of them."""
    names = sorted({name for table in tables for name in table})
    return [(name, tuple(table.get(name) for table in tables)) for name in names]


def _direction(name: str, directions: Mapping[str, str]) -> str | None:
    """The declared direction of a metric; one qualified by its step has that of its last part."""
    return directions.get(name) or directions.get(name.rpartition(".")[2])


def _metric(name: str, values: tuple[float | None, ...], direction: str | None) -> Row:
    deltas: list[float | None] = []
    last: float | None = None
    for value in values:
        deltas.append(value - last if value is not None and last is not None else None)
        last = value if value is not None else last
    best: frozenset[int] = frozenset()
    usable = [v for v in values if v is not None and not math.isnan(v)]
    if direction is not None and usable:
        top = max(usable) if direction == "max" else min(usable)
        best = frozenset(i for i, value in enumerate(values) if value == top)
    return Row(name, values, tuple(deltas), best, direction)
