"""Between files and the store: reading what may change under us, writing what may be hostile.

Reading notices a file that changes while it is read. Writing goes through folder descriptors and
never follows a symbolic link below the target, so that a tree can only write inside it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gitml.entities.ids import Digest
from gitml.errors import StorageError, UsageError
from gitml.fs import judge_relative_paths, storage_errors, write_fully
from gitml.store.digest import new_hasher, read_pieces
from gitml.store.tree import EXECUTABLE, REGULAR, SYMLINK, Tree, TreeEntry, judge_link_target

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Member(NamedTuple):
    """A stored file or link of a folder, with its stat when its bytes were read."""

    entry: TreeEntry
    stat: os.stat_result


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
            self._descriptor = os.open(path, flags)
            self.stat = os.fstat(self._descriptor)
        self.size = self.stat.st_size
        if not stat.S_ISREG(self.stat.st_mode):
            self.close()
            raise UsageError(f"cannot store {path}: it is {_kind_of(self.stat)}")

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
                    raise self._changed()
                yield piece
        if left:
            raise self._changed()

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
                raise self._changed()
            data += more
        return data

    def read_all(self) -> bytes:
        """All bytes of a small file."""
        data = self.read_at(0, self.size + 1)
        return data if len(data) == self.size else b"".join(map(bytes, self.pieces()))

    def digest(self) -> Digest:
        """The digest of all bytes."""
        hasher = new_hasher()
        for piece in self.pieces():
            hasher.update(piece)
        return Digest(hasher.hexdigest())

    def pieces_of(self, digest: Digest) -> Iterator[memoryview]:
        """All bytes once more; raises StorageError at the end if they are others than before."""
        hasher = new_hasher()
        for piece in self.pieces():
            hasher.update(piece)
            yield piece
        if hasher.hexdigest() != digest.hex:
            raise self._changed()

    def check_unchanged(self) -> None:
        """Raise StorageError if the name now means other bytes than those that were read."""
        with storage_errors(self.path, "read"):
            now = self.path.stat()
        if not is_unchanged(self.stat, now):
            raise self._changed()

    def _changed(self) -> StorageError:
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


def list_directory(root: Path) -> list[tuple[str, int]]:
    """The relative path and tree mode of every file and link below ``root``, without order.

    Raises UsageError for what is neither (pipes, sockets, devices) and StorageError.
    """
    found: list[tuple[str, int]] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        with storage_errors(root / prefix, "read"), os.scandir(root / prefix) as listing:
            for one in listing:
                name = prefix + one.name
                if one.is_dir(follow_symlinks=False):
                    pending.append(name + "/")
                else:
                    found.append((name, tree_mode(one.stat(follow_symlinks=False), one.path)))
    return found


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


def write_tree(
    tree: Tree,
    target: Path,
    write_blob: Callable[[TreeEntry, int, Path], None],
    read_link: Callable[[TreeEntry], bytes],
) -> None:
    """Create the folder ``target`` with the files and links of ``tree``, wholly or not at all.

    ``target`` must not exist or be an empty folder. ``write_blob(entry, descriptor, path)`` fills
    one new file. Links come last, so that no file is ever written through one. Raises
    StorageError, UsageError for a target in use, and what the two callables raise.
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
        folders = _Folders(temporary)
        try:
            for entry in tree.entries:
                if entry.mode != SYMLINK:
                    shown = target / entry.path
                    with storage_errors(shown):
                        folder, name = folders.of(entry.raw_path)
                    _write_file(folder, name, entry, shown, write_blob)
            for entry in tree.entries:
                if entry.mode == SYMLINK:
                    link = read_link(entry)
                    judge_link_target(entry.path, link)
                    with storage_errors(target / entry.path):
                        folder, name = folders.of(entry.raw_path)
                        os.symlink(link, name, dir_fd=folder)
        finally:
            folders.close()
        with storage_errors(target):
            temporary.replace(target)
    except BaseException:
        import shutil

        shutil.rmtree(temporary, ignore_errors=True)
        raise


def restore_entries(
    root: Path,
    entries: Sequence[TreeEntry],
    write_blob: Callable[[TreeEntry, int, Path], None],
    read_link: Callable[[TreeEntry], bytes],
) -> list[os.stat_result]:
    """Create or replace the file or link of each entry below ``root``; their stats, in order.

    Each gets its name by a rename in its own folder when it is whole. Missing folders are made;
    what stands where a folder or a file must be, a symbolic link above all, is left alone and
    UsageError names it. Raises StorageError and what the two callables raise, with the entry
    at which it stopped as it was.
    """
    judge_relative_paths(entry.raw_path for entry in entries)
    stats = []
    with storage_errors(root):
        folders = _Folders(root)
    try:
        for entry in entries:
            shown = root / entry.path
            with _named_obstacles(root, entry.path):
                folder, name = folders.of(entry.raw_path)
            temporary = f".gitml-{secrets.token_hex(8)}.tmp".encode()
            try:
                if entry.mode == SYMLINK:
                    link = read_link(entry)
                    judge_link_target(entry.path, link)
                    with storage_errors(shown):
                        os.symlink(link, temporary, dir_fd=folder)
                else:
                    _write_file(folder, temporary, entry, shown, write_blob)
                with _named_obstacles(root, entry.path):
                    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                    stats.append(os.stat(name, dir_fd=folder, follow_symlinks=False))
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
    finally:
        folders.close()
    return stats


@contextmanager
def _named_obstacles(root: Path, path: str) -> Iterator[None]:
    """Turn an OSError of the block into UsageError where something stands in the way of a path."""
    try:
        yield
    except OSError as error:
        place = root
        for component in path.split("/"):
            place /= component
            with suppress(OSError):
                found = place.lstat()
                is_folder = stat.S_ISDIR(found.st_mode)
                if is_folder == (place == root / path):
                    raise UsageError(
                        f"cannot write {root / path}: {place} is {_kind_of(found)}",
                        hint=f"look at it, and move it away with `mv {place} {place}.old`",
                    ) from error
        with storage_errors(root / path):
            raise


def fill(descriptor: int, pieces: Iterator[bytes], path: Path) -> None:
    """Make ``pieces`` the whole content of an open file, whatever was in it; StorageError."""
    with storage_errors(path):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
    for piece in pieces:
        with storage_errors(path):
            write_fully(descriptor, piece)


class _Folders:
    """The folders below a root, created on the way and reached without following links.

    The last one stays open: entries come sorted, so most share their folder with the one before.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _FOLDER)
        self._last = b""
        self._descriptor = os.dup(self._root)

    def of(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the folder of ``path`` and the name in it; raises OSError."""
        folder, _, name = path.rpartition(b"/")
        if folder != self._last:
            descriptor = os.dup(self._root)
            for component in folder.split(b"/") if folder else ():
                with suppress(FileExistsError):
                    os.mkdir(component, dir_fd=descriptor)
                try:
                    below = os.open(component, _FOLDER, dir_fd=descriptor)
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


def _write_file(
    folder: int,
    name: bytes,
    entry: TreeEntry,
    shown: Path,
    write_blob: Callable[[TreeEntry, int, Path], None],
) -> None:
    """Create one file of a tree in an open folder and have it filled."""
    with storage_errors(shown):
        mode = 0o777 if entry.mode == EXECUTABLE else 0o666
        descriptor = os.open(name, _NEW_FILE, mode, dir_fd=folder)
    try:
        write_blob(entry, descriptor, shown)
    finally:
        os.close(descriptor)


def _beside(target: Path) -> Path:
    """A new temporary name in the folder of ``target``."""
    return target.with_name(f".gitml-{secrets.token_hex(8)}.tmp")


def tree_mode(status: os.stat_result, path: Path | str) -> int:
    """The mode that a tree has for this file; raises UsageError for what it cannot hold."""
    if stat.S_ISLNK(status.st_mode):
        return SYMLINK
    if stat.S_ISREG(status.st_mode):
        return EXECUTABLE if status.st_mode & stat.S_IXUSR else REGULAR
    raise UsageError(f"cannot store {path}: it is {_kind_of(status)}")


def _kind_of(status: os.stat_result) -> str:
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
