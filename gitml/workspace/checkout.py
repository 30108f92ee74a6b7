"""``gitml checkout``: data follows its pointers.

Everything is planned before anything is changed: what has to be written, what left, what the user
changed and has nowhere else. Then only what differs is written, all of it verified before the
first file gets its name, and only what left is removed. A checkout that was interrupted is finished
by the next one.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, GitmlError, MissingBytes, NameNotFound, UsageError, some
from gitml.frozen import Frozen, replace
from gitml.frozen import field as frozen_field
from gitml.fs import storage_errors, write_durably
from gitml.workspace import resolving, statcache
from gitml.workspace.globs import Globs, escaped
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.removal import Remover
from gitml.workspace.rescue import stored_again
from gitml.workspace.resolving import Resolution, Side
from gitml.workspace.statcache import Block, Held, StatCache, View, packed_stat
from gitml.workspace.survey import Local, compare, files_below, hash_member
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.members import Stats
    from gitml.store.tree import Tree, TreeEntry

_NAMED = 5
_Found = tuple[Digest | None, os.stat_result]


class LocalChanges(GitmlError):
    """Files that a command would overwrite or delete hold what the store does not."""


@dataclass
class Move:
    """What a checkout does, or would do, with the data of one pointer; paths from the root.

    ``written`` and ``removed`` are files, ``kept`` local changes that were not in the way, ``lost``
    those that are gone for good, ``size`` the bytes written. ``view`` is the part that is checked
    out, where it is not all. ``is_left`` tells that the pointer is gone, ``in_conflict`` that the
    data is what merged of two sides; ``undecided`` are then the files that both changed.
    """

    path: str
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    size: int = 0
    files: int = 0
    view: View | None = None
    is_left: bool = False
    in_conflict: bool = False
    undecided: list[str] = field(default_factory=list)


@dataclass
class _Plan:
    move: Move
    held: Held | None
    write: Sequence[TreeEntry] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    rows: list[tuple[bytes, int, bytes, bytes]] = field(default_factory=list)
    changes_cache: bool = True


class Wish(Frozen):
    """What somebody wants checked out: the pointers' data, and of some only paths within.

    ``chosen`` has the data in conflict, with the files of which a side was chosen.
    """

    paths: tuple[str, ...]
    within: dict[str, tuple[str, ...]]
    explicit: bool
    chosen: Mapping[str, frozenset[str]] = frozen_field(default_factory=dict)

    def means(self, path: str, file: str) -> bool:
        """Whether a file of the data at ``path`` is meant itself, so that a change is in the way.

        Of data in conflict only what was chosen is: the rest has to be brought around the changes.
        """
        return file in self.chosen[path] if path in self.chosen else self.explicit


def checkout(
    tree: WorkingTree,
    paths: Sequence[str] = (),
    *,
    view: View | None = None,
    force: bool = False,
    keep: bool = False,
    side: Side | None = None,
    dry_run: bool = False,
) -> list[Move]:
    """Make data follow the pointers: all of them, or those that the paths name.

    A path is data, its pointer, a folder above, or a path within data. ``view`` says which files of
    folders are wanted from now on; without it that stays as it was. Local changes that are not in
    the store are kept where they are not in the way, else refused with LocalChanges; where a path
    names them they are in the way, unless ``keep``. ``force`` throws them away. Of data in conflict
    what merged is brought; ``side`` says whose the files are that clash within the paths. Raises
    MissingBytes before anything is changed, NameNotFound (also where ``view`` matches nothing),
    UsageError, InConflict.
    """
    with tree.locked():
        tracked = {one.path: one for one in tree.pointers()}
        cache = tree.cache()
        wish = _wish(tree, paths, tracked, cache)
        if keep:
            wish = replace(wish, explicit=False)
        found = _resolutions(tree, wish, tracked, side)
        tracked = resolving.said(tracked, found)
        wish = _with_conflicts(wish, tracked, found, side)
        views = tree.views()
        wanted = _views(views, wish, tracked, view)
        plans = list(_plans(tree, wish, tracked, cache, {**views, **wanted}, force=force))
        _refuse_losses(plans)
        if view is not None and view.include:
            _refuse_nothing(view, [one for one in plans if one.move.path in wanted])
        tree.store.bring(digest for plan in plans for digest in _digests(plan.write))
        if dry_run:
            _refuse_missing(tree, plans)
        else:
            written = [path for plan in plans for path in plan.move.written]
            with tree.writing([*written, *found]):
                for path, one in found.items():
                    write_durably(tree.root / (path + SUFFIX), one.data, mode=0o666)
                _carry_out(tree, plans, wanted)
    return [one.move for one in plans]


def _resolutions(
    tree: WorkingTree, wish: Wish, tracked: Mapping[str, Tracked], side: Side | None
) -> dict[str, Resolution]:
    """The pointers in conflict that have to be written anew, so that what merged can be brought."""
    found: dict[str, Resolution] = {}
    for path in wish.paths:
        if path in tracked and (made := resolving.resumed(tree, tracked[path])) is not None:
            found[path] = made
    if side is None:
        return found
    now = resolving.said(tracked, found)
    clashing = [path for path in wish.paths if path in now and now[path].conflict is not None]
    if not clashing:
        raise resolving.no_conflict(wish.paths)
    for path in clashing:
        found[path] = resolving.choose(tree.store, now[path], side, wish.within.get(path, ()))
    return found


def _with_conflicts(
    wish: Wish,
    tracked: Mapping[str, Tracked],
    found: Mapping[str, Resolution],
    side: Side | None,
) -> Wish:
    """The wish, in which data in conflict comes as a whole, and alone where a side is chosen."""
    clashing = [one for one in wish.paths if one in tracked and tracked[one].conflict is not None]
    chosen = {
        path: frozenset(
            f"{path}/{name}" if name else path for name in (found[path].chosen if side else ())
        )
        for path in clashing
        if side is not None or path not in wish.within
    }
    within = {path: names for path, names in wish.within.items() if path not in chosen}
    paths = tuple(clashing) if side is not None else wish.paths
    return replace(wish, paths=paths, within=within, chosen=chosen)


def _wish(
    tree: WorkingTree, paths: Sequence[str], tracked: dict[str, Tracked], cache: StatCache
) -> Wish:
    known = sorted({*tracked, *cache.held})
    if not paths:
        return Wish(tuple(known), {}, False)
    chosen: set[str] = set()
    within: dict[str, list[str]] = {}
    for given in paths:
        path = given.removesuffix(SUFFIX) if given.endswith(SUFFIX) else given
        below = [one for one in known if not path or one == path or one.startswith(f"{path}/")]
        owner = next((one for one in known if path.startswith(f"{one}/")), None)
        if not below and owner is None:
            raise _unknown_path(tree, given, known)
        chosen.update(below)
        if owner is not None and not below:
            chosen.add(owner)
            within.setdefault(owner, []).append(path)
    whole = {one for one in chosen if one not in within}
    return Wish(
        tuple(sorted(chosen)), {k: tuple(v) for k, v in within.items() if k not in whole}, True
    )


def _unknown_path(tree: WorkingTree, given: str, known: Sequence[str]) -> GitmlError:
    """What to say of a path at which there is no data: it may be meant for ``git switch``."""
    if (
        given
        and tree.git.process(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}"
        ).returncode
        == 0
    ):
        branch = ["show-ref", "--verify", "--quiet", f"refs/heads/{given}"]
        detach = "" if tree.git.process(*branch).returncode == 0 else "--detach "
        return UsageError(
            f"{given} is a revision of git's, and gitml checkout moves data only",
            hint=f"`git switch {detach}{shlex.quote(given)} && gitml checkout`",
        )
    if (tree.root / given).exists():
        return NameNotFound(
            f"{given} has no pointer", hint=f"`gitml add {shlex.quote(given)}` gives it one"
        )
    return NameNotFound.among("data", given, known)


def _views(
    views: dict[str, View], wish: Wish, tracked: dict[str, Tracked], view: View | None
) -> dict[str, View | None]:
    """The views that change: what was asked for, and wider ones where a path was named."""
    changes: dict[str, View | None] = {}
    if view is not None:
        whole = not view.exclude and set(view.include) <= {"*", "**"}
        for path in wish.paths:
            one = tracked.get(path)
            if one is not None and not one.problem and one.read().kind == "tree":
                changes[path] = None if whole else view
    for path, inner in wish.within.items():
        before = views.get(path)
        if before is None or view is not None:
            continue
        new = [f"/{escaped(one[len(path) + 1 :])}" for one in inner]
        missing = [one for one in new if one not in before.include]
        if before.include and missing:
            changes[path] = View((*before.include, *missing), before.exclude)
    return changes


def _plans(
    tree: WorkingTree,
    wish: Wish,
    tracked: dict[str, Tracked],
    cache: StatCache,
    views: dict[str, View | None],
    *,
    force: bool,
) -> Iterator[_Plan]:
    """A plan for each pointer that is wished for and for each that is gone."""
    looked = tree.clock()
    locals_ = compare(tree, cache, wish.paths, locked=True)
    cache = tree.cache()
    gone = [path for path in wish.paths if path not in tracked]
    staged = set(os.fsdecode(tree.git.run("ls-files", "-z")).split("\0")) if gone else set()
    for path in wish.paths:
        refuse_links_above(tree, path)
        if path in tracked:
            pointer = tracked[path].target()
            local = locals_.get(path) or Local(None, os.path.lexists(tree.root / path))
            maker = _Planner(
                tree, cache, path, pointer, local, views.get(path), wish, force, looked
            )
            plan = maker.plan()
            if (conflict := tracked[path].conflict) is not None:
                plan.move.in_conflict = True
                names = resolving.untouched(resolving.undecided(tree.store, conflict), local)
                plan.move.undecided = [f"{path}/{one}" if one else path for one in names]
            yield plan
        elif path + SUFFIX not in staged:
            yield _leave(tree, cache, locals_[path], staged, force=force)


@dataclass
class _Planner:
    """Plans the checkout of one pointer's data; all paths are from the root."""

    tree: WorkingTree
    cache: StatCache
    path: str
    pointer: Pointer
    local: Local
    view: View | None
    wish: Wish
    force: bool
    looked: int

    def plan(self) -> _Plan:
        """What is to be done."""
        held, path = self.local.held, self.path
        plan = _Plan(Move(path, view=self.view), Held(path, self.pointer))
        within = self.wish.within.get(path)
        same = held is not None and held.pointer.encode() == self.pointer.encode()
        if within is not None and not same:
            raise UsageError(
                f"{path} is not checked out as its pointer says, so no part of it can be",
                hint=f"`gitml checkout {shlex.quote(path)} --include …` gets a part of it",
            )
        if same and self.local.is_clean and self._has_view():
            plan.move.files = held.count if held else 0
            plan.changes_cache = False
            return plan
        if self.local.exists or within is not None:
            self._compare(plan, self._target(), within)
        else:
            self._write_all(plan)
        plan.move.files = len(plan.rows) + len(plan.write)
        return plan

    def _has_view(self) -> bool:
        return self.tree.views().get(self.path) == self.view and self.local.exists

    def _target(self) -> dict[str, TreeEntry]:
        """The entries that have to be there, by path."""
        from gitml.store.tree import EXECUTABLE, REGULAR, TreeEntry

        pointer = self.pointer
        if pointer.kind == "blob":
            mode = EXECUTABLE if pointer.extra.get("mode") == "100755" else REGULAR
            return {self.path: TreeEntry(self.path, mode, pointer.size, pointer.digest)}
        globs = Globs.of(self.view) if self.view is not None else None
        prefix = self.path + "/"
        return {
            prefix + path: TreeEntry(prefix + path, mode, size, digest)
            for path, mode, size, digest in self._tree().entries
            if globs is None or globs.match(path)
        }

    def _tree(self) -> Tree:
        """The tree that the pointer names; raises MissingBytes."""
        try:
            return self.tree.store.read_tree(self.pointer.digest)
        except MissingBytes as error:
            raise MissingBytes(
                f"the bytes of {self.path} are not in this store"
                f"{self.tree.store.fate(self.pointer.digest)}; nothing was changed",
                hint=error.hint,
            ) from error

    def _compare(
        self, plan: _Plan, target: dict[str, TreeEntry], within: tuple[str, ...] | None
    ) -> None:
        have = {one.path: one for one in self.cache.entries(self.path)}
        changed = {self._full(path): digest for path, digest in self.local.changed.items()}
        missing = {self._full(path) for path in self.local.deleted}
        others = self._others()
        root = self.tree.root
        for path, entry in target.items():
            old = have.get(path)
            same = old is not None and old.id == entry.digest.raw[:20] and old.mode == entry.mode
            if within is not None and not _is_within(path, within):
                self._leave_as_is(plan, path, old)
            elif path in changed:
                self._replace_local(plan, entry, hash_member(root / path), same=same)
            elif path in others:
                self._replace_local(plan, entry, others[path], same=same)
            elif same and path not in missing and old is not None:
                plan.rows.append((entry.raw_path, entry.mode, entry.digest.raw, old.stat))
            else:
                self._write(plan, entry)
        for path in have:
            if path not in target and path not in missing and within is None:
                self._remove(plan, path, changed)
        self._make_way(plan, target, others)

    def _others(self) -> dict[str, _Found]:
        """Files of which the cache knows nothing, hashed: only those are."""
        root, local = self.tree.root, self.local
        full = root / self.path
        is_folder = full.is_dir() and not full.is_symlink()
        if is_folder and (local.held is None or self.pointer.kind == "blob"):
            names = files_below(self.tree, self.path)[0]
            found = [f"{self.path}/{name}" for name in names]
            known = {one.path for one in self.cache.entries(self.path)}
            found = [one for one in found if one not in known]
        elif local.held is None and local.exists:
            found = [self.path]
        else:
            found = [self._full(name) for name in local.added]
        return {path: hash_member(root / path) for path in found}

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    def _leave_as_is(self, plan: _Plan, path: str, old: statcache.Entry | None) -> None:
        if old is not None:
            plan.rows.append((os.fsencode(path), old.mode, old.id, old.stat))

    def _write_all(self, plan: _Plan) -> None:
        """What `_compare` comes to where nothing is there; of many files none is made an entry."""
        if self.pointer.kind == "tree" and self.view is None:
            tree = self._tree().under(self.path)
            plan.write = tree.entries
            plan.move.written = [os.fsdecode(path) for path in tree.raw_paths()]
            plan.move.size = tree.size
            return
        for entry in self._target().values():
            self._write(plan, entry)

    def _write(self, plan: _Plan, entry: TreeEntry) -> None:
        assert isinstance(plan.write, list)  # noqa: S101 - only `_write_all` has another
        plan.write.append(entry)
        plan.move.written.append(entry.path)
        plan.move.size += entry.size

    def _replace_local(self, plan: _Plan, entry: TreeEntry, found: _Found, *, same: bool) -> None:
        """A file that is not what the cache says stands where an entry has to be."""
        digest, status = found
        if digest == entry.digest and statcache.mode_of(status) == entry.mode:
            packed = packed_stat(status, self.looked, self.looked)
            plan.rows.append((entry.raw_path, entry.mode, entry.digest.raw, packed))
        elif digest is not None and self.tree.store.has(digest):
            self._write(plan, entry)
        elif self.force:
            plan.move.lost.append(entry.path)
            self._write(plan, entry)
        elif same and not self.wish.means(self.path, entry.path):
            plan.move.kept.append(entry.path)
            plan.rows.append((entry.raw_path, entry.mode, entry.digest.raw, statcache.HOT))
        else:
            plan.refused.append(entry.path)

    def _remove(self, plan: _Plan, path: str, changed: dict[str, Digest | None]) -> None:
        """A file that was checked out has no place any more."""
        if path in changed:
            digest = changed[path]
            if digest is None or not self.tree.store.has(digest):
                if not self.force:
                    plan.refused.append(path)
                    return
                plan.move.lost.append(path)
        plan.remove.append(path)
        plan.move.removed.append(path)

    def _make_way(
        self, plan: _Plan, target: dict[str, TreeEntry], others: dict[str, _Found]
    ) -> None:
        """Clear what stands where a folder or a file has to come and is of the other kind."""
        if not others and not plan.remove:
            return
        folders = {folder for path in target for folder in _above(path, self.path)}
        going = set(plan.remove)
        for path, (digest, _) in others.items():
            if path in target:
                continue
            blocks = path in folders or any(one in target for one in _above(path, ""))
            if not blocks:
                continue
            if digest is None or not self.tree.store.has(digest):
                if not self.force:
                    plan.refused.append(path)
                    continue
                plan.move.lost.append(path)
            plan.clear.append(path)
            plan.move.removed.append(path)
        first = {
            path
            for path in going
            if path in folders or any(one in target for one in _above(path, ""))
        }
        plan.clear += sorted(first)
        plan.remove = [path for path in plan.remove if path not in first]


def _leave(
    tree: WorkingTree, cache: StatCache, local: Local, staged: set[str], *, force: bool
) -> _Plan:
    """The plan for data whose pointer is gone: what was checked out goes, what is new stays."""
    assert local.held is not None  # noqa: S101 - only held data can be left
    path = local.held.path
    plan = _Plan(Move(path, is_left=True), None)
    if path in staged or any(one.startswith(f"{path}/") for one in staged):
        return plan
    absent = set(local.deleted)
    for entry in cache.entries(path):
        name = entry.path[len(path) + 1 :]
        if name in absent:
            continue
        if name in local.changed:
            digest = local.changed[name]
            if digest is None or not tree.store.has(digest):
                if not force:
                    plan.refused.append(entry.path)
                    continue
                plan.move.lost.append(entry.path)
        plan.remove.append(entry.path)
        plan.move.removed.append(entry.path)
    return plan


def _digests(entries: Sequence[TreeEntry]) -> Iterable[Digest]:
    """The digests of some entries."""
    from gitml.store.tree import Entries

    return entries.digests() if isinstance(entries, Entries) else (one.digest for one in entries)


def _above(path: str, stop: str) -> Iterator[str]:
    """The folders above a path, down to but without those above ``stop``."""
    folder = path.rpartition("/")[0]
    while folder and len(folder) >= len(stop):
        yield folder
        folder = folder.rpartition("/")[0]


def _is_within(path: str, within: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in within)


def refuse_links_above(tree: WorkingTree, path: str) -> None:
    """Raise UsageError where a folder above data is a link: writes would land elsewhere."""
    for folder in _above(path, ""):
        if (tree.root / folder).is_symlink():
            raise UsageError(
                f"{folder} is a symbolic link, and nothing is written through one",
                hint=f"`rm {shlex.quote(folder)}`, then run the same command again",
            )


def _refuse_losses(plans: Sequence[_Plan]) -> None:
    refused = [path for plan in plans for path in plan.refused]
    if not refused:
        return
    paths = " ".join(shlex.quote(one.move.path) for one in plans if one.refused)
    keeps = f"`gitml add {paths}` keeps them"
    if any(one.move.in_conflict for one in plans if one.refused):
        keeps = f"`mv {shlex.quote(refused[0])} …` keeps it"
    raise LocalChanges(
        f"these have changes that are nowhere else: {some(refused, _NAMED)}",
        hint=f"{keeps}, `gitml checkout --force {paths}` throws them away",
    )


def _refuse_nothing(view: View, folders: Sequence[_Plan]) -> None:
    """Raise NameNotFound for a choice that no file of any folder matches, as one with a typo.

    Else all that is checked out of them would go.
    """
    if not folders or any(one.move.files or one.move.view is None for one in folders):
        return
    chosen = " ".join(f"--include {shlex.quote(one)}" for one in view.include)
    paths = " ".join(shlex.quote(one.move.path) for one in folders)
    raise NameNotFound(
        f"no file matches {chosen}; nothing was changed",
        hint=f"`gitml checkout {paths} --include '*'` brings all, `--exclude '*'` leaves all out",
    )


def _refuse_missing(tree: WorkingTree, plans: Sequence[_Plan]) -> None:
    """Raise MissingBytes unless everything that has to be written is in the store."""
    has = tree.store.has
    absent = [one for plan in plans for one in plan.write if not has(one.digest)]
    if not absent:
        return
    more = f" and of {len(absent) - 1} more" if len(absent) > 1 else ""
    fate = tree.store.fate(absent[0].digest)
    raise MissingBytes(
        f"the bytes of {absent[0].path}{more} are not in this store{fate}; nothing was changed",
        hint=tree.store.remedy(),
    )


def _carry_out(tree: WorkingTree, plans: Sequence[_Plan], views: dict[str, View | None]) -> None:
    """Write, clear the way, name, remove, note: nothing changes before all bytes were verified."""
    from gitml.store.tree import raw_entries

    changes: dict[str, tuple[Held, Block] | None] = {}
    looked = tree.clock()
    for plan in plans:
        _judge_links(tree, plan)
    entries = plans[0].write if len(plans) == 1 else [one for plan in plans for one in plan.write]
    going = [path for plan in plans for path in plan.clear]

    def make_way() -> None:
        tree.keep_views(views)
        with Remover(tree.root) as remover:
            for plan in plans:
                for path in plan.clear:
                    remover.remove(path)
                remover.prune(plan.clear, stop="")

    def restored() -> Stats:
        return tree.store.restore(tree.root, entries, going=going, make_way=make_way)

    try:
        stats = restored()
    except (CorruptData, MissingBytes) as error:  # nothing has changed yet
        if stored_again(tree, entries):
            stats = restored()
        else:
            if isinstance(error, MissingBytes):  # which says it of one
                _refuse_missing(tree, plans)
            raise
    found = stats.rows()
    for plan in plans:
        plan.rows += [
            (path, mode, digest, packed_stat(next(found), looked, None))
            for path, mode, _, digest in raw_entries(plan.write, range(len(plan.write)))
        ]
        if plan.changes_cache:
            path = plan.move.path
            held = plan.held
            changes[path] = (held, Block.of(plan.rows)) if held is not None else None
            if held is not None and held.pointer.kind == "tree" and not plan.rows:
                with storage_errors(tree.root / path):
                    (tree.root / path).mkdir(parents=True, exist_ok=True)
    with Remover(tree.root) as remover:
        for plan in plans:
            for path in plan.remove:
                remover.remove(path)
            keep = plan.move.path if plan.held is not None else ""
            remover.prune(plan.remove, stop=keep)
    if changes:
        tree.cache().saved(changes)


def _judge_links(tree: WorkingTree, plan: _Plan) -> None:
    """Raise CorruptData for a link that would lead out of its own tree, if not of the root."""
    from gitml.store.tree import SYMLINK, judge_link_target, raw_entries

    for row, (_, mode, *_) in enumerate(raw_entries(plan.write, range(len(plan.write)))):
        if mode == SYMLINK:
            entry = plan.write[row]
            inside = entry.path[len(plan.move.path) + 1 :]
            judge_link_target(inside, tree.store.read(entry.digest))
