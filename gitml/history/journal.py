"""The journal: finished steps of runs in flight, so that a killed run loses none of them.

A run's record is written when it ends. Until then each finished step is a line in
``<common git dir>/gitml/journal/<owner>.jsonl``, after its bytes have left this process for the
store, and so is all that a running step logs and a block saves. The results of single items are in
a file beside it, since a step may have thousands. The next command finds journals whose owner is
provably gone and records those runs as interrupted (docs/format.md, "Journal").
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitml.entities import codec
from gitml.entities.records import Output, RunStep, Step
from gitml.errors import CorruptData
from gitml.frozen import Frozen, field
from gitml.fs import ProcessIdentity, make_directories, storage_errors

HEADER = frozenset(
    {"format", "pipeline", "parameters", "code", "stack", "started", "person", "environment"}
    | {"steps"}
)
"""What the first line of a journal has to have (docs/format.md, "Journal")."""

ABANDONED_AFTER = 7 * 24 * 3600
"""Seconds without a line after which the journal of a process that cannot be judged is nobody's."""


def folder(common: Path) -> Path:
    """Where the journals of runs in flight lie, in the common folder of a repository."""
    return common / "gitml" / "journal"


class FinishedStep(Frozen):
    """A line of a journal: a step as it stands in the run, and its record if it was executed."""

    entry: RunStep
    record: Step | None
    metrics: Mapping[str, float]
    at: float


class Logged(Frozen):
    """A line of a journal: what a running step logged at once, at the time ``at``.

    ``index`` is the place of the metrics in their series, None where they are single values;
    ``parameters`` are those of the run that became known only then.
    """

    step: str
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    index: int | None
    at: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Saved(Frozen):
    """A line of a journal: what the block of a run has saved, after its bytes have left."""

    step: str
    output: Output
    at: float


class Items(Frozen):
    """A line of a journal: results of a mapped step that is at work; ``table`` has them.

    ``key`` is that of the step without its items, ``sources`` what all were made of. ``root`` is
    the work tree, ``files`` are those of it that were read, with the time and size they had then,
    ``observed`` is what else a record keeps of what was read.
    """

    step: str
    key: str
    sources: tuple[str, ...]
    root: str
    files: Mapping[str, tuple[int, int]]
    observed: Mapping[str, str]
    table: bytes
    at: float


class Orphan(Frozen):
    """A run whose process is gone: what it was (``header``) and the steps that it finished.

    ``logged``, ``saved`` and ``items`` are of the steps that it did not finish.
    """

    path: Path
    header: Mapping[str, Any]
    steps: tuple[FinishedStep, ...]
    logged: tuple[Logged, ...] = ()
    saved: tuple[Saved, ...] = ()
    items: tuple[Items, ...] = ()

    @property
    def said(self) -> tuple[Logged | Saved | Items, ...]:
        """All that the steps left which it did not finish."""
        return (*self.logged, *self.saved, *self.items)

    def remove(self) -> None:
        """Drop it: the run is recorded, or there is nothing worth keeping."""
        _beside(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class Journal:
    """The journal of one run. Nothing is written before a step logs something or is executed."""

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        self._folder = folder
        self._header = header
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._waiting: list[str] = []
        self._turn = threading.RLock()  # the threads of a step may log

    def add(self, step: FinishedStep) -> None:
        """Note a finished step; cached ones wait for the first that was executed."""
        line: dict[str, Any] = {"step": codec.to_document(step.entry), "at": step.at}
        if step.record is not None:
            line["record"] = codec.to_document(step.record)
            line["metrics"] = codec.parse(codec.metrics_to_json(step.metrics), "metrics")
        with self._turn:
            self._waiting.append(codec.dump_line(line))
            if step.record is not None or self._descriptor is not None:
                self._write()

    def begin(self) -> None:
        """Be on the disk before there is anything to note; raises StorageError where that fails."""
        with self._turn:
            self._write()

    def log(self, logged: Logged) -> None:
        """Note what a running step logs."""
        said: dict[str, Any] = {"step": logged.step, "metrics": codec.plain(logged.metrics)}
        if logged.metadata:
            said["metadata"] = codec.plain(logged.metadata)
        if logged.parameters:
            said["parameters"] = codec.plain(logged.parameters)
        if logged.index is not None:
            said["index"] = logged.index
        line = codec.dump_line({"logged": said, "at": logged.at})
        with self._turn:
            self._waiting.append(line)
            self._write()

    def save(self, saved: Saved) -> None:
        """Note what a block has saved."""
        said = {"step": saved.step, "output": codec.to_document(saved.output)}
        with self._turn:
            self._waiting.append(codec.dump_line({"saved": said, "at": saved.at}))
            self._write()

    def add_items(self, items: Items) -> None:
        """Note results of a mapped step; raises StorageError, and then they are not noted."""
        said = {
            "step": items.step,
            "key": items.key,
            "sources": list(items.sources),
            "root": items.root,
            "files": {path: list(one) for path, one in items.files.items()},
            "observed": dict(items.observed),
            "size": len(items.table),
            "digest": _digest(items.table),
        }
        with self._turn:
            self._write()  # the journal is there before what lies beside it
            assert self._path is not None  # noqa: S101 - for the type checker
            path = _beside(self._path)
            with storage_errors(path), path.open("ab") as file:
                said["from"] = file.tell()
                file.write(items.table)
            self._waiting.append(codec.dump_line({"items": said, "at": items.at}))
            self._write()

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        with storage_errors(self._folder):
            if self._descriptor is None:
                lines.insert(0, codec.dump_line(codec.plain(self._header)))
                self._create()
            assert self._descriptor is not None  # noqa: S101 - for the type checker
            data = "".join(line + "\n" for line in lines).encode()
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _create(self) -> None:
        make_directories(self._folder)
        owner = ProcessIdentity.current().to_text()
        name = f"{owner}.{os.urandom(4).hex()}.jsonl"
        self._path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o644)

    def remove(self) -> None:
        """Drop the journal: the run's record stands, or there is nothing worth keeping."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._path is not None:
            _beside(self._path).unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)


def _beside(journal: Path) -> Path:
    """The file that has the results of items."""
    return journal.with_suffix(".items")


def orphans(folder: Path) -> list[Orphan]:
    """The journals whose processes are gone; what a kill cut off at the end is left out."""
    if not folder.is_dir():
        return []
    abandoned = (path for path in sorted(folder.glob("*.jsonl")) if _is_abandoned(path))
    return [found for path in abandoned if (found := _read(path)) is not None]


def _is_abandoned(path: Path) -> bool:
    """Whether nobody will go on with a journal.

    Its process is dead for certain, or cannot be judged from here (another host, an earlier boot)
    and has not written for a week.
    """
    here = ProcessIdentity.current()
    with contextlib.suppress(CorruptData):
        owner = ProcessIdentity.parse(path.name.rsplit(".", 2)[0])
        if (owner.host, owner.boot) == (here.host, here.boot):
            return not owner.is_alive()
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER
    return False


def _read(path: Path) -> Orphan | None:
    """A journal up to the first line that cannot be read; None where it is not ours to read.

    That is one of a later version, or one that another process has replayed meanwhile. Without a
    whole header nothing is known of the run, and there are no steps.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    documents = []
    with contextlib.suppress(CorruptData):
        for line in lines:
            documents.append(codec.parse(line, path.name))  # noqa: PERF401 - up to the first error
    if not documents or not documents[0].keys() >= HEADER:
        return Orphan(path, {}, ())
    try:
        codec.check_format(documents[0], path.name)
    except CorruptData:
        return None
    steps: list[FinishedStep] = []
    logged: list[Logged] = []
    saved: list[Saved] = []
    items: list[Items] = []
    with contextlib.suppress(CorruptData):
        for document in documents[1:]:
            if "logged" in document:
                logged.append(_logged(document, path.name))
            elif "saved" in document:
                saved.append(_saved(document, path.name))
            elif "items" in document:
                items += _items(document, path)
            else:
                steps.append(_finished(document, path.name))
    done = {one.entry.name for one in steps}
    return Orphan(
        path,
        documents[0],
        tuple(steps),
        tuple(one for one in logged if one.step not in done),
        tuple(one for one in saved if one.step not in done),
        tuple(one for one in items if one.step not in done),
    )


def _logged(line: Mapping[str, Any], where: str) -> Logged:
    said = line["logged"]
    if not isinstance(said, dict) or not isinstance(said.get("step"), str):
        raise CorruptData(f"{where}: the field `step` is missing")
    index, metadata = said.get("index"), said.get("metadata", {})
    parameters = said.get("parameters", {})
    texts = isinstance(metadata, dict) and isinstance(parameters, dict)
    if not (index is None or type(index) is int) or not texts:
        raise CorruptData(f"{where}: not what a step logs")
    metrics = codec.metrics_from(said.get("metrics"), where)
    return Logged(said["step"], metrics, metadata, index, _time(line, where), parameters)


def _saved(line: Mapping[str, Any], where: str) -> Saved:
    said = line["saved"]
    if not isinstance(said, dict) or not isinstance(said.get("step"), str):
        raise CorruptData(f"{where}: the field `step` is missing")
    output = codec.from_document(Output, said.get("output", {}), where)
    return Saved(said["step"], output, _time(line, where))


def _items(line: Mapping[str, Any], path: Path) -> list[Items]:
    """Results of a mapped step; none where they are not whole, which makes no line beside wrong."""
    said, at = line["items"], _time(line, path.name)
    try:
        with _beside(path).open("rb") as file:
            file.seek(said["from"])
            table = file.read(said["size"])
        files = {name: (int(when), int(size)) for name, (when, size) in said["files"].items()}
        observed = {str(name): str(one) for name, one in said["observed"].items()}
        sources = tuple(map(str, said["sources"]))
        whole = _digest(table) == said["digest"]
        step, key, root = (str(said[one]) for one in ("step", "key", "root"))
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return []
    return [Items(step, key, sources, root, files, observed, table, at)] if whole else []


def _digest(table: bytes) -> str:
    from gitml.store.digest import hash_bytes  # whoever only looks for journals needs none

    return str(hash_bytes(table))


def _time(line: Mapping[str, Any], where: str) -> float:
    at = line.get("at")
    if not isinstance(at, (int, float)):
        raise CorruptData(f"{where}: the field `at` is missing")
    return at


def _finished(line: Mapping[str, Any], where: str) -> FinishedStep:
    at = _time(line, where)
    entry = codec.from_document(RunStep, line.get("step", {}), where)
    if "record" not in line:
        return FinishedStep(entry, None, {}, at)
    record = codec.from_document(Step, line["record"], where)
    metrics = codec.metrics_from_json(codec.dump(line.get("metrics", {})), where)
    return FinishedStep(entry, record, metrics, at)
