"""One encoding for every record: frozen values to canonical JSON and back.

Canonical JSON is UTF-8, keys sorted, two spaces of indentation, a newline at the end; a field that
is ``None`` is left out, unless the record says that its null means something. What a reader does
not know it keeps, in the record's ``extra``, and writes again: records outlive the version that
made them (docs/format.md, "Reading later versions").
"""

from __future__ import annotations

import enum
import functools
import json
import math
import os
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import CorruptData, UsageError
from gitml.frozen import Frozen, fields

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]
R = TypeVar("R", bound=Frozen)

FORMAT = 1
MAX_DOCUMENT = 16 << 20
"""Bytes; a larger record is refused before it is parsed."""
MAX_DEPTH = 64
"""Objects and lists within one another; a deeper record is refused."""


def to_json(record: Any) -> bytes:
    """The canonical bytes of a record, ``"format"`` first among its fields in meaning."""
    return dump(to_document(record))


def dump(document: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a JSON document; raises ValueError for NaN and infinities.

    Half a surrogate pair, as file names that are no UTF-8 have them, stands as its JSON escape.
    Raises UsageError for a document that no reader would take.
    """
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    data = text.encode("utf-8", "backslashreplace") + b"\n"
    if len(data) > MAX_DOCUMENT:
        raise UsageError(
            f"a record would have {len(data) >> 20} MiB, and {MAX_DOCUMENT >> 20} are the limit",
            hint="large values are outputs of a step, not parameters or metadata",
        )
    return data


def dump_line(document: Mapping[str, Any]) -> str:
    """The document as one line of ASCII JSON with sorted keys: what tags and notes carry."""
    return json.dumps(
        document, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(", ", ": ")
    )


def to_document(record: Any) -> dict[str, Any]:
    """The record as plain JSON values, with its unknown fields put back."""
    document = plain(record)
    document["format"] = FORMAT
    return typing.cast("dict[str, Any]", document)


def parse(data: bytes | str, where: str) -> dict[str, Any]:
    """The JSON object in ``data``; raises CorruptData that names ``where``.

    Stricter than the json module, so that every reader sees the same: UTF-8 only, no name twice,
    no NaN, no number too large for a float, nothing nested deeper than ``MAX_DEPTH``.
    """
    if len(data) > MAX_DOCUMENT:
        raise CorruptData(f"{where}: larger than {MAX_DOCUMENT >> 20} MiB")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite
        )
        depth = _depth(document) if text.count("{") + text.count("[") > MAX_DEPTH else 0
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{where}: not JSON") from error
    if depth > MAX_DEPTH:
        raise CorruptData(f"{where}: nested deeper than {MAX_DEPTH}")
    if not isinstance(document, dict):
        raise CorruptData(f"{where}: not a JSON object")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is beyond the range of a float")
    return number


def _depth(document: Any) -> int:
    """How many objects and lists enclose the innermost value."""
    depth, level = 0, [document]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        level = [v for one in level for v in (one.values() if isinstance(one, dict) else one)]
    return depth


def from_json(kind: type[R], data: bytes | str, where: str) -> R:
    """The record of class ``kind`` in ``data``; raises CorruptData naming field and ``where``."""
    return from_document(kind, parse(data, where), where)


def from_document(kind: type[R], document: Mapping[str, Any], where: str) -> R:
    """The record of class ``kind`` in a parsed document; see ``from_json``."""
    if not isinstance(document, dict):
        raise CorruptData(f"{where}: expected an object")
    check_format(document, where)
    body = {key: value for key, value in document.items() if key != "format"}
    record = _read(kind, body, where)
    return typing.cast("R", record)


def check_format(document: Mapping[str, Any], where: str) -> None:
    """Raise CorruptData unless the document is of the format that this gitml reads."""
    found = document.get("format")
    if type(found) is int and found == FORMAT:
        return
    if found is None:
        raise CorruptData(f"{where}: the field `format` is missing")
    newer = type(found) is int and found > FORMAT
    raise CorruptData(
        f"{where}: written in format {str(found)[:40]}, this gitml reads format {FORMAT}",
        hint="`pip install -U gitml` reads newer records" if newer else None,
    )


def metrics_to_json(metrics: Mapping[str, float]) -> bytes:
    """The bytes of a ``metrics.json``: names to numbers, NaN and infinities as strings."""
    return dump({"format": FORMAT, "metrics": {k: _number(v) for k, v in metrics.items()}})


def metrics_from_json(data: bytes | str, where: str) -> dict[str, float]:
    """The metrics in a ``metrics.json``; raises CorruptData."""
    document = parse(data, where)
    check_format(document, where)
    return metrics_from(document.get("metrics"), where)


def metrics_from(metrics: object, where: str) -> dict[str, float]:
    """The metrics in an object of a parsed document; raises CorruptData."""
    if not isinstance(metrics, dict):
        raise CorruptData(f"{where}: metrics: expected an object")
    return {name: _from_number(value, f"{where}: {name}") for name, value in metrics.items()}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))


def _from_number(value: object, where: str) -> float:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise CorruptData(f"{where}: not a number")


def plain(value: Any) -> Any:
    """A value as plain JSON: records as objects, and what a parameter may hold besides.

    Parameters and metadata are any plain value of Python; what JSON lacks is written so that
    people can read it (a path or an enumeration as text, a set as a sorted list, NaN as "nan").
    Nothing is read back from it: the step cache key has the value itself.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (Digest, ObjectId)):
        return str(value)
    if isinstance(value, Frozen):
        return _fields_of(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return _readable(value)


def _fields_of(record: Frozen) -> dict[str, Any]:
    """The fields of a record that are set, over those that it kept without knowing them."""
    document = dict(getattr(record, "extra", {}))
    for name, field in fields(record).items():
        content = getattr(record, name)
        if name != "extra" and (content is not None or field.metadata.get("null")):
            document[name] = plain(content)
    return document


def _key(key: Any) -> str:
    return key if type(key) is str else str(plain(key))


def _readable(value: Any) -> Any:
    """A value that JSON does not have, for people."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (set, frozenset)):
        return sorted((plain(one) for one in value), key=repr)
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        import dataclasses  # whoever made the value has imported it

        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return plain(value.item())
    return repr(value)


Reader = Callable[[Any, str], Any]
_SCALARS = {one.__name__: one for one in (bool, int, float, str)}


def _read(kind: type, document: Any, where: str) -> Any:
    """A record from a JSON object: each known field by its type, the others as ``extra``."""
    if not isinstance(document, dict):
        raise CorruptData(f"{where}: expected an object")
    known, required = _fields(kind)
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in document.items():
        reader = known.get(key)
        if reader is None:
            extra[key] = value
        else:
            values[key] = reader(value, f"{where}: {key}")
    for name in required:
        if name not in values:
            raise CorruptData(f"{where}: the field `{name}` is missing")
    if extra:
        values["extra"] = extra
    return kind(**values)


@functools.cache
def _fields(kind: type) -> tuple[dict[str, Reader], tuple[str, ...]]:
    """The readers of a record's fields by name, and the names of those that have no default."""
    names = vars(sys.modules[kind.__module__])
    known = {name: field for name, field in fields(kind).items() if name != "extra"}
    required = tuple(name for name, field in known.items() if field.required)
    return {name: _reader(field.type, names) for name, field in known.items()}, required


def _reader(hint: str, names: Mapping[str, Any]) -> Reader:
    """How a field is read whose type is written so, in a module that has these names.

    Records have few kinds of types: ``Log | None``, ``tuple[Input, ...]``, ``Mapping[str, float]``
    and plain names. They are read as text: evaluating them would compile each.
    """
    if hint.endswith(" | None"):
        inner = _reader(hint.removesuffix(" | None"), names)
        return lambda value, where: None if value is None else inner(value, where)
    if hint.startswith("tuple["):
        return _sequence(_reader(hint.removeprefix("tuple[").removesuffix(", ...]"), names))
    if hint.startswith("Mapping["):
        return _mapping(_reader(hint.removeprefix("Mapping[str, ").removesuffix("]"), names))
    kind = names[hint] if hint in names else _SCALARS[hint]
    if kind is Any:
        return lambda value, where: value
    if kind in (Digest, ObjectId):
        return _identity(kind)
    if issubclass(kind, Frozen):
        return functools.partial(_read, kind)
    return _scalar(kind)


def _sequence(element: Reader) -> Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise CorruptData(f"{where}: expected a list")
        return tuple(element(one, f"{where}[{i}]") for i, one in enumerate(value))

    return read


def _mapping(element: Reader) -> Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise CorruptData(f"{where}: expected an object")
        return {key: element(one, f"{where}.{key}") for key, one in value.items()}

    return read


def _identity(kind: type[Digest] | type[ObjectId]) -> Reader:
    def read(value: Any, where: str) -> Any:
        text = _text(value, where)
        try:
            return kind.parse(text)
        except CorruptData as error:
            raise CorruptData(f"{where}: {error.message}") from None

    return read


def _scalar(kind: type) -> Reader:
    if kind is str:
        return _text

    def read(value: Any, where: str) -> Any:
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise CorruptData(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
        return value

    return read


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise CorruptData(f"{where}: expected text, found {type(value).__name__}")
    return value
