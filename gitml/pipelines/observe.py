"""What a step really touched: files of the repository, listings of its folders, programs.

The static closure cannot see a path that is computed, so while a step runs an audit hook watches;
what it saw is recorded with digests, and a later hit needs them unchanged. So does what it was told
of files that it did not open (``asking``). What a module of the closure read while it was imported
belongs to the steps that it is part of. Code that reads files without Python (pyarrow's own file
system, a memory map made in C) is not seen: declare those with ``@step(files=[…])``.
"""
# An audit hook runs at every open: paths are plain text.
# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH119

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import source_from_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from gitml.code.bytecode import drop_outdated
from gitml.code.closure import Closure
from gitml.code.imports import ABSENT, Territory
from gitml.errors import CorruptData, UsageError
from gitml.frozen import Frozen
from gitml.fs import judge_relative_path
from gitml.pipelines import asking
from gitml.store.digest import hash_bytes, hash_file


class _Answer(str):
    """What was found at a path that was asked about, and neither opened nor listed."""

    __slots__ = ()


# Of a file its time and size, of a folder that was listed its names; None where there is neither.
_Signature = tuple[int, int] | str | _Answer | None
_NAMES = "names "

MOST_ANSWERS = 10_000
"""What a step may be told of files that it only asks about; a record has room for no more."""


class Observer:
    """Watches one step: a context manager around its call.

    Afterwards ``observed`` are the repository files that were opened for reading or imported and
    are not in the closure, ``listed`` the folders whose names were read, ``asked`` what was found
    at paths that it only asked about, ``subprocesses`` the programs that were started, ``unstable``
    those of the files and folders that others changed after the step had seen them: its result
    must not be reused, since nobody knows which content it saw. Of a step that ``asks_too_much``
    the answers are not kept.
    ``excluded`` are repository paths of files or folders that are accounted for elsewhere (declared
    files, inputs).

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
        own = closure.source.partition(":")[0] if closure else ""
        self._modules = sorted(self._known - {own})  # what the own file holds counts by value
        self._excluded = tuple(excluded)
        self._seen: dict[str, _Signature] = {}
        self._listed: dict[str, _Signature] = {}
        self._answers: dict[str, str] = {}
        self._made: set[str] = set()
        self._changed: set[str] = set()  # by the step itself, in whatever way
        self._programs: dict[str, None] = {}
        self._thread = 0
        self._listening = ExitStack()
        self.observed: tuple[str, ...] = ()
        self.listed: tuple[str, ...] = ()
        self.asked: dict[str, str] = {}
        self.asks_too_much = False
        self.unstable: tuple[str, ...] = ()
        self.subprocesses: tuple[str, ...] = ()

    def __enter__(self) -> Observer:
        """Begin to watch the current thread."""
        self._thread = threading.get_ident()
        with _lock:
            _install()
            _running.append(self)
        self._listening.enter_context(asking.listening(_hear_question))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching, and sum up."""
        self._listening.close()
        with _lock:
            _running.remove(self)
        self._gather()
        self.observed = tuple(path for path in sorted(self._seen) if self._is_ours(path, file=True))
        self.listed = tuple(path for path in sorted(self._listed) if self._is_ours(path))
        self.asked = dict(sorted(self._asked(self.observed, self.listed).items()))
        self.asks_too_much = len(self.asked) > MOST_ANSWERS
        if self.asks_too_much:
            self.asked = {}
        asked = self.asked.items()
        self.unstable = tuple(
            [one for one in self.observed if _signature(self._full(one)) != self._seen[one]]
            + [one for one in self.listed if _names(self._full(one)) != self._listed[one]]
            + [one for one, said in asked if not (one in self._changed or self._still(one, said))]
        )
        self.subprocesses = tuple(sorted(self._programs))

    @property
    def is_reusable(self) -> bool:
        """Whether a later run can find out if all is as the step has seen it."""
        return not (self.unstable or self.asks_too_much)

    def _asked(self, files: Iterable[str], folders: Collection[str]) -> dict[str, str]:
        """The answers that what was read and listed does not imply.

        A listing has the names, and says which of them are folders.
        """
        known = {*files, *folders, "."}
        listed = set(folders)
        return {
            path: said
            for path, said in list(self._answers.items())
            if path not in known
            and not (asking.is_kind(said) and (path.rpartition("/")[0] or ".") in listed)
            and self._is_ours(path)
        }

    def _gather(self) -> None:
        """Take in what was read by the modules that count."""
        if self._counts_loaded:
            for module in list(sys.modules.values()):
                file = getattr(module, "__file__", None)
                if isinstance(file, str):
                    self._read(file)
        for path in self._modules:
            for read, signature in _at_import.reads(self._full(path)):
                self._note(read, signature)

    def so_far(self) -> Sighting:
        """What was seen until now, while the step goes on."""
        self._gather()
        read = {
            path: one for path, one in list(self._seen.items()) if self._is_ours(path, file=True)
        }
        names = {path: one for path, one in list(self._listed.items()) if self._is_ours(path)}
        asked = self._asked(read, names)
        absent = {path: ABSENT for path, one in read.items() if one is None}
        listed = {path: _digest_of_listing(str(one)) for path, one in names.items()}
        files = {path: one for path, one in read.items() if isinstance(one, tuple)}
        return Sighting(files, {**asked, **listed, **absent})

    def record(self, excluded: Iterable[str] = ()) -> dict[str, str]:
        """What a record keeps of all that was seen, as far as it is not, or below, ``excluded``."""
        known = tuple(excluded)
        files, folders, asked = (
            [one for one in paths if not _is_among(one, known)]
            for paths in (self.observed, self.listed, self.asked)
        )
        found = digest_observed(Path(self._territory.root), files, folders)
        return {**found, **{one: self.asked[one] for one in asked}}

    def _still(self, path: str, said: str) -> bool:
        return asking.still(self._full(path), said)

    def _full(self, path: str) -> str:
        return os.path.join(self._territory.root, path)

    def _is_ours(self, path: str, *, file: bool = False) -> bool:
        """Whether a path is the repository's own; of what was opened, folders are no content."""
        full = self._full(path)
        if file and os.path.isdir(full):
            return False
        return path == "." or self._territory.path_of(full) is not None

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event; must raise nothing of its own."""
        if event in _LISTINGS:
            full = _listed_folder(arguments)
            if full is not None:
                self._note(full, _names(full))
        elif event == _QUESTION:
            self._note(*arguments)
        elif event in _CHANGES:
            self._change(event, arguments)
        elif event == "open":
            path, mode, flags = arguments
            if _writes(mode, flags):
                self._changed.add(self._path(path) or "")
            if _creates(mode, flags):
                self._write(path)
            elif _reads(mode, flags):
                self._read(path)
        elif event == "sqlite3.connect":
            self._read(arguments[0])
        else:
            self._programs[_program(event, arguments)] = None

    def _path(self, name: Any) -> str | None:
        """The repository path of what was opened."""
        full = _opened(name)
        return self._territory.inside(full) if full is not None else None

    def _read(self, name: Any) -> None:
        full = _opened(name)
        if full is not None:
            self._note(full, _signature(full))

    def _note(self, full: str, signature: _Signature) -> None:
        """Keep what was first seen of a file, or of a folder's names, unless it counts already."""
        path = "." if self._territory.is_root(full) else self._territory.inside(full)
        if path is None or path in self._known or path in self._made:
            return
        if _is_among(path, self._excluded):
            return
        if isinstance(signature, _Answer):
            if path not in self._changed:
                known = self._answers.setdefault(path, str(signature))
                self._answers[path] = asking.joined(known, str(signature))
            return
        seen = self._listed if isinstance(signature, str) else self._seen
        seen.setdefault(path, signature)

    def _write(self, name: Any) -> None:
        path = self._path(name)
        if path is not None and path not in self._seen:
            self._made.add(path)

    def _change(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of what the step makes, moves and removes itself."""
        paths = [self._path(one) for one in arguments[: _CHANGES[event]]]
        self._changed |= {one for one in paths if one is not None}
        if event == "os.rename" and paths[0] in self._made and paths[1]:
            self._made.add(paths[1])
        if event == "os.mkdir" and paths[0] is not None and self._answers.get(paths[0]) == ABSENT:
            del self._answers[paths[0]]  # it made sure of a folder


class Sighting(Frozen):
    """What a step that is at work has seen: files with their time and size, and what is certain.

    ``certain`` is as in a record: listings, answers, files that are absent.
    """

    files: Mapping[str, tuple[int, int]]
    certain: Mapping[str, str]


def digest_sighting(root: Path, seen: Sighting) -> dict[str, str] | None:
    """What a record keeps of it later; None where a file is not what the step had seen."""
    for path, before in seen.files.items():
        if _signature(str(root / _judged(path))) != before:
            return None
    return {**seen.certain, **digest_files(root, seen.files)}


class _AtImport:
    """What modules read while they were imported, by the file of the module.

    A read belongs to the innermost module whose body is at work; functions that it calls read for
    it. The script itself does not count: nothing imports it.
    """

    def __init__(self) -> None:
        self._reads: dict[str, tuple[CodeType, dict[tuple[str, str], _Signature]]] = {}

    def hear(self, event: str, arguments: tuple[Any, ...], frame: FrameType | None) -> None:
        """Take note of an audit event that was raised in a frame."""
        if event in _LISTINGS:
            full = _listed_folder(arguments)
        elif event == _QUESTION:
            full = arguments[0]
        elif event == "open" and _reads(*arguments[1:]) and not _creates(*arguments[1:]):
            full = _opened(arguments[0])
        else:
            return
        if full is None or full.endswith(_CODE):
            return
        while frame is not None and frame.f_code.co_name != "<module>":
            frame = frame.f_back
        if frame is None or frame.f_globals.get("__name__") == "__main__":
            return
        body = frame.f_code
        module = os.path.abspath(body.co_filename)
        if self._reads.get(module, (None,))[0] is not body:  # imported anew
            self._reads[module] = body, {}
        if event == _QUESTION:
            self._reads[module][1].setdefault((full, _QUESTION), arguments[1])
            return
        signature = _names(full) if event in _LISTINGS else _signature(full)
        self._reads[module][1].setdefault((full, ""), signature)

    def reads(self, module: str) -> list[tuple[str, _Signature]]:
        """What a module's file read, each with what was seen of it then."""
        found = self._reads[module][1].items() if module in self._reads else ()
        return [(full, signature) for (full, _), signature in found]


_at_import = _AtImport()
_running: list[Observer] = []
_lock = threading.Lock()
_busy = threading.local()
_installed = False
_CODE = (".py", ".pyc", ".so", ".pyd", ".dylib", ".pth")
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
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_CHANGES = {  # how many of the arguments are paths
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rmdir": 1,
}
_QUESTION = "question"
"""No event of Python's: what `asking` hears."""
_EVENTS = frozenset({"open", "sqlite3.connect", *_CHANGES, *_LISTINGS, *_PROGRAMS})
_IMPORTING = frozenset({"importlib._bootstrap_external", "importlib.metadata"})
"""Modules that list folders in search of code, which is accounted for by its own digest."""


def watch_imports() -> None:
    """Begin to note what modules read while they are imported; early, or it is too late.

    From then on modules that are imported are what their sources are.
    """
    with _lock:
        _install()


@contextmanager
def importing() -> Iterator[None]:
    """A block that imports modules: what these only ask of files while they do counts, too."""
    watch_imports()
    with asking.listening(_hear_question):
        yield


def _install() -> None:
    """Add the audit hook, once per process, since a hook can never be removed."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS or getattr(_busy, "now", False):
        return
    frame = sys._getframe(1)
    if event in _LISTINGS and frame.f_globals.get("__name__") in _IMPORTING:
        return
    _busy.now = True  # what is looked up here is no doing of the step's
    try:
        if event == "open" and str(arguments[0]).endswith(".pyc"):
            drop_outdated(os.fsdecode(arguments[0]))
        with suppress(OSError, TypeError, ValueError, AttributeError):
            _at_import.hear(event, arguments, frame)
        _tell(event, arguments)
    finally:
        _busy.now = False


def _hear_question(full: str, found: str, frame: FrameType | None) -> None:
    """Take note of what was found at a path that somebody asked about."""
    if getattr(_busy, "now", False):
        return
    _busy.now = True
    try:
        arguments = (full, _Answer(found))
        with suppress(OSError, TypeError, ValueError, AttributeError):
            _at_import.hear(_QUESTION, arguments, frame)
        _tell(_QUESTION, arguments)
    finally:
        _busy.now = False


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    """Tell an event to the steps that it belongs to."""
    thread = threading.get_ident()
    running = list(_running)
    heard = [one for one in running if one._thread == thread]
    if not heard and thread != threading.main_thread().ident:
        heard = running
    for one in heard:
        with suppress(OSError, TypeError, ValueError, AttributeError):
            one.hear(event, arguments)


def _opened(name: Any) -> str | None:
    """The whole path of what was opened; a compiled module stands for its source."""
    if isinstance(name, int):
        return None
    full = os.path.abspath(os.fsdecode(name))
    if full.endswith(".pyc"):
        with suppress(ValueError, NotImplementedError):
            return source_from_cache(full)
    return full


def _listed_folder(arguments: tuple[Any, ...]) -> str | None:
    """The whole path of a folder that was listed; None for one that is known by a descriptor."""
    name = arguments[0] if arguments and arguments[0] is not None else "."
    return None if isinstance(name, int) else os.path.abspath(os.fsdecode(name))


def _reads(mode: Any, flags: Any) -> bool:
    """Whether a file is opened so that its old content can be seen."""
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return not isinstance(flags, int) or flags & os.O_ACCMODE != os.O_WRONLY


def _writes(mode: Any, flags: Any) -> bool:
    """Whether a file is opened so that it can be changed."""
    if isinstance(mode, str):
        return not mode.startswith("r") or "+" in mode
    return isinstance(flags, int) and flags & os.O_ACCMODE != os.O_RDONLY


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


_UNLISTED = frozenset({".git", "__pycache__"})


def _signature(path: str) -> _Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _names(folder: str) -> str:
    """The names in a folder as the text that is digested; empty where it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            names = [one.name + "/" * one.is_dir() for one in found if one.name not in _UNLISTED]
    except OSError:
        return ""
    return "names 1\n" + "".join(f"{name}\0" for name in sorted(names, key=os.fsencode))


def digest_observed(root: Path, files: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """What a record keeps of the files that a step read and the folders that it listed.

    Path → digest or ``absent``; of a folder ``names `` and a digest over the names in it.
    """
    return {**digest_files(root, files), **{one: _digest_of_names(root, one) for one in folders}}


def is_unchanged(root: Path, observed: Mapping[str, str]) -> bool:
    """Whether all that a record observed is as it was."""
    asked = {path: said for path, said in observed.items() if asking.is_state(said)}
    if not all(asking.still(str(root / _judged(path)), said) for path, said in asked.items()):
        return False
    folders = [path for path, digest in observed.items() if digest.startswith(_NAMES)]
    files = observed.keys() - asked.keys() - set(folders)
    return {**digest_observed(root, files, folders), **asked} == observed


def _digest_of_names(root: Path, folder: str) -> str:
    return _digest_of_listing(_names(os.path.join(root, "" if folder == "." else _judged(folder))))


def _digest_of_listing(names: str) -> str:
    return _NAMES + str(hash_bytes(os.fsencode(names))) if names else ABSENT


def digest_files(root: Path, paths: Iterable[str]) -> Mapping[str, str]:
    """The digests of repository files as they are now: path → ``blake3:…`` or ``absent``.

    A folder has the digest of the names and digests of all files below it. Raises UsageError for a
    path that leads out of the repository, StorageError for one that cannot be read.
    """
    found = {}
    for path in paths:
        found[path] = _digest_of(Path(root, _judged(path)))
    return found


def _is_among(path: str, known: Iterable[str]) -> bool:
    """Whether a path is one of others or below one."""
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in known)


def _judged(path: str) -> str:
    """The path itself, if it stays inside of the repository; raises UsageError."""
    try:
        judge_relative_path(os.fsencode(path))
    except CorruptData as error:
        raise UsageError(
            f"not a path inside the repository: {path!r}",
            hint="write it relative to the root, for example `data/raw.csv`",
        ) from error
    return path


def _digest_of(path: Path) -> str:
    if path.is_dir():
        lines = [
            f"{one.relative_to(path).as_posix()}\0{hash_file(one)}\n"
            for one in sorted(path.rglob("*"))
            if one.is_file()
        ]
        return str(hash_bytes(os.fsencode("folder 1\n" + "".join(lines))))
    return str(hash_file(path)) if path.exists() else ABSENT
