"""How a chunk's bytes are stored: raw or as one zstd frame, chosen by trying.

Reading never trusts a frame. It is decoded as a stream in small pieces; its own idea of its size
must be ours, its window is capped, one byte too many ends it, and it must use its stored bytes up
to the very last. The caller hashes what comes out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, cast

from gitml.errors import CorruptData, StorageError
from gitml.store.digest import PIECE

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

RAW = 0
ZSTD = 1

LEVEL = 1
MAX_WINDOW = 8 * 1024 * 1024
"""Every zstd decoder must cope with 8 MiB; level 1 needs at most 1 MiB."""

_TOO_SMALL = 64
_PROBE_FROM = 1024 * 1024
_SAMPLES = 8
_SAMPLE = 64 * 1024

_of_thread = threading.local()


def encode(data: bytes) -> tuple[int, bytes]:
    """The codec and the stored bytes for ``data``: zstd where it saves 5 %, else raw."""
    size = len(data)
    if size < _TOO_SMALL:
        return RAW, data
    if size > _PROBE_FROM and not is_compressible(
        size, lambda offset, length: data[offset : offset + length]
    ):
        return RAW, data
    packed = _compressor().compress(data)
    return (ZSTD, packed) if _pays(len(packed), size) else (RAW, data)


def is_compressible(size: int, read_at: Callable[[int, int], bytes]) -> bool:
    """Whether samples spread over ``size`` bytes say that zstd pays; about a millisecond.

    ``read_at(offset, length)`` gives bytes of the content.
    """
    length = min(_SAMPLE, size)
    step = (size - length) // (_SAMPLES - 1)
    plain = packed = 0
    for number in range(_SAMPLES):
        sample = read_at(number * step, length)
        plain += len(sample)
        packed += len(_compressor().compress(sample))
    return _pays(packed, plain)


def compress_stream(pieces: Iterable[memoryview], plain: int) -> Iterator[bytes]:
    """One zstd frame over ``pieces``, which must have ``plain`` bytes in all."""
    from zstandard import ZstdCompressor

    stream = ZstdCompressor(level=LEVEL, write_checksum=False).compressobj(size=plain)
    for piece in pieces:
        if packed := stream.compress(piece):
            yield packed
    yield stream.flush()


def decode(codec: int, descriptor: int, offset: int, stored: int, plain: int) -> Iterator[bytes]:
    """The plain bytes of what is stored in ``stored`` bytes at ``offset`` of an open file.

    Yields exactly ``plain`` bytes, in pieces of at most 256 KiB, or raises CorruptData;
    StorageError for a codec of a later version. OSError passes through.
    """
    source = _Region(descriptor, offset, stored)
    if codec == RAW:
        pieces = iter(lambda: source.read(PIECE), b"")
    elif codec == ZSTD:
        pieces = _decompress(source, stored, plain)
    else:
        raise StorageError(
            f"bytes are stored with codec {codec}, which this gitml does not know",
            hint="a later version wrote them: `pip install --upgrade gitml`",
        )
    left = plain
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise CorruptData(f"stored bytes expand beyond the declared {plain} bytes")
        yield piece
    if left or (codec == RAW and stored != plain):
        raise CorruptData(f"stored bytes are not one whole run of {plain} bytes")


class _Region:
    """A part of a file as something to read from."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._length = length
        self._position = 0

    def read(self, count: int) -> bytes:
        """The next bytes, at most ``count``; empty at the end; CorruptData where the file ends."""
        data = self.read_at(self._position, count)
        if not data and self._position < self._length:
            raise CorruptData("the file ends within stored bytes")
        self._position += len(data)
        return data

    def read_at(self, position: int, count: int) -> bytes:
        """The bytes at a position, without moving; fewer at the end."""
        count = min(count, self._length - position)
        return os.pread(self._descriptor, count, self._offset + position) if count > 0 else b""


def _decompress(source: _Region, stored: int, plain: int) -> Iterator[bytes]:
    """The content of one zstd frame, in pieces; raises CorruptData for what is no such frame."""
    from zstandard import ZstdDecompressor, ZstdError

    try:
        if _frame_lengths(source, stored) != (stored, plain):
            raise CorruptData(f"stored bytes are not one zstd frame of {plain} bytes")
        decompressor = ZstdDecompressor(max_window_size=MAX_WINDOW)
        with decompressor.stream_reader(
            cast(IO[bytes], source), read_size=PIECE, closefd=False
        ) as reader:
            left = plain
            while piece := reader.read(min(PIECE, left + 1)):
                left -= len(piece)
                yield piece
    except ZstdError as error:
        raise CorruptData("stored bytes are not a zstd frame") from error


def _frame_lengths(source: _Region, stored: int) -> tuple[int, int]:
    """How long the first zstd frame is, stored and (as it declares) plain.

    The decompressor would go on with whatever follows the frame and does not say where the frame
    ended. So we walk from block to block: 3 bytes say which is the last, its type and size.
    """
    from zstandard import frame_header_size, get_frame_parameters

    head = source.read_at(0, 18)
    parameters = get_frame_parameters(head)
    position = frame_header_size(head)
    is_last = False
    while not is_last:
        block = int.from_bytes(source.read_at(position, 3), "little")
        is_last = bool(block & 1) or position >= stored
        is_one_repeated = block >> 1 & 3 == 1
        position += 3 + (1 if is_one_repeated else block >> 3)
    return position + (4 if parameters.has_checksum else 0), parameters.content_size


def _pays(packed: int, plain: int) -> bool:
    """Whether compression saves at least the 5 % that are worth a decompression each read."""
    return packed * 100 <= plain * 95


def _compressor() -> ZstdCompressor:
    """A compressor of this thread's own: making one costs more than compressing a small blob."""
    made: ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if made is None:
        from zstandard import ZstdCompressor

        made = _of_thread.compressor = ZstdCompressor(level=LEVEL, write_checksum=False)
    return made
