"""Merging pointers, and showing what one says: what git calls where it merges and compares them.

Two people who change different files of one folder have no conflict: the trees behind the two
pointers are merged file by file, as git merges trees. Without our settings git merges the lines of
a pointer, which is a conflict then, and never a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gitml.entities.conflict import Conflict
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.frozen import Frozen, replace
from gitml.git.process import Git
from gitml.git.settings import set_setting

if TYPE_CHECKING:
    from gitml.store.store import Store
    from gitml.store.tree import Tree, TreeEntry

_SETTINGS = {
    # The command comes first: a driver with a name and no command makes git give up.
    "merge.gitml.driver": (
        "gitml merge-driver %O %A %B %P || { test $? = 1 && exit 1; "
        "git merge-file -L ours -L base -L theirs %A %O %B; }"
    ),
    "merge.gitml.name": "gitml: the files behind two pointers",
    "diff.gitml.textconv": 'f() { gitml textconv "$1" 2>/dev/null || cat "$1"; }; f',
}
"""What git is told. Where gitml is not installed any more, both fall back to the plain lines."""

_LISTED = 100_000
"""Files of a folder that are listed for ``git diff``; beyond, the pointer has to do."""


def install_drivers(git: Git) -> bool:
    """Have this clone's git merge and show pointers by gitml; whether anything had to be set."""
    missing = _missing(git)
    for key, value in missing.items():
        set_setting(git, key, value)
    return bool(missing)


def lacks_drivers(git: Git) -> bool:
    """Whether this clone's git would merge or show a pointer as lines."""
    return bool(_missing(git))


def _missing(git: Git) -> dict[str, str]:
    return {key: value for key, value in _SETTINGS.items() if git.config(key) != value}


class Merged(Frozen):
    """The outcome of a merge: the bytes of the pointer, and what is in conflict, for people.

    With conflicts the bytes have conflict markers, as a merge of lines would leave them.
    ``is_partial`` tells that they name what merged in spite of these.
    """

    data: bytes
    conflicts: tuple[str, ...] = ()
    is_partial: bool = False


def merge(store: Store, base: bytes, ours: bytes, theirs: bytes, path: str) -> Merged:
    """The pointer at ``path`` after a merge of two sides that come from ``base``.

    ``base`` is empty where both sides added it. New trees are in the store when this returns.
    """
    if ours == theirs or base == theirs:
        return Merged(ours)
    if base == ours:
        return Merged(theirs)
    try:
        our = Pointer.decode(ours, path)
        their = Pointer.decode(theirs, path)
        old = _base(store, base, path) if base else None
    except CorruptData as error:
        return _conflict(ours, theirs, (error.message,))
    if (our.digest, our.kind) == (their.digest, their.kind):
        return Merged(ours)
    if our.kind != their.kind:
        return _conflict(ours, theirs, (f"{path}: a file on one side, a folder on the other",))
    if our.kind == "blob" or (old is not None and old.kind == "blob"):
        if our.kind == "blob":
            made = Conflict(our, their, our, their.digest)
            return Merged(made.encode(), (f"{path}: both sides changed the bytes",), True)
        old = None
    try:
        return _merge_trees(store, old, our, their, path)
    except MissingBytes as error:
        return _conflict(ours, theirs, (f"{path}: {error.message}; `gitml pull` brings it",))
    except GitmlError as error:
        return _conflict(ours, theirs, (f"{path}: {error.message}", *error.causes()))


def _base(store: Store, data: bytes, path: str) -> Pointer:
    """The pointer that both sides come from.

    Where that was merged by git itself, of two ancestors, it may be in conflict. Then it has the
    files that are not: who has another than the other side in one of those clashes with it.
    """
    found = Conflict.decode(data, path)
    if found is None or found.merged is None or found.merged.kind == "blob":
        return Pointer.decode(data, path)
    if found.undecided is None:
        return found.merged
    open_ = {one.path for one in store.read_tree(found.undecided).entries}
    kept = [one for one in store.read_tree(found.merged.digest).entries if one.path not in open_]
    return put_tree(store, kept)


def _merge_trees(
    store: Store, old: Pointer | None, our: Pointer, their: Pointer, path: str
) -> Merged:
    from gitml.store.tree import Tree

    base = store.read_tree(old.digest) if old is not None else Tree.of([])
    ours, theirs = store.read_tree(our.digest), store.read_tree(their.digest)
    mine, yours = changes(base, ours), changes(base, theirs)
    clashes = {name for name, entry in yours.items() if name in mine and mine[name] != entry}
    entries = {one.path: one for one in ours.entries}
    for name in yours.keys() - clashes:
        entry = yours[name]
        if entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry
    merged = replace(put_tree(store, entries.values()), extra={**their.extra, **our.extra})
    if not clashes:
        return Merged(merged.encode())
    both = (yours[name] or mine[name] for name in clashes)
    undecided = put_tree(store, (one for one in both if one is not None))
    told = tuple(f"{path}: both sides changed {name} in another way" for name in sorted(clashes))
    return Merged(Conflict(our, their, merged, undecided.digest).encode(), told, True)


def put_tree(store: Store, entries: Iterable[TreeEntry]) -> Pointer:
    """A tree of files that the store may have, in the store, and what points to it."""
    from gitml.store.tree import Tree

    made = Tree.of(entries)
    with store.writer() as writer:
        writer.rely_on_all(made.raw_digests())  # as far as they are here
        return Pointer(writer.put_tree(made), "tree", made.size)


def changes(old: Tree, new: Tree) -> dict[str, TreeEntry | None]:
    """What one has to put at which path of ``old`` to have ``new``; None takes the path away."""
    from gitml.store.tree import diff_trees

    found = diff_trees(old, new)
    put: dict[str, TreeEntry | None] = {one.path: None for one in found.removed}
    put |= {before.path: None for before, _ in found.renamed}
    put |= {one.path: one for one in found.added}
    put |= {after.path: after for _, after in (*found.changed, *found.renamed)}
    return put


def _conflict(ours: bytes, theirs: bytes, conflicts: tuple[str, ...]) -> Merged:
    """Both sides with markers; lines that they share at the start and the end stand once."""
    left, right = _lines(ours), _lines(theirs)
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    lines = [
        *left[:start],
        b"<<<<<<< ours\n",
        *left[start : len(left) - end],
        b"=======\n",
        *right[start : len(right) - end],
        b">>>>>>> theirs\n",
        *left[len(left) - end :],
    ]
    return Merged(b"".join(lines), conflicts)


def _lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.removesuffix(b"\n").split(b"\n")] if data else []


def described(store: Store, data: bytes) -> Iterator[str]:
    """A pointer for people who compare two of them: its lines, and the files of a folder."""
    yield from data.decode("utf-8", "replace").splitlines()
    try:
        pointer = Pointer.decode(data, "the pointer")
        if pointer.kind == "blob" or store.info(pointer.digest).entries > _LISTED:
            return
        tree = store.read_tree(pointer.digest)
    except GitmlError:
        return
    yield ""
    for one in tree.entries:
        yield f"{one.mode:06o} {one.digest.short} {one.size:>12} {one.path}"
