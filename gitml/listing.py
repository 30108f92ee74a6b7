"""Lists of runs and versions that are tables too: for pandas, polars and whatever reads Arrow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypeVar

from gitml.handles import RecordHandle, RunHandle, VersionHandle

T = TypeVar("T", bound=RecordHandle)

_SHOWN = 50
"""Rows that a list shows of itself."""


class Listing(list[T]):
    """A list of runs or versions; ``to_arrow`` and ``to_pandas`` give one row for each.

    The columns are those of every record, then ``parameters.<name>`` and ``metrics.<name>`` for all
    names that occur, in order; none where nothing is listed. What a record does not have is null; a
    parameter that has several types is text throughout.
    """

    def __repr__(self) -> str:
        if not self:
            return "[]"
        lines = [repr(one) for one in self[:_SHOWN]]
        more = len(self) - _SHOWN
        return "\n".join([*lines, f"… and {more} more"] if more > 0 else lines)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``; ``polars.from_arrow`` takes it as it is."""
        import pyarrow as pa

        rows = [_row(one) for one in self]
        columns: dict[str, Any] = {}
        for name in rows[0] if rows else ():
            columns[name] = pa.array([row[name] for row in rows], _type(pa, name))
        for group in ("parameters", "metrics"):
            told: list[Mapping[str, Any]] = [getattr(one, group) for one in self]
            for name in sorted({name for one in told for name in one}):
                columns[f"{group}.{name}"] = _column(pa, [one.get(name) for one in told])
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``."""
        return self.to_arrow().to_pandas()


def _row(record: RecordHandle) -> dict[str, Any]:
    """What each run, or each version, has."""
    if isinstance(record, RunHandle):
        run = record.entry.record
        return {
            "id": str(record.id),
            "pipeline": run.pipeline,
            "status": run.state,
            "started": dt.datetime.fromisoformat(run.started),
            "duration": float(run.duration),
            "model": run.model,
            "steps": len(run.steps),
            "cached": sum(one.state == "cached" for one in run.steps),
            "code": str(run.code.commit),
        }
    assert isinstance(record, VersionHandle)  # noqa: S101 - there are these two
    version = record.entry.record
    return {
        "id": str(record.id),
        "version": record.label,
        "model": record.model,
        "number": record.number,
        "stages": record.stages,
        "aliases": record.aliases,
        "pipeline": version.pipeline,
        "run": str(version.run),
        "created": dt.datetime.fromisoformat(version.created),
        "code": str(version.code.commit),
    }


def _type(pa: Any, name: str) -> Any:
    """The type of a column that every record has; it does not depend on what is in it."""
    types = {
        **dict.fromkeys(("started", "created"), pa.timestamp("us", "UTC")),
        "duration": pa.float64(),
        **dict.fromkeys(("stages", "aliases"), pa.list_(pa.string())),
        **dict.fromkeys(("number", "steps", "cached"), pa.int64()),
    }
    return types.get(name, pa.string())


def _column(pa: Any, values: list[Any]) -> Any:
    """A column of parameters or metrics; text where they have no common type."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([one if one is None else str(one) for one in values], pa.string())
