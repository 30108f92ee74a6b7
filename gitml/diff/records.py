"""What differs between two runs or model versions: all that decided what came out of them.

A version stands for the run that made it. Nothing is loaded but tables that went in on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gitml.diff.code import CodeDifference, compare_code
from gitml.diff.environment import Installed, compare_environments
from gitml.diff.versions import Row, metric_rows, rows_of
from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Code, Input, Signature, Source
from gitml.errors import GitmlError
from gitml.frozen import Frozen, field
from gitml.git.process import Git
from gitml.handles import Parts, RunHandle, StoredOutput, VersionHandle
from gitml.history.entries import StepEntry
from gitml.history.lineage import given_output

if TYPE_CHECKING:
    from gitml.pipelines.keychange import Change
    from gitml.tables import TableChange


class Given(Frozen):
    """Data that steps were given from outside of their run.

    ``commit`` is its source, or the record that made it; ``size`` is in bytes, None where nothing
    here knows it. ``metadata`` is what its maker knew of it: shape, columns, schema.
    """

    digest: Digest
    kind: str
    commit: ObjectId
    size: int | None
    metadata: Mapping[str, Any]
    stored_as: str
    steps: tuple[str, ...]


class InputChange(Frozen):
    """An input that differs, by its repository-wide name; absent on a side that did not use it."""

    name: str
    old: Given | None
    new: Given | None
    table: TableChange | None = None


class StepChange(Frozen):
    """A step that only one side has ("added", "removed"), or whose cache key differs, and where."""

    name: str
    how: str
    parts: tuple[Change, ...] = ()


class SignatureChange(Frozen):
    """A model that takes or gives something else, and what, in words; "added" where it is new."""

    name: str
    how: str
    lines: tuple[str, ...] = ()


class Sizes(Frozen):
    """Bytes of all outputs on both sides, and how many of the new ones the old ones hold too.

    Shared are whole outputs with one digest, and of the others the chunks that this store has.
    """

    old: int
    new: int
    shared: int


class Side(Frozen):
    """A run or a version as one side of a comparison; ``steps`` are executions in plan order."""

    label: str
    kind: str
    commit: ObjectId
    code: Code
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    steps: Mapping[str, StepEntry]
    outputs: Mapping[str, StoredOutput]
    environment: str | None
    signatures: Mapping[str, Signature] = field(default_factory=dict)


class RecordDifference(Frozen):
    """What differs between two records; ``parameters`` and ``metrics`` also have equal rows.

    ``environment`` is None where one side's is not in this clone.
    """

    old: Side
    new: Side
    parameters: tuple[Row, ...]
    metrics: tuple[Row, ...]
    inputs: tuple[InputChange, ...]
    steps: tuple[StepChange, ...]
    code: CodeDifference
    environment: tuple[Installed, ...] | None
    sizes: Sizes
    signatures: tuple[SignatureChange, ...] = ()

    def __bool__(self) -> bool:
        rows = [row for row in (*self.parameters, *self.metrics) if not row.same]
        made = self.inputs or self.steps or self.code or self.environment
        return bool(rows or made or self.signatures)


def side_of_run(run: RunHandle, label: str) -> Side:
    """A run; its parameters are the pipeline's, and those of steps as ``<step>.<name>``."""
    steps = _steps_of(run)
    given = run.parameters
    own = {
        f"{name}.{key}": value
        for name, step in steps.items()
        for key, value in step.record.parameters.items()
        if given.get(key) != value
    }
    outputs = {f":{one.name}": one for step in run.steps.values() for one in step.outputs.values()}
    return Side(
        label=label,
        kind="run",
        commit=run.id,
        code=run.entry.record.code,
        parameters={**own, **given},
        metrics=run.metrics,
        steps=steps,
        outputs=outputs,
        environment=_environment(run.parts, run.id),
    )


def _steps_of(run: RunHandle) -> dict[str, StepEntry]:
    return {name: one.found for name, one in run.steps.items() if one.found is not None}


def side_of_version(version: VersionHandle) -> Side:
    """A model version: its own record, with the steps and the environment of its run."""
    run = version.run
    artifacts = version.entry.record.artifacts
    if run is not None:
        steps = _steps_of(run)
    else:
        found = version.parts.index.steps(one.commit for one in artifacts)
        steps = {one.step: found[one.commit] for one in artifacts if one.commit in found}
    return Side(
        label=version.label,
        kind="version",
        commit=version.id,
        code=version.entry.record.code,
        parameters=version.parameters,
        metrics=version.metrics,
        steps=steps,
        outputs={f":{name}": one for name, one in version.artifacts.items()},
        environment=_environment(version.parts, version.entry.record.run),
        signatures=version.signatures,
    )


def compare_records(
    git: Git,
    parts: Parts,
    old: Side,
    new: Side,
    *,
    directions: Mapping[str, str],
    tables: bool = True,
) -> RecordDifference:
    """All that differs between two records; without ``tables`` no data is read."""
    closures: dict[str, list[str]] = {}
    for side in (old, new):
        for name, step in side.steps.items():
            closures.setdefault(name, []).extend(file.path for file in step.record.files)
    environment = None
    if old.environment is not None and new.environment is not None:
        environment = compare_environments(old.environment, new.environment)
    return RecordDifference(
        old=old,
        new=new,
        parameters=rows_of([old.parameters, new.parameters]),
        metrics=metric_rows([old.metrics, new.metrics], directions),
        inputs=tuple(_inputs(parts, old, new, tables)),
        steps=compare_steps(old.steps, new.steps),
        code=compare_code(git, old.code, new.code, closures),
        environment=environment,
        sizes=_sizes(parts, old, new),
        signatures=tuple(_signatures(old.signatures, new.signatures)),
    )


def compare_steps(
    old: Mapping[str, StepEntry], new: Mapping[str, StepEntry]
) -> tuple[StepChange, ...]:
    """The steps that differ, in plan order, those that are gone behind."""
    found = []
    for name, step in new.items():
        if name not in old:
            found.append(StepChange(name, "added"))
        elif changed := key_changes(old[name], step):
            found.append(StepChange(name, "changed", changed))
    found += [StepChange(name, "removed") for name in old if name not in new]
    return tuple(found)


def key_changes(old: StepEntry, new: StepEntry) -> tuple[Change, ...]:
    """In which parts of their keys two executions differ.

    A step that is never cached has no parts: of it the id of its code is compared.
    """
    from gitml.pipelines.keychange import Change, changes

    if old.record.parts and new.record.parts:
        return tuple(changes(old.record.parts, new.record.parts))
    return (Change("code", "changed"),) if old.record.code_id != new.record.code_id else ()


def _signatures(
    old: Mapping[str, Signature], new: Mapping[str, Signature]
) -> Iterator[SignatureChange]:
    for name in dict.fromkeys([*new, *old]):
        if name not in old or name not in new:
            yield SignatureChange(name, "added" if name in new else "removed")
            continue
        from gitml.pipelines.signature import changed

        if lines := changed(old[name], new[name]):
            yield SignatureChange(name, "changed", tuple(lines))


# Inputs


def _inputs(parts: Parts, old: Side, new: Side, tables: bool) -> Iterator[InputChange]:
    before, after = _given(parts, old), _given(parts, new)
    for name in dict.fromkeys([*after, *before]):
        left, right = before.get(name), after.get(name)
        if left is not None and right is not None and left.digest == right.digest:
            continue
        table = _table(parts, name, left, right) if tables and left and right else None
        yield InputChange(name, left, right, table)


def _given(parts: Parts, side: Side) -> dict[str, Given]:
    """What the steps of a side were given from outside; the last one of a name counts."""
    own = {step.id for step in side.steps.values()}
    own |= {step.record.reused for step in side.steps.values() if step.record.reused}
    outputs = [out for step in side.steps.values() for out in step.record.outputs]
    made_here = {out.digest for out in outputs}
    names_here = {None, *(out.artifact for out in outputs)}
    found: dict[str, Given] = {}
    for name, step in side.steps.items():
        for one in (*step.record.inputs, *step.record.loads):
            again = one.digest in made_here and one.artifact in names_here
            if one.commit in own or again:  # a cached step has its first producer as parent
                continue
            key = one.artifact or one.name
            users = (*found[key].steps, name) if key in found else (name,)
            found[key] = _described(parts, one, users)
    return found


def _described(parts: Parts, given: Input, steps: tuple[str, ...]) -> Given:
    made = given_output(parts.index, given)
    size = made.size if made is not None else _source_size(parts, given.commit)
    return Given(
        digest=given.digest,
        kind=given.kind,
        commit=given.commit,
        size=size,
        metadata=made.metadata if made is not None else {},
        stored_as=made.materializer if made is not None else "",
        steps=tuple(dict.fromkeys(steps)),
    )


def _source_size(parts: Parts, commit: ObjectId) -> int | None:
    data = parts.odb.file(commit, ".gitml/source.json")
    return (
        codec.from_json(Source, data, f"{commit.short}:.gitml/source.json").size if data else None
    )


def _table(parts: Parts, name: str, old: Given, new: Given) -> TableChange | None:
    """How a table changed that went in; None for what is no table, or whose bytes are not here."""
    from gitml.tables import MAX_BYTES, SUFFIXES, compare_tables

    tabular = name.lower().endswith(SUFFIXES) or all(
        one.stored_as.startswith(("arrow/", "pandas/")) for one in (old, new)
    )
    blobs = all(one.kind == "blob" and (one.size or 0) <= MAX_BYTES for one in (old, new))
    if tabular and blobs:
        with suppress(GitmlError):
            return compare_tables(parts.store.read(old.digest), parts.store.read(new.digest))
    return None


# Environment and sizes


def _environment(parts: Parts, run: ObjectId) -> str | None:
    data = parts.odb.file(run, ".gitml/environment.txt")
    return None if data is None else data.decode("utf-8", "replace")


def _sizes(parts: Parts, old: Side, new: Side) -> Sizes:
    from gitml.store.overlap import shared_bytes

    before = {one.digest: one.size for one in old.outputs.values()}
    after = {one.digest: one.size for one in new.outputs.values()}
    shared = sum(size for digest, size in after.items() if digest in before)
    changed = [digest for digest in after if digest not in before]
    if changed and before:
        shared += shared_bytes(parts.store, before, changed)
    return Sizes(sum(before.values()), sum(after.values()), shared)
