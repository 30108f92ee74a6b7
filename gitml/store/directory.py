"""Between files and the store: reading what may change under us, writing what may be hostile.

Reading notices a file that changes while it is read. Writing goes through folder descriptors and
never follows a symbolic link below the target, so that a tree can only write inside it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gitml.entities.ids import Digest
from gitml.errors import StorageError, UsageError
from gitml.fs import clone, flush_to_disk, storage_errors, temporary_name, write_fully
from gitml.store.copying import copy_hashed
from gitml.store.digest import hash_up_to, read_pieces
from gitml.store.tree import EXECUTABLE, REGULAR, SYMLINK

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SourceFile:
    """A regular file that is read one or more times and must stay the same meanwhile.

    A context manager. ``stat`` and ``size``, in bytes, are as they were at the beginning.
    """

    def __init__(self, path: Path, *, follow: bool = True) -> None:
        """Open ``path``; a symbolic link only if ``follow``. Raises StorageError, UsageError."""
        self.path = path
        # Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        with storage_errors(path, "read"):
            try:
                self._descriptor = os.open(path, flags)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                # A socket, or a device that is not there.
                raise UsageError(f"cannot store {path}: it is {kind_of(path.stat())}") from error
            self.stat = os.fstat(self._descriptor)
        self.size = self.stat.st_size
        if not stat.S_ISREG(self.stat.st_mode):
            self.close()
            raise UsageError(f"cannot store {path}: it is {kind_of(self.stat)}")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pieces(self) -> Iterator[memoryview]:
        """All bytes from the start, never more than ``size``; each piece lives until the next."""
        left = self.size
        with storage_errors(self.path, "read"):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            for piece in read_pieces(self._descriptor):
                left -= len(piece)
                if left < 0:
                    raise self.changed()
                yield piece
        if left:
            raise self.changed()

    def read_at(self, offset: int, length: int) -> bytes:
        """Some bytes, fewer at the end."""
        with storage_errors(self.path, "read"):
            return os.pread(self._descriptor, length, offset)

    def read_exactly(self, offset: int, length: int) -> bytes:
        """Some bytes, never fewer; raises StorageError if the file has become shorter."""
        data = self.read_at(offset, length)
        while len(data) < length:
            more = self.read_at(offset + len(data), length - len(data))
            if not more:
                raise self.changed()
            data += more
        return data

    def read_all(self) -> bytes:
        """All bytes of a small file."""
        data = self.read_at(0, self.size + 1)
        return data if len(data) == self.size else b"".join(map(bytes, self.pieces()))

    def digest(self) -> Digest:
        """The digest of all bytes."""
        with storage_errors(self.path, "read"):
            digest, count = hash_up_to(self._descriptor, self.size)
        if count != self.size:
            raise self.changed()
        return digest

    def flush(self) -> None:
        """Make the bytes durable; raises StorageError."""
        with storage_errors(self.path):
            flush_to_disk(self._descriptor)

    def clone_to(self, target: int) -> bool:
        """Whether an empty file now shares all blocks of this one; raises StorageError."""
        with storage_errors(self.path, "clone"):
            return clone(self._descriptor, target)

    def copy_to(self, target: int) -> Digest:
        """Fill a new file with all bytes; their digest. Raises OSError, StorageError."""
        digest = copy_hashed(self._descriptor, target, self.size, flush=True)
        if digest is None:
            raise self.changed()
        return digest

    def check_unchanged(self) -> None:
        """Raise StorageError if the name now means other bytes than those that were read."""
        with storage_errors(self.path, "read"):
            now = self.path.stat()
        if not is_unchanged(self.stat, now):
            raise self.changed()

    def changed(self) -> StorageError:
        """The error for a file that did not stay the same."""
        return changed_while_read(self.path)


def is_unchanged(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether two looks at a name saw the same file with, as far as one can tell, the same bytes.

    The time of the last change of the inode is no part of it: a link made elsewhere moves it.
    """
    return (before.st_size, before.st_mtime_ns, before.st_ino, before.st_dev) == (
        now.st_size,
        now.st_mtime_ns,
        now.st_ino,
        now.st_dev,
    )


def changed_while_read(path: Path) -> StorageError:
    """The error for a file that is not what it was when reading it began."""
    return StorageError(
        f"{path} changed while it was read",
        hint="nothing was recorded; run the same command again when no program writes there",
    )


class Listing(NamedTuple):
    """Everything below a folder: paths in the order of their bytes with the kind of each.

    ``names`` are relative paths, each with SYMLINK for a link, REGULAR for any file; ``folders``
    are the stats of the folders that were listed.
    """

    root: Path
    names: list[tuple[str, int]]
    folders: dict[str, os.stat_result]

    def is_unchanged(self) -> bool:
        """Whether nothing came, went or got another name since; raises StorageError."""
        for prefix, before in self.folders.items():
            with storage_errors(self.root / prefix, "read"):
                now = (self.root / prefix).stat()
            if not is_unchanged(before, now):
                return False
        return True


def list_directory(root: Path) -> Listing:
    """Every file and link below ``root``, without a look at any of the files.

    Raises UsageError for what is neither (pipes, sockets, devices) and StorageError.
    """
    found: list[tuple[bytes, str, int]] = []
    folders: dict[str, os.stat_result] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        with storage_errors(root / prefix, "read"):
            folders[prefix] = (root / prefix).stat()
            with os.scandir(root / prefix) as listing:
                for one in listing:
                    name = prefix + one.name
                    if one.is_file(follow_symlinks=False):
                        found.append((raw_name(name), name, REGULAR))
                    elif one.is_dir(follow_symlinks=False):
                        pending.append(name + "/")
                    elif one.is_symlink():
                        found.append((raw_name(name), name, SYMLINK))
                    else:
                        kind = kind_of(one.stat(follow_symlinks=False))
                        raise UsageError(f"cannot store {one.path}: it is {kind}")
    found.sort()
    return Listing(root, [(name, mode) for _, name, mode in found], folders)


@contextmanager
def new_file_beside(target: Path) -> Iterator[int]:
    """A descriptor to write to; after the block its file replaces ``target``.

    If the block raises, ``target`` is as it was and nothing is left beside it.
    """
    temporary = _beside(target)
    with storage_errors(target):
        descriptor = os.open(temporary, _NEW_FILE, 0o666)
    try:
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        with storage_errors(target):
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def new_folder_beside(target: Path) -> Iterator[Path]:
    """A new folder to fill; after the block it becomes ``target``.

    ``target`` must not exist or be an empty folder: UsageError. If the block raises, it is as it
    was and nothing is left beside it.
    """
    temporary = _beside(target)
    with storage_errors(target):
        if target.is_symlink() or (target.exists() and any(target.iterdir())):
            raise UsageError(
                f"cannot write a folder to {target}: something is there already",
                hint=f"choose another place, or move it away with `mv {target} {target}.old`",
            )
        temporary.mkdir()
    try:
        yield temporary
        with storage_errors(target):
            temporary.replace(target)
    except BaseException:
        import shutil

        shutil.rmtree(temporary, ignore_errors=True)
        raise


def fill(descriptor: int, pieces: Iterator[bytes], path: Path) -> None:
    """Make ``pieces`` the whole content of an open file, whatever was in it; StorageError."""
    with storage_errors(path):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
    for piece in pieces:
        with storage_errors(path):
            write_fully(descriptor, piece)


class Folders:
    """The folders below a root, reached without following links, and made if ``create``.

    The last one stays open: entries come sorted, so most share their folder with the one before.
    """

    def __init__(self, root: Path, *, create: bool) -> None:
        """Open the root, which may be a link; raises OSError."""
        self._create = create
        self._root = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
        self._last = b""
        self._descriptor = os.dup(self._root)

    def of(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the folder of ``path`` and the name in it; raises OSError."""
        folder, _, name = path.rpartition(b"/")
        if folder != self._last:
            descriptor = os.dup(self._root)
            for component in folder.split(b"/") if folder else ():
                try:
                    below = self._open(component, descriptor)
                finally:
                    os.close(descriptor)
                descriptor = below
            os.close(self._descriptor)
            self._last, self._descriptor = folder, descriptor
        return self._descriptor, name

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._descriptor)
        os.close(self._root)

    def _open(self, name: bytes, parent: int) -> int:
        """The descriptor of a folder in an open one."""
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            if not self._create:
                raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        return os.open(name, _FOLDER, dir_fd=parent)


def _beside(target: Path) -> Path:
    """A new temporary name in the folder of ``target``."""
    return target.with_name(temporary_name())


def raw_name(name: str) -> bytes:
    """A relative path as the bytes of the file system."""
    return name.encode("utf-8", "surrogateescape")


def tree_mode(mode: int) -> int:
    """The mode that a tree has for a file or link with this mode of the file system."""
    if stat.S_ISLNK(mode):
        return SYMLINK
    return EXECUTABLE if mode & stat.S_IXUSR else REGULAR


def kind_of(status: os.stat_result) -> str:
    """What a file is, in words."""
    return {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFREG: "a file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }.get(stat.S_IFMT(status.st_mode), "no regular file")
