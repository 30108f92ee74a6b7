"""The only printer: answers on standard output, conversation on standard error.

Commands hand over lines of text. Everything that text needs on its way out is done here, once: what
could drive a terminal (control characters, bidirectional overrides) becomes a visible escape, so
that no name, message or file content from a record can forge a screen; labels become colours where
there is a terminal that wants them; drawing characters become ASCII where the stream has no others.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import IO, Any, NamedTuple, TextIO

# The one table of colours: what a piece of text is, and how that looks (SGR parameters).
COLOURS = {
    "add": "32",
    "artifact": "35",
    "change": "33",
    "code": "33",
    "command": "1",
    "dim": "2",
    "error": "1;31",
    "failed": "31",
    "good": "32",
    "head": "1",
    "hint": "36",
    "run": "34",
    "stage": "1;32",
    "version": "36",
    "warning": "33",
}
RUN, VERSION, ARTIFACT, CODE, FAILED = "○", "◆", "■", "●", "\u00d7"

# Labels travel inside the text as noncharacters, which Unicode keeps for such uses. A text from
# outside that has them can do no more than pick a colour of this table.
_OPENING = {label: chr(0xFDD0 + place) for place, label in enumerate(COLOURS)}
_CLOSING = "\ufdef"
_UNLABELLED = dict.fromkeys(range(0xFDD0, 0xFDF0))
_COLOURED = _UNLABELLED | {
    **{ord(mark): f"\x1b[{COLOURS[label]}m" for label, mark in _OPENING.items()},
    ord(_CLOSING): "\x1b[0m",
}

# Control characters, invisible ones, and those that change the direction or the line.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ASCII = str.maketrans(
    {
        RUN: "o",
        VERSION: "*",
        ARTIFACT: "=",
        CODE: "+",
        FAILED: "x",
        "│": "|",
        "─": "-",
        "├": "|",
        "┤": "|",
        "┬": ".",
        "┼": "+",
        "╮": ".",
        "╭": ".",
        "╯": "'",
        "╰": "`",
        "└": "`",
        "…": "...",
        "←": "<-",
        "µ": "u",
        **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),
    }
)
_ascii_only = False

_LEAST = 8
"""Columns that a cell is left when others need the room."""


def use_ascii() -> None:
    """Draw with ASCII alone from now on, whatever the streams could show."""
    global _ascii_only
    _ascii_only = True


def paint(label: str, text: str) -> str:
    """The text with a label of the table of colours; it reads the same without."""
    return f"{_OPENING[label]}{text}{_CLOSING}" if text else ""


def answer(*lines: str) -> None:
    """Print lines to standard output."""
    _write(sys.stdout, lines)


def tell(*lines: str) -> None:
    """Print lines to standard error."""
    with contextlib.suppress(BrokenPipeError):
        _write(sys.stderr, lines)


def answer_paged(start: Callable[[], IO[bytes] | None], *lines: str) -> None:
    """Print lines to standard output: on a terminal through what ``start`` opens, if anything."""
    pipe = start() if sys.stdout.isatty() else None
    if pipe is None:
        answer(*lines)
        return
    text = "".join(f"{shown(line, sys.stdout)}\n" for line in lines)
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(text.encode(sys.stdout.encoding or "utf-8", "surrogateescape"))


def answer_rows(
    rows: Sequence[Sequence[str]],
    header: Sequence[str],
    *,
    right: Collection[int] = (),
    shorten: Sequence[int] = (),
    nothing: str,
) -> None:
    """Print a table to standard output; without rows, say what there is ``nothing`` of."""
    if rows:
        answer(*table(rows, header, right=right, shorten=shorten))
    else:
        tell(nothing)


def answer_json(schema: str, document: Mapping[str, Any]) -> None:
    """Print a JSON document to standard output: ``{"schema": "gitml.<schema>/1", …}``."""
    sys.stdout.write(_json_text(schema, document, indent=2) + "\n")
    sys.stdout.flush()


def tell_json(schema: str, document: Mapping[str, Any]) -> None:
    """Print a JSON document to standard error, on one line."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(_json_text(schema, document, indent=None) + "\n")
        sys.stderr.flush()


class Progress:
    """A line on a terminal that says how far something is: after half a second, never in a pipe.

    A context manager: the line is gone behind its block.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    @property
    def tell(self) -> Callable[[str], None] | None:
        """Shows a line in place of the one before; None where nobody would see it."""
        return self._tell if moves(sys.stderr) else None

    def moved(self, verb: str) -> Callable[[int, int], None] | None:
        """Takes bytes as they go, with how many there will be; None where nobody would see it."""
        tell, done, began = self.tell, 0, time.monotonic()
        lock = Lock()
        if tell is None:
            return None

        def take(count: int, whole: int) -> None:
            nonlocal done
            with lock:
                done += count
                rate = done / max(time.monotonic() - began, 0.001)
                line = f"{verb} {size(done)} of {size(whole)}, {size(int(rate))}/s"
                tell(f"{line}, {duration(max(whole - done, 0) / rate)} left" if rate else line)

        return take

    def _tell(self, line: str) -> None:
        if time.monotonic() - self._began > 0.5:
            room = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write(f"\r{shown(line, sys.stderr)[: room - 1]}\x1b[K")
            sys.stderr.flush()
            self._shown = True


def answer_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are."""
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


class Look(NamedTuple):
    """What standard output can show: colours, characters beyond ASCII, and how many columns."""

    coloured: bool
    unicode: bool
    columns: int


def look() -> Look:
    """What standard output can show; where it is no terminal, 80 columns."""
    is_utf8 = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    columns = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    return Look(_coloured(sys.stdout), is_utf8 and not _ascii_only, columns or 80)


def visible(text: str) -> str:
    """The text with everything that could drive a terminal as a visible escape (``\\x1b``)."""
    if text.translate(_UNLABELLED).isprintable():  # nearly always, and all of those are not
        return text
    return re.sub(_UNSAFE, _escape, text)


def paragraph(text: str, indent: str = "") -> Iterator[str]:
    """The lines of a longer text, for printing one by one."""
    for line in text.rstrip("\n").split("\n"):
        yield indent + line.rstrip("\r").expandtabs(4)


def table(
    rows: Iterable[Sequence[str]],
    header: Sequence[str] = (),
    *,
    right: Collection[int] = (),
    shorten: Sequence[int] = (),
    narrow: Collection[int] | None = None,
    indent: str = "",
) -> list[str]:
    """Rows as lines: two spaces between columns, the columns in ``right`` flush right.

    Columns that are empty in every row are left out. On a terminal that is too narrow the columns
    in ``shorten`` are cut at their ends, the first of them first, and left out where that is not
    enough: the others stay whole. Those in ``narrow`` are cut at their ends, the widest first, and
    no further than their names: what is then too wide goes on in the next line. Without either the
    widest column is cut in the middle. In a pipe nothing is ever cut.
    """
    body, room = [list(row) for row in rows], _room()
    used = [i for i in range(max(map(len, body), default=0)) if any(row[i] for row in body)]
    lines = [[row[i] for i in used] for row in body]
    if header and body:
        lines.insert(0, [paint("dim", header[i]) for i in used])
    widths = [max(width(row[i]) for row in lines) for i in range(len(used))]
    if room is not None and widths:
        room -= len(indent) + 2 * (len(widths) - 1)
        if shorten:
            _shorten(lines, widths, [used.index(one) for one in shorten if one in used], room)
            kept = [i for i, wide in enumerate(widths) if wide]
            used, widths = [used[i] for i in kept], [widths[i] for i in kept]
            lines = [[row[i] for i in kept] for row in lines]
        elif narrow is not None:
            _narrow(lines, widths, [used.index(one) for one in narrow if one in used], room)
        else:
            _fit(lines, widths, room)
    flush_right = [column in right for column in used]
    return [indent + _laid_out(row, widths, flush_right) for row in lines]


def pairs(items: Iterable[tuple[str, str]]) -> list[str]:
    """A description: dim names on the left, their texts behind; empty texts are left out."""
    kept = [(name, text) for name, text in items if text]
    left = max((len(name) for name, _ in kept), default=0)
    return [f"{paint('dim', name.ljust(left))}  {text}" for name, text in kept]


def width(text: str) -> int:
    """How many columns a text takes on a terminal, its labels not counted."""
    if text.isascii() and text.isprintable():  # nearly always: no label, nothing unsafe
        return len(text)
    plain = visible(text.translate(_UNLABELLED))
    if plain.isascii():
        return len(plain)
    import unicodedata

    others = re.findall(r"[^\x00-\x7f]", plain)
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in others)
    return len(plain) + wide - sum(unicodedata.combining(one) > 0 for one in others)


def number(value: float) -> str:
    """A number for people: six significant digits, and all that stand before the point."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and value < 1e15):
        return str(int(value))
    if 1e6 <= abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.6g}"


def value(given: Any) -> str:
    """A parameter or a piece of metadata: texts as they are, the rest as JSON."""
    if isinstance(given, str):
        return given
    if isinstance(given, int) and type(given) not in (int, bool):
        return size(given)  # a `StorageSize`: metadata has no other whole numbers
    return number(given) if isinstance(given, float) else json.dumps(given, ensure_ascii=False)


def settings(values: Mapping[str, Any]) -> str:
    """Names and values in one line: ``depth=6  rate=0.1``."""
    return "  ".join(f"{name}={value(one)}" for name, one in values.items())


def metrics(values: Mapping[str, float], limit: int | None = None) -> str:
    """Names and numbers in one line: ``accuracy 0.913  loss 0.31``; at most ``limit`` of them."""
    shown = [f"{name} {number(one)}" for name, one in sorted(values.items())]
    if limit is not None and len(shown) > limit:
        return "  ".join([*shown[:limit], "…"])
    return "  ".join(shown)


def sparkline(values: Sequence[float | None]) -> str:
    """Numbers as a row of bars from the least to the greatest; a gap where there is none."""
    finite = [one for one in values if one is not None and math.isfinite(one)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    bars = "▁▂▃▄▅▆▇█"

    def bar(one: float | None) -> str:
        if one is None or not math.isfinite(one):
            return " "
        # Halves, since the difference of two huge numbers may be infinite.
        spread = high / 2 - low / 2
        share = (one / 2 - low / 2) / spread if spread > 0 else 0.5
        return bars[round(share * (len(bars) - 1))]

    return "".join(map(bar, values))


def size(count: int) -> str:
    """Bytes for people, in powers of 1000: ``412 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 9.95 else f"{amount:.0f} {unit}"


def duration(seconds: float) -> str:
    """A length of time: ``0.4 ms``, ``12 ms``, ``1.2 s``, ``6m12s``, ``2.1 h``."""
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}m{rest:02}s"
    return f"{seconds / 3600:.1f} h"


def ago(at: float, now: float | None = None) -> str:
    """A point in time as people say it: ``2 hours ago``, ``yesterday``, ``4 March``."""
    passed = (time.time() if now is None else now) - at
    if passed < -60:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    if passed < 10:
        return "just now"
    for unit, length, last in (("second", 1, 60), ("minute", 60, 3600), ("hour", 3600, 86400)):
        if passed < last:
            count = int(passed / length)
            return f"{count} {unit}{'s' * (count != 1)} ago"
    days = int(passed / 86400)
    if days < 14:
        return "yesterday" if days == 1 else f"{days} days ago"
    then = time.localtime(at)
    year = "" if then.tm_year == time.localtime(at + passed).tm_year else f" {then.tm_year}"
    return f"{then.tm_mday} {_MONTHS[then.tm_mon - 1]}{year}"


def markdown(text: str) -> str:
    """The text so that Markdown shows it as it is, in a cell of a table too."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def path(given: Path) -> str:
    """A path as one would type it here: relative where it lies below the current folder."""
    try:
        return str(given.relative_to(Path.cwd()))
    except ValueError:
        return str(given)


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 step``, ``4 steps``, ``2 aliases``."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number != 1 else ''}"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def moves(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can draw a line again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def fitted(text: str, room: int) -> str:
    """The text in one line without tabs and the like, its middle left out where it is too long."""
    return _cut(visible(text), max(room, 1))


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    for line in lines:
        stream.write(shown(line, stream) + "\n")
    stream.flush()


def shown(line: str, stream: TextIO) -> str:
    """A line as the stream can and should show it: the one way out for every text."""
    text = visible(line)
    text = text.translate(_COLOURED if _coloured(stream) else _UNLABELLED)
    encoding = stream.encoding or "ascii"
    if _ascii_only or encoding.lower().replace("-", "") != "utf8":
        text = text.translate(_ASCII)
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0])
    if named is not None:
        return named
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _coloured(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _json_text(schema: str, document: Mapping[str, Any], *, indent: int | None) -> str:
    whole = {"schema": f"gitml.{schema}/1", **document}
    text = json.dumps(_plain(whole), ensure_ascii=False, indent=indent, allow_nan=False)
    ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    return re.sub(r"[^\x00-\x7e]" if ascii_only else _UNSAFE, _json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    """A character of a JSON text as its escape; JSON's own line feeds stay."""
    return found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f")


def _plain(item: Any) -> Any:
    """A document as JSON has it: numbers that JSON lacks are texts, as in ``metrics.json``."""
    if isinstance(item, float) and not math.isfinite(item):
        return repr(item)
    if isinstance(item, Mapping):
        return {str(key): _plain(one) for key, one in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(one) for one in item]
    return item


def _laid_out(row: Sequence[str], widths: Sequence[int], flush_right: Sequence[bool]) -> str:
    cells = []
    for cell, wide, to_right in zip(row, widths, flush_right, strict=True):
        gap = " " * (wide - width(cell))
        cells.append(gap + cell if to_right else cell + gap)
    return "  ".join(cells).rstrip()


def _room() -> int | None:
    """The columns of the terminal; None where standard output is none."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _shorten(lines: list[list[str]], widths: list[int], order: list[int], room: int) -> None:
    """Cut columns in this order until what stands between the gaps fits; 0 is one to leave out."""
    excess = sum(widths) - room
    spare = {column: max(widths[column] - _LEAST, 0) for column in order}
    for column in order:
        if excess > sum(spare.values()):
            excess -= widths[column] + 2
            widths[column] = spare[column] = 0
    for column in order:
        taken = min(max(excess, 0), spare[column])
        excess -= taken
        widths[column] -= taken
        for row in lines:
            row[column] = _cut(row[column], widths[column], head=widths[column] - 1)


def _narrow(lines: list[list[str]], widths: list[int], columns: Sequence[int], room: int) -> None:
    """Cut the widest of these columns until all fit, or none is wider than the name above it."""
    least = {column: max(width(lines[0][column]), _LEAST) for column in columns}
    while (excess := sum(widths) - room) > 0:
        wide = [one for one in columns if widths[one] > least[one]]
        if not wide:
            break
        widest = max(wide, key=widths.__getitem__)
        others = [widths[one] for one in wide if widths[one] < widths[widest]]
        widths[widest] = max(widths[widest] - excess, *others, least[widest])
    for column in columns:
        for row in lines:
            row[column] = _cut(row[column], widths[column], head=widths[column] - 1)


def _fit(lines: list[list[str]], widths: list[int], room: int) -> None:
    """Cut the widest column so that the cells fit."""
    excess = sum(widths) - room
    widest = max(range(len(widths)), key=widths.__getitem__)
    target = max(widths[widest] - excess, 12)
    if excess > 0 and target < widths[widest]:
        widths[widest] = target
        for row in lines:
            row[widest] = _cut(row[widest], target)


def _cut(text: str, room: int, head: int | None = None) -> str:
    """The text with its middle left out, labels kept, so that it takes at most ``room``.

    What is left out begins behind ``head`` characters, or in the middle.
    """
    letters = len(text.translate(_UNLABELLED))
    if width(text) <= room:
        return text
    head = room // 2 if head is None else head
    tail = letters - (room - head - 1)
    kept, place = [], 0
    for one in text:
        if ord(one) in _UNLABELLED:
            kept.append(one)
            continue
        if place < head or place >= tail:
            kept.append(one)
        elif place == head:
            kept.append("…")
        place += 1
    return "".join(kept)
