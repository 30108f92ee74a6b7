"""Where a tool works: an empty folder with a home of its own, and nothing deleted while measuring.

ext4 makes new files three to ten times slower for minutes after many were deleted, so what a tool
leaves is moved away, and deleted when all is measured. Only the content of large files goes at
once, since disks are finite; those are few.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tests.bench.measure import user_environment
from tests.bench.storage.inputs import MIB, copy

_FICLONE = 0x40049409


class Place:
    """A folder that is given afresh to one tool after the other.

    ``work`` is where commands run, ``env`` their whole environment: a sealed one, so that neither
    the machine's configuration nor another tool's caches count.
    """

    def __init__(self, root: Path, peers: Path | None, extra: Mapping[str, str]) -> None:
        self.root = root
        self._peers = peers
        self._extra = extra
        self._attic = root / "attic"
        self._attic.mkdir(parents=True)
        self._moved = 0
        self.fresh()

    def fresh(self) -> None:
        """An empty work folder and an empty home, in place of what was there."""
        here = self.root / "here"
        if here.exists():
            self._move(here)
        self.work = here / "work"
        self.work.mkdir(parents=True)
        home = here / "home"
        variables = user_environment(home)
        if self._peers is not None:  # behind everything else: it has a Python of its own
            variables["PATH"] += os.pathsep + str(self._peers / "bin")
        self.env = variables | {
            name: value.format(home=home) for name, value in self._extra.items()
        }

    def put(self, source: Path, name: str) -> None:
        """Copy ``source`` to ``name``, a new file in place of an old one: never through a link."""
        new = self.work / f"new-{name}"
        copy(source, new)
        if new.is_dir():
            self.away(name)
        new.replace(self.work / name)

    def away(self, *names: str) -> None:
        """Move what has one of these names out of the work folder."""
        for name in names:
            if os.path.lexists(self.work / name):
                self._move(self.work / name)

    def settle(self) -> None:
        """Wait until all that was written is on the disk, so that nobody pays for another."""
        os.sync()

    def clear(self) -> None:
        """Delete everything that ever was here; only when all is measured."""
        shutil.rmtree(self.root, onerror=_make_removable)

    def reflinks(self) -> bool:
        """Whether the file system can share the extents of two files."""
        one, two = self.work / "reflink1", self.work / "reflink2"
        one.write_bytes(b"x" * 65536)
        with one.open("rb") as source, two.open("wb") as target:
            try:
                fcntl.ioctl(target, _FICLONE, source.fileno())
            except OSError:
                return False
            finally:
                self.away(one.name, two.name)
        return True

    def _move(self, path: Path) -> None:
        self._moved += 1
        target = self._attic / str(self._moved)
        path.rename(target)
        for file in list(_large_files(target)):
            os.chmod(os.path.dirname(file), 0o755)  # git-annex takes the right to write
            os.unlink(file)


def disk_bytes(paths: Iterable[Path]) -> int:
    """What files and folders take on the disk, every file once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for path in paths:
        for entry in _entries(path):
            seen[entry.st_dev, entry.st_ino] = entry.st_blocks * 512
    return sum(seen.values())


def _entries(path: Path) -> Iterator[os.stat_result]:
    if not os.path.lexists(path):
        return
    yield os.lstat(path)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield os.lstat(os.path.join(folder, name))


def _large_files(path: Path) -> Iterator[str]:
    if path.is_file() and not path.is_symlink():
        yield str(path)
    for folder, _, files in os.walk(path):
        for name in files:
            file = os.path.join(folder, name)
            if not os.path.islink(file) and os.stat(file).st_size > MIB:
                yield file


def _make_removable(remove: Callable[[str], object], path: str, _: object) -> None:
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o755)
    remove(path)
