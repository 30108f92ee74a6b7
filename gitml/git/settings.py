"""Settings of git's configuration: written so that a kill leaves nobody locked out, and read."""

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


def signs_tags(git: Git, project: bool) -> bool:
    """Whether tags of numbers and moves are signed: by the project's wish or git's setting."""
    return project or _is_on(git.config("tag.gpgSign")) is True


def signs_runs(git: Git, project: bool) -> bool:
    """Whether runs and versions are signed: by ``gitml.signRuns``, or else the project's wish.

    Not by git's ``commit.gpgSign``: a run ends when nobody may be there to be asked for a pass
    phrase, and there are hundreds of them.
    """
    wish = _is_on(git.config("gitml.signRuns"))
    return project if wish is None else wish


def _is_on(value: str | None) -> bool | None:
    return None if value is None else value.lower() in ("true", "yes", "on", "1", "")
