"""Records made by hand over a real repository: what a run would write, with nothing run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import (
    Code,
    Input,
    Output,
    Promotion,
    Run,
    RunStep,
    Saved,
    Step,
    Tombstone,
    Version,
    VersionArtifact,
)
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history.index import Index
from gitml.history.record import (
    STAGES,
    TAGS,
    Person,
    Recorder,
    covering_steps,
    run_ref,
    saved_ref,
    timestamp,
    version_ref,
    version_tag,
)
from gitml.history.revs import Names
from gitml.testing.sealed import GitRepository

START = 1767323045.0
"""2026-01-02T03:04:05Z: when the first record of a ledger is made; each later one a second on."""

ADA = Person("Ada Example", "ada@example.org")


def digest_of(text: str) -> Digest:
    """A digest that stands for these bytes (the tests of records need no real BLAKE3)."""
    return Digest(hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class Made:
    """A step that was made: its commit, its record, its parents after the code."""

    commit: ObjectId
    record: Step
    parents: tuple[ObjectId, ...]

    def feeds(self, name: str) -> Input:
        """The step's first output as an input."""
        output = self.record.outputs[0]
        return Input(name, output.digest, output.kind, self.commit, output.artifact)


@dataclass
class Ledger:
    """A repository to write records into. The clock ticks once a record."""

    repository: GitRepository
    now: float = START
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.git, self.odb, ADA)

    @classmethod
    def at(cls, path: Path) -> Ledger:
        return cls(GitRepository(path))

    @cached_property
    def git(self) -> Git:
        return Git.discover(self.repository.path)

    @cached_property
    def odb(self) -> Odb:
        return Odb(self.git)

    @cached_property
    def index(self) -> Index:
        return Index(self.git, self.odb)

    def names(self) -> Names:
        self.index.refresh()
        return Names.now(self.index, self.odb)

    @property
    def code(self) -> Code:
        commit = self.odb.resolve("HEAD")
        assert commit is not None
        return Code(commit, self.odb.commit(commit).tree)

    def tick(self) -> float:
        self.now += 1
        return self.now

    def source(self, text: str) -> Input:
        """A data file with this content, as an input called ``raw``."""
        commit = self.recorder.source(digest_of(text), "blob", len(text))
        return Input("raw", digest_of(text), "blob", commit)

    def step(
        self,
        name: str,
        inputs: Sequence[Input] = (),
        *,
        pipeline: str = "training",
        artifact: str | None = None,
        content: str | None = None,
        metrics: Mapping[str, float] | None = None,
        **fields: Any,
    ) -> Made:
        """A step with one output, whose bytes are ``content`` (its own in every step)."""
        at = self.tick()
        digest = digest_of(content or f"{pipeline}.{name} {at}")
        artifact = artifact or f"{pipeline}.{name}"
        record = Step(
            name=name,
            pipeline=pipeline,
            source=f"pipelines/{pipeline}.py:{name}",
            code=self.code,
            code_id="c" * 64,
            files=(),
            parameters={},
            inputs=tuple(inputs),
            outputs=(Output("out", artifact, digest, "blob", 6, "json/1", "dict"),),
            started=timestamp(at),
            duration=0.5,
            **{"key": hashlib.sha256(f"{name} {at}".encode()).hexdigest(), **fields},
        )
        commit = self.recorder.step(record, metrics or {}, at)
        return Made(commit, record, tuple(record.input_commits()))

    def run(
        self,
        steps: Iterable[Made],
        *,
        pipeline: str = "training",
        state: str = "completed",
        publish: bool = True,
        **fields: Any,
    ) -> ObjectId:
        """A run of these steps, with its ref."""
        at, steps = self.tick(), list(steps)
        record = Run(
            pipeline=pipeline,
            state=state,
            code=self.code,
            stack="default",
            parameters={},
            steps=tuple(RunStep(one.record.name, "completed", one.commit) for one in steps),
            started=timestamp(at),
            duration=1.0,
            **fields,
        )
        parents = {one.commit: (one.record.code.commit, *one.parents) for one in steps}
        covering = covering_steps([(one.record.name, one.commit) for one in steps], parents)
        commit = self.recorder.run(record, {}, b"# python CPython 3.11.7\n", covering, at)
        if publish:
            change = Change(run_ref(pipeline, record.started, commit), commit, None)
            self.recorder.publish([change], "run")
        return commit

    def version(
        self,
        model: str = "clf",
        number: int | None = None,
        *,
        steps: Sequence[Made] | None = None,
        metrics: Mapping[str, float] | None = None,
        artifact: str = "model",
        **fields: Any,
    ) -> ObjectId:
        """A version with its run, published with its number, or as a draft without one."""
        made = list(steps) if steps is not None else [self.step("train", artifact=artifact)]
        run = self.run(made, model=model)
        at = self.tick()
        last = made[-1]
        output = last.record.outputs[0]
        record = Version(
            model=model,
            pipeline="training",
            run=run,
            code=self.code,
            created=timestamp(at),
            parameters={},
            artifacts=(VersionArtifact(output.artifact, "train", last.commit, output),),
            keys={one.record.name: one.record.key or "" for one in made},
            **fields,
        )
        commit = self.recorder.version(record, metrics or {}, f"# {model}\n", at)
        changes = [Change(version_ref(model, commit), commit, None)]
        if number is not None:
            tag = self.recorder.number(model, number, commit, ADA.at(at))
            changes.append(Change(version_tag(model, number), tag, None))
        self.recorder.publish(changes, "version")
        return commit

    def promote(
        self, model: str, stage: str, n: int, version: ObjectId | None, target: ObjectId
    ) -> ObjectId:
        """An event tag, not judged by anyone; the object id of the tag."""
        at = self.tick()
        event = Promotion("01J", model, stage, n, "why", timestamp(at), version=version)
        name = f"{model}@{stage}/{n}"
        document = codec.to_document(event)
        tag = self.recorder.line_tag(name, target, f"{model} {stage} {n}", document, at)
        changes = [Change(f"{TAGS}/{name}", tag, None)]
        stage_ref = f"{STAGES}/{model}/{stage}"
        current = self.odb.read(stage_ref)
        changes.append(Change(stage_ref, tag, current[0] if current else None))
        self.recorder.publish_few(changes, "promote")
        return tag

    def bury(self, model: str, n: int, version: ObjectId) -> ObjectId:
        """A tombstone; the object id of its tag."""
        at = self.tick()
        stone = Tombstone("01J", model, n, version, "why", timestamp(at))
        name = f"{model}@deleted/{n}"
        document = codec.to_document(stone)
        tag = self.recorder.line_tag(name, version, f"{model} deleted v{n}", document, at)
        self.recorder.publish_few([Change(f"{TAGS}/{name}", tag, None)], "delete")
        return tag

    def save(self, name: str, text: str) -> ObjectId:
        """A value saved by hand; its source commit."""
        at = self.tick()
        digest = digest_of(text)
        record = Saved(name, digest, "blob", len(text), "json/1", "dict", timestamp(at))
        source, tag = self.recorder.saved(record, at)
        self.recorder.publish([Change(saved_ref(name, digest), tag, None)], "save")
        return source

    def rev_list(self, *arguments: str) -> list[str]:
        """Ids that ``git rev-list`` gives."""
        return self.repository.git("rev-list", *arguments).split()

    def close(self) -> None:
        self.index.close()
        self.odb.close()
