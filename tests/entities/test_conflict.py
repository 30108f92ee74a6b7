from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.conflict import Conflict
from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData

DIGESTS = st.binary(min_size=32, max_size=32).map(Digest.from_bytes)
EXTRA = st.dictionaries(st.sampled_from(["a", "mode", "note", "z"]), st.sampled_from(["1", "x y"]))
POINTERS = st.builds(Pointer, DIGESTS, st.just("tree"), st.integers(0, 10**18), EXTRA)


@given(POINTERS, POINTERS, st.none() | POINTERS, DIGESTS)
def test_what_was_written_is_read_and_is_no_pointer(
    ours: Pointer, theirs: Pointer, merged: Pointer | None, undecided: Digest
) -> None:
    made = Conflict(ours, theirs, merged, undecided if merged else None)
    if ours == theirs:
        return
    assert Conflict.decode(made.encode(), "x.gitml") == made
    assert Conflict.decode(made.encode().replace(b"\n", b"\r\n"), "x.gitml") == made
    with pytest.raises(CorruptData, match="conflict marker"):
        Pointer.decode(made.encode(), "x.gitml")


@pytest.mark.parametrize("style", ["", "||||||| 1a2b3c4\ndigest blake3:0\n"])
def test_lines_that_git_merged_have_sides(style: str) -> None:
    digests = ["blake3:" + digit * 64 for digit in "ab"]
    text = (
        f"gitml 1\n<<<<<<< HEAD\ndigest {digests[0]}\n{style}=======\ndigest {digests[1]}\n"
        f">>>>>>> theirs\nkind blob\nsize 3\n"
    )
    found = Conflict.decode(text.encode(), "x.gitml")
    assert found is not None
    assert [str(one.digest) for one in (found.ours, found.theirs)] == digests
    assert found.merged is None


@pytest.mark.parametrize(
    "text",
    ["", "gitml 1\n", "gitml 1\n<<<<<<< ours\n", "<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n", "\xff"],
)
def test_anything_else_is_none(text: str) -> None:
    assert Conflict.decode(text.encode("latin-1"), "x.gitml") is None
