"""Tables side by side: what changed in the columns, the rows and the cells of two files.

CSV and TSV, Parquet, Arrow and Feather, JSON lines. Whatever the bytes are, the answer is a
`TableChange`: of what is no table, or too large a one to compare, it says so. The work is linear in
the rows, and the memory is bounded by limits that are checked before anything is decoded.
"""

from __future__ import annotations

from pathlib import Path

from gitml.tables.change import ColumnChange, Statistics, TableChange
from gitml.tables.comparing import Comparison
from gitml.tables.reading import MAX_BYTES, SUFFIXES, NotReadable, arrow_errors, in_short, read

__all__ = ["MAX_BYTES", "SUFFIXES", "ColumnChange", "Statistics", "TableChange", "compare_tables"]


def compare_tables(old: bytes | Path, new: bytes | Path, *, key: str | None = None) -> TableChange:
    """What differs between two tables, given as bytes or as files.

    ``key`` names the column that tells rows apart; without it, one that is unique on both sides and
    is called like a key does. Raises UsageError where the ``key`` that was asked for is none, and
    nothing else: bytes that are no table, and tables that are too large, give a ``problem``.
    """
    try:
        before, after = read(old), read(new)
    except NotReadable as error:
        return TableChange(problem=str(error))
    try:
        return Comparison(before, after, key).change()
    except arrow_errors() as error:
        return TableChange(problem=f"the tables cannot be compared: {in_short(error)}")
