"""Metadata is plain JSON in records, and comes back as what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitml.entities.metadata import StorageSize, Uri, all_typed, leaves, recorded, typed
from gitml.errors import UsageError


def test_values_come_back_as_what_they_were() -> None:
    given = {
        "page": Uri("https://example.org/report?run=1"),
        "cache": StorageSize(1 << 30),
        "parts": [StorageSize(3), Uri("file:///data/raw.csv"), "text", 1.5, None],
        "where": Path("data/raw.csv"),
        "kinds": {"b", "a"},
        "shape": (3, np.int64(4), np.float32(0.5), np.bool_(True)),
        "nested": {"rows": 3, "deep": {"ok": True}},
    }
    kept = json.loads(json.dumps(recorded(given), allow_nan=False))
    assert kept["page"] == {"$type": "uri", "value": "https://example.org/report?run=1"}
    back = all_typed(kept)
    assert back == {
        "page": "https://example.org/report?run=1",
        "cache": 1 << 30,
        "parts": [3, "file:///data/raw.csv", "text", 1.5, None],
        "where": "data/raw.csv",
        "kinds": ["a", "b"],
        "shape": [3, 4, 0.5, True],
        "nested.rows": 3,
        "nested.deep.ok": True,
    }
    assert isinstance(back["page"], Uri)
    assert [type(one) for one in back["parts"][:2]] == [StorageSize, Uri]
    assert recorded({"x": float("nan"), "y": np.float64("-inf")}) == {"x": "nan", "y": "-inf"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": object()}, "the metadata `a` is a object, which is not plain JSON"),
        ({"a": {"b": [1, {"c": 1j}]}}, "the metadata `a.b[1].c` is a complex"),
        ({"a": np.zeros(3)}, "the metadata `a` is a ndarray"),
        ({1: "a"}, "should be text, not 1"),
        ({"": "a"}, "should be text, not ''"),
        ({"a": "x" * (2 << 20)}, "the metadata `a` has 2 MiB"),
        (["a"], "what is logged is a list"),
    ],
)
def test_what_no_record_takes_is_named(values: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        recorded(values)
    assert words in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "report.html", "https:", "https://a b", "https://a\x1b[2J", 3]
)
def test_a_uri_has_a_scheme_and_nothing_that_hides(text: Any) -> None:
    with pytest.raises(UsageError, match="is no URI"):
        Uri(text)


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None])
def test_a_size_is_a_number_of_bytes(count: Any) -> None:
    with pytest.raises(UsageError, match="is no number of bytes"):
        StorageSize(count)
    assert StorageSize(np.uint8(7)) == 7


def test_marks_of_a_later_version_or_by_hand_do_no_harm() -> None:
    later = {"$type": "moment", "value": 3}
    assert typed(later) == later
    assert typed({"$type": "uri", "value": "no scheme"}) == "no scheme"
    assert typed({"$type": "bytes", "value": [1]}) == [1]
    assert typed({"$type": ["uri"], "value": 1}) == {"$type": ["uri"], "value": 1}
    assert recorded({"a": {"$type": "bytes", "value": 3}})["a"] == {"$type": "bytes", "value": 3}
    with pytest.raises(UsageError, match="is no URI"):
        recorded({"a": {"$type": "uri", "value": "no scheme"}})
    assert dict(leaves({"a": {}, "b": {"c": 1}})) == {"b.c": 1}
