"""The heads of texts and of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gitml.previews.preview import Preview, head_of

HEAD = 64 << 10
"""Bytes of a text that are read."""


def text(data: bytes, *, whole: bool, facts: Mapping[str, Any] | None = None) -> Preview:
    """The first lines; ``data`` is the beginning of the bytes, and ``whole`` if it is all."""
    if not data:
        return Preview("text", facts or {}, notes=("it is empty",))
    shown, notes = head_of(data.decode("utf-8-sig", "replace"), whole=whole)
    return Preview("text", facts or {}, text=shown, notes=notes)


def document(data: bytes, *, whole: bool, facts: Mapping[str, Any] | None = None) -> Preview:
    """The first lines of JSON, laid out where all of it is here and is JSON."""
    shown = data.decode("utf-8-sig", "replace")
    notes: list[str] = []
    if whole:
        try:
            shown = json.dumps(json.loads(shown), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            notes = ["it is not JSON"]
    if not data:
        notes = ["it is empty"]
    lines, more = head_of(shown, whole=whole)
    return Preview("json", facts or {}, text=lines, notes=[*notes, *more])


def is_text(data: bytes) -> bool:
    """Whether the beginning of a file reads as text."""
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3 and error.reason == "unexpected end of data"
    return True
