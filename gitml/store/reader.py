"""Verified reading: whatever comes out of the store has the digest that was asked for.

A digest may have several copies. They are tried one after the other, so damage in one of them is
noticed only by who checks; only when none is good does reading fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, GitmlError, MissingBytes, StorageError, UsageError
from gitml.fs import storage_errors
from gitml.store.arrow import decode as decode_tree
from gitml.store.copying import copy_hashed
from gitml.store.digest import new_hasher
from gitml.store.directory import fill, new_file_beside, new_folder_beside
from gitml.store.knowntrees import KnownTrees
from gitml.store.links import Links
from gitml.store.lookup import SmallBlobs
from gitml.store.members import Stats
from gitml.store.pack import Pack
from gitml.store.restore import Restoration
from gitml.store.tree import MAX_ENTRIES, Tree, TreeEntry
from gitml.store.window import Spans, Window

Kind = Literal["blob", "tree"]
T = TypeVar("T")

_MAX_LINK = 4096
_IN_THREADS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store holds under a digest.

    ``size`` is in plain bytes (of a tree: the sum of its files), ``stored`` in bytes on disk of
    one copy, ``entries`` counts the files and links of a tree (0 for a blob).
    """

    digest: Digest
    kind: Kind
    size: int
    stored: int
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of an object: what is said of it, its file, and its bytes, unverified.

    The pieces of a blob are its bytes, those of a tree its Arrow form. ``files`` are all those
    that hold some of them, ``spans`` gives some of them without the rest. A copy ``is_plain`` if
    its file is nothing but its bytes.
    """

    stored: StoredObject
    path: Path
    pieces: Callable[[], Iterator[bytes]]
    files: Callable[[], Iterable[Path]]
    spans: Callable[[], Spans]
    is_plain: bool = False


class Supply(Protocol):
    """Where bytes come from that are not in the store."""

    def bring(self, digests: Collection[Digest]) -> None:
        """Bring those of the objects that can be had; of a tree, the list of its files."""

    def elsewhere(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of the objects that can be had, of a tree with all of its files."""


class Reader:
    """What can be asked of held bytes; `Store` and `Writer` are readers."""

    def has(self, digest: Digest) -> bool:
        """Whether a copy is held, by name and size alone: existence is not integrity."""
        return next(self._found(digest), None) is not None

    def absent(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of which no copy is held, in order: `has` for many at the price of a few."""
        self._refresh()
        return self._absent(dict.fromkeys(digests))

    def info(self, digest: Digest) -> StoredObject:
        """What is held under the digest, without reading it; raises MissingBytes."""
        for copy in self._found(digest):
            return copy.stored
        if self._supplied(digest):
            for copy in self._copies(digest):
                return copy.stored
        raise self.missing(digest)

    def read(self, digest: Digest) -> bytes:
        """The bytes of a blob, verified.

        Raises MissingBytes if there is no copy, CorruptData if there is no good one, UsageError
        for the digest of a tree.
        """
        return self._take(digest, "blob", lambda copy: b"".join(verified_pieces(copy)))

    def window(self, digest: Digest) -> Window:
        """A blob as a file to seek in, which reads no more than it is asked for.

        What comes out of a pack is verified, chunk by chunk; of a loose file it is not. Nothing is
        brought from elsewhere. Raises as `read` does.
        """
        failure: Exception | None = None
        for copy in self._found(digest):
            if copy.stored.kind != "blob":
                raise UsageError(f"{digest} is a {copy.stored.kind}, not a blob")
            try:
                return Window(copy.spans(), copy.stored.size)
            except (CorruptData, OSError) as error:
                failure = failure or error
        if failure is None:
            raise self.missing(digest)
        raise CorruptData(f"{digest} cannot be read") from failure

    def read_tree(self, digest: Digest) -> Tree:
        """The tree under the digest, verified; raises as `read` does."""
        return self._take(digest, "tree", lambda copy: verified_tree(copy, self._known_trees()))

    def copy_to(self, digest: Digest, target: Path) -> None:
        """Write a blob to the file, or a tree to the folder ``target``.

        The name appears when all of it is verified. A file is replaced; a folder must not exist
        or be empty. Raises as `read` does, StorageError, and UsageError for a target in use.
        """
        if self.info(digest).kind == "tree":
            tree = self.read_tree(digest)
            self.bring(entry.digest for entry in tree.entries)
            with new_folder_beside(target) as folder:
                self.restore(folder, tree.entries)
            return
        with new_file_beside(target) as descriptor:
            self._fill(digest, descriptor, target)

    def bring(self, digests: Iterable[Digest]) -> None:
        """Have the objects here that can be had from elsewhere; what is here already stays.

        Raises what keeps others from being had: CorruptData, an error of the connection.
        """
        supply = self._supply()
        if supply is not None:
            missing = self.absent(digests)
            if missing:
                supply.bring(missing)
                self._refresh()

    def missing(self, digest: Digest) -> MissingBytes:
        """The error that says of an object that it is not here, and what is known of that."""
        message = f"{digest} is not in this store{self.fate(digest)}"
        return MissingBytes(message, hint=self.remedy())

    def fate(self, digest: Digest) -> str:
        """What was said of an object that is not here, as the end of a sentence; mostly nothing."""
        raise NotImplementedError

    def remedy(self) -> str:
        """What helps where bytes are missing, as the hint of an error."""
        if self._supply() is not None:
            return "`gitml push` in a clone that has them, then the same here"
        return "`gitml remote add NAME URL --default` says where they are, if a colleague knows it"

    def can_bring(self, digest: Digest) -> bool:
        """Whether an object that is not here can be had from elsewhere, with all of its files."""
        return digest in self.elsewhere([digest])

    def elsewhere(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of the objects that can be had from elsewhere; nothing where nobody answers."""
        supply = self._supply()
        return supply.elsewhere(digests) if supply is not None and digests else set()

    def restore(
        self,
        root: Path,
        entries: Sequence[TreeEntry],
        *,
        going: Collection[str] = (),
        make_way: Callable[[], None] = lambda: None,
    ) -> Stats:
        """Create or replace the file or link of each entry below the existing folder ``root``.

        Gives the stats of what was written, in order. All is verified under temporary names
        before anything is changed; then ``make_way`` is called, which removes what is ``going``
        (paths that stand where entries have to come), and then each gets its name in its own
        folder. Missing folders are made, and nothing is written through a symbolic link. On an
        error (as `read`; UsageError for what stands in the way) no temporary file is left.
        """
        links = self._links()
        restoration = Restoration(root, entries, self._fill_file, self._read_link, links)
        with SmallBlobs(self._packs_now(), len(entries)) as blobs:
            return restoration.run(blobs, going, make_way)

    def _absent(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of which there is no copy anywhere here: `_copies` for tens of thousands."""
        raise NotImplementedError

    def _copies(self, digest: Digest) -> Iterator[Copy]:
        """Every copy that is known of, the likeliest first."""
        raise NotImplementedError

    def _packs_now(self) -> list[Pack]:
        """The packs that can be read from, the likeliest first."""
        raise NotImplementedError

    def _links(self) -> Links:
        """What may share its blocks with working files."""
        raise NotImplementedError

    def _supply(self) -> Supply | None:
        """Where to get what is not here."""
        raise NotImplementedError

    def _known_trees(self) -> KnownTrees | None:
        """What was judged before."""
        raise NotImplementedError

    def _supplied(self, digest: Digest) -> bool:
        """Have an object brought from elsewhere, whatever there is of it here."""
        supply = self._supply()
        if supply is None:
            return False
        supply.bring([digest])
        return self._refresh()

    def _refresh(self) -> bool:
        """Look for what other processes published; whether there may be anything new."""
        raise NotImplementedError

    def _found(self, digest: Digest) -> Iterator[Copy]:
        """Every copy, after a second look if there seemed to be none."""
        found = False
        for copy in self._copies(digest):
            found = True
            yield copy
        if not found and self._refresh():
            yield from self._copies(digest)

    def _take(self, digest: Digest, kind: Kind, use: Callable[[Copy], T]) -> T:
        """What ``use`` makes of the first copy on which it does not raise CorruptData.

        When all fail it looks once more, for a pack may have been replaced or published since; then
        elsewhere.
        """
        failure: tuple[Path, CorruptData] | None = None
        looks: tuple[Callable[[], bool], ...]
        looks = (lambda: True, self._refresh, lambda: self._supplied(digest))
        for has_more in looks:
            if not has_more():
                continue
            failure = None
            for copy in self._copies(digest):
                if copy.stored.kind != kind:
                    raise UsageError(f"{digest} is a {copy.stored.kind}, not a {kind}")
                try:
                    return use(copy)
                except CorruptData as error:
                    failure = failure or (copy.path, error)
        if failure is None:
            raise self.missing(digest)
        path, first = failure
        if isinstance(first.__cause__, OSError):
            raise StorageError(f"cannot read {path}") from first.__cause__
        raise CorruptData(
            f"{digest} is damaged in {path}",
            hint="`gitml fsck` lists all damage; adding the same data again heals it",
        ) from first

    def _fill(self, digest: Digest, descriptor: int, path: Path) -> None:
        """Make a verified blob the content of an open file."""
        self._take(digest, "blob", lambda copy: _fill_from(copy, descriptor, path))

    def _fill_file(self, entry: TreeEntry, descriptor: int, path: Path) -> None:
        """Make a tree's file the content of an open file; CorruptData if its size is another."""
        self._fill(entry.digest, descriptor, path)
        if os.fstat(descriptor).st_size != entry.size:
            raise CorruptData(f"{entry.path!r} has not the size that its tree says")

    def _read_link(self, entry: TreeEntry) -> bytes:
        """The target of a tree's symbolic link; CorruptData if its size is another."""
        if self.info(entry.digest).size > _MAX_LINK:
            raise CorruptData(f"the target of the symbolic link {entry.path!r} is too long")
        target = self.read(entry.digest)
        if len(target) != entry.size:
            raise CorruptData(f"{entry.path!r} has not the size that its tree says")
        return target


def _fill_from(copy: Copy, descriptor: int, path: Path) -> None:
    """Make a copy the content of an open file, whatever was in it; CorruptData, StorageError."""
    if not copy.is_plain or copy.stored.size < _IN_THREADS:
        fill(descriptor, verified_pieces(copy), path)
        return
    try:
        source = os.open(copy.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CorruptData(f"{copy.path} cannot be read") from error
    try:
        with storage_errors(path):
            os.ftruncate(descriptor, 0)
            digest = copy_hashed(source, descriptor, copy.stored.size, flush=False)
    finally:
        os.close(source)
    if digest != copy.stored.digest:
        raise CorruptData("the bytes are not what the digest says")


def verified_pieces(copy: Copy) -> Iterator[bytes]:
    """The bytes of a blob's copy; raises CorruptData at the latest behind the last of them."""
    hasher = new_hasher()
    left = copy.stored.size
    for piece in _readable_pieces(copy):
        left -= len(piece)
        hasher.update(piece)
        yield piece
    if left or hasher.hexdigest() != copy.stored.digest.hex:
        raise CorruptData("the bytes are not what the digest says")


def verified_tree(copy: Copy, known: KnownTrees | None = None) -> Tree:
    """The tree of a tree's copy; raises CorruptData. What is ``known`` is not judged again."""
    if copy.stored.entries > MAX_ENTRIES:
        raise CorruptData(f"a tree has at most {MAX_ENTRIES:,} entries")
    tree = decode_tree(lambda: _readable_pieces(copy), copy.stored.digest, known)
    if (tree.size, len(tree)) != (copy.stored.size, copy.stored.entries):
        raise CorruptData("the tree has not the size that the pack says")
    return tree


def fault_of(copy: Copy, known: KnownTrees | None = None) -> str | None:
    """What is wrong with a copy, after reading all of it; None if it is good.

    A tree that is ``known`` is not judged again.
    """
    try:
        if copy.stored.kind == "tree":
            verified_tree(copy, known)
        else:
            for _ in verified_pieces(copy):
                pass
    except GitmlError as error:
        return ": ".join([error.message, *error.causes()])
    return None


def _readable_pieces(copy: Copy) -> Iterator[bytes]:
    """The pieces of a copy; a file that cannot be read makes this copy a bad one."""
    try:
        yield from copy.pieces()
    except OSError as error:
        raise CorruptData(f"{copy.path} cannot be read") from error
