"""Dataclasses, named tuples, enums and pydantic models as JSON that names their classes.

**Format 1.** The JSON of `gitml.materializers.json` with five more tags. A class is written as its
module, a colon and its qualified name.

    {"$object": [class, {field: value, …}]}       a dataclass
    {"$namedtuple": [class, {field: value, …}]}   a named tuple
    {"$enum": [class, name]}                      a member of an enum
    {"$pydantic": [class, {…}, [set…], extra, private]}
    {"$stored": ["npy/1", base64]}                what another materializer makes of a field

A value is rebuilt from its fields: no constructor, validator or ``__post_init__`` runs. Its class
is found in the module that is named, if the rules trust that module or class, or if it is the class
that the parameter is annotated with. A class whose fields are others by now is refused, not guessed
at. So are attributes that are no field, except what a ``cached_property`` has kept.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitml import materializers
from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import classes, json
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name


class StructuredMaterializer(Materializer):
    """Values of classes that are nothing but their fields."""

    name = "structured"
    version = 1
    # Dataclasses, named tuples and enums have no base of their own: `is_structured` finds them.

    def save(self, value: Any, rules: Rules) -> bytes:
        """The JSON; raises UnsupportedValue with the field, as ``value.rates[0]``."""
        return json.text(json.plain(value, other=_Writer(rules))).encode()

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The value; raises UnsupportedValue for a class that is not trusted or has changed."""
        return json.decode(content.read(), _Reader(wanted, rules).tags())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The class, and the fields: short scalars as they are, else their types."""
        if isinstance(value, enum.Enum):
            return {"class": type_name(value), "name": value.name}
        pairs: list[JSON] = [[name, json.fact(one)] for name, one in _fields(value).items()]
        return {"class": type_name(value), "fields": shown(pairs)}


class _Writer:
    """Writes what plain JSON does not know, as the encoder meets it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, value: Any, walk: json.Walk) -> JSON:
        """The tagged form of a value; raises UnsupportedValue at its place."""
        kind = type(value)
        if not materializers.is_structured(kind):
            return self._stored(value, walk)
        path = classes.spelled(kind)
        if classes.found(path) is not kind:
            raise walk.refusal(
                value, f"is a {type_name(kind)}, whose class cannot be found by its name"
            )
        if isinstance(value, enum.Enum):
            if kind.__members__.get(value.name) is not value:
                raise walk.refusal(value, "is a combination of flags, which has no name")
            return {"$enum": [path, value.name]}
        if isinstance(value, tuple):
            return {"$namedtuple": [path, self._fields(value, walk)]}
        if dataclasses.is_dataclass(value):
            if not _is_plain(kind):
                raise walk.refusal(value, f"is a {type_name(kind)}, which is more than its fields")
            return {"$object": [path, self._fields(value, walk)]}
        extra, private = value.__pydantic_extra__, value.__pydantic_private__
        named: list[JSON] = [*sorted(value.__pydantic_fields_set__)]
        return {
            "$pydantic": [
                path,
                self._fields(value, walk),
                named,
                walk.at(".extra", extra),
                walk.at(".private", private),
            ]
        }

    def _fields(self, value: Any, walk: json.Walk) -> JSON:
        fields = _fields(value)
        for name in _names(type(value)):
            if name not in fields:
                raise walk.refusal(value, f"has no value for its field `{name}`")
        for name in _more(value, fields):
            raise walk.refusal(value, f"has the attribute `{name}`, which is no field")
        return {name: walk.at(f".{name}", one) for name, one in fields.items()}

    def _stored(self, value: Any, walk: json.Walk) -> JSON:
        found = materializers.for_type(type(value))
        if found is None:
            raise walk.refusal(value, f"is a {type_name(value)}")
        raw = found.save(value, self._rules)
        if not isinstance(raw, bytes):
            raise walk.refusal(value, f"is a {type_name(value)}, which is a file or a folder")
        return {"$stored": [f"{found.name}/{found.version}", base64.b64encode(raw).decode()]}


class _Reader:
    """Rebuilds tagged values for one parameter."""

    def __init__(self, wanted: type | None, rules: Rules) -> None:
        self._wanted = wanted
        self._rules = rules

    def tags(self) -> Mapping[str, Callable[[Any], object]]:
        """What each tag's payload means."""
        return {
            "$object": self._object,
            "$namedtuple": self._namedtuple,
            "$enum": self._enum,
            "$pydantic": self._pydantic,
            "$stored": self._stored,
        }

    def _object(self, payload: list[Any]) -> object:
        path, fields = payload
        kind = self._class(path, dataclasses.is_dataclass)
        _require_fields(path, fields, _names(kind))
        made = object.__new__(kind)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made

    def _namedtuple(self, payload: list[Any]) -> object:
        path, fields = payload
        kind = self._class(path, _is_namedtuple)
        _require_fields(path, fields, _names(kind))
        return tuple.__new__(kind, [fields[name] for name in _names(kind)])

    def _enum(self, payload: list[Any]) -> object:
        path, name = payload
        members = self._class(path, lambda kind: issubclass(kind, enum.Enum)).__members__
        if name not in members:
            raise UnsupportedValue(f"{path} has no member `{name}` any more")
        return members[name]

    def _pydantic(self, payload: list[Any]) -> object:
        path, fields, named, extra, private = payload
        base = library("pydantic", "pydantic").BaseModel
        kind = self._class(path, lambda kind: issubclass(kind, base))
        _require_fields(path, fields, _names(kind))
        made = kind.__new__(kind)
        for name, value in (
            ("__dict__", {name: fields[name] for name in _names(kind)}),
            ("__pydantic_fields_set__", set(named)),
            ("__pydantic_extra__", extra),
            ("__pydantic_private__", private),
        ):
            object.__setattr__(made, name, value)
        return made

    def _stored(self, payload: list[Any]) -> object:
        named, encoded = payload
        content = _Embedded(base64.b64decode(encoded, validate=True))
        return materializers.named(named.partition("/")[0]).load(content, None, self._rules)

    def _class(self, path: str, fits: Callable[[type], bool]) -> Any:
        """The class that a file names, once it is known to be trusted and of its kind."""
        kind = classes.trusted(path, self._wanted, self._rules)
        if not fits(kind):
            raise UnsupportedValue(
                f"{path.replace(':', '.')} is of another kind than when it was saved"
            )
        return kind


@dataclass(frozen=True)
class _Embedded:
    """The bytes of a field, as the content that its materializer is given."""

    raw: bytes
    kind: str = "blob"
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def read(self) -> bytes:
        """The bytes."""
        return self.raw

    def path(self) -> Path:
        """Nothing: no materializer of fields needs a file."""
        raise CorruptData("a field that is a file")


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_plain(kind: type) -> bool:
    """Whether instances are built of ``object`` alone, not of a list, an exception, …."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def _names(kind: Any) -> list[str]:
    """The fields of a class in their order."""
    if issubclass(kind, tuple):
        return list(kind._fields)
    if dataclasses.is_dataclass(kind):
        return [one.name for one in dataclasses.fields(kind)]
    return list(kind.model_fields)


def _fields(value: Any) -> dict[str, Any]:
    """The fields that a structured value has, by name."""
    if isinstance(value, tuple):
        return dict(zip(_names(type(value)), value, strict=True))
    return {name: getattr(value, name) for name in _names(type(value)) if hasattr(value, name)}


def _more(value: Any, fields: Mapping[str, Any]) -> list[str]:
    """The attributes of a value that would not come back."""
    kept = getattr(value, "__dict__", {})
    return [
        name
        for name in kept
        if name not in fields
        and not isinstance(
            inspect.getattr_static(type(value), name, None), functools.cached_property
        )
    ]


def _require_fields(path: str, fields: Any, names: Any) -> None:
    if not isinstance(fields, dict):
        raise CorruptData("fields that are no object")
    if set(fields) != set(names):
        changed = ", ".join(f"`{one}`" for one in sorted(set(fields) ^ set(names)))
        raise UnsupportedValue(
            f"{path.replace(':', '.')} has other fields than when the value was saved: {changed}",
            hint="read it as `bytes` or `pathlib.Path`, which is JSON; or run the step again",
        )
