"""The pointers of a working tree: where they are, and what each says."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gitml.entities.conflict import Conflict
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, GitmlError, StorageError
from gitml.frozen import Frozen
from gitml.fs import judge_relative_path
from gitml.git.odb import blob_id
from gitml.git.process import Git

_MAX_BYTES = (64 << 10) + 1
_RECORDS = ".gitml/"


class Tracked(Frozen):
    """Data that has a pointer in the working tree.

    ``path`` is the data's, from the root. ``pointer`` is absent where the pointer cannot be read;
    then ``problem`` says why, and ``conflict`` what is in it, if a merge left one.
    """

    path: str
    pointer: Pointer | None
    problem: GitmlError | None = None
    conflict: Conflict | None = None

    @property
    def file(self) -> str:
        """The path of the pointer."""
        return self.path + SUFFIX

    def read(self) -> Pointer:
        """The pointer; raises its problem where it cannot be read."""
        if self.pointer is None:
            assert self.problem is not None  # noqa: S101 - one of the two is there
            raise self.problem
        return self.pointer

    def target(self) -> Pointer:
        """What the data has to be: the pointer, in a conflict what merged; raises its problem."""
        if self.conflict is not None and self.conflict.merged is not None:
            return self.conflict.merged
        return self.read()


def data_path(pointer: str) -> str | None:
    """The path of the data whose pointer would stand at this path; None where none would."""
    if not pointer.endswith(SUFFIX) or pointer.startswith(_RECORDS):
        return None
    path = pointer[: -len(SUFFIX)]
    return path if path.rpartition("/")[2] else None


def find(git: Git) -> list[Tracked]:
    """Every pointer in the working tree that git tracks or would track, sorted by path."""
    flags = ["-z", "--cached", "--others", "--exclude-standard"]
    listing = git.run("ls-files", *flags, "--", f"*{SUFFIX}", env={"GIT_LITERAL_PATHSPECS": "0"})
    return at(git.work_tree(), os.fsdecode(listing).split("\0"))


def at(root: Path, files: Iterable[str]) -> list[Tracked]:
    """The pointers among some paths from the root, sorted; those without a file are left out."""
    paths = {path for one in files if (path := data_path(one)) is not None}
    linked = {folder for folder in map(_folder, paths) if _leads_through_a_link(root, folder)}
    here = (path for path in sorted(paths) if _folder(path) not in linked)
    return [found for path in here if (found := look(root, path)) is not None]


def look(root: Path, path: str) -> Tracked | None:
    """The pointer of the data at ``path``, None where there is none."""
    if not os.path.lexists(root / (path + SUFFIX)):  # a step that asks has not read anything then
        return None
    try:
        judge_relative_path(os.fsencode(path))
        return said(path, _content(root / (path + SUFFIX)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problem: GitmlError = StorageError(f"cannot read {path}{SUFFIX}")
        problem.__cause__ = error
        return Tracked(path, None, problem)
    except CorruptData as error:
        return Tracked(path, None, error)


def said(path: str, data: bytes) -> Tracked:
    """What the bytes of the pointer of the data at ``path`` say."""
    try:
        return Tracked(path, Pointer.decode(data, path + SUFFIX))
    except CorruptData as error:
        if error.hint is None:
            import shlex  # not for the many that are whole

            error.hint = f"`git restore {shlex.quote(path + SUFFIX)}` undoes what was written there"
        return Tracked(path, None, error, Conflict.decode(data, path + SUFFIX))


def in_index(git: Git, *, ours: bool = False) -> Iterator[tuple[str, str]]:
    """Path and blob id of every pointer in git's index; of one in conflict nothing, or ``ours``."""
    listing = git.run(
        "ls-files", "-z", "--stage", "--", f"*{SUFFIX}", env={"GIT_LITERAL_PATHSPECS": "0"}
    )
    for line in os.fsdecode(listing).split("\0")[:-1]:
        meta, _, file = line.partition("\t")
        _, blob, stage = meta.split(" ")
        path = data_path(file)
        if (stage == "0" or (ours and stage == "2")) and path is not None:
            yield path, blob


def unstaged(git: Git) -> set[str]:
    """The data whose pointer in the working tree is not the one in git's index."""
    root, staged = git.work_tree(), dict(in_index(git))
    found = set()
    for one in find(git):
        if (
            one.pointer is not None
            and staged.get(one.path) != blob_id(_content(root / one.file)).hex
        ):
            found.add(one.path)
    return found


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _leads_through_a_link(root: Path, folder: str) -> bool:
    """Whether a folder is reached through a symbolic link: then git does not see what is in it."""
    while folder:
        if (root / folder).is_symlink():
            return True
        folder = _folder(folder)
    return False


def _content(file: Path) -> bytes:
    """The bytes of a pointer; a link is none, for git would follow it out of the repository."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CorruptData(f"{file.name}: a pointer is no symbolic link") from error
        raise
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read(_MAX_BYTES)
