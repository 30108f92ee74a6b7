"""What a preview is: a few facts, the head of a table or a text, and how each of them is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

from gitml.frozen import Frozen, field
from gitml.htmltable import table

ROWS = 10
"""Rows of a table, and lines of rows of an array, that a preview has at most."""
COLUMNS = 12
"""Columns of a table that a preview has at most."""
LINES = 40
"""Lines of a text, and entries of a folder or of a list of tensors."""
WIDTH = 200
"""Characters of a line of text; a cell of a table has `CELL`."""
CELL = 60

Column: TypeAlias = tuple[str, str]
"""The name of a column and its type, which is empty where the format has none."""

_UNSAFE = re.compile(r"[^\n -~]")


class Preview(Frozen):
    """The first of what an artifact holds, as text that is harmless to print.

    ``kind`` is "table", "array", "tensors", "image", "json", "text", "curve", "model", "folder",
    "bytes", "custom" or "unknown". ``rows`` belong to ``columns``. ``notes`` say what is left out,
    and what kept the bytes from being looked into. ``picture`` is a data URI for pages.
    """

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str]] = ()
    text: str = ""
    notes: Sequence[str] = ()
    picture: str = field(default="", repr=False)

    def document(self) -> dict[str, Any]:
        """The preview for JSON, without the picture."""
        return {
            "kind": self.kind,
            "facts": dict(self.facts),
            "columns": [{"name": name, "type": kind or None} for name, kind in self.columns],
            "rows": [list(row) for row in self.rows],
            "text": self.text or None,
            "notes": list(self.notes),
        }

    def head(self) -> list[list[str]]:
        """The names of the columns, and their types in a second line where there are any."""
        names = [name for name, _ in self.columns]
        kinds = [kind for _, kind in self.columns]
        return [names, kinds] if any(kinds) else [names]

    def html(self, title: str) -> str:
        """The preview as a notebook shows it; nothing of the data becomes a part of the page."""
        facts = [(name, _words(value)) for name, value in self.facts.items()]
        parts = [table((title, "") if facts else (title,), facts)]
        if self.picture:
            parts.append(f'<img alt="" style="max-width:256px" src="{self.picture}">')
        if self.columns:
            names = [f"{name} ({kind})" if kind else name for name, kind in self.columns]
            parts.append(table(names, self.rows))
        if self.text:
            parts.append(f"<pre>{escape(self.text)}</pre>")
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        return "".join(parts)

    def __str__(self) -> str:
        lines = [f"{name}  {_words(value)}" for name, value in self.facts.items()]
        if self.columns:
            cells = [*self.head(), *self.rows]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        if self.text:
            lines.append(self.text)
        return "\n".join([*lines, *self.notes])


def harmless(text: str) -> str:
    """The text with all that could drive a terminal, or turn its writing around, as escapes."""
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def cell(value: Any) -> str:
    """A value as a cell of a table: one line, cut where it is long."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        shown = value[:CELL].hex(" ", 4)
    elif isinstance(value, float):
        shown = f"{value:.6g}"
    else:
        shown = str(value)
    return cut(harmless(shown[: 4 * CELL]).replace("\n", "\\n"), CELL)


def cut(text: str, length: int) -> str:
    """The text, or so much of its beginning that it has ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def head_of(text: str, *, whole: bool) -> tuple[str, list[str]]:
    """The first lines of a text, and a note if that is not all of it."""
    lines = text.expandtabs(4).replace("\r\n", "\n").split("\n")
    shown = [cut(harmless(line), WIDTH) for line in lines[:LINES]]
    more = not whole or len(lines) > LINES
    return "\n".join(shown).rstrip("\n"), [f"the first {len(shown)} lines"] * more


def headed(columns: Iterable[Column], *, is_cut: bool = False) -> tuple[list[Column], list[str]]:
    """The columns that are shown, and a note of how many are not; of ``is_cut`` nobody knows."""
    listed = list(columns)
    shown = [(cell(name), cell(kind)) for name, kind in listed[:COLUMNS]]
    more = len(listed) - len(shown)
    if is_cut:
        return shown, [f"the first {len(shown)} of {len(listed):,} columns or more"]
    return shown, [f"the first {len(shown)} of {len(listed):,} columns"] * (more > 0)


def rows_note(shown: int, rows: int | None) -> list[str]:
    """How many of the rows are shown, where that is not all of them."""
    if rows is None:
        return [f"the first {shown} rows"]
    return [f"the first {shown} of {rows:,} rows"] * (rows > shown)


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_words(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    return harmless(str(value))
