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


def test_a_stream_is_one_frame_like_any_other(tmp_path: Path) -> None:
    data = os.urandom(1000) * 700
    pieces = [memoryview(data)[at : at + 100_000] for at in range(0, len(data), 100_000)]
    stored = b"".join(codec.compress_stream(pieces, len(data)))
    assert decoded(tmp_path, codec.ZSTD, stored, len(data)) == data


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
    with pytest.raises(StorageError, match="codec 3") as caught:
        decoded(tmp_path, 3, b"xyz", 3)
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
