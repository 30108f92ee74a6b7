"""Keeps the repository quick as runs pile up: refs packed, packs few, the commit-graph fresh."""

from __future__ import annotations

import contextlib
import os

from gitml.errors import StorageError
from gitml.fs import flush_to_disk, storage_errors, sync_directory
from gitml.git import locks, refs
from gitml.git.process import Git, GitFailed

_CHAIN = "objects/info/commit-graphs/commit-graph-chain"

LOOSE_REFS = 200
PACKS = 40
"""From these counts on in one folder it is time; git's own gc would come at 50 packs."""


def keep_up(git: Git, published: str) -> bool:
    """Do what is due after ``published`` (a ref) was written; whether anything was.

    Two listings of a folder when nothing is due. What is done is git's own: thousands of loose refs
    slow the user's ``git log``, and each pack slows every look-up. Failing is harmless, since the
    next run tries again.
    """
    done = False
    with contextlib.suppress(GitFailed, StorageError, OSError):
        if _entries(str((git.common / published).parent)) >= LOOSE_REFS:
            refs.pack(git)
            done = True
        if _entries(str(git.common / "objects" / "pack"), ".pack") >= PACKS:
            _repack(git)
            done = True
    return done


def tidy(git: Git) -> None:
    """Do all of it, whether it is due or not; raises GitFailed, StorageError."""
    refs.pack(git)
    _repack(git)


def _repack(git: Git) -> None:
    """Put packs together and write the commit-graph anew, durably: git flushes no names.

    Nor does it flush the file that lists the parts of the commit-graph.
    """
    objects = git.common / "objects"
    git.run("repack", "--geometric=2", "-d", "-l", "-n", "--quiet")
    sync_directory(objects / "pack")
    sync_directory(objects)
    write = ("commit-graph", "write", "--reachable", "--split", "--no-progress")
    locks.run(git, {_CHAIN: ""}, *write)
    chain = git.common / _CHAIN
    if chain.exists():  # not where there is no commit
        with storage_errors(chain), chain.open("rb") as file:
            flush_to_disk(file.fileno())
        sync_directory(chain.parent)
        sync_directory(chain.parent.parent)


def _entries(folder: str, suffix: str = "") -> int:
    """How many names of a folder end so; 0 where there is no such folder."""
    try:
        return sum(name.endswith(suffix) for name in os.listdir(folder))  # noqa: PTH208 - fastest
    except FileNotFoundError:
        return 0
