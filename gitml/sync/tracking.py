"""Which refs are records, and where this clone keeps what a git remote has of them.

A record ref of the remote ``origin`` is noted below ``refs/gitml-remotes/origin/``, as git notes
the branches of a remote below ``refs/remotes/origin/``. So what is here and what is there can be
told apart: a run that was deleted here does not come back, a number that is taken there is not
given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gitml.git.process import Git
from gitml.history.notes import REF as NOTES
from gitml.history.record import RUNS, SOURCES, STAGES, TAGS, TRACKING, VERSIONS

NUMBER = r"[1-9][0-9]{0,8}"
_TAG = rf"refs/tags/[^/@]+@(?:v{NUMBER}|[^/]+/{NUMBER}|revoked/[0-9a-f]{{12}}|alias/.+)\Z"
_KEPT = (RUNS, VERSIONS, SOURCES)
LOCAL = (*_KEPT, STAGES, NOTES, f"{TAGS}/*@*", f"{TAGS}/*@*/*", f"{TAGS}/*@alias/*/*")
"""Patterns of every record ref of this clone."""


def tracked(remote: str, name: str) -> str | None:
    """Where a ref of a remote is noted here; None for what is no record ref of gitml's.

    The refs of stages are not: they follow from the tags.
    """
    below = f"{TRACKING}/{escaped(remote)}"
    if name == NOTES:
        return f"{below}/notes"
    if name.startswith(f"{TAGS}/"):
        return f"{below}/tags/{name[len(TAGS) + 1 :]}" if re.match(_TAG, name) else None
    if any(name.startswith(f"{kept}/") for kept in _KEPT):
        return f"{below}/{name.removeprefix('refs/gitml/')}"
    return None


def all_tracked(remote: str) -> str:
    """The pattern of all that is noted of a remote."""
    return f"{TRACKING}/{escaped(remote)}"


def escaped(remote: str) -> str:
    """The name of a remote as one component of a ref's name."""
    return remote.replace("%", "%25").replace("/", "%2F")


def is_kept(name: str) -> bool:
    """Whether a record ref is created here when it is missing, and may be deleted here."""
    return any(name.startswith(f"{kept}/") for kept in _KEPT)


def is_version_tag(name: str) -> bool:
    """Whether a tag gives a version its number."""
    return re.search(rf"@v{NUMBER}\Z", name) is not None


def branch_refspecs(
    git: Git, remote: str, theirs: Mapping[str, str], here: Mapping[str, str]
) -> list[str]:
    """The refspecs with which the remote's branches are fetched, none when all of them are here.

    ``theirs`` are the refs of the remote, ``here`` those of this clone: name and object.
    """
    given = git.run("config", "--get-all", f"remote.{remote}.fetch", accept=(0, 1)).decode()
    refspecs = given.split()
    if refspecs != [f"+refs/heads/*:refs/remotes/{remote}/*"]:
        return refspecs
    heads = {name[11:]: oid for name, oid in theirs.items() if name.startswith("refs/heads/")}
    same = all(here.get(f"refs/remotes/{remote}/{name}") == oid for name, oid in heads.items())
    return [] if same else refspecs
