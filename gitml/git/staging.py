"""Putting some files into git's index, and nothing else: what is staged already stays as it is.

git's own lock on the index has no owner: who is killed while holding it blocks everybody until the
file is removed by hand. So the new index is made under another name, and the lock is taken by a
hard link to it, which proves whose it is, for the length of one rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gitml.errors import CorruptData, GitmlError, Locked
from gitml.fs import ProcessIdentity, storage_errors, sync_directory
from gitml.git.process import Git, GitFailed
from gitml.git.snapshot import durable_objects

_PREFIX = "index-gitml-"
_PATIENCE = 10.0
"""Seconds to wait for a git that is at work on the index."""


def stage(
    git: Git,
    files: Iterable[str],
    *,
    contents: Mapping[str, bytes] | None = None,
    removed: Iterable[str] = (),
) -> None:
    """Put files of the working tree into the index as they are, paths from the root.

    ``contents`` are files that enter with other bytes than those in the working tree; ``removed``
    leave the index. Raises Locked while another git is at work there.
    """
    changes = (sorted(set(files)), dict(contents or {}), sorted(set(removed)))
    if not any(changes):
        return
    index = git.directory / "index"
    _break_abandoned(index)
    until = time.monotonic() + _PATIENCE
    try:
        with durable_objects(git):
            while not _try_to_stage(git, index, *changes, last=time.monotonic() > until):
                time.sleep(0.02)
    except GitFailed as error:
        raise GitmlError("git cannot stage the pointers", hint="`git status` says more") from error


def _try_to_stage(
    git: Git,
    index: Path,
    files: list[str],
    contents: Mapping[str, bytes],
    removed: list[str],
    *,
    last: bool,
) -> bool:
    """Make the new index and put it in place; False when the old one changed meanwhile."""
    with _copied(index) as (copy, before):
        env = {"GIT_INDEX_FILE": str(copy)}
        quiet = ["-c", "core.splitIndex=false", "-c", "core.hooksPath=/dev/null", "update-index"]
        if removed:
            names = _joined(removed)
            git.run(*quiet, "--force-remove", "-z", "--stdin", stdin=names, env=env)
        if files:
            git.run(*quiet, "--add", "--replace", "-z", "--stdin", stdin=_joined(files), env=env)
        if contents:
            lines = []
            for path, data in contents.items():
                blob = git.run("hash-object", "-w", "--stdin", stdin=data).strip()
                lines.append(b"100644 %b\t%b\0" % (blob, os.fsencode(path)))
            git.run(*quiet, "--add", "-z", "--index-info", stdin=b"".join(lines), env=env)
        return _put_in_place(index, copy, before, last=last)


def _put_in_place(index: Path, copy: Path, before: tuple[int, ...] | None, *, last: bool) -> bool:
    lock = index.with_name("index.lock")
    if not copy.exists():  # nothing was ever staged, and nothing is now
        return True
    try:
        os.link(copy, lock)
    except FileExistsError:
        if last:
            raise Locked(
                "git is at work on the index, or was killed there",
                hint=f"when no git runs here: `rm {lock}`, then run the same command again",
            ) from None
        return False
    except OSError as error:  # a file system without hard links
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        with storage_errors(lock):
            shutil.copyfile(copy, lock)
    try:
        if _state(index) != before:
            lock.unlink()
            return False
        lock.replace(index)
    except BaseException:
        lock.unlink(missing_ok=True)
        raise
    sync_directory(index.parent)
    return True


@contextlib.contextmanager
def _copied(index: Path) -> Iterator[tuple[Path, tuple[int, ...] | None]]:
    """A copy of the index in its folder, with its times, and what tells whether it has changed."""
    name = f"{_PREFIX}{ProcessIdentity.current().to_text()}+{os.urandom(4).hex()}"
    copy = index.with_name(name)
    with storage_errors(copy):
        before = _state(index)
        if before is not None:
            shutil.copy2(index, copy)
    try:
        yield copy, before
    finally:
        for path in (copy, copy.with_name(name + ".lock")):
            path.unlink(missing_ok=True)


def _state(index: Path) -> tuple[int, ...] | None:
    try:
        found = index.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _break_abandoned(index: Path) -> None:
    """Remove what dead processes of ours left, the lock too where it is a link to their copy."""
    lock = index.with_name("index.lock")
    for path in sorted(index.parent.glob(f"{_PREFIX}*")):
        with contextlib.suppress(CorruptData, FileNotFoundError):
            owner = path.name.removeprefix(_PREFIX).rpartition("+")[0]
            if ProcessIdentity.parse(owner).is_alive():
                continue
            with contextlib.suppress(FileNotFoundError):
                if lock.samefile(path):
                    lock.unlink()
            path.unlink()


def _joined(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
