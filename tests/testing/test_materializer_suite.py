"""Each test of the conformance suite fails for a materializer that breaks its law."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

Fault = Callable[[type[Materializer]], None]


def suite_of(**faults: Any) -> MaterializerSuite:
    """A suite over a materializer of text that is right but for these attributes."""

    class Words(Materializer):
        name: ClassVar[str] = "words"
        version: ClassVar[int] = 1

        def save(self, value: Any, rules: Rules) -> bytes:
            if type(value) is not str:
                raise UnsupportedValue("value is no text")
            return b"words:" + value.encode()

        def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
            raw = content.read()
            if not raw.startswith(b"words:"):
                raise CorruptData("not words")
            try:
                return raw.removeprefix(b"words:").decode()
            except UnicodeDecodeError as error:
                raise CorruptData("not words") from error

        def metadata(self, value: Any) -> dict[str, JSON]:
            return {"length": len(value)}

    class Suite(MaterializerSuite):
        materializer = type(
            "Faulty", (Words,), {**faults, "__module__": "gitml.materializers.blob"}
        )

        def values(self, folder: Path) -> Mapping[str, object]:
            return {"a": "a", "b": "b"}

        def refused(self) -> Mapping[str, tuple[object, str]]:
            return {"number": (1, "no text")}

    return Suite()


counter = itertools.count()
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("test_it_says_what_it_is", {"name": "Two Words"}),
    ("test_it_says_what_it_is", {"version": 0}),
    ("test_what_is_loaded_is_what_was_saved", {"load": lambda *_: "c"}),
    ("test_different_values_give_different_bytes", {"save": lambda *_: b"words:x"}),
    ("test_metadata_is_small_and_strict", {"metadata": lambda *_: {"score": float("nan")}}),
    ("test_metadata_is_small_and_strict", {"metadata": lambda *_: {"shape": (1, 2)}}),
    ("test_metadata_is_small_and_strict", {"metadata": lambda *_: {"text": "x" * 20_000}}),
    ("test_metadata_is_small_and_strict", {"metadata": lambda *_: {"at": next(counter)}}),
    ("test_what_it_cannot_keep_is_refused", {"save": lambda *_: b"words:x"}),
    ("test_damaged_bytes_end_in_an_error_of_ours", {"load": lambda *_: "c"}),
    ("test_damaged_bytes_end_in_an_error_of_ours", {"load": lambda _, one, *__: one.read()[90]}),
    ("test_equal_values_give_equal_bytes", {"save": lambda *_: str(next(counter)).encode()}),
]


@pytest.mark.parametrize(("test", "fault"), FAULTS)
def test_a_fault_is_found(test: str, fault: dict[str, Any], tmp_path: Path) -> None:
    takes_folder = test not in ("test_it_says_what_it_is", "test_what_it_cannot_keep_is_refused")
    arguments = (tmp_path,) if takes_folder else ()
    if test != "test_equal_values_give_equal_bytes":  # another process cannot import a local class
        getattr(suite_of(), test)(*arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError, IndexError)):
        getattr(suite_of(**fault), test)(*arguments)


def test_a_library_that_comes_along_is_found() -> None:
    suite = suite_of()
    suite.test_importing_it_imports_no_library()
    type(suite).library = "gitml"
    with pytest.raises(AssertionError):
        suite.test_importing_it_imports_no_library()


def test_bytes_that_depend_on_the_hash_seed_are_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Seeded().test_equal_values_give_equal_bytes(tmp_path)


class HashMaterializer(Materializer):
    """Writes what differs from process to process."""

    name: ClassVar[str] = "hash"
    version: ClassVar[int] = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        return str(hash(value)).encode()

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        return content.read()


class Seeded(MaterializerSuite):
    materializer = HashMaterializer

    def values(self, folder: Path) -> Mapping[str, object]:
        return {"a": "a"}


def test_saved_content(tmp_path: Path) -> None:
    assert SavedContent(b"a").kind == "blob" and SavedContent(tmp_path).kind == "tree"
    path = SavedContent(b"a").path()
    assert path.read_bytes() == b"a"
    path.unlink()
    assert SavedContent(tmp_path).path() == tmp_path
