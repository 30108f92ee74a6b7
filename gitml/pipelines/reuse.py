"""What earlier executions can stand for a step of a run: their bytes are here, their world is ours.

A key says that the code and the inputs are the same. The rest is asked of each execution that has
it: are its bytes to be had, is what it read besides unchanged, do the names that it loaded mean
what they meant, and does its commit belong to the history that this run stands on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Input, Output
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.history.entries import StepEntry
from gitml.history.index import Index
from gitml.history.record import made_at, seconds_of
from gitml.pipelines.observe import is_unchanged
from gitml.pipelines.past import Past
from gitml.pipelines.plan import Pinned, PlannedStep
from gitml.store.store import Store, Writer

_TRIED = 16
"""Executions with a key that are looked at, newest first, before a step is rather run again."""


@dataclass(frozen=True)
class Earlier:
    """The executions before a run that began at ``now`` (seconds).

    ``look_up`` says what a name means in it.
    """

    root: Path
    index: Index
    store: Store
    writer: Writer
    past: Past
    look_up: Callable[[str], Pinned]
    now: float

    def hit(self, step: PlannedStep, key: str, inputs: Mapping[str, Pinned]) -> StepEntry | None:
        """The best execution with a key whose conditions still hold, None where there is none.

        One that the run can adopt as the same commit comes before others; one that was made of
        another input than this run has, which its policy ignores, is adopted only so. (Its commit
        exists: the index forgets what no ref reaches.)
        """
        usable = None
        for entry in self._candidates(step.name, key, inputs):
            if self.objection(step, entry) is not None:
                continue
            if self.is_ours(entry, step.policy.counted(inputs)):
                return entry
            if usable is None and inputs.keys().isdisjoint(step.ignored_of(entry.record, inputs)):
                usable = entry
        return usable

    def with_items(self, step: PlannedStep, pipeline: str, key: str) -> Iterator[StepEntry]:
        """The executions of a mapped step whose items may be taken over, the newest first.

        ``key`` is that of the step without its items. Their code, and that of what they were made
        of, is of this run's history, so that their bytes may be too.
        """
        for entry in self.index.steps_named(step.name, pipeline)[:_TRIED]:
            same = entry.record.map is not None and entry.record.map.key == key
            if not same or step.policy.is_over(made_at(entry.record), self.now):
                continue
            ours = self.past.belongs(entry.record.code)
            if ours and all(map(self.past.has, entry.parents[1:])) and self._loss(entry) is None:
                yield entry

    def kept_items(
        self, step: PlannedStep, pipeline: str, key: str, sources: Collection[ObjectId]
    ) -> Iterator[Output]:
        """The results that a mapped step had in runs in which an item failed, the newest first.

        Only what was made of ``sources``, since no commit of those runs leads to others.
        """
        for run in self.index.runs(pipeline=pipeline, limit=_TRIED):
            began = seconds_of(run.record.started)
            if run.id in self.past.cleared or step.policy.is_over(began, self.now):
                continue
            for one in run.record.steps:
                if (
                    one.name != step.name
                    or one.items is None
                    or one.items.metadata.get("key") != key
                ):
                    continue
                said = one.items.metadata
                ours = self.past.belongs(run.record.code) and self.has(one.items)
                same = {ObjectId(source) for source in said["sources"]} <= set(sources)
                if ours and same and is_unchanged(self.root, said["observed"]):
                    yield one.items

    def _candidates(self, name: str, key: str, inputs: Mapping[str, Pinned]) -> Iterator[StepEntry]:
        """The newest executions with a key: those at this very place in the graph, then any.

        The same step called again and again on equal bytes has one key: its own place comes first,
        so that a chain does not become a tangle.
        """
        exact = self.index.steps_at(key, name, [one.commit for one in inputs.values()], _TRIED)
        yield from exact
        known = {one.id for one in exact}
        for entry in self.index.steps_with_key(key, _TRIED):
            if entry.id not in known:
                yield entry

    def objection(self, step: PlannedStep, entry: StepEntry) -> str | None:
        """Why an execution with the right key is not reused, None where it may be."""
        return step.policy.objection(entry.record, self.now) or self._loss(entry)

    def _loss(self, entry: StepEntry) -> str | None:
        """Why a result is not to be had, or would not be the same now."""
        record = entry.record
        if entry.id in self.past.cleared:
            return "its result was cleared"
        if not all(map(self.has, record.outputs)):
            return "the bytes of its result are gone"
        if not is_unchanged(self.root, record.observed):
            return "a file that it read changed"
        moved = next((one.name for one in record.loads if not self._still_means(one)), None)
        return f"`{moved}`, which it loaded, means something else now" if moved else None

    def _still_means(self, load: Input) -> bool:
        try:
            found = self.look_up(load.name)
        except GitmlError:
            return False
        return found.commit == load.commit and found.output.digest == load.digest

    def is_ours(self, entry: StepEntry, inputs: Mapping[str, Pinned]) -> bool:
        """Whether the execution may stand in the run as the same commit.

        Its code has to belong to this run's, and so has that of everything it was made of which
        this run was not given itself: an abandoned branch would leak through it. And the model
        versions that this run was given are among its parents, so that lineage names them.
        """
        given = {one.commit for one in inputs.values()}
        others: Collection[ObjectId] = {one for one in given if self.index.step(one) is None}
        if not {one for one in others if self.index.version(one)} <= set(entry.parents):
            return False
        given |= {one.commit for one in entry.record.loads}
        made_of = [one for one in entry.parents[1:] if one not in given]
        return self.past.belongs(entry.record.code) and all(map(self.past.has, made_of))

    def has(self, output: Output) -> bool:
        """Whether all bytes of an output are here, of a folder every file, or can be had."""
        return self.holds(output, self.store.has) or self.store.can_bring(output.digest)

    def keeps(self, output: Output) -> bool:
        """Whether the bytes of an output are here, and will be when the run names them.

        Or they are on a remote: then they come when something reads them.
        """
        return self.holds(output, self.writer.rely_on) or self.store.can_bring(output.digest)

    def is_whole(self, output: Output) -> bool:
        """Whether the bytes of an output are here and undamaged."""
        return self.holds(output, self._is_proven)

    def _is_proven(self, digest: Digest) -> bool:
        with contextlib.suppress(GitmlError):  # then its step runs again
            self.store.bring([digest])
        return self.store.proven_copy(digest) is not None

    def holds(self, output: Output, has: Callable[[Digest], bool]) -> bool:
        """Whether ``has`` is true of an output, and of a folder's every file."""
        if not has(output.digest):
            return False
        if output.kind != "tree":
            return True
        with contextlib.suppress(CorruptData, MissingBytes):
            return all(has(entry.digest) for entry in self.store.read_tree(output.digest).entries)
        return False
