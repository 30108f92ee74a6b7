"""``gitml rm`` and ``gitml mv``: data with its pointer, its ignore line and its place in the index.

Each order of steps is such that a command that was killed can be given once more: a pointer is the
last thing to go and the first to come.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, NameNotFound, UsageError, some
from gitml.frozen import Frozen
from gitml.fs import (
    judge_relative_path,
    make_directories,
    storage_errors,
    sync_directory,
    write_durably,
)
from gitml.workspace.checkout import LocalChanges, refuse_links_above
from gitml.workspace.ignores import Edits
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.removal import Remover
from gitml.workspace.statcache import Block, Held, StatCache, packed_stat
from gitml.workspace.survey import Local, survey
from gitml.workspace.workingtree import WorkingTree


class Removed(Frozen):
    """Data that is no longer tracked: its path, its pointer, and whether the data was kept."""

    path: str
    pointer: Pointer | None
    kept: bool


def remove(
    tree: WorkingTree,
    paths: Sequence[str],
    *,
    keep: bool = False,
    recursive: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> list[Removed]:
    """Stop tracking data: its pointer, its ignore line and, unless ``keep``, the data itself go.

    With ``recursive`` a path may be a folder above. The bytes stay in the store, for the commits
    that name them. Raises LocalChanges for what is nowhere else, unless ``force``; NameNotFound.
    """
    with tree.locked():
        known = {one.path: one for one in tree.pointers()}
        chosen = _chosen(known, paths, recursive=recursive)
        cache = tree.cache()
        locals_: dict[str, Local] = {}
        if not keep:
            locals_ = survey(tree, [known[path] for path in chosen], cache, locked=True)
            if not force:
                _refuse_losses(tree, {path: locals_[path] for path in chosen})
        if not dry_run:
            if not keep:
                _delete(tree, {path: locals_[path] for path in chosen}, tree.cache())
            edits = Edits(tree.git)
            edits.unignore(chosen)
            with tree.writing(chosen):
                edits.apply(removed=[path + SUFFIX for path in chosen])
            tree.keep_views(dict.fromkeys(chosen))
            tree.cache().saved(dict.fromkeys(chosen))
            files = [path + SUFFIX for path in chosen]
            with tree.removing(files), Remover(tree.root) as remover:
                for file in files:
                    remover.remove(file)
                if not keep:
                    remover.prune(chosen, stop="")
    return [Removed(path, known[path].pointer, keep) for path in chosen]


def _chosen(known: Mapping[str, Tracked], paths: Sequence[str], *, recursive: bool) -> list[str]:
    chosen: list[str] = []
    for given in paths:
        path = given.removesuffix(SUFFIX)
        below = [one for one in known if not path or one.startswith(f"{path}/")]
        if path in known:
            chosen.append(path)
        elif below and recursive:
            chosen += below
        elif below:
            raise UsageError(
                f"{path or 'the repository'} is a folder with {len(below)} pointers in it",
                hint=f"`gitml rm -r {shlex.quote(path or '.')}` removes the data of all of them",
            )
        else:
            raise _not_tracked(given, known)
    return list(dict.fromkeys(chosen))


def _not_tracked(given: str, known: Mapping[str, Tracked]) -> NameNotFound:
    owner = next((one for one in known if given.startswith(f"{one}/")), None)
    if owner is not None:
        return NameNotFound(
            f"{given} is inside {owner}, which has one pointer for all of it",
            hint=f"change the files, then `gitml add {shlex.quote(owner)}`",
        )
    return NameNotFound.among("data", given, known)


def _refuse_losses(tree: WorkingTree, locals_: Mapping[str, Local]) -> None:
    """Raise LocalChanges where removing would destroy what the store does not have."""
    lost: list[str] = []
    owners = []
    for path, local in locals_.items():
        before = len(lost)
        for name, digest in local.changed.items():
            if digest is None or not tree.store.has(digest):
                lost.append(f"{path}/{name}" if name else path)
        lost += [f"{path}/{name}" for name in (*local.added, *local.repositories)]
        owners += [shlex.quote(path)] if len(lost) > before else []
    if lost:
        raise LocalChanges(
            f"these have changes that are nowhere else: {some(lost, 5)}",
            hint=f"`gitml rm --keep {' '.join(owners)}` leaves the data where it is,"
            f" `gitml rm --force {' '.join(owners)}` destroys it",
        )


def _delete(tree: WorkingTree, locals_: Mapping[str, Local], cache: StatCache) -> None:
    """Remove the files of some data, and the folders that are empty then."""
    with Remover(tree.root) as remover:
        for path, local in locals_.items():
            refuse_links_above(tree, path)
            files = {one.path for one in cache.entries(path)}
            names = (*local.changed, *local.added)
            files |= {f"{path}/{name}" if name else path for name in names}
            for file in sorted(files):
                remover.remove(file)
            remover.prune(files, stop=path)
            remover.prune([f"{path}/x"], stop=path.rpartition("/")[0])


class Renamed(Frozen):
    """Data that has moved, from a path to a path."""

    source: str
    target: str


def move(
    tree: WorkingTree, sources: Sequence[str], target: str, *, dry_run: bool = False
) -> list[Renamed]:
    """Move data to ``target``, or into it where it is a folder: data, pointer and ignore line.

    Raises UsageError for a target that is in use or cannot be data, NameNotFound, and what is wrong
    with a pointer.
    """
    with tree.locked():
        known = {one.path: one for one in tree.pointers()}
        chosen = _chosen(known, sources, recursive=False)
        into = (tree.root / target).is_dir() and target not in known
        if len(chosen) > 1 and not into:
            raise UsageError(f"{target} is no folder that several could move into")
        moves = []
        for source in chosen:
            known[source].read()  # one in conflict stays where git knows the conflict
            name = source.rpartition("/")[2]
            full = (f"{target}/{name}" if target else name) if into else target
            _refuse_target(tree, known, source, full)
            moves.append(Renamed(source, full))
        if not dry_run:
            with tree.writing(path for one in moves for path in (one.source, one.target)):
                for one in moves:
                    _move(tree, known[one.source], one.target)
    return moves


def _refuse_target(
    tree: WorkingTree, known: Mapping[str, Tracked], source: str, target: str
) -> None:
    shown = shlex.quote(target)
    try:
        judge_relative_path(os.fsencode(target))
    except CorruptData as error:
        raise UsageError(f"{target!r} cannot be the name of data") from error
    if target.endswith(SUFFIX):
        raise UsageError(f"{target} would be the name of a pointer")
    if target == source or target.startswith(f"{source}/"):
        raise UsageError(f"cannot move {source} to {target}, which is itself or inside it")
    owner = next((one for one in known if target.startswith(f"{one}/")), None)
    if owner is not None:
        raise UsageError(
            f"{target} would be inside {owner}, which has one pointer for all of it",
            hint=f"`gitml rm --keep {shlex.quote(source)}`, move it, `gitml add {owner}`",
        )
    for path in (source, target):
        refuse_links_above(tree, path)
    data, there = (os.path.lexists(tree.root / one) for one in (source, target))
    pointer = tree.root / (target + SUFFIX)
    begun = target in known and known[target].pointer == known[source].pointer
    if (os.path.lexists(pointer) and not (begun and data != there)) or (data and there):
        away = f"gitml rm {shown}" if target in known else f"mv {shown} {shown}.old"
        raise UsageError(f"{target} is there already", hint=f"`{away}` first")
    if tree.git.run("ls-files", "-z", "--", target):
        raise UsageError(f"{target} is tracked by git", hint=f"`git rm --cached {shown}`")


def _move(tree: WorkingTree, tracked: Tracked, target: str) -> None:
    source, root = tracked.path, tree.root
    old, new = root / source, root / target
    make_directories(new.parent)
    data = (root / tracked.file).read_bytes()
    write_durably(root / (target + SUFFIX), data, mode=0o666)
    if os.path.lexists(old):
        with storage_errors(new):
            old.rename(new)
            sync_directory(new.parent)
            sync_directory(old.parent)
    edits = Edits(tree.git)
    edits.unignore([source])
    edits.ignore([target])
    edits.apply(staged=[target + SUFFIX], removed=[tracked.file])
    view = tree.views().get(source)
    tree.keep_views({source: None, target: view})
    cache = tree.cache()
    changes: dict[str, tuple[Held, Block] | None] = {source: None}
    if (held := cache.held.get(source)) is not None:
        block = _moved(cache, source, target, new, tree.clock())
        changes[target] = (Held(target, held.pointer), block)
    cache.saved(changes)
    with Remover(root) as remover:
        remover.remove(tracked.file)
        remover.prune([tracked.file], stop="")


def _moved(cache: StatCache, source: str, target: str, new: Path, looked: int) -> Block:
    """The entries under their new paths. Moving a file changes its change time and nothing else."""
    rows = []
    for one in cache.entries(source):
        stat = one.stat
        if one.path == source:
            with suppress(FileNotFoundError):
                now = new.lstat()
                renewed = packed_stat(now, looked, None)
                same = renewed[8:16] == stat[8:16] and renewed[20:24] == stat[20:24]
                stat = renewed if same and renewed[36:] == stat[36:] else stat
        rows.append((os.fsencode(target + one.path[len(source) :]), one.mode, one.id, stat))
    return Block.of(rows)
