"""A stamp of the refs: as long as it stays the same, none has moved, and none need be listed.

git takes a tenth of a second to list twenty thousand refs, and most commands find them as the last
one left them. The stamp has what the system says of git's files: of ``packed-refs`` and
``shallow``, and below some folders of every folder and every loose ref. All of that is new when git
writes a ref, for it renames a new file into its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gitml.frozen import Frozen
from gitml.git.process import Git

_SETTLED = 2_000_000_000
"""Nanoseconds after which a later change has another time, on any file system."""
_MOST = 2_000
"""Loose refs up to which looking at each costs less than having git list them."""

_Seen = tuple[int, int, int, int]


class RefStamp(Frozen):
    """The refs as they are on the disk, together with the mark of a listing of them.

    ``file`` keeps one such pair, written where it is: torn or lost, it proves nothing, and the refs
    are listed.
    """

    file: Path
    text: bytes

    @classmethod
    def now(cls, git: Git, patterns: Sequence[str], file: Path, mark: bytes) -> RefStamp | None:
        """The stamp of the refs that match, to be taken before they are listed.

        None where none can be had: something is so new that a change in this very moment would not
        show, loose refs are too many, or git keeps its refs in tables of its own.
        """
        common = os.fspath(git.common)
        if os.path.lexists(f"{common}/reftable"):
            return None
        settled = time.time_ns() - _SETTLED
        seen = [_look_at(f"{common}/{name}") for name in ("packed-refs", "shallow")]
        try:
            for root in _roots(patterns):
                seen += _below(f"{common}/{root}", _MOST)
        except (OSError, _TooMany):
            return None
        if any(max(modified, changed) > settled for modified, changed, _, _ in seen):
            return None
        return cls(file, repr((mark, seen)).encode())

    def is_noted(self) -> bool:
        """Whether the listing with this mark was made of the refs as they are."""
        try:
            return self.file.read_bytes() == self.text
        except OSError:
            return False

    def note(self) -> None:
        """Say that it was, for later commands; nothing where that cannot be written."""
        with suppress(OSError):
            self.file.write_bytes(self.text)


class _TooMany(Exception):
    """There is more to look at than would pay."""


def _roots(patterns: Iterable[str]) -> list[str]:
    """The folders in which refs lie that match, none of them inside another."""
    folders: list[str] = []
    for pattern in patterns:
        plain, star, _ = pattern.partition("*")
        folders.append(plain.rpartition("/")[0] if star else pattern)
    folders.sort()
    return [
        one
        for one in dict.fromkeys(folders)
        if not any(one.startswith(f"{other}/") for other in folders)
    ]


def _below(folder: str, most: int) -> Iterator[_Seen]:
    """What can be seen of a folder and of everything in it; raises OSError, _TooMany."""
    pending = [folder]
    while pending:
        inside = pending.pop()
        yield _look_at(inside)
        try:
            with os.scandir(inside) as listing:
                entries = sorted(listing, key=lambda one: one.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        most -= len(entries)
        if most < 0:
            raise _TooMany
        for one in entries:
            if one.is_dir():
                pending.append(one.path)
            else:
                yield _look_at(one.path)


def _look_at(path: str) -> _Seen:
    """Times, size and inode; nothing but zeros where there is no file.

    Of what a link leads to: some share the refs of another repository that way.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands of them
    except FileNotFoundError:
        return 0, 0, 0, 0
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
