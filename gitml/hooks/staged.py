"""What a commit is about to hold: the files of the index that it makes, and what is wrong there.

A hook has milliseconds: one ``git diff-index`` says what is staged, sizes come in one more process,
and only what is judged is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from gitml.entities.ids import ObjectId
from gitml.entities.pointer import SUFFIX
from gitml.frozen import Frozen
from gitml.git.odb import Odb
from gitml.git.process import Git

LINK, SUBMODULE = 0o120000, 0o160000
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Finding(Frozen):
    """One thing to mend: where (``line`` 0 for the whole file), what, and the command that does."""

    path: str
    what: str
    repair: str | None = None
    line: int = 0


class StagedFile(Frozen):
    """A file of the index: path from the root, git's mode, blob.

    ``is_new`` where neither the commit before nor one that is being merged or picked has the path
    with these bytes, so that this commit is the one that brings them.
    """

    path: str
    mode: int
    blob: ObjectId
    is_new: bool


class Staged:
    """What stands in the index, seen from the commit that is being made.

    ``index`` is the index file where git's hook uses another than the usual (``git commit FILE``
    makes one). ``names`` (paths from the root) limits the look to these files, new or not; without
    them it is what is new. ``since`` compares with that revision instead of HEAD: for a check of
    commits that exist (``pre-commit run --from-ref``). Files that match a pattern of ``exclude``
    are passed over.
    """

    def __init__(
        self,
        git: Git,
        odb: Odb,
        *,
        index: Path | None = None,
        names: Sequence[str] | None = None,
        since: str | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        self.git = git
        self.since = since
        self._odb = odb
        self._names = names
        self._exclude = exclude
        self._env = {"GIT_INDEX_FILE": str(index)} if index is not None else {}

    @cached_property
    def files(self) -> list[StagedFile]:
        """The files to judge, sorted by path."""
        if self._names is None:
            found = [StagedFile(*one, True) for one in self._new]
        elif self._names:
            listing = self._git("ls-files", "--stage", "-z", "--", *self._names)
            found = [StagedFile(*one, one in self._new) for one in _stage_entries(listing)]
        else:
            found = []
        return sorted((one for one in found if not self._passes_over(one.path)), key=_by_path)

    @cached_property
    def pointers(self) -> frozenset[str]:
        """The paths of all pointers in the index."""
        listing = self._git(
            "ls-files", "-z", "--", f"*{SUFFIX}", env={"GIT_LITERAL_PATHSPECS": "0"}
        )
        return frozenset(os.fsdecode(listing).split("\0")) - {""}

    @property
    def touched(self) -> list[str]:
        """The paths that differ from the commit before, whatever brings them and however named."""
        return sorted({path for path, _, _ in self._changed})

    def sizes(self, files: Sequence[StagedFile]) -> list[int]:
        """The size in bytes of each file's blob; -1 for what is no blob here."""
        if not files:
            return []
        ids = "".join(f"{one.blob}\n" for one in files).encode()
        answers = self.git.run("cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=ids)
        pairs = [line.split(b" ") for line in answers.splitlines()]
        return [int(pair[1]) if pair[0] == b"blob" else -1 for pair in pairs]

    def read(self, file: StagedFile) -> bytes:
        """The bytes that are staged for a file; none where git has lost them."""
        found = self._odb.read(file.blob)
        return found[2] if found is not None else b""

    @cached_property
    def _new(self) -> set[tuple[str, int, ObjectId]]:
        """The entries of the index that no commit behind the one to be made has."""
        new = set(self._changed)
        for base in self._bases[1:]:
            new &= set(self._differing(base))
        return new

    @cached_property
    def _changed(self) -> list[tuple[str, int, ObjectId]]:
        """The entries of the index that the commit before has not."""
        return list(self._differing(self._bases[0]))

    @cached_property
    def _bases(self) -> list[str]:
        """The commits from which the index may have its entries; the first is the one before."""
        if self.since is not None:
            done = self.git.process("merge-base", "--end-of-options", self.since, "HEAD")
            return [os.fsdecode(done.stdout).strip() or self.since]
        head = self.git.process("rev-parse", "--quiet", "--verify", "HEAD")
        bases = [os.fsdecode(head.stdout).strip() or _EMPTY_TREE]
        for name, suffix in (("MERGE_HEAD", ""), ("CHERRY_PICK_HEAD", ""), ("REVERT_HEAD", "^")):
            path = self.git.directory / name
            if path.exists():
                bases += [f"{one}{suffix}" for one in path.read_text("ascii").split()]
        return bases

    def _differing(self, base: str) -> Iterator[tuple[str, int, ObjectId]]:
        """What the index has otherwise than a commit; what it lacks does not count."""
        flags = ["--cached", "--raw", "-z", "--no-renames", "--no-abbrev", "--diff-filter=AMT"]
        fields = self._git("diff-index", *flags, "--end-of-options", base, "--").split(b"\0")
        for state, path in zip(fields[::2], fields[1::2], strict=False):
            _, mode, _, blob, _ = state.split(b" ")
            yield os.fsdecode(path), int(mode, 8), ObjectId.parse(blob.decode())

    def _git(self, *arguments: str, env: dict[str, str] | None = None) -> bytes:
        return self.git.run(*arguments, env={**self._env, **(env or {})})

    def _passes_over(self, path: str) -> bool:
        return any(is_match(path, pattern) for pattern in self._exclude)


def is_match(path: str, pattern: str) -> bool:
    """Whether a path matches a pattern of ``hooks.exclude``.

    ``*`` matches any characters, ``/`` included. A pattern with a slash is held against the path
    from the root, one that ends in a slash against the folders above; one without, against the
    last component.
    """
    if pattern.endswith("/"):
        return fnmatchcase(path, f"{pattern}*")
    return fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)


def _by_path(file: StagedFile) -> str:
    return file.path


def _stage_entries(listing: bytes) -> Iterator[tuple[str, int, ObjectId]]:
    """The entries of ``git ls-files --stage -z`` that are not in conflict."""
    for line in listing.split(b"\0"):
        state, _, path = line.partition(b"\t")
        if state.endswith(b" 0"):
            mode, blob, _ = state.split(b" ")
            yield os.fsdecode(path), int(mode, 8), ObjectId.parse(blob.decode())
