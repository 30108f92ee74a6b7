"""Verdicts as data, as JSON, as Markdown and as an error."""

from __future__ import annotations

from gitml.entities.ids import ObjectId
from gitml.promotion.verdict import FAILED, PASSED, UNKNOWN, Check, Verdict

GOOD = Check("metric accuracy", PASSED, "at least 0.9", "0.93")
BAD = Check("passed staging", FAILED, "held staging", "never held it", "`gitml promote …`")
OPEN = Check("approvals", UNKNOWN, "1 of owners", "nobody has looked")


def verdict(*checks: Check) -> Verdict:
    return Verdict("clf", "production", "clf@v3", ObjectId("ab" * 20), checks, "sha256:00")


def test_only_what_passed_is_good_enough() -> None:
    assert verdict().ok
    assert verdict(GOOD).ok
    assert not verdict(GOOD, OPEN).ok
    assert verdict(GOOD, OPEN, BAD).missed == [BAD, OPEN]


def test_as_json() -> None:
    document = verdict(GOOD, BAD).document()
    assert document["ok"] is False
    assert document["commit"] == "ab" * 20
    assert [one["state"] for one in document["checks"]] == ["passed", "failed"]
    record = verdict(GOOD, Check("x", FAILED, "y", "z" * 999)).record()
    assert record["ok"] is False
    assert len(record["checks"][1]["found"]) == 200


def test_as_an_error_that_names_each_missed_check() -> None:
    error = verdict(GOOD, OPEN, BAD).refusal()
    assert error.exit_code == 3
    assert error.message == "clf@v3 does not meet the policy for production (1 of 3 checks)"
    assert error.causes() == [
        "passed staging: never held it; the policy asks for held staging; `gitml promote …`",
        "approvals: nobody has looked; the policy asks for 1 of owners",
    ]


def test_as_markdown_in_which_nothing_is_markup() -> None:
    text = verdict(Check("own", FAILED, "<b>", "a | b\n@all `x`", "\u202e")).markdown()
    assert "**clf&#64;v3** does not meet the policy for **production** (0 of 1 checks)" in text
    row = "| ✗ | own | &#60;b&#62; | a &#124; b &#64;all &#96;x&#96;<br>&#92;u202e |"
    assert text.splitlines()[-1] == row
