"""Putting one pack in the place of many files: published, read back, and only then the old go.

A kill at any point leaves the old files, the new pack or both. What is replaced is condemned as
gc does it, and deleted at once only if nobody is at work who may rely on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from gitml.errors import CorruptData
from gitml.fs import storage_errors, sync_directory
from gitml.store import codec as codecs
from gitml.store.holdings import Holdings
from gitml.store.layout import discard
from gitml.store.lease import Lease
from gitml.store.pack import Pack, PackBuilder, PreparedChunk, Span
from gitml.store.packformat import ENTRY_HEADER
from gitml.store.parts import ChunkSource, Part
from gitml.store.threads import in_order, workers

_ROW = 72
"""Bytes of an index for each entry, at most."""

_EMPTY = 16 + 2088
"""Bytes of a pack and its index without an entry."""

_TOGETHER = 16


class Replacement:
    """A new pack with what several files hold; a context manager.

    Nothing is visible before `take_the_place_of`. ``size`` counts what was added, in bytes, also
    if it only was to be known (``dry_run``).
    """

    def __init__(self, store: Holdings, *, dry_run: bool) -> None:
        self.size = _EMPTY
        self._store = store
        self._dry_run = dry_run
        self._lease = Lease(store.layout)
        self._builder: PackBuilder | None = None
        self._chunks: set[bytes] = set()
        self._objects: set[bytes] = set()

    def __enter__(self) -> Replacement:
        return self

    def __exit__(self, *_: object) -> None:
        if self._builder is not None:
            self._builder.close()
            discard(self._builder.pack.path)
        self._lease.end()

    def held(self, digests: Collection[bytes]) -> set[bytes]:
        """Those chunks that are added already or held by packs, which are kept from gc from now."""
        added = self._chunks.intersection(digests)
        proven = self._store.proven_chunks(digest for digest in digests if digest not in added)
        return added | {digest for digest, files in proven.items() if self.rely_on(files)}

    def rely_on(self, files: Iterable[Path]) -> bool:
        """Whether these files stay in their places until the end of the block."""
        return self._dry_run or self._lease.keep(files)

    def add(self, chunk: PreparedChunk) -> None:
        """Add a chunk, unless it is added already."""
        if chunk.digest not in self._chunks:
            self._chunks.add(chunk.digest)
            self.size += len(chunk.header) + len(chunk.stored) + _ROW
            if not self._dry_run:
                self._building().add_prepared(chunk)

    def write_ahead(self) -> None:
        """Have the disk begin with what was added; any thread may ask."""
        if self._builder is not None:
            self._builder.write_ahead()

    def add_object(
        self, digest: bytes, kind: int, size: int, entries: int, parts: list[Part]
    ) -> None:
        """Add an object whose chunks are added or held."""
        if digest not in self._objects:
            self._objects.add(digest)
            self.size += ENTRY_HEADER + 16 + 40 * len(parts) + _ROW
            if not self._dry_run:
                self._building().add_object(digest, kind, size, entries, parts)

    def copy(self, pack: Pack) -> bool:
        """Add all that a pack holds and that is not added yet; False if it cannot be replaced.

        Such is a pack with damage, which is for fsck to judge, or with chunks of a length that
        nobody cuts any more.
        """
        with suppress(CorruptData, OSError):
            spans = pack.spans()
            if any(s.is_chunk and s.end - s.start > codecs.MAX_WHOLE for s in spans):
                return False
            with pack.opened() as descriptor:
                for span in spans:
                    self._copy(pack, descriptor, span)
            return True
        return False

    def _copy(self, pack: Pack, descriptor: int, span: Span) -> None:
        digest = span.digest
        if not span.is_chunk:
            row = pack.find_object(digest)
            if row is not None and digest not in self._objects:
                parts = pack.read_parts(descriptor, digest, row)
                self.add_object(digest, row.kind, row.size, row.entries, parts)
        elif digest not in self._chunks and (one := pack.find_chunk(digest)):
            chunk = pack.read_chunk(descriptor, digest, one)
            if not chunk.is_whole():
                raise CorruptData(f"{pack.path} has a damaged chunk")
            header = chunk.header + chunk.check
            self.add(PreparedChunk(digest, one.plain, one.codec, header, chunk.stored))

    def take_the_place_of(self, files: Sequence[Path]) -> tuple[int, int]:
        """Make the new pack visible and take out the files, all of which it must replace.

        Gives the bytes of the new pack, and those of old files that are condemned but not deleted,
        since a writer is at work. Raises CorruptData, with the old files in their places, if the
        new pack cannot be read back.
        """
        if self._dry_run or self._builder is None:
            return self.size, 0
        layout = self._store.layout
        with storage_errors(files[0], "read"):
            newest = max(path.stat().st_mtime_ns for path in files)
        builder, self._builder = self._builder, None
        try:
            index = builder.finish()
            os.utime(builder.pack.path, ns=(newest, newest))
            self._lease.confirm()
            made = layout.publish_pack(builder.pack.path, index)
        except BaseException:
            builder.close()
            discard(builder.pack.path)
            raise
        self._store.forget_listing()
        self._read_back(made, files)
        self._lease.end()
        waiting = self._take_out([path for path in files if path != made])
        return size_of(made), waiting

    def _building(self) -> PackBuilder:
        if self._builder is None:
            self._lease.begin()
            self._builder = PackBuilder(self._store.layout.temporary(".pack"))
        return self._builder

    def _read_back(self, made: Path, replaced: Sequence[Path]) -> None:
        """Raise CorruptData unless all of the new pack can be read without what it replaces."""
        pack = Pack(made)
        others = [one for one in self._store.packs() if one.path not in (made, *replaced)]
        by_place = sorted(pack.tables.chunks(), key=lambda one: one[1].offset)
        chunks = [(digest, row.plain) for digest, row in by_place]
        for raw, row in pack.tables.objects():
            for part, length in pack.parts(raw, row):
                held = next((r for p in (pack, *others) if (r := p.find_chunk(part))), None)
                if held is None or held.plain != length:
                    raise CorruptData(f"a part of blake3:{raw.hex()} is missing")
        with ChunkSource(pack, lambda: others) as source, workers() as pool:

            def read(some: list[Part]) -> None:
                source.load_all(some)

            runs = (chunks[at : at + _TOGETHER] for at in range(0, len(chunks), _TOGETHER))
            for _ in in_order(pool, read, runs):
                pass

    def _take_out(self, files: Sequence[Path]) -> int:
        """Condemn what is replaced, and delete it; the bytes of what had to stay condemned.

        Who relies on a file said before that they are at work, and nobody comes to rely on one that
        is out of its place: so if nobody is at work now, nobody needs it.
        """
        layout = self._store.layout
        condemned = []
        for path in files:
            with suppress(FileNotFoundError), storage_errors(path):
                before = path.stat().st_mtime_ns
                there = layout.condemn(path, int(time.time()))
                if there.stat().st_mtime_ns == before:
                    condemned.append(there)
                else:
                    layout.bring_back(there)
        for folder in {layout.condemned, *(path.parent for path in files)}:
            sync_directory(folder)
        self._store.forget_listing()
        if layout.writers():
            return sum(map(size_of, condemned))
        for there in condemned:
            if there.suffix == ".pack":
                discard(there.with_suffix(".idx"))
            discard(there)
        return 0


def size_of(path: Path) -> int:
    """The bytes of a pack with its index, or of a loose file; 0 if it is gone."""
    size = 0
    for one in {path, path.with_suffix(".idx")} if path.suffix == ".pack" else {path}:
        with suppress(OSError):
            size += one.stat().st_size
    return size
