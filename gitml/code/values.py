"""Values for the cache key: the canonical text of plain data, by type and exact value.

Plain is what has no state beside what is written: None, bool, int, float, complex, str, bytes, the
built-in containers, and of the rest a short list that machine learning code keeps in module
globals (dataclasses, enum members, paths, dates, compiled patterns, small NumPy arrays). Functions
and classes are written as references, and whoever asks must account for their code.
"""

from __future__ import annotations

import enum
import functools
import os
import re
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from gitml.code.syntax import quote, scalar

_SCALARS = (type(None), bool, int, float, complex, bytes, type(...))
_SEQUENCES = {list: "list", tuple: "tuple", deque: "deque"}
_SETS = {set: "set", frozenset: "frozenset"}
_MAPPINGS = {
    dict: "dict",
    OrderedDict: "OrderedDict",
    Counter: "Counter",
    defaultdict: "defaultdict",
    types.MappingProxyType: "mappingproxy",
}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType)
# Types whose repr is their value, by name, since importing them all would cost more than they do.
_BY_REPR = frozenset(
    {
        "builtins.range",
        "builtins.slice",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "operator.attrgetter",
        "operator.itemgetter",
        "uuid.UUID",
        "zoneinfo.ZoneInfo",
    }
)
_MAX_DEPTH = 100
_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|PWD|CREDENTIALS?|APIKEY|KEY)(?:_|$)",
    re.IGNORECASE,
)

Refer = Callable[[Any], str]


class NotPlain(Exception):
    """The value is not plain data, so its text would not say all that it is."""


class TooLarge(NotPlain):
    """The value is plain, but its text is longer than the limit."""


def canonical_value(
    value: object, refer: Refer | None = None, *, root: str = "", limit: int | None = None
) -> str:
    """The canonical text of plain data, in ASCII; equal texts are equal values of equal types.

    ``refer`` gives the text of what is not data (a function, a class, …), or raises NotPlain, as
    is done without it: code that no closure has could change unseen.
    Strings and paths below ``root`` are written relative to it, so that two clones agree. Dicts
    keep their order, which code can see; sets are sorted. Raises NotPlain, and TooLarge beyond
    ``limit`` characters.
    """
    writer = _Writer(refer or _refuse, root, limit)
    writer.write(value, 0)
    return "".join(writer.pieces)


def looks_secret(variable: str) -> bool:
    """Whether an environment variable of this name probably holds a secret.

    A digest of a short secret can be guessed back, and digests of the key are published.
    """
    return _SECRET.search(variable) is not None


class _Writer:
    def __init__(self, refer: Refer, root: str, limit: int | None) -> None:
        self.pieces: list[str] = []
        self._refer = refer
        self._root = root
        self._left = limit

    def _put(self, text: str) -> None:
        if self._left is not None:
            self._left -= len(text)
            if self._left < 0:
                raise TooLarge
        self.pieces.append(text)

    def write(self, value: Any, depth: int) -> None:
        """Append the text of a value; the depth also ends containers that hold themselves."""
        kind = value.__class__
        if depth > _MAX_DEPTH:
            raise NotPlain
        if kind is str:
            self._put(self._text(value))
        elif kind in _SCALARS:
            self._put(scalar(value))
        elif kind in _SEQUENCES:
            self._members(_SEQUENCES[kind], value, depth)
        elif kind in _SETS:
            self._set(_SETS[kind], value, depth)
        elif kind in _MAPPINGS:
            self._mapping(_MAPPINGS[kind], value, depth)
        elif isinstance(value, _FUNCTIONS):
            self._put("@" + quote(self._refer(value)))
        else:
            self._object(value, kind, depth)

    def _text(self, value: str) -> str:
        """A string; a path below the root is written from there."""
        root = self._root
        if root and value.startswith(root) and value[len(root) :][:1] in ("", os.sep):
            return "root " + quote(value[len(root) :])
        return quote(value)

    def _members(self, label: str, members: Iterable[Any], depth: int) -> None:
        self._put(label + "[")
        for member in members:
            self.write(member, depth + 1)
            self._put(" ")
        self._put("]")

    def _set(self, label: str, members: Iterable[Any], depth: int) -> None:
        """A set in the order of its members' texts, as hash order changes with every process."""
        texts = []
        for member in members:
            one = _Writer(self._refer, self._root, self._left)
            one.write(member, depth + 1)
            texts.append("".join(one.pieces))
        self._put(label + "[")
        for text in sorted(texts):
            self._put(text)
            self._put(" ")
        self._put("]")

    def _mapping(self, label: str, value: Any, depth: int) -> None:
        if label == "defaultdict":
            self.write(value.default_factory, depth + 1)
            self._put(" ")
        self._members(label, (part for item in value.items() for part in item), depth)

    def _object(self, value: Any, kind: type, depth: int) -> None:
        """One of the other types that are plain: its class, and what it holds."""
        name = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, enum.Enum):
            self._members("enum", (kind, value.name), depth)
        elif is_dataclass(kind):
            self._members("dataclass", (kind, _fields_of(value)), depth)
        elif isinstance(value, tuple) and hasattr(kind, "_fields"):
            self._members("namedtuple", (kind, tuple(value)), depth)
        elif isinstance(value, functools.partial):
            self._members("partial", (value.func, value.args, value.keywords), depth)
        elif isinstance(value, os.PathLike) and kind.__module__.partition(".")[0] == "pathlib":
            self._members("path", (os.fspath(value),), depth)
        elif name in ("types.SimpleNamespace", "argparse.Namespace"):
            self._members("namespace", (vars(value),), depth)
        elif name == "re.Pattern":
            self._members("pattern", (value.pattern, value.flags), depth)
        elif name in _BY_REPR:
            self._put(f"{name} {quote(repr(value))}")
        elif kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype"):
            self._array(value)
        else:
            self._put("@" + quote(self._refer(value)))

    def _array(self, value: Any) -> None:
        """A NumPy array or scalar, told by its shape so that NumPy need not be imported."""
        if value.dtype.hasobject:
            raise NotPlain
        if self._left is not None and 2 * value.nbytes > self._left:
            raise TooLarge
        descr, shape = repr(value.dtype.descr), repr(tuple(map(int, value.shape)))
        self._put(f"array {quote(descr)} {quote(shape)} {quote(value.tobytes().hex())}")


def _refuse(value: object) -> str:
    raise NotPlain(type(value).__name__)


def _fields_of(value: Any) -> dict[str, Any]:
    """A dataclass's fields, and whatever else was set on the instance."""
    held = {field.name: getattr(value, field.name, None) for field in fields(value)}
    return {**held, **getattr(value, "__dict__", {})}
