"""Finding damage in a store, and putting right what the store can put right by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes, StorageError
from gitml.fs import flush_to_disk, make_directories, storage_errors
from gitml.store.digest import hash_bytes, hash_file
from gitml.store.holdings import Holdings
from gitml.store.layout import Layout, listed
from gitml.store.pack import Pack, has_header, walk
from gitml.store.packindex import PackIndex
from gitml.store.parts import ChunkSource, names
from gitml.store.reader import Copy, fault_of
from gitml.store.repack import rewrite


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing wrong in a store: which objects it touches, in which file, and why.

    ``readable`` says that every one of ``digests`` still has a good copy. Damage that touches no
    object (a pack's own header, an entry that nothing uses) has no digests.
    """

    digests: tuple[Digest, ...]
    path: Path
    reason: str
    readable: bool


def check(store: Holdings, digests: Iterable[Digest] | None) -> Iterator[Damage]:
    """Every damage of ``digests``, or of everything held: see `Store.check`."""
    if digests is not None:
        for digest in digests:
            copies = list(store.copies(digest))
            if not copies:
                yield Damage((digest,), store.root, "no copy is held", readable=False)
            for copy in copies:
                yield from _damage_of(store, copy)
        return
    packs = store.packs()
    for pack in packs:
        yield from _check_pack(store, pack)
    yield from _check_lonely_indexes(store, {pack.path for pack in packs})
    for digest, path in store.layout.loose_files():
        try:
            copy = store.loose_copy(digest, path)
        except OSError as error:
            yield Damage((digest,), path, f"cannot be read: {error.strerror}", readable=False)
        else:
            yield from _damage_of(store, copy)


def check_some(store: Holdings, digests: Iterable[Digest]) -> Iterator[Damage]:
    """The damage of ``digests``, and that of all packs which shows without reading every byte.

    That is an index that is not its pack's, an entry that is not where it should be, a part that
    is in no pack, a loose file that is empty.
    """
    packs = store.packs()
    for pack in packs:
        yield from _check_structure(store, pack, packs)
    yield from _check_lonely_indexes(store, {pack.path for pack in packs})
    for digest, path in store.layout.loose_files():
        with suppress(FileNotFoundError):
            if not path.stat().st_size:
                yield Damage((digest,), path, "the file is empty", _is_readable(store, [digest]))
    for digest in digests:
        for copy in store.copies(digest):
            yield from _damage_of(store, copy)


def _check_structure(store: Holdings, pack: Pack, packs: list[Pack]) -> Iterator[Damage]:
    try:
        if pack.tables and pack.index_fault:
            raise CorruptData(pack.index_fault)
        pack.spans()
    except (CorruptData, OSError, StorageError):
        yield from _check_pack(store, pack)
        return
    for raw, row in pack.tables.objects():
        try:
            lost = [one for one in names(pack, raw, row) if not _any_has(packs, one)]
            reason = f"the chunk blake3:{lost[0].hex()} is missing" if lost else ""
        except (CorruptData, OSError) as error:
            reason = str(error)
        if reason:
            digest = Digest.from_bytes(raw)
            yield Damage((digest,), pack.path, reason, _is_readable(store, [digest]))


def _any_has(packs: list[Pack], chunk: bytes) -> bool:
    return any(pack.find_chunk(chunk) for pack in packs)


def mend(store: Holdings, store_again: Callable[[Digest], None]) -> list[Path]:
    """Rewrite every damaged pack with what is whole in it; gives the files that it set aside.

    Damaged loose files are set aside as well, and indexes whose pack is gone. Nothing that can be
    read is lost, and nothing that is damaged looks as if it were held any more. ``store_again``
    reads an object, verified, from any copy, and stores it anew. Raises StorageError.
    """
    store.forget()
    recover(store)
    replaced = []
    for pack in store.packs():
        bad = {raw for damage in _check_pack(store, pack) for raw in (_raws(damage) or [b""])}
        if bad and not _mend_pack(store.layout, pack, bad):
            replaced.append(pack)
    moved = _condemn_and_rescue(store, replaced, store_again)
    aside = [pack.path for pack in replaced]
    packs = {pack.path for pack in store.packs()}
    aside += [one.path.with_suffix(".idx") for one in _check_lonely_indexes(store, packs)]
    for digest, path in store.layout.loose_files():
        with suppress(OSError):
            if fault_of(store.loose_copy(digest, path)):
                aside.append(path)
    for path in [*moved, *aside]:
        if path.exists():
            store.layout.set_aside(path)
    store.forget_listing()
    return aside


def _condemn_and_rescue(
    store: Holdings, packs: list[Pack], store_again: Callable[[Digest], None]
) -> list[Path]:
    """Take packs out of their places without losing what only they have; where they are now.

    Bytes are proven by their own digest, entries by their check: so an object may be readable in a
    pack although its entry is not whole and was not copied. While the pack is condemned it is
    still read, and does not count as held: what no other file has is stored anew.
    """
    held = [Digest.from_bytes(raw) for pack in packs for raw, _ in pack.tables.objects()]
    if packs:
        make_directories(store.layout.condemned)
    moved = [store.layout.condemn(pack.path, int(time.time())) for pack in packs]
    store.forget_listing()
    for digest in held:
        if not store.is_sound(digest):
            with suppress(CorruptData, MissingBytes):  # then this is what was damaged
                store_again(digest)
    return moved


def _raws(damage: Damage) -> list[bytes]:
    return [digest.raw for digest in damage.digests]


def _mend_pack(layout: Layout, pack: Pack, bad: set[bytes]) -> bool:
    """Publish what is whole in a pack as a new one; whether that took the place of the old one."""
    with storage_errors(pack.path, "read"), pack.opened() as descriptor:
        tables, _ = walk(descriptor, resync=True)
    whole = Pack(pack.path, tables)
    with ChunkSource(whole, list) as source:
        spans = [
            span
            for span in whole.spans(gaps=True)
            if span.digest not in bad
            or (
                span.is_chunk
                and (row := whole.find_chunk(span.digest)) is not None
                and source.holds(whole, span.digest, row)
            )
        ]
    made = rewrite(layout, whole, spans) if any(not span.is_chunk for span in spans) else None
    return made == pack.path


def recover(store: Holdings) -> list[Digest]:
    """Publish and clean up what interrupted processes left: see `Store.recover`."""
    saved: list[Digest] = []
    for path in store.layout.abandoned():
        if store.layout.is_ours(path):
            saved += salvage(store.layout, path)
    store.forget_listing()
    for pack in store.packs():
        if pack.tables and pack.index_fault:
            saved += _index_again(store.layout, pack)
    store.forget_listing()
    return [digest for digest in saved if _is_readable(store, [digest])]


def is_unfinished(layout: Layout) -> bool:
    """Whether dead writers left something to `recover`: two listings, no file is opened."""
    names = frozenset(layout.pack_files())
    packs = (name for name in names if name.endswith(".pack"))
    lacks_index = any(name.removesuffix("pack") + "idx" not in names for name in packs)
    return lacks_index or next(layout.abandoned(), None) is not None


def _damage_of(store: Holdings, copy: Copy) -> Iterator[Damage]:
    """The damage of one copy, if any."""
    if reason := fault_of(copy):
        digests = (copy.stored.digest,)
        yield Damage(digests, copy.path, reason, _is_readable(store, digests))


def _is_readable(store: Holdings, digests: Iterable[Digest]) -> bool:
    """Whether each of the digests has a good copy."""
    return all(any(fault_of(copy) is None for copy in store.copies(one)) for one in digests)


def _check_pack(store: Holdings, pack: Pack) -> Iterator[Damage]:
    """Everything wrong with a pack: its index, its objects' bytes, its entries' headers.

    Verifying objects leaves a few bytes of the pack unread (checks, the header of the pack). So
    the index is also made again from the entries, and must be the one that names the pack.
    """
    try:
        held = sorted(pack.tables.objects(), key=lambda one: one[1].offset)
        with pack.opened() as descriptor:
            index = walk(descriptor, resync=True)[0].encode(os.fstat(descriptor).st_size)
            is_explained = has_header(descriptor) and hash_bytes(index).hex == pack.path.stem
    except (OSError, StorageError) as error:
        yield Damage((), pack.path, f"the pack cannot be read: {error}", readable=False)
        return
    if pack.index_fault:
        digests = tuple(Digest.from_bytes(raw) for raw, _ in held)
        path = pack.path.with_suffix(".idx")
        yield Damage(digests, path, pack.index_fault, _is_readable(store, digests))
    for raw, row in held:
        digest = Digest.from_bytes(raw)
        if pack.find_object(raw) is None:
            reason: str | None = "the pack ends before the object"
        else:
            reason = fault_of(store.pack_copy(pack, digest, row))
        if reason:
            is_explained = True
            yield Damage((digest,), pack.path, reason, _is_readable(store, [digest]))
    if not is_explained:
        yield Damage((), pack.path, "the pack is not what its name says", readable=True)


def _check_lonely_indexes(store: Holdings, packs: set[Path]) -> Iterator[Damage]:
    """Indexes whose pack is gone: what they list was held once."""
    condemned = {one.name for one in store.layout.condemned_files()}
    for path in listed(store.layout.packs):
        pack = path.with_suffix(".pack")
        if path.suffix == ".idx" and pack not in packs and pack.name not in condemned:
            digests: tuple[Digest, ...] = ()
            with suppress(CorruptData, OSError):
                digests = tuple(Digest.from_bytes(raw) for raw, _ in PackIndex.open(path).objects())
            yield Damage(digests, pack, "the pack is missing", _is_readable(store, digests))


def salvage(layout: Layout, path: Path) -> list[Digest]:
    """Publish the whole objects in an abandoned temporary file, or remove it.

    Another process may do the same at the same time. Both find the same entries, so who comes
    second finds the file gone and has nothing to do.
    """
    try:
        if path.suffix == ".pack":
            return _salvage_pack(layout, path)
        if path.suffix == ".loose":
            digest = Digest.parse("blake3:" + path.stem.rpartition("+")[2])
            if hash_file(path) == digest:
                layout.publish_loose(path, digest)
                return [digest]
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    with storage_errors(path):
        path.unlink(missing_ok=True)
    return []


def _salvage_pack(layout: Layout, path: Path) -> list[Digest]:
    """Cut an abandoned pack behind its last whole entry; publish it if it has objects."""
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            tables, end = walk(descriptor, resync=False)
            objects = [Digest.from_bytes(raw) for raw, _ in tables.objects()]
            if not objects or not has_header(descriptor):
                path.unlink(missing_ok=True)
                return []
            os.ftruncate(descriptor, end)
            os.fchmod(descriptor, 0o444 & os.fstat(descriptor).st_mode)
            flush_to_disk(descriptor)
        finally:
            os.close(descriptor)
    layout.publish_pack(path, tables.encode(end))
    return objects


def _index_again(layout: Layout, pack: Pack) -> list[Digest]:
    """Make the index of a pack anew from its whole entries.

    A damaged pack takes the name of its new index. Its damaged entries stay in the file, but not
    in that index, so that they no longer look as if they were held.
    """
    with storage_errors(pack.path, "read"), pack.opened() as descriptor:
        tables, _ = walk(descriptor, resync=True)
        index = tables.encode(os.fstat(descriptor).st_size)
    objects = [Digest.from_bytes(raw) for raw, _ in tables.objects()]
    if not objects:
        return []
    layout.prepare()
    layout.index_again(pack.path, index)
    return objects
