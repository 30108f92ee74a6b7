"""How a chunk's bytes are stored: raw, as zstd, as byte planes of numbers, or as a difference.

Reading never trusts a frame: its own idea of its size must be ours, its window is capped, one
byte too many ends it, and it must use its stored bytes up to the very last. A large chunk is
decoded as a stream in small pieces; byte planes and differences need all of it, so they are for
chunks of a limited length. The caller hashes what comes out.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import IO, TYPE_CHECKING, cast

from gitml.errors import CorruptData, StorageError
from gitml.store.digest import PIECE

if TYPE_CHECKING:
    from zstandard import ZstdCompressionParameters, ZstdCompressor, ZstdDecompressor

Buffer = bytes | memoryview

RAW = 0
ZSTD = 1
PLANES = 2
DELTA = 3

LEVEL = 1
MAX_WHOLE = 8 * 1024 * 1024
"""The longest chunk, in plain bytes, that is decoded at once: of a base, of byte planes."""

MAX_WINDOW = 8 * 1024 * 1024
"""Every zstd decoder must cope with 8 MiB; level 1 needs at most 1 MiB."""

_NUMPY_PAYS = 16 * 1024 * 1024
"""Bytes from which on loading NumPy takes less time than it saves."""

_TOO_SMALL = 64
_PROBE_FROM = 16 * 1024
_GLANCE = 4 * 1024
_SAMPLES = 8
_SAMPLE = 16 * 1024

_of_thread = threading.local()


def encode(data: Buffer, width: int = 1, *, is_doubtful: bool = True) -> tuple[int, Buffer]:
    """The codec and the stored bytes for ``data``: what saves 5 %, else raw.

    Numbers of ``width`` bytes, 2, 4 or 8, are stored as byte planes; other data as it comes. What
    ``is_doubtful`` is glanced at before it is tried: it may be noise.
    """
    size = len(data)
    if size < _TOO_SMALL:
        return RAW, data
    if width > 1 and size <= MAX_WHOLE:
        packed = _encode_planes(data, width)
        return (PLANES, packed) if _pays(len(packed), size) else (RAW, data)
    if is_doubtful and _is_noise(data):
        return RAW, data
    packed = _compressor().compress(data)
    return (ZSTD, packed) if _pays(len(packed), size) else (RAW, data)


def _is_noise(data: Buffer) -> bool:
    """Whether two small samples do not shrink at all, so that trying all of it is no use."""
    size = len(data)
    if size < _PROBE_FROM:
        return False
    return all(
        len(_compressor().compress(data[at : at + _GLANCE])) >= _GLANCE
        for at in (size // 2, size // 5)
    )


def is_compressible(size: int, read_at: Callable[[int, int], bytes]) -> bool:
    """Whether samples spread over ``size`` bytes say that zstd pays; about a millisecond.

    ``read_at(offset, length)`` gives bytes of the content.
    """
    plain = packed = 0
    for sample in _samples(size, read_at):
        plain += len(sample)
        packed += len(_compressor().compress(sample))
    return _pays(packed, plain)


def best_width(
    size: int, read_at: Callable[[int, int], bytes], widths: Iterable[int] = (2, 4, 8)
) -> int:
    """The width of numbers as whose byte planes samples of the content become smallest.

    1 if they become smallest as they are, or not smaller at all.
    """
    samples = list(_samples(size, read_at))
    best, smallest = 1, sum(len(_compressor().compress(sample)) for sample in samples)
    smallest = min(smallest, sum(map(len, samples)) * 95 // 100)
    for width in widths:
        packed = sum(len(_encode_planes(sample, width)) for sample in samples)
        if packed < smallest:
            best, smallest = width, packed
    return best


def encode_delta(data: Buffer, base: bytes) -> bytes:
    """The stored bytes of ``data`` as a difference from ``base``; both at most MAX_WHOLE."""
    from zstandard import DICT_TYPE_RAWCONTENT, ZstdCompressionDict, ZstdCompressor

    dictionary = ZstdCompressionDict(base, dict_type=DICT_TYPE_RAWCONTENT)
    parameters = _delta_parameters(*_bits_of_delta(len(base) + len(data)))
    return ZstdCompressor(compression_params=parameters, dict_data=dictionary).compress(data)


def _bits_of_delta(size: int) -> tuple[int, int]:
    """The logarithms of the window and of the table for a base and a chunk of ``size`` bytes.

    A table with fewer places than two for five bytes forgets what it has seen; with more it takes
    longer to clear than to search.
    """
    return max(10, size.bit_length()), max(10, (size * 2 // 5).bit_length())


@cache
def _delta_parameters(window: int, table: int) -> ZstdCompressionParameters:
    """How differences are searched: lazily and deeply, in a table of just the size.

    The levels of zstd are made for texts without a base. Of a CSV edited all over level 1 leaves 8
    % of a chunk, level 3 0.78 % at 250 MB/s, and this 0.73 % at 390.
    """
    from zstandard import STRATEGY_LAZY2, ZstdCompressionParameters

    return ZstdCompressionParameters(
        strategy=STRATEGY_LAZY2,
        window_log=window,
        hash_log=table,
        chain_log=table,
        search_log=2,
        min_match=5,
        target_length=0,
        write_checksum=False,
        write_dict_id=False,
    )


def decode(
    codec: int, descriptor: int, offset: int, stored: int, plain: int, base: bytes | None = None
) -> Iterator[bytes]:
    """The plain bytes of what is stored in ``stored`` bytes at ``offset`` of an open file.

    Yields exactly ``plain`` bytes or raises CorruptData; StorageError for a codec of a later
    version. Pieces have at most 256 KiB, or are the whole chunk for PLANES and DELTA. ``base``
    are the plain bytes that a DELTA needs. OSError passes through.
    """
    source = _Region(descriptor, offset, stored)
    if codec in (PLANES, DELTA):
        if stored > plain:
            raise CorruptData(f"{stored} stored bytes for {plain} are more than codec {codec} has")
        _refuse_too_long(plain)
        pieces: Iterator[bytes] = iter([decode_whole(codec, source.read(stored), plain, base)])
    elif codec == RAW:
        pieces = iter(lambda: source.read(PIECE), b"")
    elif codec == ZSTD:
        pieces = _decompress(source, stored, plain)
    else:
        raise _unknown(codec)
    left = plain
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise CorruptData(f"stored bytes expand beyond the declared {plain} bytes")
        yield piece
    if left or (codec == RAW and stored != plain):
        raise CorruptData(f"stored bytes are not one whole run of {plain} bytes")


def decode_whole(codec: int, stored: Buffer, plain: int, base: bytes | None = None) -> bytes:
    """The ``plain`` bytes, at most MAX_WHOLE, of a chunk whose stored bytes are all here.

    Raises as `decode` does.
    """
    _refuse_too_long(plain)
    if codec == RAW:
        data = bytes(stored)
    elif codec == ZSTD:
        data = _unframe(stored, plain, None)
    elif codec == PLANES:
        data = _join_planes(_unframe(stored[1:], plain, None), stored[0] if len(stored) else 0)
    elif codec == DELTA:
        if base is None:
            raise CorruptData("stored bytes are a difference from a chunk that is not there")
        data = _unframe(stored, plain, base)
    else:
        raise _unknown(codec)
    if len(data) != plain:
        raise CorruptData(f"stored bytes are not one whole run of {plain} bytes")
    return data


def _refuse_too_long(plain: int) -> None:
    if plain > MAX_WHOLE:
        raise CorruptData(f"a chunk of {plain} bytes is too long to be decoded at once")


def _unknown(codec: int) -> StorageError:
    return StorageError(
        f"bytes are stored with codec {codec}, which this gitml does not know",
        hint="a later version wrote them: `pip install --upgrade gitml`",
    )


def _unframe(stored: Buffer, plain: int, base: bytes | None) -> bytes:
    """The content of one zstd frame that declares ``plain`` bytes; raises CorruptData.

    The declared size is what gets allocated, so it is compared before.
    """
    from zstandard import (
        DICT_TYPE_RAWCONTENT,
        ZstdCompressionDict,
        ZstdDecompressor,
        ZstdError,
        get_frame_parameters,
    )

    try:
        parameters = get_frame_parameters(stored)
        if parameters.content_size != plain or parameters.window_size > MAX_WINDOW:
            raise CorruptData(f"stored bytes are not one zstd frame of {plain} bytes")
        if base is None:
            decompressor = _decompressor()
        else:
            dictionary = ZstdCompressionDict(base, dict_type=DICT_TYPE_RAWCONTENT)
            decompressor = ZstdDecompressor(dict_data=dictionary)
        return decompressor.decompress(stored, allow_extra_data=False)
    except ZstdError as error:
        raise CorruptData("stored bytes are not a zstd frame") from error


def _encode_planes(data: Buffer, width: int) -> bytes:
    """The width as one byte, then one zstd frame over the byte planes of ``data``.

    Each plane has blocks of its own: a block has one table of frequencies, and those of an
    exponent say nothing about a mantissa.
    """
    from zstandard import COMPRESSOBJ_FLUSH_BLOCK

    stream = _compressor().compressobj(size=len(data))
    packed = [bytes([width])]
    for plane in _planes(data, width):
        packed += (stream.compress(plane), stream.flush(COMPRESSOBJ_FLUSH_BLOCK))
    packed.append(stream.flush())
    return b"".join(packed)


def _planes(data: Buffer, width: int) -> list[bytes]:
    """The bytes 0, w, 2w, … of the whole numbers, then 1, w + 1, …; last what is left over."""
    count = len(data) // width
    rest = [bytes(data[count * width :])]
    if numpy := _numpy():
        numbers = numpy.frombuffer(data, numpy.uint8, count * width).reshape(count, width)
        return [numbers[:, plane].tobytes() for plane in range(width)] + rest
    whole = bytes(data[: count * width])
    return [whole[plane::width] for plane in range(width)] + rest


def _join_planes(data: bytes, width: int) -> bytes:
    """The numbers whose byte planes ``data`` is; CorruptData for a width that is none."""
    if width not in (2, 4, 8):
        raise CorruptData(f"byte planes of numbers of {width} bytes")
    count = len(data) // width
    end = count * width
    if numpy := _numpy():
        planes = numpy.frombuffer(data, numpy.uint8, end).reshape(width, count)
        joined: bytes = planes.T.tobytes() + data[end:]
        return joined
    numbers = bytearray(data)
    for plane in range(width):
        numbers[plane:end:width] = data[plane * count : (plane + 1) * count]
    return bytes(numbers)


def prepare(size: int) -> None:
    """Load what is quicker for ``size`` bytes of numbers, if it pays.

    NumPy turns numbers into planes twice as fast and without the GIL. But it is slow to load, and
    starts threads that stay, with which a checkout of many files would have to do without its
    workers: a folder's tree must be read without it.
    """
    if size >= _NUMPY_PAYS:
        with suppress(ImportError):
            importlib.import_module("numpy")


def _numpy() -> ModuleType | None:
    """NumPy, where it is loaded already."""
    return sys.modules.get("numpy")


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


def _samples(size: int, read_at: Callable[[int, int], bytes]) -> Iterator[bytes]:
    """Some of the content, spread evenly."""
    length = min(_SAMPLE, size)
    step = (size - length) // (_SAMPLES - 1)
    for offset in sorted({number * step for number in range(_SAMPLES)}):
        yield read_at(offset, length)


def _decompressor() -> ZstdDecompressor:
    """A decompressor of this thread's own."""
    made: ZstdDecompressor | None = getattr(_of_thread, "decompressor", None)
    if made is None:
        from zstandard import ZstdDecompressor

        made = _of_thread.decompressor = ZstdDecompressor(max_window_size=MAX_WINDOW)
    return made


def _compressor() -> ZstdCompressor:
    """A compressor of this thread's own: making one costs more than compressing a small blob."""
    made: ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if made is None:
        from zstandard import ZstdCompressor

        made = _of_thread.compressor = ZstdCompressor(level=LEVEL, write_checksum=False)
    return made
