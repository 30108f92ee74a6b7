"""The index: records read from git once, kept in SQLite for listings and look-ups.

It is derived. Deleting it loses nothing, a stale one heals itself at the next use (the listing of
refs is compared), a damaged one is made again. It lies in the common git directory, so all work
trees share it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Run, Saved, Step, Version
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.git import refs
from gitml.git.odb import Odb, Tag, parse_tag
from gitml.git.process import Git
from gitml.git.refs import Ref
from gitml.history.record import RUNS, SOURCES, STAGES, TAGS, VERSIONS, seconds_of

if TYPE_CHECKING:
    import sqlite3

_LAYOUT = 1
PATTERNS = (RUNS, VERSIONS, SOURCES, STAGES, f"{TAGS}/*@*", f"{TAGS}/*@*/*")
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE refs (name TEXT PRIMARY KEY, target TEXT, id TEXT) WITHOUT ROWID;
CREATE TABLE runs (id TEXT PRIMARY KEY, pipeline TEXT, state TEXT, at REAL, author TEXT,
                   document TEXT, metrics TEXT) WITHOUT ROWID;
CREATE INDEX runs_at ON runs (at);
CREATE INDEX runs_pipeline ON runs (pipeline, at);
CREATE TABLE steps (id TEXT PRIMARY KEY, key TEXT, pipeline TEXT, name TEXT, at REAL,
                    parents TEXT, document TEXT, metrics TEXT) WITHOUT ROWID;
CREATE INDEX steps_key ON steps (key);
CREATE TABLE run_steps (run TEXT, step TEXT, PRIMARY KEY (run, step)) WITHOUT ROWID;
CREATE INDEX run_steps_step ON run_steps (step);
CREATE TABLE outputs (artifact TEXT, digest TEXT, step TEXT, output TEXT, at REAL,
                      PRIMARY KEY (artifact, step, output)) WITHOUT ROWID;
CREATE TABLE versions (id TEXT PRIMARY KEY, model TEXT, at REAL, author TEXT, document TEXT,
                       metrics TEXT) WITHOUT ROWID;
CREATE TABLE tags (id TEXT PRIMARY KEY, name TEXT, target TEXT, tagger TEXT,
                   message TEXT) WITHOUT ROWID;
CREATE TABLE problems (id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run: its commit, its record, its metrics, who ran it and when it ended (seconds)."""

    id: ObjectId
    record: Run
    metrics: dict[str, float]
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class StepEntry:
    """A step execution: its commit with parents, its record, its metrics."""

    id: ObjectId
    record: Step
    metrics: dict[str, float]
    parents: tuple[ObjectId, ...]
    at: float


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A model version: its commit, its record, its metrics, who made it and when (seconds)."""

    id: ObjectId
    record: Version
    metrics: dict[str, float]
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class SavedEntry:
    """A value saved by hand: its source commit, its record, who saved it."""

    id: ObjectId
    record: Saved
    author: str
    at: float


class Index:
    """The records of a repository by name, by key and by time. Refreshed once, when first used."""

    def __init__(self, git: Git, odb: Odb) -> None:
        self._git = git
        self._odb = odb
        self._path = git.common / "gitml" / "index.sqlite"
        self._open: sqlite3.Connection | None = None

    @property
    def path(self) -> Path:
        """The file of the index; deleting it loses nothing."""
        return self._path

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def rebuild(self) -> int:
        """Make the index again from git alone; the number of refs that it was made of."""
        self.close()
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return int(self._rows("SELECT count(*) FROM refs")[0][0])

    def refresh(self) -> None:
        """Take in what has changed in the refs since the last look, by anyone."""
        if self._open is None:
            self._connection()
        else:
            self._refresh(self._open)

    def refs(self) -> list[Ref]:
        """All refs of gitml: runs, versions, saved values, stages, tags."""
        rows = self._rows("SELECT name, target, id FROM refs ORDER BY name")
        return [Ref(name, ObjectId(target), ObjectId(oid)) for name, target, oid in rows]

    def refs_below(self, prefix: str) -> list[Ref]:
        """The refs whose names begin with ``prefix``."""
        rows = self._rows(
            "SELECT name, target, id FROM refs WHERE name >= ? AND name < ? ORDER BY name",
            (prefix, prefix + "\U0010ffff"),
        )
        return [Ref(name, ObjectId(target), ObjectId(oid)) for name, target, oid in rows]

    def tag(self, oid: ObjectId) -> Tag | None:
        """An annotated tag of gitml by its object id."""
        query = "SELECT id, target, name, tagger, message FROM tags WHERE id = ?"
        rows = self._rows(query, (str(oid),))
        return Tag(ObjectId(rows[0][0]), ObjectId(rows[0][1]), *rows[0][2:]) if rows else None

    def runs(
        self,
        *,
        limit: int | None = None,
        pipeline: str | None = None,
        state: str | None = None,
        model: str | None = None,
    ) -> list[RunEntry]:
        """Runs, newest first; ``state`` "failed" means every run that did not complete."""
        where, values = ["1"], list[object]()
        if pipeline is not None:
            where.append("pipeline = ?")
            values.append(pipeline)
        if state == "failed":
            where.append("state != 'completed'")
        elif state is not None:
            where.append("state = ?")
            values.append(state)
        if model is not None:
            where.append("json_extract(document, '$.model') = ?")
            values.append(model)
        values.append(-1 if limit is None else limit)
        rows = self._rows(
            "SELECT id, document, metrics, author, at FROM runs"  # noqa: S608 - fixed fragments
            f" WHERE {' AND '.join(where)} ORDER BY at DESC, id LIMIT ?",
            values,
        )
        return [_run_entry(row) for row in rows]

    def run(self, oid: ObjectId) -> RunEntry | None:
        """The run of this commit."""
        rows = self._rows(
            "SELECT id, document, metrics, author, at FROM runs WHERE id = ?", (str(oid),)
        )
        return _run_entry(rows[0]) if rows else None

    def with_prefix(self, prefix: str) -> list[tuple[str, ObjectId]]:
        """What records have ids that begin so: ("run" | "step" | "version", commit)."""
        if not prefix or any(one not in "0123456789abcdef" for one in prefix):
            return []
        found = []
        for kind in ("run", "step", "version"):
            rows = self._rows(
                f"SELECT id FROM {kind}s WHERE id >= ? AND id < ? LIMIT 3",  # noqa: S608
                (prefix, prefix + "g"),
            )
            found += [(kind, ObjectId(row[0])) for row in rows]
        return found

    def step(self, oid: ObjectId) -> StepEntry | None:
        """The step execution of this commit."""
        rows = self._rows(f"{_STEP} WHERE id = ?", (str(oid),))
        return _step_entry(rows[0]) if rows else None

    def steps_with_key(self, key: str) -> list[StepEntry]:
        """The executions with this cache key, newest first."""
        rows = self._rows(f"{_STEP} WHERE key = ? ORDER BY at DESC, id", (key,))
        return [_step_entry(row) for row in rows]

    def steps_named(self, name: str, pipeline: str | None = None) -> list[StepEntry]:
        """The executions of a step, newest first."""
        rows = self._rows(
            f"{_STEP} WHERE name = ?1 AND (?2 IS NULL OR pipeline = ?2) ORDER BY at DESC, id",
            (name, pipeline),
        )
        return [_step_entry(row) for row in rows]

    def runs_of_step(self, step: ObjectId) -> list[ObjectId]:
        """The runs that a step execution belongs to, oldest first."""
        rows = self._rows(
            "SELECT run FROM run_steps JOIN runs ON runs.id = run WHERE step = ? ORDER BY at",
            (str(step),),
        )
        return [ObjectId(row[0]) for row in rows]

    def outputs(self, artifact: str | None = None) -> list[tuple[str, Digest, ObjectId, str]]:
        """Artifact, digest, step commit and output name of every step output, newest run first."""
        rows = self._rows(
            "SELECT artifact, digest, outputs.step, output FROM outputs"
            " JOIN run_steps ON run_steps.step = outputs.step JOIN runs ON runs.id = run_steps.run"
            " WHERE ?1 IS NULL OR artifact = ?1"
            " GROUP BY artifact, outputs.step, output ORDER BY max(runs.at) DESC, outputs.at DESC",
            (artifact,),
        )
        return [(name, Digest.parse(d), ObjectId(step), output) for name, d, step, output in rows]

    def pipelines(self) -> list[tuple[str, int]]:
        """The pipelines that have run, with their number of runs."""
        rows = self._rows("SELECT pipeline, count(*) FROM runs GROUP BY pipeline ORDER BY pipeline")
        return [(name, int(count)) for name, count in rows]

    def versions(self, model: str | None = None) -> list[VersionEntry]:
        """Model versions, oldest first, deleted ones included."""
        rows = self._rows(
            "SELECT id, document, metrics, author, at FROM versions"
            " WHERE ?1 IS NULL OR model = ?1 ORDER BY at, id",
            (model,),
        )
        return [_version_entry(row) for row in rows]

    def version(self, oid: ObjectId) -> VersionEntry | None:
        """The model version of this commit."""
        rows = self._rows(
            "SELECT id, document, metrics, author, at FROM versions WHERE id = ?", (str(oid),)
        )
        return _version_entry(rows[0]) if rows else None

    def saved(self, name: str | None = None) -> list[SavedEntry]:
        """Values saved by hand, newest first."""
        found = []
        for ref in self.refs_below(f"{SOURCES}/{name}/" if name else f"{SOURCES}/"):
            tag = self.tag(ref.target)
            if tag is not None:
                record = codec.from_document(Saved, line_of(tag), ref.name)
                at = seconds_of(record.at)
                found.append(SavedEntry(ref.commit, record, _who(tag.tagger), at))
        return sorted(found, key=lambda one: -one.at)

    def problems(self) -> list[tuple[ObjectId, str]]:
        """Records that refs name and that could not be read, with the reason."""
        rows = self._rows("SELECT id, text FROM problems ORDER BY id")
        return [(ObjectId(oid), text) for oid, text in rows]

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        import sqlite3

        for attempt in (1, 2):
            try:
                return self._connection().execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                ours = isinstance(error, sqlite3.OperationalError) and self._healthy()
                if attempt == 2 or ours:
                    raise GitmlError(
                        f"the index {self._path} cannot be used", hint="`gitml reindex`"
                    ) from error
                self._discard()
        raise AssertionError

    def _healthy(self) -> bool:
        """Whether a complaint of SQLite's is about us, not about a damaged file."""
        import sqlite3

        if self._open is None:
            return False
        with contextlib.suppress(sqlite3.DatabaseError):
            found = self._open.execute("PRAGMA quick_check").fetchone()
            tables = self._open.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return bool(found == ("ok",) and tables[0] > 0)
        return False

    def _discard(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def _connection(self) -> sqlite3.Connection:
        """The open index, made or brought up to date when this process first asks."""
        if self._open is None:
            import sqlite3

            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._path, timeout=20, isolation_level=None)
            except (OSError, sqlite3.OperationalError):
                connection = sqlite3.connect(":memory:", isolation_level=None)
            try:
                self._prepare(connection)
            except sqlite3.OperationalError as error:
                if "readonly" not in str(error):
                    connection.close()
                    raise
                connection = self._in_memory()
            self._open = connection
        return self._open

    def _in_memory(self) -> sqlite3.Connection:
        """An index for this process alone, where the repository cannot be written."""
        import sqlite3

        connection = sqlite3.connect(":memory:", isolation_level=None)
        self._prepare(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != _LAYOUT:
            with _transaction(connection):
                if connection.execute("PRAGMA user_version").fetchone()[0] != _LAYOUT:
                    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
                    for (name,) in connection.execute(tables).fetchall():
                        connection.execute(f'DROP TABLE "{name}"')
                    for statement in _TABLES.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        self._refresh(connection)

    def _refresh(self, connection: sqlite3.Connection) -> None:
        listing = refs.read_listing(self._git, PATTERNS)
        mark = hashlib.sha256(listing).hexdigest()
        query = "SELECT value FROM meta WHERE key = 'listing'"
        if connection.execute(query).fetchone() == (mark,):
            return
        with _transaction(connection):
            current = {ref.name: ref for ref in refs.parse_listing(listing)}
            known = dict(connection.execute("SELECT name, target FROM refs").fetchall())
            gone = [name for name in known if name not in current]
            new = [ref for ref in current.values() if known.get(ref.name) != str(ref.target)]
            intake = _Intake(connection, self._odb)
            for ref in new:
                intake.take(ref)
            connection.executemany("DELETE FROM refs WHERE name = ?", [(name,) for name in gone])
            if gone:
                _forget(connection)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('listing', ?)", (mark,))


class _Intake:
    """Reads the records behind new refs into the tables."""

    def __init__(self, connection: sqlite3.Connection, odb: Odb) -> None:
        self._connection = connection
        self._odb = odb

    def take(self, ref: Ref) -> None:
        """Read what the ref names; a record that cannot be read becomes a problem."""
        try:
            if ref.target != ref.commit:
                self._tag(ref.target)
            if ref.name.startswith(RUNS + "/"):
                self._run(ref.commit)
            elif ref.name.startswith(VERSIONS + "/") or "@v" in ref.name:
                self._version(ref.commit)
        except (CorruptData, MissingBytes) as error:
            self._insert("problems", ref.commit, error.message)
        self._insert("refs", ref.name, ref.target, ref.commit)

    def _tag(self, oid: ObjectId) -> None:
        found = self._odb.read(oid)
        if found is not None and found[1] == "tag":
            tag = parse_tag(oid, found[2])
            self._insert("tags", oid, tag.name, tag.target, tag.tagger, tag.message)

    def _run(self, oid: ObjectId) -> None:
        commit = self._odb.commit(oid)
        record, document = self._record(Run, oid, "run.json")
        self._insert(
            "runs",
            *(oid, record.pipeline, record.state, seconds_of(record.started) + record.duration),
            *(_who(commit.author), document, self._metrics(oid)),
        )
        for step in record.steps:
            if step.commit is not None:
                self._step(step.commit)
                self._insert("run_steps", oid, step.commit)

    def _step(self, oid: ObjectId) -> None:
        known = self._connection.execute("SELECT 1 FROM steps WHERE id = ?", (str(oid),))
        if known.fetchone():
            return
        record, document = self._record(Step, oid, "step.json")
        at = seconds_of(record.started) + record.duration
        parents = " ".join(str(one) for one in self._odb.commit(oid).parents)
        self._insert(
            "steps",
            *(oid, record.key, record.pipeline, record.name, at),
            *(parents, document, self._metrics(oid)),
        )
        for output in record.outputs:
            self._insert("outputs", output.artifact, output.digest, oid, output.name, at)

    def _version(self, oid: ObjectId) -> None:
        commit = self._odb.commit(oid)
        record, document = self._record(Version, oid, "model.json")
        at = seconds_of(record.created)
        self._insert(
            "versions", oid, record.model, at, _who(commit.author), document, self._metrics(oid)
        )

    def _record(self, kind: type[Any], oid: ObjectId, name: str) -> tuple[Any, str]:
        data = self._odb.file(oid, f".gitml/{name}")
        if data is None:
            raise CorruptData(f"{oid.short} has no .gitml/{name}")
        return codec.from_json(kind, data, f"{oid.short}:.gitml/{name}"), data.decode("utf-8")

    def _metrics(self, oid: ObjectId) -> str:
        data = self._odb.file(oid, ".gitml/metrics.json")
        return data.decode("utf-8") if data is not None else '{"format": 1, "metrics": {}}'

    def _insert(self, table: str, *values: object) -> None:
        plain = [str(one) if isinstance(one, (ObjectId, Digest)) else one for one in values]
        marks = ", ".join("?" * len(plain))
        self._connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES ({marks})",  # noqa: S608 - fixed names
            plain,
        )


def line_of(tag: Tag) -> dict[str, Any]:
    """The JSON line of a tag of gitml's; raises CorruptData where it has none."""
    for line in tag.message.splitlines()[1:]:
        if line.startswith("{"):
            return codec.parse(line, tag.name)
    raise CorruptData(f"the tag {tag.name} carries no record")


def _forget(connection: sqlite3.Connection) -> None:
    """Drop the records that no ref names any more: git may have collected them."""
    for statement in (
        "DELETE FROM runs WHERE id NOT IN (SELECT id FROM refs)",
        "DELETE FROM versions WHERE id NOT IN (SELECT id FROM refs)",
        "DELETE FROM tags WHERE id NOT IN (SELECT target FROM refs)",
        "DELETE FROM problems WHERE id NOT IN (SELECT id FROM refs)",
        "DELETE FROM run_steps WHERE run NOT IN (SELECT id FROM runs)",
        "DELETE FROM steps WHERE id NOT IN (SELECT step FROM run_steps)",
        "DELETE FROM outputs WHERE step NOT IN (SELECT id FROM steps)",
    ):
        connection.execute(statement)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


_STEP = "SELECT id, document, metrics, parents, at FROM steps"


def _run_entry(row: Sequence[Any]) -> RunEntry:
    oid, document, metrics, author, at = row
    record = codec.from_json(Run, document, f"{oid[:12]}:.gitml/run.json")
    return RunEntry(ObjectId(oid), record, _read_metrics(oid, metrics), author, at)


def _step_entry(row: Sequence[Any]) -> StepEntry:
    oid, document, metrics, parents, at = row
    record = codec.from_json(Step, document, f"{oid[:12]}:.gitml/step.json")
    above = tuple(ObjectId(one) for one in parents.split())
    return StepEntry(ObjectId(oid), record, _read_metrics(oid, metrics), above, at)


def _version_entry(row: Sequence[Any]) -> VersionEntry:
    oid, document, metrics, author, at = row
    record = codec.from_json(Version, document, f"{oid[:12]}:.gitml/model.json")
    return VersionEntry(ObjectId(oid), record, _read_metrics(oid, metrics), author, at)


def _read_metrics(oid: str, text: str) -> dict[str, float]:
    return codec.metrics_from_json(text, f"{oid[:12]}:.gitml/metrics.json")


def _who(line: str) -> str:
    """The name in a raw identity line."""
    return line.partition(" <")[0]
