"""Runs that go on now, for other processes of this machine: the step at work, what it prints.

A run that calls a step has two files in ``<common git dir>/gitml/live``, named for its process:
JSON lines of what happens, and the bytes that its steps print. They are a window and nothing else:
the record and the recovery of killed runs need neither, and where they cannot be written the run
goes on without. They go when the run ends; those of dead processes go when somebody looks.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gitml.entities import codec
from gitml.errors import CorruptData, StorageError
from gitml.frozen import Frozen
from gitml.fs import ProcessIdentity, make_directories, write_fully

FOLDER = "live"


class Window:
    """The files of one run; ``about`` is what is said of it first.

    Nothing is written before a step begins.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.about: Mapping[str, Any] = {}
        self._path: Path | None = None
        self._descriptor: int | None = None

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the files away."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._path is not None:
            with contextlib.suppress(OSError, StorageError):
                self._path.unlink(missing_ok=True)
                self._path.with_suffix(".log").unlink(missing_ok=True)

    def open_log(self) -> io.FileIO:
        """The file for what the steps print."""
        with contextlib.suppress(OSError, StorageError):
            self._begin()
            if self._path is not None:
                return io.FileIO(self._path.with_suffix(".log"), "x+")
        return tempfile.TemporaryFile(buffering=0)

    def begun(self, step: str, at: float, offset: int) -> None:
        """A step begins; what it prints will stand behind the offset."""
        self._note({"begun": step, "at": at, "offset": offset})

    def ended(self, step: str, state: str) -> None:
        """A step has ended."""
        if self._descriptor is not None:  # what was cached before anything ran is not worth a file
            self._note({"ended": step, "state": state})

    def _note(self, line: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, StorageError):
            self._begin()
            if self._descriptor is not None:
                write_fully(self._descriptor, f"{codec.dump_line(line)}\n".encode())

    def _begin(self) -> None:
        if self._path is not None:
            return
        make_directories(self._folder)
        name = f"{ProcessIdentity.current().to_text()}.{os.urandom(4).hex()}.jsonl"
        self._path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o644)
        about = codec.plain({"format": codec.FORMAT, **self.about})
        write_fully(self._descriptor, f"{codec.dump_line(about)}\n".encode())


class Begun(Frozen):
    """A step that has begun: when (seconds), and where its output begins in the log."""

    step: str
    at: float
    offset: int


class Going(Frozen):
    """A run that goes on: its window, what it is, what has begun, and how steps have ended.

    ``models`` are those of which it will make versions, ``tags`` those that it will have.
    """

    path: Path
    pipeline: str
    name: str | None
    started: str
    steps: tuple[str, ...]
    begun: tuple[Begun, ...]
    ended: Mapping[str, str]
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def current(self) -> Begun | None:
        """The step at work."""
        last = self.begun[-1] if self.begun else None
        return last if last is not None and last.step not in self.ended else None

    @property
    def process(self) -> int:
        """The process that runs it."""
        return _owner(self.path).pid


class Piece(Frozen):
    """Some of what a step printed."""

    step: str
    data: bytes


def going(folder: Path) -> list[Going]:
    """The runs that go on in processes of this machine, the newest first.

    The files of processes that are gone are removed.
    """
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(CorruptData, OSError):
            if _is_alive(path):
                found.append(_going(path, path.read_bytes()))
            elif _is_dead(path):
                path.unlink(missing_ok=True)
                path.with_suffix(".log").unlink(missing_ok=True)
    return sorted(found, key=lambda one: one.started, reverse=True)


def follow(run: Going, step: str | None, wait: Callable[[], None]) -> Iterator[Piece]:
    """What the steps of a run print, from its beginning until it ends; of one ``step``, of that.

    ``wait`` is called when there is nothing new.
    """
    with contextlib.ExitStack() as stack:
        try:
            events: BinaryIO = stack.enter_context(run.path.open("rb"))
        except OSError:  # it has just ended
            return
        log: BinaryIO | None = None
        shown = 0
        while True:
            over = not run.path.exists() or not _is_alive(run.path)  # before the last look
            if log is None:
                with contextlib.suppress(OSError, StorageError):
                    log = stack.enter_context(run.path.with_suffix(".log").open("rb"))
            size = os.fstat(log.fileno()).st_size if log is not None else 0
            events.seek(0)  # after the log: a step says that it begins before it prints
            now = _going(run.path, events.read())
            ended = step is not None and step in now.ended
            if log is not None and size > shown:
                yield from _pieces(log, shown, size, now.begun, step)
                shown = size
            elif over or ended:
                return
            else:
                wait()


def _pieces(
    log: BinaryIO, start: int, end: int, begun: tuple[Begun, ...], step: str | None
) -> Iterator[Piece]:
    """What stands between two places of a log, by steps."""
    ends = [*(one.offset for one in begun[1:]), end][: len(begun)]
    for one, limit in zip(begun, ends, strict=True):
        first, last = max(one.offset, start), min(limit, end)
        if first < last and step in (None, one.step):
            log.seek(first)
            yield Piece(one.step, log.read(last - first))


def _going(path: Path, data: bytes) -> Going:
    """What the lines of a window say; one that is not whole yet is left out."""
    lines = [codec.parse(one, path.name) for one in data.split(b"\n")[:-1]]
    if not lines:
        raise CorruptData(f"{path.name} is empty")
    about = lines[0]
    codec.check_format(about, path.name)
    try:
        return Going(
            path,
            about["pipeline"],
            about.get("name"),
            about["started"],
            tuple(about["steps"]),
            tuple(Begun(one["begun"], one["at"], one["offset"]) for one in lines if "begun" in one),
            {one["ended"]: one["state"] for one in lines if "ended" in one},
            tuple(about.get("models", ())),
            tuple(about.get("tags", ())),
        )
    except KeyError as error:
        raise CorruptData(f"{path.name}: the field {error} is missing") from None


def _owner(path: Path) -> ProcessIdentity:
    return ProcessIdentity.parse(path.name.rsplit(".", 2)[0])


def _is_alive(path: Path) -> bool:
    """Whether its process runs on this machine, as far as that can be told from here."""
    owner, here = _owner(path), ProcessIdentity.current()
    return (owner.host, owner.boot) == (here.host, here.boot) and owner.is_alive()


def _is_dead(path: Path) -> bool:
    """Whether its process is gone for certain."""
    owner = _owner(path)
    return not owner.is_alive() or owner.is_of_another_boot()
