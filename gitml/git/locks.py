"""Locks that a killed git left behind, broken when their owner is dead for certain.

git locks a ref by a file beside it that names no owner. A git that is killed leaves its locks, and
from then on the ref cannot be moved by anybody. So while a git of ours moves or packs refs, a file
in ``<common git dir>/gitml/moves/`` says which process it is and which locks it may hold.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gitml.entities import codec
from gitml.errors import CorruptData
from gitml.fs import (
    ProcessIdentity,
    boot_time,
    flush_to_disk,
    make_directories,
    storage_errors,
    sync_directory,
    write_fully,
)
from gitml.git.process import Git, GitFailed

_PACKED = "packed-refs"
_SETTLED = 0.1
"""Seconds after which a lock that somebody else has just made would no longer be empty."""
_LONG = 10.0
"""Seconds for which git holds no lock that says nothing of its owner."""
_NEVER = float("inf")


def run(git: Git, moves: Mapping[str, str], *arguments: str, of_refs: bool = True) -> None:
    """Run a git that takes these locks, and wait for those that a dead process may have left.

    ``moves`` are as `announced` has them, and so is ``of_refs``. Raises GitFailed.
    """
    deadline = time.monotonic() + 2 * _LONG
    while True:
        wait = break_abandoned(git)
        process = git.start_held(*arguments, stderr=subprocess.PIPE)
        with process, announced(git, process, moves, of_refs=of_refs):
            _, complaint = process.communicate(b"\n")
        if not process.returncode:
            return
        if not wait or time.monotonic() > deadline:
            words = complaint.decode(errors="replace")
            raise GitFailed(arguments, process.returncode, words)
        time.sleep(wait)


@contextmanager
def announced(
    git: Git,
    process: subprocess.Popen[bytes],
    moves: Mapping[str, str],
    *,
    of_refs: bool = True,
) -> Iterator[None]:
    """Say for the length of a block that a process moves refs: name → new object id.

    Nothing stands for the id of another file of git's that is locked. Enter it before the process
    takes its locks. The file of packed refs is named too where the moves are ``of_refs``: git locks
    it to delete a ref. It is durable, for git's locks are: they outlive a power cut.
    """
    moves = {_PACKED: "", **moves} if of_refs else moves
    folder = _folder(git)
    make_directories(folder)
    path = folder / f"{ProcessIdentity.of(process.pid).to_text()}+{os.urandom(4).hex()}"
    try:
        with storage_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                write_fully(descriptor, codec.dump_line(dict(moves)).encode("ascii"))
                flush_to_disk(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(folder)
        yield
    finally:
        # A git that fails has no lock any more: what is there is somebody else's. One that was
        # killed leaves its own, and so does one that cannot remove them, which it does not tell.
        may_be_left = process.returncode is not None and process.returncode <= 0
        names = moves if may_be_left else ()
        if not any((git.common / f"{name}.lock").exists() for name in names):
            path.unlink(missing_ok=True)


def break_abandoned(git: Git) -> float:
    """Remove the locks of announced processes that are dead; the seconds until more of them can be.

    Somebody else may hold a lock by now on a ref that the dead process never came to: a lock is
    its own when it holds what it was going to write there; a lock that says nothing, as that of
    the packed refs, when it has been there for longer than git takes. Processes of an earlier
    boot are dead, but another machine may have the same name: their locks have to be older than
    this boot as well.
    """
    folder = _folder(git)
    waits = [0.0]
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(CorruptData, FileNotFoundError):
            owner = ProcessIdentity.parse(path.name.rpartition("+")[0])
            if owner.is_alive() and not owner.is_of_another_boot():
                continue
            until = time.time() if not owner.is_alive() else boot_time()
            moves = _announcement(path)
            left = [_break(git, name, new, until) for name, new in moves.items()]
            if not any(left):
                path.unlink()
            waits += [one for one in left if one != _NEVER]
    return max(waits)


def settle(git: Git) -> None:
    """Break what is abandoned, also what needs a moment until it may be: for nothing is in the way.

    Who is held up by a lock waits for it. This is for the end of what a killed process began.
    """
    wait = break_abandoned(git)
    if 0 < wait <= 2 * _SETTLED:
        time.sleep(wait)
        break_abandoned(git)


def _announcement(path: Path) -> Mapping[str, object]:
    """What a process was going to move; nothing when it was killed before it could say."""
    try:
        return codec.parse(path.read_bytes(), path.name)
    except CorruptData:
        return {}


def _break(git: Git, name: str, new: object, until: float) -> float:
    """Remove a lock if it is of a process that was going to put ``new`` there.

    It was taken before ``until``, in seconds since the epoch. Gives 0 when there is no lock any
    more, else the seconds after which it may be broken.
    """
    lock = git.common / f"{name}.lock"
    try:
        age = until - lock.stat().st_mtime
        if age < 0 or (new and not f"{new}\n".encode().startswith(lock.read_bytes())):
            return _NEVER
        needed = _SETTLED if new else _LONG
        if age <= needed:
            return needed - age + 0.01
        if name == _PACKED:  # git writes beside the lock, and does not expect a file there
            (git.common / f"{_PACKED}.new").unlink(missing_ok=True)
        lock.unlink()
    except FileNotFoundError:
        pass
    return 0.0


def _folder(git: Git) -> Path:
    return git.common / "gitml" / "moves"
