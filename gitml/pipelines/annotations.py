"""What the signature of a function declares: parameters by name, outputs, the types of both."""

from __future__ import annotations

import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from gitml.entities.ids import check_name
from gitml.entities.metadata import recorded
from gitml.entities.records import SERIES
from gitml.errors import UsageError
from gitml.history.tags import check_tags
from gitml.pipelines.references import Artifact

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z", re.ASCII)


@dataclass(frozen=True)
class OutputSpec:
    """A declared output: its key within the step, its artifact name if it has one, its type.

    ``tags`` and ``metadata`` are recorded with each value.
    """

    name: str
    artifact: str | None
    annotation: Any
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None


def parameters_of(function: Callable[..., Any], name: str) -> inspect.Signature:
    """The parameters of a step or pipeline; raises UsageError for such as have no names."""
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind == parameter.VAR_POSITIONAL else "**"
            raise UsageError(
                f"{name} takes {stars}{parameter.name}: its inputs would have no names",
                hint="give every input a parameter of its own",
            )
        if parameter.kind == parameter.POSITIONAL_ONLY:
            raise UsageError(f"{name} has the positional-only parameter `{parameter.name}`")
    return signature


def outputs_of(annotation: Any, step: str) -> tuple[OutputSpec, ...]:
    """The outputs that a return annotation declares; raises UsageError for a generator."""
    if annotation is None or annotation is type(None):
        return ()
    if annotation is inspect.Parameter.empty:
        return (OutputSpec("output", None, None),)
    if names := field_names(annotation):
        inner = typing.get_type_hints(annotation, include_extras=True)
        return tuple(replace(_output(inner[one], one), name=one) for one in names)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterator):
        raise UsageError(
            f"the step {step} is a generator, which cannot be stored",
            hint="return a list, a table or a file",
        )
    if origin is not tuple or not arguments or arguments[-1] is Ellipsis:
        return (_output(annotation, "output"),)
    specs = tuple(_output(one, f"output_{i}") for i, one in enumerate(arguments))
    names = [one.name for one in specs]
    if len(set(names)) != len(names):
        raise UsageError(f"the step {step} names two outputs alike: {', '.join(names)}")
    return specs


def field_names(value: Any) -> list[str]:
    """The fields of a NamedTuple or a dataclass, or of the class of one; of others, none."""
    kind = value if isinstance(value, type) else type(value)
    if issubclass(kind, tuple) and kind is not tuple and hasattr(kind, "_fields"):
        return list(kind._fields)
    return [one.name for one in fields(kind)] if is_dataclass(kind) else []


def without_none(annotation: Any) -> Any:
    """The annotation without ``| None``: what a value that is there should be."""
    inner = [one for one in typing.get_args(annotation) if one is not type(None)]
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return inner[0] if is_union and len(inner) == 1 else annotation


def _output(annotation: Any, fallback: str) -> OutputSpec:
    if typing.get_origin(annotation) is not typing.Annotated:
        return OutputSpec(fallback, None, annotation)
    inner, *extras = typing.get_args(annotation)
    for extra in extras:
        name = extra.name if isinstance(extra, Artifact) else extra
        if name == SERIES:
            raise UsageError(
                f"an output is called `{SERIES}`, as the one that keeps what `log_metrics` logs",
                hint="give it another name",
            )
        if isinstance(name, str):
            check_name(name, "output")
            if not isinstance(extra, Artifact):
                return OutputSpec(name, name, inner)
            said = recorded(extra.metadata) if extra.metadata else None
            return OutputSpec(name, name, inner, check_tags(extra.tags), said)
    return OutputSpec(fallback, None, inner)


def number_of(value: Any, hint: Any) -> Any:
    """The number that a text is, where ``hint`` wants a float and no text; else the value itself.

    YAML reads ``1e-3``, which has no point, as a text.
    """
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    wanted = typing.get_args(hint) if is_union else (hint,)
    if isinstance(value, str) and float in wanted and str not in wanted and _NUMBER.match(value):
        return float(value)
    return value
