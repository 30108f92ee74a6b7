"""Records as the index has them: read from git as a row, and a row as an entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Run, Saved, Step, Version
from gitml.errors import CorruptData
from gitml.frozen import Frozen
from gitml.git.odb import Odb, Tag, parse_commit
from gitml.history.record import MAX_LINE, saved_ref, seconds_of

R = TypeVar("R", bound=Frozen)


class RunEntry(Frozen):
    """A run: its commit, its record, its metrics, who ran it and when it ended (seconds)."""

    id: ObjectId
    record: Run
    metrics: dict[str, float]
    author: str
    at: float


class StepEntry(Frozen):
    """A step execution: its commit with parents, its record, its metrics."""

    id: ObjectId
    record: Step
    metrics: dict[str, float]
    parents: tuple[ObjectId, ...]
    at: float


class VersionEntry(Frozen):
    """A model version: its commit, its record, its metrics, who made it and when (seconds)."""

    id: ObjectId
    record: Version
    metrics: dict[str, float]
    author: str
    at: float


class SavedEntry(Frozen):
    """A value saved by hand: its source commit, its record, who saved it."""

    id: ObjectId
    record: Saved
    author: str
    at: float


class Reader:
    """Reads records from git, each with its row as the queries above select it."""

    def __init__(self, odb: Odb) -> None:
        self._odb = odb

    def find(self, oid: ObjectId, kind: str) -> tuple[Any, ...] | None:
        """The row of the record of this kind in a commit, None where it is none."""
        found = self._odb.read(oid)
        if found is None or found[1] != "commit":
            return None
        trailers = dict(parse_commit(oid, found[2]).trailers())
        if trailers.get("Gitml-Kind") != kind:
            return None
        readers = {"run": self.run, "step": self.step, "version": self.version}
        return readers[kind](oid)[1]

    def kind(self, oid: ObjectId) -> str | None:
        """The kind of record that a commit is, None where it is none; raises MissingBytes."""
        return dict(self._odb.commit(oid).trailers()).get("Gitml-Kind")

    def run(self, oid: ObjectId) -> tuple[Run, tuple[Any, ...]]:
        """A run and its row; raises CorruptData, MissingBytes."""
        record, document = self._record(Run, oid, "run.json")
        author = who(self._odb.commit(oid).author)
        at = seconds_of(record.started) + record.duration
        return record, (str(oid), document, self._metrics(oid), author, at)

    def step(self, oid: ObjectId) -> tuple[Step, tuple[Any, ...]]:
        """A step and its row; raises CorruptData, MissingBytes."""
        record, document = self._record(Step, oid, "step.json")
        parents = joined(self._odb.commit(oid).parents)
        at = seconds_of(record.started) + record.duration
        return record, (str(oid), document, self._metrics(oid), parents, at)

    def version(self, oid: ObjectId) -> tuple[Version, tuple[Any, ...]]:
        """A model version and its row; raises CorruptData, MissingBytes."""
        record, document = self._record(Version, oid, "model.json")
        author = who(self._odb.commit(oid).author)
        at = seconds_of(record.created)
        return record, (str(oid), document, self._metrics(oid), author, at)

    def _record(self, kind: type[R], oid: ObjectId, name: str) -> tuple[R, str]:
        data = self._odb.file(oid, f".gitml/{name}")
        if data is None:
            self._odb.commit(oid)  # a shallow clone lacks the whole commit
            raise CorruptData(f"{oid.short} has no .gitml/{name}")
        return codec.from_json(kind, data, f"{oid.short}:.gitml/{name}"), data.decode("utf-8")

    def _metrics(self, oid: ObjectId) -> str:
        data = self._odb.file(oid, ".gitml/metrics.json")
        return data.decode("utf-8") if data is not None else '{"format": 1, "metrics": {}}'


def read_saved(tag: Tag, ref: str) -> Saved:
    """The saved value in a tag; raises CorruptData unless the ref is the one it was made for."""
    record = codec.from_document(Saved, line_of(tag), ref)
    if ref != saved_ref(record.name, record.digest):
        raise CorruptData(f"{ref} holds the record of {record.name}@{record.digest.short}")
    return record


def line_of(tag: Tag) -> dict[str, Any]:
    """The JSON line of a tag of gitml's; raises CorruptData where it has none."""
    lines = tag.message.split("\n")
    if len(lines) > 2 and not lines[1] and lines[2].startswith("{"):
        if len(lines[2]) > MAX_LINE:
            raise CorruptData(f"the record of {tag.name} is larger than {MAX_LINE >> 10} KiB")
        return codec.parse(lines[2], tag.name)
    raise CorruptData(f"the tag {tag.name} carries no record")


def run_entry(row: Sequence[Any]) -> RunEntry:
    """The run of a row; raises CorruptData."""
    oid, document, metrics, author, at = row
    record = codec.from_json(Run, document, f"{oid[:12]}:.gitml/run.json")
    return RunEntry(ObjectId(oid), record, _read_metrics(oid, metrics), author, at)


_decoded_steps: dict[str, StepEntry] = {}
"""The last steps that this process has decoded, by commit: what a commit says never changes."""
_DECODED = 1000


def remembered_step(row: Sequence[Any]) -> StepEntry:
    """The step of a row: runs in one process (a sweep, a notebook) ask for the same again."""
    if row[0] not in _decoded_steps:
        if len(_decoded_steps) >= _DECODED:
            _decoded_steps.clear()
        _decoded_steps[row[0]] = step_entry(row)
    return _decoded_steps[row[0]]


def step_entry(row: Sequence[Any]) -> StepEntry:
    """The step of a row; raises CorruptData."""
    oid, document, metrics, parents, at = row
    record = codec.from_json(Step, document, f"{oid[:12]}:.gitml/step.json")
    above = tuple(ObjectId(one) for one in parents.split())
    return StepEntry(ObjectId(oid), record, _read_metrics(oid, metrics), above, at)


def version_entry(row: Sequence[Any]) -> VersionEntry:
    """The model version of a row; raises CorruptData."""
    oid, document, metrics, author, at = row
    record = codec.from_json(Version, document, f"{oid[:12]}:.gitml/model.json")
    return VersionEntry(ObjectId(oid), record, _read_metrics(oid, metrics), author, at)


def joined(commits: Iterable[ObjectId]) -> str:
    """Commits as one text, in their order."""
    return " ".join(map(str, commits))


def _read_metrics(oid: str, text: str) -> dict[str, float]:
    return codec.metrics_from_json(text, f"{oid[:12]}:.gitml/metrics.json")


def who(line: str) -> str:
    """The name in a raw identity line."""
    return line.partition(" <")[0]
