"""Codecs: what is stored comes back, and a hostile frame gets nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitml.errors import CorruptData, StorageError
from gitml.store import codec


def decoded(
    tmp_path: Path, number: int, stored: bytes, plain: int, *, behind: bytes = b""
) -> bytes:
    """What decoding ``stored`` gives, when it lies in the middle of a file."""
    path = tmp_path / "file"
    path.write_bytes(b"before" + stored + behind)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return b"".join(codec.decode(number, descriptor, 6, len(stored), plain))
    finally:
        os.close(descriptor)


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=50).map(lambda part: part * 2000)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, data: bytes) -> None:
    number, stored = codec.encode(data)
    assert len(stored) <= len(data)
    assert decoded(tmp_path, number, stored, len(data), behind=b"x") == data


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024])
def test_sizes_at_the_edges(tmp_path: Path, size: int) -> None:
    for data in (os.urandom(size), b"abcdefg" * (size // 7) + b"z" * (size % 7)):
        number, stored = codec.encode(data)
        assert decoded(tmp_path, number, stored, size) == data


def test_the_probe_tells_noise_from_text() -> None:
    noise, text = os.urandom(2_000_000), b"1.25,abc\n" * 250_000
    assert codec.encode(noise) == (codec.RAW, noise)
    assert codec.encode(text)[0] == codec.ZSTD


ALIKE = b"\x3d\x3e" * 128


def numbers(width: int, count: int) -> bytes:
    """Numbers whose high bytes are alike and whose low bytes are noise, as weights are."""
    low = os.urandom(count * width)
    planes = [low[plane * count : (plane + 1) * count] for plane in range(width - 1)]
    data = bytearray(count * width)
    for plane, part in enumerate([*planes, os.urandom(count).translate(ALIKE)]):
        data[plane::width] = part
    return bytes(data)


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("with_numpy", [True, False])
def test_numbers_are_stored_by_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, with_numpy: bool
) -> None:
    if with_numpy:
        pytest.importorskip("numpy")
    else:
        monkeypatch.setattr(codec, "_numpy", lambda: None)
    for data in (numbers(width, 20_000), numbers(width, 20_000) + b"odd"[: width - 1]):
        number, stored = codec.encode(data, width)
        assert (number, stored[0]) == (codec.PLANES, width)
        assert len(stored) < len(zstandard.ZstdCompressor(level=3).compress(data))
        assert decoded(tmp_path, number, bytes(stored), len(data), behind=b"x") == data


@given(st.binary(max_size=2000), st.sampled_from([2, 4, 8]))
def test_planes_of_anything_come_back_with_and_without_numpy(data: bytes, width: int) -> None:
    pytest.importorskip("numpy")
    made = [codec._encode_planes(data, width)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_numpy", lambda: None)
        made.append(codec._encode_planes(data, width))
        assert codec.decode_whole(codec.PLANES, made[0], len(data)) == data
    assert made[0] == made[1]
    assert codec.decode_whole(codec.PLANES, made[0], len(data)) == data


def test_the_planes_of_the_document() -> None:
    """The layout, made by hand: a stranger's encoder need not be ours."""
    data = b"aAbBcCdDeEz"
    frame = zstandard.ZstdCompressor(level=19).compress(b"abcdeABCDEz")
    assert codec.decode_whole(codec.PLANES, b"\x02" + frame, len(data)) == data


@pytest.mark.parametrize("first", [b"\0", b"\1", b"\3", b"\5", b"\x10", b"\xff", b""])
def test_a_width_that_is_none_is_refused(tmp_path: Path, first: bytes) -> None:
    frame = zstandard.ZstdCompressor(level=1).compress(PLAIN)
    with pytest.raises(CorruptData):
        decoded(tmp_path, codec.PLANES, first + frame, len(PLAIN))


def test_the_probe_finds_the_width_of_numbers() -> None:
    for data, width in (
        (numbers(2, 100_000), 2),
        (numbers(4, 100_000), 4),
        (b"1.25,abc\n" * 50_000, 1),
        (os.urandom(400_000), 1),
    ):
        assert codec.best_width(len(data), lambda at, n, data=data: data[at : at + n]) == width


@given(st.binary(min_size=1, max_size=4000), st.binary(max_size=300), st.integers(0, 4000))
def test_differences_come_back(base: bytes, edit: bytes, at: int) -> None:
    data = base[:at] + edit + base[at:]
    stored = codec.encode_delta(data, base)
    assert codec.decode_whole(codec.DELTA, stored, len(data), base) == data


def test_a_difference_is_small_and_needs_its_base(tmp_path: Path) -> None:
    base = os.urandom(70_000)
    data = base[:30_000] + b"edited" + base[30_100:]
    stored = codec.encode_delta(data, base)
    assert len(stored) < 200
    for wrong in (None, os.urandom(70_000)[:100], b""):
        with pytest.raises(CorruptData):
            codec.decode_whole(codec.DELTA, stored, len(data), wrong)
    with pytest.raises(CorruptData):
        decoded(tmp_path, codec.DELTA, stored, len(data))


def test_a_dictionary_does_not_make_a_bomb() -> None:
    base = bytes(1_000_000)
    stored = codec.encode_delta(bytes(8_000_000), base)
    assert len(stored) < 2_000
    for plain in (1000, 7_999_999, 8_000_001, codec.MAX_WHOLE + 1, 1 << 60):
        with pytest.raises(CorruptData):
            codec.decode_whole(codec.DELTA, stored, plain, base)


@pytest.mark.parametrize("number", [codec.PLANES, codec.DELTA])
def test_more_stored_than_plain_bytes_are_not_read(tmp_path: Path, number: int) -> None:
    with pytest.raises(CorruptData):
        decoded(tmp_path, number, bytes(5_000), 4_000)


def test_a_long_chunk_is_a_stream(tmp_path: Path) -> None:
    data = os.urandom(1000) * 9000
    stored = zstandard.ZstdCompressor(level=1).compress(data)
    assert decoded(tmp_path, codec.ZSTD, stored, len(data)) == data
    with pytest.raises(CorruptData, match="at once"):
        codec.decode_whole(codec.ZSTD, stored, len(data))


PLAIN = b"0123456789" * 100
FRAME = zstandard.ZstdCompressor(level=1).compress(PLAIN)
NO_SIZE = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(PLAIN)
EMPTY = zstandard.ZstdCompressor(level=1).compress(b"")
SKIPPABLE = bytes.fromhex("502a4d18 04000000 00000000")


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        FRAME[:-1],
        FRAME[:5],
        FRAME + b"x",
        FRAME + FRAME,
        FRAME + EMPTY,
        FRAME + SKIPPABLE,
        SKIPPABLE + FRAME,
        EMPTY + FRAME,
        NO_SIZE,
        b"not zstd at all",
        zstandard.ZstdCompressor(level=1).compress(PLAIN + b"x"),
        zstandard.ZstdCompressor(level=1).compress(PLAIN[:-1]),
    ],
    ids=range(13),
)
def test_anything_but_one_whole_frame_is_refused(tmp_path: Path, stored: bytes) -> None:
    with pytest.raises(CorruptData):
        decoded(tmp_path, codec.ZSTD, stored, len(PLAIN), behind=b"more")
    for number, prefix, base in (
        (codec.ZSTD, b"", None),
        (codec.PLANES, b"\x02", None),
        (codec.DELTA, b"", b"a base that is not used"),
    ):
        with pytest.raises(CorruptData):
            codec.decode_whole(number, prefix + stored, len(PLAIN), base)


@pytest.mark.parametrize("plain", [9, 11])
def test_raw_bytes_have_their_declared_length(tmp_path: Path, plain: int) -> None:
    with pytest.raises(CorruptData):
        decoded(tmp_path, codec.RAW, b"x" * 10, plain)


def test_a_wide_window_is_refused(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj(size=64 << 20)
    stored = b"".join(stream.compress(bytes(1 << 20)) for _ in range(64)) + stream.flush()
    assert zstandard.get_frame_parameters(stored).window_size > codec.MAX_WINDOW
    with pytest.raises(CorruptData):
        decoded(tmp_path, codec.ZSTD, stored, 64 << 20)


def test_a_codec_of_a_later_version_is_not_called_damage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="codec 4") as caught:
        decoded(tmp_path, 4, b"xyz", 3)
    assert "upgrade" in (caught.value.hint or "")


BOMB = """
import os, resource, sys
from gitml.errors import CorruptData
from gitml.store import codec
size, plain = os.stat(sys.argv[1]).st_size, int(sys.argv[2])
descriptor = os.open(sys.argv[1], os.O_RDONLY)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out = 0
try:
    for piece in codec.decode(codec.ZSTD, descriptor, 0, size, plain):
        out += len(piece)
except CorruptData as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(out, grown)
"""


@pytest.mark.parametrize("declares", [True, False])
def test_a_bomb_goes_off_in_a_small_room(tmp_path: Path, declares: bool) -> None:
    size = 256 << 20
    stream = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(size >> 20)) + stream.flush()
    assert len(bomb) < 32 * 1024
    if not declares:  # rewrite the frame's header: 4 bytes of size in a single segment
        header = zstandard.frame_header_size(bomb)
        parameters = zstandard.get_frame_parameters(bomb)
        assert parameters.content_size == size
        lying = bomb[:4] + bytes([0b1000_0000, 0x48]) + (1000).to_bytes(4, "little")
        bomb = lying + bomb[header:]
        assert zstandard.frame_content_size(bomb) == 1000
    path = tmp_path / "bomb"
    path.write_bytes(bomb)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(path), "1000"], capture_output=True, text=True, check=True
    )
    out, grown = map(int, done.stdout.split())
    assert out <= 256 * 1024
    assert grown < 16 * 1024  # in KiB: the window and a piece, not 256 MiB
