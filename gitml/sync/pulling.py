"""Pulling: the branch forward, and the bytes that are wanted before anybody reads them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import GitmlError, MissingBytes, RaceLost
from gitml.git.odb import Odb
from gitml.git.process import Git, GitFailed
from gitml.history.index import Index
from gitml.store.store import Store
from gitml.sync.needs import Need, needs_at


@dataclass
class Puller:
    """Brings one clone to where the remote is, once its records are fetched."""

    git: Git
    odb: Odb
    index: Index
    store: Store

    def forward(self, remote: str) -> ObjectId | None:
        """Move the branch forward to where the remote's is; its commit, None where it stays.

        Raises RaceLost where both sides have commits; GitmlError with git's words where files are
        in the way.
        """
        branch = self.git.branch()
        if branch is None:
            return None
        upstream = f"refs/remotes/{remote}/{branch}"
        if self.git.config(f"branch.{branch}.remote") == remote:
            merge = self.git.config(f"branch.{branch}.merge") or ""
            upstream = f"refs/remotes/{remote}/{merge.removeprefix('refs/heads/') or branch}"
        there, here = self.odb.resolve(upstream), self.odb.resolve("HEAD")
        if there is None or there == here or (here and self._is_ancestor(there, here)):
            return None
        if here is not None and not self._is_ancestor(here, there):
            raise RaceLost(
                f"{branch} and {remote}/{branch} both have commits that the other lacks",
                hint="`git pull --rebase` puts yours on top; then `gitml pull`",
            )
        try:
            plain = {"GIT_LITERAL_PATHSPECS": "0"}  # for the hooks
            self.git.run("merge", "--ff-only", "--quiet", upstream, env=plain)
        except GitFailed as error:
            raise GitmlError(
                f"{branch} cannot move forward: files here are in the way; they are untouched",
                hint="`git stash` puts your changes aside, `git status` names them",
            ) from error
        self.odb.close()
        return there

    def _is_ancestor(self, one: ObjectId, other: ObjectId) -> bool:
        arguments = ("merge-base", "--is-ancestor", str(one), str(other))
        return self.git.process(*arguments).returncode == 0

    def bring(self, *, everything: bool, last: int, include: Sequence[str]) -> int:
        """Have artifacts here before they are read; how many objects came.

        Raises MissingBytes that names those which nobody has.
        """
        tips: list[ObjectId] = []
        if everything or include:
            tips = [ref.commit for ref in self.index.refs()]
        elif last:
            tips = [one.id for one in self.index.runs(limit=last)]
        if not tips:
            return 0
        needs = needs_at(self.git, [*self._steps(tips), *tips])
        chosen = {
            digest: need
            for digest, need in needs.items()
            if not include or any(fnmatch.fnmatchcase(need.where, one) for one in include)
        }
        return self._bring(chosen)

    def _steps(self, tips: Sequence[ObjectId]) -> list[ObjectId]:
        """The steps of the runs among some commits: they have the outputs."""
        runs = [run for one in tips if (run := self.index.run(one)) is not None]
        return [step.commit for run in runs for step in run.record.steps if step.commit is not None]

    def _bring(self, needs: dict[Digest, Need]) -> int:
        missing = [one for one in needs if not self.store.has(one)]
        self.store.bring(missing)
        members: set[Digest] = set()
        for digest, need in needs.items():
            if need.kind == "tree" and self.store.has(digest):
                tree = self.store.read_tree(digest)
                members.update(entry.digest for entry in tree.entries)
        more = [one for one in members if not self.store.has(one)]
        self.store.bring(more)
        lost = sorted({needs[one].where for one in missing if not self.store.has(one)})
        if lost or not all(map(self.store.has, more)):
            raise MissingBytes(
                f"nobody has pushed the bytes of {', '.join(lost[:5]) or 'some folders'}; "
                "all else is here",
                hint="`gitml push` in the clone where they were made",
            )
        return len(missing) + len(more)
