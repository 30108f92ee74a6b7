"""The code between two code commits: which commits, and which files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from gitml.entities.ids import ObjectId
from gitml.entities.records import Code
from gitml.frozen import Frozen
from gitml.git.process import Git

MOST_COMMITS = 1000
"""Commits that are listed: of more only these, the newest, are known."""


class CommitBetween(Frozen):
    """A commit that one side has and the other has not: ``side`` is "old" or "new"."""

    commit: ObjectId
    side: str
    subject: str


class ChangedFile(Frozen):
    """A file of the code that differs: git's letter (A, D, M, R, T), and who imports it.

    ``before`` is the old path of one that was renamed, ``steps`` are those of either side with the
    file in their closure: empty where no step can have noticed.
    """

    mark: str
    path: str
    before: str | None
    steps: tuple[str, ...]


class CodeDifference(Frozen):
    """What lies between two code commits. ``unknown`` says why that cannot be told."""

    old: Code
    new: Code
    commits: tuple[CommitBetween, ...]
    files: tuple[ChangedFile, ...]
    unknown: str | None = None

    def __bool__(self) -> bool:
        return bool(self.commits or self.files or self.unknown)


def compare_code(
    git: Git, old: Code, new: Code, closures: Mapping[str, Sequence[str]]
) -> CodeDifference:
    """The commits and files between two code commits; ``closures`` are the files of each step.

    Files are those of the trees that ran, so also what only a snapshot had.
    """
    if (old.commit, old.tree) == (new.commit, new.tree):
        return CodeDifference(old, new, (), ())
    between = git.process(
        *("log", "--left-right", f"--max-count={MOST_COMMITS}", "--no-show-signature"),
        *("--format=%m %H %s", "--end-of-options", f"{old.commit}...{new.commit}", "--"),
    )
    arguments = ("-r", "-z", "-M", "--name-status", str(old.tree), str(new.tree), "--")
    files = git.process("diff-tree", *arguments)
    if between.returncode or files.returncode:
        return CodeDifference(old, new, (), (), "the code of one side is not in this clone")
    users: dict[str, list[str]] = {}
    for step, paths in closures.items():
        for path in paths:
            users.setdefault(path, []).append(step)
    changed = tuple(_files(os.fsdecode(files.stdout), users))
    return CodeDifference(old, new, tuple(_commits(between.stdout)), changed)


def _commits(listing: bytes) -> Iterator[CommitBetween]:
    for line in listing.decode("utf-8", "replace").split("\n"):
        if line:
            mark, commit, subject = line.split(" ", 2)
            yield CommitBetween(ObjectId(commit), "old" if mark == "<" else "new", subject)


def _files(listing: str, users: Mapping[str, Sequence[str]]) -> Iterator[ChangedFile]:
    words = iter(listing.split("\0")[:-1])
    for mark in words:
        before = next(words) if mark[0] in "RC" else None
        path = next(words)
        if path.startswith(".gitml/"):
            continue
        steps = [*users.get(path, ()), *(users.get(before, ()) if before else ())]
        yield ChangedFile(mark[0], path, before, tuple(dict.fromkeys(steps)))
