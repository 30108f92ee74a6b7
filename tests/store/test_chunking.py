"""Cuts: the same from either implementation, whatever follows, and as the document has them."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.store import chunking
from gitml.store.chunking import AVERAGE, LARGEST, SMALLEST, cuts, cuts_by_numpy, cuts_by_pyfastcdc
from tests.store.test_format import section

NOISE = blake3(b"gitml chunks").digest(length=1 << 20)
LINES = b"".join(b"%d\n" % number for number in range(200_000))[: 1 << 20]
VECTORS = {"noise": NOISE, "zeros": bytes(1 << 20), "lines": LINES}


@pytest.mark.parametrize("name", VECTORS)
def test_the_cuts_in_the_document(name: str) -> None:
    found = re.search(rf"^    {name} ((?:\d+\s+)+)", section(), re.MULTILINE)
    assert found
    expected = [int(number) for number in found[1].split()]
    assert cuts(VECTORS[name], is_last=True) == expected
    assert cuts_by_numpy(memoryview(VECTORS[name]), True) == expected


def test_the_table_in_the_document() -> None:
    pytest.importorskip("pyfastcdc")
    from pyfastcdc.py.constants import GEAR

    assert chunking.gear() == list(GEAR)
    assert f"`{chunking.gear()[0]:016x}`" in section()
    assert f"`{chunking.gear()[255]:016x}`" in section()


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A few hundred KiB: noise, repetition and runs of one byte, of every parity."""
    size = draw(st.integers(0, 5 * AVERAGE) | st.sampled_from(EDGES))
    seed = blake3(draw(st.binary(max_size=8))).digest(length=size)
    period = draw(st.sampled_from([1, 2, 47, 48, 49, 64, 1000, 100_000, 1_000_000]))
    return (seed[:period] * (size // period + 1))[:size]


EDGES = [
    edge + by for edge in (SMALLEST, SMALLEST + 48, AVERAGE, LARGEST) for by in (-2, -1, 0, 1, 2)
]


@given(contents(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_both_cut_alike(data: bytes, is_last: bool) -> None:
    assert cuts_by_numpy(memoryview(data), is_last) == cuts_by_pyfastcdc(memoryview(data), is_last)


@given(contents(), contents())
@settings(max_examples=30, deadline=None)
def test_cuts_do_not_depend_on_how_much_is_seen(data: bytes, more: bytes) -> None:
    whole = cuts(data + more, is_last=True)
    certain = cuts(data, is_last=False)
    assert whole[: len(certain)] == certain
    start = certain[-1] if certain else 0
    assert [start + end for end in cuts((data + more)[start:], is_last=True)] == whole[
        len(certain) :
    ]


@given(contents())
@settings(max_examples=30, deadline=None)
def test_chunks_have_their_lengths_and_are_all_of_it(data: bytes) -> None:
    ends = cuts(data, is_last=True)
    lengths = [end - start for start, end in itertools.pairwise([0, *ends])]
    assert sum(lengths) == len(data)
    assert all(SMALLEST <= length <= LARGEST for length in lengths[:-1])
    assert not lengths or 0 < lengths[-1] <= LARGEST


def test_an_edit_moves_few_cuts() -> None:
    data = os.urandom(4 << 20)
    edited = data[:2_000_000] + b"inserted" + data[2_000_000:]
    ends = cuts(data, is_last=True)
    moved = cuts(edited, is_last=True)
    kept = {end for end in ends if end <= 2_000_000} | {end + 8 for end in ends if end > 2_000_000}
    assert len(set(moved) - kept) <= 8


BARE = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from gitml.errors import GitmlError
from gitml.store import chunking
try:
    chunking.cuts(bytes(1000), is_last=True)
    print(chunking._cutter().__name__)
except GitmlError as error:
    print(error.message, error.hint)
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["numpy"], "cuts_by_pyfastcdc"),
        (["pyfastcdc"], "cuts_by_numpy"),
        (["pyfastcdc.cy"], "cuts_by_numpy"),
        (["pyfastcdc.cy", "numpy"], "cuts_by_pyfastcdc"),
        (["pyfastcdc", "numpy"], "`pip install pyfastcdc`"),
    ],
)
def test_what_cuts_where_something_is_missing(missing: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE, *missing], capture_output=True, text=True, check=True
    )
    assert said in done.stdout
    assert done.stderr == ""
