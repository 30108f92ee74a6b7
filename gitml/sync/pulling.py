"""Pulling: the branch forward, and the bytes that are wanted before anybody reads them."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import CorruptData, GitmlError, MissingBytes, RaceLost
from gitml.fs import ProcessIdentity, make_directories, write_in_place
from gitml.git.odb import EMPTY_TREE, Odb, is_ancestor
from gitml.git.process import Git, GitFailed
from gitml.history.index import Index
from gitml.store.store import Store
from gitml.sync.needs import Need, needs_at

_PATIENCE = 1.0


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
        self._finish_killed()
        there, here = self.odb.resolve(upstream), self.odb.resolve("HEAD")
        if there is None or there == here or (here and is_ancestor(self.git, there, here)):
            return None
        if here is not None and not is_ancestor(self.git, here, there):
            raise RaceLost(
                f"{branch} and {remote}/{branch} both have commits that the other lacks",
                hint="`git pull --rebase` puts yours on top; then `gitml pull`",
            )
        try:
            self._note(there)
            plain = {"GIT_LITERAL_PATHSPECS": "0"}  # for the hooks
            self.git.run("merge", "--ff-only", "--quiet", upstream, env=plain)
            self._noted.unlink(missing_ok=True)
        except GitFailed as error:
            self._noted.unlink(missing_ok=True)
            raise GitmlError(
                f"{branch} cannot move forward: files here are in the way; they are untouched",
                hint="`git stash -u` puts your changes and new files aside, and `git stash pop` "
                "brings them back after the pull; `git status` names them",
            ) from error
        self.odb.close()
        return there

    @property
    def _noted(self) -> Path:
        """The file that says, while the branch moves, who moves it and where to."""
        return self.git.directory / "gitml" / "forward"

    def _note(self, there: ObjectId) -> None:
        make_directories(self._noted.parent)
        text = f"{ProcessIdentity.current().to_text()}\n{there}\n"
        write_in_place(self._noted, text.encode())

    def _finish_killed(self) -> None:
        """Clear away what a pull that was killed left half done: locks, index, files half written.

        git writes files in place. What is a beginning of what it was about to write is its own,
        for it refuses to begin where somebody's changes are in the way.
        """
        try:
            owner, there, *_ = self._noted.read_text("ascii").split("\n")
            if ProcessIdentity.parse(owner).is_alive():
                return
        except (OSError, ValueError, CorruptData):
            self._noted.unlink(missing_ok=True)
            return
        self._break_locks()
        head = self.odb.resolve("HEAD")
        ends = ["HEAD", there] if head is not None else [str(EMPTY_TREE), there]
        differing = self.git.run("diff", "--name-only", "-z", *ends, accept=(0, 128))
        if differing and head is not None:
            flags = ["--pathspec-from-file=-", "--pathspec-file-nul"]
            self.git.run("reset", "--quiet", "HEAD", *flags, stdin=differing, accept=(0, 1))
        for name in os.fsdecode(differing).split("\0")[:-1]:
            path = self.git.work_tree() / name
            new = self.odb.file(ObjectId(there), name)
            old = self.odb.file(head, name) if head is not None else None
            if new is not None and path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                if data != old and new.startswith(data):
                    path.unlink()
        self._noted.unlink(missing_ok=True)

    def _break_locks(self) -> None:
        """Remove the locks that a dead git holds; one that lives lets go of them soon."""
        branch = self.git.branch()
        places = [self.git.directory / f"{name}.lock" for name in ("HEAD", "index", "ORIG_HEAD")]
        places += [self.git.common / f"refs/heads/{branch}.lock"]
        deadline = time.monotonic() + _PATIENCE
        while any(map(Path.exists, places)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for place in places:
            place.unlink(missing_ok=True)

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
        missing = self.store.absent(needs)
        self.store.bring(missing)
        lost = self.store.absent(missing)
        here = set(needs).difference(lost)
        members: set[Digest] = set()
        for digest, need in needs.items():
            if need.kind == "tree" and digest in here:
                tree = self.store.read_tree(digest)
                members.update(entry.digest for entry in tree.entries)
        more = self.store.absent(members)
        self.store.bring(more)
        if lost or self.store.absent(more):
            places = sorted({needs[one].where for one in lost})
            raise MissingBytes(
                f"nobody has pushed the bytes of {', '.join(places[:5]) or 'some folders'}; "
                "all else is here",
                hint="`gitml push` in the clone where they were made",
            )
        return len(missing) + len(more)
