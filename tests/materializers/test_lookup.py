"""Which materializer a value, an annotation, a record asks for."""

from __future__ import annotations

import importlib
import typing
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NewType, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

import gitml.materializers as lookup
from gitml import HTMLString, plugins
from gitml.errors import GitmlError, NameNotFound, UnsupportedValue
from gitml.materializers import (
    GROUP,
    Materializer,
    Rules,
    for_type,
    for_value,
    library,
    load_value,
    named,
    type_name,
)
from gitml.testing.materializer_suite import SavedContent

Celsius = NewType("Celsius", float)
T = typing.TypeVar("T")


class Row(TypedDict):
    name: str


class Opaque:
    """A class that nothing stores."""

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.size == self.size

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Fields:
    size: int = 0


def test_the_built_ins_have_the_names_of_the_tables() -> None:
    for name in plugins.BUILT_IN[GROUP]:
        assert named(name).name == name
    assert plugins.BUILT_IN[GROUP].keys() >= set(lookup._TYPES.values())


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "json"),
        (None, "json"),
        (dict[str, list[int]], "json"),
        (tuple[int, ...], "json"),
        (float | None, "json"),
        (typing.Optional[int], "json"),  # noqa: UP045 (the older spelling)
        (Literal["a", 1], "json"),
        (Celsius, "json"),
        (Row, "json"),
        (Annotated[pd.DataFrame, "features"], "pandas"),
        (pd.Series, "pandas"),
        (pa.Table, "arrow"),
        (np.ndarray, "npy"),
        (npt.NDArray[np.float64], "npy"),
        (np.float64, "npy"),
        (Path, "path"),
        (bytes, "bytes"),
        (LogisticRegression, "sklearn"),
        (BaseEstimator, "sklearn"),
        (Fields, "structured"),
        (IntEnum, "structured"),
        (HTMLString, "html"),
    ],
)
def test_an_annotation_tells(annotation: object, name: str) -> None:
    found = for_type(annotation)
    assert found is not None and found.name == name


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        object,
        T,
        "int",
        int | pd.DataFrame,
        ClassifierMixin,
        Opaque,
        PurePosixPath,
        OrderedDict,
    ],
)
def test_an_annotation_does_not_tell(annotation: object) -> None:
    assert for_type(annotation) is None


@pytest.mark.parametrize(
    "value",
    [OrderedDict(), Opaque(), np.ma.masked_array([1]), bytearray(b"a"), PurePosixPath("/"), open],
)
def test_a_value_that_would_come_back_as_another(value: object) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        for_value(value, Rules())
    assert type_name(value) in caught.value.message
    assert "`pickle = true`" in str(caught.value.hint)
    assert for_value(value, Rules(allow_pickle=True)).name == "pickle"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "int"),
        (None, "NoneType"),
        (pd.DataFrame(), "pandas.DataFrame"),
        (pd.DataFrame, "pandas.DataFrame"),
        (np.float64(1), "numpy.float64"),
        (pa.table({}), "pyarrow.Table"),
        (LogisticRegression(), "sklearn.linear_model.LogisticRegression"),
        (Opaque, f"{__name__}.Opaque"),
    ],
)
def test_a_type_has_its_shortest_public_name(value: object, name: str) -> None:
    assert type_name(value) == name


def test_an_unknown_name_says_where_to_look() -> None:
    with pytest.raises(NameNotFound) as caught:
        named("keras")
    assert "no materializer is called `keras`" in caught.value.message
    assert "`pip install 'gitml[keras]'`" in str(caught.value.hint)
    with pytest.raises(NameNotFound) as caught:
        named("panda")
    assert caught.value.hint == "did you mean `pandas`?"


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(GitmlError) as caught:
        library("skops.io", "sklearn")
    assert (
        caught.value.message
        == "the `sklearn` materializer needs skops, which cannot be imported here"
    )
    assert caught.value.hint == "`pip install 'gitml[sklearn]'`"


# What a parameter wants


def test_a_path_or_bytes_is_given_whatever_saved_it(tmp_path: Path) -> None:
    content = SavedContent(b'{"a":1}')
    path = load_value(content, "json", Path, Rules())
    assert isinstance(path, Path) and path.read_bytes() == b'{"a":1}'
    path.unlink()
    assert load_value(content, "json", bytes, Rules()) == b'{"a":1}'
    assert load_value(content, "no such plugin", Annotated[bytes, "x"], Rules()) == b'{"a":1}'
    assert load_value(content, "json", dict, Rules()) == {"a": 1}
    assert load_value(content, "json", None, Rules()) == {"a": 1}
    with pytest.raises(UnsupportedValue, match="a folder cannot"):
        load_value(SavedContent(tmp_path), "path", bytes, Rules())


# Plugins


class OpaqueMaterializer(Materializer):
    """A third party's."""

    name: ClassVar[str] = "opaque"
    version: ClassVar[int] = 3
    ASSOCIATED_TYPES: ClassVar[tuple[str, ...]] = (f"{__name__}.Opaque", "int")

    def save(self, value: Any, rules: Rules) -> bytes:
        return bytes(value.size)

    def load(self, content: Any, wanted: type | None, rules: Rules) -> Opaque:
        return Opaque(len(content.read()))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The class above as an installed distribution offers it."""
    info = tmp_path / "acme_opaque-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-opaque\nVersion: 1.0\n")
    lines = f"[{GROUP}]\nopaque = {__name__}:OpaqueMaterializer\nliar = {__name__}:Opaque\n"
    (info / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    caches = (lookup._provided, lookup._offered)
    for one in caches:
        one.cache_clear()
    monkeypatch.setattr(Opaque, "ASSOCIATED_TYPES", (), raising=False)
    yield
    for one in caches:
        one.cache_clear()


@pytest.mark.usefixtures("plugin")
def test_a_plugin_takes_the_same_road() -> None:
    found = for_value(Opaque(2), Rules())
    assert isinstance(found, OpaqueMaterializer)
    assert for_type(Opaque) is found and named("opaque") is found
    assert load_value(SavedContent(b"ab"), "opaque", Opaque, Rules()) == Opaque(2)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_cannot_take_a_built_in_type() -> None:
    assert for_value(3, Rules()).name == "json"


@pytest.mark.usefixtures("plugin")
def test_a_plugin_that_is_no_materializer() -> None:
    with pytest.raises(GitmlError, match="not a materializer"):
        named("liar")
