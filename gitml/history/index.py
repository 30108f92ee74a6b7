"""The index: records read from git once, kept in SQLite for listings and look-ups.

It is derived. Deleting it loses nothing, a stale one heals itself at the next use (the listing of
refs is compared), a damaged one is made again. It lies in the common git directory, so all work
trees share it.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import GitmlError, StorageError
from gitml.frozen import Frozen
from gitml.fs import make_directories
from gitml.git import refs
from gitml.git.odb import Odb, Tag
from gitml.git.process import Git
from gitml.git.refs import Listing, Ref
from gitml.history.entries import (
    Reader,
    RunEntry,
    SavedEntry,
    StepEntry,
    VersionEntry,
    joined,
    read_saved,
    remembered_step,
    run_entry,
    step_entry,
    version_entry,
    who,
)
from gitml.history.intake import (
    Intake,
    NotedTag,
    Said,
    forget,
    prepare,
    take_noted_tags,
    transaction,
)
from gitml.history.record import (
    RUNS,
    SOURCES,
    STAGES,
    TAGS,
    TRACKING,
    VERSIONS,
    seconds_of,
)

if TYPE_CHECKING:
    import sqlite3

    from gitml.git.refstamp import RefStamp

R = TypeVar("R", bound=Frozen)
T = TypeVar("T")

_REMEMBERED = 10_000
"""Steps that are kept as they were read; the next one begins anew."""
_ASKED_ONE_BY_ONE = 5
"""Ids whose neighbours are looked up in the tables; for more, all ids are listed once."""
_LITTLE = 60
"""Rows that are new up to which a server reads them again instead of keeping them: some thirty
moves. Each takes a tenth of a millisecond, and to keep them as long as a hundred of them."""
_PATIENCE = 20.0
"""Seconds to wait for another process that writes the index."""
_TAG_PATTERNS = (f"{TAGS}/*@*", f"{TAGS}/*@*/*", f"{TAGS}/*@alias/*/*")
_TRACKED = tuple(f"{TRACKING}/*/{one.removeprefix('refs/')}" for one in _TAG_PATTERNS)
MODELS = (VERSIONS, STAGES, *_TAG_PATTERNS)
_NARROW = (*MODELS, *_TRACKED)
PATTERNS = (RUNS, SOURCES, *_NARROW)


class Index:
    """The records of a repository by name, by key and by time. Refreshed once, when first used.

    Listings and look-ups hold what a ref names directly. By the id of its commit every record in
    git is found: a clone has the runs and steps behind its versions, and no refs for them.
    ``mark`` stands for the refs as they were at the last look: equal marks mean that none moved.
    ``of_runs`` False leaves out runs and what git remotes have: versions, stages and tags alone, in
    a file of their own, so that nobody waits for the refs of ten thousand runs to be listed. What
    is not ``of_runs`` may be read by a ``listing`` of ``MODELS`` that was begun before.
    """

    def __init__(
        self, git: Git, odb: Odb, *, of_runs: bool = True, listing: Listing | None = None
    ) -> None:
        self._begun = listing
        self._git = git
        self._odb = odb
        self._reader = Reader(odb)
        self._path = git.common / "gitml" / ("index.sqlite" if of_runs else "models.sqlite")
        self._of_runs = of_runs
        self._narrow = False
        self._behind = False
        self._open: sqlite3.Connection | None = None
        self._private = False
        self._steps: dict[str, StepEntry] = {}
        self._ids: list[str] | None = None
        self._asked = 0
        self._turn = RLock()  # threads may ask, one at a time
        self.mark = b""

    @property
    def path(self) -> Path:
        """The file of the index; deleting it loses nothing."""
        return self._path

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextlib.contextmanager
    def narrowed(self) -> Iterator[None]:
        """In the block, versions, stages and tags alone are looked at anew.

        Runs and saved values are those of the last look, or none: for who moves stages, and need
        not wait until the refs of ten thousand runs are listed. Behind it all is looked at again.
        """
        outer, self._narrow = self._narrow, True
        try:
            yield
        finally:
            self._narrow = outer
            self._behind = not outer

    def rebuild(self) -> int:
        """Make the index again from git alone; the number of refs that it was made of."""
        self._discard()
        self._private = False
        return int(self._rows("SELECT count(*) FROM refs")[0][0])

    def refresh(self) -> None:
        """Take in what has changed in the refs since the last look, by anyone."""
        is_new = self._open is None  # then opening takes in everything
        self._use(lambda connection: None if is_new else self._refresh(connection))

    def take(self, made: Ref) -> None:
        """Take in a ref that this process has just made, as `refresh` does.

        The other refs are not looked at: what others have moved meanwhile, the next `refresh` sees.
        """
        self._use(lambda connection: self._take(connection, made))

    def _take(self, connection: sqlite3.Connection, made: Ref) -> None:
        if not (self._git.common / "shallow").exists():
            with transaction(connection):
                listing = self._listed(connection)
                longer = refs.with_line(listing, made) if listing is not None else None
                if longer is not None:
                    mark = refs.mark_of(longer)
                    Intake(connection, self._odb).take(made)
                    connection.execute("UPDATE meta SET value = ? WHERE key = 'listing'", (mark,))
                    connection.execute("DELETE FROM meta WHERE key = 'narrow'")
                    self.mark, self._ids = mark, None
                    return
        self._refresh(connection)

    def _listed(self, connection: sqlite3.Connection) -> bytes | None:
        """The listing of the last look; None where another process has looked since."""
        if connection.execute(_STORED, ("listing",)).fetchone() != (self.mark,):
            return None
        if len(self.mark) != refs.DIGEST_BYTES:
            return self.mark
        # Git takes ten times as long to list tens of thousands.
        rows = connection.execute(f"{_LINES} ORDER BY name")
        listing = "".join([f"{line}\n" for (line,) in rows]).encode()
        return listing if refs.mark_of(listing) == self.mark else None

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
        metric: str | None = None,
        since: float | None = None,
        among: Collection[ObjectId] | None = None,
    ) -> list[RunEntry]:
        """Runs, newest first; ``state`` "failed" means every run that did not complete.

        With ``metric`` those that have it, with ``since`` (seconds) those that ended then or later.
        """
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
        if metric is not None:
            having = "SELECT 1 FROM json_each(metrics, '$.metrics') WHERE key = ?"
            where.append(f"instr(metrics, ?) AND EXISTS ({having})")  # the former is quick
            values += [json.dumps(metric, ensure_ascii=False), metric]
        if since is not None:
            where.append("at >= ?")
            values.append(since)
        if among is not None:
            where.append("id IN (SELECT value FROM json_each(?))")
            values.append(json.dumps([str(one) for one in among]))
        values.append(-1 if limit is None else limit)
        rows = self._rows(
            f"{_RUN} WHERE {' AND '.join(where)} ORDER BY at DESC, id LIMIT ?",
            values,
        )
        return [run_entry(row) for row in rows]

    def tagged_runs(self, tag: str | None = None) -> list[RunEntry]:
        """The runs that were recorded with tags; with one, those that may have it."""
        rows = self._rows(*_having(_RUN, tag))
        return [one for one in map(run_entry, rows) if one.record.tags]

    def tagged_versions(self, tag: str | None = None) -> list[VersionEntry]:
        """The versions whose card has tags; with one, those that may have it."""
        query = "SELECT id, document, metrics, author, at FROM versions"
        return [version_entry(row) for row in self._rows(*_having(query, tag))]

    def tagged_steps(self, tag: str | None = None) -> list[StepEntry]:
        """The steps of which an output was declared with tags; with one, those that may have it."""
        rows = self._rows(*_having(_STEP, tag))
        return [one for one in map(step_entry, rows) if any(o.tags for o in one.record.outputs)]

    def noted_tags(
        self, tip: ObjectId | None, read: Callable[[ObjectId | None], Said], tag: str | None = None
    ) -> list[NotedTag]:
        """What the notes at ``tip`` say of tags: all of it, or of one tag.

        What they said at an earlier tip is remembered. ``read`` gives what counts on each commit
        whose notes have changed since a tip, and with None, or where that tip is not here any more,
        on all of them; the first of its answer tells which.
        """
        self._use(lambda connection: take_noted_tags(connection, tip, read))
        where, values = "", []
        if tag is not None:
            where, values = " WHERE tag = ? OR off = ?", [json.dumps(tag)] * 2
        rows = self._rows(f"SELECT line FROM noted_tags{where}", values)  # noqa: S608 - fixed
        return [
            (ObjectId(commit), *said) for (line,) in rows for commit, *said in [json.loads(line)]
        ]

    def run(self, oid: ObjectId) -> RunEntry | None:
        """The run of this commit."""
        rows = self._rows(f"{_RUN} WHERE id = ?", (str(oid),))
        row = rows[0] if rows else self._reader.find(oid, "run")
        return run_entry(row) if row else None

    def run_named(self, name: str) -> ObjectId | None:
        """The newest run that was given this name."""
        rows = self._rows(
            "SELECT id FROM runs WHERE json_extract(document, '$.name') = ?"
            " ORDER BY at DESC, id LIMIT 1",
            (name,),
        )
        return ObjectId(rows[0][0]) if rows else None

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
        if oid.hex in self._steps:
            return self._steps[oid.hex]
        rows = self._rows(f"{_STEP} WHERE id = ?", (str(oid),))
        row = rows[0] if rows else self._reader.find(oid, "step")
        return self._step(row) if row else None

    def steps(self, oids: Iterable[ObjectId]) -> dict[ObjectId, StepEntry]:
        """The step executions of these commits, those that are one, in one query."""
        wanted = list(dict.fromkeys(oids))
        listed = json.dumps([str(one) for one in wanted if one.hex not in self._steps])
        among = "WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._rows(f"{_STEP} {among}", (listed,))
        found = {row[0]: self._step(row) for row in rows}
        entries = ((one, found.get(one.hex) or self.step(one)) for one in wanted)
        return {oid: entry for oid, entry in entries if entry is not None}

    def _step(self, row: Sequence[Any]) -> StepEntry:
        """The step of a row: a run of many steps asks for each of them several times."""
        if row[0] not in self._steps:
            if len(self._steps) >= _REMEMBERED:
                self._steps.clear()
            self._steps[row[0]] = remembered_step(row)
        return self._steps[row[0]]

    def steps_with_key(self, key: str, limit: int) -> list[StepEntry]:
        """The newest executions with this cache key, newest first."""
        rows = self._rows(f"{_STEP} WHERE key = ? ORDER BY at DESC, id LIMIT ?", (key, limit))
        return [self._step(row) for row in rows]

    def cacheable_steps(
        self, pipeline: str | None = None, name: str | None = None
    ) -> list[tuple[StepEntry, ObjectId | None]]:
        """The executions that have a cache key, newest first, each with the first run that has it.

        One that only a fetched version was made of has no run here.
        """
        run = (
            "SELECT run FROM run_steps JOIN runs ON runs.id = run WHERE run_steps.step = steps.id"
            " ORDER BY runs.at, run LIMIT 1"
        )
        rows = self._rows(
            f"SELECT id, document, metrics, parents, at, ({run}) FROM steps"  # noqa: S608 - fixed
            " WHERE key IS NOT NULL AND (?1 IS NULL OR pipeline = ?1) AND (?2 IS NULL OR name = ?2)"
            " ORDER BY at DESC, id",
            (pipeline, name),
        )
        return [(self._step(row[:5]), ObjectId(row[5]) if row[5] else None) for row in rows]

    def steps_at(
        self, key: str, name: str, inputs: Iterable[ObjectId], limit: int
    ) -> list[StepEntry]:
        """The newest executions with this cache key of this step on outputs of these commits."""
        place = "key = ? AND name = ? AND inputs = ?"
        query = f"{_STEP} WHERE {place} ORDER BY at DESC, id LIMIT ?"
        rows = self._rows(query, (key, name, joined(inputs), limit))
        return [self._step(row) for row in rows]

    def steps_named(self, name: str, pipeline: str | None = None) -> list[StepEntry]:
        """The executions of a step, newest first."""
        rows = self._rows(
            f"{_STEP} WHERE name = ?1 AND (?2 IS NULL OR pipeline = ?2) ORDER BY at DESC, id",
            (name, pipeline),
        )
        return [self._step(row) for row in rows]

    def metric_names(self) -> list[str]:
        """The names of all metrics that runs have."""
        query = "SELECT DISTINCT key FROM runs, json_each(metrics, '$.metrics') ORDER BY key"
        return [name for (name,) in self._rows(query)]

    def codes(self) -> list[tuple[ObjectId, ObjectId, bool]]:
        """Of every run its id, its code commit, and whether that is a snapshot."""
        rows = self._rows(
            "SELECT id, json_extract(document, '$.code.commit'),"
            " json_extract(document, '$.code.snapshot') FROM runs"
        )
        return [(ObjectId(run), ObjectId(code), bool(snapshot)) for run, code, snapshot in rows]

    def steps_given(self, name: str, digest: Digest | None = None) -> list[ObjectId]:
        """The executions that were given or loaded an artifact or data file of this name.

        Without a digest also those that have a file of this path in the closure of their code.
        """
        places = "('inputs', 'loads')" if digest is not None else "('inputs', 'loads', 'files')"
        rows = self._rows(
            "SELECT DISTINCT steps.id FROM steps, json_each(document) AS field,"  # noqa: S608
            " json_each(field.value) AS one WHERE instr(document, ?1)"
            f" AND field.key IN {places} AND ?1 IN (json_quote(json_extract(one.value, '$.path')),"
            " json_quote(json_extract(one.value, '$.artifact')))"
            " AND (?2 IS NULL OR json_extract(one.value, '$.digest') = ?2)",
            (json.dumps(name, ensure_ascii=False), str(digest) if digest is not None else None),
        )
        return [ObjectId(oid) for (oid,) in rows]

    def steps_on(self, commit: ObjectId) -> list[ObjectId]:
        """The executions that stand right on this commit: made from it, or of its code."""
        rows = self._rows("SELECT id FROM steps WHERE instr(parents, ?)", (str(commit),))
        return [ObjectId(oid) for (oid,) in rows]

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

    def makers(self, artifact: str, digest: Digest) -> list[ObjectId]:
        """The steps and sources with these bytes under this artifact's name, oldest first."""
        rows = self._rows(
            "SELECT DISTINCT step, at FROM outputs WHERE artifact = ? AND digest = ?"
            " ORDER BY at, step",
            (artifact, str(digest)),
        )
        saved = [one.id for one in self.saved(artifact) if one.record.digest == digest]
        return [*(ObjectId(step) for step, _ in rows), *saved]

    def artifacts(self) -> list[str]:
        """The names of all artifacts that steps have made."""
        return [name for (name,) in self._rows("SELECT DISTINCT artifact FROM outputs ORDER BY 1")]

    def pipelines(self) -> list[tuple[str, int]]:
        """The pipelines that have run, with their number of runs."""
        rows = self._rows("SELECT pipeline, count(*) FROM runs GROUP BY pipeline ORDER BY pipeline")
        return [(name, int(count)) for name, count in rows]

    def versions(self, model: str | None = None) -> list[VersionEntry]:
        """Model versions, oldest first, deleted ones included."""
        rows = self._rows(f"{_VERSION} WHERE ?1 IS NULL OR model = ?1 ORDER BY at, id", (model,))
        return [version_entry(row) for row in rows]

    def version(self, oid: ObjectId) -> VersionEntry | None:
        """The model version of this commit."""
        rows = self._rows(f"{_VERSION} WHERE id = ?", (str(oid),))
        row = rows[0] if rows else self._reader.find(oid, "version")
        return version_entry(row) if row else None

    def version_models(self) -> dict[ObjectId, str]:
        """The model of every version, by the version's commit."""
        rows = self._rows("SELECT id, model FROM versions")
        return {ObjectId(oid): model for oid, model in rows}

    def runs_using(self, version: ObjectId) -> list[ObjectId]:
        """The runs that pinned a version or gave it to a step, newest first."""
        rows = self._rows(
            "SELECT id FROM runs WHERE id IN (SELECT run FROM run_steps"
            " JOIN steps ON steps.id = step WHERE instr(parents, ?1))"
            " OR (instr(document, ?1) AND json_extract(document, '$.version') IS NOT ?1"
            " AND NOT EXISTS (SELECT 1 FROM json_each(document, '$.others')"
            " WHERE json_extract(value, '$.version') = ?1))"
            " ORDER BY at DESC, id",
            (str(version),),
        )
        return [ObjectId(row[0]) for row in rows]

    def versions_of_run(self, run: ObjectId) -> list[VersionEntry]:
        """The model versions that a run made."""
        rows = self._rows(f"{_VERSION} WHERE json_extract(document, '$.run') = ?", (str(run),))
        return [version_entry(row) for row in rows]

    def unique_length(self, oid: ObjectId, least: int = 7) -> tuple[int, bool]:
        """How many digits of an id, ``least`` or more, no other record's begins with.

        And whether the id is a record's.
        """
        around, is_record = self._around(oid.hex)
        length = least
        for other in around:
            pairs = zip(other, oid.hex, strict=True)
            length = max(length, 1 + next(i for i, (one, two) in enumerate(pairs) if one != two))
        return length, is_record

    def _around(self, oid: str) -> tuple[list[str], bool]:
        """The ids of records nearest to one, below and above, and whether it is one itself.

        Who asks for more than a few has them from a list: the rows of steps hold whole documents,
        and a query that looks for one reads its neighbours' from the disk.
        """
        self._asked += 1
        if self._asked <= _ASKED_ONE_BY_ONE:
            sides = ("<= ? ORDER BY id DESC LIMIT 2", "> ? ORDER BY id LIMIT 1")
            found = (self._rows(f"{one} WHERE id {side}", (oid,)) for one in _IDS for side in sides)
            near = [row[0] for rows in found for row in rows]
            return [one for one in near if one != oid], oid in near
        if self._ids is None:
            self._ids = sorted(row[0] for row in self._rows(" UNION ALL ".join(_IDS)))
        ids, at = self._ids, bisect_left(self._ids, oid)
        is_record = ids[at : at + 1] == [oid]
        return ids[max(at - 1, 0) : at] + ids[at + is_record : at + is_record + 1], is_record

    def saved(self, name: str | None = None) -> list[SavedEntry]:
        """Values saved by hand, newest first."""
        found = []
        damaged = {oid for oid, _ in self.problems()}
        for ref in self.refs_below(f"{SOURCES}/" if name is None else f"{SOURCES}/{name}/"):
            tag = self.tag(ref.target)
            if tag is not None and ref.commit not in damaged:
                record = read_saved(tag, ref.name)
                at = seconds_of(record.at)
                found.append(SavedEntry(ref.commit, record, who(tag.tagger), at))
        return sorted(found, key=lambda one: -one.at)

    def problems(self) -> list[tuple[ObjectId, str]]:
        """Records that refs name and that could not be read, with the reason."""
        rows = self._rows("SELECT id, text FROM problems ORDER BY id")
        return [(ObjectId(oid), text) for oid, text in rows]

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query gives; none for a name that is no UTF-8, as no record's is."""
        try:
            return self._use(lambda connection: connection.execute(query, values).fetchall())
        except UnicodeEncodeError:
            return []

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """What the action gives, with an index that works.

        A damaged file is made again. Where it cannot be written (a folder that is read-only, a full
        disk, another process that holds it for long), this process has an index of its own.
        """
        import sqlite3

        for attempt in range(3):
            try:
                with self._turn:
                    return action(self._connection())
            except sqlite3.DatabaseError as error:
                self.close()
                if attempt == 2:
                    raise GitmlError(
                        f"the index {self._path} cannot be used", hint="`gitml reindex`"
                    ) from error
                if attempt == 1 or _is_out_of_reach(error):
                    self._private = True
                else:
                    self._discard()
        raise AssertionError

    def _discard(self) -> None:
        """Remove the file, with what SQLite keeps beside it: a journal would be played back."""
        self.close()
        for suffix in ("-journal", "-wal", "-shm", ""):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _connection(self) -> sqlite3.Connection:
        """The open index, made or brought up to date when this process first asks."""
        if self._open is None:
            import sqlite3

            # Durably, since the store comes to lie in the same folder. What cannot be made, SQLite
            # says once more in its own words.
            with contextlib.suppress(StorageError):
                make_directories(self._path.parent)
            where = ":memory:" if self._private else self._path
            connection = sqlite3.connect(
                where, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                prepare(connection)
                if self._of_runs or self._private:
                    self._refresh(connection)
                else:
                    connection = self._refreshed_copy(connection)
            except BaseException:
                connection.close()
                raise
            self._open = connection
            self._behind = self._narrow
        elif self._behind and not self._narrow:
            self._behind = False
            self._refresh(self._open)
        return self._open

    def _refreshed_copy(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The index up to date: in memory where little is new, for a flush takes longer than that.

        A server's hook reads what came with the last few pushes again, and writes it now and then.
        """
        import sqlite3

        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(copy)
        before = copy.total_changes
        self._refresh(copy)
        if copy.total_changes - before <= _LITTLE:
            connection.close()
            return copy
        copy.close()
        self._refresh(connection)
        return connection

    @property
    def _patterns(self) -> tuple[str, ...]:
        """Which refs are looked at."""
        if not self._of_runs:
            return MODELS
        return _NARROW if self._narrow else PATTERNS

    def _listing(self, *, is_long: bool) -> tuple[bytes, bytes]:
        """The listing of the refs, and a mark of all that decides what can be read behind them.

        For one that ``is_long`` a second git lists the runs.
        """
        commits = (RUNS,) if is_long and RUNS in self._patterns else ()
        tags = [one for one in self._patterns if one not in commits]
        begun, self._begun = self._begun, None
        listing = mark = begun.read() if begun else refs.read_listing(self._git, tags, commits)
        with contextlib.suppress(OSError):  # `git fetch --unshallow` moves no ref
            mark += (self._git.common / "shallow").read_bytes()
        return listing, refs.mark_of(mark)

    def _stamp(self, mark: bytes) -> RefStamp | None:
        """The stamp of the refs now, for a listing that is long; a short one is as quickly made."""
        if len(mark) != refs.DIGEST_BYTES:
            return None
        from gitml.git.refstamp import RefStamp

        suffix = ".narrow.stamp" if self._narrow else ".stamp"
        return RefStamp.now(self._git, self._patterns, self._path.with_suffix(suffix), mark)

    def _refresh(self, connection: sqlite3.Connection) -> None:
        key, looked_at = ("narrow", _IS_NARROW) if self._narrow else ("listing", "1")
        stored = connection.execute(_STORED, (key,)).fetchone()
        stamp = self._stamp(stored[0]) if stored else None
        if stored and stamp is not None and stamp.is_noted():
            self.mark = stored[0]
            return
        is_long = stored is not None and len(stored[0]) == refs.DIGEST_BYTES
        listing, self.mark = self._listing(is_long=is_long)
        if stored == (self.mark,):
            if stamp is not None:
                stamp.note()
            return
        self._steps.clear()
        self._ids = None
        with transaction(connection):
            if connection.execute(_STORED, (key,)).fetchone() != stored:
                # Another process was here while we waited. Our listing may be older than what it
                # has taken in, and would put that back.
                listing, self.mark = self._listing(is_long=is_long)
            # Line by line, so that only what moved is parsed: there may be tens of thousands.
            listed = {line for line in refs.listing_lines(listing) if line.isascii()}
            lines, of_these = f"{_LINES} WHERE {looked_at}", f"id IN ({_TARGETS} WHERE {looked_at})"
            known = {row[0] for row in connection.execute(lines)}
            broken = {row[0] for row in connection.execute(f"{lines} AND {_IS_BROKEN}")}
            connection.execute(f"DELETE FROM problems WHERE {of_these}")  # noqa: S608 - fixed
            intake = Intake(connection, self._odb)
            moved = refs.parse_lines(sorted(listed - known | listed & broken))
            for ref in moved:
                intake.take(ref)
            gone = {line.partition(" ")[0] for line in known - listed} - {one.name for one in moved}
            connection.executemany("DELETE FROM refs WHERE name = ?", [(name,) for name in gone])
            if gone:
                forget(connection)
            # What the other kind of look has seen is not what is here now.
            connection.execute("DELETE FROM meta WHERE key IN ('listing', 'narrow')")
            connection.execute("INSERT INTO meta VALUES (?, ?)", (key, self.mark))


def _having(query: str, tag: str | None) -> tuple[str, list[str]]:
    """A query for the records whose document has tags, and mentions one; with its values."""
    words = ['"tags"', *([] if tag is None else [json.dumps(tag, ensure_ascii=False)])]
    return f"{query} WHERE {' AND '.join('instr(document, ?)' for _ in words)}", words


def _is_out_of_reach(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is in order for all we know, and only cannot be used now."""
    import sqlite3

    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR),
    }


_LINES = "SELECT name || ' ' || target || ' ' || iif(id = target, '', id) FROM refs"
"""The refs that were taken in, as lines of git's listing."""

_TARGETS = "SELECT id FROM refs"
_IS_BROKEN = "id IN (SELECT id FROM problems)"
_IS_NARROW = (
    f"(name GLOB '{VERSIONS}/*' OR name GLOB '{STAGES}/*' OR name GLOB '{TAGS}/*'"
    f" OR name GLOB '{TRACKING}/*')"
)
"""Which of the refs are among ``_NARROW``."""

_STORED = "SELECT value FROM meta WHERE key = ?"
_RUN = "SELECT id, document, metrics, author, at FROM runs"
_STEP = "SELECT id, document, metrics, parents, at FROM steps"
_VERSION = "SELECT id, document, metrics, author, at FROM versions"
_IDS = ("SELECT id FROM runs", "SELECT id FROM steps", "SELECT id FROM versions")
