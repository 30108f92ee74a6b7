from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import for_value
from gitml.materializers.base import Rules
from gitml.materializers.pickle import PickleMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

ALLOWED = Rules(allow_pickle=True)


class Thing:
    """A class that no other materializer knows."""

    def __init__(self, size: int) -> None:
        self.size = size


class Armed:
    """What it does when it is loaded, a test can see."""

    fired = False

    def __reduce__(self) -> Any:
        return (setattr, (Armed, "fired", True))


class TestPickle(MaterializerSuite):
    materializer = PickleMaterializer
    rules = ALLOWED
    library = "numpy"
    equal_bytes = False
    registered = False

    def values(self, folder: Path) -> Mapping[str, object]:
        return {"one": Thing(1), "two": Thing(2)}

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {"function": (lambda: None, "cannot be pickled")}

    def same(self, left: Any, right: Any) -> bool:
        return type(left) is type(right) and vars(left) == vars(right)


def test_it_is_off_unless_the_repository_allows_it() -> None:
    with pytest.raises(UnsupportedValue) as caught:
        PickleMaterializer().save(Thing(1), Rules())
    assert "`pickle = true` below `[materializers]`" in str(caught.value.hint)
    with pytest.raises(UnsupportedValue):
        for_value(Thing(1), Rules())
    assert for_value(Thing(1), ALLOWED).name == "pickle"


def test_what_is_not_allowed_is_not_even_read() -> None:
    saved = PickleMaterializer().save(Armed(), ALLOWED)
    with pytest.raises(UnsupportedValue, match="would run code"):
        PickleMaterializer().load(SavedContent(saved), None, Rules())
    assert not Armed.fired
    PickleMaterializer().load(SavedContent(saved), None, ALLOWED)
    assert Armed.fired


def test_a_pickle_of_someone_else_is_corrupt() -> None:
    with pytest.raises(CorruptData, match="format 1"):
        PickleMaterializer().load(SavedContent(pickle.dumps(1)), None, ALLOWED)


def test_it_shows() -> None:
    facts = PickleMaterializer().metadata(Thing(1))
    assert facts == {"pickle": True, "type": "tests.materializers.test_pickle.Thing"}
