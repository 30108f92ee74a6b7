"""Compiled code that Python would believe although its source was edited after it.

Python compares whole seconds and the size. An edit within the same second that keeps the size is
not seen, and old code runs under the name of the new.
"""
# Asked at every import: paths are plain text.
# ruff: noqa: PTH108, PTH116, PTH120, PTH123

from __future__ import annotations

import contextlib
import os
import threading
from importlib.util import cache_from_source, source_from_cache

_HEADER = 16
_PYTHON = os.path.dirname(os.__file__) + os.sep
_looking = threading.local()


def drop_outdated(compiled: str) -> bool:
    """Remove a ``.pyc`` that would be believed and is older than its source; whether it was so.

    One that was installed, or is checked by a digest or not at all, is left alone.
    """
    if "site-packages" in compiled or compiled.startswith(_PYTHON):
        return False
    if getattr(_looking, "now", False):  # the hook that asks hears of our own looks, too
        return False
    _looking.now = True
    try:
        return _drop(compiled)
    finally:
        _looking.now = False


def _drop(compiled: str) -> bool:
    with contextlib.suppress(OSError, ValueError, NotImplementedError):
        source = os.stat(source_from_cache(compiled))
        if source.st_mtime_ns < os.stat(compiled).st_mtime_ns:
            return False
        with open(compiled, "rb") as file:
            header = file.read(_HEADER)
        flags, seconds, size = (
            int.from_bytes(header[place : place + 4], "little") for place in (4, 8, 12)
        )
        believed = (int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
        if len(header) == _HEADER and flags == 0 and (seconds, size) == believed:
            os.unlink(compiled)
            return True
    return False


def drop_outdated_of(source: str) -> bool:
    """The same for what a source was compiled to."""
    with contextlib.suppress(NotImplementedError):
        return drop_outdated(cache_from_source(source))
    return False
