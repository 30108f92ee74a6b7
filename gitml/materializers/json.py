"""Plain data as canonical JSON: what JSON has stays readable, what it lacks is tagged.

**Format 1.** UTF-8, no white space, object keys in code-point order, non-ASCII as it is. ``None``,
``bool``, ``str``, ``list``, finite ``float`` (shortest form that reads back), ``int`` of 64 bits
and ``dict`` with ``str`` keys are JSON's own. Every other value is an object with one key, its tag:

    {"$int": "-0x…"}                     an int outside 64 bits, hexadecimal
    {"$float": "inf" | "-inf" | "nan"}   "nan" is 7ff8000000000000; other NaNs are their 16 digits
    {"$complex": [re, im]}               both parts as floats
    {"$tuple": […]}                      {"$set": […]} {"$frozenset": […]} sorted by their own JSON
    {"$dict": [[key, value], …]}         keys that are not all str, or a str beginning with "$";
                                         sorted by the key's JSON
    {"$bytes": base64}                   {"$decimal": "1.50"} {"$uuid": "…"}
    {"$date": "2026-01-31"}              {"$datetime": ISO 8601} {"$timedelta": [days, s, µs]}
    {"$numpy": [dtype, value]}           a NumPy bool, integer or float scalar inside plain data

Since a dict with a key that begins with ``$`` is always written as ``$dict``, data are never
mistaken for a tag. Equal dicts give equal bytes, hence **a dict comes back in key order**, not in
insertion order; where order means something, use a list of pairs. One object that occurs twice
comes back as two. All else is refused: subclasses (enums, named tuples, ``OrderedDict``, …), lone
surrogates, time zones other than fixed offsets without a name, cycles, more than 100 levels.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import functools
import json
import math
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, type_name

MAX_DEPTH = 100

Other: TypeAlias = "Callable[[Any, Walk], JSON]"

_NAN = struct.pack(">d", math.nan).hex()
_NUMPY_SCALARS = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
    | {"float16", "float32", "float64"}
)


class JsonMaterializer(Materializer):
    """Scalars and containers of Python's own types, exact in type and value."""

    name = "json"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The canonical JSON; raises UnsupportedValue with the place, as ``value["a"][3]``."""
        return text(plain(value)).encode()

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The value; raises CorruptData for anything that is not of the format above."""
        return decode(content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The type, and the value itself when it is a short scalar, else the length."""
        facts: dict[str, JSON] = {"type": type_name(value)}
        if _is_short(value):
            facts["value"] = value
        elif hasattr(value, "__len__"):
            facts["length"] = len(value)
        return facts


def _is_short(value: Any) -> bool:
    """Whether metadata may hold the value itself."""
    if type(value) in (int, float):
        return bool(abs(value) < 2**63)  # neither NaN nor infinite
    return value is None or type(value) is bool or (type(value) is str and len(value) <= 80)


def fact(value: object) -> JSON:
    """A value for metadata: itself when it is a short scalar, else the name of its type."""
    return value if _is_short(value) else type_name(value)  # type: ignore[return-value]


def plain(value: object, where: str = "value", other: Other | None = None) -> JSON:
    """The value in JSON's own types, by the format above; ``where`` begins the place in errors.

    A format built on this one has ``other`` for the values that this one refuses.
    """
    return Walk(where, other).plain(value)


def text(value: JSON) -> str:
    """The canonical text of what `plain` returned."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def decode(raw: bytes, more: Mapping[str, Callable[[Any], object]] | None = None) -> object:
    """The value whose canonical JSON is ``raw``, with ``more`` tags; raises CorruptData."""
    read = functools.partial(_object, {**_TAGS, **more} if more else _TAGS)
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=read, parse_constant=_no_constant)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        raise CorruptData("not a value in gitml's JSON format") from error


class Walk:
    """One walk through a value, which knows where it is."""

    def __init__(self, where: str, other: Other | None = None) -> None:
        self._path = [where]
        self._open: set[int] = set()
        self._other = other

    def plain(self, value: Any) -> JSON:
        """The value in JSON's own types; raises UnsupportedValue at the place that fails."""
        kind = type(value)
        if value is None or kind is bool:
            return value  # type: ignore[no-any-return]
        if kind is str:
            return self._text(value)
        if kind is int:
            return value if -(2**63) <= value < 2**63 else {"$int": hex(value)}
        if kind is float:
            return _float(value)
        if kind in _CONTAINERS:
            return self._container(value)
        if kind in _SCALARS:
            tag, encode = _SCALARS[kind]
            payload = encode(value)
            if payload is None:
                raise self.refusal(value, "has a time zone with a name or a fold")
            return {tag: payload}
        if kind.__module__ == "numpy" and (made := self._numpy(value)) is not None:
            return made
        if self._other is not None:
            return self._entered(value, lambda: self._other(value, self))  # type: ignore[misc]
        raise self.refusal(value, f"is a {type_name(value)}")

    def at(self, step: str, value: Any) -> JSON:
        """A part of the value, one step further down."""
        self._path.append(step)
        made = self.plain(value)
        self._path.pop()
        return made

    def refusal(self, value: object, why: str) -> UnsupportedValue:
        """The error that ``value``, where the walk is now, ``why`` (such as "is a socket")."""
        where = "".join(self._path if len(self._path) < 12 else [*self._path[:11], "…"])
        hint = None
        if type(value) not in _CONTAINERS:
            hint = "return it as an output of its own, or turn it into plain Python data first"
        return UnsupportedValue(f"{where} {why}", hint=hint)

    def _container(self, value: Any) -> JSON:
        return self._entered(value, lambda: self._parts(value))

    def _entered(self, value: Any, make: Callable[[], JSON]) -> JSON:
        """What ``make`` makes of a value with parts; raises for cycles and for too many levels."""
        if id(value) in self._open:
            raise self.refusal(value, "contains itself")
        if len(self._path) > MAX_DEPTH:
            raise self.refusal(value, f"lies more than {MAX_DEPTH} levels deep")
        self._open.add(id(value))
        made = make()
        self._open.discard(id(value))
        return made

    def _parts(self, value: Any) -> JSON:
        if type(value) is dict:
            return self._dict(value)
        if type(value) is list:
            return self._items(value)
        if type(value) is tuple:
            return {"$tuple": self._items(value)}
        items = [self.at(".item", one) for one in value]
        return {f"${type(value).__name__}": sorted(items, key=text)}

    def _dict(self, value: dict[Any, Any]) -> JSON:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {self._text(key): self.at(f"[{key!r}]", one) for key, one in value.items()}
        pairs = [(self.at(".key", key), self.at(f"[{key!r}]", one)) for key, one in value.items()]
        pairs.sort(key=lambda pair: text(pair[0]))
        return {"$dict": [list(pair) for pair in pairs]}

    def _items(self, value: Iterable[Any]) -> list[JSON]:
        return [self.at(f"[{index}]", one) for index, one in enumerate(value)]

    def _text(self, value: str) -> str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise self.refusal(value, "holds a lone surrogate, which is no text") from None
        return value

    def _numpy(self, value: Any) -> JSON:
        """A scalar of the format, None for all else that NumPy has."""
        name = getattr(getattr(value, "dtype", None), "name", "")
        numpy = library("numpy", "numpy")
        if name in _NUMPY_SCALARS and isinstance(value, numpy.generic):
            inner = value.item()
            again = numpy.dtype(name).type(inner)
            if type(again) is type(value) and again.tobytes() == value.tobytes():
                return {"$numpy": [name, self.plain(inner)]}
        return None


def _float(value: float) -> JSON:
    if math.isfinite(value):
        return value
    if math.isinf(value):
        return {"$float": "inf" if value > 0 else "-inf"}
    bits = struct.pack(">d", value).hex()
    return {"$float": "nan" if bits == _NAN else bits}


def _datetime(value: dt.datetime) -> str | None:
    """ISO 8601, or None for what it cannot say: a named zone, or the second of two equal hours."""
    zone = value.tzinfo
    if value.fold or type(zone) not in (type(None), dt.timezone):
        return None
    again = dt.datetime.fromisoformat(value.isoformat())
    return value.isoformat() if repr(again) == repr(value) else None


_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_SCALARS: dict[type, tuple[str, Callable[[Any], JSON]]] = {
    complex: ("$complex", lambda value: [_float(value.real), _float(value.imag)]),
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode()),
    decimal.Decimal: ("$decimal", str),
    uuid.UUID: ("$uuid", str),
    dt.date: ("$date", dt.date.isoformat),
    dt.datetime: ("$datetime", _datetime),
    dt.timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
}


def _object(tags: Mapping[str, Callable[[Any], object]], pairs: list[tuple[str, Any]]) -> object:
    """A JSON object read back: a tagged value, or a dict."""
    if len(pairs) == 1 and pairs[0][0].startswith("$"):
        tag, payload = pairs[0]
        return tags[tag](payload)
    made = dict(pairs)
    if len(made) != len(pairs) or any(key.startswith("$") for key in made):
        raise ValueError("a key twice, or a tag among keys")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _read_float(payload: str) -> float:
    if payload in ("inf", "-inf", "nan"):
        return float(payload)
    (value,) = struct.unpack(">d", bytes.fromhex(payload))
    return float(value)


def _read_numpy(payload: list[Any]) -> object:
    name, value = payload
    if name not in _NUMPY_SCALARS:
        raise ValueError(f"not a scalar type of this format: {name}")
    return library("numpy", "numpy").dtype(name).type(value)


_TAGS: dict[str, Callable[[Any], object]] = {
    "$int": lambda payload: int(payload, 16),
    "$float": _read_float,
    "$complex": lambda payload: complex(*payload),
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
    "$bytes": lambda payload: base64.b64decode(payload, validate=True),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$date": dt.date.fromisoformat,
    "$datetime": dt.datetime.fromisoformat,
    "$timedelta": lambda payload: dt.timedelta(*payload),
    "$numpy": _read_numpy,
}
