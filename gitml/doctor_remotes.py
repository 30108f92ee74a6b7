"""``remote doctor``: what can be done on a remote and on the git remote, found out by doing it.

What is written for that is taken away again: an object below ``doctor/`` on the remote, and a ref
and a tag, both with ``gitml-doctor`` in their names, on the git remote.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from gitml.doctor import Finding
from gitml.errors import AuthenticationFailed, GitmlError, RaceLost, UsageError
from gitml.git import transport
from gitml.git.process import Git, GitFailed
from gitml.remotes.base import Remote

PLACE = "doctor/"
"""Below it lies on a remote what a doctor has put there."""

_SKEW = 120.0
_FORGOTTEN = 3600.0
_REF = "refs/gitml/doctor/gitml-doctor-"
_TAG = "refs/tags/gitml-doctor@"
_PUSH = ("push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")


def examine_remote(remote: Remote, *, read_only: bool = False) -> list[Finding]:
    """Whether a remote answers, may be read and written, creates only, lists; and its clock.

    After the first problem there is nothing more to ask. With ``read_only`` nothing is written.
    """
    examination = _Examination(remote, read_only=read_only)
    found: list[Finding] = []
    for check in examination.checks():
        try:
            found += check()
        except GitmlError as error:
            name = check.__name__.strip("_").replace("_", " ")
            says = "; ".join([error.message, *error.causes()[:1]])
            found.append(Finding(name, "problem", says, error.hint or ""))
            break
    examination.clean()
    return found


class _Examination:
    """One look at a remote, with an object of its own."""

    def __init__(self, remote: Remote, *, read_only: bool) -> None:
        self._remote = remote
        self._key = f"{PLACE}{secrets.token_hex(8)}"
        self._data = secrets.token_bytes(64)
        self._was_asked_to_read = read_only
        self._has_written = False
        self._sent = 0.0

    def checks(self) -> Iterator[Callable[[], list[Finding]]]:
        """What to look at, each after what it needs."""
        yield self._reachable
        yield self._writing
        if self._has_written:
            yield self._reading
            yield self._conditional_writes
        yield self._listing
        if self._has_written:
            yield self._deleting

    def clean(self) -> None:
        """Take away what is still there."""
        if self._has_written:
            with suppress(GitmlError):
                self._remote.delete([self._key])

    def _reachable(self) -> list[Finding]:
        begun = time.monotonic()
        self._remote.stat([self._key])
        took = (time.monotonic() - begun) * 1000
        return [Finding("reachable", "ok", f"answers in {took:.0f} ms")]

    def _writing(self) -> list[Finding]:
        if not self._remote.capabilities.writes:
            return [Finding("writing", "note", "a remote of this kind is only read")]
        if self._was_asked_to_read:
            return [Finding("writing", "note", "not tried")]
        try:
            self._sent = time.time()
            self._remote.put(self._key, self._data)
        except AuthenticationFailed as error:
            return [Finding("writing", "warning", error.message, error.hint or "")]
        self._has_written = True
        return [Finding("writing", "ok", "may be written")]

    def _reading(self) -> list[Finding]:
        if self._remote.read(self._key, 1000) != self._data:
            return [Finding("reading", "problem", "what comes back is not what was put")]
        return [Finding("reading", "ok", "what was put comes back")]

    def _conditional_writes(self) -> list[Finding]:
        if self._remote.capabilities.create:
            try:
                self._remote.put(self._key, b"second", create=True)
            except RaceLost:
                return [Finding("conditional writes", "ok", "one of two writers wins")]
        says = "two who create one object both win here; bytes are named by what they are, and safe"
        return [Finding("conditional writes", "warning", says)]

    def _listing(self) -> list[Finding]:
        if not self._remote.capabilities.lists:
            return [Finding("listing", "note", "cannot be listed, so nothing is collected there")]
        try:
            entries = list(self._remote.list(PLACE))
        except AuthenticationFailed as error:
            says = f"{error.message}, so nothing can be collected there"
            return [Finding("listing", "warning", says)]
        if not self._has_written:
            return [Finding("listing", "ok", "can be listed")]
        own = [one for one in entries if one.key == self._key]
        old = [one.key for one in entries if one.modified < self._sent - _FORGOTTEN]
        if old:
            self._remote.delete(old)
        if not own:
            return [Finding("listing", "note", "a new object is not in its listing yet")]
        skew = own[0].modified - self._sent
        if abs(skew) > _SKEW:
            says = f"its clock and that of this machine are {abs(skew):.0f} s apart"
            return [
                Finding("listing", "ok", "can be listed"),
                Finding("clock", "warning", says, "`date`"),
            ]
        return [
            Finding("listing", "ok", "can be listed"),
            Finding("clock", "ok", "as that of this machine"),
        ]

    def _deleting(self) -> list[Finding]:
        try:
            self._remote.delete([self._key])
        except AuthenticationFailed as error:
            says = f"{error.message}; {self._key} is left there"
            return [Finding("deleting", "note", says)]
        if self._remote.stat([self._key]):
            return [Finding("deleting", "note", f"{self._key} is there still")]
        self._has_written = False
        return [Finding("deleting", "ok", "may be deleted")]


def examine_git_remote(git: Git, *, read_only: bool = False) -> list[Finding]:
    """Whether the git remote answers, and takes the refs and the tags that records need.

    Nothing of the project is pushed for that: an empty commit without parents is.
    """
    try:
        name = transport.choose(git)
    except UsageError as error:
        return [Finding("git remote", "note", error.message, error.hint or "")]
    try:
        theirs = transport.list_remote(git, name)
    except GitmlError as error:
        says = "; ".join([error.message, *error.causes()[:1]])
        return [Finding("git remote", "problem", says, error.hint or "")]
    found = [Finding("git remote", "ok", f"{name} answers")]
    if read_only:
        return [*found, Finding("git refs", "note", "not tried")]
    for check, prefix, what in (
        ("git refs", _REF, "records of runs and versions"),
        ("git tags", _TAG, "version numbers and promotions"),
    ):
        found.append(_takes(git, name, check, f"{prefix}{secrets.token_hex(6)}", what))
    for left in theirs:  # by a doctor that was killed
        if left.startswith((_REF, _TAG)):
            git.process(*_PUSH, "--", name, f":{left}")
    return found


def _takes(git: Git, remote: str, check: str, ref: str, what: str) -> Finding:
    """Whether a git remote takes a ref of this kind, and lets it be removed."""
    commit = _empty_commit(git)
    try:
        git.run(*_PUSH, "--", remote, f"{commit}:{ref}")
    except GitFailed as error:
        words = [line for line in error.stderr.splitlines() if line.strip()]
        says = f"{remote} does not take {ref.rpartition('/')[0]}/…, where {what} are"
        return Finding(check, "problem", f"{says}: {words[0].strip() if words else error.code}")
    try:
        git.run(*_PUSH, "--", remote, f":{ref}")
    except GitFailed:
        says = f"{remote} takes them, and does not remove them: {ref} is left there"
        return Finding(check, "note", says, f"`git push {remote} :{ref}`")
    return Finding(check, "ok", f"takes {what}")


def _empty_commit(git: Git) -> str:
    """A commit with nothing in it, always the same."""
    person = {"NAME": "gitml", "EMAIL": "gitml@localhost", "DATE": "@0 +0000"}
    env = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in person.items()}
    tree = os.fsdecode(git.run("hash-object", "-t", "tree", "-w", "--stdin")).strip()
    done = git.run("commit-tree", tree, stdin=b"gitml remote doctor\n", env=env)
    return os.fsdecode(done).strip()
