"""Classes by name in stored values: how they are written, and which of them may be built again."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from gitml.errors import UnsupportedValue
from gitml.materializers.base import Rules


def spelled(kind: type) -> str:
    """A class as formats write it: its module, a colon, its qualified name."""
    return f"{kind.__module__}:{kind.__qualname__}"


def found(path: str) -> Any:
    """The class at ``module:qualified.name`` that says so of itself, or None."""
    module, _, name = path.partition(":")
    try:
        one: Any = importlib.import_module(module)
        for part in name.split("."):
            one = inspect.getattr_static(one, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return one if isinstance(one, type) and spelled(one) == path else None


def trusted(path: str, wanted: type | None, rules: Rules) -> Any:
    """The class that a file names, if its module, its name, or what is ``wanted`` vouches for it.

    Raises UnsupportedValue before anything is imported, and when no such class is here.
    """
    module, _, name = path.partition(":")
    asked = wanted is not None and wanted.__module__ == module
    if not (asked or module in rules.trusted_modules or f"{module}.{name}" in rules.trusted_types):
        raise UnsupportedValue(
            f"the value is a {module}.{name}, a class that is not trusted here",
            hint="annotate the parameter with it, or hand it over as "
            f"`.load({name.rpartition('.')[2]})`; or add `{module}.{name}` to `trusted_types` "
            "below `[materializers]` in gitml.toml",
        )
    if wanted is not None and spelled(wanted) == path:
        return wanted
    kind = found(path)
    if kind is None:
        raise UnsupportedValue(
            f"the value is a {module}.{name}, and no such class is here",
            hint="look in the code commit of the step that made it: it was moved or renamed",
        )
    return kind
