"""Records with their repository: runs, steps, outputs and versions that can load what they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.metadata import all_typed
from gitml.entities.records import Failure, Log, Output, Revocation, RunStep, Signature
from gitml.errors import GitmlError, MissingBytes, NameNotFound, UsageError
from gitml.frozen import Frozen, field
from gitml.git.odb import Odb
from gitml.history.entries import RunEntry, StepEntry, VersionEntry
from gitml.history.index import Index
from gitml.history.models import ModelState
from gitml.history.notes import Notes
from gitml.history.revs import Names

if TYPE_CHECKING:
    from gitml.history.record import Person
    from gitml.history.revocations import Revocations
    from gitml.history.tags import Tags
    from gitml.materializers import Rules
    from gitml.pipelines.series import Series
    from gitml.previews import Preview
    from gitml.store.store import Store

T = TypeVar("T")


class Parts:
    """What handles need of their repository; the store is opened by those that load bytes."""

    def __init__(
        self,
        odb: Odb,
        index: Index,
        notes: Notes,
        open_store: Callable[[], Store],
        find_rules: Callable[[], Rules],
        find_person: Callable[[], Person],
    ) -> None:
        self.odb = odb
        self.index = index
        self.notes = notes
        self._open_store = open_store
        self._find_rules = find_rules
        self._find_person = find_person
        self._names: Names | None = None
        self._names_of = b""
        self._revocations: Revocations | None = None
        self._revocations_of = b""

    @cached_property
    def store(self) -> Store:
        """The bytes."""
        return self._open_store()

    @cached_property
    def rules(self) -> Rules:
        """What the repository allows materializers to do."""
        return self._find_rules()

    @property
    def person(self) -> Person:
        """Who works here."""
        return self._find_person()

    def names(self) -> Names:
        """Every name as it was at the last look at the refs."""
        if self._names is None or self._names_of != self.index.mark:
            self._names = Names.now(self.index, self.odb)
            self._names_of = self.index.mark
        return self._names

    def revoked(self, commit: ObjectId) -> tuple[Revocation, ...]:
        """The revocations that a record descends from; none where a shallow clone cuts it off."""
        found = self._every_revocation()
        try:
            return found.on(commit) if found is not None else ()
        except MissingBytes:
            return ()

    def revoked_bytes(self, digest: Digest) -> tuple[Revocation, ...]:
        """The revocations of these very bytes."""
        found = self._every_revocation()
        return found.of(digest) if found is not None else ()

    def _every_revocation(self) -> Revocations | None:
        """The revocations as they were at the last look at the refs; mostly there are none."""
        names = self.names()
        if self._revocations_of != self.index.mark:
            self._revocations_of, self._revocations = self.index.mark, None
            if any("@revoked/" in ref.name for ref in names.refs):
                from gitml.history.revocations import Revocations

                self._revocations = Revocations(self.index, self.odb)
        return self._revocations


class Tagged:
    """What carries tags: a run, a version, an artifact (all that has the same name and bytes)."""

    parts: Parts

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that it carries now, in order."""
        return self._carried().now()

    def add_tags(self, *tags: str) -> tuple[str, ...]:
        """Put tags on it; those that were not there. The record stays as it is.

        Raises InvalidName for what cannot be a tag.
        """
        return self._carried().add(tags, self.parts.person)

    def remove_tags(self, *tags: str) -> None:
        """Take tags off it; raises NameNotFound where one is not there, and takes none off."""
        self._carried().remove(tags, self.parts.person)

    def _carried(self) -> Tags:
        raise NotImplementedError


class StoredOutput(Frozen, Tagged):
    """Bytes with a name: an output of a step, an artifact of a version, a saved value."""

    record: Output
    commit: ObjectId
    parts: Parts = field(repr=False, compare=False)

    def __repr__(self) -> str:
        label = f"{self.name}@{self.digest.short}"
        return f"<Artifact {label}: {self.record.type}, {self.size:,} bytes>"

    @property
    def name(self) -> str:
        """The artifact's repository-wide name."""
        return self.record.artifact

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return self.record.digest

    @property
    def size(self) -> int:
        """Bytes."""
        return self.record.size

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of the value (shape, columns, schema), was logged of it and noted later."""
        return {**self.record.metadata, **self.said}

    @property
    def said(self) -> Mapping[str, Any]:
        """What its step logged of it, and what was noted later on these bytes."""
        noted = self.parts.notes.values_on(self._makers(), self.name)
        return all_typed({**(self.record.logged or {}), **noted})

    def _makers(self) -> tuple[ObjectId, ...]:
        """The records that made these bytes under this name, its own first."""
        others = self.parts.index.makers(self.name, self.digest)
        return tuple(dict.fromkeys([self.commit, *others]))

    def _carried(self) -> Tags:
        from gitml.history.tags import Tags

        return Tags(self.parts.notes, self._makers(), self.record.tags or (), self.name)

    def load(self, wanted: type[T] | None = None) -> Any:
        """The value, its bytes verified; as a ``Path`` or ``bytes`` where that is wanted.

        Raises CorruptData and MissingBytes, never gives wrong bytes.
        """
        from gitml import materializers
        from gitml.pipelines.content import StoredContent

        content = StoredContent(self.parts.store, self.record)
        name = self.record.materializer.partition("/")[0]
        return materializers.load_value(content, name, wanted, self._rules())

    def copy_to(self, target: Path) -> None:
        """Write the bytes, verified before the name appears, to a file or folder."""
        self.parts.store.copy_to(self.record.digest, target)

    def preview(self) -> Preview:
        """The first of what it holds: no value is loaded, and no code of its author runs.

        ``print`` shows it. Raises CorruptData for bytes that are not those of the digest.
        """
        from gitml import previews

        return previews.preview(self.parts.store, self.record)

    def _repr_html_(self) -> str:
        """The artifact as a notebook shows it: its preview, with a small picture of an image."""
        from gitml import previews
        from gitml.previews.preview import harmless

        title = f"{self.name}@{self.digest.short} ({self.record.type})"
        try:
            found = previews.preview(self.parts.store, self.record, picture=True)
        except GitmlError as error:
            found = previews.Preview("unknown", notes=(error.message,))
        return found.html(harmless(title))

    def _rules(self) -> Rules:
        """Types that the step's recorded code defines are trusted when its output is loaded."""
        import dataclasses

        entry = self.parts.index.step(self.commit)
        if entry is None:
            return self.parts.rules
        modules = {_module(file.path) for file in entry.record.files}
        if entry.record.cell is not None:
            modules.add("__main__")  # what a notebook's cells define
        return dataclasses.replace(self.parts.rules, trusted_modules=frozenset(modules))


class StepHandle(Frozen):
    """A step as it stands in a run: its state, and its record where it finished."""

    entry: RunStep
    found: StepEntry | None
    parts: Parts = field(repr=False, compare=False)
    run: ObjectId | None = None

    def __repr__(self) -> str:
        return f"<Step {self.name}: {self.status}>"

    @property
    def name(self) -> str:
        """The name of the step in the run."""
        return self.entry.name

    @property
    def status(self) -> str:
        """One of "completed", "cached", "taken", "failed", "interrupted", "skipped"."""
        return self.entry.state

    @property
    def metrics(self) -> Mapping[str, float]:
        """The numbers that it logged; of a step that did not finish, the run has them."""
        return self.found.metrics if self.found else {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What else it logged, with what was noted later over it."""
        if self.found is None:
            return all_typed(self.entry.metadata or {})
        noted = self.parts.notes.values(self.found.id)
        return all_typed({**self.found.record.metadata, **noted})

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters, defaults included."""
        return self.found.record.parameters if self.found else {}

    @property
    def outputs(self) -> dict[str, StoredOutput]:
        """Its outputs by their names within the step.

        Of a run without a pipeline that failed they are what it had saved by then.
        """
        commit = self.found.id if self.found is not None else self.run
        made = self.found.record.outputs if self.found is not None else self.entry.outputs
        if commit is None:
            return {}
        return {one.name: StoredOutput(one, commit, self.parts) for one in made or ()}

    @property
    def kept(self) -> int:
        """How many results a mapped step had when one failed, which the next run can take over."""
        items = self.entry.items
        return int(items.metadata.get("rows", 0)) if items is not None else 0

    @property
    def series(self) -> dict[str, Series]:
        """What it logged with a `step`, by metric; also of a step that did not finish."""
        from gitml.materializers import arrow
        from gitml.pipelines import series

        kept = self.entry.series
        if self.found is not None:
            kept = series.output_of(self.found.record.outputs)
        return series.read(arrow.read(self.parts.store.read(kept.digest))) if kept else {}

    def log(self) -> str:
        """What it printed; empty where it printed nothing."""
        log: Log | None = self.entry.log or (self.found.record.log if self.found else None)
        return self.parts.store.read(log.digest).decode("utf-8", "replace") if log else ""


class RecordHandle(Frozen, Tagged):
    """What a run and a model version have in common."""

    entry: RunEntry | VersionEntry
    parts: Parts = field(repr=False, compare=False)

    @property
    def id(self) -> ObjectId:
        """The commit of the record; ``id.short`` is how a run is written."""
        return self.entry.id

    @property
    def revoked(self) -> tuple[Revocation, ...]:
        """The revocations that it descends from: nothing may stand on it."""
        return self.parts.revoked(self.id)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the pipeline; of a version also those of steps, ``<step>.<name>``."""
        return self.entry.record.parameters

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of all steps of the run."""
        return self.entry.metrics

    def _own_tags(self) -> tuple[str, ...]:
        """The tags that it was recorded with."""
        raise NotImplementedError

    def _carried(self) -> Tags:
        from gitml.history.tags import Tags

        return Tags(self.parts.notes, (self.id,), self._own_tags())


class RunHandle(RecordHandle):
    """A run that is recorded."""

    entry: RunEntry

    def __repr__(self) -> str:
        count = len(self.entry.record.steps)
        steps = f"{count} step{'s' * (count != 1)}"
        return f"<Run {self.pipeline} {self.id.short}: {self.status}, {steps}>"

    @property
    def pipeline(self) -> str:
        """The name of the pipeline."""
        return self.entry.record.pipeline

    @property
    def name(self) -> str | None:
        """The name that it was given; others may have the same."""
        return self.entry.record.name

    @property
    def status(self) -> str:
        """One of "completed", "failed", "interrupted"."""
        return self.entry.record.state

    @property
    def failure(self) -> Failure | None:
        """Why it failed."""
        return self.entry.record.failure

    @cached_property
    def steps(self) -> dict[str, StepHandle]:
        """The steps in plan order, by name."""
        steps = self.entry.record.steps
        found = self.parts.index.steps(one.commit for one in steps if one.commit is not None)
        return {
            one.name: StepHandle(
                one, found.get(one.commit) if one.commit else None, self.parts, self.id
            )
            for one in steps
        }

    @cached_property
    def model_versions(self) -> dict[str, VersionHandle]:
        """The versions that the run made, or resolved to when all steps of theirs were cached.

        They are by model: that of the pipeline first, then those of single steps.
        """
        record, index = self.entry.record, self.parts.index
        resolved = {record.model: record.version} if record.model is not None else {}
        resolved |= {one.model: one.version for one in record.others or ()}
        if not resolved:
            return {}
        made = {one.record.model: one for one in index.versions_of_run(self.entry.id)}
        found = {
            model: index.version(version) if version is not None else made.get(model)
            for model, version in resolved.items()
        }
        return {
            model: VersionHandle(one, self.parts) for model, one in found.items() if one is not None
        }

    @property
    def model_version(self) -> VersionHandle | None:
        """The version of the pipeline's model, or else of the first model that a step names."""
        record, versions = self.entry.record, self.model_versions
        return versions.get(record.model) if record.model else next(iter(versions.values()), None)

    @property
    def made_versions(self) -> list[VersionHandle]:
        """Those of ``model_versions`` that are of this run's own making."""
        found = self.model_versions.values()
        return [one for one in found if one.entry.record.run == self.id]

    @property
    def made_version(self) -> bool:
        """Whether ``model_version`` is of this run's own making."""
        version = self.model_version
        return version is not None and version.entry.record.run == self.id

    def metadata(self) -> dict[str, Any]:
        """What was noted on the run later."""
        return all_typed(self.parts.notes.values(self.id))

    def _own_tags(self) -> tuple[str, ...]:
        return self.entry.record.tags or ()

    def _repr_html_(self) -> str:
        """The run as a notebook shows it: its steps with their states, metrics and outputs."""
        from gitml.htmltable import table

        rows = [
            (one.name, one.status, _settings(one.metrics), ", ".join(one.outputs))
            for one in self.steps.values()
        ]
        labels = (one.label for one in self.model_versions.values())
        title = ", ".join([f"{self.pipeline} {self.id.short}: {self.status}", *labels])
        return table(("step", "state", "metrics", "outputs"), rows, title)


class VersionHandle(RecordHandle):
    """A model version that is recorded."""

    entry: VersionEntry

    def __repr__(self) -> str:
        held = f" [{', '.join(self.stages)}]" if self.stages else ""
        return f"<Version {self.label}{held}>"

    @cached_property
    def state(self) -> ModelState:
        """The model with all its versions and stages, as they were when this was first asked."""
        return self.parts.names().model(self.entry.record.model)

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.entry.record.model

    @property
    def number(self) -> int | None:
        """Its number, None for a draft."""
        return self.state.lowest.get(self.id)

    @property
    def label(self) -> str:
        """How it is written: ``clf@v3``."""
        return self.state.label(self.id)

    @property
    def stages(self) -> list[str]:
        """The stages that it holds now."""
        return self.state.held(self.id)

    @property
    def aliases(self) -> list[str]:
        """The aliases that mean it now."""
        return self.state.aliases_of(self.id)

    @property
    def archived(self) -> bool:
        """Whether it held a stage once and holds none now."""
        return self.state.archived(self.id)

    @property
    def artifacts(self) -> dict[str, StoredOutput]:
        """Its artifacts by name."""
        return {
            one.name: StoredOutput(one.output, one.commit, self.parts)
            for one in self.entry.record.artifacts
        }

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """What its models take and give, by artifact; only of models that say it themselves."""
        return self.entry.record.signatures or {}

    def check(self, table: Any, artifact: str | None = None) -> None:
        """Raise UnsupportedValue unless a model of this version takes a frame, table or array.

        ``artifact`` is the model, where the version has several. More columns are no harm, numbers
        are numbers of any width. Raises UsageError where no signature is recorded.
        """
        from gitml.pipelines.signature import check

        known = self.signatures
        if artifact is not None and artifact not in self.artifacts:
            raise NameNotFound.among(f"artifact of {self.label}", artifact, self.artifacts)
        name = artifact or next(iter(known), "")
        if name not in known:
            raise UsageError(
                f"{self.label} has no signature to check a table with",
                hint="it is recorded of estimators that know their features",
            )
        if artifact is None and len(known) > 1:
            raise UsageError(
                f"{self.label} has several models: {', '.join(known)}",
                hint=f"`check(table, {name!r})`",
            )
        check(known[name], table, f"{self.label}:{name}")

    @property
    def card(self) -> dict[str, Any]:
        """What its makers say of it: "description", "license", "limitations", …."""
        record = self.entry.record
        said = {"description": record.description} if record.description else {}
        return {**said, **(record.card or {})}

    @property
    def card_text(self) -> str:
        """Its model card as Markdown, as it was when it was made; raises MissingBytes."""
        return (self.parts.odb.file(self.id, ".gitml/README.md") or b"").decode("utf-8", "replace")

    @property
    def run(self) -> RunHandle | None:
        """The run that made it."""
        entry = self.parts.index.run(self.entry.record.run)
        return RunHandle(entry, self.parts) if entry else None

    def metadata(self) -> dict[str, Any]:
        """What its steps logged, with what was noted later over it."""
        return all_typed({**self.entry.record.metadata, **self.parts.notes.values(self.id)})

    def _own_tags(self) -> tuple[str, ...]:
        from gitml.history.tags import card_tags

        return card_tags(self.entry.record.card)

    def load(self, name: str, wanted: type[T] | None = None) -> Any:
        """The value of an artifact; raises NameNotFound with the nearest names."""
        if name not in self.artifacts:
            raise NameNotFound.among(f"artifact of {self.label}", name, self.artifacts)
        return self.artifacts[name].load(wanted)

    def _repr_html_(self) -> str:
        """The version as a notebook shows it: stages, metrics, parameters, artifacts."""
        from gitml.htmltable import table

        title = ", ".join([self.label, *self.stages, *(f"@{one}" for one in self.aliases)])
        rows: list[tuple[Any, ...]] = [("metric", *one) for one in sorted(self.metrics.items())]
        rows += [("parameter", *one) for one in sorted(self.parameters.items())]
        rows += [("metadata", *one) for one in sorted(self.metadata().items())]
        rows += [("tag", one, "") for one in self.tags]
        rows += [("artifact", name, one.digest.short) for name, one in self.artifacts.items()]
        return table(("", "name", "value"), rows, title)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _module(path: str) -> str:
    """The dotted name that a repository file has as a module."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
