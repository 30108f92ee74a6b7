"""What a step really touched: repository files opened or imported, and programs started.

The static closure cannot see a path that is computed, so while a step runs an audit hook watches;
what it saw is recorded with digests, and a later hit needs them unchanged. Code that reads files
without Python (pyarrow's own file system, a memory map made in C) is not seen: declare those with
``@step(files=[…])``.
"""
# An audit hook runs at every open: paths are plain text, and nothing here opens anything.
# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH119

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import source_from_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from gitml.errors import CorruptData, UsageError
from gitml.fs import judge_relative_path
from gitml.pipelines.closure import Closure
from gitml.pipelines.imports import ABSENT, Territory
from gitml.store.digest import hash_bytes, hash_file

_Signature = tuple[int, int] | None


class Observer:
    """Watches one step: a context manager around its call.

    Afterwards ``observed`` are the repository paths that were opened for reading or imported and
    are not in the closure, ``subprocesses`` the programs that were started, ``unstable`` those of
    the observed files that changed after the step had read them: its result must not be reused,
    since nobody knows which content it saw. ``excluded`` are repository paths of files or folders
    that are accounted for elsewhere (declared files, inputs).

    Steps may run in several threads: what happens in a step's own thread is its own, what happens
    in a thread that nobody owns (a pool) counts for every step that runs, except that the main
    thread, when no step runs there, is the driver's.
    """

    def __init__(
        self, root: Path, closure: Closure | None = None, excluded: Iterable[str] = ()
    ) -> None:
        self._territory = Territory(root)
        self._counts_loaded = closure is not None and closure.computed_imports
        self._known = {file.path for file in closure.files} if closure else set()
        self._excluded = tuple(excluded)
        self._seen: dict[str, _Signature] = {}
        self._made: set[str] = set()
        self._programs: dict[str, None] = {}
        self._thread = 0
        self.observed: tuple[str, ...] = ()
        self.unstable: tuple[str, ...] = ()
        self.subprocesses: tuple[str, ...] = ()

    def __enter__(self) -> Observer:
        """Begin to watch the current thread."""
        self._thread = threading.get_ident()
        with _lock:
            _install()
            _running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching, and sum up."""
        with _lock:
            _running.remove(self)
        if self._counts_loaded:
            for module in list(sys.modules.values()):
                file = getattr(module, "__file__", None)
                if isinstance(file, str):
                    self._read(file)
        full = {path: os.path.join(self._territory.root, path) for path in sorted(self._seen)}
        kept = [path for path in full if self._territory.path_of(full[path])]
        self.observed = tuple(path for path in kept if not os.path.isdir(full[path]))
        self.unstable = tuple(
            path for path in self.observed if _signature(full[path]) != self._seen[path]
        )
        self.subprocesses = tuple(sorted(self._programs))

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event; must open nothing and raise nothing of its own."""
        if event == "open":
            path, mode, flags = arguments
            if _creates(mode, flags):
                self._write(path)
            elif _reads(mode, flags):
                self._read(path)
        elif event == "os.rename":
            source, target = map(self._path, arguments[:2])
            if source in self._made and target:
                self._made.add(target)
        elif event == "sqlite3.connect":
            self._read(arguments[0])
        else:
            self._programs[_program(event, arguments)] = None

    def _path(self, name: Any) -> str | None:
        """The repository path of what was opened; a compiled module stands for its source."""
        if isinstance(name, int):
            return None
        full = os.path.abspath(os.fsdecode(name))
        if full.endswith(".pyc"):
            with suppress(ValueError, NotImplementedError):
                full = source_from_cache(full)
        return self._territory.inside(full)

    def _read(self, name: Any) -> None:
        path = self._path(name)
        if path is None or path in self._seen or path in self._known or path in self._made:
            return
        if not any(path == one or path.startswith(one.rstrip("/") + "/") for one in self._excluded):
            self._seen[path] = _signature(os.path.join(self._territory.root, path))

    def _write(self, name: Any) -> None:
        path = self._path(name)
        if path is not None and path not in self._seen:
            self._made.add(path)


_running: list[Observer] = []
_lock = threading.Lock()
_installed = False
_PROGRAMS = {
    "subprocess.Popen": 0,
    "os.system": None,
    "os.posix_spawn": 0,
    "os.spawn": 1,
    "os.exec": 0,
    "os.fork": None,
    "os.forkpty": None,
    "os.startfile": 0,
}
_EVENTS = frozenset({"open", "os.rename", "sqlite3.connect", *_PROGRAMS})


def _install() -> None:
    """Add the audit hook, once per process, since a hook can never be removed."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running or event not in _EVENTS:
        return
    thread = threading.get_ident()
    running = list(_running)
    heard = [one for one in running if one._thread == thread]
    if not heard and thread != threading.main_thread().ident:
        heard = running
    for one in heard:
        with suppress(OSError, TypeError, ValueError, AttributeError):
            one.hear(event, arguments)


def _reads(mode: Any, flags: Any) -> bool:
    """Whether a file is opened so that its old content can be seen."""
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return not isinstance(flags, int) or flags & os.O_ACCMODE != os.O_WRONLY


def _creates(mode: Any, flags: Any) -> bool:
    """Whether a file is opened so that nothing of an old content remains."""
    if isinstance(mode, str):
        return "w" in mode or "x" in mode
    return isinstance(flags, int) and bool(flags & (os.O_TRUNC | os.O_EXCL))


def _program(event: str, arguments: tuple[Any, ...]) -> str:
    """The name of a started program; never its arguments, which may hold secrets."""
    place = _PROGRAMS[event]
    if event == "os.system":
        words = os.fsdecode(arguments[0]).split()
        return os.path.basename(words[0]) if words else "sh"
    if place is None:
        return "a fork of this process"
    program = arguments[place]
    if program is None and event == "subprocess.Popen":
        program = arguments[1][0] if isinstance(arguments[1], (list, tuple)) else arguments[1]
    return os.path.basename(os.fsdecode(program))


def _signature(path: str) -> _Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def digest_files(root: Path, paths: Iterable[str]) -> Mapping[str, str]:
    """The digests of repository files as they are now: path → ``blake3:…`` or ``absent``.

    A folder has the digest of the names and digests of all files below it. Raises UsageError for a
    path that leads out of the repository, StorageError for one that cannot be read.
    """
    found = {}
    for path in paths:
        try:
            judge_relative_path(os.fsencode(path))
        except CorruptData as error:
            raise UsageError(
                f"not a path inside the repository: {path!r}",
                hint="write it relative to the root, for example `data/raw.csv`",
            ) from error
        found[path] = _digest_of(Path(root, path))
    return found


def _digest_of(path: Path) -> str:
    if path.is_dir():
        lines = [
            f"{one.relative_to(path).as_posix()}\0{hash_file(one)}\n"
            for one in sorted(path.rglob("*"))
            if one.is_file()
        ]
        return str(hash_bytes(os.fsencode("folder 1\n" + "".join(lines))))
    return str(hash_file(path)) if path.exists() else ABSENT
