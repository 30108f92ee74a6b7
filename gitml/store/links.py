"""Loose files that share their blocks with working files, by clone or by hard link.

A clone (reflink) is a file of its own from the first change on, so it is taken wherever the file
system makes one. A hard link is the same file under two names: who edits one in place edits the
other. So hard links are made only for who asks for them, of the user's own files, read-only, and
every loose file that is linked carries a **seal**: the nanoseconds of its modification time follow
from its digest. Any write moves that time. While the seal holds, a look at it is proof enough; a
file without its seal is hashed before it is used. One that is not its digest any more is never
used, and set aside when a good copy is there: it may be the only copy of somebody's edit.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from gitml.entities.ids import Digest
from gitml.errors import ConfigError, StorageError
from gitml.fs import clone, flush_to_disk, storage_errors
from gitml.store.digest import hash_descriptor, hash_file
from gitml.store.directory import SourceFile
from gitml.store.layout import Layout, discard

if TYPE_CHECKING:
    from gitml.store.members import Row

LinkMode = Literal["auto", "hardlink", "copy"]

LINK_FROM = 64 * 1024
"""Smaller files, in bytes, are copied into packs also where they could be linked or cloned.

An inode of its own has to be made durable for each; a pack of thousands of them is written twenty
times as quickly, and takes less room than their last blocks.
"""

_SECOND = 10**9
_WRITE_BITS = 0o222
_MOST_NAMES = 32_000


def link_mode(text: str | None) -> LinkMode:
    """The mode that the setting ``gitml.link`` means; raises ConfigError for another word."""
    if text is None:
        return "auto"
    if text in ("auto", "hardlink", "copy"):
        return cast(LinkMode, text)
    raise ConfigError(
        f"gitml.link is `{text}`; it should be auto, hardlink or copy",
        hint="`git config gitml.link auto`",
    )


def seal_of(digest: Digest) -> int:
    """The nanoseconds of the modification time of a sealed file, never 0."""
    return int.from_bytes(digest.raw[:4], "big") % (_SECOND - 1) + 1


def is_sealed(status: os.stat_result | Row, digest: Digest) -> bool:
    """Whether a loose file of our own is as it was when it was sealed.

    What somebody else may write to proves nothing, whatever its time.
    """
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_mtime_ns % _SECOND == seal_of(digest)
        and status.st_uid == os.geteuid()
    )


class Links:
    """What a store may share with working files; nothing is tried before it is asked for."""

    def __init__(self, layout: Layout, mode: LinkMode) -> None:
        self._layout = layout
        self._mode = mode
        self._clones: bool | None = None
        self._damaged: set[Digest] = set()

    @property
    def makes_hard_links(self) -> bool:
        """Whether this user wants hard links."""
        return self._mode == "hardlink"

    def takes(self, size: int) -> bool:
        """Whether `take_in` may take a file of this size, in bytes."""
        if size < LINK_FROM or self._mode == "copy":
            return False
        if self.makes_hard_links:
            return True
        with suppress(StorageError):
            self._layout.prepare()
        return self._can_clone()

    def take_in(
        self, source: SourceFile, is_held: Callable[[Digest], bool]
    ) -> tuple[Digest, Path | None] | None:
        """The digest of a working file, and a file in ``tmp/`` with its blocks unless it is held.

        None if the blocks cannot be shared. The bytes are durable. Raises StorageError, also for
        a file that changes meanwhile.
        """
        if self.makes_hard_links:
            return self._take_link(source, is_held)
        return self._take_clone(source, is_held)

    def gives_from(self) -> float:
        """The size in bytes from which on `give_out` may have something to give; else infinity."""
        return LINK_FROM if self.makes_hard_links or self._can_clone() else math.inf

    def give_out(
        self, digest: Digest, size: int, folder: int, name: bytes, *, executable: bool
    ) -> bool:
        """Make a new file of a loose one, by link or clone, if that can be; never a wrong one.

        Raises OSError.
        """
        try:
            source = os.open(self._layout.loose(digest), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            status = os.fstat(source)
            if status.st_size != size or not self._is_good(digest, source, status):
                return False
            if self.makes_hard_links:
                return self._give_link(
                    digest, os.fstat(source), folder, name, executable=executable
                )
            made = _give_clone(source, folder, name, executable=executable)
            if made and status.st_uid != os.geteuid() and not _has(folder, name, digest):
                os.unlink(name, dir_fd=folder)  # its owner wrote to it since it was hashed
                return False
            return made
        finally:
            os.close(source)

    def seal(self, path: Path, digest: Digest) -> None:
        """Make a durable loose file read-only and set its seal; raises StorageError."""
        with storage_errors(path):
            status = path.stat()
            path.chmod(stat.S_IMODE(status.st_mode) & ~_WRITE_BITS)
            seconds = status.st_mtime_ns // _SECOND
            os.utime(path, ns=(status.st_atime_ns, seconds * _SECOND + seal_of(digest)))

    def replaced(self, digest: Digest) -> None:
        """A good copy was found: if `give_out` found the loose one damaged, set it aside."""
        if digest in self._damaged:
            self._damaged.remove(digest)
            with suppress(StorageError):
                self.make_room(digest)

    def make_room(self, digest: Digest) -> None:
        """Take a loose file away that is not its digest; raises StorageError.

        It is kept: with hard links it is also the working file that somebody edited.
        """
        path = self._layout.loose(digest)
        try:
            is_damaged = path.stat().st_size > 0 and hash_file(path) != digest
        except FileNotFoundError:
            return
        if is_damaged:
            self._layout.set_aside(path)

    def _is_good(self, digest: Digest, descriptor: int, status: os.stat_result) -> bool:
        """Whether an open loose file has its bytes; a seal that broke is set again."""
        if is_sealed(status, digest):
            return True
        if hash_descriptor(descriptor) != digest:
            self._damaged.add(digest)
            return False
        if status.st_uid == os.geteuid():
            with suppress(StorageError):
                self.seal(self._layout.loose(digest), digest)
        return True

    def _take_link(
        self, source: SourceFile, is_held: Callable[[Digest], bool]
    ) -> tuple[Digest, Path | None] | None:
        """The working file itself under a second name."""
        status = source.stat
        is_ours = status.st_uid == os.geteuid() and status.st_nlink == 1 and status.st_size > 0
        if not is_ours or source.path.is_symlink():
            return None
        source.flush()
        digest = source.digest()
        if is_held(digest):  # a second name would move the time of the inode
            source.check_unchanged()
            return digest, None
        temporary = self._layout.temporary(f"+{digest.hex}.loose")
        try:
            # Not Path.hardlink_to: it would say nothing of links that are followed.
            os.link(source.path, temporary, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            with storage_errors(temporary):
                raise
        try:
            source.check_unchanged()
            if temporary.stat().st_ino != status.st_ino:
                raise source.changed()
        except BaseException:
            discard(temporary)
            raise
        return digest, temporary

    def _take_clone(
        self, source: SourceFile, is_held: Callable[[Digest], bool]
    ) -> tuple[Digest, Path | None] | None:
        """A clone of the working file, hashed itself, so that it cannot change meanwhile."""
        temporary = self._layout.temporary(".part")
        with storage_errors(temporary):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            target = os.open(temporary, flags, 0o444)
        try:
            try:
                if not source.clone_to(target):
                    discard(temporary)
                    return None
                digest = hash_descriptor(target)
                is_new = not is_held(digest)
                with storage_errors(temporary):
                    if is_new:
                        flush_to_disk(target)
            finally:
                os.close(target)
            source.check_unchanged()
            if not is_new:
                discard(temporary)
                return digest, None
            named = self._layout.temporary(f"+{digest.hex}.loose")
            with storage_errors(named):
                temporary.rename(named)
        except BaseException:
            discard(temporary)
            raise
        return digest, named

    def _give_link(
        self, digest: Digest, status: os.stat_result, folder: int, name: bytes, *, executable: bool
    ) -> bool:
        """A hard link to a loose file of our own, if its mode fits: it has one for all names."""
        if status.st_uid != os.geteuid() or status.st_nlink >= _MOST_NAMES:
            return False
        if bool(status.st_mode & stat.S_IXUSR) != executable or status.st_mode & _WRITE_BITS:
            return False
        try:
            os.link(self._layout.loose(digest), name, dst_dir_fd=folder)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise
        return True

    def _can_clone(self) -> bool:
        """Whether the file system of the store makes clones; tried once a store."""
        if self._mode != "auto":
            return False
        if self._clones is None and self._layout.is_there():
            self._clones = self._layout.remembered("reflink", self._try_clone)
        return bool(self._clones)

    def _try_clone(self) -> bool:
        """Clone a small file of the store and see."""
        paths = [self._layout.temporary(".part") for _ in range(2)]
        descriptors = []
        try:
            with storage_errors(paths[0]):
                for path in paths:
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    descriptors.append(os.open(path, flags, 0o600))
                os.write(descriptors[0], bytes(4096))
                return clone(descriptors[0], descriptors[1])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            for path in paths:
                discard(path)


_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTTY)


def _give_clone(source: int, folder: int, name: bytes, *, executable: bool) -> bool:
    """Create a file with the blocks of an open one; raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o777 if executable else 0o666, dir_fd=folder)
    try:
        made = clone(source, target)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(target)
    if not made:
        os.unlink(name, dir_fd=folder)
    return made


def _has(folder: int, name: bytes, digest: Digest) -> bool:
    """Whether a file has these bytes; raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return hash_descriptor(descriptor) == digest
    finally:
        os.close(descriptor)
