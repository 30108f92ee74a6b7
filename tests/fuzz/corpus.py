"""Bytes on which a parser once failed, ``tests/corpora/fuzz.json``: they are tried every time."""

from __future__ import annotations

import base64
import json
from pathlib import Path

FILE = Path(__file__).parents[1] / "corpora" / "fuzz.json"


def known(target: str) -> list[bytes]:
    """The bytes that are kept for a target."""
    return [base64.b64decode(text) for text in _read().get(target, ())]


def keep(target: str, data: bytes) -> None:
    """Keep bytes for a target."""
    document = _read()
    kept = document.setdefault(target, [])
    text = base64.b64encode(data).decode()
    if text not in kept:
        kept.append(text)
        FILE.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _read() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(FILE.read_text())
    return found
