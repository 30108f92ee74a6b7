"""Runs, versions and comparisons as the tables that a notebook shows, and a terminal."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], title: str = "") -> str:
    """A table; every text is escaped, so that a name cannot become a part of the page."""
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    top = f"<thead><tr>{_cells('th', head)}</tr></thead>"
    return f"<table>{caption}{top}<tbody>{body}</tbody></table>"


def plain(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, for a terminal: a line a row; what is not printable is escaped."""
    lines = [[_printable(_text(one)) for one in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _cells(tag: str, row: Sequence[Any]) -> str:
    return "".join(f"<{tag}>{html.escape(_text(one))}</{tag}>" for one in row)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def curve(points: Sequence[tuple[float, float]], x: str, y: str, title: str = "") -> str:
    """A curve as a small drawing (SVG) with its axes named; every text is escaped."""
    width, height, most = 320, 240, 500
    step = -(-len(points) // most)
    shown = [*points[::step], points[-1]] if step > 1 else list(points)
    left, right = min(one for one, _ in shown), max(one for one, _ in shown)
    low, high = min(one for _, one in shown), max(one for _, one in shown)

    def place(value: float, least: float, greatest: float, room: int) -> float:
        spread = greatest / 2 - least / 2  # halves, since the difference may be infinite
        share = (value / 2 - least / 2) / spread if spread > 0 else 0.5
        return round(share * room, 1)

    line = " ".join(
        f"{place(one, left, right, width)},{height - place(other, low, high, height)}"
        for one, other in shown
    )
    across = f"{_text(left)} to {_text(right)}" if left != right else _text(left)
    up = f"{_text(low)} to {_text(high)}" if low != high else _text(low)
    caption = ", ".join([*([title] if title else []), f"{y} ({up}) over {x} ({across})"])
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="-2 -2 {width + 4} {height + 4}">'
        f'<rect width="{width}" height="{height}" fill="none" stroke="currentColor" opacity="0.3"/>'
        f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="2"/></svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
