"""Pushes that must not be judged side by side take turns.

git locks each ref for itself, so of two pushes at once one may delete a version and the other
promote it: each is judged by what is there, and both go in. A hook cannot hold a lock until the
refs have moved, since it ends before. So it leaves a file that names the *receiver*, the git that
started it and moves the refs; as long as that one lives and its refs have not moved, who comes
later and would be in the way waits. No file has to be taken away: one of a dead process counts for
nothing, and the next push removes it.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gitml.errors import CorruptData, GitmlError, StorageError
from gitml.fs import ProcessIdentity, make_directories
from gitml.git import refs
from gitml.git.process import Git
from gitml.git.refs import Change

RECEIVER = "GITML_RECEIVER"
"""The variable with the process that started the hook's script."""

FOLDER = "receiving"
_PATIENCE = 20.0
_PAUSE = 0.02
_ENDS = re.compile(r"refs/tags/[^/]+@(?:deleted|revoked)/")
_MOVES = re.compile(r"refs/tags/[^/]+@(?!alias/|deleted/|revoked/)[^/]+/[1-9][0-9]*\Z")
_LEVELS = 8


class NotYourTurn(GitmlError):
    """Another push that is in the way is still on its way."""


def take_turn(git: Git, updates: Sequence[Change], receiver: str | None) -> None:
    """Wait until no earlier push is on its way that must not be judged beside this one.

    One that takes versions away (deletes or revokes) is in the way of one that moves stages, and
    the other way round. Raises NotYourTurn where that takes too long. Where the server's folder
    cannot be written to, or nobody says who the receiver is, nobody waits.
    """
    kind = _kind(updates)
    if kind == "-" or receiver is None or not receiver.isdecimal():
        return
    folder = git.common / "gitml" / FOLDER
    try:
        earlier = _announce(folder, kind, updates, _receive_pack(int(receiver)))
    except (OSError, StorageError):
        return
    until = time.monotonic() + _PATIENCE
    for path, owner in earlier:
        while owner.is_alive() and not _has_moved(git, path):
            if time.monotonic() > until:
                raise NotYourTurn("another push of versions and stages is on its way: push again")
            time.sleep(_PAUSE)


def _kind(updates: Sequence[Change]) -> str:
    """What a push does: "e" takes versions away, "m" moves stages, "em" both, "-" neither."""
    ends = any(_ENDS.match(one.name) for one in updates)
    moves = any(_MOVES.match(one.name) for one in updates)
    return f"{'e' * ends}{'m' * moves}" or "-"


def _announce(
    folder: Path, kind: str, updates: Sequence[Change], owner: ProcessIdentity
) -> list[tuple[Path, ProcessIdentity]]:
    """Say that a push is on its way; the earlier ones that are, and are in its way."""
    make_directories(folder)
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        earlier = []
        for path in folder.glob("*.push"):
            theirs, _, text = path.stem.partition("=")
            with suppress(CorruptData):
                process = ProcessIdentity.parse(text)
                if not process.is_alive():
                    path.unlink(missing_ok=True)
                elif process != owner and _is_in_the_way(kind, theirs):
                    earlier.append((path, process))
        lines = "".join(f"{one.new or ''} {one.name}\n" for one in updates)
        own = folder / f"{kind}={owner.to_text()}.push"
        own.write_bytes(lines.encode("utf-8", "surrogateescape"))
    return earlier


def _is_in_the_way(kind: str, theirs: str) -> bool:
    return ("e" in kind and "m" in theirs) or ("m" in kind and "e" in theirs)


def _has_moved(git: Git, path: Path) -> bool:
    """Whether all refs that a push announced are where it wanted them: then it is over for us."""
    try:
        data = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return True
    wanted = {name: new for new, _, name in (one.partition(" ") for one in data.splitlines())}
    here = refs.targets(git, list(wanted))
    return all(here.get(name, "") == new for name, new in wanted.items())


def _receive_pack(pid: int) -> ProcessIdentity:
    """The git that receives: the parent of the script, or above it where a script starts scripts.

    Where the system does not show it, it is the parent.
    """
    one = pid
    for _ in range(_LEVELS):
        try:
            if b"receive-pack" in Path(f"/proc/{one}/cmdline").read_bytes():
                return ProcessIdentity.of(one)
            status = Path(f"/proc/{one}/stat").read_bytes()
            one = int(status.rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return ProcessIdentity.of(pid)
