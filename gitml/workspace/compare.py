"""What differs between two states of the data, file by file.

A state is a set of pointers: those of the working tree with what was changed since, those in git's
index, those of a commit. Two pointers with one digest are equal and nothing of them is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import Pointer
from gitml.errors import MissingBytes
from gitml.frozen import Frozen, field
from gitml.git.odb import Odb
from gitml.workspace import pointerfiles, statcache
from gitml.workspace.survey import Local, files_below, hash_member, survey
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.reader import Reader
    from gitml.store.tree import Tree, TreeEntry

Kind = Literal["added", "removed", "changed", "renamed"]


class FileState(Frozen):
    """A file on one side: its mode as a tree has it, its size in bytes, its digest."""

    mode: int
    size: int
    digest: Digest


class FileChange(Frozen):
    """A file that differs: its path from the root, and what it is on both sides.

    ``before`` is the old path of one that was renamed.
    """

    kind: Kind
    path: str
    old: FileState | None
    new: FileState | None
    before: str | None = None

    @property
    def growth(self) -> int:
        """By how many bytes the data grows."""
        return (self.new.size if self.new else 0) - (self.old.size if self.old else 0)


class DataChange(Frozen):
    """The data of a pointer that differs.

    ``files`` are those that differ; where the list of a folder's files is not in this store,
    ``unlisted`` says so and the sizes are those of the pointers.
    """

    path: str
    old: Pointer | None
    new: Pointer | None
    files: tuple[FileChange, ...]
    unlisted: str | None = None


class Content(Frozen):
    """The data of one pointer in a state.

    ``pointer`` has the digest that it has there, ``mode`` is a file's; ``tree`` gives a folder's
    files; ``disk`` is where it lies as it is, absent where only the store may have it.
    """

    pointer: Pointer
    tree: Callable[[], Tree]
    mode: int = statcache.REGULAR
    disk: Path | None = None


class DataSide(Frozen):
    """A state of the data: what it is called, and its contents by path."""

    label: str
    contents: Mapping[str, Content] = field(default_factory=dict)


def compare_sides(old: DataSide, new: DataSide, within: Sequence[str] = ()) -> list[DataChange]:
    """What differs from one state to another, sorted by path; only ``within`` these paths."""
    paths = sorted({*old.contents, *new.contents})
    moved = _moved(old, new)
    found = []
    for path in paths:
        if path in moved.values() and path not in new.contents:
            continue
        source = moved.get(path, path)
        left, right = old.contents.get(source), new.contents.get(path)
        if source == path and left and right and _is_same(left, right):
            continue
        change = _change(path, source, left, right)
        if within:
            change = _narrowed(change, within)
        if change.files or (change.unlisted and _is_meant(path, within)):
            found.append(change)
    return found


def _is_same(left: Content, right: Content) -> bool:
    one, other = left.pointer, right.pointer
    return (one.digest, one.kind, left.mode) == (other.digest, other.kind, right.mode)


def _moved(old: DataSide, new: DataSide) -> dict[str, str]:
    """New path → old path of data that stands whole under another name."""
    gone = {
        content.pointer.digest: path
        for path, content in old.contents.items()
        if path not in new.contents
    }
    return {
        path: gone[content.pointer.digest]
        for path, content in new.contents.items()
        if path not in old.contents and content.pointer.digest in gone
    }


def _change(path: str, source: str, left: Content | None, right: Content | None) -> DataChange:
    before = left.pointer if left else None
    after = right.pointer if right else None
    try:
        if source != path and left and right:
            old, new = _root(left), _root(right)
            files: tuple[FileChange, ...] = (FileChange("renamed", path, old, new, source),)
        else:
            files = tuple(_files(path, left, right))
        return DataChange(path, before, after, files)
    except MissingBytes as error:
        return DataChange(path, before, after, (), error.message)


def _root(content: Content) -> FileState:
    return FileState(content.mode, content.pointer.size, content.pointer.digest)


def _files(path: str, left: Content | None, right: Content | None) -> Iterator[FileChange]:
    from gitml.store.tree import Tree, diff_trees

    blobs = [one for one in (left, right) if one and one.pointer.kind == "blob"]
    if len(blobs) == 2 and left and right:
        yield FileChange("changed", path, _root(left), _root(right))
        return
    if left and left.pointer.kind == "blob":
        yield FileChange("removed", path, _root(left), None)
    if right and right.pointer.kind == "blob":
        yield FileChange("added", path, None, _root(right))
    empty = Tree.of([])
    old = left.tree() if left and left.pointer.kind == "tree" else empty
    new = right.tree() if right and right.pointer.kind == "tree" else empty
    found = diff_trees(old, new)
    changes = [FileChange("added", one.path, None, _state(one)) for one in found.added]
    changes += [FileChange("removed", one.path, _state(one), None) for one in found.removed]
    changes += [
        FileChange("changed", after.path, _state(before), _state(after))
        for before, after in found.changed
    ]
    changes += [
        FileChange("renamed", after.path, _state(before), _state(after), before.path)
        for before, after in found.renamed
    ]
    for one in sorted(changes, key=lambda change: os.fsencode(change.path)):
        before = f"{path}/{one.before}" if one.before is not None else None
        yield FileChange(one.kind, f"{path}/{one.path}", one.old, one.new, before)


def _state(entry: TreeEntry) -> FileState:
    return FileState(entry.mode, entry.size, entry.digest)


def _narrowed(change: DataChange, within: Sequence[str]) -> DataChange:
    files = tuple(
        one
        for one in change.files
        if _is_meant(one.path, within) or (one.before and _is_meant(one.before, within))
    )
    return DataChange(change.path, change.old, change.new, files, change.unlisted)


def _is_meant(path: str, within: Sequence[str]) -> bool:
    return not within or any(not one or path == one or path.startswith(f"{one}/") for one in within)


# The states


def side_of_pointers(label: str, pointers: Mapping[str, Pointer], reader: Reader) -> DataSide:
    """The state in which the data is what some pointers say, by path."""
    return DataSide(label, {path: _content(one, reader) for path, one in pointers.items()})


def _content(pointer: Pointer, reader: Reader) -> Content:
    executable = pointer.extra.get("mode") == "100755"
    mode = statcache.EXECUTABLE if executable else statcache.REGULAR
    return Content(pointer, lambda: reader.read_tree(pointer.digest), mode)


def side_of_commit(label: str, tree: WorkingTree, odb: Odb, commit: ObjectId) -> DataSide:
    """The state that the pointers of a commit describe."""
    listing = tree.git.run("ls-tree", "-r", "-z", "--full-tree", str(commit))
    found = []
    for line in os.fsdecode(listing).split("\0")[:-1]:
        meta, _, file = line.partition("\t")
        path = pointerfiles.data_path(file)
        if path is not None and meta.startswith("100"):
            found.append((path, meta.split(" ")[2]))
    return side_of_pointers(label, _decoded(odb, found), tree.store)


def side_of_index(label: str, tree: WorkingTree, odb: Odb) -> DataSide:
    """The state that the pointers in git's index describe; of one in conflict our side."""
    staged = pointerfiles.in_index(tree.git, ours=True)
    return side_of_pointers(label, _decoded(odb, staged), tree.store)


def _decoded(
    odb: Odb, blobs: Iterator[tuple[str, str]] | list[tuple[str, str]]
) -> dict[str, Pointer]:
    pointers = {}
    for path, blob in blobs:
        found = odb.read(blob)
        if found is not None:
            pointers[path] = Pointer.decode(found[2], f"{path}.gitml")
    return pointers


def side_of_working_tree(label: str, tree: WorkingTree) -> DataSide:
    """The state of the files as they are now; data that is not checked out is as its pointer says.

    So is data in conflict as what is merged of it. Raises CorruptData for a pointer that cannot be
    read.
    """
    tracked = tree.pointers()
    locals_ = survey(tree, tracked, tree.cache(), reads="same size")
    contents = {}
    for one in tracked:
        is_open = one.conflict is not None and one.conflict.merged is None
        pointer = one.conflict.ours if one.conflict and is_open else one.target()
        local = locals_[one.path]
        contents[one.path] = _as_it_is(tree, one.path, pointer, local)
    return DataSide(label, contents)


def _as_it_is(tree: WorkingTree, path: str, pointer: Pointer, local: Local) -> Content:
    store = tree.store
    if not local.exists:
        return _content(pointer, store)
    base = local.held.pointer if local.held is not None else pointer
    full = tree.root / path
    if local.is_clean:
        content = _content(base, store)
        return Content(base, content.tree, content.mode, full)
    if full.is_dir() and not full.is_symlink():
        made = _tree_as_it_is(tree, path, base, local)
        return Content(Pointer(made.digest, "tree", made.size), lambda: made, disk=full)
    digest, found = hash_member(full)
    mode, size = statcache.mode_of(found), found.st_size
    now = Pointer(digest or base.digest, "blob", size)
    return Content(now, lambda: store.read_tree(base.digest), mode, full)


def _tree_as_it_is(tree: WorkingTree, path: str, base: Pointer, local: Local) -> Tree:
    """A folder's tree with what was changed, added and deleted in the working tree."""
    from gitml.store.tree import Tree, TreeEntry

    entries: dict[str, TreeEntry] = {}
    names: Iterable[str] = (*local.changed, *local.added)
    if base.kind == "tree":
        entries = {one.path: one for one in tree.store.read_tree(base.digest).entries}
    else:
        names = files_below(tree, path)[0]
    for name in local.deleted:
        entries.pop(name, None)
    for name in names:
        digest, found = hash_member(tree.root / path / name)
        if digest is None:
            entries.pop(name, None)
        else:
            mode = statcache.mode_of(found)
            entries[name] = TreeEntry(name, mode, found.st_size, digest)
    return Tree.of(entries.values())
