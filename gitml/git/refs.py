"""Refs: listed by ``for-each-ref``, moved only by compare-and-swap in one transaction."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, Locked, RaceLost
from gitml.frozen import Frozen
from gitml.fs import sync_directory
from gitml.git import locks
from gitml.git.process import Git, GitFailed

T = TypeVar("T")

_NONE = "0" * 40
_TRIES = 8
_LONGEST_MARK = 32 << 10
"""Bytes up to which a listing is its own mark: to import what makes a digest takes longer."""
DIGEST_BYTES = 32
"""The length of the mark of a longer one."""
_FORMAT = "--format=%(refname) %(objectname) %(*objectname)"

_named: dict[Path, tuple[int, int]] = {}
"""Folders of refs whose names this process has flushed, by device and inode."""


class Ref(Frozen):
    """A ref: its full name, the object it names, and what a tag peels to (else the same id)."""

    name: str
    target: ObjectId
    commit: ObjectId


class Change(Frozen):
    """One move in a transaction.

    ``new`` None deletes; ``old`` None demands that the ref is not there yet. So nothing moves by
    accident: every change names what it replaces. Where both are the same, the ref stays, and has
    to be that when the others move.
    """

    name: str
    new: ObjectId | None
    old: ObjectId | None


def list_refs(git: Git, patterns: Sequence[str]) -> list[Ref]:
    """All refs that match the patterns (prefixes up to a slash, or globs), by name."""
    return parse_lines(listing_lines(read_listing(git, patterns)))


def read_listing(git: Git, patterns: Sequence[str], commits: Sequence[str] = ()) -> bytes:
    """The raw listing behind ``list_refs``: equal bytes mean that no ref moved.

    What matches ``commits`` is none of tags: git need not look at each object, which for tens of
    thousands takes four times as long as to list them.
    """
    if not commits:
        return git.run("for-each-ref", _FORMAT, *patterns)
    asked = ("for-each-ref", _FORMAT.replace("%(*objectname)", ""), *commits)
    with git.start(*asked, stdin=subprocess.DEVNULL) as other:
        listing = git.run("for-each-ref", _FORMAT, *patterns)
        assert other.stdout is not None  # noqa: S101 - it is a pipe
        more = other.stdout.read()
    if other.returncode:
        raise GitFailed(asked, other.returncode, "")
    return b"".join(sorted([*more.splitlines(keepends=True), *listing.splitlines(keepends=True)]))


class Listing:
    """A listing of refs that git makes while its reader does something else."""

    def __init__(self, git: Git, patterns: Sequence[str]) -> None:
        self._git = git
        self._asked = ("for-each-ref", _FORMAT, *patterns)
        self._process: subprocess.Popen[bytes] | None = None
        self._bytes: bytes | None = None

    def begin(self) -> None:
        """Let git begin; without this it does when the listing is read."""
        self._process = self._git.start(*self._asked, stdin=subprocess.DEVNULL)

    def read(self) -> bytes:
        """The raw listing, as `read_listing` has it; raises GitFailed."""
        if self._bytes is None:
            if self._process is None:
                self.begin()
            assert self._process is not None  # noqa: S101 - it is begun
            listing, _ = self._process.communicate()
            if self._process.returncode:
                raise GitFailed(self._asked, self._process.returncode, "")
            self._bytes = listing
        return self._bytes

    def refs(self) -> list[Ref]:
        """The refs that are listed, by name."""
        return parse_lines(listing_lines(self.read()))

    def close(self) -> None:
        """End the git that nobody has heard to its end."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def listing_lines(listing: bytes) -> list[str]:
    """The lines of a raw listing, one a ref: equal lines mean that this ref did not move."""
    return os.fsdecode(listing).removesuffix("\n").split("\n") if listing else []


def with_line(listing: bytes, made: Ref) -> bytes | None:
    """A listing with one more ref, as git would have made it; None where the ref is in it."""
    start = f"{made.name} ".encode()
    lines = listing.splitlines(keepends=True)
    place = bisect_left(lines, start)
    if place < len(lines) and lines[place].startswith(start):
        return None
    peeled = made.commit if made.commit != made.target else ""
    line = f"{made.name} {made.target} {peeled}\n".encode()
    return b"".join([*lines[:place], line, *lines[place:]])


def mark_of(listing: bytes) -> bytes:
    """What stands for a listing: itself, or the digest of one that is long."""
    if len(listing) <= _LONGEST_MARK:
        return listing
    import hashlib

    return hashlib.sha256(listing).digest()


def parse_lines(lines: Iterable[str]) -> list[Ref]:
    """The refs of lines of a listing."""
    refs = []
    for line in lines:
        name, target, *peeled = line.split(" ")
        commit = peeled[0] if peeled and peeled[0] else target
        refs.append(Ref(name, ObjectId(target), ObjectId(commit)))
    return refs


def targets(git: Git, patterns: Sequence[str]) -> dict[str, str]:
    """Name and object of all refs that match, as text: for tens of thousands of them.

    Unlike `list_refs` it does not look at the objects.
    """
    listing = os.fsdecode(git.run("for-each-ref", "--format=%(refname) %(objectname)", *patterns))
    return dict(line.split(" ") for line in listing.splitlines())


def has_any(git: Git, pattern: str) -> bool:
    """Whether some ref matches."""
    return bool(git.run("for-each-ref", "--count=1", "--format=%(refname)", pattern))


def update(git: Git, changes: Iterable[Change], reason: str, *, packed: bool = False) -> None:
    """Make all the changes or none, durably; raises RaceLost when a ref is not what was expected.

    With ``packed`` they come to lie in the one file of packed refs, and are durable only there:
    for thousands of them, each of which would have to be flushed by itself.
    Raises Locked when another git holds a lock for long, GitmlError with git's words when it
    refuses for another reason (a hook, a full disk, an object that is not there).
    Refs are written by ``git update-ref`` alone, so its hooks fire and every storage of refs works.
    """
    moves = list(changes)
    if not moves:
        return
    commands = ["start"]
    for move in moves:
        old = _NONE if move.old is None else str(move.old)
        new = _NONE if move.new is None else str(move.new)
        if new == old:
            commands.append(f"verify {move.name}\0{old}")
        else:
            commands.append(f"update {move.name}\0{new}\0{old}")
    commands += ["prepare", "commit", ""]
    stdin = "\0".join(commands).encode()
    words = ""
    for attempt in range(_TRIES):
        complaint = _update(git, moves, reason, stdin, flush=not packed)
        if complaint is None:
            if packed:
                pack(git)
            _sync(git, moves)
            return
        lines = complaint.strip().splitlines() or ["no reason"]
        words = next((line for line in lines if line.startswith("fatal: ")), lines[-1])
        _raise_if_lost(git, moves, reason)
        # Every ref still is what it was: another process held git's lock for a moment, or was
        # killed while it did.
        wait = locks.break_abandoned(git)
        import random

        time.sleep(wait + random.uniform(0.005, 0.02) * (attempt + 1))  # noqa: S311 - jitter
    raise _refused(git, moves, f"{reason}: {words}")


def retried(attempt: Callable[[], T], tries: int) -> T:
    """What an attempt gives, made again when somebody else moved a ref first.

    The attempt has to look at the refs anew each time. Raises RaceLost when it lost ``tries``
    times.
    """
    for lost in range(1, tries):
        try:
            return attempt()
        except RaceLost:
            import random

            time.sleep(random.uniform(0.001, 0.02) * lost)  # noqa: S311 - jitter
    return attempt()


def _update(
    git: Git, moves: Sequence[Change], reason: str, stdin: bytes, *, flush: bool
) -> str | None:
    """Let git run a transaction; what it complained of, None when it succeeded.

    It is announced between its start and its first command: before that it takes no lock.
    """
    arguments = ["update-ref", "-m", f"gitml: {reason}", "--stdin", "-z"]
    arguments = arguments if flush else ["-c", "core.fsync=none", *arguments]
    new = {move.name: _NONE if move.new is None else str(move.new) for move in moves}
    process = git.start(*arguments, stderr=subprocess.PIPE)
    with process, locks.announced(git, process, new):
        _, complaint = process.communicate(stdin)
    return complaint.decode(errors="replace") if process.returncode else None


def _raise_if_lost(git: Git, moves: Sequence[Change], reason: str) -> None:
    """Raise RaceLost when a ref is not what the changes expect; judged by state, not by words."""
    names = [move.name for move in moves]
    current = {ref.name: ref.target for ref in list_refs(git, [*names, *_folders_above(names)])}
    for move in moves:
        if current.get(move.name) != move.old:
            found = current.get(move.name)
            raise RaceLost(
                f"{reason}: {move.name} is {found.short if found else 'gone'} by now",
                hint="nothing was written: look at the new state, then run the command again",
            )
        for other in current:
            below = other.startswith(move.name + "/") or move.name.startswith(other + "/")
            if below and move.new is not None and other not in names:
                raise obstacle(other, move.name, reason)


def obstacle(there: str, wanted: str, reason: str) -> GitmlError:
    """The error for a ref that cannot be beside another, as a file cannot be a folder as well."""
    import shlex

    name = there.removeprefix("refs/tags/")
    hint = f"nothing was written; `git log -1 {shlex.quote(there)}` shows what it is"
    if name != there:
        one, other = shlex.quote(name), shlex.quote(f"old/{name}")
        hint = f"nothing was written; `git tag {other} {one} && git tag -d {one}` makes room"
    return GitmlError(f"{reason}: {there} is in the way of {wanted}", hint=hint)


def _folders_above(names: Iterable[str]) -> set[str]:
    """What would be in the way of refs if it were a ref itself."""
    found: set[str] = set()
    for name in names:
        parts = name.split("/")
        found.update("/".join(parts[:count]) for count in range(3, len(parts)))
    return found


def _refused(git: Git, moves: Sequence[Change], message: str) -> GitmlError:
    """Why git did not write refs that nobody else had moved."""
    for lock in (git.common / f"{name}.lock" for name in ("packed-refs", *(m.name for m in moves))):
        if lock.exists():
            import shlex

            return Locked(
                f"{message.partition(':')[0]}: another git command holds {lock}",
                hint=f"if none is running: `rm {shlex.quote(str(lock))}`",
            )
    return GitmlError(message, hint="nothing was written; `git fsck` looks at the repository")


def pack(git: Git) -> None:
    """Move loose refs into the packed file, durably: thousands of small files slow the user's git.

    The loose ones go when the packed ones cannot be lost any more, which makes it two steps.
    Raises GitFailed, StorageError.
    """
    refs = git.common / "refs"
    loose = {
        f"{Path(folder, name).relative_to(git.common).as_posix()}": _NONE
        for folder, _, names in os.walk(refs)
        for name in names
        if not name.endswith(".lock")
    }
    locks.run(git, {}, "pack-refs", "--all", "--no-prune")
    sync_directory(git.common)
    locks.run(git, loose, "pack-refs", "--all", "--prune")
    sync_directory(git.common)


def _sync(git: Git, moves: Iterable[Change]) -> None:
    """Flush the folders that hold the refs: git flushes a ref's file but not its name.

    A folder above holds the name of the one below; it is flushed once for each that is made.
    """
    folders: set[Path] = set()
    named: dict[Path, tuple[int, int]] = {}
    for move in moves:
        if move.new is None:  # the file of packed refs may have been written anew
            folders.add(git.common)
            _named.clear()  # git removes folders that become empty
        folder = (git.common / move.name).parent
        folders.add(folder)
        while folder not in named and git.common not in (folder, folder.parent):
            with contextlib.suppress(FileNotFoundError):
                status = folder.stat()
                named[folder] = (status.st_dev, status.st_ino)
                if _named.get(folder) != named[folder]:
                    folders.add(folder.parent)
            folder = folder.parent
    for folder in folders:
        if folder.is_dir():
            sync_directory(folder)
    _named.update(named)
