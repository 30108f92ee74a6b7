"""The history of a run's code: which earlier executions it may take over, and how."""

from __future__ import annotations

from gitml.entities.ids import ObjectId
from gitml.entities.records import Code
from gitml.git.odb import Odb, is_ancestor
from gitml.git.process import Git
from gitml.history.cleared import Cleared
from gitml.history.index import Index


class Past:
    """What the history of ``code`` contains. Each question is asked of git once.

    ``cleared`` are the executions that are not to be taken from the cache.
    """

    def __init__(self, git: Git, index: Index, odb: Odb, code: Code) -> None:
        self._git = git
        self._index = index
        self._odb = odb
        self._code = code
        self.cleared = Cleared(git.common)
        self._reachable: dict[ObjectId, bool] = {}
        self._contained: dict[ObjectId, bool] = {}

    def belongs(self, code: Code) -> bool:
        """Whether code is an ancestor of this, or a snapshot with its tree on an ancestor."""
        if self._reaches(code.commit):
            return True
        if code.snapshot and code.tree == self._code.tree:
            return all(map(self._reaches, self._odb.commit(code.commit).parents))
        return False

    def is_abandoned(self, code: Code) -> bool:
        """Whether code, or what a snapshot was made of, is no part of this history."""
        origin = self._odb.commit(code.commit).parents if code.snapshot else (code.commit,)
        return not all(map(self._reaches, origin))

    def has(self, commit: ObjectId) -> bool:
        """Whether a record and all that it was made of stand on code that belongs to this."""
        todo = [commit]
        while todo:
            one = todo[-1]
            entry = self._index.step(one) if one not in self._contained else None
            above = entry.parents[1:] if entry is not None else ()
            unknown = [parent for parent in above if parent not in self._contained]
            if unknown:
                todo += unknown
                continue
            if one not in self._contained:
                self._contained[one] = entry is None or (
                    self.belongs(entry.record.code) and all(self._contained[p] for p in above)
                )
            todo.pop()
        return self._contained[commit]

    def _reaches(self, commit: ObjectId) -> bool:
        """Whether a code commit is this one or an ancestor of it."""
        if commit not in self._reachable:
            here = self._code.commit
            self._reachable[commit] = commit == here or is_ancestor(self._git, commit, here)
        return self._reachable[commit]
