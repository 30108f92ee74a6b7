"""Thousands of small files into packs: a tight loop that several processes run at once.

What the loop cannot do at once (a large file, one that changes meanwhile, any error) it leaves
out, and the writer puts those one by one, as carefully as any single file.
"""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.fs import storage_errors
from gitml.store import codec as codecs
from gitml.store.directory import Folders, raw_name
from gitml.store.holdings import Holdings
from gitml.store.layout import listed
from gitml.store.lease import Lease, removed_meanwhile
from gitml.store.lookup import SmallBlobs
from gitml.store.members import ROW_BYTES, Members, row_of
from gitml.store.ownpacks import OwnPacks
from gitml.store.tree import SYMLINK
from gitml.store.workers import SLICE, Share, run_divided

_READ_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def pack_files(
    folders: Folders,
    names: Sequence[tuple[str, int]],
    limit: int,
    take: Callable[[bytes, bytes], bool],
) -> bytes:
    """Read small files and have them taken; the rows for `Members.put_rows`, zero where left out.

    ``take(digest, data)`` stores bytes, or says that it did not. Files of ``limit`` bytes and
    more are left out, and so is everything that is no file, or does not hold still.
    """
    from blake3 import blake3

    rows = []
    nothing = bytes(ROW_BYTES)
    for name, mode in names:
        row = nothing
        try:
            found = None if mode == SYMLINK else _read_small(*folders.of(raw_name(name)), limit)
        except OSError:
            found = None
        if found is not None:
            data, status = found
            digest = blake3(data).digest()
            if take(digest, data):
                row = row_of(digest, status)
        rows.append(row)
    return b"".join(rows)


def _read_small(folder: int, name: bytes, limit: int) -> tuple[bytes, os.stat_result] | None:
    """The bytes and the stat of a small file that holds still; None for any other; OSError."""
    descriptor = os.open(name, _READ_FILE, dir_fd=folder)
    try:
        before = os.fstat(descriptor)
        size = before.st_size
        if size >= limit or not stat.S_ISREG(before.st_mode):
            return None
        data = os.read(descriptor, size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    is_still = len(data) == size and before.st_mtime_ns == after.st_mtime_ns
    return (data, before) if is_still else None


class Packing:
    """The small files among the members of a folder on their way into packs.

    Every process that takes part fills packs of its own.
    """

    def __init__(
        self,
        store: Holdings,
        own: OwnPacks,
        lease: Lease,
        root: Path,
        names: Sequence[tuple[str, int]],
        members: Members,
    ) -> None:
        self._store = store
        self._own = own
        self._lease = lease
        self._root = root
        self._names = names
        self._members = members
        self._parent = os.getpid()
        self._relied_on: set[str] = set()

    def run(self, limit: int) -> None:
        """Put what is small and easy; the rest stays missing among the members.

        Raises StorageError.
        """
        layout = self._store.layout
        self._lease.begin()
        self._held = SmallBlobs(self._store.packs(), len(self._names))
        self._loose = {path.name for path in listed(layout.root / "loose")}
        with self._held:
            job = partial(self._job, limit)
            run_divided(len(self._names), SLICE, job, self._adopt, layout.discard_of)

    def _job(self, limit: int, slices: Iterator[range]) -> bytes:
        """Pack the files of some slices, in this process or a worker."""
        is_worker = os.getpid() != self._parent
        if is_worker:
            self._own.begin_apart()
        rows = {}
        with storage_errors(self._root, "read"):
            folders = Folders(self._root, create=False)
        try:
            for one in slices:
                names = self._names[one.start : one.stop]
                rows[one.start] = pack_files(folders, names, limit, self._take)
        finally:
            folders.close()
        packs = self._own.end_apart() if is_worker else []
        self._own.write_ahead()
        return marshal.dumps((rows, packs, list(self._relied_on)))

    def _adopt(self, share: Share) -> None:
        """Make what one process did the writer's own."""
        rows, packs, relied_on = marshal.loads(share.result)  # noqa: S302 - from our own fork
        for path, index in packs:
            self._own.adopt(path, index)
        for start, some in rows.items():
            self._members.put_rows(start, some)
        for path in map(Path, relied_on):
            if not self._lease.keep([path]):
                raise removed_meanwhile(path)

    def _take(self, digest: bytes, data: bytes) -> bool:
        """Store a small blob, unless it is held and that can be proved at once."""
        if self._own.holds(digest):
            return True
        if (held := self._held.find(digest)) is not None:
            if self._held.read(digest) != data or not self._lease.keep([held]):
                return False
            self._relied_on.add(str(held))
            return True
        if digest[:1].hex() in self._loose and self._loose_copy(digest).exists():
            return False
        self._own.finish_if_full()
        self._own.builder().add_blob(digest, len(data), *codecs.encode(data))
        return True

    def _loose_copy(self, digest: bytes) -> Path:
        return self._store.layout.loose(Digest(digest.hex()))
