"""Data in conflict: what merged of it is brought, and which side a file has is chosen.

A conflict stands in the pointer (``gitml.entities.conflict``) and is over when that is written
anew. What clashes has our side until somebody chooses, or changes the file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from gitml.entities.conflict import Conflict
from gitml.errors import GitmlError, UsageError, some
from gitml.frozen import Frozen, replace
from gitml.workspace import pointerfiles
from gitml.workspace.merging import merge, put_tree
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.statcache import Held
from gitml.workspace.survey import Local
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.store import Store
    from gitml.store.tree import TreeEntry

Side = Literal["ours", "theirs"]
_NAMED = 5


class InConflict(GitmlError):
    """Data that both sides of a merge changed, and nobody has chosen yet."""


class Resolution(Frozen):
    """A pointer in conflict as it has to be written: its bytes, and the names that were chosen."""

    data: bytes
    chosen: frozenset[str] = frozenset()


def resumed(tree: WorkingTree, tracked: Tracked) -> Resolution | None:
    """The merge of a pointer that git merged as lines, or where bytes were absent then.

    None where nothing is in conflict, or what merged is known. Raises InConflict where the sides
    cannot be merged file by file.
    """
    if tracked.pointer is not None or (tracked.conflict and tracked.conflict.merged):
        return None
    sides = _stages(tree, tracked.file)
    if "2" not in sides or "3" not in sides:
        return None
    made = merge(tree.store, sides.get("1", b""), sides["2"], sides["3"], tracked.path)
    if made.conflicts and not made.is_partial:
        file = shlex.quote(tracked.file)
        raise InConflict(
            "; ".join(made.conflicts),
            hint=f"`git checkout --ours {file}` or `--theirs` takes the whole of one side",
        )
    return Resolution(made.data)


def _stages(tree: WorkingTree, file: str) -> dict[str, bytes]:
    """What git's index has of a file in conflict: "1" is the base, "2" ours, "3" theirs."""
    listing = tree.git.run("ls-files", "-z", "--unmerged", "--", file)
    found = {}
    for line in os.fsdecode(listing).split("\0")[:-1]:
        _, blob, stage = line.partition("\t")[0].split(" ")
        found[stage] = tree.git.run("cat-file", "blob", blob)
    return found


def choose(store: Store, tracked: Tracked, side: Side, within: Sequence[str]) -> Resolution:
    """The conflict with one side for the paths ``within`` the data, or for all that is undecided.

    A folder means what is undecided in it, a file itself. Raises InConflict, UsageError.
    """
    conflict = tracked.conflict
    if conflict is None or conflict.merged is None:
        raise _not_brought(tracked.path)
    taken = conflict.ours if side == "ours" else conflict.theirs
    if taken.kind == "blob":
        return Resolution(replace(conflict, merged=taken, undecided=None).encode(), frozenset([""]))
    entries = {one.path: one for one in store.read_tree(taken.digest).entries}
    merged = {one.path: one for one in store.read_tree(conflict.merged.digest).entries}
    open_ = set(undecided(store, conflict))
    chosen = set(open_)
    if within:
        names = [one[len(tracked.path) + 1 :] for one in within]
        chosen = {one for one in open_ if any(one.startswith(f"{name}/") for name in names)}
        chosen |= {one for one in names if one in open_ or one in entries or one in merged}
        if not chosen:
            raise no_conflict(within)
    for name in chosen:
        merged.pop(name, None)
        if name in entries:
            merged[name] = entries[name]
    left = [one for one in _undecided(store, conflict) if one.path not in chosen]
    now = Conflict(
        conflict.ours,
        conflict.theirs,
        replace(put_tree(store, merged.values()), extra=conflict.merged.extra),
        put_tree(store, left).digest if left else None,
    )
    return Resolution(now.encode(), frozenset(chosen))


def undecided(store: Store, conflict: Conflict) -> list[str]:
    """The names within data that clash and for which nobody has chosen; empty for a file."""
    if conflict.undecided is None:
        return []
    if conflict.ours.kind == "blob":
        return [""]
    return [one.path for one in _undecided(store, conflict)]


def _undecided(store: Store, conflict: Conflict) -> Iterable[TreeEntry]:
    return store.read_tree(conflict.undecided).entries if conflict.undecided is not None else ()


def is_brought(conflict: Conflict, held: Held | None) -> bool:
    """Whether what was checked out of data in conflict is what merged."""
    return held is not None and held.pointer == conflict.merged


def untouched(names: Collection[str], local: Local) -> list[str]:
    """Those of the names that are as they were checked out."""
    touched = {*local.changed, *local.added, *local.deleted}
    return [one for one in names if one not in touched]


def resolved(tree: WorkingTree, tracked: Tracked, local: Local | None) -> list[str]:
    """The undecided files that were changed, and so decided, in the working tree.

    Raises InConflict where others are left, or where what merged was not brought yet: then the data
    lacks what the other side changed.
    """
    path, conflict = tracked.path, tracked.conflict
    if conflict is None or local is None or not is_brought(conflict, local.held):
        raise _not_brought(path)
    names = undecided(tree.store, conflict)
    left = untouched(names, local)
    if left:
        files = [f"{path}/{name}" if name else path for name in left]
        raise InConflict(
            f"both sides changed {some(files, _NAMED)}, and nobody has chosen",
            hint=f"{how_to_choose(files)}, then add it again",
        )
    return [name for name in names if name not in left]


def how_to_choose(files: Sequence[str]) -> str:
    """What decides about files in conflict."""
    named = shlex.quote(files[0]) if len(files) == 1 else "PATH…"
    return f"`gitml checkout --ours {named}` or `--theirs`, or change the file yourself"


def _not_brought(path: str) -> InConflict:
    name = shlex.quote(path)
    return InConflict(
        f"{path} is in conflict, and the data here lacks what the other side changed",
        hint=f"`gitml checkout {name}` brings what merged, then `gitml add {name}`",
    )


def said(tracked: Mapping[str, Tracked], found: Mapping[str, Resolution]) -> dict[str, Tracked]:
    """The pointers, with these as they will be."""
    return {**tracked, **{path: pointerfiles.said(path, one.data) for path, one in found.items()}}


def no_conflict(given: Sequence[str]) -> UsageError:
    """What to say where a side is wanted of data that is not in conflict."""
    named = ", ".join(given) or "the data"
    return UsageError(
        f"{named} is not in conflict, so there are no sides", hint="`gitml status` says what is"
    )
