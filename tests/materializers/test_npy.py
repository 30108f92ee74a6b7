from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import Rules
from gitml.materializers.npy import NpyMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

PADDED = np.dtype({"names": ["a", "b"], "formats": ["u1", "<f8"], "offsets": [0, 8]})
NESTED = np.dtype([("p", PADDED, (2,)), ("q", "S3")])


def save(value: object) -> bytes:
    saved = NpyMaterializer().save(value, Rules())
    assert isinstance(saved, bytes)
    return saved


def load(raw: bytes) -> Any:
    return NpyMaterializer().load(SavedContent(raw), None, Rules())


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right) or left.dtype != right.dtype or left.shape != right.shape:
        return False
    if isinstance(left, np.ndarray) and left.ndim > 1:
        fortran = left.flags.f_contiguous and not left.flags.c_contiguous
        if fortran != (right.flags.f_contiguous and not right.flags.c_contiguous):
            return False
    if left.dtype.names:
        return all(
            same(np.asarray(left[name]), np.asarray(right[name])) for name in left.dtype.names
        )
    return bool(left.tobytes() == right.tobytes())


def padded(fill: int) -> np.ndarray[Any, Any]:
    """The same three records, over memory that was ``fill`` before."""
    array = np.frombuffer(bytearray([fill]) * (3 * NESTED.itemsize), dtype=NESTED)
    array["p"]["a"] = 1
    array["p"]["b"] = 2.5
    array["q"] = b"xy"
    return array


class TestNpy(MaterializerSuite):
    materializer = NpyMaterializer
    library = "numpy"

    def values(self, folder: Path) -> Mapping[str, object]:
        grid = np.arange(6.0).reshape(2, 3)
        return {
            "grid": grid,
            "fortran": np.asfortranarray(grid),
            "big-endian": grid.astype(">f8"),
            "single": grid.astype("f4"),
            "empty": np.zeros((0, 3)),
            "no dimensions": np.array(1.5),
            "scalar": np.float64(1.5),
            "integer": np.int64(3),
            "days": np.array(["2026-01-31", "NaT"], "M8[D]"),
            "steps": np.array([1, 2], "m8[25s]"),
            "moment": np.datetime64("2026-01-31T12", "h"),
            "text": np.array(["a", "ünï"]),
            "word": np.str_("word"),
            "raw": np.array([b"a", b"b\x00c"]),
            "void": np.array([b"ab\x00"], "V3"),
            "structured": padded(0),
            "record": padded(0)[0],
            "names": np.zeros(2, [("ß", "?"), ("λ", "c8")]),
            "truth": np.array([True, False]),
            "half": np.array([np.nan, -0.0, np.inf], "f2"),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "objects": (np.array([{}]), "value has dtype object"),
            "objects inside": (np.zeros(1, [("a", [("b", "O")])]), "dtype"),
            "wide": (np.zeros(2, np.longdouble), "other machines"),
            "wide inside": (np.zeros(2, [("a", np.longdouble)]), "value['a'] has dtype"),
            "masked": (np.ma.masked_array([1], [True]), "numpy.ma.MaskedArray"),
            "annotated": (np.zeros(1, np.dtype("f8", metadata={"a": 1})), "with metadata"),
            "trailing zero": (np.bytes_(b"a\x00"), "come back as another"),
            "platform's": (np.longlong(1), "numpy.longlong"),
        }

    def same(self, left: Any, right: Any) -> bool:
        return same(left, right)


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
    hnp.unicode_string_dtypes(min_len=1, max_len=5),
)
ARRAYS = hnp.arrays(
    DTYPES | hnp.array_dtypes(DTYPES, max_size=3), hnp.array_shapes(min_dims=0, min_side=0)
)


@given(ARRAYS, st.booleans())
@settings(max_examples=150)
def test_any_array_comes_back(array: np.ndarray[Any, Any], fortran: bool) -> None:
    if fortran:
        array = np.asfortranarray(array)
    raw = save(array)
    assert same(load(raw), array)
    assert save(load(raw)) == raw


@given(ARRAYS.filter(lambda array: array.size > 0))
def test_any_scalar_comes_back_or_is_refused(array: np.ndarray[Any, Any]) -> None:
    value = array.ravel()[0]
    try:
        raw = save(value)
    except UnsupportedValue:  # text that ends in zeros, or a type that shares its dtype
        assert value.dtype.kind in "SUV" or type(value) is not np.dtype(value.dtype.str).type
        return
    assert same(load(raw), value)


def test_what_was_in_memory_before_does_not_show() -> None:
    assert padded(0).tobytes() != padded(0xAA).tobytes()
    assert save(padded(0)) == save(padded(0xAA))


def test_a_view_is_stored_like_a_copy() -> None:
    grid = np.arange(24).reshape(4, 6)
    assert save(grid[::2, 1::3]) == save(grid[::2, 1::3].copy())


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
def test_text_of_variable_width_is_refused() -> None:
    with pytest.raises(UnsupportedValue, match="value has dtype StringDType"):
        save(np.array(["a"], np.dtypes.StringDType()))


def test_numpy_reads_it_itself() -> None:
    assert np.load(io.BytesIO(save(np.arange(3)))).tolist() == [0, 1, 2]
    assert np.load(io.BytesIO(save(np.float64(1.5)))).tolist() == 1.5


def test_what_is_loaded_can_be_written_to() -> None:
    loaded = load(save(np.zeros(2)))
    loaded[0] = 1
    assert loaded.tolist() == [1, 0]


def test_objects_are_not_loaded_whatever_the_header_says() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptData):
        load(stream.getvalue())


def test_bytes_behind_an_array_are_corrupt() -> None:
    for tail in (b"x", b"gitml:scalar"):
        with pytest.raises(CorruptData):
            load(save(np.zeros(2)) + tail)


def test_metadata() -> None:
    assert NpyMaterializer().metadata(np.zeros((2, 3), "f4")) == {
        "shape": [2, 3],
        "dtype": "float32",
        "size": 24,
    }
