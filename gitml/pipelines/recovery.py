"""Runs that were killed: recorded from their journals, as interrupted, with what had finished."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Code, Output, Run, RunStep
from gitml.errors import GitmlError, RaceLost
from gitml.git import locks
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history import journal
from gitml.history.index import Index
from gitml.history.journal import Orphan
from gitml.history.record import Person, Recorder, run_ref, seconds_of
from gitml.pipelines.fanout import joined, store_items
from gitml.pipelines.observe import Sighting, digest_sighting
from gitml.pipelines.outcome import Done, covering
from gitml.pipelines.series import Points
from gitml.pipelines.storing import store_series
from gitml.pipelines.versions import united
from gitml.store.store import Store, Writer


@dataclass(frozen=True)
class Recovery:
    """Records the runs of a repository whose processes were killed."""

    git: Git
    odb: Odb
    index: Index
    store: Store

    def recover(self) -> list[ObjectId]:
        """Tidy up after killed processes; record the runs that they interrupted; their commits."""
        locks.settle(self.git)
        found = journal.orphans(journal.folder(self.git.common))
        if found or any(self.store.layout.abandoned()):
            self.store.recover()
        commits = [commit for one in found if (commit := self._replay(one)) is not None]
        if commits:
            self.index.refresh()
        return commits

    def _replay(self, orphan: Orphan) -> ObjectId | None:
        """The commit of a killed run, made of its journal; None where nothing finished."""
        header = orphan.header
        if not (orphan.steps or orphan.said) or not self._is_worth_recording(orphan):
            orphan.remove()
            return None
        code = codec.from_document(Code, header["code"], orphan.path.name)
        recorder = Recorder(self.git, self.odb, Person(*header["person"]))
        done = self._rebuilt(orphan, recorder)
        last = max(one.at for one in (*orphan.steps, *orphan.said))
        steps = [RunStep(d.name, d.state, d.commit) for d in done]
        known = [*header["steps"], *(one.step for one in orphan.said)]
        left = [name for name in dict.fromkeys(known) if name not in {one.name for one in done}]
        broken, logged = self._broken_off(orphan, left)
        steps += broken
        started = header["started"]
        run = Run(
            pipeline=header["pipeline"],
            state="interrupted",
            code=code,
            stack=header["stack"],
            parameters=dict(header["parameters"])
            | {name: value for one in orphan.logged for name, value in one.parameters.items()},
            steps=tuple(steps),
            started=started,
            duration=round(max(last - seconds_of(started), 0.0), 6),
            model=header.get("model"),
            name=header.get("name"),
        )
        metrics = united({**{one.name: one.metrics for one in done}, **logged})
        environment = header["environment"].encode()
        commit = recorder.run(run, metrics, environment, covering(done), last)
        change = Change(run_ref(run.pipeline, started, commit), commit, None)
        with contextlib.suppress(RaceLost):
            recorder.publish([change], f"recover {run.pipeline}")
        orphan.remove()
        return commit

    def _broken_off(
        self, orphan: Orphan, left: list[str]
    ) -> tuple[list[RunStep], dict[str, Mapping[str, float]]]:
        """The steps that a killed run did not finish, and what each of them had logged.

        Interrupted were those that had left something, or else the first.
        """
        heard = {one.step for one in orphan.said}
        interrupted = [name for name in left if name in heard] or left[:1]
        steps: list[RunStep] = []
        metrics: dict[str, Mapping[str, float]] = {}
        with self.store.writer() as writer:
            for name in left:
                logs = [one for one in orphan.logged if one.step == name]
                if name not in interrupted:
                    steps.append(RunStep(name, "skipped"))
                    continue
                metrics[name] = {key: value for one in logs for key, value in one.metrics.items()}
                metadata = {key: value for one in logs for key, value in one.metadata.items()}
                points = Points.of(logs)
                steps.append(
                    RunStep(
                        name,
                        "interrupted",
                        series=store_series(writer, points, orphan.header["pipeline"], name),
                        metadata=metadata or None,
                        items=self._items(orphan, name, writer),
                        outputs=self._saved(orphan, name) or None,
                    )
                )
            writer.commit()
        return steps, metrics

    def _saved(self, orphan: Orphan, step: str) -> tuple[Output, ...]:
        """What a block had saved, the last of each name, as far as its bytes are here."""
        saved = {one.output.name: one.output for one in orphan.saved if one.step == step}
        return tuple(one for one in saved.values() if self._is_here(one))

    def _is_here(self, output: Output) -> bool:
        if not self.store.has(output.digest):
            return False
        if output.kind != "tree":
            return True
        files = self.store.read_tree(output.digest).entries
        return all(self.store.has(one.digest) for one in files)

    def _items(self, orphan: Orphan, step: str, writer: Writer) -> Output | None:
        """The results that a mapped step had, if what it read is still what it was."""
        parts = [one for one in orphan.items if one.step == step]
        if not parts:
            return None
        last = parts[-1]
        with contextlib.suppress(GitmlError):  # a file is gone, a path or table is none
            seen = Sighting(last.files, last.observed)
            observed = digest_sighting(Path(last.root), seen)
            if observed is None:
                return None
            table = joined(one.table for one in parts if one.key == last.key)
            made = (orphan.header["pipeline"], step)
            return store_items(writer, table, made, last.key, observed, last.sources)
        return None

    def _is_worth_recording(self, orphan: Orphan) -> bool:
        """Whether a run was not published before the kill, and git has kept its snapshot since."""
        code = codec.from_document(Code, orphan.header["code"], orphan.path.name)
        started = orphan.header["started"]
        recorded = self.index.runs(pipeline=orphan.header["pipeline"])
        return code.commit in self.odb and all(one.record.started != started for one in recorded)

    def _rebuilt(self, orphan: Orphan, recorder: Recorder) -> list[Done]:
        """The finished steps of a journal as commits again, up to one that cannot be rebuilt."""
        done: list[Done] = []
        for step in orphan.steps:
            commit = step.entry.commit
            if commit is None:
                break
            if step.record is None:
                entry = self.index.step(commit)
                if entry is None:
                    break
                record, parents = entry.record, entry.parents
            else:
                record = step.record
                logs = [record.log.digest] if record.log is not None else []
                if not all(map(self.store.has, [*logs, *(one.digest for one in record.outputs)])):
                    break
                if not self._rebuild_sources(recorder, record.input_commits(), record):
                    break
                if recorder.step(record, step.metrics, step.at) != commit:
                    break
                parents = (record.code.commit, *record.input_commits())
            state = step.entry.state
            new = step.record is not None
            metrics = step.metrics if new else self.index.step(commit).metrics  # type: ignore[union-attr]
            done = [one for one in done if one.name != step.entry.name]  # it was made again
            cached, taken = state != "completed", state == "taken"
            done.append(
                Done(step.entry.name, commit, record, metrics, parents, step.at, cached, new, taken)
            )
        return done

    def _rebuild_sources(
        self, recorder: Recorder, commits: Iterable[ObjectId], record: Any
    ) -> bool:
        """Make the source commits that a step names again; False where one cannot be made."""
        missing = {one for one in commits if one not in recorder.builder and one not in self.odb}
        for one in (*record.inputs, *record.loads):
            if one.commit in missing and self.store.has(one.digest):
                size = self.store.info(one.digest).size
                missing.discard(recorder.source(one.digest, one.kind, size))
        return not missing
