"""Metric series: what a step logs at its own counts (epochs, batches), kept as one Arrow table.

The rows stand in the order in which they were logged, so nothing is lost where a series has gaps,
says a count twice or goes back to an earlier one (a training that went on from a checkpoint).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitml import materializers
from gitml.entities.records import SERIES, Output
from gitml.errors import CorruptData
from gitml.frozen import Frozen
from gitml.history.journal import Logged

_COLUMNS = ("step", "metric", "value", "time")


class Series(Frozen):
    """One metric of one step: ``steps`` ascending, and the value that was logged last at each."""

    metric: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


class Points:
    """The points of all series of a running step: 24 bytes each, in the order they were logged."""

    def __init__(self) -> None:
        self._steps, self._values, self._times = array("q"), array("d"), array("q")
        self._metrics = array("i")
        self._names: dict[str, int] = {}

    @classmethod
    def of(cls, logged: Iterable[Logged]) -> Points:
        """The points among what a step logged."""
        points = cls()
        for one in logged:
            if one.index is not None:
                points.add(one.index, one.metrics, one.at)
        return points

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Note the values of some metrics at a count; ``at`` is in seconds since the epoch."""
        micros = round(at * 1e6)
        for name, value in values.items():
            self._steps.append(step)
            self._metrics.append(self._names.setdefault(name, len(self._names)))
            self._values.append(value)
            self._times.append(micros)

    def table(self) -> Any:
        """The points as an Arrow table: step, metric, value, and time in UTC."""
        pa = materializers.library("pyarrow", "arrow")
        names = pa.array(list(self._names), pa.string())

        def column(numbers: array[Any], kind: Any) -> Any:
            return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])

        metrics = column(self._metrics, pa.int32())
        return pa.table(
            {
                "step": column(self._steps, pa.int64()),
                "metric": pa.DictionaryArray.from_arrays(metrics, names),
                "value": column(self._values, pa.float64()),
                "time": column(self._times, pa.timestamp("us", tz="UTC")),
            }
        )

    def counts(self) -> dict[str, int]:
        """How many points each metric has."""
        held = [0] * len(self._names)
        for one in self._metrics:
            held[one] += 1
        return dict(zip(self._names, held, strict=True))


def output_of(outputs: Iterable[Output]) -> Output | None:
    """The series among a step's outputs."""
    return next((one for one in outputs if one.name == SERIES), None)


def read(table: Any) -> dict[str, Series]:
    """The series in a table as ``Points.table`` makes it, by metric; raises CorruptData."""
    if tuple(getattr(table, "column_names", ())) != _COLUMNS:
        raise CorruptData("not a table of metric series")
    found: dict[str, dict[int, float]] = {}
    for step, metric, value in _rows(table):
        found.setdefault(metric, {})[step] = value
    return {name: _series(name, points) for name, points in found.items()}


def _rows(table: Any) -> Iterator[tuple[int, str, float]]:
    columns = (table.column(name).to_pylist() for name in ("step", "metric", "value"))
    return zip(*columns, strict=True)


def _series(metric: str, points: Mapping[int, float]) -> Series:
    steps = tuple(sorted(points))
    return Series(metric, steps, tuple(points[step] for step in steps))
