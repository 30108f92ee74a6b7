"""Names keep to the grammar, and identities parse to the letter or not at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.ids import (
    Digest,
    ObjectId,
    check_model_name,
    check_name,
    check_stage_name,
    check_twins,
)
from gitml.errors import CorruptData, InvalidName

GOOD = ["a", "A1", "clf", "net-v2", "a.b.c", "x_", "0", "a-", "v", "face", "auxiliary", "x" * 100]
BAD = [
    "",
    ".a",
    "-a",
    "_a",
    "a.",
    "a..b",
    "a.lock",
    "a b",
    "a/b",
    "a@b",
    "a:b",
    "é",
    "a\n",
    "x" * 101,
]
BAD += ["con", "AUX", "nul.txt", "com1", "LPT9.x", "a~1", "a^", "a\\b", "a*", "a{", "\u200da"]


@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_given_back(name: str) -> None:
    assert check_name(name, "model") == name


@pytest.mark.parametrize("name", BAD)
def test_outside_the_grammar_is_refused_with_the_grammar(name: str) -> None:
    with pytest.raises(InvalidName, match="not a name for a step") as caught:
        check_name(name, "step")
    assert "letters, digits" in (caught.value.hint or "")


@given(st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*", fullmatch=True))
def test_every_accepted_name_can_stand_in_a_ref(name: str) -> None:
    """What `git check-ref-format` forbids: dots at the ends, two dots, `.lock`, odd characters."""
    try:
        check_name(name, "model")
    except InvalidName:
        return
    assert not re.search(r"\.\.|\.\Z|\.lock\Z|\A[.-]|[\x00-\x20~^:?*\[\\]|@\{|//", name)
    assert len(name) <= 100


@pytest.mark.parametrize("name", ["v1", "v0x", "v12.a"])
def test_a_model_never_reads_as_a_version(name: str) -> None:
    with pytest.raises(InvalidName, match="reads as a version"):
        check_model_name(name)
    assert check_name(name, "artifact") == name


@pytest.mark.parametrize(
    "name", ["latest", "Latest", "deleted", "alias", "archived", "none", "v7", "V007", "cafe", "12"]
)
def test_a_stage_never_reads_as_something_else(name: str) -> None:
    with pytest.raises(InvalidName, match="means something else after `@`"):
        check_stage_name(name)


@pytest.mark.parametrize("name", ["production", "staging", "qa-1", "v", "prod.eu", "v1a-x"])
def test_stages_of_a_team(name: str) -> None:
    assert check_stage_name(name) == name


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_comes_back(raw: bytes) -> None:
    digest = Digest.from_bytes(raw)
    assert Digest.parse(str(digest)) == digest
    assert digest.raw == raw
    assert digest.hex.startswith(digest.short)


@pytest.mark.parametrize(
    "text",
    ["", "8e4c", f"blake3:{'A' * 64}", f"sha256:{'a' * 64}", f"blake3:{'a' * 63}", "a" * 64],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(CorruptData, match="not a BLAKE3 digest"):
        Digest.parse(text)


@pytest.mark.parametrize(
    "text", ["", "HEAD", "a" * 39, "a" * 41, "A" * 40, "a" * 64, "a" * 40 + "\n"]
)
def test_what_is_no_object_id_is_refused(text: str) -> None:
    with pytest.raises(CorruptData, match="not a git object id"):
        ObjectId.parse(text)
    with pytest.raises(CorruptData):
        Digest.from_bytes(b"x" * 31)


def test_names_that_differ_only_in_case_are_refused() -> None:
    check_twins(["clf", "net"], ["clf", "other"], "model")
    check_twins(["CLF"], ["clf", "CLF"], "model")  # both are there: nothing new
    for names, known in ((["CLF"], ["clf"]), (["a", "A"], []), (["STRASSE"], ["straße"])):
        with pytest.raises(InvalidName, match="differs only in case") as failed:
            check_twins(names, known, "model")
        assert "or take another name" in str(failed.value.hint)
