"""What code asks about files without opening them: are they there, what are they, how large.

Python raises no audit event for that, so ``os.stat``, ``os.lstat`` and ``os.access``, which all of
``os.path`` and ``pathlib`` go through, are replaced for as long as somebody listens. How old a file
is and whether it is a link does not count: clones differ in that. What compiled code asks by itself
is not seen.
"""
# Each of these runs at every question that a step asks: paths are plain text.
# ruff: noqa: PTH100

from __future__ import annotations

import functools
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gitml.code.imports import ABSENT

Told = Callable[[str, str, FrameType | None], None]
"""Takes a whole path, what was found there, and the frame that asked."""

FOLDER = "is folder"
_FILE = "is file"
_OTHER = "is other"

_ORIGINAL = {name: getattr(os, name) for name in ("stat", "lstat", "access")}
_ASKS_FOR_OTHERS = frozenset({"genericpath", "posixpath", "glob"})
_SIZES = frozenset({"stat", "lstat", "getsize", "getmtime", "getctime", "getatime"})
# These look where links lead, or make sure of a folder: the answer changes nothing else.
_TO_GO_ON = frozenset({"_joinrealpath", "realpath", "mkdir"})
# What these ask is not for the program to know: they make, copy or delete, or look for code.
_FOR_THEMSELVES = frozenset(
    {"gitml", "importlib", "inspect", "linecache", "os", "pkgutil", "shutil", "tempfile"}
    | {"traceback", "tokenize", "zipimport"}
)

_listening = 0
_lock = threading.Lock()


def state_of(path: str, *, sized: bool = True) -> str:
    """What stands at a path, as records say it: ``is file 120``, ``is folder``, ``absent``."""
    try:
        found = _ORIGINAL["stat"](path)
    except (OSError, ValueError):
        return ABSENT
    if stat.S_ISDIR(found.st_mode):
        return FOLDER
    if not stat.S_ISREG(found.st_mode):
        return _OTHER
    return f"{_FILE} {found.st_size}" if sized else _FILE


def is_state(said: str) -> bool:
    """Whether a record says of a path what stands there, and not what it holds."""
    return said.startswith("is ")


def is_kind(said: str) -> bool:
    """Whether it is a file or folder, and nothing else of it."""
    return said in (_FILE, FOLDER)


def still(path: str, said: str) -> bool:
    """Whether what stands at a path is what was found there; a size counts where it is said."""
    return state_of(path, sized=said != _FILE) == said


def joined(first: str, later: str) -> str:
    """Two answers about one path as one: the first, with a size if only the later has that."""
    return later if first == _FILE and later.startswith(_FILE) else first


@contextmanager
def listening(tell: Told) -> Iterator[None]:
    """Have ``tell`` hear each question in a block; all blocks that overlap name the same."""
    global _listening
    with _lock:
        _listening += 1
        if _listening == 1:
            _replace(tell)
    try:
        yield
    finally:
        with _lock:
            _listening -= 1
            if not _listening:
                _restore()


def _replace(tell: Told) -> None:
    for name, original in _ORIGINAL.items():
        if getattr(os, name) is not original:  # somebody has replaced it before us
            continue
        asked = _asked(original, tell)
        # `shutil` and others look in these for what a function can do on this system.
        for able in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            if original in able:
                able.add(asked)
        if original in os.supports_effective_ids:
            os.supports_effective_ids.add(asked)
        setattr(os, name, asked)


def _restore() -> None:
    for name, original in _ORIGINAL.items():
        asked = getattr(os, name)
        if getattr(asked, "__wrapped__", None) is not original:
            continue
        setattr(os, name, original)
        for able in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            able.discard(asked)
        os.supports_effective_ids.discard(asked)


def _asked(original: Callable[..., Any], tell: Told) -> Callable[..., Any]:
    """A function of ``os`` that is told of before it answers."""

    @functools.wraps(original)
    def asked(path: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("dir_fd") is None and not isinstance(path, int):
            _hear(path, tell)
        return original(path, *args, **kwargs)

    return asked


def _hear(path: Any, tell: Told) -> None:
    frame: FrameType | None = sys._getframe(2)
    names = []
    while frame is not None and _passes_on(frame.f_globals):
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    if frame is None or not _TO_GO_ON.isdisjoint(names):
        return
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _FOR_THEMSELVES:
        return
    try:
        full = os.path.abspath(os.fsdecode(path))
    except (TypeError, OSError):
        return  # the question itself says what is wrong
    if "\0" not in full:
        tell(full, state_of(full, sized=_SIZES.issuperset(names)), frame)


def _passes_on(space: Mapping[str, Any]) -> bool:
    """Whether a module asks on behalf of its caller."""
    name = str(space.get("__name__"))
    return name in _ASKS_FOR_OTHERS or name.partition(".")[0] == "pathlib"
