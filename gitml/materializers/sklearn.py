"""Scikit-learn estimators as canonical skops files: readable, deterministic, and no pickle.

**Format 1.** The form of `gitml.materializers.skops_form`. Loading builds only types that skops,
the shipped list of `gitml.materializers.sklearn_trust`, the repository's config or the step's own
code allows; the same is asked at saving, so that what was saved can be loaded.

What is written is loaded again and compared attribute by attribute before it is stored, because
skops passes over some differences in silence (an enum becomes its number, ``False`` as a key of a
dictionary becomes ``True``).
"""

from __future__ import annotations

import math
from typing import Any

from gitml.errors import CorruptData, GitmlError, UnsupportedValue
from gitml.materializers import npy, skops_form
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name
from gitml.materializers.sklearn_trust import check_indices, require_trust

# What an object has found out about itself so far; not a part of its value.
_CACHES = skops_form.ADDRESSES | {"_has_canonical_format", "_has_sorted_indices"}
_MAX_LABELS = 50
_SCALARS = (bool, int, float, complex, str, bytes, bytearray)


class SklearnMaterializer(Materializer):
    """Estimators, fitted or not, with pipelines and meta-estimators of them."""

    name = "sklearn"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The canonical skops file; raises UnsupportedValue with the type or attribute at fault."""
        io = library("skops.io", "sklearn")
        try:
            raw = skops_form.canonical(io.dumps(value))
        except GitmlError:
            raise
        except Exception as error:
            raise UnsupportedValue(
                f"this {type_name(value)} holds something that skops cannot store",
                hint="keep functions, open files and other live objects out of its attributes",
            ) from error
        lost = difference(value, _read(raw, rules))
        if lost is not None:
            raise UnsupportedValue(f"{lost} would not come back as it is")
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The estimator; raises UnsupportedValue for types without trust, else CorruptData."""
        return _read(content.read(), rules)

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Class, parameters, and once it is fitted the features by number and name, the classes."""
        facts: dict[str, JSON] = {
            "class": type_name(value),
            "params": {name: _param(one) for name, one in sorted(value.get_params().items())},
        }
        if (count := getattr(value, "n_features_in_", None)) is not None:
            facts["n_features_in"] = int(count)
        if (names := getattr(value, "feature_names_in_", None)) is not None:
            facts["feature_names_in"] = shown([str(name) for name in names])
        if labels := _labels(value):
            facts["classes"] = labels
        return facts


def _read(raw: bytes, rules: Rules) -> Any:
    io = library("skops.io", "sklearn")
    schema = skops_form.read_schema(raw)
    try:
        named = set(io.get_untrusted_types(data=raw))
    except Exception as error:
        raise CorruptData("not an estimator in skops format") from error
    trusted = require_trust(named, schema, rules)
    try:
        value = io.loads(raw, trusted=trusted)
    except Exception as error:
        raise UnsupportedValue(
            "the estimator cannot be rebuilt with the libraries that are installed here",
            hint="compare them with `.gitml/environment.txt` of the run that made it",
        ) from error
    check_indices(value)
    return value


def _labels(value: Any) -> list[JSON]:
    """The classes that a fitted classifier tells apart; none where they are many, or of several."""
    classes = getattr(value, "classes_", None)
    if getattr(classes, "ndim", 0) != 1 or classes is None or len(classes) > _MAX_LABELS:
        return []
    return [_param(one) for one in classes.tolist()]


def _param(value: object) -> JSON:
    """A parameter as JSON: plain values as they are, everything else by the name of its type."""
    if value is None or type(value) in (bool, str):
        return value  # type: ignore[return-value]
    if type(value) is int and abs(value) < 2**63:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and len(value) <= 20:
        return [_param(one) for one in value]
    return type_name(value)


def difference(left: Any, right: Any, where: str = "value") -> str | None:
    """The first place at which two objects differ, as pickle would see them; None if nowhere.

    Types must be the same, floats and arrays equal in every bit. Objects are compared by what their
    ``__reduce_ex__`` tells, so that extension types count too.
    """
    return _Comparison().place(left, right, where)


class _Comparison:
    """A walk through two object graphs side by side."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._kept: list[object] = []  # so that no id is used again while we walk

    def place(self, left: Any, right: Any, where: str) -> str | None:
        """The first place that differs."""
        if left is right:
            return None
        if type(left) is not type(right) or isinstance(left, type):
            return where
        if isinstance(left, _SCALARS) and type(left) in _SCALARS:
            return None if repr(left) == repr(right) else where
        if (id(left), id(right)) in self._seen:
            return None
        self._seen.add((id(left), id(right)))
        self._kept += (left, right)
        if type(left) in (list, tuple):
            return self._sequences(left, right, where)
        if type(left) is dict:
            return self._dicts(left, right, where)
        if type(left) in (set, frozenset):
            return None if left == right else where
        if type(left).__module__ == "numpy" and hasattr(left, "dtype"):
            return self._arrays(left, right, where)
        if type_name(left).endswith(".RandomState"):  # its seed is history, its state is all
            states = [one.get_state(legacy=False) for one in (left, right)]
            return self.place(states[0], states[1], where)
        return self._reduced(left, right, where)

    def _sequences(self, left: Any, right: Any, where: str) -> str | None:
        if len(left) != len(right):
            return where
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            found = self.place(one, other, f"{where}[{index}]")
            if found is not None:
                return found
        return None

    def _dicts(self, left: Any, right: Any, where: str) -> str | None:
        found = self._sequences(list(left), list(right), f"{where}.keys()")
        if found is not None:
            return where
        for one, other in zip(left.items(), right.items(), strict=True):
            found = self.place(one[1], other[1], f"{where}[{one[0]!r}]")
            if found is not None:
                return found
        return None

    def _arrays(self, left: Any, right: Any, where: str) -> str | None:
        numpy = library("numpy", "sklearn")
        left, right = numpy.asarray(left), numpy.asarray(right)
        same_order = left.flags.f_contiguous == right.flags.f_contiguous
        if left.dtype != right.dtype or left.shape != right.shape:
            return where
        if left.dtype.hasobject:
            return self._sequences(left.ravel().tolist(), right.ravel().tolist(), where)
        clean = (npy.without_padding(numpy, one).tobytes() for one in (left, right))
        contiguous = left.flags.f_contiguous or left.flags.c_contiguous
        return None if next(clean) == next(clean) and (same_order or not contiguous) else where

    def _reduced(self, left: Any, right: Any, where: str) -> str | None:
        try:
            parts = [one.__reduce_ex__(4) for one in (left, right)]
        except Exception:  # noqa: BLE001 (an object that cannot tell what it is may be anything)
            return where
        if not all(isinstance(one, tuple) for one in parts):
            return None if parts[0] == parts[1] else where
        made, state = ([one[:2] for one in parts], [[*one, None][2:3] for one in parts])
        found = self._sequences(made[0], made[1], where)
        if found is not None:
            return where
        for before, after in zip(*state, strict=True):
            if isinstance(before, dict) and isinstance(after, dict):
                return self._attributes(before, after, where)
            return self.place(before, after, where)
        return None

    def _attributes(self, left: Any, right: Any, where: str) -> str | None:
        for name in {**left, **right}:
            if name in _CACHES:
                continue
            if name not in left or name not in right:
                return f"{where}.{name}"
            found = self.place(left[name], right[name], f"{where}.{name}")
            if found is not None:
                return found
        return None
