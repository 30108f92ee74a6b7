"""What takes the space in a store, to the byte: by what it is for, and by who needs it.

Every byte of every file and folder is counted once. Entries of packs are the unit: a chunk that two
names need is shared, and a second copy of it in another pack is a duplicate.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes
from gitml.store import codec as codecs
from gitml.store import parts
from gitml.store.holdings import Holdings
from gitml.store.layout import listed
from gitml.store.pack import Pack
from gitml.store.packformat import ENTRY_HEADER, TREE

_SHARED = -1


@dataclass(frozen=True, slots=True)
class Share:
    """What one name takes: ``size`` in plain bytes, ``own`` and ``shared`` in stored ones.

    ``own`` is what nothing else in its group needs, so what would go with it.
    """

    name: str
    size: int
    own: int
    shared: int


@dataclass(frozen=True, slots=True)
class Group:
    """Names of one kind; ``shared`` are the bytes that several of them need, counted once."""

    kind: str
    shares: tuple[Share, ...]
    shared: int

    @property
    def stored(self) -> int:
        """The stored bytes that the names of the group need together."""
        return self.shared + sum(share.own for share in self.shares)


@dataclass(frozen=True, slots=True)
class Savings:
    """What everything live would take as files, and why it takes less, in bytes.

    ``plain`` is the sum over all blobs and trees that git names, each version of a tree with all
    its files. Less ``dedup``, ``compression`` and ``delta`` it is what their chunks take.
    """

    plain: int
    dedup: int
    compression: int
    delta: int

    @property
    def stored(self) -> int:
        """What the chunks of live blobs take, without the headers of entries."""
        return self.plain - self.dedup - self.compression - self.delta


@dataclass(frozen=True, slots=True)
class Usage:
    """What takes the space of a store, in bytes.

    ``total`` is what ``du -sb`` says: the sum of ``live``, ``unreferenced`` (in its place and named
    by nothing), ``duplicates`` (of what is held elsewhere in the store), ``condemned``,
    ``temporary`` and ``overhead`` (indexes, headers, folders).
    """

    total: int
    live: int
    unreferenced: int
    duplicates: int
    condemned: int
    temporary: int
    overhead: int
    groups: tuple[Group, ...]
    savings: Savings


Names = Mapping[str, Collection[Digest]]


def usage(store: Holdings, live: Set[bytes], groups: Mapping[str, Names]) -> Usage:
    """The usage of a store whose live objects are given by their raw digests.

    ``groups`` are names by kind, each with the blobs and trees that it stands for. Reads indexes,
    lists of parts and trees, and no blob.
    """
    entries = _Entries()
    for pack in store.packs():
        entries.add_pack(pack)
    for digest, path in store.layout.loose_files():
        with suppress(FileNotFoundError):
            entries.add_loose(digest.raw, path.stat().st_size)
    for raw in live:
        entries.mark(raw)
    made = tuple(_group(store, entries, kind, names) for kind, names in groups.items())
    total, places = _files(store)
    held = entries.live + entries.dead + entries.duplicates
    return Usage(
        total=total,
        live=entries.live,
        unreferenced=entries.dead,
        duplicates=entries.duplicates,
        condemned=places["condemned"],
        temporary=places["tmp"],
        overhead=total - held - places["condemned"] - places["tmp"],
        groups=made,
        savings=_savings(store, entries),
    )


@dataclass
class _Entries:
    """Every entry of every pack, and every loose file: chunks and objects by digest.

    A value is what the entry takes. ``needs`` are the chunks of an object, and the base of a chunk.
    """

    objects: dict[bytes, int] = field(default_factory=dict)
    chunks: dict[bytes, int] = field(default_factory=dict)
    sizes: dict[bytes, int] = field(default_factory=dict)
    plain: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    needs: dict[bytes, list[bytes]] = field(default_factory=dict)
    bases: dict[bytes, bytes] = field(default_factory=dict)
    trees: set[bytes] = field(default_factory=set)
    loose: set[bytes] = field(default_factory=set)
    duplicates: int = 0
    live_objects: set[bytes] = field(default_factory=set)
    live_chunks: set[bytes] = field(default_factory=set)

    def add_pack(self, pack: Pack) -> None:
        """Take in a pack; what is damaged in it counts as overhead."""
        try:
            spans = pack.spans(gaps=True)
        except OSError:
            return
        for span in spans:
            length = span.end - span.start
            known = self.chunks if span.is_chunk else self.objects
            if span.digest in known:
                self.duplicates += length
                continue
            known[span.digest] = length
            if span.is_chunk:
                self._describe(pack, span.digest)
        for raw, row in pack.tables.objects():
            if raw in self.needs:
                continue
            with suppress(CorruptData, OSError):
                names = parts.names(pack, raw, row)
                self.needs[raw] = names
                self.sizes[raw] = row.size
                if row.kind == TREE:
                    self.trees.add(raw)

    def _describe(self, pack: Pack, chunk: bytes) -> None:
        row = pack.find_chunk(chunk)
        if row is not None:
            self.plain[chunk] = (row.plain, row.codec)
            with suppress(OSError):
                if base := pack.base_of(chunk):
                    self.bases[chunk] = base

    def add_loose(self, raw: bytes, size: int) -> None:
        """Take in a loose file."""
        if raw in self.objects:
            self.duplicates += size
            return
        self.objects[raw] = self.sizes[raw] = size
        self.loose.add(raw)

    def chunks_of(self, raw: bytes) -> Iterator[bytes]:
        """The chunks that an object needs, bases too."""
        for chunk in self.needs.get(raw, ()):
            yield chunk
            while base := self.bases.get(chunk):
                yield base
                chunk = base

    def mark(self, raw: bytes) -> None:
        """Count an object as live."""
        if raw in self.objects:
            self.live_objects.add(raw)
            self.live_chunks.update(self.chunks_of(raw))

    @property
    def live(self) -> int:
        """The bytes of live entries."""
        objects = sum(self.objects[raw] for raw in self.live_objects)
        return objects + sum(self.chunks.get(raw, 0) for raw in self.live_chunks)

    @property
    def dead(self) -> int:
        """The bytes of the other entries."""
        return sum(self.objects.values()) + sum(self.chunks.values()) - self.live


def _group(store: Holdings, entries: _Entries, kind: str, names: Names) -> Group:
    """What each name takes; a byte that two names need is shared."""
    owners: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
    sizes = []
    labels = list(names)
    for number, label in enumerate(labels):
        objects = set(_members(store, names[label]))
        chunks = {chunk for raw in objects for chunk in entries.chunks_of(raw)}
        sizes.append(sum(entries.sizes.get(one.raw, 0) for one in set(names[label])))
        for owned, keys in zip(owners, (objects, chunks), strict=True):
            for key in keys:
                owned[key] = number if owned.setdefault(key, number) == number else _SHARED
    own = [0] * len(labels)
    shared = 0
    for owned, lengths in zip(owners, (entries.objects, entries.chunks), strict=True):
        for key, number in owned.items():
            if number == _SHARED:
                shared += lengths.get(key, 0)
            else:
                own[number] += lengths.get(key, 0)
    shares = [
        Share(label, size, mine, _needed(store, entries, names[label]) - mine)
        for label, size, mine in zip(labels, sizes, own, strict=True)
    ]
    return Group(kind, tuple(shares), shared)


def _needed(store: Holdings, entries: _Entries, digests: Iterable[Digest]) -> int:
    """The stored bytes that a name needs."""
    objects = set(_members(store, digests))
    chunks = {chunk for raw in objects for chunk in entries.chunks_of(raw)}
    return sum(entries.objects.get(one, 0) for one in objects) + sum(
        entries.chunks.get(one, 0) for one in chunks
    )


def _members(store: Holdings, digests: Iterable[Digest]) -> Iterator[bytes]:
    """The objects behind a name: blobs, and trees with their members."""
    for digest in digests:
        yield digest.raw
        with suppress(CorruptData, MissingBytes):
            if store.info(digest).kind == "tree":
                content = store.read_tree(digest).columns.digests
                yield from (content[at : at + 32] for at in range(0, len(content), 32))


def _savings(store: Holdings, entries: _Entries) -> Savings:
    """Why what is live takes less than as files."""
    trees = entries.trees & entries.live_objects
    members = {raw for tree in trees for raw in _members(store, [Digest.from_bytes(tree)])} - trees
    plain = sum(entries.sizes[raw] for raw in entries.live_objects - members)
    lists = {chunk for raw in entries.trees for chunk in entries.needs.get(raw, ())}
    unique = compression = delta = 0
    for chunk in entries.live_chunks - lists:
        length, codec = entries.plain.get(chunk, (0, codecs.RAW))
        saved = length - max(0, entries.chunks.get(chunk, 0) - ENTRY_HEADER)
        unique += length
        delta += saved if codec == codecs.DELTA else 0
        compression += saved if codec != codecs.DELTA else 0
    alone = (raw for raw in entries.live_objects if raw in entries.loose)
    unique += sum(entries.sizes[raw] for raw in alone)
    return Savings(plain, plain - unique, compression, delta)


def _files(store: Holdings) -> tuple[int, dict[str, int]]:
    """The bytes of all files and folders, as ``du -sb`` counts them, and of some folders' files."""
    root = store.root
    places = dict.fromkeys(("condemned", "tmp"), 0)
    if not root.is_dir():
        return 0, places
    total = root.lstat().st_size
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            with suppress(FileNotFoundError):
                status = Path(folder, name).lstat()
                key = (status.st_dev, status.st_ino)
                if key not in seen:
                    seen.add(key)
                    total += status.st_size
    for place in places:
        for path in listed(root / place):
            with suppress(FileNotFoundError):
                places[place] += path.lstat().st_size
    return total, places
