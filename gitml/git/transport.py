"""Talking to git remotes: what refs they have, objects brought here, refs pushed there.

git's own client does it, with the user's credentials, proxies and hooks. What was refused is not
judged by git's words, which differ between servers and change: who pushes looks at the refs of the
remote again. Words decide only what cannot be asked any more: why there was no answer at all.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import IO, cast
from urllib.parse import urlsplit

from gitml.entities.ids import ObjectId
from gitml.errors import (
    AuthenticationFailed,
    GitmlError,
    NameNotFound,
    PolicyNotMet,
    UsageError,
)
from gitml.frozen import Frozen
from gitml.fs import sync_directory
from gitml.git import locks
from gitml.git.process import Git

Tell = Callable[[str], None]
"""Takes a line of git's progress."""

_HEADS = "refs/heads/"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_UNKNOWN_TO_THEM = (
    r"(?i)authentication failed|permission denied|could not read (?:username|password)|"
    r"access denied|invalid credentials|returned error: 40[13]|host key verification failed"
)
_NO_ATOMIC = "does not support --atomic"
_NO_OPTIONS = "does not support push options"
_JUDGED = r"remote: gitml: (.+?)\s*$"
_SUBJECT = r"(?:fatal|error|remote): *"


class RemoteRef(Frozen):
    """A ref of a remote: the object that it names, and what that peels to where it is a tag."""

    target: ObjectId
    commit: ObjectId


class Move(Frozen):
    """A ref to be pushed: what it names from now on, and what the remote had there before.

    ``old`` None: it must not be there yet. A branch moves forward only.
    """

    name: str
    new: ObjectId
    old: ObjectId | None = None


class Refusal(Frozen):
    """Why a push did not go through: git's words, and those on each ref that was refused.

    ``judged`` are the reasons that gitml's own hook on the server gave.
    """

    words: str
    refs: Mapping[str, str]
    no_atomic: bool = False
    no_options: bool = False
    judged: tuple[str, ...] = ()

    def error(self, message: str, hint: str, name: str = "") -> GitmlError:
        """The error for it: PolicyNotMet with the server's reasons, where it judged by our rules.

        ``name`` is the ref whose reason counts otherwise, and ``hint`` what helps then.
        """
        if not self.judged:
            error = GitmlError(message, hint=hint)
            why = self.refs.get(name, "") or self.words
            error.__cause__ = GitmlError(re.sub(r"^\((.*)\)$", r"\1", why.strip()) or self.words)
            return error
        error, cause = PolicyNotMet(message), None
        for why in reversed(self.judged):
            below, cause = cause, GitmlError(why)
            cause.__cause__ = below
        error.__cause__ = cause
        return error


def choose(git: Git, name: str | None = None) -> str:
    """The git remote that is meant: ``name``, what the branch or the configuration says, the only.

    Raises UsageError where there is none, or several and no choice; NameNotFound.
    """
    known = git.remotes()
    if name is not None:
        if name not in known:
            raise NameNotFound.among("git remote", name, known)
        return name
    if not known:
        raise UsageError(
            "this repository has no git remote", hint="`git remote add origin URL` names one"
        )
    if len(known) == 1:
        return known[0]
    branch = git.branch()
    wanted = [git.config("remote.pushDefault"), git.config(f"branch.{branch}.remote")]
    for one in (*wanted, "origin"):
        if one in known:
            return one
    raise UsageError(
        f"there are several git remotes and none is the default: {', '.join(known)}",
        hint=f"`git config remote.pushDefault {known[0]}` chooses one",
    )


def url_of(git: Git, remote: str) -> str:
    """Where a remote is, as git would go there."""
    return os.fsdecode(git.run("remote", "get-url", "--", remote)).strip()


def list_remote(
    git: Git, remote: str, *, tags_only: bool = False, without: str | None = None
) -> dict[str, RemoteRef]:
    """Every ref of a remote by name, or its tags; raises AuthenticationFailed, GitmlError.

    Where there are many runs, the tags alone are a small part of what goes over the line. Refs that
    begin with ``without`` are left out, though git sends them.
    """
    arguments = ["ls-remote", "--quiet", *(["--tags"] if tags_only else []), "--", remote]
    done = _run(git, remote, arguments)
    if done.code:
        raise _unreachable(remote, done.words)
    targets: dict[str, str] = {}
    peeled: dict[str, str] = {}
    for line in os.fsdecode(done.out).splitlines():
        oid, _, name = line.partition("\t")
        if without is not None and name.startswith(without):
            continue
        if name.endswith("^{}"):
            peeled[name[:-3]] = oid
        else:
            targets[name] = oid
    return {
        name: RemoteRef(ObjectId(oid), ObjectId(peeled.get(name, oid)))
        for name, oid in targets.items()
    }


def head_of(git: Git, remote: str) -> str | None:
    """The branch that a remote is on, by short name; None where it is on none that we are told."""
    done = _run(git, remote, ["ls-remote", "--symref", "--quiet", "--", remote, "HEAD"])
    found = re.match(r"ref: refs/heads/(\S+)\tHEAD", os.fsdecode(done.out))
    return found[1] if found and not done.code else None


def fetch(
    git: Git,
    remote: str,
    ids: Iterable[ObjectId],
    refspecs: Sequence[str] = (),
    tell: Tell | None = None,
    moving: Mapping[str, str] | None = None,
) -> None:
    """Bring objects with all that they reach, and what the refspecs say; durable at the return.

    No ref moves but by the refspecs; ``moving`` says which may, and where to, so that a lock that
    is left of them is known to be ours. Raises AuthenticationFailed, GitmlError.
    """
    lines = [*refspecs, *(str(one) for one in dict.fromkeys(ids))]
    if not lines:
        return
    arguments = ["fetch", "--stdin", "--no-write-fetch-head", "--no-auto-maintenance"]
    arguments += ["--no-recurse-submodules", "--no-prune-tags", *_progress(tell)]
    arguments += [] if refspecs else ["--no-tags"]
    stdin = "\n".join(lines).encode()
    done = _run(git, remote, [*arguments, "--", remote], stdin, tell, moving)
    if done.code:
        raise _unreachable(remote, done.words)
    sync_directory(git.common / "objects" / "pack")


def push(
    git: Git,
    remote: str,
    moves: Iterable[Move],
    *,
    atomic: bool = True,
    options: Sequence[str] = (),
    tell: Tell | None = None,
) -> Refusal | None:
    """Push refs, all or none where the server can; None when all of them went through.

    Nothing is overwritten: a ref that must not be there yet, and is, is refused, and so is a branch
    that would lose commits. ``options`` are for the server (``git push -o``). Raises
    AuthenticationFailed, GitmlError where nobody answered.
    """
    arguments = ["push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no"]
    arguments += ["--atomic"] if atomic else []
    arguments += [f"--push-option={one}" for one in options]
    listed = list(moves)
    specs = [f"{one.new}:{one.name}" for one in listed]
    heads = [one for one in listed if one.name.startswith(_HEADS)]
    follow = {f"refs/remotes/{remote}/{o.name.removeprefix(_HEADS)}": str(o.new) for o in heads}
    # Never a `+`: together with a lease it overwrote what others had pushed.
    given = [*arguments, *_progress(tell), "--", remote, *specs]
    done = _run(git, remote, given, b"", tell, follow)
    if not done.code:
        return None
    refused = {}
    for line in done.out.decode(errors="replace").splitlines():
        flag, _, rest = line.partition("\t")
        if flag == "!":
            names, _, why = rest.partition("\t")
            refused[names.rpartition(":")[2]] = why
    no_atomic, no_options = (one in done.words for one in (_NO_ATOMIC, _NO_OPTIONS))
    if not refused and not no_atomic and not no_options:
        raise _unreachable(remote, done.words)
    judged = tuple(re.findall(_JUDGED, done.words, re.MULTILINE))
    return Refusal(_reason(done.words), refused, no_atomic, no_options, judged)


class _Done(Frozen):
    """A git that ended: its code, what it printed, what it said."""

    code: int
    out: bytes
    words: str


def _run(
    git: Git,
    remote: str,
    arguments: Sequence[str],
    stdin: bytes = b"",
    tell: Tell | None = None,
    moving: Mapping[str, str] | None = None,
) -> _Done:
    """Let git do it; once more where a lock was in the way that a dead process has left."""
    wait = locks.break_abandoned(git) if moving else 0.0
    done = _once(git, remote, arguments, stdin, tell, moving)
    if done.code and wait:
        time.sleep(wait)
        locks.break_abandoned(git)
        return _once(git, remote, arguments, stdin, tell, moving)
    return done


def _once(
    git: Git,
    remote: str,
    arguments: Sequence[str],
    stdin: bytes,
    tell: Tell | None,
    moving: Mapping[str, str] | None,
) -> _Done:
    import tempfile

    # The user's hooks run with what we set: they get git's paths as they expect them.
    env = {"GIT_LITERAL_PATHSPECS": "0", **_allowed(git, remote)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        process = git.start(
            *arguments, stdin=given.fileno(), stdout=out.fileno(), stderr=subprocess.PIPE, env=env
        )
        says = locks.announced(git, process, moving) if moving else nullcontext()
        with process, says:
            try:
                words = _listen(cast("IO[bytes]", process.stderr), tell)
                process.wait()
            except BaseException:
                process.terminate()
                raise
        out.seek(0)
        return _Done(process.returncode, out.read(), words)


def _listen(stream: IO[bytes], tell: Tell | None) -> str:
    """All that git says, without its progress, which is handed on as it comes."""
    said: list[str] = []
    left = b""
    last = 0.0
    while data := os.read(stream.fileno(), 1 << 16):
        *lines, left = re.split(rb"[\r\n]", left + data)
        for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            if re.search(r": +[0-9]+%|, done\.$", line):
                now = time.monotonic()
                if tell is not None and now - last > 0.1:
                    tell(line)
                    last = now
            elif line:
                said.append(line)
    return "\n".join([*said, left.decode(errors="replace").rstrip()]).strip()


def _allowed(git: Git, remote: str) -> dict[str, str]:
    """Plain HTTP on this machine alone, where nobody can listen."""
    if not any("http://" in part for setting in git.settings.items() for part in setting):
        return {}  # also not by a `url.<base>.insteadOf`
    parts = urlsplit(url_of(git, remote))
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return {"GIT_ALLOW_PROTOCOL": "https:ssh:file:git:http"}
    return {}


def _progress(tell: Tell | None) -> list[str]:
    return ["--progress"] if tell is not None else ["--no-progress"]


def _reason(words: str) -> str:
    """The line of git's words that says most, without its prefix."""
    lines = [line for line in words.splitlines() if line.strip()]
    found = [line for line in lines if re.match(_SUBJECT, line)]
    chosen = (found or lines or ["git gave no reason"])[0]
    return re.sub(f"^{_SUBJECT}", "", chosen).strip()


def _unreachable(remote: str, words: str) -> GitmlError:
    """Why there was no answer from a remote."""
    reason = GitmlError(_reason(words))
    if re.search(_UNKNOWN_TO_THEM, words):
        error: GitmlError = AuthenticationFailed(
            f"the git remote {remote} does not let us in",
            hint=f"`git ls-remote {remote}` asks the same with git's own words",
        )
    else:
        error = GitmlError(
            f"the git remote {remote} cannot be reached; nothing was changed",
            hint=f"`git remote get-url {remote}` shows where it should be",
        )
    error.__cause__ = reason
    return error
