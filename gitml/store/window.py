"""A stored blob as a file to seek in: what is not read of it costs nothing."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from gitml.errors import CorruptData
from gitml.store import codec as codecs
from gitml.store.pack import Pack
from gitml.store.packindex import ObjectRow
from gitml.store.parts import ChunkSource


class Spans(Protocol):
    """Bytes by their places in a blob; whether those that it gives are verified."""

    is_verified: bool

    def read_at(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``, or fewer but some; CorruptData, OSError."""

    def close(self) -> None:
        """Let go of the files."""


class FileSpans:
    """A loose file; its bytes are not verified, for that takes all of them."""

    is_verified = False

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``."""
        return os.pread(self._descriptor, end - start, start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class PackSpans:
    """A blob in a pack, a chunk at a time; each is verified by itself, and the last one kept.

    One that is too long for that is read through, on from where the last question left it.
    """

    def __init__(
        self, pack: Pack, digest: bytes, row: ObjectRow, others: Callable[[], Iterable[Pack]]
    ) -> None:
        self._source = ChunkSource(pack, others)
        self._parts = pack.read_parts(self._source.descriptor(pack), digest, row)
        self._starts = [0, *accumulate(length for _, length in self._parts)]
        self._kept: tuple[int, bytes] = (-1, b"")
        self._stream: Iterator[bytes] = iter(())
        self._piece: tuple[int, int, bytes] = (-1, 0, b"")
        self.is_verified = all(length <= codecs.MAX_WHOLE for _, length in self._parts)

    def read_at(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``, or up to the end of their chunk."""
        place = bisect_right(self._starts, start) - 1
        if place >= len(self._parts):
            raise CorruptData("the chunks are shorter than the blob")
        digest, length = self._parts[place]
        start, end = start - self._starts[place], end - self._starts[place]
        if length > codecs.MAX_WHOLE:
            return self._streamed(place, start, end)
        if self._kept[0] != place:
            self._kept = place, self._source.load(digest, length)
        return self._kept[1][start:end]

    def close(self) -> None:
        """Close the packs."""
        self._source.__exit__(None, None, None)

    def _streamed(self, place: int, start: int, end: int) -> bytes:
        """The same of a chunk that is too long to be kept: what is before it is passed over."""
        chunk, at, piece = self._piece
        if chunk != place or start < at:
            self._stream, at, piece = self._source.stream(*self._parts[place]), 0, b""
        while start >= at + len(piece):
            at += len(piece)
            piece = next(self._stream, b"")
            if not piece:
                break
        self._piece = place, at, piece
        return piece[start - at : end - at]


class Window(io.RawIOBase):
    """A file to read and seek in, of ``size`` bytes; a context manager.

    Reading raises CorruptData for bytes that are known to be bad; those that it gives are sure to
    be the blob's where ``is_verified``.
    """

    def __init__(self, spans: Spans, size: int) -> None:
        super().__init__()
        self._spans = spans
        self._at = 0
        self.size = size
        self.is_verified = spans.is_verified

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; raises ValueError for one before the first byte."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the first byte")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from here on; how many bytes there were, 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        end = min(self._at + len(view), self.size)
        filled = 0
        while self._at < end:
            data = self._spans.read_at(self._at, end)
            if not data:
                raise CorruptData("the blob is shorter than its record says")
            view[filled : filled + len(data)] = data
            filled += len(data)
            self._at += len(data)
        return filled

    def close(self) -> None:
        """Let go of the files."""
        if not self.closed:
            self._spans.close()
        super().close()
