"""Where the histories of two things part: which step first differs, and by what of its own.

Steps are told apart by name, so that one which two pipelines share is compared across them; a name
that stands for several steps of one lineage is written with its pipeline (``features.load``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gitml.diff.records import key_changes
from gitml.entities.ids import Digest
from gitml.frozen import Frozen
from gitml.history.entries import StepEntry
from gitml.history.index import Index
from gitml.history.lineage import Ancestor
from gitml.pipelines.keychange import Change

UNSTEADY = Change("result, of an equal key", "changed")
"""The cause where code, parameters and inputs are the same, and what came out is not."""


class StepPair(Frozen):
    """A step in two lineages; absent on the side that has none.

    ``causes`` are the differences of its own: parts of its key, without those inputs that differ
    since the steps in ``follows`` did. A step may differ by both.
    """

    name: str
    old: StepEntry | None
    new: StepEntry | None
    causes: tuple[Change, ...] = ()
    follows: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the step is another one, or was given something else."""
        return self.old is None or self.new is None or bool(self.causes or self.follows)

    @property
    def same_code(self) -> bool:
        """Whether both sides have the step, with the same code."""
        if self.old is None or self.new is None:
            return False
        return self.old.record.code_id == self.new.record.code_id


def compare_lineages(index: Index, old: Ancestor, new: Ancestor) -> tuple[StepPair, ...]:
    """Every step of two lineages, each behind those that it was made of.

    The first that differs is where they part; those that are in the old one alone come last.
    """
    before, after = (dict(_steps(index, one)) for one in (old, new))
    before, after = _named(before, after), _named(after, before)
    makers = [_makers(side) for side in (before, after)]
    pairs: dict[str, StepPair] = {}
    for name in dict.fromkeys([*after, *before]):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            pairs[name] = StepPair(name, one, other)
        else:
            pairs[name] = _pair(name, one, other, makers, pairs)
    return tuple(pairs.values())


def _pair(
    name: str,
    old: StepEntry,
    new: StepEntry,
    makers: list[dict[Digest, str]],
    known: Mapping[str, StepPair],
) -> StepPair:
    """A step that both have; the steps before it are ``known``."""
    causes, follows = list[Change](), list[str]()
    for change in (*key_changes(old, new), *_loads(old, new)):
        made = _made_by(change, (old, new), makers)
        upstream = [one for one in made if one in known and known[one].differs]
        if upstream:
            follows += upstream
        else:
            causes.append(change)
    steady = {one.name: one.digest for one in old.record.outputs} == {
        one.name: one.digest for one in new.record.outputs
    }
    if not (causes or follows or steady):
        causes.append(UNSTEADY)
    return StepPair(name, old, new, tuple(causes), tuple(dict.fromkeys(follows)))


def _loads(old: StepEntry, new: StepEntry) -> Iterator[Change]:
    """What two executions loaded by name and differs: it is in no key."""
    before, after = ({one.name: one.digest for one in step.record.loads} for step in (old, new))
    for name in sorted({*before, *after}):
        if name in before and name in after:
            if before[name] != after[name]:
                yield Change(f"load {name}", "changed")
        else:
            yield Change(f"load {name}", "added" if name in after else "removed")


def _made_by(
    change: Change, sides: tuple[StepEntry, StepEntry], makers: list[dict[Digest, str]]
) -> list[str]:
    """The steps that made the input which a change is about, on either side."""
    kind, _, name = change.part.partition(" ")
    if kind not in ("input", "load", "materializer"):
        return []
    return [
        made[one.digest]
        for step, made in zip(sides, makers, strict=True)
        for one in (*step.record.inputs, *step.record.loads)
        if one.name == name and one.digest in made
    ]


def _makers(steps: Mapping[str, StepEntry]) -> dict[Digest, str]:
    """The step that made each output; of equal ones the last."""
    return {output.digest: name for name, step in steps.items() for output in step.record.outputs}


def _steps(index: Index, root: Ancestor) -> Iterator[tuple[str, StepEntry]]:
    """The steps of a lineage by ``pipeline.step``, each behind what it was made of.

    No recursion: a chain of steps may be longer than Python's stack.
    """
    waiting = [(root, False)]
    while waiting:
        one, is_done = waiting.pop()
        if not is_done:
            waiting.append((one, True))
            waiting += [(above, False) for above in reversed(one.made_of)]
        elif one.kind == "step" and not one.repeated:
            entry = index.step(one.commit)
            if entry is not None:
                yield one.label, entry


def _named(steps: Mapping[str, StepEntry], others: Mapping[str, StepEntry]) -> dict[str, StepEntry]:
    """The steps by the shortest name that means one of them, here and there."""
    several = {*_twice(steps), *_twice(others)}
    return {
        label if entry.record.name in several else entry.record.name: entry
        for label, entry in steps.items()
    }


def _twice(steps: Mapping[str, StepEntry]) -> Iterable[str]:
    names = [entry.record.name for entry in steps.values()]
    return (name for name in set(names) if names.count(name) > 1)
