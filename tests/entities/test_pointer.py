"""Pointers come back as they were, name bad lines, and keep keys that they do not know."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData

HEX = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
LINES = ["gitml 1", f"digest blake3:{HEX}", "kind blob", "size 6"]
PLAIN = "\n".join([*LINES, ""]).encode()

digests = st.binary(min_size=32, max_size=32).map(Digest.from_bytes)
keys = st.text(st.characters(exclude_characters=" \n\r", exclude_categories=["Cs"]), min_size=1)
unknown = keys.filter(
    lambda key: (
        key not in {"digest", "kind", "size"}
        and not key.startswith(("<<<<<<<", "|||||||", "=======", ">>>>>>>"))
    )
)
contents = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))


@given(
    digests,
    st.sampled_from(["blob", "tree"]),
    st.integers(0, 10**19 - 1),
    st.dictionaries(unknown, contents, max_size=3),
)
def test_a_pointer_comes_back(digest: Digest, kind: str, size: int, extra: dict[str, str]) -> None:
    pointer = Pointer(digest, kind, size, extra)
    data = pointer.encode()
    assert Pointer.decode(data, "x.gitml") == pointer
    lines = data.decode().removesuffix("\n").split("\n")
    assert lines[0] == "gitml 1"
    assert lines[1:] == sorted(lines[1:], key=lambda line: line.partition(" ")[0])


def test_the_bytes_are_as_the_format_says() -> None:
    assert Pointer(Digest(HEX), "blob", 6).encode() == PLAIN


def test_unknown_keys_are_kept_in_their_place() -> None:
    data = PLAIN.replace(b"kind", b"filter zstd 3 \nkind") + b"url https://example.org/x y\n"
    assert Pointer.decode(data, "x.gitml").encode() == data


def test_what_an_editor_does_is_borne() -> None:
    for data in (PLAIN.replace(b"\n", b"\r\n"), PLAIN.removesuffix(b"\n")):
        assert Pointer.decode(data, "x.gitml").encode() == PLAIN


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES[:1], "<<<<<<< HEAD", *LINES[1:]], "line 2 is a merge conflict marker"),
        ([*LINES[:2], "||||||| base", *LINES[2:]], "line 3 is a merge conflict marker"),
        ([*LINES, "======="], "line 5 is a merge conflict marker"),
        ([*LINES, ">>>>>>> theirs"], "line 5 is a merge conflict marker"),
        ([*LINES, ""], "line 5 is not `key value` with a new key"),
        ([*LINES, "size 7"], "line 5 is not `key value` with a new key"),
        ([*LINES[:2], "kind"], "line 3 is not `key value` with a new key"),
        (LINES[:3], "the line `size` is missing"),
        ([*LINES[:3], "size -6"], "size is not a number of bytes"),
        ([*LINES[:3], "size 06"], "size is not a number of bytes"),
        ([*LINES[:3], "size ٦"], "size is not a number of bytes"),
        ([*LINES[:3], "size " + "9" * 20], "size is not a number of bytes"),
        ([LINES[0], LINES[1], "kind folder", LINES[3]], "kind is `folder`, not `blob` or `tree`"),
        ([LINES[0], LINES[1].upper(), *LINES[2:]], "the line `digest` is missing"),
        ([LINES[0], LINES[1][:-1], *LINES[2:]], "not a BLAKE3 digest"),
        (LINES[1:], "a pointer begins with the line `gitml 1`"),
        ([""], "a pointer begins with the line `gitml 1`"),
    ],
)
def test_what_is_no_pointer_is_refused_by_line(lines: list[str], message: str) -> None:
    with pytest.raises(CorruptData, match=re.escape(message)) as caught:
        Pointer.decode("\n".join([*lines, ""]).encode(), "data/x.gitml")
    assert caught.value.message.startswith("data/x.gitml: ")


def test_a_later_format_says_how_to_read_it() -> None:
    with pytest.raises(CorruptData, match="a pointer of format 2") as caught:
        Pointer.decode(PLAIN.replace(b"gitml 1", b"gitml 2"), "x.gitml")
    assert "pip install" in (caught.value.hint or "")


@pytest.mark.parametrize("data", [b"\xff\xfe", PLAIN + b"x " + b"y" * (64 << 10)])
def test_data_under_a_pointers_name_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptData, match=r"x\.gitml: "):
        Pointer.decode(data, "x.gitml")
