"""The byte store: blobs and trees under their digests, written durably and never trusted.

A name in the store means nothing until size and digest agree: whatever is read is verified, a
damaged copy gives way to a good one, and storing bytes again heals them. Many processes may
write at once without locks, since everything visible is immutable and named by its content.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, StorageError, UsageError
from gitml.fs import are_plain_paths, judge_relative_paths, storage_errors, sync_directory
from gitml.store import arrow, links, repair
from gitml.store import codec as codecs
from gitml.store import tree as trees
from gitml.store.bulk import Packing
from gitml.store.digest import hash_bytes
from gitml.store.directory import (
    SourceFile,
    changed_while_read,
    is_unchanged,
    list_directory,
    raw_name,
)
from gitml.store.holdings import Holdings, described
from gitml.store.knowntrees import KnownTrees, Proof
from gitml.store.large import is_worth_cutting, put_chunks
from gitml.store.layout import discard
from gitml.store.lease import Lease
from gitml.store.links import Links, is_sealed
from gitml.store.members import Member, Members
from gitml.store.ownpacks import OwnPacks
from gitml.store.pack import Pack, PackBuilder, PreparedChunk
from gitml.store.packformat import BLOB, TREE
from gitml.store.parts import Part
from gitml.store.reader import Copy, Reader, StoredObject, Supply
from gitml.store.repair import Damage
from gitml.store.tree import Tree, TreeEntry, judge_link_target
from gitml.store.workers import SLICE

if TYPE_CHECKING:
    from gitml.store.maintenance import Maintenance, Succession

__all__ = ["Damage", "Member", "Store", "StoredObject", "Tree", "TreeEntry", "Writer"]

LARGE = 1024 * 1024
"""From this size on, in bytes, files are cut into chunks: a dozen or more, which versions share."""


class Store(Holdings):
    """The bytes below one root; any number of processes may use it at once.

    Opening one reads nothing, and the root is created at the first write. A store may be used by
    many threads, a `Writer` by one.
    """

    def writer(self) -> Writer:
        """A context manager that stores: all of it at its end, or nothing if it raises.

        What dead writers left is recovered first, as far as this process may: so the same command
        again goes on where a kill stopped it, and leaves nothing of it behind.
        """
        self.tidy()
        return Writer(self)

    def tidy(self) -> None:
        """Finish or remove what dead writers left, as far as this process may."""
        with suppress(StorageError):
            if repair.is_unfinished(self.layout):
                repair.recover(self)

    def objects(self) -> Iterator[StoredObject]:
        """Everything that is held, each digest once, unverified."""
        seen: set[bytes] = set()
        for pack in self.packs():
            for raw, _ in pack.tables.objects():
                row = pack.find_object(raw)
                if row is not None and raw not in seen:
                    seen.add(raw)
                    yield described(Digest.from_bytes(raw), row)
        for digest, path in self.layout.loose_files():
            if digest.raw not in seen:
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    yield StoredObject(digest, "blob", size, size)

    def check(self, digests: Iterable[Digest] | None = None) -> Iterator[Damage]:
        """Read and verify every copy of ``digests``, or of everything that is held.

        Yields what is wrong, copy by copy; an absent digest is damage only if it was asked for.
        Changes nothing: `recover` and storing the same data again are the repairs.
        """
        return repair.check(self, digests)

    def maintain(
        self,
        successions: Iterable[Succession],
        *,
        in_use: Collection[Digest] = (),
        dry_run: bool = False,
    ) -> Maintenance:
        """Store the same in less room and fewer files: see `maintenance.maintain`."""
        from gitml.store import maintenance

        return maintenance.maintain(self, successions, in_use=in_use, dry_run=dry_run)

    def check_some(self, digests: Iterable[Digest]) -> Iterator[Damage]:
        """What `check` finds in these digests, and in everything else without reading all of it."""
        return repair.check_some(self, digests)

    def mend(self) -> list[Path]:
        """Rewrite what is damaged with what is whole in it; the files that were set aside.

        They lie in ``condemned/``, where no reader looks, until `gc` deletes them. What was damaged
        is missing from then on, so heal before. Raises StorageError.
        """
        return repair.mend(self, self._store_again)

    def _store_again(self, digest: Digest) -> None:
        """Store an object anew that only a condemned file has; raises CorruptData if it is bad."""
        # A store of its own: what this one has read and proven was in the file that goes.
        with Store(self.root).writer() as writer:
            if self.info(digest).kind == "tree":
                writer.put_tree(self.read_tree(digest))
                return
            where = self.layout.root
            part = self.layout.write_temporary(".part", lambda to: self._fill(digest, to, where))
            try:
                writer.put_file(part)
            finally:
                discard(part)

    def recover(self) -> list[Digest]:
        """Publish what dead writers left, make missing indexes again, drop other leftovers.

        Gives the digests of the objects that it published, each verified. Running it beside
        writers, or twice at once, is harmless. Raises StorageError.
        """
        return repair.recover(self)


class Writer(Reader):
    """Stores bytes; nothing of it is visible in the store before `commit`.

    A context manager: commits at its end, aborts if the block raises. Until its end gc leaves alone
    what it committed and what it found held: name that in git before. New blobs go to one pack
    file, made at the first of them; large files that do not compress are kept apart. What was
    put can be read through the writer at once. After `commit` it can be used again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lease = Lease(store.layout)
        self._confirmed = 0
        self._packs = OwnPacks(store.layout, self._lease)
        self._loose: dict[Digest, Path] = {}
        self._linked: dict[Digest, SourceFile] = {}
        self._members: list[tuple[Path, Members]] = []

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.commit()
            else:
                self.abort()
        finally:
            self._lease.end()

    def put_bytes(self, data: bytes) -> Digest:
        """Store a blob and give its digest; raises StorageError."""
        digest = hash_bytes(data)
        if not self._is_held(digest):
            self._packs.finish_if_full()
            self._building().add_blob(digest.raw, len(data), *codecs.encode(data))
        return digest

    def put_file(self, path: Path) -> tuple[Digest, int]:
        """Store a file's bytes, in constant memory, and give digest and size in bytes.

        Raises StorageError, also if the file changes while it is read, and UsageError for what
        is no regular file.
        """
        with SourceFile(path) as source:
            return self._put_source(source)

    def put_directory(self, path: Path) -> tuple[Digest, int]:
        """Store the files and links below a folder as a tree; gives its digest and size.

        Empty folders are not kept. Raises UsageError for what cannot be checked out safely again
        (a pipe, a link that leads out, two names that differ in case) and StorageError, also if
        something changes while it is read.
        """
        listing = list_directory(path)
        tree = self.put_members(path, listing.names).tree()
        if not listing.is_unchanged():
            raise changed_while_read(path)
        return self.put_tree(tree), tree.size

    def put_members(self, root: Path, names: Sequence[tuple[str, int]]) -> Members:
        """Store the files and links of a folder that are named with their tree modes.

        Gives an entry and the stat for each, in order; `list_directory` makes such names. With
        hard links `commit` changes files, and the stats with them. Raises
        UsageError for what cannot be checked out safely again (as `put_directory`), and
        StorageError, also for a file that changes while it is read.
        """
        raws = [raw_name(name) for name, _ in names]
        if not are_plain_paths(raws):
            try:
                judge_relative_paths(raws)
            except CorruptData as error:
                raise UsageError(f"cannot store the folder {root}") from error
        members = Members(names)
        hard_links = self._store.links.makes_hard_links
        if len(names) > SLICE:
            packing = Packing(self._store, self._packs, self._lease, root, names, members)
            packing.run(links.LINK_FROM if hard_links else LARGE)
        for row in members.missing():
            members.put(row, *self._put_member(root, *names[row]))
        if hard_links:
            self._members.append((root, members))
        return members

    def put_tree(self, tree: Tree) -> Digest:
        """Store a tree, whose files must be stored by themselves; gives its digest."""
        digest = tree.digest
        if not self._is_held(digest):
            self._packs.finish_if_full()
            data = arrow.encode(tree)
            if self._store.known_trees is not None:
                self._store.known_trees.note(Proof(digest, data))
            parts = self._put_parts(data)
            self._building().add_object(digest.raw, TREE, tree.size, len(tree), parts)
        return digest

    def _put_parts(self, data: bytes) -> list[Part]:
        """Store the stored form of a tree: as one chunk, or cut if it is large."""
        if len(data) >= LARGE:
            view = memoryview(data)
            return put_chunks(
                lambda at, length: bytes(view[at : at + length]),
                len(data),
                self._held_chunks,
                self._add_chunk,
                self._packs.write_ahead,
            ).parts
        chunk = hash_bytes(data).raw
        self._building().add_chunk(chunk, len(data), *codecs.encode(data))
        return [(chunk, len(data))]

    def flush(self) -> None:
        """Let everything put so far survive a kill of this process, though not a power cut."""
        self._packs.flush()

    def commit(self) -> None:
        """Make everything put so far durable, then visible; writes no file if nothing is new.

        Also what was held already is made durable: the process that wrote it may be about to
        do that, but we may be the first to rely on it. Raises StorageError, with nothing of
        this writer visible that is not durable and no temporary file left.
        """
        layout = self._store.layout
        try:
            size = self._lease.size
            relied_on = self._lease.confirm() if size != self._confirmed else set()
            self._packs.finish()
            self._seal()
            for digest in self._loose:
                self._store.links.make_room(digest)
            layout.publish_all_loose(self._loose)
            if self._packs.publish():
                self._store.forget_listing()
            for folder in relied_on:
                sync_directory(folder)
            self._confirmed = size
            for root, members in self._members if self._linked else ():
                members.replace_stats(partial(self._stat_of_link, root))
        finally:
            self.abort()

    def salvage(self) -> None:
        """After an error: publish the objects that `flush` has let survive, forget the others.

        A disk that is full for the next object has room for what is on it already. Raises
        StorageError.
        """
        packs, self._packs = self._packs, OwnPacks(self._store.layout, self._lease)
        self.abort()
        packs.salvage()
        self._store.forget_listing()

    def abort(self) -> None:
        """Forget everything that was not committed and remove its temporary files."""
        self._packs.discard()
        for temporary in self._loose.values():
            discard(temporary)
        self._loose, self._linked, self._members = {}, {}, []

    def _copies(self, digest: Digest) -> Iterator[Copy]:
        for pack in self._packs.all():
            row = pack.find_object(digest.raw)
            if row is not None:
                self.flush()
                yield self._store.pack_copy(pack, digest, row)
        if digest in self._loose:
            yield self._store.loose_copy(digest, self._loose[digest])
        yield from self._store._copies(digest)

    def _absent(self, digests: Iterable[Digest]) -> list[Digest]:
        left = [one for one in digests if one not in self._loose]
        for pack in self._packs.all():
            left = [one for one in left if pack.find_object(one.raw) is None]
        return self._store._absent(left)

    def fate(self, digest: Digest) -> str:
        """What was said of an object that is not here."""
        return self._store.fate(digest)

    def _packs_now(self) -> list[Pack]:
        self.flush()
        return [*self._packs.all(), *self._store.packs()]

    def _links(self) -> Links:
        return self._store.links

    def _supply(self) -> Supply | None:
        return self._store.supply

    def _known_trees(self) -> KnownTrees | None:
        return self._store.known_trees

    def _refresh(self) -> bool:
        return self._store._refresh()

    def _is_own(self, digest: Digest) -> bool:
        """Whether this writer is about to store it."""
        return digest in self._loose or self._packs.holds(digest.raw)

    def _is_held(self, digest: Digest) -> bool:
        """Whether a whole copy is here already; a damaged one does not count."""
        if self._is_own(digest):
            return True
        files = self._store.proven_copy(digest)
        if files is not None and self._lease.keep(files):
            return True
        if files is not None:  # gc has just taken it
            self._store.forget_listing()
        return False

    def rely_on(self, digest: Digest) -> bool:
        """Whether a copy is in the store or this writer, and stays until the writer's block ends.

        By name and size alone, as with `has`. What gc has condemned is put back in its place.
        """
        if self._is_own(digest):
            return True
        for copy in self._store.copies(digest):
            with suppress(CorruptData, OSError):
                if self._lease.keep(self._store.layout.returned(copy.files())):
                    return True
        return False

    def rely_on_all(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those of the digests (32 bytes) of which no copy stays until the writer's block ends.

        As `rely_on` for each, but a pack or a folder of loose files is noted once: thousands of
        small blobs cost no call of the system each, and loose ones a look.
        """
        own = {one.raw for one in self._loose}
        left = [one for one in sorted(set(digests) - own) if not self._packs.holds(one)]
        for pack in self._store.packs() if left else ():
            held = pack.lone_chunks(left)
            if held and self._lease.keep([pack.path]):
                left = [one for one in left if one not in held]
        loose = self._store.layout.loose
        rest = [Digest.from_bytes(one) for one in left]
        rest = [one for one in rest if not self._lease.keep_loose(loose(one))]
        return [one.raw for one in rest if not self.rely_on(one)]

    def _building(self) -> PackBuilder:
        """The pack of this writer, begun if need be."""
        return self._packs.builder()

    def _put_member(self, root: Path, name: str, mode: int) -> tuple[bytes, os.stat_result]:
        """Store one file or link of a directory; its digest and stat."""
        path = root / name
        if mode != trees.SYMLINK:
            with SourceFile(path, follow=False) as source:
                digest, _ = self._put_source(source)
            return digest.raw, source.stat
        with storage_errors(path, "read"):
            before = path.lstat()
            # Not Path.readlink: it would tidy the target up, and these are bytes to keep.
            target = os.readlink(os.fsencode(path))  # noqa: PTH115
            after = path.lstat()
        if not is_unchanged(before, after):
            raise changed_while_read(path)
        try:
            judge_link_target(name, target)
        except CorruptData as error:
            raise UsageError(f"cannot store {path}") from error
        return self.put_bytes(target).raw, before

    def _put_source(self, source: SourceFile) -> tuple[Digest, int]:
        """Store an open file: a small one in one read, a large one in pieces."""
        if self._store.links.takes(source.size):
            digest = self._put_link(source)
            if digest is not None:
                return digest, source.size
        if source.size < LARGE:
            data = source.read_all()
            source.check_unchanged()
            return self.put_bytes(data), source.size
        if not is_worth_cutting(source.read_exactly, source.size):
            return self._put_whole(source), source.size
        self._packs.finish_if_full()
        digest, parts = put_chunks(
            source.read_exactly,
            source.size,
            self._held_chunks,
            self._add_chunk,
            self._packs.write_ahead,
        )
        source.check_unchanged()
        if not self._has_parts(digest, parts):
            self._building().add_object(digest.raw, BLOB, source.size, 0, parts)
        return digest, source.size

    def _put_link(self, source: SourceFile) -> Digest | None:
        """Store an open file as a loose one that shares its blocks, if it can be shared."""
        self._lease.begin()
        taken = self._store.links.take_in(source, self._is_held)
        if taken is None:
            return None
        digest, temporary = taken
        if temporary is not None:
            self._loose[digest] = temporary
            self._linked[digest] = source
        return digest

    def _seal(self) -> None:
        """Seal the loose files to be that share their blocks, if they are as they were read."""
        for digest, source in self._linked.items():
            temporary = self._loose[digest]
            with storage_errors(temporary):
                now = temporary.stat()
            if now.st_ino == source.stat.st_ino and not is_unchanged(source.stat, now):
                raise changed_while_read(source.path)
            self._store.links.seal(temporary, digest)

    def _stat_of_link(self, root: Path, member: Member) -> os.stat_result | None:
        """The stat of a member that has become a hard link, unless it was changed since."""
        if member.entry.digest in self._linked:
            with suppress(OSError):
                now = (root / member.entry.path).lstat()
                if now.st_ino == member.stat.st_ino and is_sealed(now, member.entry.digest):
                    return now
        return None

    def _put_whole(self, source: SourceFile) -> Digest:
        """Store an open file as a loose one."""
        layout = self._store.layout
        if self._may_be_held(source.size) and self._is_held(digest := source.digest()):
            source.check_unchanged()
            return digest
        self._lease.begin()
        found: list[Digest] = []
        part = layout.write_temporary(".part", lambda file: found.append(source.copy_to(file)))
        try:
            source.check_unchanged()
            (digest,) = found
            if not self._is_held(digest):
                self._loose[digest] = layout.rename_temporary(part, f"+{digest.hex}.loose")
        finally:
            discard(part)
        return digest

    def _may_be_held(self, size: int) -> bool:
        """Whether a loose file has this size: then it is worth reading a file before copying it."""
        for _, path in chain(self._store.layout.loose_files(), self._loose.items()):
            with suppress(OSError):
                if path.stat().st_size == size:
                    return True
        return False

    def _held_chunks(self, digests: Collection[bytes]) -> set[bytes]:
        """Those of some chunks of which a whole copy is here already; any thread may ask."""
        own = self._packs.all()
        held = {digest for digest in digests if any(pack.find_chunk(digest) for pack in own)}
        proven = self._store.proven_chunks(digest for digest in digests if digest not in held)
        return held | {digest for digest, files in proven.items() if self._lease.keep(files)}

    def _add_chunk(self, chunk: PreparedChunk) -> None:
        self._building().add_prepared(chunk)

    def _has_parts(self, digest: Digest, parts: list[Part]) -> bool:
        """Whether a pack lists just these parts, all of which are held, as this object."""
        for pack in self._packs_now():
            row = pack.find_object(digest.raw)
            with suppress(CorruptData, OSError):
                if row is not None and pack.parts(digest.raw, row) == parts:
                    return pack in self._packs.all() or self._lease.keep([pack.path])
        return False
