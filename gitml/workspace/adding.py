"""``gitml add``: data into the store, its pointer beside it and into git's index.

The bytes are durable in the store before the pointer is written, and nothing of the data itself is
ever touched. What the stat cache proves to be unchanged is not read again.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gitml.entities.ids import Digest
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import (
    CorruptData,
    GitmlError,
    MissingBytes,
    NameNotFound,
    StorageError,
    UsageError,
    some,
)
from gitml.frozen import Frozen
from gitml.fs import (
    MAX_COMPONENT_BYTES,
    judge_relative_path,
    judge_relative_paths,
    storage_errors,
    write_durably,
)
from gitml.workspace import resolving, statcache
from gitml.workspace.globs import Globs, escaped
from gitml.workspace.ignores import Edits
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.statcache import Block, Held, StatCache, View, packed_stat
from gitml.workspace.survey import compare, files_below, not_ignored
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.members import Members, Row
    from gitml.store.store import Writer
    from gitml.store.tree import Tree

T = TypeVar("T")

_MODE = "mode"
"""The line of a pointer that says that its file can be executed."""


class Added(Frozen):
    """Data that was added: its path, its pointer now and before, and how many files it has.

    ``read`` is how many of them had to be read. ``resolved`` is there where a conflict is over,
    and has the files that are now what they were in the working tree, nobody having taken a side.
    """

    path: str
    pointer: Pointer
    before: Pointer | None
    files: int
    read: int
    resolved: tuple[str, ...] | None = None

    @property
    def is_new(self) -> bool:
        """Whether the pointer is another than before."""
        return self.before is None or self.before.encode() != self.pointer.encode()


class Taken(Frozen):
    """Data whose bytes are in a writer: its pointer, the number of files read, and its entries.

    ``block`` makes the entries. It is called after the writer's commit, which may make links of
    files and so move their times.
    """

    pointer: Pointer
    read: int
    block: Callable[[], Block]


def add(
    tree: WorkingTree,
    paths: Sequence[str],
    *,
    unfinished: Sequence[str] = (),
    rehash: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> list[Added]:
    """Store data and give it pointers; paths from the root, each once.

    With ``rehash`` every byte is read, whatever the stat cache says, which also heals a store that
    has lost some. Data whose pointer has moved on since it was checked out is refused, unless
    ``force``: what the pointer has now would be undone. So is data in conflict, until what
    merged is checked out and every file that clashes is decided (``resolving.resolved``). The
    ``unfinished`` may have been left by an add that was killed, and are added if they are what
    their pointers say. With ``dry_run`` everything is judged and read, and nothing is kept. Raises
    UsageError for what is no data, NameNotFound, InConflict, StorageError.
    """
    wanted = list(dict.fromkeys(paths))
    tracked = tree.pointers()
    for path in wanted:
        _refuse(tree, path, tracked)
    _refuse_twins(wanted, tracked)
    cache = tree.cache()
    before = {one.path: one.pointer for one in tracked}
    resolved = _resolved(tree, wanted, tracked, cache) if not force else {}
    writer = tree.store.writer()
    try:
        taken = {path: take(tree, path, writer, cache, rehash=rehash) for path in wanted}
        for path in unfinished:
            found, pointer = take(tree, path, writer, cache), before.get(path)
            if pointer is not None and found.pointer.encode() == pointer.encode():
                taken[path] = found
        if not force:
            _refuse_older(taken, before, cache)
        if not dry_run:
            writer.commit()
    finally:
        writer.abort()
    blocks = {path: one.block() for path, one in taken.items()}
    if not dry_run:
        with tree.locked(), tree.writing([".gitattributes", *taken]):
            _note(tree, taken, blocks)
    return [
        Added(
            path,
            one.pointer,
            before.get(path),
            blocks[path].count,
            one.read,
            resolved.get(path),
        )
        for path, one in taken.items()
    ]


def _resolved(
    tree: WorkingTree, wanted: Sequence[str], tracked: Sequence[Tracked], cache: StatCache
) -> dict[str, tuple[str, ...]]:
    """The files that were decided by changing them, by data in conflict; raises InConflict."""
    clashing = [one for one in tracked if one.path in wanted and one.conflict is not None]
    locals_ = compare(tree, cache, [one.path for one in clashing]) if clashing else {}
    found = {one.path: resolving.resolved(tree, one, locals_.get(one.path)) for one in clashing}
    return {
        path: tuple(f"{path}/{name}" if name else path for name in names)
        for path, names in found.items()
    }


def take(
    tree: WorkingTree, path: str, writer: Writer, cache: StatCache, *, rehash: bool = False
) -> Taken:
    """Put the bytes of a file or folder into a writer; only what the cache does not vouch for.

    Raises UsageError for what no tree can hold, StorageError.
    """
    full = tree.root / path
    with storage_errors(full, "read"):
        is_folder = stat.S_ISDIR(full.lstat().st_mode)
    looked = tree.clock()
    held = cache.held.get(path)
    if not rehash and held is not None and (held.pointer.kind == "tree") == is_folder:
        found = _take_changes(tree, path, writer, cache, looked)
        if found is not None:
            return found
    if not is_folder:
        return _take_file(tree, path, writer, looked)
    names, repositories = files_below(tree, path)
    _refuse_members(tree, path, repositories)
    members = writer.put_members(full, list(_with_modes(full, names)))
    return _taken_new(path, writer, members, looked)


def _take_file(tree: WorkingTree, path: str, writer: Writer, looked: int) -> Taken:
    full = tree.root / path
    with storage_errors(full, "read"):
        mode = statcache.mode_of(full.lstat())
    if mode not in (statcache.REGULAR, statcache.EXECUTABLE):
        raise UsageError(f"cannot store {path}: it is no regular file")
    members = writer.put_members(full.parent, [(full.name, mode)])
    (entry,) = [member.entry for member in members]
    extra = {_MODE: "100755"} if entry.mode == statcache.EXECUTABLE else {}
    pointer = Pointer(entry.digest, "blob", entry.size, extra)
    block = partial(_new_block, [os.fsencode(path)], [entry.mode], members, looked)
    return Taken(pointer, 1, block)


def _take_changes(
    tree: WorkingTree, path: str, writer: Writer, cache: StatCache, looked: int
) -> Taken | None:
    """Only what differs from the held state; None where that state cannot be built upon."""
    held = cache.held[path]
    local = compare(tree, cache, [path], reads="none")[path]
    if held.pointer.kind == "blob":
        if local.is_clean and not writer.rely_on_all([held.pointer.digest.raw]):
            return Taken(held.pointer, 0, partial(cache.block, path))
        return None
    try:
        base = tree.store.read_tree(held.pointer.digest)
    except (MissingBytes, CorruptData):
        return None
    full, view = tree.root / path, _view(tree, path)
    _refuse_members(tree, path, local.repositories)
    missing = set(writer.rely_on_all(base.raw_digests()))
    unsure = [one.path for one in base.entries if one.digest.raw in missing] if missing else []
    if local.is_clean and not unsure and writer.rely_on(held.pointer.digest):
        return Taken(held.pointer, 0, partial(cache.block, path))
    gone = set(local.deleted)
    lost = [one for one in unsure if one not in gone and (view is None or view.match(one))]
    names = sorted({*local.changed, *local.added, *lost}, key=os.fsencode)
    members = writer.put_members(full, list(_with_modes(full, names)))
    try:
        made = base.changed(map(os.fsencode, gone), members.tree())
    except CorruptData as error:
        raise UsageError(f"cannot store the folder {path}") from error
    stats = tree.cache().stats(path)
    block = partial(_changed_block, path, made, stats, members, looked)
    return Taken(Pointer(writer.put_tree(made), "tree", made.size), len(members), block)


def _taken_new(path: str, writer: Writer, members: Members, looked: int) -> Taken:
    """The tree and the block of a folder of new members only, without an object for each."""
    try:
        made = members.tree()
    except CorruptData as error:
        raise UsageError(f"cannot store the folder {path}") from error
    prefix = os.fsencode(path) + b"/"
    names = map(prefix.__add__, members.raw_names())
    block = partial(_new_block, names, made.columns.modes, members, looked)
    return Taken(Pointer(writer.put_tree(made), "tree", made.size), len(members), block)


def _new_block(
    paths: Iterable[bytes], modes: Iterable[int], members: Members, looked: int
) -> Block:
    """The entries of new members, row by row."""
    columns = zip(paths, modes, members.rows(), strict=True)
    return Block.in_order(
        (path, mode, row.digest, _packed(row, row.digest, looked)) for path, mode, row in columns
    )


def _packed(found: os.stat_result | Row, digest: bytes, looked: int) -> bytes:
    """A stat as an entry has it; of a file that became a link by being added its seal is proof."""
    if not found.st_mode & 0o222:
        from gitml.store.links import is_sealed

        if is_sealed(found, Digest(digest.hex())):
            return packed_stat(found, looked, None)
    return packed_stat(found, looked, looked)


def _changed_block(
    path: str, made: Tree, stats: Iterator[tuple[bytes, bytes]], members: Members, looked: int
) -> Block:
    """The entries of a folder that has changed: what is kept has the stats that it had.

    What is kept without a stat is not in the working tree: a view leaves it out.
    """
    prefix = os.fsencode(path) + b"/"
    stat_of = _in_step(stats)
    row_of = _in_step(zip(map(prefix.__add__, members.raw_names()), members.rows(), strict=True))

    def entries() -> Iterator[tuple[bytes, int, bytes, bytes]]:
        paths = map(prefix.__add__, made.raw_paths())
        for raw, mode, digest in zip(paths, made.columns.modes, made.raw_digests(), strict=True):
            row, packed = row_of(raw), stat_of(raw)
            if row is not None:
                packed = _packed(row, digest, looked)
            if packed is not None:
                yield raw, mode, digest, packed

    return Block.in_order(entries())


def _in_step(pairs: Iterator[tuple[bytes, T]]) -> Callable[[bytes], T | None]:
    """What finds the value of a key, for who asks in the order in which the pairs are sorted."""
    current = next(pairs, None)

    def find(key: bytes) -> T | None:
        nonlocal current
        while current is not None and current[0] < key:
            current = next(pairs, None)
        return current[1] if current is not None and current[0] == key else None

    return find


def _note(tree: WorkingTree, taken: Mapping[str, Taken], blocks: Mapping[str, Block]) -> None:
    """Write pointers, ignore lines and the stat cache; the caller holds the lock."""
    edits = Edits(tree.git)
    views = {}
    for path, one in taken.items():
        _write_pointer(tree.root / (path + SUFFIX), one.pointer)
        if (view := tree.views().get(path)) is not None:
            views[path] = _widened(view, path, blocks[path])
    tree.keep_views(views)
    edits.attributes()
    edits.ignore(taken)
    edits.apply(staged=[path + SUFFIX for path in taken])
    held = {path: (Held(path, one.pointer), blocks[path]) for path, one in taken.items()}
    tree.cache().saved(held)


def _write_pointer(file: Path, pointer: Pointer) -> None:
    data = pointer.encode()
    with suppress(OSError):
        if not file.is_symlink() and file.read_bytes() == data:
            return
    write_durably(file, data, mode=0o666)


def _view(tree: WorkingTree, path: str) -> Globs | None:
    view = tree.views().get(path)
    return Globs.of(view) if view is not None else None


def _widened(view: View, path: str, block: Block) -> View:
    """A view that has what was just added, so that a checkout does not take it away again."""
    globs = Globs.of(view)
    names = (one.path[len(path) + 1 :] for one in block.rows())
    new = [f"/{escaped(name)}" for name in names if not globs.match(name)]
    return View((*view.include, *new), view.exclude) if view.include and new else view


def _with_modes(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Names with the modes that a tree has for them; raises UsageError for what it cannot hold."""
    prefix = os.fspath(folder)
    links = []
    with storage_errors(folder, "read"):
        for name in names:
            found = os.lstat(f"{prefix}/{name}")
            mode = statcache.mode_of(found)
            if not mode:
                raise _not_storable(folder / name, found.st_mode)
            if mode == statcache.SYMLINK:
                links.append(name)
            yield name, mode
    _refuse_links_out(folder, links)


def _refuse_links_out(folder: Path, links: Sequence[str]) -> None:
    """Raise UsageError for links that lead out of their folder, before the first byte is read."""
    if not links:
        return
    from gitml.store.tree import judge_link_target

    out: list[tuple[str, CorruptData]] = []
    for name in links:
        with storage_errors(folder / name, "read"):
            target = os.readlink(os.fsencode(folder / name))  # noqa: PTH115 - bytes
        try:
            judge_link_target(name, target)
        except CorruptData as error:
            out.append((name, error))
    if out:
        paths = [folder / name for name, _ in out]
        hint = _instead_of(paths[0], folder)
        raise UsageError(f"cannot store {some(paths, 1)}", hint=hint) from out[0][1]


def _instead_of(link: Path, folder: Path) -> str:
    """What helps with a link that leads out of its folder, or is an absolute one within it."""
    shown, there = shlex.quote(str(link)), Path(os.path.realpath(link))
    ignores = f"a line in {shlex.quote(str(folder))}/.gitmlignore leaves it out"
    if not there.exists():
        return f"`rm {shown}`, or {ignores}"
    if there.is_relative_to(os.path.realpath(folder)):
        inside = os.path.relpath(there, os.path.realpath(link.parent))
        return f"`ln -sfn {shlex.quote(inside)} {shown}` makes it a relative one"
    return (
        f"`cp -r --remove-destination {shlex.quote(str(there))} {shown}` puts the data there, "
        f"or {ignores}"
    )


def _refuse_members(tree: WorkingTree, path: str, repositories: Sequence[str]) -> None:
    """Raise for what lies in a folder and can be no data: pipes, repositories, unreadable folders.

    What a ``.gitmlignore`` leaves out is none of it, and may be anything.
    """
    if repositories:
        inner = tree.root / path / repositories[0].rstrip("/")
        raise UsageError(
            f"{inner} is a git repository of its own, and no data of this one",
            hint=f"`mv {shlex.quote(str(inner / '.git'))} …` makes it plain files, "
            f"or a line in {path}/.gitmlignore leaves it out",
        )
    refused: dict[str, GitmlError] = {}
    pending = [path]
    while pending:
        inside = pending.pop()
        where = f"{tree.root}/{inside}"
        try:
            with storage_errors(Path(where), "read"), os.scandir(where) as listing:
                for one in listing:
                    name = f"{inside}/{one.name}"
                    if one.is_dir(follow_symlinks=False):
                        pending.append(name)
                    elif not one.is_file(follow_symlinks=False) and not one.is_symlink():
                        mode = one.stat(follow_symlinks=False).st_mode
                        refused[name] = _not_storable(Path(one.path), mode)
        except StorageError as error:
            refused[inside] = error
    if refused:
        for name in not_ignored(tree, refused):
            raise refused[name]


def _not_storable(path: Path, mode: int) -> UsageError:
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return UsageError(
        f"cannot store {path}: it is {kind}",
        hint=f"`rm {shlex.quote(str(path))}`, or a line in a .gitmlignore leaves it out",
    )


def _refuse(tree: WorkingTree, path: str, tracked: Sequence[Tracked]) -> None:
    """Raise for a path that can be no data with a pointer of its own."""
    shown = shlex.quote(path)
    if not path:
        raise UsageError("the whole repository cannot be data", hint="`gitml add FOLDER`")
    try:
        judge_relative_path(os.fsencode(path))
    except CorruptData as error:
        raise UsageError(f"{path!r} cannot be data: its name is not safe everywhere") from error
    if path.endswith(SUFFIX):
        data = path.removesuffix(SUFFIX)
        raise UsageError(f"{path} is a pointer", hint=f"`gitml add {shlex.quote(data)}`")
    if len(os.fsencode(path.rpartition("/")[2] + SUFFIX)) > MAX_COMPONENT_BYTES:
        raise UsageError(
            f"the name of {path} is too long: its pointer's would have {SUFFIX} behind it",
            hint=f"`mv {shown} …` gives it a shorter one",
        )
    full = tree.root / path
    if full.is_symlink():
        raise UsageError(
            f"{path} is a symbolic link, and gitml stores what it finds, not where it leads",
            hint=f"`cp -r --remove-destination $(readlink -f {shown}) {shown}` puts the data there",
        )
    known = {one.path: one for one in tracked}
    if not full.exists():
        hint = f"`gitml checkout {shown}` brings it" if path in known else None
        raise NameNotFound(f"there is no data at {path}", hint=hint)
    mode = full.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _not_storable(full, mode)
    _refuse_nesting(tree, path, known)
    if (tree.root / (path + SUFFIX)).is_dir():
        raise UsageError(
            f"{path}{SUFFIX} is a folder, where the pointer has to be",
            hint=f"`mv {shown}{SUFFIX} …` gives it another name",
        )
    listed = os.fsdecode(tree.git.run("ls-files", "-z", "--", path)).split("\0")[0]
    if listed:
        is_folder = stat.S_ISDIR(mode)
        what = f"{path} is" if listed == path else f"{path} holds {listed}, which is"
        raise UsageError(
            f"{what} tracked by git already",
            hint=f"`git rm --cached {'-r ' if is_folder else ''}{shown}` takes it out of git's "
            "index, then add it again",
        )


def _refuse_nesting(tree: WorkingTree, path: str, known: Mapping[str, Tracked]) -> None:
    """Raise for data within other data, around other data, or around gitml's own files."""
    above = path.rpartition("/")[0]
    while above:
        if above in known:
            raise UsageError(
                f"{path} is inside {above}, which has a pointer already",
                hint=f"`gitml add {shlex.quote(above)}` adds it with its folder",
            )
        above = above.rpartition("/")[0]
    inner = next((one for one in known if one.startswith(f"{path}/")), None)
    if inner is not None:
        raise UsageError(
            f"{inner} inside {path} has a pointer of its own",
            hint=f"`gitml rm --keep {shlex.quote(inner)}` takes that pointer away",
        )
    full = Path(os.path.realpath(tree.root / path))
    for place in (tree.git.common, tree.git.directory, tree.store.layout.root):
        real = Path(os.path.realpath(place))
        if full == real or full in real.parents or real in full.parents:
            raise UsageError(f"{path} holds gitml's own files, or is one of them")


def _refuse_older(
    taken: Mapping[str, Taken], pointers: Mapping[str, Pointer | None], cache: StatCache
) -> None:
    """Raise UsageError for data that was made from another version than its pointer's.

    Data that is what its pointer says is none, even if the cache has not heard of it: an add that
    was killed leaves it so.
    """
    for path, one in taken.items():
        pointer, held = pointers.get(path), cache.held.get(path)
        if pointer is None or held is None or one.pointer.encode() == pointer.encode():
            continue
        if held.pointer.encode() != pointer.encode():
            raise UsageError(
                f"the pointer of {path} has moved on since the data was checked out",
                hint=f"`gitml checkout {shlex.quote(path)}` brings the data of the pointer; "
                f"`gitml add --force {shlex.quote(path)}` undoes what has changed there",
            )


def _refuse_twins(wanted: Sequence[str], tracked: Sequence[Tracked]) -> None:
    """Raise for two pointers that some file systems would take for one."""
    paths = sorted({*wanted, *(one.path for one in tracked)})
    try:
        judge_relative_paths(os.fsencode(path) for path in paths)
    except CorruptData as error:
        raise UsageError(
            "there is other data of that name on some systems",
            hint="give one of the two another name with `gitml mv`",
        ) from error
