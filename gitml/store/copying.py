"""Large files copied and hashed at once: the system copies, a thread hashes what has arrived.

The digest is that of the copy, read back while it is still in memory. So whatever happens to the
source meanwhile, the name and the bytes agree.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.fs import write_fully
from gitml.store.digest import PIECE, new_hasher

if TYPE_CHECKING:
    from blake3 import blake3

_STEP = 4 * 1024 * 1024
_FLUSH = 16 * 1024 * 1024
_NO_RANGE = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def copy_hashed(source: int, target: int, size: int, *, flush: bool) -> Digest | None:
    """Fill the new file ``target``, open for both, with all of ``source``; the copy's digest.

    None if the source has not ``size`` bytes. With ``flush`` the disk begins to write at once;
    making it durable stays the caller's. Raises OSError.
    """
    progress = _Progress()
    hasher = new_hasher()
    followers: list[Callable[[int, int], None]] = [partial(_hash, target, hasher)]
    if flush:
        followers.append(_Flusher(target))
    threads = [Thread(target=progress.follow, args=(use,)) for use in followers]
    for thread in threads:
        thread.start()
    try:
        copied = _copy(source, target, size, progress)
    finally:
        progress.finish()
        for thread in threads:
            thread.join()
    progress.check()
    return Digest(hasher.hexdigest()) if copied == size else None


class _Progress:
    """How far a copy has come, for threads that follow it."""

    def __init__(self) -> None:
        self._done = 0
        self._is_finished = False
        self._error: BaseException | None = None
        self._moved = Condition()

    def add(self, count: int) -> None:
        """Say that more has arrived; raises what a follower raised."""
        with self._moved:
            self._done += count
            self._moved.notify_all()
        self.check()

    def finish(self) -> None:
        """Say that nothing more will arrive."""
        with self._moved:
            self._is_finished = True
            self._moved.notify_all()

    def check(self) -> None:
        """Raise what a follower raised."""
        if self._error is not None:
            raise self._error

    def follow(self, use: Callable[[int, int], None]) -> None:
        """Call ``use`` with the bounds of all that arrives, in a thread."""
        at = 0
        try:
            while (end := self._beyond(at)) > at:
                use(at, end)
                at = end
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error

    def _beyond(self, at: int) -> int:
        """How far the copy is when it has gone on from ``at``, or has ended."""
        with self._moved:
            self._moved.wait_for(lambda: self._done > at or self._is_finished)
            return self._done


def _copy(source: int, target: int, size: int, progress: _Progress) -> int:
    """Copy from the start, in the system if it can do that; how much, and one byte beyond."""
    position = 0
    os.lseek(target, 0, os.SEEK_SET)
    with suppress(AttributeError):
        try:
            while position < size:
                step = min(_STEP, size - position)
                if not (count := os.copy_file_range(source, target, step, position)):
                    break
                position += count
                progress.add(count)
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
    while position <= size and (piece := os.pread(source, _STEP, position)):
        write_fully(target, piece)
        position += len(piece)
        progress.add(len(piece))
    return position


def _hash(target: int, hasher: blake3, start: int, end: int) -> None:
    """Hash what lies between two places of a file."""
    buffer = memoryview(bytearray(min(PIECE, end - start)))
    while start < end:
        count = os.preadv(target, [buffer[: end - start]], start)
        if not count:
            raise OSError(errno.EIO, "a file is shorter than what was written to it")
        hasher.update(buffer[:count])
        start += count


class _Flusher:
    """Has the disk write what has arrived, whenever that is much."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flushed = 0

    def __call__(self, start: int, end: int) -> None:
        if end - self._flushed >= _FLUSH:
            getattr(os, "fdatasync", os.fsync)(self._target)
            self._flushed = end
