"""Walks over records: what something was made of, as data.

Records know what they were made of, so a walk reads each record once and never wanders into the
history of the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Input, Output, Source
from gitml.frozen import Frozen
from gitml.git.odb import Commit, Odb
from gitml.history.entries import StepEntry
from gitml.history.index import Index
from gitml.history.record import covering_steps


class Ancestor(Frozen):
    """A record in a lineage: how it is used below (``role``), what it is, what it was made of.

    ``kind`` is "step", "source", "version", "run" or "missing". A record that stands at several
    places is spelled out at the first; elsewhere ``repeated`` is set and ``made_of`` is empty.
    """

    role: str
    kind: str
    commit: ObjectId
    label: str
    made_of: tuple[Ancestor, ...] = ()
    repeated: bool = False


class _Node:
    """An ancestor whose own ancestry is still being looked up; the next one waits at the end."""

    def __init__(
        self,
        role: str,
        kind: str,
        commit: ObjectId,
        label: str,
        waiting: list[tuple[str, ObjectId]],
    ) -> None:
        self.role = role
        self.kind = kind
        self.commit = commit
        self.label = label
        self.waiting = waiting
        self.made_of: list[Ancestor] = []


class Lineage(Frozen):
    """Questions about ancestry, answered from the index and the commits."""

    index: Index
    odb: Odb

    def sources(
        self,
        commits: Iterable[ObjectId],
        *,
        built: Mapping[ObjectId, tuple[ObjectId, ...]] | None = None,
    ) -> set[ObjectId]:
        """The source commits that these records reach, themselves included.

        ``built`` are the parents of commits that are not in the repository yet; with it, a commit
        that is not there is a source which the same run makes. Without it all of them should be
        there: raises MissingBytes where a shallow clone cuts the records off.
        """
        found: set[ObjectId] = set()
        seen: set[ObjectId] = set()
        todo = list(commits)
        while todo:
            commit = todo.pop()
            if commit in seen:
                continue
            seen.add(commit)
            if built is not None and commit in built:
                todo.extend(built[commit][1:])
                continue
            if built is not None and commit not in self.odb:
                found.add(commit)
                continue
            kind, above = self.above(commit)
            if kind == "source":
                found.add(commit)
            todo.extend(above)
        return found

    def above(self, commit: ObjectId) -> tuple[str, list[ObjectId]]:
        """A record's kind and its parents without the code."""
        entry = self.index.step(commit)
        if entry is not None:
            return "step", list(entry.parents[1:])
        return record_parents(self.odb.commit(commit))

    def of(self, commit: ObjectId, role: str = "") -> Ancestor:
        """The ancestry of a record, inputs below it in the order of its record."""
        seen = {commit}
        # No recursion: a chain of steps may be longer than Python's stack.
        open_nodes = [self._node(role, commit)]
        while True:
            node = open_nodes[-1]
            if node.waiting:
                name, above = node.waiting.pop()
                if above in seen:
                    node.made_of.append(Ancestor(name, *self._named(above), repeated=True))
                else:
                    seen.add(above)
                    open_nodes.append(self._node(name, above))
                continue
            open_nodes.pop()
            done = Ancestor(node.role, node.kind, node.commit, node.label, tuple(node.made_of))
            if not open_nodes:
                return done
            open_nodes[-1].made_of.append(done)

    def _node(self, role: str, commit: ObjectId) -> _Node:
        kind, _, label = self._named(commit)
        return _Node(role, kind, commit, label, self._inputs(kind, commit)[::-1])

    def _named(self, commit: ObjectId) -> tuple[str, ObjectId, str]:
        kind, label = self._label(commit)
        return kind, commit, label

    def _inputs(self, kind: str, commit: ObjectId) -> list[tuple[str, ObjectId]]:
        if kind == "step":
            return _step_inputs(self.index.step(commit))
        if kind == "version":
            version = self.index.version(commit)
            artifacts = version.record.artifacts if version else ()
            return self._covering((one.step, one.commit) for one in artifacts)
        if kind == "run":
            run = self.index.run(commit)
            steps = run.record.steps if run else ()
            return self._covering((one.name, one.commit) for one in steps if one.commit)
        return []

    def _covering(self, steps: Iterable[tuple[str, ObjectId]]) -> list[tuple[str, ObjectId]]:
        """The steps that lead to all of them: the others stand above these."""
        listed = list(steps)
        entries = {commit: self.index.step(commit) for _, commit in listed}
        parents = {commit: entry.parents if entry else () for commit, entry in entries.items()}
        return covering_steps(listed, parents)

    def _label(self, commit: ObjectId) -> tuple[str, str]:
        """What kind of record a commit is, and a line that names it."""
        step = self.index.step(commit)
        if step is not None:
            return "step", f"{step.record.pipeline}.{step.record.name}"
        version = self.index.version(commit)
        if version is not None:
            return "version", version.record.model
        run = self.index.run(commit)
        if run is not None:
            return "run", run.record.pipeline
        data = self.odb.file(commit, ".gitml/source.json")
        if data is not None:
            source = codec.from_json(Source, data, f"{commit.short}:.gitml/source.json")
            return "source", f"{source.kind} {source.digest.short}"
        return "missing", commit.short


def given_output(index: Index, given: Input) -> Output | None:
    """The output that an input was, where a step, a version or a saved value made it."""
    candidates: Iterable[Output] = ()
    if step := index.step(given.commit):
        candidates = step.record.outputs
    elif version := index.version(given.commit):
        candidates = (one.output for one in version.record.artifacts)
    elif given.artifact is not None:
        candidates = (one.record.output() for one in index.saved(given.artifact))
    return next((one for one in candidates if one.digest == given.digest), None)


def record_parents(commit: Commit) -> tuple[str, list[ObjectId]]:
    """The kind that a commit's trailers name, and its parents without the code commit."""
    trailers = dict(commit.trailers())
    kind = trailers.get("Gitml-Kind", "commit")
    if kind in ("step", "run", "version"):
        return kind, list(commit.parents[1:])
    return kind, list(commit.parents) if kind == "fold" else []


def _step_inputs(entry: StepEntry | None) -> list[tuple[str, ObjectId]]:
    if entry is None:
        return []
    given = [(one.name, one.commit) for one in (*entry.record.inputs, *entry.record.loads)]
    return given + [("", one) for one in entry.record.reached]
