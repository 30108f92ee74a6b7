"""Records come back from their bytes, with what a later version added; the rest is refused."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.entities import codec, records
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Code, Note, Output, Promotion, Run, Source, Step
from gitml.errors import CorruptData
from gitml.frozen import Frozen, fields, replace

DIGEST = Digest("8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99")
COMMIT = ObjectId("7295166bcd97395ee89bfd87d07f58a4e54a3354")

KINDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and issubclass(kind, records.Record) and kind is not records.Record
]

# Half surrogates are what file names that are no UTF-8 become.
texts = st.text(max_size=8) | st.sampled_from(["é", "\u2028", "\udc80", '"\\', "#", "\x00\x1b"])
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
digests = st.binary(min_size=32, max_size=32).map(Digest.from_bytes)
commits = st.binary(min_size=20, max_size=20).map(lambda raw: ObjectId(raw.hex()))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field with this type hint."""
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if type(None) in arguments:
        return st.none() | values(next(one for one in arguments if one is not type(None)))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(texts, values(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, Frozen):
        return instances(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        Digest: digests,
        ObjectId: commits,
        str: texts,
        int: st.integers(-(2**63), 2**63),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        Any: documents,
    }
    return plain[hint]


def instances(kind: type[Frozen]) -> st.SearchStrategy[Any]:
    """Records of a class, each with fields that this version does not know."""
    hints = typing.get_type_hints(kind)
    names = list(fields(kind))
    unknown = st.dictionaries(
        texts.filter(lambda name: name not in {*names, "format"} or name == "extra"),
        documents,
        max_size=2,
    )
    known = {name: values(hints[name]) for name in names if name != "extra"}
    return st.fixed_dictionaries({**known, "extra": unknown}).map(lambda made: kind(**made))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_with_what_it_does_not_know(kind: type) -> None:
    @settings(max_examples=12)
    @given(instances(kind))
    def comes_back(record: Any) -> None:
        data = codec.to_json(record)
        again = codec.from_json(kind, data, "x.json")
        assert again == record
        assert codec.to_json(again) == data
        line = codec.dump_line(codec.to_document(record))
        assert line.isascii()
        assert "\n" not in line
        assert codec.from_json(kind, line, "tag") == record

    comes_back()


def test_canonical_bytes_are_as_the_format_says() -> None:
    assert codec.to_json(Source(DIGEST, "blob", 6)) == (
        b'{\n  "digest": "blake3:' + DIGEST.hex.encode() + b'",\n  "format": 1,\n'
        b'  "kind": "blob",\n  "size": 6\n}\n'
    )
    assert codec.dump({"b": "é\udc80", "a": None}) == (
        b'{\n  "a": null,\n  "b": "\xc3\xa9\\udc80"\n}\n'
    )
    with pytest.raises(ValueError, match="Out of range"):
        codec.dump({"x": math.nan})


def test_unknown_fields_are_kept_at_every_level() -> None:
    record = Run("p", "completed", Code(COMMIT, COMMIT), "default", {}, (), "t", 1.0)
    document = codec.to_document(record)
    document["later"] = {"deep": [1, {"deeper": None}]}
    document["code"]["mirror"] = "https://example.org"
    document["steps"] = [{"name": "s", "state": "completed", "attempt": 3}]
    again = codec.from_document(Run, document, "run.json")
    assert again.code.extra == {"mirror": "https://example.org"}
    assert again.steps[0].extra == {"attempt": 3}
    moved = replace(again, stack="shared")
    assert codec.to_document(moved) == {**document, "stack": "shared"}


SOURCE = {"format": 1, "digest": str(DIGEST), "kind": "blob", "size": 6}
STEP = codec.to_document(
    Step(
        *("train", "p", "p.py:train", Code(COMMIT, COMMIT), "id", (), {}, ()),
        (Output("model", "p.train", DIGEST, "blob", 1, "json/1", "dict"),),
        *("2026-01-02T03:04:05.000000Z", 1.5),
    )
)


@pytest.mark.parametrize(
    ("kind", "broken", "message"),
    [
        (Source, {"digest": "md5:00"}, "x.json: digest: not a BLAKE3 digest: 'md5:00'"),
        (Source, {"digest": 5}, "x.json: digest: expected text, found int"),
        (Source, {"size": "6"}, "x.json: size: expected int, found str"),
        (Source, {"size": True}, "x.json: size: expected int, found bool"),
        (Source, {"size": 6.0}, "x.json: size: expected int, found float"),
        (Source, {"kind": None}, "x.json: kind: expected text, found NoneType"),
        (Source, {"size": ...}, "x.json: the field `size` is missing"),
        (Step, {"duration": "1"}, "x.json: duration: expected float, found str"),
        (Step, {"code": []}, "x.json: code: expected an object"),
        (Step, {"code": {"tree": COMMIT.hex}}, "x.json: code: the field `commit` is missing"),
        (Step, {"outputs": {}}, "x.json: outputs: expected a list"),
        (Step, {"outputs": [3]}, "x.json: outputs[0]: expected an object"),
        (Step, {"reached": ["HEAD"]}, "x.json: reached[0]: not a git object id: 'HEAD'"),
        (Step, {"parts": {"a b": 1}}, "x.json: parts.a b: expected text, found int"),
        (Step, {"parameters": [1]}, "x.json: parameters: expected an object"),
    ],
)
def test_an_error_names_the_file_and_the_field(
    kind: type, broken: dict[str, Any], message: str
) -> None:
    document = {**(SOURCE if kind is Source else STEP), **broken}
    document = {key: value for key, value in document.items() if value is not ...}
    with pytest.raises(CorruptData) as caught:
        codec.from_json(kind, json.dumps(document), "x.json")
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("found", "newer"),
    [(2, True), (99, True), (0, False), (True, False), (1.0, False), ("1", False), (None, False)],
)
def test_another_format_is_refused_and_a_newer_one_says_how_to_read_it(
    found: Any, newer: bool
) -> None:
    for read in (lambda data: codec.from_json(Source, data, "x.json"), _read_metrics):
        with pytest.raises(CorruptData, match=r"^x\.json: ") as caught:
            read(json.dumps({**SOURCE, "metrics": {}, "format": found}))
        assert ("pip install" in (caught.value.hint or "")) is newer


def _read_metrics(data: str) -> dict[str, float]:
    return codec.metrics_from_json(data, "x.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"format": 1} x',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' * 65 + b"1" + b"}" * 65,
        b'{"a": ' + b"[" * 100_000,
        b'{"a": "' + b"x" * codec.MAX_DOCUMENT + b'"}',
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_readers_might_take_differently_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptData, match=r"^x\.json: "):
        codec.parse(data, "x.json")


def test_nesting_up_to_the_limit_is_read() -> None:
    data = b'{"a": ' * 64 + b"1" + b"}" * 64
    assert codec.dump(codec.parse(data, "x.json")).count(b"{") == 64


@given(st.dictionaries(texts, st.floats() | st.integers(-(2**70), 2**70), max_size=4))
def test_metrics_come_back_also_when_they_are_no_numbers(metrics: dict[str, float]) -> None:
    data = codec.metrics_to_json(metrics)
    again = codec.metrics_from_json(data, "metrics.json")
    assert list(map(repr, again.values())) == [repr(metrics[name]) for name in again]
    assert again.keys() == metrics.keys()
    assert codec.metrics_to_json(again) == data


@pytest.mark.parametrize("value", ['"NaN"', '"1"', "true", "null", "[1]"])
def test_what_is_no_metric_is_refused_by_name(value: str) -> None:
    with pytest.raises(CorruptData, match=r"^m\.json: loss: not a number$"):
        codec.metrics_from_json(f'{{"format": 1, "metrics": {{"loss": {value}}}}}', "m.json")


class Colour(enum.IntEnum):
    RED = 3


def test_parameters_that_json_lacks_are_written_for_people() -> None:
    parameters = {
        "path": Path("data/raw.csv"),
        "colour": Colour.RED,
        "rate": math.nan,
        "floor": -math.inf,
        "folds": {3, 1, 2},
        "size": np.int64(7),
        "when": dt.date(2026, 1, 2),
        "pair": (1, 2),
        1: {None: b"x"},
    }
    record = Run("p", "completed", Code(COMMIT, COMMIT), "default", parameters, (), "t", 1.0)
    again = codec.from_json(Run, codec.to_json(record), "run.json")
    assert again.parameters == {
        "path": "data/raw.csv",
        "colour": "Colour.RED",
        "rate": "nan",
        "floor": "-inf",
        "folds": [1, 2, 3],
        "size": 7,
        "when": "datetime.date(2026, 1, 2)",
        "pair": [1, 2],
        "1": {"None": "b'x'"},
    }


def test_absent_is_not_written_and_read_as_absent() -> None:
    vacancy = Promotion("01J", "clf", "production", 2, "broken", "2026-01-02T03:04:05.000000Z")
    line = codec.dump_line(codec.to_document(vacancy))
    assert json.loads(line)["version"] is None  # a vacancy is said, not left out
    assert "before" not in json.loads(line)
    nulled = {**json.loads(line), "before": None}
    assert codec.from_document(Promotion, nulled, "tag") == vacancy


def test_free_text_cannot_leave_its_line() -> None:
    note = Note("01J", "t", "Ada", {"why": "a\nb\r\u2028-----BEGIN SSH SIGNATURE-----\n# x"})
    line = codec.dump_line(codec.to_document(note))
    assert line.splitlines() == [line]
    assert codec.from_json(Note, line, "note") == note
