"""The stat cache: what the data looked like when it last agreed with its pointers.

One file, ``<git dir of this worktree>/gitml/stat/index``: a git index of version 2 that we write in
one go and that git's own C code compares with the file system (docs/format.md, "The stat cache").
Every file of every pointer is an entry, with the first 20 bytes of its BLAKE3 digest as object id;
an extension behind the entries says which pointers they belong to. It is derived: without it, or
with a damaged one, the data is hashed again.

git compares whole seconds, and a file that changes in the second in which it was looked at
would pass unseen. So an entry is one of three kinds:

settled  It was looked at in a later second than its times tell: git's comparison is enough.
recent   It was not. Its group is one that nobody has, so that git reports it at every look, and we
         compare its times ourselves, to the nanosecond.
hot      It was read in the clock tick of its last change, so that no stat can tell whether it
         changed once more. Its times are zero, and the next look hashes it.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData
from gitml.frozen import Frozen
from gitml.fs import (
    flush_to_disk,
    make_directories,
    storage_errors,
    sync_directory,
    write_fully,
)

if TYPE_CHECKING:
    from gitml.store.members import Row, StatRow

Buffer = bytes | bytearray | mmap.mmap

_HEADER = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_MODE_AND_ID = struct.Struct(">24xI12x20s")
_TAIL = struct.Struct(">QI")
_EXTENSION = b"GTML"
_FORMAT = b"gitml stat 1"
_NO_SUM = bytes(20)
"""git writes zeros too where it is told to make no SHA-1 (``index.skipHash``), and reads them."""
_SECOND = 1_000_000_000
_TICK = 20_000_000
"""Nanoseconds that the clock of a file system may lag behind; kernels tick every 1 to 10 ms."""
_NO_GROUP = 0xFFFFFFFF
_EMPTY_BLOB = bytes.fromhex("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
"""The object id of an entry of no bytes: git takes any other for one that it should look into."""
_EMPTY_DIGEST = bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9")

HOT = bytes(32) + b"\xff\xff\xff\xff" + bytes(4)
"""The packed stat of an entry that the next look has to hash."""

_FILES = {
    "config": "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfilemode = true\n"
    "\tsymlinks = true\n\tignorecase = false\n\tprecomposeunicode = false\n"
    "\ttrustctime = true\n\tcheckstat = default\n\thooksPath = /dev/null\n"
    "\tquotepath = false\n[index]\n\tsparse = false\n",
    "HEAD": "ref: refs/heads/none\n",
}
"""What makes a folder a git directory, besides ``objects`` and ``refs``."""

REGULAR, EXECUTABLE, SYMLINK = 0o100644, 0o100755, 0o120000


class Entry(NamedTuple):
    """A file or link: its path from the root, its mode, 20 bytes of its digest, its packed stat."""

    path: str
    mode: int
    id: bytes
    stat: bytes

    def is_unchanged(self, now: os.stat_result) -> bool:
        """Whether a stat taken now proves that the content is the one that was hashed."""
        seen = struct.unpack(">10I", self.stat)
        if not any(seen[:4]):
            return False
        return mode_of(now) == self.mode and seen[:6] + seen[9:] == (
            *_times(now),
            now.st_dev & 0xFFFFFFFF,
            now.st_ino & 0xFFFFFFFF,
            now.st_size & 0xFFFFFFFF,
        )

    def has_another_size(self, now: os.stat_result) -> bool:
        """Whether a stat taken now proves by its size that the content is another."""
        size = (now.st_size & 0xFFFFFFFF).to_bytes(4, "big")
        return any(self.stat[:24]) and self.stat[36:] != size  # HOT says nothing, no size either


class View(Frozen):
    """Which files of a folder are checked out: those that match, in the words of the user.

    No ``include`` means all. See ``gitml.workspace.globs``.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Held(Frozen):
    """The data of one pointer as it was when it last agreed with ``pointer``.

    ``path`` is the data's, from the root. ``start``, ``end`` and ``count`` tell where its entries
    are in the file.
    """

    path: str
    pointer: Pointer
    start: int = 0
    end: int = 0
    count: int = 0


class Block(Frozen):
    """New entries of one pointer: those of its files, sorted, in the bytes of the index."""

    data: bytes | bytearray
    count: int

    @classmethod
    def of(cls, entries: Iterable[tuple[bytes, int, bytes, bytes]]) -> Block:
        """The block of (raw path, mode, digest or its first 20 bytes, packed stat) in any order."""
        return cls.in_order(sorted(entries))

    @classmethod
    def in_order(cls, entries: Iterable[tuple[bytes, int, bytes, bytes]]) -> Block:
        """The block of entries that are sorted by their raw paths; keeps none of them."""
        data = bytearray()
        count = 0
        for one in entries:
            data += _packed(*one)
            count += 1
        return cls(data, count)

    def rows(self) -> Iterator[Entry]:
        """The entries, one by one."""
        return _entries(self.data, 0, len(self.data))


class StatCache:
    """One reading of the stat cache; `saved` gives the next one to the file."""

    def __init__(self, path: Path, held: Mapping[str, Held], data: Buffer) -> None:
        self.path = path
        self.held = held
        self._data = data

    @classmethod
    def read(cls, path: Path) -> StatCache:
        """The cache in a file; an empty one where it is absent or not what we wrote.

        Raises StorageError where it cannot be read: who took that for an absent one would forget
        what is checked out.
        """
        try:
            with storage_errors(path, "read"), suppress(FileNotFoundError, IsADirectoryError):
                with path.open("rb") as file:
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return cls(path, _pointers(data), data)
        except (ValueError, struct.error, CorruptData):
            pass
        return cls(path, {}, b"")

    def entries(self, path: str) -> Iterator[Entry]:
        """The entries of a pointer's data, sorted by their raw paths."""
        held = self.held.get(path)
        if held is None:
            return
        yield from _entries(self._data, held.start, held.end)

    def names(self, path: str) -> list[str]:
        """The path of each entry of a pointer's data, sorted."""
        held = self.held.get(path)
        raw = _raw_entries(self._data, held.start, held.end) if held is not None else ()
        return [os.fsdecode(name) for name, _ in raw]

    def stats(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        """Raw path and packed stat of each entry of a pointer's data, sorted."""
        held = self.held.get(path)
        if held is not None:
            raw = _raw_entries(self._data, held.start, held.end)
            yield from ((name, bytes(self._data[at : at + 40])) for name, at in raw)

    def block(self, path: str) -> Block:
        """The entries of a pointer's data, to be written again as they are."""
        held = self.held[path]
        return Block(self._data[held.start : held.end], held.count)

    def saved(self, changes: Mapping[str, tuple[Held, Block] | None]) -> None:
        """Write the cache with some pointers' entries replaced, added, or taken out (None).

        By a new file and a rename: who reads meanwhile has the old one. Not flushed to the disk,
        since a power cut that tears it costs no more than hashing. Raises StorageError. The caller
        holds the lock of the working tree.
        """
        new = {path: one for path, one in changes.items() if one is not None}
        for path, held in self.held.items():
            if path not in changes:
                new[path] = (held, self.block(path))
        ordered = sorted(new.values(), key=_order)
        parts: list[bytes | bytearray] = []
        listed: list[bytes] = []
        at = _HEADER.size
        for held, block in ordered:
            listed += _fields(held, at, at + len(block.data), block.count)
            parts.append(block.data)
            at += len(block.data)
        text = b"\0".join([_FORMAT, *listed])
        header = _HEADER.pack(b"DIRC", 2, sum(block.count for _, block in ordered))
        size = struct.pack(">I", len(text) + _TAIL.size)
        _replace(self.path, [header, *parts, _EXTENSION, size, text], len(text))


def _entries(data: Buffer, start: int, end: int) -> Iterator[Entry]:
    for name, at in _raw_entries(data, start, end):
        mode, id_ = _MODE_AND_ID.unpack_from(data, at)
        id_ = _EMPTY_DIGEST if id_ == _EMPTY_BLOB else id_
        yield Entry(os.fsdecode(name), mode, id_, bytes(data[at : at + 40]))


def _raw_entries(data: Buffer, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The raw path of each entry, and where it begins."""
    while at < end:
        name_at = at + _ENTRY.size
        length = int.from_bytes(data[name_at - 2 : name_at], "big") & 0xFFF
        if length == 0xFFF:
            length = data.find(b"\0", name_at) - name_at
        yield bytes(data[name_at : name_at + length]), at
        at += _padded(length)


def prepare(folder: Path) -> None:
    """Make the folder a git directory of its own, in which nobody's settings count.

    What of it was damaged or lost, as copying tools lose empty folders, is made again.
    """
    if _is_prepared(folder):
        return
    make_directories(folder / "objects")
    with storage_errors(folder):
        for name, text in _FILES.items():
            _write_flushed(folder / name, text)
    sync_directory(folder)
    make_directories(folder / "refs")


def _is_prepared(folder: Path) -> bool:
    with suppress(OSError, ValueError):
        return (
            (folder / "refs").is_dir()
            and (folder / "objects").is_dir()
            and all((folder / name).read_text("utf-8") == text for name, text in _FILES.items())
        )
    return False


def _write_flushed(path: Path, text: str) -> None:
    """Write a small file through to the disk; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_fully(descriptor, text.encode())
        flush_to_disk(descriptor)
    finally:
        os.close(descriptor)


def clock(folder: Path) -> int:
    """The time now in nanoseconds, as the file system has it or as the system has it: the earlier.

    The times of files come from the file system's clock, which on a network is another machine's.
    """
    import time

    probe = folder / f"clock-{os.urandom(8).hex()}"
    with storage_errors(probe):
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return min(os.fstat(descriptor).st_mtime_ns, time.time_ns())
        finally:
            os.close(descriptor)
            with suppress(OSError):
                probe.unlink()


def packed_stat(found: os.stat_result | Row | StatRow, looked: int, read: int | None) -> bytes:
    """A stat as an entry has it.

    ``looked`` is a time (`clock`) before the stat was taken; ``read`` one before the content was
    read, None when the file was written by ourselves and not read.
    """
    newest = max(found.st_mtime_ns, found.st_ctime_ns)
    mode, group = mode_of(found), found.st_gid & 0xFFFFFFFF
    times: tuple[int, ...] = _times(found)
    if read is not None and newest >= read - _TICK:
        times, group = (0, 0, 0, 0), _NO_GROUP
    elif newest // _SECOND >= looked // _SECOND:
        group = _NO_GROUP
    return struct.pack(
        ">10I",
        *times,
        found.st_dev & 0xFFFFFFFF,
        found.st_ino & 0xFFFFFFFF,
        mode,
        found.st_uid & 0xFFFFFFFF,
        group,
        found.st_size & 0xFFFFFFFF,
    )


def mode_of(found: os.stat_result | Row | StatRow) -> int:
    """The mode that a tree has for a file; 0 for what no tree can hold."""
    if stat.S_ISLNK(found.st_mode):
        return SYMLINK
    if stat.S_ISREG(found.st_mode):
        return EXECUTABLE if found.st_mode & stat.S_IXUSR else REGULAR
    return 0


def _times(found: os.stat_result | Row | StatRow) -> tuple[int, int, int, int]:
    """Change and modification time as an index has them: seconds and nanoseconds."""
    changed, modified = divmod(found.st_ctime_ns, _SECOND), divmod(found.st_mtime_ns, _SECOND)
    return (changed[0] & 0xFFFFFFFF, changed[1], modified[0] & 0xFFFFFFFF, modified[1])


def _packed(path: bytes, mode: int, digest: bytes, packed: bytes) -> bytes:
    """One entry: its stat with the mode, its id, its flags, its name, and NULs to a multiple of 8.

    The file's own mode may have changed since it was hashed; the entry has the one that counts.
    """
    id_ = digest[:20]
    if id_ == _EMPTY_DIGEST:
        id_ = _EMPTY_BLOB
    length = len(path)
    size = _padded(length)
    head = packed[:24] + mode.to_bytes(4, "big") + packed[28:] + id_
    return (head + min(length, 0xFFF).to_bytes(2, "big") + path).ljust(size, b"\0")


def _padded(length: int) -> int:
    """The length of an entry whose name has this length."""
    return (_ENTRY.size + length + 8) & ~7


def _order(change: tuple[Held, Block]) -> bytes:
    held, _ = change
    return os.fsencode(held.path) + (b"/" if held.pointer.kind == "tree" else b"")


def _fields(held: Held, start: int, end: int, count: int) -> list[bytes]:
    """What the extension says of a pointer; no path and no pointer has a NUL in it."""
    numbers = b"%d %d %d" % (start, end, count)
    return [os.fsencode(held.path), held.pointer.encode(), numbers]


def _pointers(data: Buffer) -> dict[str, Held]:
    """What the extension says, after the sum over the whole file was found right."""
    import zlib

    end = len(data) - len(_NO_SUM) - _TAIL.size
    length, summed = _TAIL.unpack_from(data, end)
    with memoryview(data) as view:
        if zlib.crc32(view[:end]) != summed or length > end:
            raise CorruptData("the stat cache is not what its sum says")
    form, *fields = data[end - length : end].split(b"\0")
    if form != _FORMAT:
        raise CorruptData("the stat cache has another format")
    found = {}
    for raw, text, numbers in zip(*[iter(fields)] * 3, strict=True):
        path = os.fsdecode(raw)
        start, stop, count = map(int, numbers.split())
        found[path] = Held(path, Pointer.decode(text, path), start, stop, count)
    return found


def _replace(path: Path, parts: Iterable[bytes | bytearray], length: int) -> None:
    """Put the parts, the length of the last one and a sum of all into a file in place of the old.

    Its time is zero: then git does not compare its entries with it, which is our business here.
    """
    import zlib

    temporary = path.with_name(f"index-{os.urandom(8).hex()}")
    summed = 0
    with storage_errors(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o644)
        try:
            try:
                for part in parts:
                    summed = zlib.crc32(part, summed)
                    write_fully(descriptor, part)
                write_fully(descriptor, _TAIL.pack(length, summed) + _NO_SUM)
                os.utime(descriptor, (0, 0))
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def digest_id(digest: Digest) -> bytes:
    """What an entry has for a digest."""
    return digest.raw[:20]
