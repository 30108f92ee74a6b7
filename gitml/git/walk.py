"""Walks over everything that a repository keeps, in all its work trees, as streams.

A walk sees what git's own collector keeps and a little more: every ref, every reflog, the heads
(``HEAD``, ``MERGE_HEAD``, …), the refs and the index of every work tree.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData, MissingBytes
from gitml.git.odb import EMPTY_TREE
from gitml.git.process import Git, GitFailed

_ID = re.compile(rb"\b[0-9a-f]{40}\b")
_FILE_MODES = (b"100644", b"100755", b"120000")
_BATCH = 256
_GLOBBING = {"GIT_LITERAL_PATHSPECS": "0"}


@dataclass(frozen=True, slots=True)
class WorkTreeOf:
    """A work tree of a repository: as a ``Git`` of its own; ``there`` is false where it is gone.

    The index and the heads of one that is gone are still kept by git. A ``locked`` one may lie on
    a disk that is not plugged in.
    """

    git: Git
    there: bool
    locked: bool


def work_trees(git: Git) -> list[WorkTreeOf]:
    """Every work tree of the repository, the main one first; a bare one has a place too."""
    first = os.fsdecode(git.run("worktree", "list", "--porcelain")).split("\n\n")[0].split("\n")
    root = None if "bare" in first else Path(first[0].removeprefix("worktree "))
    found = [WorkTreeOf(Git(git.common, git.common, root, git.shallow), True, False)]
    folder = git.common / "worktrees"
    for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
        link = directory / "gitdir"
        if link.is_file():
            place = Path(os.fsdecode(link.read_bytes()).removesuffix("\n"))
            root = (directory / place).parent
            there = root.is_dir()
            one = Git(directory, git.common, root if there else None, git.shallow)
            found.append(WorkTreeOf(one, there, (directory / "locked").exists()))
    return found


def heads(directory: Path) -> set[ObjectId]:
    """What the pseudo-refs and private refs of one work tree's git directory name.

    ``FETCH_HEAD`` and ``MERGE_HEAD`` may name several; a symbolic ref names none by itself.
    """
    files = [path for path in directory.glob("*HEAD") if path.is_file()]
    files += [path for path in directory.glob("rebase-*/*") if path.is_file()]
    if (directory / "commondir").exists():  # the refs of the main one are everybody's
        files += [path for path in directory.glob("refs/**/*") if path.is_file()]
    return {ObjectId(one.decode()) for path in files for one in _ID.findall(path.read_bytes())}


def existing(git: Git, ids: Iterable[ObjectId]) -> list[ObjectId]:
    """The commits and tags among the ids that the repository has."""
    wanted = sorted(ids)
    if not wanted:
        return []
    text = "".join(f"{one}\n" for one in wanted).encode()
    answers = git.run("cat-file", "--batch-check", stdin=text).decode().splitlines()
    words = [line.split() for line in answers]
    return [ObjectId(one[0]) for one in words if len(one) == 3 and one[1] in ("commit", "tag")]


def files_ever(
    git: Git, tips: Iterable[ObjectId], patterns: Sequence[str]
) -> Iterator[tuple[ObjectId, str]]:
    """Id and path of every file that matches, in every commit of any ref or reflog.

    ``tips`` are commits besides. A file comes once for each commit in which it differs from the
    commit's first parent, which is enough: where it does not, it is found further up. (The walk
    that lists objects does not do: a pattern does not lead it into folders.) History is not
    simplified, so what a merge dropped counts too. Raises CorruptData where git cannot go on: at a
    damaged object, or one that is not here.
    """
    search = [*patterns]
    with tempfile.TemporaryFile() as commits, tempfile.TemporaryFile() as complaints:
        given = "".join(f"{one}\n" for one in tips).encode()
        arguments = ["rev-list", "--full-history", "--all", "--reflog", "--stdin", "--", *search]
        process = git.start(
            *arguments, stdout=commits.fileno(), stderr=complaints.fileno(), env=_GLOBBING
        )
        process.communicate(given)
        _raise_if_failed(process.returncode, arguments, complaints)
        commits.seek(0)
        arguments = ["diff-tree", "--stdin", "--root", "-r", "-z", "--no-commit-id"]
        arguments += ["--no-renames", "--diff-merges=first-parent", "--", *search]
        with git.start(
            *arguments, stdin=commits.fileno(), stderr=complaints.fileno(), env=_GLOBBING
        ) as process:
            try:
                yield from _changed(cast("IO[bytes]", process.stdout))
            except BaseException:
                process.kill()
                raise
        _raise_if_failed(process.returncode, arguments, complaints)


def files_between(
    git: Git, tips: Iterable[ObjectId], known: Iterable[ObjectId], patterns: Sequence[str]
) -> Iterator[tuple[ObjectId, str]]:
    """Id and path of every file that matches and that somebody who has ``known`` may lack.

    As with `files_ever`, a file comes once for each commit in which it differs from the commit's
    first parent. Ids in ``known`` that this repository lacks are passed over. Raises CorruptData.
    """
    lines = [str(one) for one in tips] + [f"^{one}" for one in dict.fromkeys(known)]
    flags = ["rev-list", "--ignore-missing", "--full-history", "--stdin", "--", *patterns]
    given = "".join(f"{one}\n" for one in lines).encode()
    yield from _differing(git, git.run(*flags, stdin=given, env=_GLOBBING), patterns)


def files_at(
    git: Git, tips: Iterable[ObjectId], patterns: Sequence[str]
) -> Iterator[tuple[ObjectId, str]]:
    """Id and path of every file that matches in the trees of these commits; raises CorruptData."""
    asked = "".join(f"{one}^{{tree}}\n" for one in dict.fromkeys(tips)).encode()
    trees = git.run("cat-file", "--batch-check=%(objectname)", stdin=asked).decode().split()
    pairs = "".join(f"{EMPTY_TREE} {one}\n" for one in trees)
    yield from _differing(git, pairs.encode(), patterns)


def _differing(git: Git, given: bytes, patterns: Sequence[str]) -> Iterator[tuple[ObjectId, str]]:
    """The new side of what differs in commits, from their first parents, or in pairs of trees."""
    arguments = ["diff-tree", "--stdin", "--root", "-r", "-z", "--no-commit-id"]
    arguments += ["--no-renames", "--diff-merges=first-parent", "--", *patterns]
    with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as complaints:
        listed.write(given)
        listed.seek(0)
        with git.start(
            *arguments, stdin=listed.fileno(), stderr=complaints.fileno(), env=_GLOBBING
        ) as process:
            yield from _changed(cast("IO[bytes]", process.stdout))
        _raise_if_failed(process.returncode, arguments, complaints)


def replaced(git: Git, patterns: Sequence[str]) -> list[tuple[ObjectId, ObjectId]]:
    """Old and new id of every change of a file that matches, oldest first, then what is staged.

    Looked at are the commits of all branches and of this work tree's heads; a merge is compared
    with its first parent. What was added or deleted is no change. Raises GitFailed.
    """
    tips = existing(git, heads(git.directory))
    given = "".join(f"{one}\n" for one in tips).encode()
    commits = git.run(
        *(
            "rev-list",
            "--topo-order",
            "--reverse",
            "--branches",
            "--remotes",
            "--stdin",
            "--",
            *patterns,
        ),
        stdin=given,
        env=_GLOBBING,
    )
    how = ["-r", "-z", "--no-renames", "--diff-filter=M"]
    listing = git.run(
        *("diff-tree", "--stdin", "--no-commit-id", "--diff-merges=first-parent", *how),
        *("--", *patterns),
        stdin=commits,
        env=_GLOBBING,
    )
    if git.run("rev-parse", "--verify", "--quiet", "HEAD", accept=(0, 1)):
        listing += git.run("diff-index", "--cached", *how, "HEAD", "--", *patterns, env=_GLOBBING)
    metas = [token.split(b" ") for token in listing.split(b"\0")[:-1:2]]
    return [(ObjectId(old.decode()), ObjectId(new.decode())) for _, _, old, new, _ in metas]


def _changed(listing: IO[bytes]) -> Iterator[tuple[ObjectId, str]]:
    """The new side of each line of a raw difference; what was deleted has none."""
    left = b""
    meta: bytes | None = None
    while data := listing.read(1 << 16):
        *tokens, left = (left + data).split(b"\0")
        for token in tokens:
            if meta is None:
                meta = token.rpartition(b"\n")[2]  # before it: the two trees that are compared
                continue
            _, mode, _, oid, _ = meta.split(b" ")
            meta = None
            if mode in _FILE_MODES:
                yield ObjectId(oid.decode()), os.fsdecode(token)


def _raise_if_failed(code: int, arguments: Sequence[str], complaints: IO[bytes]) -> None:
    if code:
        complaints.seek(0)
        words = complaints.read().decode(errors="replace")
        raise CorruptData(
            "git cannot walk its history", hint="`git fsck` says what is damaged or missing"
        ) from GitFailed(arguments, code, words)


def contents(git: Git, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, str, bytes]]:
    """Id, type and bytes of many objects, in order, through one process.

    Raises MissingBytes for one that is absent, CorruptData where git cannot read one.
    """
    with git.start("cat-file", "--batch") as process:
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            for batch in _batches(ids):
                stdin.write("".join(f"{one}\n" for one in batch).encode())
                stdin.flush()
                for oid in batch:
                    yield oid, *_answer(stdout, oid)
        except BrokenPipeError as error:
            raise _unreadable(batch[0]) from error
        finally:
            process.kill()


def _answer(stdout: IO[bytes], oid: ObjectId) -> tuple[str, bytes]:
    words = stdout.readline().split()
    if len(words) == 2 and words[1] == b"missing":
        raise MissingBytes(
            f"this clone lacks the object {oid.short}", hint="`git fsck` says what is missing"
        )
    if len(words) != 3:
        raise _unreadable(oid)
    size = int(words[2])
    data = stdout.read(size + 1)
    if len(data) != size + 1:
        raise _unreadable(oid)
    return words[1].decode(), data[:-1]


def _unreadable(oid: ObjectId) -> CorruptData:
    return CorruptData(
        f"git cannot read the object {oid.short}", hint="`git fsck` says what is damaged"
    )


def _batches(ids: Iterable[ObjectId]) -> Iterator[list[ObjectId]]:
    batch: list[ObjectId] = []
    for one in ids:
        batch.append(one)
        if len(batch) == _BATCH:  # few enough for a pipe, so that neither side waits for ever
            yield batch
            batch = []
    if batch:
        yield batch


def indexed(git: Git, patterns: Sequence[str]) -> list[ObjectId]:
    """The blobs that the index of a work tree has at matching paths, all sides of conflicts."""
    listing = git.run("ls-files", "--stage", "-z", "--", *patterns, env=_GLOBBING)
    return [ObjectId(one.split()[1].decode()) for one in listing.split(b"\0") if one]


def files_in(git: Git, patterns: Sequence[str]) -> list[Path]:
    """The files of a work tree at matching paths: tracked, untracked and ignored ones."""
    flags = ["--cached", "--others", "-z"]
    listing = git.run("ls-files", *flags, "--", *patterns, env=_GLOBBING)
    root = git.work_tree()
    return [root / os.fsdecode(one) for one in dict.fromkeys(listing.split(b"\0")) if one]


def tree_files(git: Git, revision: str) -> list[ObjectId]:
    """Every blob below a tree."""
    listing = git.run("ls-tree", "-r", "-z", "--end-of-options", revision)
    return [ObjectId(one.split()[2].decode()) for one in listing.split(b"\0") if one]
