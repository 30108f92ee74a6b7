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
from gitml.fs import ProcessIdentity, make_directories, storage_errors
from gitml.git.process import Git

_PACKED = "packed-refs"
_SETTLED = 0.1
"""Seconds after which a lock that somebody else has just made would no longer be empty."""
_PACKED_SECONDS = 10


@contextmanager
def announced(git: Git, pid: int, moves: Mapping[str, str]) -> Iterator[None]:
    """Say for the length of a block that a process moves refs: name → new object id.

    Enter it before the process takes its locks. The file of packed refs is named too: git locks it
    to delete a ref.
    """
    folder = _folder(git)
    make_directories(folder)
    path = folder / f"{ProcessIdentity.of(pid).to_text()}+{os.urandom(4).hex()}"
    try:
        with storage_errors(path):
            path.write_text(codec.dump_line({_PACKED: "", **moves}), encoding="ascii")
        yield
    finally:
        path.unlink(missing_ok=True)


def break_abandoned(git: Git) -> None:
    """Remove the locks of announced processes that are dead.

    Somebody else may hold a lock by now on a ref that the dead process never came to: a lock is
    its own when it holds what it was going to write there; the lock of the packed refs, which
    cannot be told apart, when it has been there for longer than git takes.
    """
    folder = _folder(git)
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(CorruptData, FileNotFoundError):
            if ProcessIdentity.parse(path.name.rpartition("+")[0]).is_alive():
                continue
            moves = _announcement(path)
            for name in (one for one, new in moves.items() if _is_left(git, one, new)):
                (git.common / f"{name}.lock").unlink(missing_ok=True)
            if not any((git.common / f"{name}.lock").exists() for name in moves):
                path.unlink()


def _announcement(path: Path) -> Mapping[str, object]:
    """What a process was going to move; nothing when it was killed before it could say."""
    try:
        return codec.parse(path.read_bytes(), path.name)
    except CorruptData:
        return {}


def _is_left(git: Git, name: str, new: object) -> bool:
    """Whether the lock of a ref was written by a process that was going to put ``new`` there."""
    lock = git.common / f"{name}.lock"
    with suppress(FileNotFoundError):
        age = time.time() - lock.stat().st_mtime
        if name == _PACKED:
            return age > _PACKED_SECONDS
        return age > _SETTLED and f"{new}\n".encode().startswith(lock.read_bytes())
    return False


def _folder(git: Git) -> Path:
    return git.common / "gitml" / "moves"
