"""Values to bytes and back: which materializer a value, an annotation or a record asks for.

Found by name in a static table, so nothing heavy is imported until a value of that library is
saved or loaded. Third parties add one class and one entry point in the group
``gitml.materializers``; the entry point's name is the materializer's ``name``. A class without a
``name``, in the project's own code, needs no entry point: to define it is enough.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import importlib
import inspect
import types
import typing
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from gitml import plugins
from gitml.errors import GitmlError, NameNotFound, UnsupportedValue
from gitml.materializers.base import (
    DEFINED,
    JSON,
    Content,
    Materializer,
    Rules,
    library,
    type_name,
)

__all__ = [
    "GROUP",
    "JSON",
    "Content",
    "Materializer",
    "Rules",
    "for_type",
    "for_value",
    "identity",
    "is_structured",
    "library",
    "load_value",
    "named",
    "saved",
    "type_name",
    "wavers",
]

GROUP = "gitml.materializers"
_CONTAINERS = (dict, list, tuple)
_MAX_DEPTH = 100

# What the built-ins are for, in the words of ASSOCIATED_TYPES, and here so that a look-up imports
# none of them.
_TYPES: Mapping[str, str] = {
    "NoneType": "json",
    "bool": "json",
    "int": "json",
    "float": "json",
    "complex": "json",
    "str": "json",
    "list": "json",
    "tuple": "json",
    "dict": "json",
    "set": "json",
    "frozenset": "json",
    "datetime.date": "json",
    "datetime.datetime": "json",
    "datetime.timedelta": "json",
    "decimal.Decimal": "json",
    "uuid.UUID": "json",
    "bytes": "bytes",
    "pathlib.Path+": "path",
    "numpy.ndarray": "npy",
    "numpy.generic+": "npy",
    "pyarrow.Table": "arrow",
    "pyarrow.RecordBatch": "arrow",
    "pandas.DataFrame": "pandas",
    "pandas.Series": "pandas",
    "sklearn.base.BaseEstimator+": "sklearn",
    "gitml.materializers.items.Items": "items",
    "pydantic.BaseModel+": "structured",
    "pydantic.main.BaseModel+": "structured",
    "gitml.ConfusionMatrix": "confusion_matrix",
    "gitml.Curve": "curve",
    "gitml.HTMLString": "html",
    "gitml.MarkdownString": "markdown",
    "gitml.CSVString": "csv",
    "polars.DataFrame": "polars",
    "polars.Series": "polars",
    "PIL.Image.Image+": "image",
    "matplotlib.figure.Figure+": "figure",
    "gitml.SVGString": "figure",
    "plotly.graph_objects.Figure": "plotly",
    "plotly.graph_objs.Figure": "plotly",
    "plotly.graph_objs._figure.Figure": "plotly",
    "xgboost.Booster": "xgboost",
    "xgboost.XGBModel+": "xgboost",
    "xgboost.sklearn.XGBModel+": "xgboost",
    "xgboost.core.Booster": "xgboost",
    "torch.Tensor": "safetensors",
    "torch.nn.Module+": "torch",
    "torch.nn.modules.module.Module+": "torch",
    "lightgbm.Booster": "lightgbm",
    "lightgbm.basic.Booster": "lightgbm",
    "onnx.ModelProto": "onnx",
    "onnx.onnx_ml_pb2.ModelProto": "onnx",
    "onnx.onnx_pb.ModelProto": "onnx",
    "datasets.Dataset": "dataset",
    "datasets.arrow_dataset.Dataset": "dataset",
}


def for_value(value: object, rules: Rules) -> Materializer:
    """The materializer that saves ``value``.

    Built-ins first, then installed plugins, then a class that is nothing but its fields, then
    pickle where the rules allow it; otherwise raises UnsupportedValue, which names the type and the
    ways out.
    """
    found = named("safetensors") if _holds_tensors(value) else _for_class(type(value))
    if type(value) in _CONTAINERS and _holds_values(value):
        found = named("container")
    if found is not None:
        return found
    if rules.allow_pickle:
        return named("pickle")
    raise UnsupportedValue(
        f"no materializer stores a value of type {type_name(value)}",
        hint="return plain data, a table, an array, an estimator or a `pathlib.Path`; or allow "
        "pickle with `pickle = true` below `[materializers]` in gitml.toml",
    )


def for_type(annotation: object) -> Materializer | None:
    """The materializer that values of an annotated type will have; None when that is undecided.

    Undecided are a missing annotation, ``Any``, protocols, strings, and unions whose members do not
    agree. Cache keys need the answer before there is a value.
    """
    if isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return for_type(annotation.__value__)
    if isinstance(annotation, typing.NewType):
        return for_type(annotation.__supertype__)
    if annotation is None:
        return named("json")
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return for_type(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return _agreed(type(one) for one in typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return _agreed(typing.get_args(annotation))
    kind = origin or annotation
    if not isinstance(kind, type):
        return None
    return named("json") if typing.is_typeddict(kind) else _for_class(kind)


def named(name: str) -> Materializer:
    """The materializer that a record names; raises NameNotFound when nothing here provides it."""
    return _defined(name) if ":" in name else _provided(name)


@functools.cache
def _provided(name: str) -> Materializer:
    found = plugins.find(GROUP, name)
    if found is None:
        raise NameNotFound.among(
            "materializer",
            name,
            plugins.names(GROUP),
            hint="a plugin wrote this artifact: look it up in `.gitml/environment.txt` of the run "
            f"and install it, for example with `pip install 'gitml[{name}]'`",
        )
    made = found()
    if not isinstance(made, Materializer) or made.name != name:
        raise GitmlError(f"the plugin `{name}` of {GROUP} is not a materializer of this name")
    return made


def load_value(content: Content, name: str, wanted: object, rules: Rules) -> object:
    """The stored value as a parameter annotated ``wanted`` wants it; ``name`` is in the record.

    Whatever saved it, ``pathlib.Path`` gets a private copy of the file or folder, and ``bytes`` the
    stored bytes; then no materializer is needed. Everything else comes back as it was saved.
    """
    if typing.get_origin(wanted) is typing.Annotated:
        wanted = typing.get_args(wanted)[0]
    kind = wanted if isinstance(wanted, type) else None
    if kind is not None and issubclass(kind, PurePath):
        return Path(content.path())
    if kind is bytes:
        if content.kind != "blob":
            raise UnsupportedValue(
                "a folder cannot be given to a parameter annotated `bytes`",
                hint="annotate the parameter with `pathlib.Path`",
            )
        return content.read()
    module, colon, _ = name.partition(":")
    if colon and name not in DEFINED and module in rules.trusted_modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    try:
        return named(name).load(content, kind, rules)
    except GitmlError:
        raise
    except Exception as error:
        raise UnsupportedValue(f"the materializer {name} raised while it loaded a value") from error


def saved(materializer: Materializer, value: object, rules: Rules) -> bytes | Path:
    """What a materializer makes of a value; whatever it raises comes out as GitmlError."""
    try:
        made: object = materializer.save(value, rules)
    except GitmlError:
        raise
    except Exception as error:
        raise UnsupportedValue(
            f"the materializer {materializer.name} raised while it saved a {type_name(value)}"
        ) from error
    if not isinstance(made, (bytes, Path)):
        raise UnsupportedValue(
            f"the materializer {materializer.name} returned a {type_name(made)}",
            hint="`save` returns bytes, or the `pathlib.Path` of a file or folder that it wrote",
        )
    return made


def wavers(name: str, value: object, rules: Rules) -> bool:
    """Whether a materializer that is not of gitml makes other bytes of the same value each time.

    ``name`` is as in records. Files and folders that it writes are not compared.
    """
    if name in plugins.BUILT_IN[GROUP]:
        return False
    first, second = (saved(named(name), value, rules) for _ in range(2))
    return isinstance(first, bytes) and first != second


def identity(materializer: Materializer) -> str:
    """A materializer in the cache key: its name and version, and the source of one's own class."""
    said = f"{materializer.name}/{materializer.version}"
    if materializer.name not in DEFINED:
        return said
    try:
        source = inspect.getsource(type(materializer))
    except (OSError, TypeError):  # a class of a notebook or of `exec`
        return said
    return f"{said} {hashlib.sha256(source.encode()).hexdigest()}"


def _defined(name: str) -> Materializer:
    """The materializer that is a class without an entry point; raises NameNotFound."""
    if name not in DEFINED:
        module = name.partition(":")[0]
        raise NameNotFound(
            f"the materializer {name} is not here",
            hint=f"`import {module}` before the value is loaded: it is a class of the code that "
            "saved it",
        )
    return DEFINED[name]()


def _agreed(annotations: typing.Iterable[object]) -> Materializer | None:
    """The one materializer of all these annotations, or None."""
    found = [for_type(one) for one in annotations]
    return found[0] if found and all(one is found[0] for one in found) else None


def _holds_tensors(value: object) -> bool:
    """Whether a value is a dict of tensors or arrays by name, such as a state dict."""
    if not isinstance(value, dict) or type(value) not in (dict, OrderedDict) or not value:
        return False
    kinds = {type_name(one) for one in value.values()}
    tensors = kinds <= {"torch.Tensor", "torch.nn.Parameter"} or kinds == {"numpy.ndarray"}
    return tensors and all(type(name) is str for name in value)


def _holds_values(value: object, depth: int = 0) -> bool:
    """Whether a dict, list or tuple holds values that JSON lacks and other materializers have."""
    if depth > _MAX_DEPTH:  # as one that holds itself; JSON refuses it with its place
        return False
    assert isinstance(value, (dict, list, tuple))  # noqa: S101 - callers have looked
    if isinstance(value, dict) and (
        _holds_tensors(value) or any(type(name) is not str for name in value)
    ):
        return False
    values = list(value.values()) if isinstance(value, dict) else value
    kinds = {type(one) for one in values}
    found = {kind: _for_class(kind) for kind in kinds}
    if None in found.values():
        return False
    if any(
        one is not None and one.name != "json" for kind, one in found.items() if not _is_plain(kind)
    ):
        return True
    inner = [one for one in values if type(one) in _CONTAINERS]
    return any(_holds_tensors(one) or _holds_values(one, depth + 1) for one in inner)


def _is_plain(kind: type) -> bool:
    """Whether JSON has values of a type that stands in a container, though not by itself."""
    return kind is bytes or "numpy.generic+" in _spellings(kind)


def _for_class(kind: type) -> Materializer | None:
    """The materializer of a class: the static table along its bases, then the plugins."""
    for spelling in _spellings(kind):
        if spelling in _TYPES:
            return named(_TYPES[spelling])
    for base in kind.__mro__:
        for name, materializer in reversed(DEFINED.items()):
            if _is_for(materializer, base, kind):
                return named(name)
    offered = _offered()
    for spelling in _spellings(kind):
        if spelling in offered:
            return named(offered[spelling])
    return named("structured") if is_structured(kind) else None


def _is_for(materializer: type[Materializer], base: type, kind: type) -> bool:
    """Whether a class of somebody's own names ``base``, one of the bases of ``kind``."""
    for one in materializer.ASSOCIATED_TYPES:
        if isinstance(one, str):
            text = f"{type_name(base)}+"
            if one == text or (base is kind and one == text[:-1]):
                return True
        elif one is base:
            return True
    return False


def is_structured(kind: type) -> bool:
    """Whether a class is nothing but its fields: a dataclass, named tuple, enum or pydantic model.

    A subclass of another class with a life of its own counts too; saving finds what is more.
    """
    if kind.__module__ == "builtins":
        return False
    if dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum):
        return True
    if issubclass(kind, tuple):
        return hasattr(kind, "_fields")
    return any(_TYPES.get(one) == "structured" for one in _spellings(kind))


@functools.cache
def _offered() -> Mapping[str, str]:
    """The associated types of the installed plugins; scanned once a process, on the first miss."""
    return {
        one if isinstance(one, str) else f"{type_name(one)}+": name
        for name, found in plugins.installed(GROUP)
        for one in found.ASSOCIATED_TYPES
    }


def _spellings(kind: type) -> Iterator[str]:
    """The names by which ASSOCIATED_TYPES may mean this class, nearest first."""
    yield type_name(kind)
    for base in kind.__mro__:
        yield f"{type_name(base)}+"
