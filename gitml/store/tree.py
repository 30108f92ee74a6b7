"""Trees: a directory as sorted entries, with an identity that no library can change.

The digest of a tree is taken over the canonical form below (docs/format.md, "Trees"), and
the tree is kept as an Arrow IPC stream, which scales to millions of entries. Both are checked
when a tree is read: the Arrow bytes are only as good as the canonical form that they give.
"""

from __future__ import annotations

import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, pairwise
from operator import ge, itemgetter
from typing import TYPE_CHECKING, NamedTuple, overload

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.fs import are_plain_paths, judge_relative_path, judge_relative_paths
from gitml.store.digest import hash_tree_form

if TYPE_CHECKING:
    import pyarrow as pa

REGULAR = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
_MODES = frozenset({REGULAR, EXECUTABLE, SYMLINK})

MAX_ENTRIES = 10_000_000
MAX_ARROW_BYTES = 1024**3
MAX_SIZE = (1 << 63) - 1
_ROW_BYTES = 48
_MAX_FORM_BYTES = MAX_ARROW_BYTES - 65536
_BLOCK = 4096
"""Rows that are compared at once: fewer, the more lies around a difference."""
_PIECE = 16384
"""Rows of the canonical form that are made at once: of a million it is a hundred megabytes."""
_FEW = 16
"""Rows that are not halved again."""

_Rows = tuple[list[int], list[int], list[int], list[int]]


class TreeEntry(NamedTuple):
    """A file or symbolic link of a directory.

    ``path`` is relative with ``/`` (bytes that are no UTF-8 are kept by surrogateescape), ``mode``
    one of REGULAR, EXECUTABLE and SYMLINK, ``size`` in bytes. The bytes under ``digest`` are a
    file's content or a link's target.
    """

    path: str
    mode: int
    size: int
    digest: Digest

    @property
    def raw_path(self) -> bytes:
        """The path as the bytes that sort and hash."""
        return self.path.encode("utf-8", "surrogateescape")


RawEntry = tuple[bytes, int, int, bytes]
"""Path, mode, size and digest of an entry: the path and the digest as bytes."""


def raw_entries(entries: Sequence[TreeEntry], numbers: range) -> list[RawEntry]:
    """Some of the entries, in their raw form."""
    if isinstance(entries, Entries):
        return entries.raw(numbers)
    some = map(entries.__getitem__, numbers)
    return [(one.raw_path, one.mode, one.size, one.digest.raw) for one in some]


class Columns(NamedTuple):
    """The entries of a tree, sorted, as the columns of its Arrow form.

    The n-th path is ``paths[offsets[n] : offsets[n + 1]]``, the n-th digest 32 bytes at 32 n. So
    a million entries are a handful of objects.
    """

    offsets: array[int]
    paths: bytes
    modes: array[int]
    sizes: array[int]
    digests: bytes


class Tree:
    """A directory's entries, sorted by the bytes of their paths; empty folders are not kept.

    Made by `Tree.of`, which judges every path. Two trees are equal if their entries are.
    """

    __slots__ = ("__dict__", "columns")

    def __init__(self, columns: Columns, digest: Digest | None = None) -> None:
        """Take columns, and their digest if it is known, as they are.

        The class methods make sure of them.
        """
        self.columns = columns
        if digest is not None:
            self.__dict__["digest"] = digest

    @classmethod
    def of(cls, entries: Iterable[TreeEntry]) -> Tree:
        """The tree of these entries in any order; raises CorruptData for an unsafe one."""
        ordered = sorted([(entry.raw_path, entry) for entry in entries], key=itemgetter(0))
        for _, entry in ordered:
            if entry.mode not in _MODES or not 0 <= entry.size <= MAX_SIZE:
                raise CorruptData(f"unknown mode or size of {entry.path!r} in a tree")
        modes = array("I", [entry.mode for _, entry in ordered])
        sizes = array("Q", [entry.size for _, entry in ordered])
        digests = bytes.fromhex("".join([entry.digest.hex for _, entry in ordered]))
        return cls.of_columns([raw for raw, _ in ordered], modes, sizes, digests)

    @classmethod
    def of_columns(
        cls, names: Sequence[bytes], modes: array[int], sizes: array[int], digests: bytes
    ) -> Tree:
        """The tree of rows in the order of their paths, with the 32 bytes of each digest.

        Raises CorruptData for rows out of order, an unsafe path, an unknown mode or size.
        """
        if len(names) > MAX_ENTRIES:
            raise CorruptData(f"a tree has at most {MAX_ENTRIES:,} entries")
        if sum(map(len, names)) + _ROW_BYTES * len(names) > _MAX_FORM_BYTES:
            raise CorruptData(f"a tree has at most {MAX_ARROW_BYTES:,} bytes")
        if not _MODES.issuperset(modes) or (sizes and max(sizes) > MAX_SIZE):
            raise CorruptData("unknown mode or size of an entry in a tree")
        if not are_plain_paths(names):
            judge_relative_paths(names)
            if any(map(ge, names, islice(names, 1, None))):
                raise CorruptData("the entries of a tree are not in order")
        offsets = array("i", accumulate(map(len, names), initial=0))
        return cls(Columns(offsets, b"".join(names), modes, sizes, digests))

    def __len__(self) -> int:
        return len(self.columns.modes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Tree {self.digest.short}: {len(self):,} entries>"

    @property
    def entries(self) -> Entries:
        """All entries in order, each made when it is asked for."""
        return Entries(self, range(len(self)))

    def get(self, path: str) -> TreeEntry | None:
        """The entry at ``path``, or None."""
        raw = path.encode("utf-8", "surrogateescape")
        row = self._row_of(raw)
        return self.entries[row] if row < len(self) and self.raw_path(row) == raw else None

    def below(self, prefix: str) -> Entries:
        """The entries below the folder ``prefix``; of all folders if it is empty."""
        if not prefix:
            return self.entries
        raw = prefix.rstrip("/").encode("utf-8", "surrogateescape")
        return Entries(self, range(self._row_of(raw + b"/"), self._row_of(raw + b"0")))

    def raw_paths(self, rows: range | None = None) -> list[bytes]:
        """Every path as bytes in order, or those of neighbouring rows."""
        paths, offsets = self.columns.paths, self.columns.offsets
        if rows is not None:
            offsets = offsets[rows.start : rows.stop + 1]
        return [paths[start:end] for start, end in pairwise(offsets)]

    def raw_digests(self) -> Iterator[bytes]:
        """The 32 bytes of every digest, in order of the paths."""
        digests = self.columns.digests
        return (digests[at : at + 32] for at in range(0, len(digests), 32))

    def under(self, folder: str) -> Tree:
        """The tree in which all of this one stands below a folder, which is taken as it is."""
        above = folder.encode("utf-8", "surrogateescape") + b"/"
        offsets, _, modes, sizes, digests = self.columns
        paths = b"".join([above + path for path in self.raw_paths()])
        moved = (offset + row * len(above) for row, offset in enumerate(offsets))
        return Tree(Columns(array("i", moved), paths, modes, sizes, digests))

    def changed(self, gone: Iterable[bytes], new: Tree) -> Tree:
        """The tree without the paths ``gone`` and with all entries of ``new``, which go first.

        What is between two changes is taken over in one piece. Raises CorruptData as `of`.
        """
        columns, names = self.columns, self.raw_paths()
        fresh = {path: row for row, path in enumerate(new.raw_paths())}
        paths: list[bytes] = []
        modes, sizes, digests = array("I"), array("Q"), bytearray()
        at = 0

        def take_until(row: int) -> None:
            paths.extend(names[at:row])
            modes.extend(columns.modes[at:row])
            sizes.extend(columns.sizes[at:row])
            digests.extend(columns.digests[32 * at : 32 * row])

        for path in sorted({*gone, *fresh}):
            row = bisect_left(names, path, at)
            take_until(row)
            at = row + 1 if row < len(names) and names[row] == path else row
            if path in fresh:
                mode, size, digest = new.content(fresh[path])
                paths.append(path)
                modes.append(mode)
                sizes.append(size)
                digests += digest
        take_until(len(names))
        return Tree.of_columns(paths, modes, sizes, bytes(digests))

    @cached_property
    def size(self) -> int:
        """The sum of the sizes of all entries, in bytes."""
        return sum(self.columns.sizes)

    @cached_property
    def digest(self) -> Digest:
        """The identity of the tree, from its canonical form."""
        return hash_tree_form(self.canonical_form())

    def canonical_form(self) -> Iterator[bytes]:
        """For each entry: octal mode, space, size, space, digest, space, path, NUL; in pieces."""
        offsets, paths, modes, sizes, digests = self.columns
        for start in range(0, len(self), _PIECE):
            end = min(start + _PIECE, len(self))
            some = digests[32 * start : 32 * end].hex(" ", 32).encode().split()
            names = [paths[at:to] for at, to in pairwise(offsets[start : end + 1])]
            rows = zip(modes[start:end], sizes[start:end], some, names, strict=True)
            yield b"".join([b"%06o %d %s %s\0" % row for row in rows])

    def content(self, row: int) -> tuple[int, int, bytes]:
        """Mode, size and digest of a row."""
        columns = self.columns
        return columns.modes[row], columns.sizes[row], columns.digests[32 * row : 32 * row + 32]

    def likeness(self, row: int, *, with_name: bool) -> tuple[object, ...]:
        """What two entries share if one may be the other under a new path."""
        digest = self.columns.digests[32 * row : 32 * row + 32]
        name = self.raw_path(row).rpartition(b"/")[2] if with_name else b""
        return self.columns.modes[row] == SYMLINK, digest, name

    def _row_of(self, raw: bytes) -> int:
        """The first row whose path is not before ``raw``."""
        return bisect_left(range(len(self)), raw, key=self.raw_path)

    def raw_path(self, row: int) -> bytes:
        """The path of a row as bytes."""
        offsets = self.columns.offsets
        return self.columns.paths[offsets[row] : offsets[row + 1]]


class Entries(Sequence[TreeEntry]):
    """Some entries of a tree; each is made when it is asked for, so that none is kept."""

    __slots__ = ("_rows", "_tree")

    def __init__(self, tree: Tree, rows: Sequence[int]) -> None:
        """The entries in the rows of the given numbers."""
        self._tree = tree
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> TreeEntry: ...
    @overload
    def __getitem__(self, key: slice) -> Entries: ...
    def __getitem__(self, key: int | slice) -> TreeEntry | Entries:
        if isinstance(key, slice):
            return Entries(self._tree, self._rows[key])
        row = self._rows[key]
        offsets, paths, modes, sizes, digests = self._tree.columns
        path = paths[offsets[row] : offsets[row + 1]].decode("utf-8", "surrogateescape")
        digest = Digest(digests[32 * row : 32 * row + 32].hex())
        return TreeEntry(path, modes[row], sizes[row], digest)

    def __iter__(self) -> Iterator[TreeEntry]:
        return map(self.__getitem__, range(len(self._rows)))

    def digests(self) -> Iterator[Digest]:
        """The digests of the entries in order, without the entries."""
        digests = self._tree.columns.digests
        return (Digest(digests[32 * row : 32 * row + 32].hex()) for row in self._rows)

    def raw(self, numbers: range) -> list[RawEntry]:
        """Some of the entries as they are kept, which takes a third of the time."""
        offsets, paths, modes, sizes, digests = self._tree.columns
        return [
            (
                paths[offsets[row] : offsets[row + 1]],
                modes[row],
                sizes[row],
                digests[32 * row : 32 * row + 32],
            )
            for row in map(self._rows.__getitem__, numbers)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} entries of {self._tree!r}>"


def arrow_schema() -> pa.Schema:
    """The columns that version 1 of the stored form has."""
    import pyarrow as pa

    fields = [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("mode", pa.uint32(), nullable=False),
        pa.field("size", pa.uint64(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
    ]
    return pa.schema(fields, metadata={b"gitml.tree": b"1"})


class Pairs(Sequence[tuple[TreeEntry, TreeEntry]]):
    """Entries of two trees that belong together, each pair made when it is asked for."""

    __slots__ = ("new", "old")

    def __init__(self, old: Entries, new: Entries) -> None:
        """Pair the n-th of ``old`` with the n-th of ``new``."""
        self.old = old
        self.new = new

    def __len__(self) -> int:
        return len(self.old)

    @overload
    def __getitem__(self, key: int) -> tuple[TreeEntry, TreeEntry]: ...
    @overload
    def __getitem__(self, key: slice) -> Pairs: ...
    def __getitem__(self, key: int | slice) -> tuple[TreeEntry, TreeEntry] | Pairs:
        if isinstance(key, slice):
            return Pairs(self.old[key], self.new[key])
        return self.old[key], self.new[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class TreeDiff:
    """What differs between two trees, each part in the order of the paths.

    ``changed`` are entries of one path with another mode, size or digest, ``renamed`` entries of
    one digest under another path: they are in neither ``added`` nor ``removed``.
    """

    added: Entries
    removed: Entries
    changed: Pairs
    renamed: Pairs

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed)


def diff_trees(old: Tree, new: Tree) -> TreeDiff:
    """What one has to do to ``old`` to have ``new``.

    A rename is a removed and an added entry with the same bytes, both links or both files; among
    several, those with the same name in another folder belong together first.
    """
    removed, added, before, after = _compare(old, new)
    moved_from, moved_to = _renames(old, removed, new, added)
    gone, come = set(moved_from), set(moved_to)
    return TreeDiff(
        added=Entries(new, [row for row in added if row not in come]),
        removed=Entries(old, [row for row in removed if row not in gone]),
        changed=Pairs(Entries(old, before), Entries(new, after)),
        renamed=Pairs(Entries(old, moved_from), Entries(new, moved_to)),
    )


def _compare(old: Tree, new: Tree) -> _Rows:
    """The rows removed from ``old``, added in ``new``, and changed: in ``old`` and in ``new``.

    A block of one tree is looked for in the other by its first path, and halved until it is equal
    byte for byte or a few rows. So only what lies around a difference is looked at row by row.
    """
    rows: _Rows = ([], [], [], [])
    todo = [(0, len(old), 0, len(new))]
    while todo:
        at, end, to, its_end = todo.pop()
        count, its_count = end - at, its_end - to
        if count == its_count <= _BLOCK and _are_equal(old.columns, at, new.columns, to, count):
            continue
        if count <= _FEW or its_count <= _FEW:
            _compare_rows(old, range(at, end), new, range(to, its_end), rows)
            continue
        middle = at + count // 2
        other = _row_beside(new, old.raw_path(middle), middle - at + to, to, its_end)
        todo += [(middle, end, other, its_end), (at, middle, to, other)]
    return rows


def _row_beside(tree: Tree, path: bytes, guess: int, start: int, end: int) -> int:
    """The first row from ``start`` whose path is not before ``path``: likely the guessed one."""
    if guess < end and tree.raw_path(guess) == path:
        return guess
    return bisect_left(range(end), path, start, key=tree.raw_path)


def _are_equal(one: Columns, at: int, two: Columns, to: int, count: int) -> bool:
    """Whether ``count`` rows of two trees are the same."""
    end, its_end = at + count, to + count
    first, other = one.offsets[at], two.offsets[to]
    return (
        one.digests[32 * at : 32 * end] == two.digests[32 * to : 32 * its_end]
        and one.modes[at:end] == two.modes[to:its_end]
        and one.sizes[at:end] == two.sizes[to:its_end]
        and one.paths[first : one.offsets[end]] == two.paths[other : two.offsets[its_end]]
        and _are_shifted(one.offsets[at:end], two.offsets[to:its_end], first - other)
    )


def _are_shifted(some: array[int], others: array[int], by: int) -> bool:
    """Whether numbers are those of another column and ``by``, each of them.

    As one long number they are subtracted in one step; both grow, so no digit borrows.
    """
    if not by:
        return some == others
    if by < 0:
        return _are_shifted(others, some, -by)
    whole, its = (int.from_bytes(column.tobytes(), sys.byteorder) for column in (some, others))
    return whole - its == int.from_bytes(by.to_bytes(4, sys.byteorder) * len(some), sys.byteorder)


def _compare_rows(old: Tree, ours: range, new: Tree, theirs: range, rows: _Rows) -> None:
    """Add to ``rows`` what differs between these rows, in their order."""
    removed, added, was, now = rows
    before = dict(zip(old.raw_paths(ours), ours, strict=True))
    for path, row in zip(new.raw_paths(theirs), theirs, strict=True):
        other = before.pop(path, None)
        if other is None:
            added.append(row)
        elif old.content(other) != new.content(row):
            was.append(other)
            now.append(row)
    removed += before.values()


def _renames(
    old: Tree, removed: Sequence[int], new: Tree, added: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The rows of ``removed`` and ``added`` that belong together, in the order of the new paths."""
    pairs: list[tuple[int, int]] = []
    for names_count in (True, False):
        sources: dict[tuple[object, ...], list[int]] = {}
        for row in reversed(removed):
            sources.setdefault(old.likeness(row, with_name=names_count), []).append(row)
        matched = [
            (row, candidates.pop())
            for row in (added if sources else [])
            if (candidates := sources.get(new.likeness(row, with_name=names_count)))
        ]
        pairs += matched
        come, gone = {row for row, _ in matched}, {row for _, row in matched}
        added = [row for row in added if row not in come]
        removed = [row for row in removed if row not in gone]
    pairs.sort()
    return [source for _, source in pairs], [row for row, _ in pairs]


def judge_link_target(path: str, target: bytes) -> None:
    """Check that the symbolic link at ``path`` of a tree cannot lead out of the tree.

    ``..`` may stand only in front and not climb above the tree: the folders of a link are real
    ones there, while a ``..`` behind a name could follow another link first. What comes then is
    judged as any path. Raises CorruptData.
    """
    rest = target
    climbed = 0
    while rest == b".." or rest.startswith(b"../"):
        rest = rest[3:]
        climbed += 1
    if climbed > path.count("/"):
        shown = os.fsdecode(target[:120])
        raise CorruptData(f"the symbolic link {path!r} leads out of its tree: {shown!r}")
    if rest or not climbed:
        try:
            judge_relative_path(rest)
        except CorruptData as error:
            shown = os.fsdecode(target[:120])
            raise CorruptData(
                f"the symbolic link {path!r} is not a plain relative one: {shown!r}"
            ) from error
