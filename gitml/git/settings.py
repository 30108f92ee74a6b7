"""Settings of a repository's own configuration, written so that a kill leaves nobody locked out."""

from __future__ import annotations

from gitml.git import locks
from gitml.git.process import Git, GitFailed

_FILE = "config"
_NOT_THERE = 5


def set_setting(git: Git, key: str, value: str | None) -> None:
    """Set one of git's settings; None removes it. Raises GitFailed.

    git locks the file of its configuration by another beside it, which a git that is killed leaves.
    """
    change = ["--unset-all", key] if value is None else ["--replace-all", key, value]
    try:
        locks.run(git, {_FILE: ""}, "config", *change, of_refs=False)
    except GitFailed as error:
        if value is not None or error.code != _NOT_THERE:
            raise
    git.__dict__.pop("settings", None)
