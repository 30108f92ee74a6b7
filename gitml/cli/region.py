"""A few lines at the bottom of a terminal that are drawn again and again, below text that stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TextIO

from gitml.cli import render
from gitml.fs import write_fully

_LONGEST = 1 << 20
"""Bytes of a line that has not ended which are held back."""


class Region:
    """The last lines of a terminal.

    It writes to a descriptor of its own, so that it is seen while the stream's is pointed
    elsewhere. Each change is one write. The cursor stays behind the last line, where a terminal
    echoes `^C`; nothing else of the terminal's state is touched.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._stream = stream
        self._terminal = os.dup(stream.fileno())
        self._drawn: list[int] = []
        self._lines: Sequence[str] = ()
        self._held = b""

    def close(self) -> None:
        """Take the region away; what was held back of a line comes out."""
        self.end_line()
        self.draw(())
        os.close(self._terminal)

    def room(self) -> tuple[int, int]:
        """Columns and rows of the terminal now."""
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self._terminal)
            if size.columns > 0 and size.lines > 0:
                return size.columns, size.lines
        return 80, 24

    def draw(self, lines: Sequence[str]) -> None:
        """Have these lines, cut to the terminal's width, in the place of those before."""
        self._lines = lines
        self._write(b"")

    def add(self, *lines: str) -> None:
        """Print lines above the region, where they stay."""
        self.end_line()
        self._write("".join(f"{render.shown(one, self._stream)}\n" for one in lines).encode())

    def add_bytes(self, data: bytes) -> None:
        """Print what a program says above the region; a line that has not ended is in it."""
        whole, newline, rest = (self._held + data).rpartition(b"\n")
        if len(rest) > _LONGEST:
            whole, newline, rest = whole + newline + rest, b"\n", b""
        self._held = rest
        self._write(whole + newline)

    def end_line(self) -> None:
        """Print the line that has not ended."""
        held, self._held = self._held, b""
        if held:
            self._write(held + b"\n")

    def _write(self, above: bytes) -> None:
        columns, _ = self.room()
        lines = list(self._lines)
        if self._held:  # of a progress bar what stands behind the last carriage return
            said = self._held.rstrip(b"\r").rpartition(b"\r")[2][-4 * columns :]
            lines.insert(0, said.decode("utf-8", "replace"))
        fitted = [render.fitted(one, columns - 1) for one in lines]
        # A terminal that has become narrower since has broken the old lines.
        rows = sum(max(1, -(-wide // columns)) for wide in self._drawn)
        erase = b"\r" + b"\x1b[A" * (rows - 1) + b"\x1b[J" if rows else b""
        text = "\n".join(render.shown(one, self._stream) for one in fitted)
        if not (erase or above or text):
            return
        self._drawn = [render.width(one) for one in fitted]
        with contextlib.suppress(OSError):  # the terminal is gone; the run goes on
            write_fully(self._terminal, erase + above + text.encode("utf-8", "replace"))
