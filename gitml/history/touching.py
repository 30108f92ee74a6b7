"""The runs that have to do with something: a file, an artifact, a version, a code commit."""

from __future__ import annotations

from gitml.entities.ids import Digest, ObjectId
from gitml.git.odb import Odb
from gitml.history.index import Index
from gitml.history.revs import Found


def runs_with_file(index: Index, path: str) -> set[ObjectId]:
    """The runs of which a step was given a data file, or has it in the closure of its code."""
    return _runs(index, index.steps_given(path))


def runs_with(index: Index, odb: Odb, found: Found, *, digest: Digest | None) -> set[ObjectId]:
    """The runs that made or used what a name means; of an artifact with ``digest`` those bytes.

    Of a code commit, the runs of it and of snapshots on top of it.
    """
    if found.output is not None:
        name = found.output.artifact
        made = [step for _, one, step, _ in index.outputs(name) if digest in (None, one)]
        return _runs(index, [*made, *index.steps_given(name, digest)])
    if found.commit is None:
        return set()
    if found.kind in ("model", "version"):
        version = index.version(found.commit)
        made_by = {version.record.run} if version is not None else set()
        return made_by | set(index.runs_using(found.commit))
    if found.kind == "step":
        return set(index.runs_of_step(found.commit))
    if found.kind in ("run", "pipeline"):
        return {found.commit}
    if found.kind == "source":
        return _runs(index, index.steps_on(found.commit))
    return _of_code(index, odb, found.commit)


def _of_code(index: Index, odb: Odb, commit: ObjectId) -> set[ObjectId]:
    found = set()
    on_top: dict[ObjectId, bool] = {}
    for run, code, is_snapshot in index.codes():
        if is_snapshot and code not in on_top:
            on_top[code] = code in odb and commit in odb.commit(code).parents
        if code == commit or on_top.get(code):
            found.add(run)
    return found


def _runs(index: Index, steps: list[ObjectId]) -> set[ObjectId]:
    return {run for step in dict.fromkeys(steps) for run in index.runs_of_step(step)}
