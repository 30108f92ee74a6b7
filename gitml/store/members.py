"""Members: what is known of many files of a folder, in a hundred bytes for each.

A million entries and stats as objects are a gigabyte; here they are packed rows, from which an
object is made when it is asked for. The rows also travel between the processes of one job.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, overload

from gitml.entities.ids import Digest
from gitml.store.directory import raw_name, tree_mode
from gitml.store.tree import Tree, TreeEntry

_STAT = struct.Struct("<IQQIIIQqqq")
_ROW = struct.Struct("<32sIQQIIIQqqq")
_DIGESTS, _MODES, _SIZES = map(struct.Struct, ("<32s64x", "<32xI60x", "<64xQ24x"))
"""One column of the rows each: all of a million at once would be three hundred megabytes."""
STAT_BYTES = _STAT.size
ROW_BYTES = _ROW.size


class Member(NamedTuple):
    """A stored file or link of a folder, with its stat when its bytes were read."""

    entry: TreeEntry
    stat: os.stat_result


class StatRow(NamedTuple):
    """A stat as it is kept, under the names of `os.stat_result`."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int


class Row(NamedTuple):
    """A member as it is kept: the digest, and the stat under the names of `os.stat_result`."""

    digest: bytes
    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int


class Members(Sequence[Member]):
    """Members in the order of the names that were asked for, each made when it is asked for.

    A million of them are 100 MB, not a gigabyte.
    """

    def __init__(self, names: Sequence[tuple[str, int]]) -> None:
        """Nothing is known yet of any of ``names``, which are paths and tree modes."""
        self._names = names
        self._rows = bytearray(len(names) * _ROW.size)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, key: int) -> Member: ...
    @overload
    def __getitem__(self, key: slice) -> list[Member]: ...
    def __getitem__(self, key: int | slice) -> Member | list[Member]:
        if isinstance(key, slice):
            return [self[row] for row in range(len(self))[key]]
        row = range(len(self))[key]
        digest, *rest = _ROW.unpack_from(self._rows, row * _ROW.size)
        status = _status(rest)
        mode = tree_mode(status.st_mode)
        path = self._names[row][0]
        return Member(TreeEntry(path, mode, status.st_size, Digest(digest.hex())), status)

    def put(self, row: int, digest: bytes, status: os.stat_result) -> None:
        """Note what was stored for the name in a row."""
        self.put_rows(row, row_of(digest, status))

    def put_rows(self, row: int, rows: bytes) -> None:
        """Note what `row_of` and `pack_files` have for the names from a row on."""
        self._rows[row * _ROW.size : row * _ROW.size + len(rows)] = rows

    def missing(self) -> Iterator[int]:
        """The rows of which nothing was noted."""
        for row in range(len(self)):
            if not self._rows[row * _ROW.size + 33]:  # the type of a file is never 0
                yield row

    def replace_stats(self, stat_of: Callable[[Member], os.stat_result | None]) -> None:
        """Put other stats in the place of those for which ``stat_of`` gives one."""
        for row, member in enumerate(self):
            status = stat_of(member)
            if status is not None:
                self.put(row, member.entry.digest.raw, status)

    def raw_names(self) -> Iterator[bytes]:
        """The names as the file system has them."""
        return (raw_name(name) for name, _ in self._names)

    def rows(self) -> Iterator[Row]:
        """All members as they are kept: a tenth of the time of making entries and stats."""
        return map(Row._make, _ROW.iter_unpack(self._rows))

    def tree(self) -> Tree:
        """The tree of all members, whose names must be in the order of their bytes."""
        rows = self._rows
        modes = {mode: tree_mode(mode) for (mode,) in set(_MODES.iter_unpack(rows))}
        return Tree.of_columns(
            list(self.raw_names()),
            array("I", (modes[mode] for (mode,) in _MODES.iter_unpack(rows))),
            array("Q", (size for (size,) in _SIZES.iter_unpack(rows))),
            b"".join(digest for (digest,) in _DIGESTS.iter_unpack(rows)),
        )


class Stats(Sequence[os.stat_result]):
    """The stats of many files, each made when it is asked for."""

    def __init__(self, count: int) -> None:
        """Nothing is known yet."""
        self._rows = bytearray(count * STAT_BYTES)

    def __len__(self) -> int:
        return len(self._rows) // STAT_BYTES

    @overload
    def __getitem__(self, key: int) -> os.stat_result: ...
    @overload
    def __getitem__(self, key: slice) -> list[os.stat_result]: ...
    def __getitem__(self, key: int | slice) -> os.stat_result | list[os.stat_result]:
        if isinstance(key, slice):
            return [self[row] for row in range(len(self))[key]]
        return unpack_stat(self._rows, range(len(self))[key] * STAT_BYTES)

    def rows(self) -> Iterator[StatRow]:
        """All stats as they are kept: a third of the time of making them anew."""
        return map(StatRow._make, _STAT.iter_unpack(self._rows))

    def put_rows(self, row: int, rows: bytes) -> None:
        """Note stats from a row on, as `pack_stat` makes them."""
        self._rows[row * STAT_BYTES : row * STAT_BYTES + len(rows)] = rows

    def missing(self) -> Iterator[int]:
        """The rows of which nothing was noted."""
        for row in range(len(self)):
            if not self._rows[row * STAT_BYTES + 1]:  # the type of a file is never 0
                yield row


def row_of(digest: bytes, status: os.stat_result) -> bytes:
    """What `Members` keeps of one member."""
    times = status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns
    return _ROW.pack(digest, *status[:7], *times)


def pack_stat(status: os.stat_result) -> bytes:
    """A stat in `STAT_BYTES` bytes, to be sent to another process."""
    times = status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns
    return _STAT.pack(*status[:7], *times)


def unpack_stat(data: bytes | bytearray, offset: int) -> os.stat_result:
    """The stat that `pack_stat` made."""
    return _status(_STAT.unpack_from(data, offset))


def _status(numbers: Sequence[int]) -> os.stat_result:
    """The stat with these numbers, whose times are in nanoseconds."""
    *plain, accessed, modified, changed = numbers
    return os.stat_result(
        (*plain, accessed // 10**9, modified // 10**9, changed // 10**9),
        {
            "st_atime": accessed / 1e9,
            "st_mtime": modified / 1e9,
            "st_ctime": changed / 1e9,
            "st_atime_ns": accessed,
            "st_mtime_ns": modified,
            "st_ctime_ns": changed,
        },
    )
