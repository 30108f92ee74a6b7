"""Maintenance: the same bytes in less room and fewer files.

Loose versions of one thing come into packs, where they share chunks; chunks of a newer version
become differences from the older one; many small packs become one. Each makes a new pack, which
takes the place of what it was made of (`replace`). What is damaged stays as it is, for fsck, and
what an interrupted maintenance left is finished or removed first.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, StorageError
from gitml.store import codec as codecs
from gitml.store.delta import differences
from gitml.store.directory import SourceFile
from gitml.store.holdings import Holdings
from gitml.store.large import put_chunks
from gitml.store.pack import Pack, PreparedChunk
from gitml.store.packformat import BLOB, ENTRY_HEADER
from gitml.store.packindex import ChunkRow
from gitml.store.parts import ChunkSource, Part
from gitml.store.repair import recover
from gitml.store.replace import Replacement, size_of

Succession = tuple[Digest, Digest]
"""An older and a newer version of one thing."""

SMALL = 32 * 1024 * 1024
"""Packs below this size, in bytes with their index, are put together when there are MANY."""

MANY = 16

_FULL = 1024 * 1024 * 1024
"""A pack that is put together from small ones takes no more of them from this size on."""

_LEAST = 0.05
"""A new pack must save this share of what it replaces, or it is not worth the copying."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What was done, or would be.

    ``packed`` loose files came into packs, ``deltas`` chunks became differences, ``merged`` packs
    were put together. ``before`` are the bytes of the files that were replaced, ``after`` those of
    what replaces them, indexes included. ``waiting`` bytes of ``before`` are condemned and not
    deleted yet, because a writer is at work that may rely on them.
    """

    packed: int = 0
    deltas: int = 0
    merged: int = 0
    before: int = 0
    after: int = 0
    waiting: int = 0


def maintain(
    store: Holdings,
    successions: Iterable[Succession],
    *,
    in_use: Collection[Digest] = (),
    dry_run: bool = False,
) -> Maintenance:
    """Store later versions by what they share with earlier ones, and put small packs together.

    ``successions`` are in the order in which the versions were made; what this store does not hold
    is passed over. Loose files of ``in_use`` stay loose: a work tree may be linked to them. With
    ``dry_run`` all is computed and nothing changed. Raises StorageError.
    """
    store.layout.check_format()
    if not store.root.is_dir():
        return Maintenance()
    if not dry_run:
        recover(store)
    pairs = list(dict.fromkeys(pair for pair in successions if pair[0] != pair[1]))
    work = _Work(store, dry_run)
    for group in _groups(pairs):
        work.pack_loose([digest for digest in group if digest not in in_use])
    work.store_differences(pairs)
    work.merge_small()
    return work.done


class _Work:
    """One maintenance; ``done`` grows while it works."""

    def __init__(self, store: Holdings, dry_run: bool) -> None:
        self.done = Maintenance()
        self._store = store
        self._dry_run = dry_run

    def pack_loose(self, versions: list[Digest]) -> None:
        """Bring loose versions of one thing into packs, if they share enough there."""
        with self._new_pack() as new:
            files = []
            for digest in versions:
                path = self._store.layout.loose(digest)
                if _links(path) == 1 and _add_file(new, digest, path):
                    files.append(path)
            if files and new.size <= (1 - _LEAST) * sum(map(size_of, files)):
                self._swap(new, files, packed=len(files))

    def store_differences(self, pairs: list[Succession]) -> None:
        """Store chunks of newer versions against older ones, and their packs without them."""
        packs = self._own_packs()
        if not packs or not pairs:
            return
        everywhere = self._store.packs()
        with self._new_pack() as new, ChunkSource(packs[0], lambda: everywhere) as source:
            saved: dict[Pack, list[int]] = {}
            finder = _Finder(everywhere, packs, source)
            for chunk, base in finder.find(pairs):
                if new.rely_on([base.path]):
                    new.add(chunk)
                    for pack, row in finder.holders(chunk.digest):
                        saved.setdefault(pack, []).append(row.stored - len(chunk.stored))
            files, deltas = [], 0
            for pack, gains in saved.items():
                if sum(gains) >= _LEAST * size_of(pack.path) and new.copy(pack):
                    files.append(pack.path)
                    deltas += len(gains)
            if files:
                self._swap(new, files, deltas=deltas)

    def merge_small(self) -> None:
        """Put small packs together when there are many."""
        small = [pack for pack in self._own_packs() if size_of(pack.path) < SMALL]
        while len(small) >= MANY:
            with self._new_pack() as new:
                files = []
                while small and new.size < _FULL:
                    pack = small.pop()
                    if new.copy(pack):
                        files.append(pack.path)
                if len(files) > 1:
                    self._swap(new, files, merged=len(files))

    def _own_packs(self) -> list[Pack]:
        """The packs that can be replaced: those of other users are theirs to keep."""
        packs = []
        for pack in self._store.packs():
            with suppress(OSError):
                if pack.path.stat().st_uid == os.geteuid():
                    packs.append(pack)
        return packs

    def _new_pack(self) -> Replacement:
        return Replacement(self._store, dry_run=self._dry_run)

    def _swap(self, new: Replacement, files: list[Path], **counts: int) -> None:
        """Let the new pack take the place of the files, and count it: ``counts`` by field."""
        counts["before"] = sum(map(size_of, files))
        counts["after"], counts["waiting"] = new.take_the_place_of(files)
        sums = {name: getattr(self.done, name) + count for name, count in counts.items()}
        self.done = replace(self.done, **sums)


class _Finder:
    """Finds which chunks to store as differences, and from what."""

    def __init__(self, packs: list[Pack], own: list[Pack], source: ChunkSource) -> None:
        self._packs = packs
        self._own = own
        self._source = source
        self._roots: dict[bytes, bytes] = {}
        self._bases: set[bytes] = set()
        for pack in packs:
            with suppress(OSError):
                self._bases |= pack.bases()

    def find(self, pairs: list[Succession]) -> Iterator[tuple[PreparedChunk, Pack]]:
        """The chunks as differences, each with the pack that holds its base."""
        for older, newer in pairs:
            with suppress(CorruptData):
                found = differences(
                    self._parts(older),
                    self._parts(newer),
                    self._source.load_all,
                    self._worth,
                    self._root_of,
                )
                for digest, plain, base, stored in found:
                    held = self._find(base)
                    if held is None or digest in self._bases or base in self._roots:
                        continue
                    self._roots[digest] = base
                    self._bases.add(base)
                    made = PreparedChunk.of(digest, plain, codecs.DELTA, stored, base)
                    yield made, held[0]

    def holders(self, digest: bytes) -> Iterator[tuple[Pack, ChunkRow]]:
        """Our own packs that hold a chunk by itself."""
        for pack in self._own:
            row = pack.find_chunk(digest)
            if row is not None and row.codec != codecs.DELTA:
                yield pack, row

    def _parts(self, digest: Digest) -> list[Part]:
        """The parts of an object in a pack; none if there is no such object."""
        for pack in self._packs:
            row = pack.find_object(digest.raw)
            if row is not None:
                with suppress(CorruptData, OSError):
                    return pack.parts(digest.raw, row)
        return []

    def _worth(self, digest: bytes) -> int:
        """A difference may take half of what the chunk takes now; nothing if it is a base."""
        if digest in self._bases or digest in self._roots:
            return 0
        least = min((row.stored for _, row in self.holders(digest)), default=0)
        return max(0, least - ENTRY_HEADER) // 2

    def _root_of(self, part: Part) -> Part | None:
        """The chunk itself, or what it is stored against, if anything holds that by itself."""
        digest = self._roots.get(part[0], part[0])
        found = self._find(digest)
        if found is not None and found[1].codec == codecs.DELTA:
            base = found[0].base_of(digest)
            found = self._find(base) if base is not None else None
            digest = base or digest
        if found is None or found[1].codec == codecs.DELTA:
            return None
        return digest, found[1].plain

    def _find(self, digest: bytes) -> tuple[Pack, ChunkRow] | None:
        """A pack that holds a chunk, by itself if there is one."""
        held = [(pack, row) for pack in self._packs if (row := pack.find_chunk(digest))]
        return min(held, key=lambda one: one[1].codec == codecs.DELTA, default=None)


def _groups(pairs: list[Succession]) -> list[list[Digest]]:
    """The versions of each thing, in order; what shares a version is one thing."""
    group_of: dict[Digest, list[Digest]] = {}
    for older, newer in pairs:
        one = group_of.setdefault(older, [older])
        other = group_of.setdefault(newer, [newer])
        if one is not other:
            one += other
            group_of.update(dict.fromkeys(other, one))
    return list({id(group): group for group in group_of.values()}.values())


def _add_file(new: Replacement, digest: Digest, path: Path) -> bool:
    """Cut a loose file into a new pack; False if it is not what its name says, or gone."""
    try:
        with SourceFile(path) as source:
            cut = put_chunks(source.read_exactly, source.size, new.held, new.add, new.write_ahead)
    except StorageError:
        return False
    if cut.digest == digest:
        new.add_object(digest.raw, BLOB, source.size, 0, cut.parts)
    return cut.digest == digest


def _links(path: Path) -> int:
    """How many names a file has; 0 if there is none."""
    try:
        return path.stat().st_nlink
    except OSError:
        return 0
