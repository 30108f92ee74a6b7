"""What a push is about: which records somebody means, and what those cannot do without.

A version goes with its lineage, the run that made it, and the versions that were used for it. Runs
that made no version stay at home unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gitml.entities.ids import ObjectId
from gitml.errors import UsageError
from gitml.git import refs
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Ref
from gitml.history.index import Index
from gitml.history.lineage import Lineage
from gitml.history.record import RUNS, SOURCES
from gitml.history.revs import Names

BRANCH = "refs/heads/"


@dataclass
class Selection:
    """What is to be on the remote.

    ``branches`` are tips of local branches by full name; ``versions`` are in an order in which what
    was used for a version stands before it; ``records`` are all records that these reach, ``code``
    the code commits that they ran on. ``whole`` tells that everything was meant, not this and that.
    """

    branches: dict[str, ObjectId] = field(default_factory=dict)
    versions: list[ObjectId] = field(default_factory=list)
    runs: list[ObjectId] = field(default_factory=list)
    saved: list[Ref] = field(default_factory=list)
    records: set[ObjectId] = field(default_factory=set)
    code: set[ObjectId] = field(default_factory=set)
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.branches or self.versions or self.runs or self.saved)

    @property
    def tips(self) -> list[ObjectId]:
        """The commits that were chosen."""
        chosen = [*self.branches.values(), *self.versions, *self.runs]
        return list(dict.fromkeys([*chosen, *(ref.commit for ref in self.saved)]))


@dataclass
class Selector:
    """Turns names into selections, with the names as they are now."""

    git: Git
    odb: Odb
    index: Index
    names: Names

    def everything(self, *, runs: bool) -> Selection:
        """The current branch, all versions, what was saved by hand; with ``runs`` every run."""
        chosen = Selection(whole=True)
        branch = BRANCH + (self.git.branch() or "")
        if (tip := self.odb.resolve(branch)) is not None:
            chosen.branches[branch] = tip
        chosen.saved = self.index.refs_below(f"{SOURCES}/")
        versions = [one for name in self.names.models for one in self.names.model(name).visible]
        listed = [ref.commit for ref in self.index.refs_below(f"{RUNS}/")] if runs else []
        self._complete(chosen, versions, listed)
        return chosen

    def named(self, words: Sequence[str], *, runs: bool) -> Selection:
        """What these names mean: branches, models, versions, runs, saved values.

        Raises NameNotFound, and UsageError for what is none of those.
        """
        chosen = Selection()
        versions: list[ObjectId] = []
        wanted = [ref.commit for ref in self.index.refs_below(f"{RUNS}/")] if runs else []
        for word in words:
            tip = refs.targets(self.git, [BRANCH + word]).get(BRANCH + word)
            if tip is not None:
                chosen.branches[BRANCH + word] = ObjectId(tip)
                continue
            found = self.names.resolve(word)
            if found.kind == "model":
                versions += self.names.model(found.name).visible
            elif found.kind == "version" and found.commit is not None:
                versions.append(found.commit)
            elif found.kind in ("run", "pipeline") and found.commit is not None:
                wanted.append(found.commit)
            elif saved := self._saved(found.name, found.commit):
                chosen.saved += saved
            else:
                raise UsageError(
                    f"{word} is {'an artifact' if found.output else 'a ' + found.kind}; branches, "
                    "models, versions, runs and saved values can be pushed",
                    hint="`gitml push` sends the current branch and all versions",
                )
        self._complete(chosen, versions, wanted)
        return chosen

    def _saved(self, name: str, commit: ObjectId | None) -> list[Ref]:
        below = self.index.refs_below(f"{SOURCES}/{name}/")
        return [ref for ref in below if ref.commit == commit]

    def _complete(
        self, chosen: Selection, versions: Iterable[ObjectId], runs: Iterable[ObjectId]
    ) -> None:
        """Take in what these versions and runs reach, what was used before what used it."""
        lineage = Lineage(self.index, self.odb)
        chosen.runs += dict.fromkeys(runs)
        for start in [*versions, *chosen.runs]:
            todo = [(start, False)]
            while todo:
                commit, is_done = todo.pop()
                if is_done:
                    chosen.versions.append(commit)
                    continue
                if commit in chosen.records:
                    continue
                chosen.records.add(commit)
                kind, above = lineage.above(commit)
                if kind == "version":
                    todo.append((commit, True))
                if kind in ("version", "run", "step"):
                    chosen.code.add(self.odb.commit(commit).parents[0])
                todo += [(one, False) for one in above]
