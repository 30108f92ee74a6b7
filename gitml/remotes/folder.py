"""A folder as a remote: on this machine, or a mount that several machines share.

<root>/<key>    the objects, read-only files
<root>/.tmp/    what is being written, named by its process; no key begins with a dot

The root has to exist: a mount point whose disk is not there must not be filled in its stead.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    CorruptData,
    MissingBytes,
    RaceLost,
    Unreachable,
)
from gitml.fs import (
    ProcessIdentity,
    clone,
    flush_to_disk,
    make_directories,
    storage_errors,
    sync_directory,
    write_fully,
)
from gitml.remotes.base import (
    PIECE,
    Access,
    Capabilities,
    Content,
    Entry,
    FilePart,
    Remote,
    check_key,
    is_key,
)

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_TEMPORARY = ".tmp"
_AT_ONCE = 256
_FLUSHES = 8
_COPIES = 2
_ABANDONED_AFTER = 7 * 24 * 3600
_SHARED = stat.S_ISGID | stat.S_IWGRP
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_AWAY = (errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_NO_RANGE = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class FolderRemote(Remote):
    """Objects as files below one folder, written by the one recipe of `gitml.fs`."""

    flavor = "folder"
    capabilities = Capabilities(parallel=4, batches=True)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = os.fspath(root)
        self._is_prepared = False

    @classmethod
    def open(cls, url: str, access: Access) -> FolderRemote:
        """The folder of a path or a ``file://`` URL; a relative path counts from the base."""
        text = url
        if url.startswith("file:"):
            host, slash, path = url.removeprefix("file://").partition("/")
            if not url.startswith("file://") or host not in ("", "localhost") or not slash:
                raise ConfigError(f"`{url}` is no folder of this machine", hint="`file:///folder`")
            text = unquote(f"/{path}")
        if "\0" in text or not text.strip():
            raise ConfigError(f"{url!r} is no folder")
        if text == "~" or text.startswith("~/"):
            text = access.environment.get("HOME", "~") + text[1:]
        return cls(Path(os.path.normpath(access.base / text)))

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes of those that are there."""
        found = {}
        for key in keys:
            with self._errors(key, "read"), suppress(FileNotFoundError, NotADirectoryError):
                known = self._path(key).lstat()
                if stat.S_ISREG(known.st_mode):
                    found[key] = known.st_size
        if not found:
            self._check_root()
        return found

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a file, as they are read."""
        with self._errors(key, "read"):
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            end = max(start, size) if length is None else start + length
            if start > size:
                raise CorruptData(f"{key} on {self.url} ends after {size} bytes, before {start}")
            while start < end:
                with self._errors(key, "read"):
                    piece = os.pread(descriptor, min(PIECE, end - start), start)
                if not piece:
                    raise self._too_short(key, size, end)
                start += len(piece)
                yield piece
        finally:
            os.close(descriptor)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The bytes of one read, where the system gives them at once."""
        with self._errors(key, "read"):
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                data = os.pread(descriptor, length, start)
            finally:
                os.close(descriptor)
        return data if len(data) == length else super().get_range(key, start, length)

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """Write a file beside, flush it, give it its name, flush the folder."""
        self._write(key, lambda descriptor: _fill(descriptor, content), create=create)

    def put_pieces(
        self, key: str, size: int, pieces: Iterable[bytes], *, create: bool = False
    ) -> None:
        """As `put`, of bytes that arrive; raises CorruptData if they are not ``size``."""

        def fill(descriptor: int) -> None:
            written = 0
            for piece in pieces:
                written += len(piece)
                if written <= size:
                    write_fully(descriptor, piece)
            if written != size:
                raise CorruptData(f"{written} bytes came for {key}, not {size}")

        self._write(key, fill, create=create)

    def put_all(
        self,
        contents: Iterable[tuple[str, Content]],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """Write files beside, flush them side by side, name them, flush each folder once.

        One file after another would wait for the disk each time, and each folder as often as it
        gets a name.
        """
        waiting = iter(contents)
        while group := dict(islice(waiting, _AT_ONCE)):
            self._put_group(group, sent)

    def _put_group(self, group: Mapping[str, Content], sent: Callable[[int], None] | None) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._prepare()
        paths = {key: self._path(key) for key in group}
        folders = {path.parent for path in paths.values()}
        written: dict[str, Path] = {}
        try:
            with ThreadPoolExecutor(_FLUSHES, "gitml-flush") as flushing:
                for size in self._written(group, written, flushing):
                    if sent is not None:
                        sent(size)
                self._make_folders(folders)
                for key, path in paths.items():
                    with self._errors(key, "write"):
                        written[key].replace(path)
                    del written[key]
                deque(flushing.map(sync_directory, folders), maxlen=0)
        except BaseException:
            for temporary in written.values():
                with suppress(OSError):
                    temporary.unlink()
            raise

    def _written(
        self, group: Mapping[str, Content], written: dict[str, Path], flushing: ThreadPoolExecutor
    ) -> list[int]:
        """Write and flush temporary files, noting in ``written`` where they are; their sizes."""
        from concurrent.futures import ThreadPoolExecutor

        def flush(key: str, descriptor: int) -> int:
            try:
                with self._errors(key, "write"):
                    flush_to_disk(descriptor)
                    return os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)

        def write(key: str) -> Future[int]:
            with self._errors(key, "write"):
                written[key] = self._temporary()
                descriptor = self._create(written[key])
                try:
                    _fill(descriptor, group[key])
                    self._share(descriptor)
                except BaseException:
                    os.close(descriptor)
                    raise
            return flushing.submit(flush, key, descriptor)

        with ThreadPoolExecutor(_COPIES, "gitml-copy") as copying:
            flushes = list(copying.map(write, group))
        return [one.result() for one in flushes]

    def _make_folders(self, folders: Iterable[Path]) -> None:
        """Make those that are missing, flushing what is above them once."""
        with self._errors(_TEMPORARY, "write"):
            missing = [folder for folder in folders if not folder.is_dir()]
            above = {folder.parent for folder in missing}
            for folder in above:
                self._make_folder(folder)
            for folder in missing:
                folder.mkdir(exist_ok=True)
                self._share_folder(folder)
            for folder in above:
                sync_directory(folder)

    def _temporary(self) -> Path:
        owner = ProcessIdentity.current().to_text()
        return self.root / _TEMPORARY / f"{owner}+{os.urandom(8).hex()}"

    def _create(self, temporary: Path) -> int:
        """A descriptor of a new file for reading and writing."""
        return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

    def _write(self, key: str, fill: Callable[[int], None], *, create: bool) -> None:
        path = self._path(key)
        self._prepare()
        temporary = self._temporary()
        with self._errors(key, "write"):
            self._make_folder(path.parent)
            descriptor = self._create(temporary)
            try:
                try:
                    fill(descriptor)
                    self._share(descriptor)
                    flush_to_disk(descriptor)
                finally:
                    os.close(descriptor)
                if create:
                    self._link(temporary, path, key)
                else:
                    temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_directory(path.parent)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The files whose path from the root begins with ``prefix``."""
        self._check_root()
        folder = self.root / prefix.rpartition("/")[0]
        for place, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if is_key(name))
            above = Path(place).relative_to(self.root).as_posix()
            for name in sorted(files):
                key = name if above == "." else f"{above}/{name}"
                if key.startswith(prefix) and is_key(key):
                    with self._errors(key, "read"), suppress(FileNotFoundError):
                        known = (self.root / key).lstat()
                        if stat.S_ISREG(known.st_mode):
                            yield Entry(key, known.st_size, known.st_mtime)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the files, and make that durable."""
        folders = set()
        for key in keys:
            path = self._path(key)
            with self._errors(key, "delete"), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                folders.add(path.parent)
        for folder in folders:
            sync_directory(folder)
        if not folders:
            self._check_root()

    def path_of(self, key: str) -> Path | None:
        """The file itself."""
        path = self._path(key)
        with self._errors(key, "read"), suppress(FileNotFoundError, NotADirectoryError):
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        return None

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _check_root(self) -> None:
        """Raise Unreachable where the folder is not there: an empty answer would be a lie."""
        if not self.root.is_dir():
            folder = shlex.quote(self.url)
            raise Unreachable(
                f"the remote {self.url} is not there",
                hint=f"is a disk not mounted? A new one is made by `mkdir -p {folder}`",
            )

    def _prepare(self) -> None:
        """Make the folder for temporary files, and clear what dead writers left in it."""
        if self._is_prepared:
            return
        self._check_root()
        folder = self.root / _TEMPORARY
        with self._errors(_TEMPORARY, "write"):
            self._make_folder(folder)
            for path in folder.iterdir():
                with suppress(FileNotFoundError, PermissionError):
                    if _is_abandoned(path):
                        path.unlink()
        self._is_prepared = True

    def _make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        make_directories(path)
        while path != self.root:
            self._share_folder(path)
            path = path.parent

    def _share_folder(self, path: Path) -> None:
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if mode & _SHARED == _SHARED:
            with suppress(PermissionError):  # another user's, who has done it
                path.chmod(mode)

    def _share(self, descriptor: int) -> None:
        """In a folder that is made for a group, let the group read whatever the umask says."""
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if mode & _SHARED == _SHARED:
            os.fchmod(descriptor, mode & 0o444)

    def _link(self, temporary: Path, path: Path, key: str) -> None:
        """Give a file its name if nobody has it."""
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise RaceLost(f"{key} is on {self.url} already") from None
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise ConfigError(
                    f"{self.url} lies on a file system without hard links, "
                    "so nothing can be created there by one writer alone"
                ) from error
            raise
        temporary.unlink()

    @contextmanager
    def _errors(self, key: str, doing: str) -> Iterator[None]:
        """Raise what an OSError means for a remote, from it."""
        try:
            yield
        except OSError as error:
            if error.errno in _NOT_THERE:
                self._check_root()
                raise MissingBytes(f"{key} is not on {self.url}") from error
            if error.errno in _REFUSED:
                raise AuthenticationFailed(
                    f"you may not {doing} {key} on {self.url}",
                    hint=f"check who may with `ls -ld {shlex.quote(self.url)}`",
                ) from error
            if error.errno in _AWAY:
                raise ConnectionLost(f"the file system of {self.url} does not answer") from error
            with storage_errors(self.root / key, doing):
                raise


def _fill(target: int, content: Content) -> None:
    """Write the content to a new file: cloned where that can be, else copied by the system."""
    if isinstance(content, bytes):
        write_fully(target, content)
        return
    path = content if isinstance(content, Path) else content.path
    with storage_errors(path, "read"):
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(source).st_size
        part = content if isinstance(content, FilePart) else FilePart(path, 0, size)
        if part.length == size and clone(source, target):
            return
        _copy(source, target, part)
    finally:
        os.close(source)


def _copy(source: int, target: int, part: FilePart) -> None:
    """Copy a part of a file to the start of another."""
    at, end = part.start, part.start + part.length
    with suppress(AttributeError):  # macOS has no such call
        try:
            while at < end and (
                count := os.copy_file_range(source, target, end - at, at, at - part.start)
            ):
                at += count
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
    os.lseek(target, at - part.start, os.SEEK_SET)
    while at < end:
        with storage_errors(part.path, "read"):
            piece = os.pread(source, min(PIECE, end - at), at)
            if not piece:
                raise OSError(errno.EIO, f"the file ends before byte {end}")
        write_fully(target, piece)
        at += len(piece)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody will finish a temporary file: its writer is dead, or silent for a week."""
    is_silent = time.time() - path.stat().st_mtime > _ABANDONED_AFTER
    try:
        owner = ProcessIdentity.parse("+".join(path.name.split("+")[:4]))
    except CorruptData:
        return is_silent
    return is_silent or not owner.is_alive()
