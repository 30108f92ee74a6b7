"""What leaves the printer: nothing that drives a terminal, the same with and without colour."""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.cli import render

HOSTILE = "a\x1b[2Jb\x07\r\n\t\x9b31m\u202edrow\u2066\u200b\ufeff\udcff\x7f"


class Stream(io.StringIO):
    """A stream that says of itself what a terminal or a pipe would."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def printed(monkeypatch: pytest.MonkeyPatch, *lines: str, **how: object) -> str:
    stream = Stream(**{"terminal": False, **how})  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdout", stream)
    render.answer(*lines)
    return stream.getvalue()


def dangerous(text: str) -> list[str]:
    """Characters that a terminal would act upon or that change the direction of a line."""
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")] + [
        one for one in text if unicodedata.bidirectional(one) in ("RLO", "LRO", "RLE", "LRE")
    ]


def test_hostile_text_is_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, HOSTILE)
    assert text.endswith("\n")
    assert dangerous(text[:-1]) == []
    for escape in ("\\x1b[2J", "\\x07", "\\r", "\\n", "\\t", "\\x9b31m", "\\u202e", "\\xff"):
        assert escape in text


@given(st.text())
def test_no_text_reaches_a_stream_unseen(text: str) -> None:
    assert dangerous(render.visible(text)) == []
    assert render.visible(render.visible(text)) == render.visible(text)


def test_a_label_in_a_text_can_only_pick_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    forged = "x" + "".join(chr(code) for code in range(0xFDD0, 0xFDF0)) + "y"
    text = printed(monkeypatch, forged)
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", text))
    assert codes <= {*render.COLOURS.values(), "0"}
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == "xy\n"


@pytest.mark.parametrize(
    ("variables", "terminal", "coloured"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"CLICOLOR_FORCE": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    variables: dict[str, str], terminal: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = printed(monkeypatch, f"see {render.paint('error', 'this')}", terminal=terminal)
    assert ("\x1b" in text) == coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == "see this\n"


def test_a_stream_without_unicode_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, "○─╮ … é", encoding="ascii") == "o-. ... \\xe9\n"


def test_json_escapes_what_a_terminal_would_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=False)
    monkeypatch.setattr("sys.stdout", stream)
    render.answer_json("x", {"name": HOSTILE + "\U000e0041é", "lost": float("nan")})
    text = stream.getvalue()
    assert dangerous(text.replace("\n", "")) == []
    assert "é" in text
    found = json.loads(text)
    assert found == {"schema": "gitml.x/1", "name": HOSTILE + "\U000e0041é", "lost": "nan"}


def test_tables_line_up_and_lose_empty_columns() -> None:
    rows = [["a", "", "1"], [render.paint("run", "bbb"), "", "22"], ["日本", "", "3"]]
    lines = render.table(rows, ["name", "note", "n"], right={2})
    plain = [re.sub("[\ufdd0-\ufdef]", "", line) for line in lines]
    assert plain == ["name   n", "a      1", "bbb   22", "日本   3"]


@pytest.mark.parametrize("room", [40, 32, 24, 14])
def test_a_narrow_terminal_shortens_what_may_be_and_never_the_rest(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(render, "_room", lambda: room)
    rows = [["5feceb6", "Ada Lovelace Example", render.paint("dim", "accuracy 0.913"), "clf@v1"]]
    header, *lines = render.table(rows, ["run", "by", "metrics", "made"], shorten=(1, 2))
    plain = re.sub("[\ufdd0-\ufdef]", "", lines[0])
    shown = {
        40: "5feceb6  Ada Lov…  accuracy 0.9…  clf@v1",
        32: "5feceb6  accuracy 0.913  clf@v1",
        24: "5feceb6  clf@v1",
        14: "5feceb6  clf@v1",
    }
    assert plain == shown[room] and render.width(header) <= max(room, 15)


def plainly(narrow: list[int]) -> list[str]:
    rows = [["clf@v1 [production]", "5feceb6b7c11d2", "s3://bucket/path", "0.913"]]
    lines = render.table(rows, ["version", "rate_of_learning", "data", "acc"], narrow=narrow)
    return [re.sub("[\ufdd0-\ufdef]", "", line) for line in lines]


@pytest.mark.parametrize("room", [70, 60, 50, 20])
def test_columns_are_cut_at_their_ends_and_never_below_their_names(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(render, "_room", lambda: room)
    header, line = plainly(narrow=[1, 2])
    cut = {70: "s3://bucket/path", 60: "s3://bucket/p…", 50: "s3://bu…", 20: "s3://bu…"}
    assert line == f"clf@v1 [production]  5feceb6b7c11d2    {cut[room]}  0.913"
    assert header.split() == ["version", "rate_of_learning", "data", "acc"]
    assert plainly(narrow=[])[1].endswith("s3://bucket/path  0.913")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.0004, "0.4 ms"), (0.0121, "12 ms"), (0.9996, "1.0 s"), (1.23, "1.2 s")),
        *((59.6, "1m00s"), (372, "6m12s"), (3599.7, "1.0 h"), (7560, "2.1 h")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (88_000_000, "88 MB")),
        *((999_600, "1.0 MB"), (1_200_000_000, "1.2 GB")),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert render.size(count) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        *((3, "just now"), (59, "59 seconds ago"), (61, "1 minute ago"), (7300, "2 hours ago")),
        *((90_000, "yesterday"), (3 * 86400, "3 days ago"), (-1, "just now")),
        *((30 * 86400, "14 October"), (400 * 86400, "9 October 2025"), (-7200, "2026-11-13 16:00")),
    ],
)
def test_points_in_time(passed: float, text: str) -> None:
    now = 1794578400.0  # 13 November 2026, 14:00 UTC
    assert render.ago(now - passed, now) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((3, "3"), (3.0, "3"), (0, "0"), (1e20, "1e+20"), (float("nan"), "nan"), (-0.5, "-0.5")),
        *((0.9123456, "0.912346"), (12345.678, "12345.7"), (-7654321.5, "-7654322")),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert render.number(value) == text


def test_markdown_shows_a_value_as_it_is() -> None:
    assert render.markdown("a|b*[c]") == "a\\|b\\*\\[c\\]"


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "alias", "1 alias"), (2, "alias", "2 aliases"), (0, "run", "0 runs"), (1, "run", "1 run")],
)
def test_a_number_with_its_noun(number: int, noun: str, text: str) -> None:
    assert render.count(number, noun) == text
