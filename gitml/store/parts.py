"""Objects put together from their parts: chunks of any pack, decoded by several threads.

A part is taken from whichever pack has a good copy of it, so damage in one pack does not matter
while another holds the same chunk. What comes out has the right parts; whether they are the
object is the caller's to verify.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock

from gitml.errors import CorruptData
from gitml.store import codec as codecs
from gitml.store.digest import hash_bytes, new_hasher
from gitml.store.pack import Pack, StoredChunk
from gitml.store.packformat import BLOB, TREE
from gitml.store.packindex import ChunkRow, ObjectRow
from gitml.store.threads import in_order, workers

Part = tuple[bytes, int]
_Held = tuple[ChunkRow, StoredChunk]

_AT_ONCE = 1024 * 1024
"""Plain bytes that one thread decodes at a time; also the longest chunk that is not streamed."""

_FEW = 4
"""Up to this many times _AT_ONCE, threads are not worth their start."""


def pieces(
    pack: Pack, digest: bytes, row: ObjectRow, others: Callable[[], Iterable[Pack]]
) -> Iterator[bytes]:
    """The plain bytes of an object of ``pack``, in order; ``others`` may hold parts as well.

    A part that is not the whole object is verified by itself; the object as a whole is the
    caller's to verify. Raises CorruptData; OSError passes through.
    """
    with ChunkSource(pack, others) as source:
        parts = pack.read_parts(source.descriptor(pack), digest, row)
        if len(parts) == 1:
            yield from source.stream(*parts[0], is_whole=parts[0][0] == digest)
        elif row.size <= _FEW * _AT_ONCE and sum(length for _, length in parts) == row.size:
            for part, length in parts:
                yield from source.stream(part, length)
        else:
            if row.kind != TREE:
                codecs.prepare(row.size)
            yield from _in_threads(source, parts)


def files(
    pack: Pack, digest: bytes, row: ObjectRow, others: Callable[[], Iterable[Pack]]
) -> set[Path]:
    """The packs that an object's parts are read from.

    Raises CorruptData if a part is in none of them, and OSError.
    """
    found = {pack.path}
    packs: list[Pack] = []
    for part in names(pack, digest, row):
        if not pack.find_chunk(part) and not packs:
            packs = list(others())
        found |= files_of_chunk(part, [pack, *packs])
    return found


def files_of_chunk(digest: bytes, packs: Iterable[Pack]) -> set[Path]:
    """The first of the packs that has a chunk, and the one with its base.

    Raises CorruptData if none has it, and OSError.
    """
    listed = list(packs)
    holder = next((pack for pack in listed if pack.find_chunk(digest)), None)
    if holder is None:
        raise _missing(digest)
    base = holder.base_of(digest)
    return {holder.path} | (files_of_chunk(base, listed) if base is not None else set())


def names(pack: Pack, digest: bytes, row: ObjectRow) -> list[bytes]:
    """The chunks that an object of a pack is made of; raises CorruptData or OSError.

    What is one chunk is told by its name, without a look: both are the digest of the same bytes.
    """
    chunk = pack.find_chunk(digest)
    if chunk is not None and (row.kind, row.size) == (BLOB, chunk.plain):
        return [digest]
    return [part for part, _ in pack.parts(digest, row)]


def proofs(
    pack: Pack, wanted: Mapping[bytes, ChunkRow], others: Callable[[], Iterable[Pack]]
) -> dict[bytes, set[Path]]:
    """Those of some chunks whose copies in a pack are good, with the packs that they need.

    Where the pack is this user's own, the check of the entry is proof enough, for nobody else can
    have written it; and of its base, if it has one. Otherwise its plain bytes are hashed.
    """
    found: dict[bytes, set[Path]] = {}
    based: dict[bytes, bytes] = {}
    with suppress(OSError), pack.opened() as descriptor:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return _hashed(pack, wanted, others)
        short = [one for one in wanted.items() if _is_short(one[1])]
        for digest, row, chunk in pack.read_chunks(descriptor, short):
            if not chunk.is_whole():
                continue
            if row.codec == codecs.DELTA:
                based[digest] = chunk.base
            else:
                found[digest] = {pack.path}
    for other in [pack, *others()] if based else ():
        whole = {}
        for base in (base for digest, base in based.items() if digest not in found):
            held = other.find_chunk(base)
            if held is not None and held.codec != codecs.DELTA:
                whole[base] = held
        bases = proofs(other, whole, others) if whole else {}
        for digest, base in based.items():
            if base in bases:
                found.setdefault(digest, {pack.path, *bases[base]})
    return found


def _hashed(
    pack: Pack, wanted: Mapping[bytes, ChunkRow], others: Callable[[], Iterable[Pack]]
) -> dict[bytes, set[Path]]:
    """What `proofs` gives of a pack that somebody else may have written."""
    found = {}
    for digest, row in wanted.items():
        with suppress(CorruptData, OSError):
            if _is_good(pack, digest, row, others):
                found[digest] = files_of_chunk(digest, [pack, *others()])
    return found


def _is_good(
    pack: Pack, digest: bytes, row: ChunkRow, others: Callable[[], Iterable[Pack]]
) -> bool:
    """Whether the plain bytes of a pack's copy of a chunk have its digest."""
    with ChunkSource(pack, others) as source:
        return source.holds(pack, digest, row)


class ChunkSource:
    """Chunks by digest, from one pack first and then from others; a context manager.

    Many threads may ask at once. Packs stay open until the end of the block.
    """

    def __init__(self, first: Pack, others: Callable[[], Iterable[Pack]]) -> None:
        self._first = first
        self._others = others
        self._open = ExitStack()
        self._descriptors: dict[Pack, int] = {}
        self._lock = Lock()

    def __enter__(self) -> ChunkSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def descriptor(self, pack: Pack) -> int:
        """The open file of a pack; raises OSError."""
        with self._lock:
            if pack not in self._descriptors:
                self._descriptors[pack] = self._open.enter_context(pack.opened())
            return self._descriptors[pack]

    def load(self, digest: bytes, length: int) -> bytes:
        """The ``length`` plain bytes of a chunk, verified; CorruptData if no copy is good."""
        return self._first_good(digest, lambda pack, row: self._loaded(pack, digest, row, length))

    def load_all(self, parts: Iterable[Part]) -> list[bytes]:
        """What `load` gives for each of several chunks, with one read for those that lie together.

        Where that gives no good bytes, `load` looks for others, and says what is wrong.
        """
        wanted = list(parts)
        read = self._read_together({digest for digest, _ in wanted})
        bases = self._read_together(
            {chunk.base for row, chunk in read.values() if row.codec == codecs.DELTA}
        )
        loaded = []
        for digest, length in wanted:
            data = _decoded(digest, read, bases)
            if data is None or len(data) != length:
                data = self.load(digest, length)
            loaded.append(data)
        return loaded

    def _read_together(self, digests: Iterable[bytes]) -> dict[bytes, _Held]:
        """Chunks as they lie in the first pack that has each, those that can be read so."""
        found: dict[bytes, _Held] = {}
        places: dict[Pack, list[tuple[bytes, ChunkRow]]] = {}
        for digest in digests:
            pack, row = next(self._holders(digest), (None, None))
            if pack is not None and row is not None and _is_short(row):
                places.setdefault(pack, []).append((digest, row))
        for pack, rows in places.items():
            with suppress(OSError):
                for digest, row, chunk in pack.read_chunks(self.descriptor(pack), rows):
                    found[digest] = row, chunk
        return found

    def holds(self, pack: Pack, digest: bytes, row: ChunkRow) -> bool:
        """Whether this copy of the chunk, however long, is good, whatever others there are."""
        with suppress(CorruptData, OSError):
            if row.codec == codecs.DELTA or _is_short(row):
                self._loaded(pack, digest, row, row.plain)
                return True
            hasher = new_hasher()
            for piece in pack.stream_chunk(self.descriptor(pack), digest, row):
                hasher.update(piece)
            return hasher.digest() == digest
        return False

    def stream(self, digest: bytes, length: int, *, is_whole: bool = False) -> Iterator[bytes]:
        """The plain bytes of a chunk of any length, verified unless it ``is_whole`` an object.

        A long chunk comes in pieces, so that a bad copy shows only behind the last of them.
        """
        pack, row = next(self._holders(digest), (None, None))
        is_long = row is not None and (row.plain > _AT_ONCE or row.stored > _AT_ONCE)
        if pack is None or row is None or not (is_long or is_whole) or row.codec == codecs.DELTA:
            yield self.load(digest, length)
            return
        hasher = None if is_whole else new_hasher()
        for piece in pack.stream_chunk(self.descriptor(pack), digest, row):
            length -= len(piece)
            if hasher is not None:
                hasher.update(piece)
            yield piece
        if length or (hasher is not None and hasher.digest() != digest):
            raise _damaged(digest)

    def _holders(self, digest: bytes) -> Iterator[tuple[Pack, ChunkRow]]:
        """The packs with a copy of the chunk."""
        if row := self._first.find_chunk(digest):
            yield self._first, row
        for pack in self._others():
            if pack is not self._first and (row := pack.find_chunk(digest)):
                yield pack, row

    def _first_good(self, digest: bytes, load: Callable[[Pack, ChunkRow], bytes]) -> bytes:
        """What ``load`` makes of the first copy on which it does not raise CorruptData."""
        failure: CorruptData | None = None
        for pack, row in self._holders(digest):
            try:
                return load(pack, row)
            except CorruptData as error:
                failure = failure or error
            except OSError as error:
                failure = failure or CorruptData(f"{pack.path} cannot be read")
                failure.__cause__ = failure.__cause__ or error
        raise failure or _missing(digest)

    def _loaded(self, pack: Pack, digest: bytes, row: ChunkRow, length: int) -> bytes:
        """The plain bytes of one copy of a chunk, verified."""
        base = None
        chunk = pack.read_chunk(self.descriptor(pack), digest, _bounded(row, length))
        if row.codec == codecs.DELTA:
            base = self._first_good(chunk.base, lambda *held: self._base(chunk.base, *held))
        data = codecs.decode_whole(row.codec, chunk.stored, row.plain, base)
        if hash_bytes(data).raw != digest:
            raise _damaged(digest)
        return data

    def _base(self, digest: bytes, pack: Pack, row: ChunkRow) -> bytes:
        """The plain bytes of one copy of a base, which must not need a base itself."""
        if row.codec == codecs.DELTA:
            raise CorruptData(f"the base blake3:{digest.hex()} is itself a difference")
        return self._loaded(pack, digest, row, row.plain)


def _decoded(
    digest: bytes, held: Mapping[bytes, _Held], bases: Mapping[bytes, _Held]
) -> bytes | None:
    """The verified bytes of a chunk out of what was read, or None."""
    if digest not in held:
        return None
    row, chunk = held[digest]
    base = None
    if row.codec == codecs.DELTA:
        below = bases.get(chunk.base)
        base = _decoded(chunk.base, bases, {}) if below and below[0].codec != codecs.DELTA else None
        if base is None:
            return None
    with suppress(CorruptData):
        data = codecs.decode_whole(row.codec, chunk.stored, row.plain, base)
        return data if hash_bytes(data).raw == digest else None
    return None


def _is_short(row: ChunkRow) -> bool:
    """Whether a chunk may be read at once."""
    return max(row.plain, row.stored) <= codecs.MAX_WHOLE


def _bounded(row: ChunkRow, length: int) -> ChunkRow:
    """The row, if the chunk has this length and is short enough to be read at once."""
    if row.plain != length:
        raise CorruptData(f"the chunk at byte {row.offset} has not the length of its part")
    if not _is_short(row):
        raise CorruptData(f"the chunk at byte {row.offset} is too long to be decoded at once")
    return row


def _in_threads(source: ChunkSource, parts: list[Part]) -> Iterator[bytes]:
    """The bytes of the parts in order, some of them decoded ahead."""

    def load(group: list[Part]) -> list[bytes] | None:
        if group[0][1] > _AT_ONCE:
            return None
        return source.load_all(group)

    groups = list(_groups(parts))
    with workers() as pool:
        for group, loaded in zip(groups, in_order(pool, load, groups), strict=True):
            yield from source.stream(*group[0]) if loaded is None else loaded


def _groups(parts: list[Part]) -> Iterator[list[Part]]:
    """Runs of neighbouring parts of about _AT_ONCE bytes; a longer part is a run by itself."""
    group: list[Part] = []
    size = 0
    for part, length in parts:
        if group and size + length > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append((part, length))
        size += length
    if group:
        yield group


def _missing(digest: bytes) -> CorruptData:
    return CorruptData(f"the chunk blake3:{digest.hex()} is missing")


def _damaged(digest: bytes) -> CorruptData:
    return CorruptData(f"the chunk blake3:{digest.hex()} is damaged")
