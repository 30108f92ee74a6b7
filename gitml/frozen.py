"""Frozen values: classes that are nothing but their fields, made without generating code.

``dataclasses`` writes the source of half a dozen methods for every class and compiles it each time
the module is imported, half a millisecond a class: the records and what surrounds them were more
than half of the time of every command (docs/design). Here a class is a table of fields, filled when
the class is made, and one ``__init__``, ``__eq__``, ``__hash__`` and ``__repr__`` read the table.

It reads as a dataclass does, to people and to type checkers:

    class Log(Frozen):
        digest: Digest
        size: int = 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

F = TypeVar("F", bound="Frozen")

_ABSENT: Any = object()


class Field:
    """What is known of a field beside its name.

    ``type`` is the annotation, as text where annotations are not evaluated (PEP 563). ``default``
    or what ``factory`` makes stands where nothing is given; a field with neither is ``required``.
    ``metadata`` belongs to whoever reads the table.
    """

    def __init__(
        self,
        default: Any = _ABSENT,
        factory: Callable[[], Any] | None = None,
        *,
        kw_only: bool = False,
        repr: bool = True,  # noqa: A002 - the word of dataclasses
        compare: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.default = default
        self.factory = factory
        self.kw_only = kw_only
        self.repr = repr
        self.compare = compare
        self.metadata = metadata or {}
        self.type: Any = None

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return self.factory is None and self.default is _ABSENT


def field(
    *,
    default: Any = _ABSENT,
    default_factory: Callable[[], Any] | None = None,
    kw_only: bool = False,
    repr: bool = True,  # noqa: A002 - the word of dataclasses
    compare: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """A field that needs more than a type, in the body of a class; as in ``dataclasses``."""
    return Field(
        default, default_factory, kw_only=kw_only, repr=repr, compare=compare, metadata=metadata
    )


class _Table:
    """The fields of a class by name, those that are only taken by name at the end."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        ordered = sorted(fields.items(), key=lambda item: item[1].kw_only)
        self.fields = dict(ordered)
        self.positional = tuple(name for name, one in ordered if not one.kw_only)
        self.compared = tuple(name for name, one in ordered if one.compare)
        self.shown = tuple(name for name, one in ordered if one.repr)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """A value that is its fields: two of one class are equal when their fields are.

    Fields are the annotations of the class's body, those of its bases first; they are set when the
    value is made and never again. Hashable where all fields are. A ``cached_property`` works.
    """

    __frozen__ = _Table({})

    def __init_subclass__(cls) -> None:
        fields = dict(cls.__frozen__.fields)
        for name, annotation in cls.__annotations__.items():
            given = cls.__dict__.get(name, _ABSENT)
            fields[name] = given if isinstance(given, Field) else Field(given)
            fields[name].type = annotation
            if given is not _ABSENT:
                delattr(cls, name)
        cls.__frozen__ = _Table(fields)

    def __init__(self, *given: Any, **named: Any) -> None:
        table = self.__frozen__
        values = dict(zip(table.positional, given, strict=False))
        values.update(named)
        if len(values) != len(given) + len(named):
            raise TypeError(f"{type(self).__name__}: a field is given twice, or there are too many")
        if len(values) < len(table.fields):
            for name, one in table.fields.items():
                if name not in values:
                    if one.required:
                        raise TypeError(f"{type(self).__name__}: {name} is missing")
                    values[name] = one.factory() if one.factory is not None else one.default
        if len(values) > len(table.fields):
            unknown = ", ".join(values.keys() - table.fields.keys())
            raise TypeError(f"{type(self).__name__} has no field {unknown}")
        object.__setattr__(self, "__dict__", values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frozen) or other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.__frozen__.shown)
        return f"{type(self).__qualname__}({shown})"


def fields(kind: type[Frozen] | Frozen) -> Mapping[str, Field]:
    """The fields of a class or a value by name, in the order in which they are given."""
    return kind.__frozen__.fields


def replace(value: F, **changes: Any) -> F:
    """The same value with some fields changed."""
    return type(value)(**{name: value.__dict__[name] for name in fields(value)} | changes)


def _compared(value: Frozen) -> tuple[Any, ...]:
    held = value.__dict__
    return tuple([held[name] for name in value.__frozen__.compared])
