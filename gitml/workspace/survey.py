"""What of the data differs from what its pointers say, found with few looks at the files.

git compares the stat cache with the file system; what it reports is looked at once more here, first
by time stamps to the nanosecond, then by digest. What proves unchanged is noted in the cache, so
that nobody hashes it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitml.entities.ids import Digest
from gitml.errors import Locked, MissingBytes, StorageError
from gitml.frozen import Frozen
from gitml.fs import is_temporary, storage_errors
from gitml.git.scan import Scan
from gitml.workspace import statcache
from gitml.workspace.globs import Globs
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.statcache import Block, Entry, Held, StatCache, packed_stat
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.tree import Tree


Reads = Literal["all", "same size", "none"]
"""Which files are read whose stat does not tell that they are unchanged: those of the size that is
known, or none, for whom it is enough that they may have changed."""


class Local:
    """What the data of one pointer is like, compared with what it was when it last agreed.

    ``held`` is that state, absent where nothing is known of it. Paths are relative to the data's
    own (a file's is empty), sorted. ``changed`` maps a path to the digest that the file has now,
    None for what no tree can hold and for a file that was not read;
    ``repositories`` are git repositories among the new files.
    """

    def __init__(
        self,
        held: Held | None,
        exists: bool,
        *,
        changed: dict[str, Digest | None] | None = None,
        repositories: Iterable[str] = (),
    ) -> None:
        self.held = held
        self.exists = exists
        self.changed = changed or {}
        self.added: list[str] = []
        self.deleted: list[str] = []
        self.repositories = list(repositories)

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.added or self.deleted or self.repositories)


class Look(Frozen):
    """A look at the held data that has begun, while there is other work to do.

    Of ``absent`` data nothing is there, so that nobody has to ask for each of its files.
    """

    cache: StatCache
    paths: Sequence[str]
    absent: frozenset[str]
    looked: int
    scan: Scan | None

    @classmethod
    def begin(cls, tree: WorkingTree, cache: StatCache, only: Sequence[str] | None = None) -> Look:
        """Have git look at the data of these paths, or at all that is held."""
        paths = [path for path in (cache.held if only is None else only) if path in cache.held]
        there = [path for path in paths if os.path.lexists(tree.root / path)]
        absent = frozenset(paths).difference(there)
        if not there:
            return cls(cache, paths, absent, 0, None)
        looked = tree.clock()
        folders = [path for path in there if cache.held[path].pointer.kind == "tree"]
        scan = tree.index.scan(folders, only=None if only is None and not absent else there)
        return cls(cache, paths, absent, looked, scan)


def survey(
    tree: WorkingTree,
    tracked: Sequence[Tracked],
    cache: StatCache,
    *,
    look: Look | None = None,
    reads: Reads = "all",
    locked: bool = False,
) -> dict[str, Local]:
    """What the data of these pointers, and all other held data, is like now, by path.

    Where nothing is known of data that exists, it is hashed and compared with its pointer. What is
    learned goes into the stat cache, unless another command is at work. ``look`` is one at all held
    data that has begun already. Raises StorageError.
    """
    known = {one.path for one in tracked}
    locals_ = judged(tree, look or Look.begin(tree, cache), reads=reads, locked=locked)
    learned: dict[str, tuple[Held, Block] | None] = {}
    for one in tracked:
        if one.path not in locals_:
            locals_[one.path] = _unknown(tree, one, learned)
    for path in locals_.keys() - known:
        if not (locals_[path].exists or (tree.root / (path + ".gitml")).exists()):
            learned[path] = None
            del locals_[path]
    remember(tree, learned, locked=locked)
    return locals_


def compare(
    tree: WorkingTree,
    cache: StatCache,
    only: Sequence[str] | None,
    *,
    reads: Reads = "all",
    locked: bool = False,
) -> dict[str, Local]:
    """What the held data is like now: of these paths, or of all; what is learned is noted."""
    return judged(tree, Look.begin(tree, cache, only), reads=reads, locked=locked)


def judged(
    tree: WorkingTree, look: Look, *, reads: Reads = "all", locked: bool = False
) -> dict[str, Local]:
    """What a look has found, each reported file looked at once more; what is learned is noted."""
    cache = look.cache
    found = {path: Local(cache.held[path], path not in look.absent) for path in sorted(look.paths)}
    for path in look.absent:
        found[path].deleted += [_inside(path, one) for one in cache.names(path)]
    if look.scan is None:
        return found
    seen = look.scan.seen()
    owners = _Owners(found)
    reported: dict[str, set[str]] = {}
    for path in seen.reported:
        if (owner := owners.of(path)) is not None:
            reported.setdefault(owner, set()).add(path)
    for path in seen.gone:
        if (owner := owners.of(path)) is not None:
            found[owner].deleted.append(_inside(owner, path))
    for path in seen.others:
        owner = owners.of(path)
        if owner is not None and not is_temporary(path):
            local = found[owner]
            new = local.repositories if path.endswith("/") else local.added
            new.append(_inside(owner, path))
    learned: dict[str, tuple[Held, Block] | None] = {}
    for owner, some in reported.items():
        refreshed = _look_closer(tree.root, found[owner], cache, some, look.looked, reads)
        if refreshed:
            learned[owner] = (cache.held[owner], _renewed(cache, owner, refreshed))
    remember(tree, learned, cache, locked=locked)
    return found


def remember(
    tree: WorkingTree,
    learned: Mapping[str, tuple[Held, Block] | None],
    cache: StatCache | None = None,
    *,
    locked: bool = False,
) -> None:
    """Note in the stat cache what a look has taught, where that is possible at once.

    ``cache`` is the reading that it was learned from: when another command has written since, its
    knowledge is the newer one. ``locked`` tells that the caller holds the lock.
    """
    if not learned:
        return
    with suppress(Locked, StorageError), nullcontext() if locked else tree.locked(wait=False):
        now = tree.cache()
        before = cache.held if cache is not None else {}
        fresh = {
            path: change
            for path, change in learned.items()
            if (cache is None and (change is None or path not in now.held))
            or (
                cache is not None
                and path in now.held
                and now.held[path].pointer == before[path].pointer
                and now.block(path).data == cache.block(path).data
            )
        }
        if fresh:
            now.saved(fresh)


def files_below(tree: WorkingTree, folder: str) -> tuple[list[str], list[str]]:
    """The files of a folder that are data, and the git repositories in it, relative, sorted.

    Asked against an empty index, so that all files are new ones.
    """
    from gitml.git.scan import PrivateIndex

    files: list[str] = []
    repositories: list[str] = []
    with _empty_index(tree) as empty:
        found = PrivateIndex(empty, tree.root).others([folder] if folder else ["."])
    for path in found:
        if not is_temporary(path):
            inside = _inside(folder, path) if folder else path
            (repositories if path.endswith("/") else files).append(inside)
    return sorted(files, key=os.fsencode), repositories


@contextmanager
def _empty_index(tree: WorkingTree) -> Iterator[Path]:
    """The folder of an index without entries: of a clone that cannot be written one that goes."""
    import tempfile

    with ExitStack() as stack:
        folder = tree.folder / "empty"
        try:
            statcache.prepare(tree.folder)
            statcache.prepare(folder)
        except StorageError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitml-")))
            statcache.prepare(folder)
        yield folder


def not_ignored(tree: WorkingTree, paths: Iterable[str]) -> list[str]:
    """Those of the paths that no ``.gitmlignore`` leaves out, whatever they are: pipes, folders.

    git passes over what is no file, and asks no ignore file about it. So it is asked about files
    that stand in the same places of another folder.
    """
    import tempfile

    from gitml.git.scan import IGNORES, PrivateIndex

    wanted = list(paths)
    empty = tree.folder / "empty"
    statcache.prepare(empty)
    with tempfile.TemporaryDirectory(prefix="gitml-") as place:
        for path in wanted:
            stand_in = Path(place, path, "x")  # a folder, for patterns that are for folders only
            if not (tree.root / path).is_dir():
                stand_in = stand_in.parent
            stand_in.parent.mkdir(parents=True, exist_ok=True)
            stand_in.touch()
        for folder, _, _ in os.walk(place):
            ignores = tree.root / os.path.relpath(folder, place) / IGNORES
            with storage_errors(ignores, "read"), suppress(OSError):
                Path(folder, IGNORES).write_bytes(ignores.read_bytes())
        there = set(PrivateIndex(empty, Path(place)).others(["."]))
    return [path for path in wanted if path in there or f"{path}/x" in there]


def hash_member(path: Path) -> tuple[Digest | None, os.stat_result]:
    """The digest of a file's bytes or a link's target, and its stat; None for anything else.

    Raises StorageError, also when the file changes meanwhile.
    """
    from gitml.store.digest import hash_bytes, hash_file

    with storage_errors(path, "read"):
        before = path.lstat()
        mode = statcache.mode_of(before)
        if not mode:
            return None, before
        if mode == statcache.SYMLINK:
            return hash_bytes(os.readlink(os.fsencode(path))), before  # noqa: PTH115 - bytes
        digest = hash_file(path)
        after = path.lstat()
    if (before.st_mtime_ns, before.st_size, before.st_ino) != (
        after.st_mtime_ns,
        after.st_size,
        after.st_ino,
    ):
        raise StorageError(
            f"{path} changed while it was read",
            hint="run the same command again when no program writes there",
        )
    return digest, before


def block_of_tree(
    path: str, tree: Tree, stats: Mapping[str, bytes], *, only: Globs | None = None
) -> Block:
    """The entries of a folder's tree with packed stats by relative path; without one it is hot."""
    prefix = os.fsencode(path) + b"/"
    return Block.of(
        (prefix + one.raw_path, one.mode, one.digest.raw, stats.get(one.path, statcache.HOT))
        for one in tree.entries
        if only is None or only.match(one.path)
    )


class _Owners:
    """Which pointer's data a path belongs to."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._last = ("", "")

    def of(self, path: str) -> str | None:
        """The data that a path is, or that it is in."""
        folder = path.rpartition("/")[0]
        if folder == self._last[0] and self._last[1]:
            return path if path in self._paths else self._last[1]
        one = path
        while one and one not in self._paths:
            one = one.rpartition("/")[0]
        if one and one != path:
            self._last = (folder, one)
        return one or None


def _inside(owner: str, path: str) -> str:
    return path[len(owner) + 1 :]


def _look_closer(
    root: Path, local: Local, cache: StatCache, reported: set[str], looked: int, reads: Reads
) -> dict[str, bytes]:
    """Judge the files that git reports; the packed stats of those that are unchanged."""
    assert local.held is not None  # noqa: S101 - what is reported is held
    owner = local.held.path
    refreshed = {}
    for entry in cache.entries(owner):
        if entry.path not in reported:
            continue
        path = root / entry.path
        try:
            now = path.lstat()
            if entry.is_unchanged(now):
                packed = packed_stat(now, looked, None)
                if packed != entry.stat:
                    refreshed[entry.path] = packed
                continue
            if reads == "none" or (reads == "same size" and entry.has_another_size(now)):
                local.changed[_inside(owner, entry.path)] = None
                continue
            digest, now = hash_member(path)
        except (FileNotFoundError, NotADirectoryError):
            local.deleted.append(_inside(owner, entry.path))
            continue
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                local.deleted.append(_inside(owner, entry.path))
                continue
            raise
        if digest is not None and _is_same(entry, digest, statcache.mode_of(now)):
            refreshed[entry.path] = packed_stat(now, looked, looked)
        else:
            local.changed[_inside(owner, entry.path)] = digest
    return refreshed


def _is_same(entry: Entry, digest: Digest, mode: int) -> bool:
    return statcache.digest_id(digest) == entry.id and mode == entry.mode


def _renewed(cache: StatCache, owner: str, stats: Mapping[str, bytes]) -> Block:
    return Block.of(
        (os.fsencode(one.path), one.mode, one.id, stats.get(one.path, one.stat))
        for one in cache.entries(owner)
    )


def _unknown(
    tree: WorkingTree, tracked: Tracked, learned: dict[str, tuple[Held, Block] | None]
) -> Local:
    """The state of data of which the cache knows nothing, hashed if it is there."""
    path, pointer = tracked.path, tracked.pointer
    exists = os.path.lexists(tree.root / path)
    if pointer is None or not exists:
        return Local(None, exists)
    is_folder = (tree.root / path).is_dir() and not (tree.root / path).is_symlink()
    if is_folder != (pointer.kind == "tree"):
        return Local(None, True, changed={"": None})
    looked = tree.clock()
    if not is_folder and (tree.root / path).lstat().st_size != pointer.size:
        return Local(None, True, changed={"": None})
    if not is_folder:
        digest, now = hash_member(tree.root / path)
        if digest != pointer.digest:
            return Local(None, True, changed={"": digest})
        packed = packed_stat(now, looked, looked)
        entry = (os.fsencode(path), statcache.mode_of(now), pointer.digest.raw, packed)
        held = Held(path, pointer)
        learned[path] = (held, Block.of([entry]))
        return Local(held, True)
    return _unknown_folder(tree, tracked, learned, looked)


def _unknown_folder(
    tree: WorkingTree,
    tracked: Tracked,
    learned: dict[str, tuple[Held, Block] | None],
    looked: int,
) -> Local:
    path, pointer = tracked.path, tracked.read()
    names, repositories = files_below(tree, path)
    now = {name: hash_member(tree.root / path / name) for name in names}
    try:
        base = tree.store.read_tree(pointer.digest)
    except MissingBytes:
        return Local(None, True, changed={"": None})
    view = tree.views().get(path)
    only = Globs.of(view) if view is not None else None
    local = Local(Held(path, pointer), True, repositories=repositories)
    stats = {}
    for entry in base.entries:
        if only is not None and not only.match(entry.path):
            continue
        digest, found = now.pop(entry.path, (None, None))
        if found is None:
            local.deleted.append(entry.path)
        elif digest == entry.digest and statcache.mode_of(found) == entry.mode:
            stats[entry.path] = packed_stat(found, looked, looked)
        else:
            local.changed[entry.path] = digest
    local.added += now
    learned[path] = (Held(path, pointer), block_of_tree(path, base, stats, only=only))
    return local
