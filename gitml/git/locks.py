"""Locks on refs that a killed git left behind, broken when their owner is dead for certain.

git locks a ref by a file beside it that names no owner. A git that is killed leaves its locks, and
from then on the ref cannot be moved by anybody. So while a git of ours moves refs, a file in
``<common git dir>/gitml/moves/`` says which process it is and which locks it may hold.
"""

from __future__ import annotations

import os
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
from gitml.git.process import Git

_PACKED = "packed-refs"
_SETTLED = 0.1
"""Seconds after which a lock that somebody else has just made would no longer be empty."""
_PACKED_SECONDS = 10


@contextmanager
def announced(git: Git, pid: int, moves: Mapping[str, str]) -> Iterator[None]:
    """Say for the length of a block that a process moves refs: name → new object id.

    Enter it before the process takes its locks. The file of packed refs is named too: git locks it
    to delete a ref. It is durable, for git's locks are: they outlive a power cut.
    """
    folder = _folder(git)
    make_directories(folder)
    path = folder / f"{ProcessIdentity.of(pid).to_text()}+{os.urandom(4).hex()}"
    try:
        with storage_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                write_fully(descriptor, codec.dump_line({_PACKED: "", **moves}).encode("ascii"))
                flush_to_disk(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(folder)
        yield
    finally:
        path.unlink(missing_ok=True)


def break_abandoned(git: Git) -> None:
    """Remove the locks of announced processes that are dead.

    Somebody else may hold a lock by now on a ref that the dead process never came to: a lock is
    its own when it holds what it was going to write there; the lock of the packed refs, which
    cannot be told apart, when it has been there for longer than git takes. Processes of an earlier
    boot are dead, but another machine may have the same name: their locks have to be older than
    this boot as well.
    """
    folder = _folder(git)
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(CorruptData, FileNotFoundError):
            owner = ProcessIdentity.parse(path.name.rpartition("+")[0])
            if owner.is_alive() and not owner.is_of_another_boot():
                continue
            until = time.time() if not owner.is_alive() else boot_time()
            moves = _announcement(path)
            for name in (one for one, new in moves.items() if _is_left(git, one, new, until)):
                (git.common / f"{name}.lock").unlink(missing_ok=True)
            if not any((git.common / f"{name}.lock").exists() for name in moves):
                path.unlink()


def _announcement(path: Path) -> Mapping[str, object]:
    """What a process was going to move; nothing when it was killed before it could say."""
    try:
        return codec.parse(path.read_bytes(), path.name)
    except CorruptData:
        return {}


def _is_left(git: Git, name: str, new: object, until: float) -> bool:
    """Whether the lock of a ref is of a process that was going to put ``new`` there.

    It was taken before ``until``, in seconds since the epoch.
    """
    lock = git.common / f"{name}.lock"
    with suppress(FileNotFoundError):
        age = until - lock.stat().st_mtime
        if name == _PACKED:
            return age > _PACKED_SECONDS
        return age > _SETTLED and f"{new}\n".encode().startswith(lock.read_bytes())
    return False


def _folder(git: Git) -> Path:
    return git.common / "gitml" / "moves"
