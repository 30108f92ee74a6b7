"""Parameters as they are typed: ``-p name=value``, a file of them, and what a pipeline expects."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import Signature
from pathlib import Path
from typing import Any

from gitml.errors import UsageError


class Typed(str):
    """A text that was typed: it is JSON when it parses as JSON, unless a text is expected."""

    @property
    def parsed(self) -> Any:
        """The JSON value, or the text itself; NaN and infinities are texts, since JSON has none."""
        try:
            return json.loads(self, parse_constant=_refuse)
        except ValueError:
            return str(self)


def _refuse(word: str) -> Any:
    raise ValueError(word)


def from_options(options: Iterable[str], example: str = "-p depth=8") -> dict[str, Any]:
    """The values in texts like ``depth=8``; raises UsageError for one without a name."""
    found: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"`{option}` sets nothing", hint=f"a name, `=`, a value: `{example}`")
        found[name.strip()] = Typed(text)
    return found


def from_file(path: Path, signature: Signature) -> dict[str, Any]:
    """The parameters in a file; a table that is no parameter of the pipeline is a step's.

    Raises UsageError for what cannot be read, GitmlError for YAML without PyYAML.
    """
    from gitml.pipelines.documents import read_document

    document = read_document(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no names with values")
    found: dict[str, Any] = {}
    for name, given in document.items():
        if isinstance(given, dict) and name not in signature.parameters:
            found |= {f"{name}.{inner}": one for inner, one in given.items()}
        else:
            found[str(name)] = given
    return found


def coerced(values: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """The values as the plain annotations of the pipeline want them.

    A typed ``3`` is the text "3" for a ``str``, and 3.0 for a ``float``. Raises UsageError for a
    value that the annotation excludes; annotations that are not plain types say nothing.
    """
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    return {name: _as_wanted(name, one, hints.get(name)) for name, one in values.items()}


def _as_wanted(name: str, given: Any, hint: Any) -> Any:
    wanted = _plain_types(hint)
    if isinstance(given, Typed):
        parsed = given.parsed
        if isinstance(parsed, str) and str in wanted:
            return parsed
        if str in wanted and not (parsed is None and type(None) in wanted):
            return str(given) if not _fits(parsed, wanted - {str}) else parsed
        if bool in wanted and given.lower() in ("true", "false"):
            return given.lower() == "true"
        given = parsed
    if isinstance(given, str):
        from gitml.pipelines.annotations import number_of

        given = number_of(given, hint)
    if not wanted or _fits(given, wanted):
        return given
    if float in wanted and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    kinds = " or ".join(sorted(_NAMES[one] for one in wanted))
    raise UsageError(f"`{name}` should be {kinds}, not {given!r}")


_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "a table",
}


def _plain_types(hint: Any) -> set[Any]:
    """The plain types that an annotation allows; none where it says more than that."""
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = list(typing.get_args(hint))
    plain = {typing.get_origin(one) or one for one in members}
    return plain if plain <= set(_NAMES) else set()


def _fits(given: Any, wanted: set[Any]) -> bool:
    return type(given) in wanted
