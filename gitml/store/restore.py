"""From the store into folders: all of it verified under temporary names, then named.

Nothing that stands below the root changes before everything that is wanted was written, so damage
in the store or a full disk is found while all is as it was. A folder that is missing is filled
under a temporary name and renamed once, which is cheaper than a rename for each of its files;
everywhere else every file is renamed into place. Small blobs are written in a tight loop that
several processes run at once; what it leaves out, and every error, is for the careful way.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import StorageError, UsageError
from gitml.fs import (
    are_plain_paths,
    is_abandoned,
    is_temporary,
    judge_relative_paths,
    storage_errors,
    temporary_name,
)
from gitml.store.directory import Folders, kind_of
from gitml.store.links import Links
from gitml.store.lookup import SmallBlobs
from gitml.store.members import STAT_BYTES, Stats, pack_stat
from gitml.store.tree import (
    EXECUTABLE,
    SYMLINK,
    RawEntry,
    TreeEntry,
    judge_link_target,
    raw_entries,
)
from gitml.store.workers import SLICE, Share, run_divided

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOTHING = bytes(STAT_BYTES)
_WRITTEN = b"\1" * STAT_BYTES
"""What stands for the stat of a file that has its name still to come."""


class Restoration:
    """Some entries of a tree on their way into a folder that exists.

    ``write_blob(entry, descriptor, path)`` fills one new file with verified bytes, and
    ``read_link(entry)`` gives a verified target.
    """

    def __init__(
        self,
        root: Path,
        entries: Sequence[TreeEntry],
        write_blob: Callable[[TreeEntry, int, Path], None],
        read_link: Callable[[TreeEntry], bytes],
        links: Links,
    ) -> None:
        """Judge the paths; raises CorruptData."""
        self._root = root
        self._entries = entries
        self._write_blob = write_blob
        self._read_link = read_link
        self._links = links
        self._paths = [raw for raw, *_ in raw_entries(entries, range(len(entries)))]
        if not are_plain_paths(self._paths):
            judge_relative_paths(self._paths)
        self._folders = {raw.rpartition(b"/")[0] for raw in self._paths}
        self._names = _Names()
        self._stats = Stats(len(entries))

    def run(self, blobs: SmallBlobs, going: Collection[str], make_way: Callable[[], None]) -> Stats:
        """Write everything, then ``make_way`` for it where something is ``going``, and name it.

        Raises StorageError, UsageError for what stands in the way, and what the two callables
        raise; while files are written that leaves nothing changed. What was named before an error
        stays named.
        """
        self._blobs = blobs
        self._linked_from = self._links.gives_from()
        with _opened(self._root, create=False) as below:
            gone = {os.fsencode(path) for path in going}
            self._places = _Places(below, self._folders, self._names, gone)
            self._places.clean()
            try:
                if len(self._entries) > SLICE:
                    run_divided(len(self._entries), SLICE, self._write_some, self._adopt, _lose)
                self._write_missing()
                make_way()
                self._places.publish(self._root)
                self._name_all()
            except BaseException:
                self._places.discard()
                self._discard()
                raise
        return self._stats

    def _write_some(self, slices: Iterator[range]) -> bytes:
        """Write the small files of some slices, in this process or a worker."""
        rows = {}
        with _opened(self._root, create=True) as folders:
            for one in slices:
                some = raw_entries(self._entries, one)
                rows[one.start] = b"".join(
                    [
                        self._write_quickly(folders, *numbered)
                        for numbered in zip(one, some, strict=True)
                    ]
                )
        return marshal.dumps(rows)

    def _adopt(self, share: Share) -> None:
        rows = marshal.loads(share.result)  # noqa: S302 - from a fork of this process
        for start, some in rows.items():
            self._stats.put_rows(start, some)

    def _write_quickly(self, folders: Folders, row: int, entry: RawEntry) -> bytes:
        """Write a small file and give its packed stat; zeros if that has to be done carefully."""
        path, mode, size, digest = entry
        if mode == SYMLINK:
            return _NOTHING
        path, is_staged = self._places.of(path)
        try:
            folder, name = folders.of(path)
            if not is_staged:
                name = self._names.of(row)
            try:
                if size >= self._linked_from and self._give_out(entry, folder, name):
                    return pack_stat(os.stat(name, dir_fd=folder)) if is_staged else _WRITTEN
                data = self._blobs.read(digest)
                if data is None or len(data) != size:
                    return _NOTHING
                permissions = 0o777 if mode == EXECUTABLE else 0o666
                descriptor = os.open(name, _NEW_FILE, permissions, dir_fd=folder)
                try:
                    if os.write(descriptor, data) != size:
                        raise OSError(errno.ENOSPC, "a short write")
                    if size >= self._linked_from:
                        self._links.replaced(Digest(digest.hex()))
                    return pack_stat(os.fstat(descriptor)) if is_staged else _WRITTEN
                finally:
                    os.close(descriptor)
            except OSError:
                os.unlink(name, dir_fd=folder)
                raise
        except OSError:
            return _NOTHING

    def _give_out(self, entry: RawEntry, folder: int, name: bytes) -> bool:
        """Whether a link or clone of a loose file now has this name; raises OSError."""
        _, mode, size, digest = entry
        blob = Digest(digest.hex())
        return self._links.give_out(blob, size, folder, name, executable=mode == EXECUTABLE)

    def _write_missing(self) -> None:
        """Write one by one what is not written yet."""
        with _opened(self._root, create=True) as folders:
            for row in self._stats.missing():
                entry = self._entries[row]
                path, is_staged = self._places.of(entry.raw_path)
                with self._named_obstacles(entry.path):
                    folder, name = folders.of(path)
                if not is_staged:
                    name = self._names.of(row)
                with suppress(OSError):  # half of it may be there, of a worker that died
                    os.unlink(name, dir_fd=folder)
                self._write_carefully(folder, name, entry)
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                self._stats.put_rows(row, pack_stat(status))

    def _name_all(self) -> None:
        """Give every file its name that is not in its place already."""
        with _opened(self._root, create=False) as folders:
            for row, path in enumerate(self._paths):
                if self._places.of(path)[1]:
                    continue
                with self._named_obstacles(self._entries[row].path):
                    folder, name = folders.of(path)
                    status = _in_place(folder, self._names.of(row), name)
                self._stats.put_rows(row, pack_stat(status))

    def _discard(self) -> None:
        """Remove the temporary files of this restoration that have no name."""
        with suppress(StorageError), _opened(self._root, create=False) as folders:
            for row, path in enumerate(self._paths):
                with suppress(OSError):
                    folder, _ = folders.of(path)
                    os.unlink(self._names.of(row), dir_fd=folder)

    def _write_carefully(self, folder: int, name: bytes, entry: TreeEntry) -> None:
        """Create the file or link of an entry under a temporary name."""
        shown = self._root / entry.path
        if entry.mode == SYMLINK:
            link = self._read_link(entry)
            judge_link_target(entry.path, link)
            with storage_errors(shown):
                os.symlink(link, name, dir_fd=folder)
            return
        with storage_errors(shown):
            raw = (entry.raw_path, entry.mode, entry.size, entry.digest.raw)
            if entry.size >= self._linked_from and self._give_out(raw, folder, name):
                return
            mode = 0o777 if entry.mode == EXECUTABLE else 0o666
            descriptor = os.open(name, _NEW_FILE, mode, dir_fd=folder)
        try:
            self._write_blob(entry, descriptor, shown)
        finally:
            os.close(descriptor)
        self._links.replaced(entry.digest)

    @contextmanager
    def _named_obstacles(self, path: str) -> Iterator[None]:
        """Turn an OSError of the block into UsageError if something stands in a path's way."""
        try:
            yield
        except OSError as error:
            place = self._root
            for component in path.split("/"):
                place /= component
                with suppress(OSError):
                    found = place.lstat()
                    if stat.S_ISDIR(found.st_mode) == (place == self._root / path):
                        raise UsageError(
                            f"cannot write {self._root / path}: {place} is {kind_of(found)}",
                            hint=f"look at it, and move it away with `mv {place} {place}.old`",
                        ) from error
            with storage_errors(self._root / path):
                raise


class _Names:
    """Temporary names of this process, which say whose they are."""

    def __init__(self) -> None:
        first, dot, end = temporary_name().encode().rpartition(b".")
        self._start, self._end = first, dot + end

    def of(self, row: int) -> bytes:
        """The name of the file of a row until it is in its place."""
        return b"%s-%x%s" % (self._start, row, self._end)

    def of_folder(self, number: int) -> bytes:
        """The name of a folder until it is complete."""
        return b"%s.%x%s" % (self._start, number, self._end)


class _Places:
    """Which folders are missing below a root, and where they are filled until they are complete."""

    def __init__(
        self, below: Folders, folders: set[bytes], names: _Names, going: set[bytes]
    ) -> None:
        """Look which of ``folders`` are missing below a root, or will be."""
        self._below = below
        self._going = going
        self._found = {b""}
        self._stages: dict[bytes, bytes] = {}
        self._places: dict[bytes, bytes | None] = {}
        for folder in sorted(folders):
            top = self._topmost_missing(folder)
            if top is None:
                self._places[folder] = None
                continue
            if top not in self._stages:
                above, slash, _ = top.rpartition(b"/")
                self._stages[top] = above + slash + names.of_folder(len(self._stages))
            self._places[folder] = self._stages[top] + folder[len(top) :]

    def of(self, path: bytes) -> tuple[bytes, bool]:
        """Where a file is to be written, and whether the name is free there for certain."""
        folder, _, name = path.rpartition(b"/")
        stage = self._places[folder]
        return (path, False) if stage is None else (stage + b"/" + name, True)

    def clean(self) -> None:
        """Remove what processes that died have left in the folders that are written to."""
        folders = {top.rpartition(b"/")[0] for top in self._stages}
        folders |= {name for name, stage in self._places.items() if stage is None}
        for folder in folders:
            with suppress(OSError):
                descriptor, _ = self._below.of(folder + b"/" if folder else b"")
                for name in map(os.fsencode, os.listdir(descriptor)):  # noqa: PTH208 - no path
                    if is_temporary(text := os.fsdecode(name)):
                        at = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime
                        if is_abandoned(text, at):
                            _remove(name, descriptor)

    def publish(self, root: Path) -> None:
        """Give the folders that were missing their names, with what is in them.

        Raises StorageError; of a folder that has come into being meanwhile, too.
        """
        for top, stage in self._stages.items():
            name = stage.rpartition(b"/")[2]
            with storage_errors(root / os.fsdecode(top)):
                folder, final = self._below.of(top)
                os.rename(name, final, src_dir_fd=folder, dst_dir_fd=folder)

    def discard(self) -> None:
        """Remove the folders that have no name yet."""
        for top, stage in self._stages.items():
            with suppress(OSError):
                _remove(stage.rpartition(b"/")[2], self._below.of(top)[0])

    def _topmost_missing(self, folder: bytes) -> bytes | None:
        """The first folder on the way to this one that does not exist, or None."""
        if folder in self._found:
            return None
        top = self._topmost_missing(folder.rpartition(b"/")[0])
        if top is not None:
            return top
        if folder in self._going:
            return folder
        try:
            self._below.of(folder + b"/")
        except FileNotFoundError:
            return folder
        except OSError:
            pass  # something else stands there: who writes will say what
        self._found.add(folder)
        return None


@contextmanager
def _opened(root: Path, *, create: bool) -> Iterator[Folders]:
    """The folders below a root, for the block; raises StorageError."""
    with storage_errors(root):
        folders = Folders(root, create=create)
    try:
        yield folders
    finally:
        folders.close()


def _in_place(folder: int, temporary: bytes, name: bytes) -> os.stat_result:
    """Give a finished file or link its name, which it may have already; its stat; OSError."""
    if temporary != name:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        with suppress(FileNotFoundError):
            # Two names of one file: then rename succeeds and does nothing.
            os.unlink(temporary, dir_fd=folder)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _lose(pid: int) -> None:
    """Nothing: what a worker wrote is whole or has a temporary name, and is written again."""


def _remove(name: bytes, folder: int) -> None:
    """Remove a file or folder of ours, as far as that is possible."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        import shutil

        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
    except OSError:
        pass
