"""What a store holds and where: packs and loose files, as copies that a reader can verify.

Packs are listed at the first question and again when something seems missing, for any process
may publish one at any time. What gc has condemned is still read, after everything else, but a
writer does not take it for held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import parts
from gitml.store.digest import PIECE
from gitml.store.knowntrees import KnownTrees
from gitml.store.layout import Layout
from gitml.store.links import LinkMode, Links, is_sealed
from gitml.store.pack import NO_INDEX, Pack
from gitml.store.packformat import TREE
from gitml.store.packindex import ObjectRow
from gitml.store.reader import Copy, Reader, StoredObject, Supply, fault_of
from gitml.store.window import FileSpans, PackSpans

_RACY_SECONDS = 2
_FEW = 64
"""Objects that are looked for by themselves; for more the folders are listed once."""
Others = Callable[[], Iterable[Pack]]


class Holdings(Reader):
    """Every copy below one root; reading one changes nothing there."""

    def __init__(
        self,
        root: Path,
        introduce: Callable[[], None] | None = None,
        link: LinkMode = "auto",
        *,
        is_known: bool = False,
        supply: Supply | None = None,
        known_trees: KnownTrees | None = None,
        fate: Callable[[Digest], str] = lambda digest: "",
    ) -> None:
        """``introduce`` is called when the root is made, to say there who shares it.

        ``link`` says whether files may share their blocks with working files. A store that
        ``is_known`` was there before: if it is gone, that is an error, and no other is made. What
        is not here comes from ``supply`` when it is read. Trees that are among the ``known_trees``
        are not judged again. ``fate`` says what is known of an object that is not here.
        """
        self._fate = fate
        self.supply = supply
        self.known_trees = known_trees
        self.layout = Layout(root, introduce, is_known=is_known)
        self.links = Links(self.layout, link)
        self._packs: dict[str, Pack] = {}
        self._condemned: dict[str, Pack] = {}
        self._latest: Pack | None = None
        self._scanned: tuple[int, float] | None = None
        self._proved: set[bytes] = set()

    @property
    def root(self) -> Path:
        """The folder that holds the store."""
        return self.layout.root

    def packs(self) -> list[Pack]:
        """Every pack that is visible now."""
        self._refresh()
        return list(self._packs.values())

    def copies(self, digest: Digest) -> Iterator[Copy]:
        """Every copy of an object, unverified: for who checks or repairs."""
        return self._found(digest)

    def pack_copy(
        self, pack: Pack, digest: Digest, row: ObjectRow, others: Others | None = None
    ) -> Copy:
        """The copy of an object in one pack; its chunks may be in ``others`` as well.

        By default those are all packs, condemned ones last.
        """
        everywhere = others or self._everywhere
        return Copy(
            described(digest, row),
            pack.path,
            lambda: parts.pieces(pack, digest.raw, row, everywhere),
            lambda: parts.files(pack, digest.raw, row, everywhere),
            lambda: PackSpans(pack, digest.raw, row, everywhere),
        )

    def loose_copy(self, digest: Digest, path: Path) -> Copy:
        """The copy of a blob in one loose file; raises OSError."""
        size = path.stat().st_size
        stored = StoredObject(digest, "blob", size, size)
        pieces, spans = (lambda: _file_pieces(path)), (lambda: FileSpans(path))
        return Copy(stored, path, pieces, lambda: [path], spans, is_plain=True)

    def proven_copy(self, digest: Digest) -> Iterable[Path] | None:
        """The files of a whole copy that is not condemned, if there is one.

        Each digest is read once in a process.
        """
        for copy in self._standing(digest):
            if digest.raw in self._proved or self._is_sealed(copy) or fault_of(copy) is None:
                self._proved.add(digest.raw)
                with suppress(CorruptData, OSError):  # gone since it was listed
                    return copy.files()
        return None

    def proven_chunks(self, digests: Iterable[bytes]) -> dict[bytes, set[Path]]:
        """Those of some chunks of which a whole copy is here and not condemned, with its packs.

        In a pack of our own the check of its entry is proof: these are the bytes that we wrote. In
        anybody else's the plain bytes must have the digest. Many at once are read together.
        """
        if self._scanned is None:
            self._refresh()
        proven: dict[bytes, set[Path]] = {}
        wanted = set(digests)
        for pack in self._in_place():
            rows = {digest: row for digest in wanted if (row := pack.find_chunk(digest))}
            if rows:
                proven.update(parts.proofs(pack, rows, self._in_place))
                wanted -= proven.keys()
        return proven

    def _is_sealed(self, copy: Copy) -> bool:
        """Whether a copy is a loose file that needs no reading to be trusted."""
        with suppress(OSError):
            is_loose = copy.path == self.layout.loose(copy.stored.digest)
            return is_loose and is_sealed(copy.path.stat(), copy.stored.digest)
        return False

    def is_sound(self, digest: Digest) -> bool:
        """Whether a copy that is not condemned is whole, read now."""
        return any(fault_of(copy) is None for copy in self._standing(digest))

    def condemned_packs(self) -> list[Pack]:
        """The packs that gc has condemned and not deleted yet, the newest first."""
        packs: dict[str, Pack] = {}
        for one in self.layout.condemned_files():
            if one.name.endswith(".pack"):
                name = one.path.name
                packs[name] = self._condemned.get(name) or Pack(one.path)
        self._condemned = packs
        return list(packs.values())

    def forget_listing(self) -> None:
        """Look at the folders again at the next question: something was published."""
        self._scanned = None

    def forget(self) -> None:
        """Know nothing any more: a pack may have been published under a damaged one's name."""
        self._packs, self._condemned, self._latest = {}, {}, None
        self._proved = set()
        self.forget_listing()

    def _copies(self, digest: Digest) -> Iterator[Copy]:
        yield from self._standing(digest, self._everywhere)
        for pack in self.condemned_packs():
            if row := pack.find_object(digest.raw):
                yield self.pack_copy(pack, digest, row)
        for one in self.layout.condemned_files():
            if one.name == digest.hex:
                with suppress(OSError):
                    yield self.loose_copy(digest, one.path)

    def _absent(self, digests: Iterable[Digest]) -> list[Digest]:
        unseen = {one.raw: one for one in digests}
        for pack in self._everywhere():
            for raw in pack.objects_among(unseen.keys()):
                del unseen[raw]
        left = list(unseen.values())
        if len(left) > _FEW:
            files = {digest for digest, _ in self.layout.loose_files()}
            names = {one.name for one in self.layout.condemned_files()}
            here = [one for one in left if one in files or one.hex in names]
        else:
            here = left
        found = {one for one in here if next(self._copies(one), None) is not None}
        return [one for one in left if one not in found]

    def _everywhere(self) -> Iterator[Pack]:
        """Every pack that may hold a chunk, those first that are in their places."""
        yield from self._in_place()
        yield from self.condemned_packs()

    def _in_place(self) -> list[Pack]:
        return list(self._packs.values())

    def _standing(self, digest: Digest, others: Others | None = None) -> Iterator[Copy]:
        """The copies that are in their places."""
        if self._scanned is None:
            self._refresh()
        raw, latest, others = digest.raw, self._latest, others or self._in_place
        if latest is not None and (row := latest.find_object(raw)):
            yield self.pack_copy(latest, digest, row, others)
        for pack in self._in_place():
            if pack is not latest and (row := pack.find_object(raw)):
                self._latest = pack
                yield self.pack_copy(pack, digest, row, others)
        with suppress(OSError):
            copy = self.loose_copy(digest, self.layout.loose(digest))
            if copy.stored.size:
                yield copy

    def fate(self, digest: Digest) -> str:
        """What was said of an object that is not here."""
        return self._fate(digest)

    def _packs_now(self) -> list[Pack]:
        return self.packs()

    def _links(self) -> Links:
        return self.links

    def _supply(self) -> Supply | None:
        return self.supply

    def _known_trees(self) -> KnownTrees | None:
        return self.known_trees

    def _refresh(self) -> bool:
        """List the packs anew, unless the folder has surely not changed since the last time."""
        try:
            modified = self.layout.packs.stat().st_mtime_ns
        except OSError:
            modified = -1
        if self._scanned is not None:
            seen, at = self._scanned
            # A change within the clock's grain of the last look would leave the same time.
            if seen == modified and at - modified / 1e9 > _RACY_SECONDS:
                return False
        now = time.time()
        self.layout.check_format()
        names = self.layout.pack_files()
        indexes = set(names)
        packs: dict[str, Pack] = {}
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if kind != "pack":
                continue
            pack = self._packs.get(name)
            if pack is None or (pack.index_fault == NO_INDEX and f"{stem}{dot}idx" in indexes):
                pack = Pack(self.layout.packs / name)
            packs[name] = pack
        if self._latest is not None:
            self._latest = packs.get(self._latest.path.name)
        self._packs = packs
        self._scanned = (modified, now)
        return True


def described(digest: Digest, row: ObjectRow) -> StoredObject:
    """A pack's row in the words of the store."""
    kind = row.kind
    return StoredObject(
        digest, "tree" if kind == TREE else "blob", row.size, row.stored, row.entries
    )


def _file_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a whole file; raises OSError."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            yield piece
