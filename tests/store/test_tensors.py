"""Where tensors lie: found in good files, and nothing at all is believed of bad ones."""

from __future__ import annotations

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.store.chunking import SMALLEST
from gitml.store.tensors import MAX_HEADER, Region, regions_of


def regions(data: bytes) -> list[Region]:
    return regions_of(lambda offset, length: data[offset : offset + length], len(data))


def safetensors(tensors: dict[str, tuple[str, int]], **more: object) -> bytes:
    """A file of these tensors, by name: dtype and length in bytes."""
    header: dict[str, object] = dict(more)
    at = 0
    for name, (dtype, length) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [length], "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + os.urandom(at)


def whole(data: bytes) -> list[Region]:
    return [Region(len(data), 1)]


def test_safetensors_are_cut_at_tensors() -> None:
    big = 2 * SMALLEST
    data = safetensors(
        {
            "a": ("F32", big),
            "b": ("F32", 40),
            "c": ("I8", 80),
            "d": ("BF16", big),
            "e": ("U8", big),
        },
        __metadata__={"format": "pt"},
    )
    start = 8 + int.from_bytes(data[:8], "little")
    ends = [start, start + big, start + big + 120, start + 2 * big + 120, len(data)]
    assert regions(data) == [
        Region(end, width) for end, width in zip(ends, (1, 4, 1, 2, 1), strict=True)
    ]


def test_npy_is_cut_behind_its_header() -> None:
    numpy = pytest.importorskip("numpy")
    for dtype, width in (("<f4", 4), (">i2", 2), ("<c16", 8), ("|u1", 1), ("<f8", 8)):
        file = io.BytesIO()
        numpy.save(file, numpy.zeros((100, 200), dtype))
        data = file.getvalue()
        start = len(data) - 100 * 200 * numpy.dtype(dtype).itemsize
        assert regions(data) == [Region(start, 1), Region(len(data), width)]
    for other in (numpy.zeros(9000, "<f4,<i8"), numpy.array(["text"] * 9000)):
        file = io.BytesIO()
        numpy.save(file, other)
        assert regions(file.getvalue()) == whole(file.getvalue())


def header(text: bytes, behind: int = 100_000) -> bytes:
    return len(text).to_bytes(8, "little") + text + bytes(behind)


def listed(**changes: object) -> bytes:
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 100_000]} | changes
    return header(json.dumps({"a": one}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"{" * 40_000,
        header(b"{"),
        header(b"{}x"),
        header(b'{"a": 1}'),
        header(b'{"a": {}}'),
        header(b"[1]"),
        header(b'{"a":' * 1000),
        header(b'{"a":' + b"[" * 100_000),
        header(b'{"a": ' + b"1" * 10_000 + b"}"),
        header(b"{\xff}"),
        header(b"{}", 0)[:-1],
        (1 << 63).to_bytes(8, "little") + b"{}" + bytes(100_000),
        (MAX_HEADER + 1).to_bytes(8, "little") + b"{}" + bytes(MAX_HEADER),
        listed(data_offsets=[0, 100_001]),
        listed(data_offsets=[-1, 100_000]),
        listed(data_offsets=[100_000, 0]),
        listed(data_offsets=[0]),
        listed(data_offsets=[0.0, 100_000.0]),
        listed(data_offsets=[False, True]),
        listed(data_offsets="ab"),
        listed(dtype=None),
        header(
            json.dumps(
                {
                    name: {"dtype": "F32", "shape": [], "data_offsets": [at, at + 50_000]}
                    for name, at in (("a", 0), ("b", 49_999))
                }
            ).encode()
        ),
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(1000),
        b"\x93NUMPY\x01\x00\x10\x00" + bytes(100_000),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100_000),
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f99', 'shape': (1,)" + bytes(100_000),
    ],
)
def test_a_malformed_header_is_any_other_file(data: bytes) -> None:
    found = regions(data)
    assert found[-1].end == len(data)
    assert all(region.width == 1 for region in found)


def test_a_dtype_of_tomorrow_has_bounds_but_no_numbers() -> None:
    data = listed(dtype="F24")
    assert [region.width for region in regions(data)] == [1, 1]


def test_an_empty_file_has_no_regions() -> None:
    assert regions(b"") == []


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x93NUMPY\x01\0", b"\x20" + bytes(7) + b"{"])
)
def test_any_bytes_have_regions_that_cover_them(data: bytes, prefix: bytes) -> None:
    data = prefix + data
    ends = [region.end for region in regions(data)]
    assert ends == sorted(set(ends))
    assert ends[-1:] == ([len(data)] if data else [])
