"""What git's C code sees of a folder that a private index describes: changed and new files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from gitml.errors import StorageError
from gitml.frozen import Frozen
from gitml.git.process import Git, GitFailed

IGNORES = ".gitmlignore"
"""The file in a data folder that says, in git's own words, what in it is no data."""

_NOBODYS_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "0",
    "GIT_CONFIG_PARAMETERS": "",
    "GIT_ATTR_NOSYSTEM": "1",
}
_ARGUMENTS = 100_000
"""Bytes of paths that one command line is given; systems take at least 128 KiB."""


class Seen(Frozen):
    """What differs from the index.

    ``reported`` are entries that may have changed, ``gone`` those without a file, ``others`` files
    that the index lacks, each by its path from the root. A path of the others that ends with a
    slash is a git repository.
    """

    reported: tuple[str, ...]
    gone: tuple[str, ...]
    others: tuple[str, ...]


class Scan(Frozen):
    """A look that is under way."""

    changes: Sequence[subprocess.Popen[bytes]]
    news: Sequence[subprocess.Popen[bytes]]

    def seen(self) -> Seen:
        """What was found, once it was; raises StorageError for what cannot be looked into."""
        reported: list[str] = []
        gone: list[str] = []
        others: list[str] = []
        for process in self.changes:
            for letter, path in _pairs(_answer(process)):
                (gone if letter == "D" else reported).append(path)
        for process in self.news:
            others += os.fsdecode(_answer(process)).split("\0")[:-1]
        return Seen(tuple(reported), tuple(gone), tuple(others))


class PrivateIndex:
    """A git directory of our own beside a work tree; no setting, attribute or hook counts in it."""

    def __init__(self, directory: Path, root: Path) -> None:
        self._git = Git(directory, directory, root, shallow=False)

    def scan(self, folders: Sequence[str], only: Sequence[str] | None = None) -> Scan:
        """A look, begun, at what differs below the paths ``only`` (all: None).

        New files are looked for in ``folders``. Both questions are asked at once, a process each.
        """
        flags = ["-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=all"]
        changes: list[subprocess.Popen[bytes]] = []
        if only is None:
            changes = [self._start("diff-files", *flags)]
        elif only:
            changes = [self._start("diff-files", *flags, "--", *some) for some in _portions(only)]
        listing = ["ls-files", "--others", "-z", f"--exclude-per-directory={IGNORES}", "--"]
        return Scan(changes, [self._start(*listing, *some) for some in _portions(folders)])

    def others(self, folders: Sequence[str]) -> list[str]:
        """The files below some folders that the index lacks."""
        return list(self.scan(folders, only=()).seen().others)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._git.start(*arguments, stderr=subprocess.PIPE, env=_NOBODYS_SETTINGS)


def _answer(process: subprocess.Popen[bytes]) -> bytes:
    """What a process said, once it has ended well; a complaint of its is an error."""
    answer, complaints = process.communicate()
    lines = complaints.decode("utf-8", "replace").splitlines()
    told = [line for line in lines if not line.startswith("ignoring ")]
    if process.returncode:
        words = process.args[5:7] if isinstance(process.args, list) else []
        raise GitFailed([str(one) for one in words], process.returncode, "\n".join(told))
    if told:
        raise StorageError(
            f"the data cannot be looked at: {told[0].removeprefix('warning: ')}",
            hint="`ls -ld` on the folders of that path shows who may read them",
        )
    return answer


def _pairs(answer: bytes) -> Iterator[tuple[str, str]]:
    """Letter and path of each line of ``diff-files -z``."""
    fields = iter(os.fsdecode(answer).split("\0"))
    for meta in fields:
        if meta:
            yield meta[-1], next(fields)


def _portions(paths: Sequence[str]) -> Iterator[list[str]]:
    """The paths in portions that a command line can take."""
    portion: list[str] = []
    room = _ARGUMENTS
    for path in paths:
        room -= len(os.fsencode(path)) + 1
        if portion and room < 0:
            yield portion
            portion, room = [], _ARGUMENTS
        portion.append(path)
    if portion:
        yield portion
