"""What steps print: shown live, and kept for the record.

File descriptors 1 and 2 are pointed at a file that a thread follows, so that prints of compiled
code and of child processes are caught too. A file, not a pipe: a full pipe would block code that
prints while it holds the interpreter. Streams that are no descriptors (a notebook's) are teed.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any, TextIO

LIMIT = 8 << 20
"""Bytes of a step's output that are kept; a longer one keeps its head and its tail."""
_POLL = 0.05


Live = int | Callable[[bytes], None]
"""Where output is shown while a step runs: a descriptor, or what takes the bytes."""


class Capture:
    """Captures the output of steps for the length of a run; the thread starts with the first step.

    ``target`` shows it live: a descriptor (2, so that stdout stays the answer), or what is to be
    called with the bytes as they come, by a thread. ``open`` gives the file that they are in.
    """

    def __init__(self, target: Live = 2) -> None:
        self._target = target
        self.open: Callable[[], io.FileIO] = _temporary
        self._file: io.FileIO | None = None
        self._shown = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._saved: list[tuple[int, int]] = []
        self._streams: tuple[Any, Any] | None = None
        self._live = -1
        self._screen: Any = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._live >= 0:
            os.close(self._live)
        self._file.close()

    @property
    def size(self) -> int:
        """How many bytes were captured so far."""
        return os.fstat(self._file.fileno()).st_size if self._file is not None else 0

    @contextlib.contextmanager
    def step(self, kept: list[bytes]) -> Any:
        """Capture a block; what it printed is appended to ``kept`` when it ends."""
        start = self._begin()
        try:
            yield
        finally:
            kept.append(self._end(start))

    def _begin(self) -> int:
        if self._file is None:
            self._file = self.open()
            if isinstance(self._target, int):
                self._live = os.dup(self._target)
                stream = {1: sys.stdout, 2: sys.stderr}.get(self._target)
                if stream is not None and not _is_descriptor(stream, self._target):
                    self._screen = stream
        assert self._file is not None  # noqa: S101 - for the type checker
        _flush()
        start = self._file.seek(0, os.SEEK_END)
        self._shown = start
        sink = self._file.fileno()
        for descriptor in (1, 2):
            self._saved.append((descriptor, os.dup(descriptor)))
            os.dup2(sink, descriptor)
        streams = (sys.stdout, sys.stderr)
        self._streams = streams
        sys.stdout, sys.stderr = (
            stream if _is_descriptor(stream, number) else _Tee(stream, sink)
            for stream, number in zip(streams, (1, 2), strict=True)
        )
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()
        return start

    def _end(self, start: int) -> bytes:
        assert self._file is not None and self._streams is not None  # noqa: S101
        _flush()
        sys.stdout, sys.stderr = self._streams
        while self._saved:
            descriptor, saved = self._saved.pop()
            os.dup2(saved, descriptor)
            os.close(saved)
        self._show()
        size = os.fstat(self._file.fileno()).st_size - start
        if size <= LIMIT:
            return os.pread(self._file.fileno(), size, start)
        head = os.pread(self._file.fileno(), LIMIT // 2, start)
        tail = os.pread(self._file.fileno(), LIMIT // 2, start + size - LIMIT // 2)
        return head + f"\n[{size - LIMIT} bytes left out]\n".encode() + tail

    def _follow(self) -> None:
        while not self._stop.wait(_POLL):
            self._show()

    def _show(self) -> None:
        """Write to the terminal what has come since the last look."""
        with self._lock:
            assert self._file is not None  # noqa: S101 - for the type checker
            while data := os.pread(self._file.fileno(), 1 << 16, self._shown):
                self._shown += len(data)
                with contextlib.suppress(OSError, ValueError):
                    if not isinstance(self._target, int):
                        self._target(data)
                    elif self._screen is None:
                        os.write(self._live, data)
                    else:  # a notebook shows what its own stream is given, under the cell
                        self._screen.write(self._decoder.decode(data))
                        self._screen.flush()


def _temporary() -> io.FileIO:
    return tempfile.TemporaryFile(buffering=0)


class _Tee(io.TextIOBase):
    """A stream that is not a descriptor's: its text goes where it went, and to the record."""

    def __init__(self, stream: TextIO, sink: int) -> None:
        self._stream = stream
        self._sink = sink

    def write(self, text: str) -> int:
        os.write(self._sink, text.encode("utf-8", "replace"))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
