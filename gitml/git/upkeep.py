"""Keeps the repository quick as runs pile up: refs packed, packs few, the commit-graph fresh."""

from __future__ import annotations

import contextlib
import os

from gitml.git import refs
from gitml.git.process import Git, GitFailed

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
    with contextlib.suppress(GitFailed, OSError):
        if _entries(str((git.common / published).parent)) >= LOOSE_REFS:
            refs.pack(git)
            done = True
        if _entries(str(git.common / "objects" / "pack"), ".pack") >= PACKS:
            _repack(git)
            done = True
    return done


def tidy(git: Git) -> None:
    """Do all of it, whether it is due or not; raises GitFailed."""
    refs.pack(git)
    _repack(git)


def _repack(git: Git) -> None:
    git.run("repack", "--geometric=2", "-d", "-l", "--quiet")
    git.run("commit-graph", "write", "--reachable", "--split", "--no-progress")


def _entries(folder: str, suffix: str = "") -> int:
    """How many names of a folder end so; 0 where there is no such folder."""
    try:
        return sum(name.endswith(suffix) for name in os.listdir(folder))  # noqa: PTH208 - fastest
    except FileNotFoundError:
        return 0
