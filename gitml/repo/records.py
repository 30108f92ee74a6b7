"""What the records say: names, runs, versions, artifacts, lineage, and metadata on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml.entities import codec
from gitml.entities.ids import ObjectId, check_name, check_twins
from gitml.entities.metadata import all_typed, recorded
from gitml.entities.records import Output, RunStep, Saved, Source
from gitml.errors import NameNotFound, UsageError
from gitml.frozen import Frozen
from gitml.git.odb import Commit
from gitml.git.process import GitFailed
from gitml.git.refs import Change
from gitml.handles import RunHandle, StepHandle, StoredOutput, VersionHandle
from gitml.history.models import ModelState
from gitml.history.record import Person, Recorder, saved_ref, timestamp
from gitml.history.revs import Found
from gitml.listing import Listing
from gitml.repo.opened import Opened

if TYPE_CHECKING:
    from gitml.diff.lineages import StepPair
    from gitml.diff.versions import Comparison
    from gitml.history.lineage import Ancestor
    from gitml.history.live import Going
    from gitml.history.tags import Place


def with_article(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


class ArtifactEntry(Frozen):
    """A version of an artifact: its bytes, the step or source that made it, and when (seconds)."""

    output: Output
    commit: ObjectId
    made_by: str
    at: float


class Records(Opened):
    """The part of the facade that reads records, and adds to them what needs no run."""

    def resolve(self, text: str) -> Found:
        """What a name means; raises NameNotFound, AmbiguousName."""
        return self.names.resolve(text)

    def step_of(self, commit: ObjectId) -> StepHandle:
        """The step execution of a commit; raises NameNotFound."""
        entry = self.index.step(commit)
        if entry is None:
            raise NameNotFound(f"no step is called {commit.short}", hint="`gitml log`")
        return StepHandle(RunStep(entry.record.name, "completed", commit), entry, self.parts)

    def source_of(self, commit: ObjectId) -> Source:
        """The record of a source; raises NameNotFound."""
        data = self.odb.file(commit, ".gitml/source.json")
        if data is None:
            raise NameNotFound(f"no source is called {commit.short}")
        return codec.from_json(Source, data, f"{commit.short}:.gitml/source.json")

    def commit_of(self, commit: ObjectId) -> Commit:
        """A commit as git has it; raises MissingBytes."""
        return self.odb.commit(commit)

    def kind_of(self, commit: ObjectId) -> str:
        """What a commit is: "run", "step", "version", "source", "commit" … by its trailer."""
        for kind, _ in self.index.with_prefix(commit.hex):
            return kind
        return dict(self.odb.commit(commit).trailers()).get("Gitml-Kind", "commit")

    def short(self, oid: ObjectId) -> str:
        """The shortest way to write an id: seven digits, more where those mean two things."""
        length, is_record = self.index.unique_length(oid)
        if is_record:
            return oid.hex[:length]
        while length < 40 and self.odb.resolve(oid.hex[:length]) not in (oid, None):
            length += 1
        return oid.hex[:length]

    def lineage(self, text: str) -> Ancestor:
        """What a name's record was made of, all the way up."""
        from gitml.history.lineage import Lineage

        found = self.resolve(text)
        if found.commit is None:
            raise NameNotFound(f"{text} has no version")
        return Lineage(self.index, self.odb).of(found.commit, found.name)

    def compare_lineages(self, old: str, new: str, step: str | None = None) -> list[StepPair]:
        """The steps of two lineages beside each other, each behind what it was made of.

        With ``step`` that one alone; raises NameNotFound where a side has no such step.
        """
        from gitml.diff.lineages import compare_lineages

        pairs = compare_lineages(self.index, self.lineage(old), self.lineage(new))
        if step is None:
            return list(pairs)
        for text, side in ((old, "old"), (new, "new")):
            known = [one.name for one in pairs if getattr(one, side) is not None]
            if step not in known:
                raise NameNotFound.among(f"step in the lineage of {text}", step, known)
        return [one for one in pairs if one.name == step]

    def going(
        self,
        name: str | None = None,
        *,
        pipeline: str | None = None,
        model: str | None = None,
        tag: str | None = None,
    ) -> list[Going]:
        """The runs that go on now in processes of this machine, the newest first.

        With a name those of a pipeline, or that were given it; with ``pipeline``, ``model`` and
        ``tag`` as in `runs`.
        """
        folder = self.git.common / "gitml" / "live"
        if not folder.is_dir() or not any(folder.iterdir()):
            return []
        from gitml.history.live import going

        return [
            one
            for one in going(folder)
            if name in (None, one.pipeline, one.name)
            and pipeline in (None, one.pipeline)
            and model in (None, *one.models)
            and tag in (None, *one.tags)
        ]

    def ended(self, run: Going) -> RunHandle | None:
        """The record of a run that went on; None where it left none."""
        self.index.refresh()
        runs = self.runs(pipeline=run.pipeline, limit=20)
        return next((one for one in runs if one.entry.record.started == run.started), None)

    def runs(
        self,
        *,
        limit: int | None = None,
        pipeline: str | None = None,
        state: str | None = None,
        model: str | None = None,
        metric: str | None = None,
        since: float | None = None,
        tag: str | None = None,
        about: str | None = None,
        here: Path | None = None,
    ) -> Listing[RunHandle]:
        """Runs, newest first, also as a table; ``state`` "failed" means all but the completed.

        ``metric`` leaves those that have it, ``since`` (seconds) those that ended then or later,
        ``tag`` those that carry it, ``about`` those that made or used something: a name as
        everywhere, or a path from ``here``.
        """
        among = None if about is None else self._runs_about(about, here or Path.cwd())
        if tag is not None:
            carriers = {place.commit for place in self._with_tag(tag) if place.artifact is None}
            among = carriers if among is None else among & carriers
        entries = self.index.runs(
            limit=limit,
            pipeline=pipeline,
            state=state,
            model=model,
            metric=metric,
            since=since,
            among=among,
        )
        if metric is not None and not entries and metric not in self.index.metric_names():
            raise NameNotFound.among("metric", metric, self.index.metric_names())
        return Listing(RunHandle(one, self.parts) for one in entries)

    def _with_tag(self, tag: str) -> set[Place]:
        """All that carries a tag; raises NameNotFound where nothing does."""
        from gitml.history.tags import tagged

        found = {place for _, place in tagged(self.index, self.parts.notes, tag)}
        if not found:
            known = {name for name, _ in tagged(self.index, self.parts.notes)}
            raise NameNotFound.among("tag", tag, sorted(known))
        return found

    def output_named(self, commit: ObjectId, artifact: str) -> Output | None:
        """The output of a record by its repository-wide name, None where it has none."""
        entry = self.index.step(commit)
        outputs = entry.record.outputs if entry is not None else ()
        saved = [one.record.output() for one in self.index.saved(artifact) if one.id == commit]
        return next((one for one in (*outputs, *saved) if one.artifact == artifact), None)

    def _runs_about(self, text: str, here: Path) -> set[ObjectId]:
        """The runs that made or used what a name or a path means; raises NameNotFound."""
        from gitml.history import touching

        path = os.path.relpath((here / text).absolute(), self.root) if self.git.root else text
        there = any(os.path.lexists(here / one) for one in (text, f"{text}.gitml"))
        if there and not path.startswith(".."):
            return touching.runs_with_file(self.index, path)
        try:
            found = self.resolve(text)
        except NameNotFound:
            if gone := touching.runs_with_file(self.index, path):  # a file that there was once
                return gone
            raise
        digest = found.output.digest if found.output is not None and "@" in text else None
        if found.kind in ("model", "pipeline"):
            field = {found.kind: found.name}
            return {one.id for one in self.index.runs(**field)}  # type: ignore[arg-type]
        return touching.runs_with(self.index, self.odb, found, digest=digest)

    def moment_of(self, text: str) -> float:
        """A point in time as git understands it (``2 weeks ago``, ``2026-11-01``), in seconds.

        Raises UsageError for what means no moment.
        """
        try:
            return self.git.expiry(text)
        except GitFailed:
            raise UsageError(
                f"`{text}` is no date", hint="`gitml log --since '2 weeks ago'`"
            ) from None

    def run_of(self, commit: ObjectId) -> RunHandle:
        """The run of a commit; raises NameNotFound."""
        entry = self.index.run(commit)
        if entry is None:
            raise NameNotFound(f"no run is called {commit.short}", hint="`gitml log`")
        return RunHandle(entry, self.parts)

    def artifacts(
        self, name: str | None = None, *, run: str | None = None, tag: str | None = None
    ) -> list[ArtifactEntry]:
        """Artifacts, newest first: each name with each of its digests once.

        ``run`` leaves those of a run, ``tag`` those that carry it.
        """
        wanted = {one.id for one in self._run_steps(run)} if run is not None else None
        seen: set[tuple[str, str]] = set()
        entries = []
        for artifact, digest, step, output in self.index.outputs(name):
            if (artifact, digest.hex) in seen or (wanted is not None and step not in wanted):
                continue
            seen.add((artifact, digest.hex))
            entry = self.index.step(step)
            if entry is not None:
                made = next(one for one in entry.record.outputs if one.name == output)
                by = f"{entry.record.pipeline}.{entry.record.name}"
                entries.append(ArtifactEntry(made, step, by, entry.at))
        by_hand = self.index.saved(name) if run is None else []
        entries += [
            ArtifactEntry(one.record.output(), one.id, "", one.at)
            for one in by_hand
            if (one.record.name, one.record.digest.hex) not in seen
        ]
        if name is not None and not entries:
            raise NameNotFound.among("artifact", name, self.names.artifact_names())
        if tag is None:
            return entries
        carriers = [(one.commit, one.artifact) for one in self._with_tag(tag) if one.artifact]
        outputs = [self.output_named(*one) for one in carriers]
        kept = {(one.artifact, one.digest) for one in outputs if one is not None}
        return [one for one in entries if (one.output.artifact, one.output.digest) in kept]

    def _run_steps(self, run: str) -> list[Any]:
        found = self.resolve(run)
        if found.kind not in ("run", "pipeline") or found.commit is None:
            raise UsageError(
                f"{run} is {with_article(found.kind)}, not a run", hint="`gitml log` lists runs"
            )
        steps = self.run_of(found.commit).steps.values()
        return [one.found for one in steps if one.found is not None]

    def artifact(self, text: str) -> StoredOutput:
        """The bytes that a name means; raises NameNotFound where it means no artifact.

        A bare name is an artifact's here, also where a pipeline or a model shares it.
        """
        bare = not any(mark in text for mark in "@/") and text in self.names.artifact_names()
        found = self.resolve(f"artifact/{text}" if bare else text)
        if found.output is None or found.commit is None:
            known = ""
            if found.kind in ("model", "version") and found.commit is not None:
                version = self.version_of(found.commit)
                known = ", ".join(f"`{version.label}:{one}`" for one in version.artifacts)
            raise UsageError(
                f"{text} is {with_article(found.kind)}, not an artifact",
                hint=f"its artifacts: {known}" if known else None,
            )
        return StoredOutput(found.output, found.commit, self.parts)

    def save(self, value: Any, name: str) -> StoredOutput:
        """A value stored by hand under an artifact's name; what loads it gets it as a source.

        ``value`` may be a ``Path``: then the file or folder itself is stored. Saving the same bytes
        again changes nothing.
        """
        import time

        from gitml.pipelines.storing import store_value

        check_twins([check_name(name, "artifact")], self.names.artifact_names(), "artifact")
        self.config  # noqa: B018 - without gitml.toml there is no project to save into
        now = time.time()
        recorder = Recorder(self.git, self.odb, self._person or Person())
        with self.store.writer() as writer:
            output = store_value(writer, value, name=name, artifact=name, rules=self._rules)
            record = Saved(
                name=name,
                digest=output.digest,
                kind=output.kind,
                size=output.size,
                materializer=output.materializer,
                type=output.type,
                at=timestamp(now),
                metadata=output.metadata,
            )
            writer.commit()
            source, tag = recorder.saved(record, now)
            ref = saved_ref(name, output.digest)
            if not any(one.name == ref for one in self.index.refs_below(ref)):
                recorder.publish_few([Change(ref, tag, None)], f"save {name}")
                self.index.refresh()
        return StoredOutput(output, source, self.parts)

    def models(self, *, tag: str | None = None) -> list[ModelState]:
        """All models, or those of which a version carries a tag."""
        names = self.names
        models = [names.model(one) for one in names.models]
        if tag is None:
            return models
        carriers = {place.commit for place in self._with_tag(tag)}
        return [one for one in models if not carriers.isdisjoint(one.visible)]

    def model(self, name: str) -> ModelState:
        """A model; raises NameNotFound with the nearest ones."""
        return self.names.model(name)

    def versions(self, model: str) -> Listing[VersionHandle]:
        """The versions of a model that are not deleted, also as a table: by number, then drafts."""
        state = self.names.model(model)
        return Listing(self.version_of(commit) for commit in state.visible)

    def version(self, text: str) -> VersionHandle:
        """The version that ``clf@v3``, ``clf@production`` or ``clf`` (its latest) means."""
        found = self.resolve(f"model/{text}" if "/" not in text else text)
        if found.commit is None:
            raise NameNotFound(f"{text} has no version")
        return self.version_of(found.commit)

    def version_of(self, commit: ObjectId) -> VersionHandle:
        """The version of a commit; raises NameNotFound."""
        entry = self.index.version(commit)
        if entry is None:
            raise NameNotFound(f"no version is called {commit.short}")
        return VersionHandle(entry, self.parts)

    def compare(self, texts: Sequence[str]) -> Comparison:
        """Versions side by side: of one model all, or those that are named."""
        from gitml.diff.versions import compare_versions

        if len(texts) == 1 and "@" not in texts[0]:
            versions: list[VersionHandle] = self.versions(texts[0])
        else:
            versions = [self.version(text) for text in texts]
        return compare_versions(versions, self.config.directions)

    def consumers(self, version: VersionHandle) -> list[RunHandle]:
        """The runs that used a version, newest first."""
        return [self.run_of(commit) for commit in self.index.runs_using(version.id)]

    def set_metadata(self, text: str, values: Mapping[str, Any], kind: str | None = None) -> str:
        """Add metadata to a record or an artifact without rewriting it; how that is called.

        ``kind`` "artifact", "run" or "model" says what the name has to be. Raises UsageError for
        values that are not plain JSON.
        """
        found = self._notable(text, kind)
        made = recorded(values)
        place = self._place_of(found)
        artifact = found.output.artifact if found.output is not None else None
        self.parts.notes.add(place, made, self._person or Person(), artifact)
        is_run = found.kind in ("run", "pipeline")
        return f"run {self.short(place)}" if is_run else found.label

    def metadata(self, text: str) -> dict[str, Any]:
        """The metadata of a record: what was logged, what was noted later over it."""
        found = self._notable(text)
        assert found.commit is not None  # noqa: S101 - _notable gives those that have one
        if found.output is not None:
            return dict(StoredOutput(found.output, found.commit, self.parts).metadata)
        logged: Mapping[str, Any] = {}
        if version := self.index.version(found.commit):
            logged = {**version.metrics, **version.record.metadata}
        elif run := self.index.run(found.commit):
            logged = run.metrics
        elif step := self.index.step(found.commit):
            logged = {**step.metrics, **step.record.metadata}
        return all_typed({**logged, **self.parts.notes.values(found.commit)})

    def _notable(self, text: str, kind: str | None = None) -> Found:
        """What a name means that can be noted on; raises UsageError for anything else."""
        plain = not any(mark in text for mark in "@/")
        found = self.resolve(f"{kind}/{text}" if kind in ("artifact", "model") and plain else text)
        what = "artifact" if found.output is not None else found.kind
        if found.commit is None or what == "commit":
            other = with_article(found.kind)
            raise UsageError(f"{text} is {other}, which carries no metadata and no tags")
        kinds = {"run": ("run", "pipeline"), "model": ("model", "version")}
        if kind is not None and what not in kinds.get(kind, (kind,)):
            raise UsageError(f"{text} is {with_article(what)}, not {with_article(kind)}")
        return found

    def _place_of(self, found: Found) -> ObjectId:
        """The record on which a note is kept: of an artifact, the step or source that made it."""
        assert found.commit is not None  # noqa: S101 - _notable gives those that have one
        version = self.index.version(found.commit) if found.output is not None else None
        if version is None:
            return found.commit
        return next(one.commit for one in version.record.artifacts if one.name == found.name)
