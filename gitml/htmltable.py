"""Runs, versions and comparisons as the tables that a notebook shows."""

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


def _cells(tag: str, row: Sequence[Any]) -> str:
    return "".join(f"<{tag}>{html.escape(_text(one))}</{tag}>" for one in row)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
