"""The contract between values and bytes: `Content`, `Rules`, `Materializer`.

A materializer turns a value into bytes and back. Three laws hold for each of them, and
`gitml.testing.materializer_suite` tests them:

- **exact or refusing**: what is loaded equals what was saved, in type and in every bit that the
  library lets one see, or `save` raises `UnsupportedValue` and names the place inside the value;
- **equal values give equal bytes**, in every process, so that the digest is the identity of an
  artifact and an unchanged output lets its consumers stay cached;
- **loading runs no code of the artifact's author** (pickle apart, which a repository must allow).
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

from gitml.errors import GitmlError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


class Content(Protocol):
    """What a stored artifact offers to a materializer; the caller implements it over the store."""

    @property
    def kind(self) -> str:
        """``"blob"`` for a file's bytes, ``"tree"`` for a folder."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """What `Materializer.metadata` returned when the value was saved."""

    def read(self) -> bytes:
        """The bytes of a blob, verified against its digest."""

    def path(self) -> Path:
        """A private copy, checked out: a file or a folder that the caller's step may change."""


@dataclass(frozen=True)
class Rules:
    """What a repository allows beyond the formats that cannot run code; by default nothing.

    ``trusted_types`` are dotted names from ``[materializers] trusted_types`` of ``gitml.toml``.
    ``trusted_modules`` are the modules of the step's recorded code closure: a type that is defined
    in one of them is trusted, since that code runs anyway.
    """

    allow_pickle: bool = False
    trusted_types: frozenset[str] = frozenset()
    trusted_modules: frozenset[str] = frozenset()


DEFINED: dict[str, type[Materializer]] = {}
"""The materializers that are classes without a ``name``, by the name that they got."""


class Materializer(ABC):
    """Value ↔ bytes for the types of one library; stateless, made without arguments.

    ``name`` and ``version`` are recorded with every artifact, so they are for ever: ``version`` is
    that of the byte format and a part of the step cache's key. ``ASSOCIATED_TYPES`` are dotted
    names (the shortest public path, as `type_name` gives it), so that finding a materializer
    imports no library. A bare name stands for exactly this type, because a subclass seldom comes
    back as itself; a ``+`` behind it includes the subclasses (``"sklearn.base.BaseEstimator+"``).
    A class in place of a name includes its subclasses.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    ASSOCIATED_TYPES: ClassVar[tuple[str | type, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Make a class without a ``name`` known under its own: ``<module>:<qualified name>``.

        So it is found for its types wherever it is defined, without an entry point, and a record
        says where to find it again. Its ``version`` is 1 where it says nothing.
        """
        super().__init_subclass__(**options)
        if cls.__module__.startswith("gitml.") or "name" in vars(cls):
            return
        cls.name = f"{cls.__module__}:{cls.__qualname__}"
        if not hasattr(cls, "version"):
            cls.version = 1
        DEFINED[cls.name] = cls

    @abstractmethod
    def save(self, value: Any, rules: Rules) -> bytes | Path:
        """The bytes of ``value``, or an existing file or folder whose bytes shall be stored.

        Raises UnsupportedValue, with the place in the value, when it would not come back exactly.
        """

    @abstractmethod
    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The value that was saved; ``wanted`` is the annotation of the parameter it is for.

        Raises CorruptData for bytes that are not of this format, UnsupportedValue for a type that
        the ``rules`` do not trust.
        """

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Small, deterministic facts about the value, for people and policies; strict JSON."""
        return {}

    def preview(self, path: Path) -> str:
        """A few lines of text for people about what `save` wrote, found at ``path``.

        It is asked for whenever somebody looks, also at bytes of a stranger: it runs nothing of
        theirs and reads little. Empty where there is nothing to show. The built-ins are shown by
        `gitml.previews` instead.
        """
        return ""


def type_name(value_or_type: object) -> str:
    """The dotted name of a type, or of a value's type: ``pandas.DataFrame``, ``int``.

    It is the shortest path on which a parent package offers the very same object, since the module
    that defines a class moves between releases and its public path does not. Builtins stand bare.
    """
    kind = value_or_type if isinstance(value_or_type, type) else type(value_or_type)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    if issubclass(kind, Path):
        kind = Path  # PosixPath says something of the machine, not of the value
    parts = kind.__module__.split(".")
    for count in range(1, len(parts)):
        package = ".".join(parts[:count])
        if vars(sys.modules.get(package, object)).get(kind.__qualname__) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def library(module: str, extra: str) -> Any:
    """The imported ``module`` of an optional library; ``extra`` is gitml's extra that brings it.

    The only way in which a materializer imports its library, so that each one is lazy and says the
    same when it is missing. Raises GitmlError.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        raise GitmlError(
            f"the `{extra}` materializer needs {root}, which cannot be imported here",
            hint=f"`pip install 'gitml[{extra}]'`",
        ) from error


def shown(items: list[JSON], limit: int = 200) -> list[JSON]:
    """At most ``limit`` of the items, and how many more: for metadata, which must stay small."""
    if len(items) <= limit:
        return items
    return [*items[:limit], f"and {len(items) - limit} more"]
