"""Data follows the pointers that git moved: what `gitml-checkout` does.

After a checkout, a merge or a rebase git's work is done, so nothing here may fail: what cannot
follow stays as it is and is named. Only pointers that git has just changed are looked at, and of
these only the ones whose data was here before, or which are new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gitml.entities.pointer import SUFFIX
from gitml.errors import GitmlError
from gitml.frozen import Frozen
from gitml.git.process import Git
from gitml.hooks.checks import Occasion

if TYPE_CHECKING:
    from gitml.entities.pointer import Pointer
    from gitml.workspace.checkout import Move
    from gitml.workspace.statcache import Held
    from gitml.workspace.workingtree import WorkingTree

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_GLOB = {"GIT_LITERAL_PATHSPECS": "0"}


class Followed(Frozen):
    """What became of the data: files ``written`` (``size`` bytes) and ``removed``.

    ``left`` are the data that did not follow, by path, each with the error that says why.
    """

    written: int
    removed: int
    size: int
    left: Mapping[str, GitmlError]


def moved_pointers(git: Git, hook: str, occasion: Occasion) -> Mapping[str, str] | None:
    """The pointers that git has just moved: git's letter (A, M, D) by path; None if it cannot say.

    ``hook`` is git's name of the event, or ``gitml-checkout``: then pre-commit's variables say what
    happened, and without them nobody does.
    """
    event, arguments = _event(hook, occasion)
    match event, arguments:
        case "post-checkout", [old, new, "1"]:
            return _between(git, old, new)
        case "post-merge", ["1"]:
            return _letters(git, "diff-index", "--cached", "HEAD")
        case "post-merge", _:
            return _between(git, "ORIG_HEAD", "HEAD")
        case "post-rewrite", ["rebase"]:
            return _rebased(git)
        case "post-rewrite", _:
            return {}
    return None


def _event(hook: str, occasion: Occasion) -> tuple[str, list[str]]:
    """What happened, in git's words, and the arguments that git gives the hook for it."""
    if hook != "gitml-checkout":
        return hook, list(occasion.arguments)
    if kind := occasion.variable("PRE_COMMIT_CHECKOUT_TYPE"):
        ends = [occasion.variable(f"PRE_COMMIT_{end}_REF") or "" for end in ("FROM", "TO")]
        return "post-checkout", [*ends, kind]
    if squash := occasion.variable("PRE_COMMIT_IS_SQUASH_MERGE"):
        return "post-merge", [squash]
    if command := occasion.variable("PRE_COMMIT_REWRITE_COMMAND"):
        return "post-rewrite", [command]
    return "", []


def _rebased(git: Git) -> Mapping[str, str] | None:
    """The pointers that differ from what was before a rebase, or came with the rebased commits.

    Data of the latter went away when git checked out their new base, though nothing of them
    differs in the end.
    """
    moved = _between(git, "ORIG_HEAD", "HEAD")
    for state in ("rebase-merge", "rebase-apply"):
        with suppress(OSError):
            base = (git.directory / state / "onto").read_text(encoding="ascii").strip()
            return {**(_between(git, base, "HEAD") or {}), **(moved or {})}
    return moved


def _between(git: Git, old: str, new: str) -> Mapping[str, str] | None:
    """The pointers that differ between two commits; None where one of them cannot be found."""
    names = []
    for name in (old, new):
        if name and not name.strip("0"):
            names.append(_EMPTY_TREE)  # a first checkout: there was nothing before
            continue
        done = git.process(
            "rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{tree}}"
        )
        names.append(os.fsdecode(done.stdout).strip())
    return _letters(git, "diff-tree", "-r", *names) if all(names) else None


def _letters(git: Git, command: str, *arguments: str) -> Mapping[str, str]:
    """The pointers that a comparison of git's names, each with its letter."""
    flags = ["-z", "--name-status", "--no-renames", *arguments]
    listing = git.run(command, *flags, "--", f"*{SUFFIX}", env=_GLOB)
    fields = os.fsdecode(listing).split("\0")
    return dict(zip(fields[1::2], fields[::2], strict=False))


def has_data(git: Git) -> bool:
    """Whether anything was ever checked out or added in this working tree."""
    return (git.directory / "gitml" / "stat" / "index").exists()


def follow(tree: WorkingTree, moved: Mapping[str, str] | None) -> Followed | None:
    """Check out the data of the pointers that moved; None where there is nothing to do.

    Without ``moved``, it is the data that was checked out for another pointer than there is now.
    Data with changes that are nowhere else, and data whose bytes are not here, stays as it is.
    """
    wanted = sorted(_wanted(tree, moved))
    if not wanted:
        return None
    with tree.locked(wait=False):
        pass
    moves, left = _checked_out(tree, wanted)
    written = sum(len(one.written) for one in moves)
    removed = sum(len(one.removed) for one in moves)
    if not (written or removed or left):
        return None
    return Followed(written, removed, sum(one.size for one in moves), left)


def _wanted(tree: WorkingTree, moved: Mapping[str, str] | None) -> Iterator[str]:
    """The paths of the data that should follow."""
    from gitml.workspace.pointerfiles import at, data_path

    held = tree.cache().held
    files = moved if moved is not None else [f"{path}{SUFFIX}" for path in held]
    now = {one.path: one for one in at(tree.root, files)}
    for file in files:
        path = data_path(file)
        if path is None:
            continue
        tracked = now.get(path)
        if tracked is None:
            if path in held:
                yield path
        elif tracked.pointer is not None and not _is_held(held.get(path), tracked.pointer):
            was_here = path in held or os.path.lexists(tree.root / path)
            if was_here or (moved is not None and moved[file] == "A"):
                yield path


def _is_held(held: Held | None, pointer: Pointer) -> bool:
    """Whether the data was checked out for this very pointer."""
    return held is not None and held.pointer.encode() == pointer.encode()


def _checked_out(
    tree: WorkingTree, paths: Sequence[str]
) -> tuple[list[Move], dict[str, GitmlError]]:
    """All of them at once, or where that is refused one by one, so that one holds up no other."""
    from gitml.workspace.checkout import checkout

    try:
        return checkout(tree, paths, keep=True), {}
    except GitmlError as error:
        if len(paths) == 1:
            return [], {paths[0]: error}
    moves, left = [], {}
    for path in paths:
        try:
            moves += checkout(tree, [path], keep=True)
        except GitmlError as error:
            left[path] = error
    return moves, left
