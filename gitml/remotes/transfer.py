"""A large object brought into a file: by parallel ranges, going on where it was left."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from gitml.errors import CorruptData
from gitml.fs import storage_errors, write_fully
from gitml.remotes.base import PART, Remote


def download(
    remote: Remote,
    key: str,
    size: int,
    target: Path,
    *,
    part: int = PART,
    arrived: Callable[[int], None] | None = None,
) -> None:
    """Fill the file ``target`` with all ``size`` bytes of an object.

    What ``target`` holds already is taken for the beginning, so that the same call after an error
    or a kill goes on where that one was: bytes are written in order, and those of at most
    `Capabilities.parallel` parts were under way. ``arrived`` hears of the bytes as they are
    written. The file is not flushed, and nothing is verified: a beginning that was wrong shows when
    the caller hashes the whole, and then the file is to be removed and all fetched again.

    Raises what `Remote.get` raises, CorruptData where the file is longer than the object, and
    StorageError.
    """
    with storage_errors(target):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        at = os.fstat(descriptor).st_size
        if at > size:
            raise CorruptData(f"{target} has {at} bytes, more than the {size} of {key}")
        os.lseek(descriptor, at, os.SEEK_SET)
        if arrived is not None:
            arrived(at)

        def write(piece: bytes) -> None:
            with storage_errors(target):
                write_fully(descriptor, piece)
            if arrived is not None:
                arrived(len(piece))

        if remote.capabilities.parallel == 1 or size - at <= part:
            for piece in remote.get(key, at, size - at):
                write(piece)
        else:
            _in_parallel(remote, key, range(at, size, part), size, write)
    finally:
        os.close(descriptor)


def _in_parallel(
    remote: Remote, key: str, starts: range, size: int, write: Callable[[bytes], None]
) -> None:
    """Write the ranges in order while the next ones are under way."""
    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(remote.capabilities.parallel, "gitml-range") as threads:
        try:
            for start in starts:
                if len(pending) == remote.capabilities.parallel:
                    write(pending.popleft().result())
                length = min(starts.step, size - start)
                pending.append(threads.submit(remote.get_range, key, start, length))
            while pending:
                write(pending.popleft().result())
        finally:
            for one in pending:
                one.cancel()
