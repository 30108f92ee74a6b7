"""Two tables held against each other: columns, rows and cells. The work is linear in the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitml.errors import UsageError
from gitml.tables.change import ColumnChange, Statistics, TableChange
from gitml.tables.kinds import (
    is_dictionary,
    is_fraction,
    is_list,
    is_number,
    is_plain,
    is_text,
    name_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_NESTED_ROWS = 200_000
_MAX_GUESSES = 400
_KEY = re.compile(r"(?i)^(?:id|key|uuid|guid|index|.*[_ -](?:id|key|uuid)|[a-z]+Id)$")


class Comparison:
    """Two tables, their common columns in a form in which cells can be compared.

    Raises UsageError for a ``key`` that is no column of both, or does not tell rows apart.
    """

    def __init__(self, old: pa.Table, new: pa.Table, key: str | None) -> None:
        for table in (old, new):
            if key is not None and key not in table.column_names:
                raise UsageError(f"there is no column {key!r} on both sides")
        self.old = old
        self.new = new
        self.wanted = key
        self.skipped: list[str] = []
        self.pairs: dict[str, tuple[Any, Any]] = {}
        there = set(new.column_names)
        for name in old.column_names:
            if name in there:
                pair = _comparable(old.column(name), new.column(name))
                if pair is None:
                    self.skipped.append(name)
                else:
                    self.pairs[name] = pair

    def change(self) -> TableChange:
        """What differs."""
        old, new = self.old, self.new
        kinds = {one.name: name_of(one.type) for one in old.schema}
        now = {one.name: name_of(one.type) for one in new.schema}
        removed = {name: kind for name, kind in kinds.items() if name not in now}
        added = {name: kind for name, kind in now.items() if name not in kinds}
        renamed = self._renamed(removed, added)
        for before, after in renamed:
            del removed[before], added[after]
        retyped = {
            name: (kind, now[name]) for name, kind in kinds.items() if now.get(name, kind) != kind
        }
        rows = self._rows()
        return TableChange(
            rows=(old.num_rows, new.num_rows),
            added=added,
            removed=removed,
            renamed=renamed,
            retyped=retyped,
            skipped=self.skipped,
            **rows,
        )

    def _renamed(
        self, removed: Mapping[str, str], added: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """The columns that have the same content under another name."""
        found: list[tuple[str, str]] = []
        if self.old.num_rows != self.new.num_rows or len(removed) * len(added) > _MAX_GUESSES:
            return found
        left = dict(added)
        for before, kind in removed.items():
            for after in [name for name, other in left.items() if other == kind]:
                pair = _comparable(self.old.column(before), self.new.column(after))
                if pair is not None and not _count(_differs(*pair)):
                    found.append((before, after))
                    del left[after]
                    break
        return found

    def _rows(self) -> dict[str, Any]:
        """How rows were told apart, and how many and which cells differ."""
        key = self._key()
        if key is not None:
            return self._by_key(key)
        if self.old.num_rows == self.new.num_rows:
            masks = {name: _differs(*pair) for name, pair in self.pairs.items()}
            changed = _count_any(list(masks.values()))
            if 2 * changed <= self.old.num_rows:
                columns = self._columns({name: _count(mask) for name, mask in masks.items()})
                return {"aligned": "position", "rows_changed": changed, "columns": columns}
        return self._as_wholes()

    def _key(self) -> str | None:
        """The column that tells rows apart: the one that was asked for, or an obvious one."""
        if self.wanted is not None:
            if self.wanted in self.pairs and _is_key(*self.pairs[self.wanted]):
                return self.wanted
            raise UsageError(
                f"the column {self.wanted!r} does not tell rows apart: it has nulls or duplicates"
            )
        for name, pair in self.pairs.items():
            if _KEY.match(name) and not is_fraction(pair[0].type) and _is_key(*pair):
                return name
        return None

    def _by_key(self, key: str) -> dict[str, Any]:
        import pyarrow.compute as pc

        old_key, new_key = self.pairs[key]
        places = pc.index_in(new_key, value_set=old_key)
        held = pc.is_valid(places)
        both = places.drop_null()
        masks = {
            name: _differs(old.take(both), new.filter(held))
            for name, (old, new) in self.pairs.items()
            if name != key
        }
        columns = self._columns({name: _count(mask) for name, mask in masks.items()})
        return {
            "aligned": "key",
            "key": key,
            "rows_added": self.new.num_rows - len(both),
            "rows_removed": self.old.num_rows - len(both),
            "rows_changed": _count_any(list(masks.values())),
            "columns": columns,
        }

    def _as_wholes(self) -> dict[str, Any]:
        """Rows as a multiset: how many stand more often on one side than on the other."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.pairs:
            surplus = self.new.num_rows - self.old.num_rows
            return {"rows_added": max(surplus, 0), "rows_removed": max(-surplus, 0)}
        names = [f"c{place}" for place in range(len(self.pairs))]
        sides = []
        for side, weight in ((0, -1), (1, 1)):
            arrays = [pair[side] for pair in self.pairs.values()]
            count = pa.repeat(pa.scalar(weight, pa.int64()), len(arrays[0]))
            sides.append(pa.table([*arrays, count], [*names, "weight"]))
        grouped = pa.concat_tables(sides).group_by(names, use_threads=False)
        sums = grouped.aggregate([("weight", "sum")])["weight_sum"]
        zero = pa.scalar(0, pa.int64())
        added = pc.sum(pc.max_element_wise(sums, zero)).as_py() or 0
        removed = -(pc.sum(pc.min_element_wise(sums, zero)).as_py() or 0)
        columns = self._columns(dict.fromkeys(self.pairs)) if added or removed else ()
        return {"rows_added": added, "rows_removed": removed, "columns": columns}

    def _columns(self, cells: Mapping[str, int | None]) -> list[ColumnChange]:
        """The columns with changed cells, or, where those are unknown, with other statistics."""
        found = []
        for name, count in cells.items():
            if count == 0:
                continue
            old, new = (_statistics(one.column(name)) for one in (self.old, self.new))
            if count is not None or old != new:
                found.append(ColumnChange(name, count, old, new))
        return found


def _comparable(old: Any, new: Any) -> tuple[Any, Any] | None:
    """Two columns as arrays of one type in which cells can be compared; None where they cannot."""
    old, new = _one_array(old), _one_array(new)
    kinds = [one.type.value_type if is_dictionary(one.type) else one.type for one in (old, new)]
    if all(map(is_text, kinds)):
        return _codes(old, new)
    if any(map(is_dictionary, (old.type, new.type))):
        return None
    if kinds[0] == kinds[1] and is_plain(kinds[0]):
        return old, new
    if all(map(is_number, kinds)):
        import pyarrow as pa

        return old.cast(pa.float64(), safe=False), new.cast(pa.float64(), safe=False)
    if all(is_plain(kind) or is_text(kind) for kind in kinds):
        return _codes(_texts(old), _texts(new))
    if max(len(old), len(new)) <= _MAX_NESTED_ROWS and all(map(is_list, kinds)):
        return _codes(_texts(old), _texts(new))
    return None


def _one_array(column: Any) -> Any:
    """A column in one piece, dictionaries of its pieces united."""
    if is_dictionary(column.type) and column.num_chunks:
        column = column.unify_dictionaries()
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _texts(array: Any) -> Any:
    """An array as texts, each value as it is written."""
    import pyarrow as pa

    if is_text(array.type):
        return array
    if is_plain(array.type):
        return array.cast(pa.string())
    return pa.array([None if one is None else repr(one) for one in array.to_pylist()], pa.string())


def _codes(old: Any, new: Any) -> tuple[Any, Any]:
    """Two arrays of texts as numbers, equal where the texts are; a dictionary is not unfolded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = []
    for array in (old, new):
        found = array.dictionary if is_dictionary(array.type) else array
        values.append(pc.unique(found.cast(pa.large_binary())))
    known = pc.unique(pa.concat_arrays(values))
    coded = []
    for array in (old, new):
        if is_dictionary(array.type):
            table = pc.index_in(array.dictionary.cast(pa.large_binary()), value_set=known)
            valid = pc.is_valid(array.dictionary)
            coded.append(pc.if_else(valid, table, None).take(array.indices))
        else:
            places = pc.index_in(array.cast(pa.large_binary()), value_set=known)
            coded.append(pc.if_else(pc.is_valid(array), places, None))
    return coded[0], coded[1]


def _differs(old: Any, new: Any) -> Any:
    """Where two arrays of one length differ; null and NaN are equal to themselves."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    differs = pc.fill_null(pc.not_equal(old, new), False)
    if types.is_floating(old.type):
        both = pc.and_(pc.is_nan(old), pc.is_nan(new))
        differs = pc.and_not(differs, pc.fill_null(both, False))
    return pc.or_(differs, pc.xor(pc.is_null(old), pc.is_null(new)))


def _count(mask: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(mask).as_py() or 0)


def _count_any(masks: Sequence[Any]) -> int:
    """In how many places at least one of the masks is set."""
    import pyarrow.compute as pc

    if not masks:
        return 0
    whole = masks[0]
    for mask in masks[1:]:
        whole = pc.or_(whole, mask)
    return _count(whole)


def _is_key(old: Any, new: Any) -> bool:
    """Whether every value is there, and once, on both sides."""
    import pyarrow.compute as pc

    return all(
        not one.null_count and pc.count_distinct(one).as_py() == len(one) for one in (old, new)
    )


def _statistics(column: Any) -> Statistics | None:
    """What can be said of a numeric column; None of another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_number(column.type):
        return None
    values = column.cast(pa.float64(), safe=False)
    finite = values.filter(pc.is_finite(values))
    if not len(finite):
        return Statistics(column.null_count, None, None, None)
    ends = pc.min_max(finite).as_py()
    mean = pc.mean(finite).as_py()
    return Statistics(column.null_count, ends["min"], ends["max"], mean)
