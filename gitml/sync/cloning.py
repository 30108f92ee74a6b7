"""Cloning: git's own part first, then the records; a clone that was killed is finished by the next.

Until git's part is whole, nothing in the folder is anybody's, and it is made anew. From then on it
is a repository like any other, in which data is still to be checked out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from gitml.errors import CorruptData, GitmlError, UsageError
from gitml.fs import ProcessIdentity, make_directories, write_in_place
from gitml.git import refs, transport
from gitml.git.odb import Odb
from gitml.git.process import Git, init_repository
from gitml.git.transport import Tell
from gitml.history.index import Index
from gitml.history.record import Person
from gitml.sync.fetching import Fetched, Fetcher

REMOTE = "origin"
_MARK = "gitml/cloning"
_WHOLE = "whole"
"""What the mark says when git's part and the records are there, and data is still to come."""


def folder_of(url: str) -> str:
    """The name that git would give the folder of a clone; raises UsageError where there is none."""
    path = urlsplit(url).path if "://" in url else url.rpartition(":")[2]
    name = re.sub(r"/*(?:\.git)?/*\Z", "", path).rpartition("/")[2]
    if not name or name in (".", ".."):
        raise UsageError(
            f"{url} does not say what the clone is called", hint=f"`gitml clone {url} DIR`"
        )
    return name


def clone(url: str, folder: Path, *, tell: Tell | None = None) -> tuple[Git, Fetched]:
    """A clone of a git repository with its records, without data; and what was fetched.

    The folder must not be there or be empty, or hold a clone of the same that was killed. Raises
    UsageError, AuthenticationFailed, GitmlError; what this call made is gone then.
    """
    is_ours = not folder.exists()
    mark = folder / ".git" / _MARK
    git = _left(mark)
    if git is not None:
        return git, Fetched(REMOTE)
    git = _begun(url, folder)
    try:
        odb = Odb(git)
        index = Index(git, odb)
        fetcher = Fetcher(git, odb, index, Person())
        fetched = fetcher.fetch(REMOTE, tell=tell)
        _check_out(git, odb)
        index.close()
        odb.close()
        write_in_place(mark, f"{ProcessIdentity.current().to_text()}\n{_WHOLE}\n".encode())
    except BaseException as error:
        _clear(folder)
        if is_ours:
            with suppress(OSError):  # somebody has put something there
                folder.rmdir()
        if isinstance(error, GitmlError):
            raise type(error)(
                f"{url} cannot be cloned; nothing is left of the attempt",
                hint=f"`git ls-remote {shlex.quote(url)}` asks the same with git's own words",
            ) from error
        raise
    return git, fetched


def finish(git: Git) -> None:
    """Note that all of a clone is there."""
    (git.common / _MARK).unlink(missing_ok=True)


def _left(mark: Path) -> Git | None:
    """The clone that a killed process has left whole but for its data; None where it has not."""
    if not mark.is_file():
        return None
    owner, state = _marked(mark)
    if owner is None or owner.is_alive() or state != _WHOLE:
        return None
    return Git.discover(mark.parents[2])


def _marked(mark: Path) -> tuple[ProcessIdentity | None, str]:
    """Who makes or made a clone, and how far it is; nobody where that was not written whole."""
    owner, _, state = mark.read_text("utf-8", "replace").strip().partition("\n")
    try:
        return ProcessIdentity.parse(owner), state
    except CorruptData:
        return None, ""


def _begun(url: str, folder: Path) -> Git:
    """An empty repository in the folder that knows its remote, marked as unfinished."""
    mark = folder / ".git" / _MARK
    if mark.is_file():
        owner, _ = _marked(mark)
        if owner is not None and owner.is_alive() and owner != ProcessIdentity.current():
            raise UsageError(f"{folder} is being cloned by another process")
        _clear(folder)
    elif _is_barely_begun(folder):
        _clear(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is there already and is not empty", hint="name another folder for the clone"
        )
    if "://" not in url and (Path.cwd() / url).exists():
        url = str(Path.cwd() / url)
    make_directories(mark.parent)
    write_in_place(mark, ProcessIdentity.current().to_text().encode() + b"\n")
    git = init_repository(folder)
    git.run("remote", "add", "--", REMOTE, url)
    return Git.discover(folder)


def _is_barely_begun(folder: Path) -> bool:
    """Whether a clone was killed before it could say so: there is nothing that git has made."""
    inside = folder / ".git"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return names == [".git"] and inside.is_dir() and {p.name for p in inside.iterdir()} <= {"gitml"}


def _check_out(git: Git, odb: Odb) -> None:
    """Be on the branch that the remote is on, where it has one."""
    branch = transport.head_of(git, REMOTE)
    if branch is None and not refs.targets(git, ["refs"]):
        unborn = _unborn(git)
        if unborn is not None:
            git.run("symbolic-ref", "HEAD", unborn)
    if branch is None or odb.resolve(f"refs/remotes/{REMOTE}/{branch}") is None:
        return
    git.run("symbolic-ref", f"refs/remotes/{REMOTE}/HEAD", f"refs/remotes/{REMOTE}/{branch}")
    plain = {"GIT_LITERAL_PATHSPECS": "0"}  # for filters and hooks
    try:
        git.run(
            *("checkout", "--quiet", "--force", "-B", branch),
            *("--track", f"{REMOTE}/{branch}"),
            env=plain,
        )
    except GitmlError as error:
        raise GitmlError(f"the files of {branch} cannot be checked out") from error


def _unborn(git: Git) -> str | None:
    """The branch on which an empty remote begins; only a clone by git itself is told."""
    with tempfile.TemporaryDirectory(dir=git.directory) as place:
        url = git.config(f"remote.{REMOTE}.url") or ""
        bare = git.process("clone", "--quiet", "--bare", "--", url, f"{place}/bare")
        if bare.returncode:
            return None
        head = (Path(place) / "bare" / "HEAD").read_text("utf-8").strip()
        return head.removeprefix("ref: ") if head.startswith("ref: refs/heads/") else None


def _clear(folder: Path) -> None:
    """Remove what an unfinished clone has made in a folder."""
    for name in os.listdir(folder) if folder.is_dir() else ():  # noqa: PTH208 - before .git goes
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            if name != ".git":
                shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder / ".git", ignore_errors=True)
