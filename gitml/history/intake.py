"""The tables of the index, and how the records behind the refs of git get into them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import CorruptData, MissingBytes
from gitml.git.odb import Odb, parse_tag
from gitml.git.refs import Ref
from gitml.history.entries import Reader, joined, read_saved
from gitml.history.record import RUNS, SOURCES, VERSIONS

if TYPE_CHECKING:
    import sqlite3

    from gitml.entities.records import Note

Said = tuple[bool, Iterable[tuple[ObjectId, "list[Note]"]]]
"""What notes say of commits, and whether that is of all that have notes."""

NotedTag = tuple[ObjectId, "str | None", "str | None", "str | None"]
"""A line of a note about a tag: the record, its artifact, the tag, the tag that it takes off."""

_LAYOUT = 6
_VERSION_TAG = r"refs/tags/[^/@]+@v[1-9][0-9]{0,8}\Z"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE refs (name TEXT PRIMARY KEY, target TEXT, id TEXT) WITHOUT ROWID;
CREATE TABLE runs (id TEXT PRIMARY KEY, pipeline TEXT, state TEXT, at REAL, author TEXT,
                   document TEXT, metrics TEXT) WITHOUT ROWID;
CREATE INDEX runs_at ON runs (at);
CREATE INDEX runs_pipeline ON runs (pipeline, at);
CREATE INDEX runs_name ON runs (json_extract(document, '$.name'), at);
CREATE TABLE steps (id TEXT PRIMARY KEY, key TEXT, pipeline TEXT, name TEXT, at REAL,
                    inputs TEXT, parents TEXT, document TEXT, metrics TEXT) WITHOUT ROWID;
CREATE INDEX steps_key ON steps (key, at);
CREATE INDEX steps_place ON steps (key, name, inputs, at);
CREATE TABLE run_steps (run TEXT, step TEXT, PRIMARY KEY (run, step)) WITHOUT ROWID;
CREATE INDEX run_steps_step ON run_steps (step);
CREATE TABLE outputs (artifact TEXT, digest TEXT, step TEXT, output TEXT, at REAL,
                      PRIMARY KEY (artifact, step, output)) WITHOUT ROWID;
CREATE TABLE versions (id TEXT PRIMARY KEY, model TEXT, at REAL, author TEXT, document TEXT,
                       metrics TEXT) WITHOUT ROWID;
CREATE INDEX versions_run ON versions (json_extract(document, '$.run'));
CREATE TABLE tags (id TEXT PRIMARY KEY, name TEXT, target TEXT, tagger TEXT,
                   message TEXT) WITHOUT ROWID;
CREATE TABLE noted_tags (id TEXT, tag TEXT, off TEXT, line TEXT);
CREATE INDEX noted_tags_id ON noted_tags (id);
CREATE INDEX noted_tags_tag ON noted_tags (tag);
CREATE INDEX noted_tags_off ON noted_tags (off);
CREATE TABLE problems (id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, where there are none or those of another layout."""
    # A power cut must not leave an index that looks whole and lacks rows.
    connection.execute("PRAGMA synchronous = NORMAL")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != _LAYOUT:
        with transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] != _LAYOUT:
                tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
                for (name,) in connection.execute(tables).fetchall():
                    connection.execute(f'DROP TABLE "{name}"')
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_LAYOUT}")


class Intake:
    """Reads the records behind new refs into the tables."""

    def __init__(self, connection: sqlite3.Connection, odb: Odb) -> None:
        self._connection = connection
        self._odb = odb
        self._reader = Reader(odb)

    def take(self, ref: Ref) -> None:
        """Read what the ref names; a record that cannot be read becomes a problem."""
        try:
            if ref.target != ref.commit:
                self._tag(ref.target)
            if ref.name.startswith(RUNS + "/"):
                self._run(ref.commit)
            elif ref.name.startswith(VERSIONS + "/") or (
                re.match(_VERSION_TAG, ref.name) and self._reader.kind(ref.commit) == "version"
            ):
                self._version(ref.commit)
            elif ref.name.startswith(SOURCES + "/"):
                self._saved(ref)
        except (CorruptData, MissingBytes) as error:
            self._insert("problems", ref.commit, error.message)
        self._insert("refs", ref.name, ref.target, ref.commit)

    def _tag(self, oid: ObjectId) -> None:
        found = self._odb.read(oid)
        if found is not None and found[1] == "tag":
            tag = parse_tag(oid, found[2])
            self._insert("tags", oid, tag.name, tag.target, tag.tagger, tag.message)

    def _run(self, oid: ObjectId) -> None:
        record, (_, document, metrics, author, at) = self._reader.run(oid)
        self._insert("runs", oid, record.pipeline, record.state, at, author, document, metrics)
        missing: MissingBytes | None = None
        for step in record.steps:
            if step.commit is not None:
                try:
                    self._step(step.commit)
                    self._insert("run_steps", oid, step.commit)
                except MissingBytes as error:
                    missing = missing or error
        if missing is not None:
            raise missing

    def _step(self, oid: ObjectId) -> None:
        known = self._connection.execute("SELECT 1 FROM steps WHERE id = ?", (str(oid),))
        if known.fetchone():
            return
        record, (_, document, metrics, parents, at) = self._reader.step(oid)
        inputs = joined(one.commit for one in record.inputs)
        own = (record.key, record.pipeline, record.name, at, inputs)
        self._insert("steps", oid, *own, parents, document, metrics)
        for output in record.outputs:
            self._insert("outputs", output.artifact, output.digest, oid, output.name, at)

    def _version(self, oid: ObjectId) -> None:
        record, (_, document, metrics, author, at) = self._reader.version(oid)
        self._insert("versions", oid, record.model, at, author, document, metrics)

    def _saved(self, ref: Ref) -> None:
        found = self._odb.read(ref.target)
        if found is None or found[1] != "tag":
            raise CorruptData(f"{ref.name} is not an annotated tag")
        read_saved(parse_tag(ref.target, found[2]), ref.name)

    def _insert(self, table: str, *values: object) -> None:
        plain = [_storable(one) for one in values]
        marks = ", ".join("?" * len(plain))
        self._connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES ({marks})",  # noqa: S608 - fixed names
            plain,
        )


def take_noted_tags(
    connection: sqlite3.Connection,
    tip: ObjectId | None,
    read: Callable[[ObjectId | None], Said],
) -> None:
    """Have the table hold what the notes at ``tip`` say of tags; see `Index.noted_tags`."""
    stored = connection.execute("SELECT value FROM meta WHERE key = 'notes'").fetchone()
    if stored == (str(tip),):
        return
    since = ObjectId(stored[0]) if stored and stored[0] != str(None) else None
    whole, said = read(since)
    with transaction(connection):
        if whole:
            connection.execute("DELETE FROM noted_tags")
        for commit, lines in said:
            connection.execute("DELETE FROM noted_tags WHERE id = ?", (str(commit),))
            # As JSON in ASCII: what another tool wrote may be no text that SQLite stores.
            rows = [
                [str(commit), json.dumps(one.tag), json.dumps(one.untag), json.dumps(line)]
                for one in lines
                if one.tag is not None or one.untag is not None
                for line in [(str(commit), one.artifact, one.tag, one.untag)]
            ]
            connection.executemany("INSERT INTO noted_tags VALUES (?, ?, ?, ?)", rows)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('notes', ?)", (str(tip),))


def forget(connection: sqlite3.Connection) -> None:
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
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A block whose changes come to be all together, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _storable(value: object) -> object:
    """A value as SQLite takes it: names of people may hold bytes that are no UTF-8."""
    if isinstance(value, (ObjectId, Digest)):
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
