"""What a store holds and where: packs and loose files, as copies that a reader can verify.

Packs are listed at the first question and again when something seems missing, for any process
may publish one at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.store import parts
from gitml.store.digest import PIECE
from gitml.store.layout import Layout
from gitml.store.pack import NO_INDEX, TREE, ObjectRow, Pack
from gitml.store.reader import Copy, Reader, StoredObject, fault_of

_RACY_SECONDS = 2


class Holdings(Reader):
    """Every copy below one root; reading one changes nothing there."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._packs: dict[str, Pack] = {}
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

    def pack_copy(self, pack: Pack, digest: Digest, row: ObjectRow) -> Copy:
        """The copy of an object in one pack; its chunks may be in other packs as well."""
        return Copy(
            described(digest, row),
            pack.path,
            lambda: parts.pieces(pack, digest.raw, row, lambda: list(self._packs.values())),
        )

    def loose_copy(self, digest: Digest, path: Path) -> Copy:
        """The copy of a blob in one loose file; raises OSError."""
        size = path.stat().st_size
        return Copy(StoredObject(digest, "blob", size, size), path, lambda: _file_pieces(path))

    def proven_copy(self, digest: Digest) -> Path | None:
        """The file of a whole copy, if there is one; each digest is read once in a process."""
        for copy in self._copies(digest):
            if digest.raw in self._proved or fault_of(copy) is None:
                self._proved.add(digest.raw)
                return copy.path
        return None

    def proven_chunk(self, digest: bytes) -> Path | None:
        """The pack that holds a whole copy of a chunk, if there is one.

        In a pack of our own the check of its entry is proof: these are the bytes that we wrote. In
        anybody else's the plain bytes must have the digest.
        """
        if self._scanned is None:
            self._refresh()
        for pack in list(self._packs.values()):
            row = pack.find_chunk(digest)
            if row is not None and parts.is_proven(pack, digest, row, self._packs.values):
                return pack.path
        return None

    def forget_listing(self) -> None:
        """Look at the folders again at the next question: something was published."""
        self._scanned = None

    def _copies(self, digest: Digest) -> Iterator[Copy]:
        if self._scanned is None:
            self._refresh()
        raw, latest = digest.raw, self._latest
        if latest is not None and (row := latest.find_object(raw)):
            yield self.pack_copy(latest, digest, row)
        for pack in list(self._packs.values()):
            if pack is not latest and (row := pack.find_object(raw)):
                self._latest = pack
                yield self.pack_copy(pack, digest, row)
        with suppress(OSError):
            copy = self.loose_copy(digest, self.layout.loose(digest))
            if copy.stored.size:
                yield copy

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
