"""Collecting what nothing names any more: condemned first, deleted when its time is up.

Who calls says which objects are live; this module decides file by file. A pack or loose file that
holds nothing live and was neither written nor relied upon for the time of grace is *condemned*:
renamed into ``condemned/``, where readers still find it and writers do not take it for held. A
later collection puts back what has become live, and deletes what has been condemned for the time
of grace. A pack that is mostly dead is rewritten before it is condemned.

A file goes through `Collector._take_out` alone: out of its place first, and then one more look at
its times. `lease.Lease` is the other half of that bargain.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, GitmlError, Locked, StorageError
from gitml.fs import make_directories, storage_errors, sync_directory
from gitml.store import parts
from gitml.store.holdings import Holdings
from gitml.store.layout import Condemned, Layout, discard, listed
from gitml.store.pack import Pack, Span, walk
from gitml.store.packformat import BLOB
from gitml.store.repack import rewrite
from gitml.store.repair import salvage

GRACE = 14 * 24 * 3600.0
"""Seconds for which what nothing names stays in its place, and then stays condemned."""

HALF_DEAD = 0.5
"""The share of dead bytes from which on a pack is rewritten."""


@dataclass(frozen=True, slots=True)
class Act:
    """What was done to a file, or would be.

    ``deed`` is "deleted", "condemned", "rewritten", "restored" or "left"; ``kind`` is "pack",
    "loose", "damaged" (what a repair has set aside) or "temporary"; ``size`` in bytes (of a pack
    with its index) is what the deed concerns, of one that was rewritten what is left of it. ``why``
    adds to it what is not plain.
    """

    deed: str
    kind: str
    name: str
    size: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, or would do, and how the store stands behind it, in bytes.

    ``freed`` is what the disk got back, ``kept`` what stands in its place (``young`` of it only
    because it is within the grace or in flight), ``condemned`` what waits for its time, which is
    up at ``until`` at the latest (seconds since the epoch; None if nothing waits). ``unlisted`` are
    folders that are named and whose lists of files are nowhere; for them ``spared`` is kept of what
    nothing else names.
    """

    acts: tuple[Act, ...]
    freed: int
    kept: int
    young: int
    condemned: int
    until: float | None
    unlisted: int = 0
    spared: int = 0


def blobs(store: Holdings) -> dict[bytes, int]:
    """All that a list of files could name, with its stored bytes: each blob, condemned ones too."""
    found: dict[bytes, int] = {}
    for pack in (*store.condemned_packs(), *store.packs()):
        rows = ((raw, row) for raw, row in pack.tables.objects() if row.kind == BLOB)
        found.update((raw, row.stored) for raw, row in rows)
    files = {Digest(one.name): one.path for one in store.layout.condemned_files() if _is_loose(one)}
    for digest, path in (*files.items(), *store.layout.loose_files()):
        found[digest.raw] = _size(path)
    return found


def collect(
    store: Holdings,
    mark: Callable[[], Set[bytes]],
    *,
    grace: float,
    now: float | None = None,
    dry_run: bool = False,
) -> Collection:
    """Condemn what is not live, delete what has been condemned for ``grace`` seconds.

    ``mark`` gives the digests of all live objects, of the members of live trees too; what it raises
    comes out, with nothing changed. With a grace of 0 both happens at once. What was written or
    relied upon since a writer began that is still at work is left alone, whatever the grace.
    ``now`` is for tests; by default it is the time of the store's own file system. Works on a full
    disk. Raises Locked while another collection runs, and StorageError.
    """
    store.layout.check_format()
    if not store.root.is_dir():
        return Collection((), 0, 0, 0, 0, None)
    with _alone(store.layout, dry_run=dry_run) as clock:
        # Before the marks: who names its bytes in git and ends before we act may have come too late
        # for the marks, but then not too early for this.
        at = clock if now is None else now
        begun = min([at, *store.layout.writers()])
        return Collector(store, mark(), grace, at, begun, dry_run).run()


def restore(store: Holdings) -> list[Act]:
    """Put everything that is condemned back in its place, as if it had been written now."""
    acts = []
    with _alone(store.layout, dry_run=False):
        for one in store.layout.condemned_files():
            if not one.name.endswith(".idx"):
                size = _size(one.path)
                store.layout.bring_back(one.path)
                store.layout.freshen(store.layout.place_of(one.name))
                acts.append(Act("restored", _kind(one.name), _stem(one.name), size))
    store.forget_listing()
    return acts


@contextmanager
def _alone(layout: Layout, *, dry_run: bool) -> Iterator[float]:
    """Keep other collections out for the block; gives the time by the store's file system.

    The lock is the system's, so that none is left by a process that was killed.
    """
    if dry_run:
        yield time.time()
        return
    make_directories(layout.condemned)
    with storage_errors(layout.condemned):
        descriptor = os.open(layout.condemned, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(
                "another gc is at work in this store", hint="it does the same: wait for it"
            ) from error
        with storage_errors(layout.condemned):
            os.utime(descriptor)
            yield os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


@dataclass
class Collector:
    """One collection. ``acts`` grows while it works; with ``dry_run`` nothing else changes.

    ``begun`` is when it began, or the first of the writers that were at work then.
    """

    store: Holdings
    live: Set[bytes]
    grace: float
    now: float
    begun: float
    dry_run: bool
    acts: list[Act] = field(default_factory=list)
    freed: int = 0
    _young: set[Path] = field(default_factory=set)
    _young_objects: set[bytes] = field(default_factory=set)
    _chunks: set[bytes] = field(default_factory=set)
    _packs: list[Pack] = field(default_factory=list)
    _condemned: dict[Path, Pack] = field(default_factory=dict)
    _rewritten: set[str] = field(default_factory=set)
    _unknown: dict[bytes, Pack] = field(default_factory=dict)

    @property
    def cutoff(self) -> float:
        """What was written or relied upon since then is left alone."""
        return min(self.now - self.grace, self.begun)

    def run(self) -> Collection:
        """Look, then act: rewritten and condemned first, deleted last."""
        layout = self.store.layout
        self._packs = self.store.packs()
        self._tidy()
        self.store.forget_listing()
        self._packs = self.store.packs()
        self._judge_ages()
        self._gather_chunks()
        self._return_the_living()
        for pack in self._packs:
            self._pack(pack)
        for digest, path in layout.loose_files():
            if not self._is_young(path) and digest.raw not in self.live:
                self._condemn(path, "loose", digest.hex)
        self._settle()
        self._delete()
        self.store.forget_listing()
        return self._result()

    # What is needed

    def _judge_ages(self) -> None:
        """A young pack is kept whole, so what is in it counts as live."""
        for pack in self._packs:
            if self._is_young(pack.path):
                self._young_objects.update(raw for raw, _ in pack.tables.objects())

    def _gather_chunks(self) -> None:
        """The chunks of all objects that are wanted, wherever they are, and their bases."""
        everywhere = [*self._packs, *self.store.condemned_packs()]
        todo = [part for pack in everywhere for part in self._parts(pack)]
        for raw, pack in self._unknown.items():
            if not self.store.is_sound(Digest.from_bytes(raw)):
                raise CorruptData(
                    f"{Digest.from_bytes(raw)} is damaged in {pack.path}, so that nobody knows what"
                    " it needs; nothing was deleted",
                    hint="`gitml fsck --repair` heals what can be healed",
                )
        has_bases = [pack for pack in everywhere if pack.has_bases()]
        while todo:
            chunk = todo.pop()
            if chunk in self._chunks:
                continue
            self._chunks.add(chunk)
            todo += (base for pack in has_bases if (base := pack.base_of(chunk)))

    def _parts(self, pack: Pack) -> Iterator[bytes]:
        for raw, row in pack.tables.objects():
            if self._wants_object(raw):
                try:
                    yield from parts.names(pack, raw, row)
                except (CorruptData, OSError):
                    self._unknown[raw] = pack

    def _wants_object(self, raw: bytes) -> bool:
        return raw in self.live or raw in self._young_objects

    def _wants(self, span: Span) -> bool:
        return span.digest in self._chunks if span.is_chunk else self._wants_object(span.digest)

    def _is_young(self, path: Path) -> bool:
        """Whether a file was written or relied upon within the grace or by somebody at work.

        A loose file may be a link to a user's file, with that one's times; when it became one is
        told by the time of its last change of any kind.
        """
        try:
            at = self.store.layout.used_at(path)
            if path.parent != self.store.layout.packs:
                at = max(at, path.stat().st_ctime)
        except FileNotFoundError:
            return True
        is_young = at >= self.cutoff or self._is_of_a_used_folder(path)
        if is_young:
            self._young.add(path)
        return is_young

    def _is_of_a_used_folder(self, path: Path) -> bool:
        """Whether somebody relies on loose files beside this one, or on this one."""
        return self.store.layout.folder_used_at(path.parent) >= self.begun

    # What stands

    def _pack(self, pack: Pack) -> None:
        """Keep, rewrite or condemn one pack."""
        if pack.path in self._young or not pack.path.exists():
            return
        name, size = pack.path.stem, _size(pack.path)
        try:
            spans = pack.spans()
        except (CorruptData, OSError):
            if self._holds_wanted(pack):
                self.acts.append(Act("left", "pack", name, size, "damaged: `gitml fsck`"))
            else:
                self._condemn(pack.path, "pack", name)
            return
        wanted = sum(span.end - span.start for span in spans if self._wants(span))
        if not wanted:
            self._condemn(pack.path, "pack", name)
        elif wanted <= (1 - HALF_DEAD) * spans[-1].end:
            self._rewrite(pack, [span for span in spans if self._wants(span)])

    def _rewrite(self, pack: Pack, wanted: list[Span]) -> None:
        name, size = pack.path.stem, _size(pack.path)
        new_size = sum(span.end - span.start for span in wanted)
        if not self.dry_run:
            try:
                made = rewrite(self.store.layout, pack, wanted)
                if made == pack.path:
                    return
                new_size = _size(made)
            except GitmlError as error:
                reason = (error.causes() or [error.message])[0]
                self.acts.append(Act("left", "pack", name, size, f"not rewritten: {reason}"))
                return
        self._rewritten.add(name)
        self.acts.append(Act("rewritten", "pack", name, new_size, f"of {size} bytes"))
        if not self.grace:  # the old one goes at once
            self.freed -= new_size
        self._condemn(pack.path, "pack", name)

    def _holds_wanted(self, pack: Pack) -> bool:
        tables = pack.tables
        return any(self._wants_object(raw) for raw, _ in tables.objects()) or any(
            raw in self._chunks for raw, _ in tables.chunks()
        )

    def _condemn(self, path: Path, kind: str, name: str) -> None:
        size = _size(path)
        if self.dry_run and not self.grace:
            self.freed += size
            self.acts.append(Act("deleted", kind, name, size))
        elif self.dry_run or self._take_out(path):
            self.acts.append(Act("condemned", kind, name, size))

    def _take_out(self, path: Path) -> bool:
        """Whether a file is condemned: not if somebody came to rely on it since it was judged.

        Whoever does that notes the time on the file in its place, and sees if it is not there.
        """
        layout = self.store.layout
        try:
            before = path.stat()
            there = layout.condemn(path, int(self.now))
            now = there.stat()
        except FileNotFoundError:
            return False
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        changed = (before.st_ino, before.st_mtime_ns) != (now.st_ino, now.st_mtime_ns)
        changed = changed or now.st_mtime >= self.cutoff  # noted since its age was judged
        with suppress(FileNotFoundError):
            used = Path(f"{path}.used").stat().st_mtime
            changed = changed or used >= self.cutoff
        if changed or self._is_of_a_used_folder(path):
            layout.bring_back(there)
            self._young.add(path)
            return False
        return True

    def _settle(self) -> None:
        """Make the moves durable before anything is deleted on their account."""
        if self.dry_run or not self.acts:
            return
        layout = self.store.layout
        condemned = {one.name for one in layout.condemned_files()}
        for path in listed(layout.packs):  # who recovers may have made an index of a pack in motion
            is_lonely = path.suffix == ".idx" and not path.with_suffix(".pack").exists()
            if is_lonely and path.with_suffix(".pack").name in condemned:
                discard(path)
        sync_directory(layout.condemned)
        if layout.packs.is_dir():
            sync_directory(layout.packs)

    # What is condemned

    def _return_the_living(self) -> None:
        """Put back what is wanted again and stands nowhere else."""
        layout = self.store.layout
        self._condemned = {pack.path: pack for pack in self.store.condemned_packs()}
        for one in layout.condemned_files():
            if not one.name.endswith(".idx") and self._is_missed(one):
                self.acts.append(
                    Act("restored", _kind(one.name), _stem(one.name), _size(one.path), "in use")
                )
                if not self.dry_run:
                    layout.bring_back(one.path)
                    self.store.forget_listing()
                    self._packs = self.store.packs()
                    self._is_young(layout.place_of(one.name))

    def _is_missed(self, one: Condemned) -> bool:
        if not one.name.endswith(".pack"):
            return bytes.fromhex(one.name) in self.live and not self._stands(one.name)
        pack = next((pack for pack in self.store.condemned_packs() if pack.path == one.path), None)
        if pack is None:
            return False
        objects = (raw for raw, _ in pack.tables.objects() if self._wants_object(raw))
        chunks = (raw for raw, _ in pack.tables.chunks() if raw in self._chunks)
        return not (
            all(self._stands(raw.hex()) for raw in objects)
            and all(any(p.find_chunk(raw) for p in self._packs) for raw in chunks)
        )

    def _stands(self, name: str) -> bool:
        """Whether an object has a copy in its place, whole or not."""
        raw = bytes.fromhex(name)
        loose = self.store.layout.loose(Digest(name))
        return any(pack.find_object(raw) for pack in self._packs) or (
            loose.exists() and loose.stat().st_size > 0
        )

    def _delete(self) -> None:
        """Delete what has been condemned for the time of grace, unless it is the last good copy."""
        layout = self.store.layout
        self.store.forget_listing()
        self._packs = self.store.packs()
        self._condemned = {pack.path: pack for pack in self.store.condemned_packs()}
        returned = {act.name for act in self.acts if act.deed == "restored"}  # on paper: a dry run
        due = [
            one
            for one in layout.condemned_files()
            if one.since <= self.now - self.grace and _stem(one.name) not in returned
        ]
        names = {one.path.name for one in layout.condemned_files()}
        for path, since in layout.set_aside_files():
            if since <= self.now - self.grace:
                name = _stem(path.name.partition("+")[2])
                self.acts.append(Act("deleted", "damaged", name, _size(path)))
                self._remove(path)
        for one in due:
            if one.name.endswith(".idx"):
                if one.path.with_suffix(".pack").name not in names:
                    self._remove(one.path)
                continue
            if self._is_last_good_copy(one):
                kind, name = _kind(one.name), _stem(one.name)
                self.acts.append(Act("restored", kind, name, _size(one.path), "its copy is bad"))
                if not self.dry_run:
                    layout.bring_back(one.path)
                continue
            self.acts.append(Act("deleted", _kind(one.name), _stem(one.name), _size(one.path)))
            self._remove(one.path)
            if one.name.endswith(".pack"):
                self._remove(one.path.with_suffix(".idx"))
            place = layout.place_of(one.name)
            if not self.dry_run and not place.exists():
                discard(Path(f"{place}.used"))

    def _is_last_good_copy(self, one: Condemned) -> bool:
        """Whether live objects in a condemned file have no whole copy in its place.

        All is read now, but for what was rewritten, and read back, just before.
        """
        if _stem(one.name) in self._rewritten:
            return False
        if not one.name.endswith(".pack"):
            raw = bytes.fromhex(one.name)
            return self._wants_object(raw) and not self.store.is_sound(Digest(one.name))
        pack = self._condemned[one.path]
        objects = (raw for raw, _ in pack.tables.objects() if self._wants_object(raw))
        chunks = (raw for raw, _ in pack.tables.chunks() if raw in self._chunks)
        return not (
            all(self.store.is_sound(Digest.from_bytes(raw)) for raw in objects)
            and all(any(p.holds_whole(raw) for p in self._packs) for raw in chunks)
        )

    def _remove(self, path: Path) -> None:
        with storage_errors(path), suppress(FileNotFoundError):
            size = path.stat().st_size
            if not self.dry_run:
                path.unlink()
            self.freed += size

    # What was left behind

    def _tidy(self) -> None:
        """Remove what dead processes left in ``tmp/``; publish what is live and only there."""
        layout = self.store.layout
        for path in layout.abandoned():
            with suppress(FileNotFoundError):
                at, size = path.stat().st_mtime, _size(path)
                holds_bytes = path.suffix in (".pack", ".loose")
                if holds_bytes and at >= self.cutoff:
                    continue
                if holds_bytes and self._is_missed_in(path):
                    self.acts.append(Act("restored", "temporary", path.name, size, "in use"))
                    if not self.dry_run:
                        salvage(layout, path)
                    continue
                self.acts.append(Act("deleted", "temporary", path.name, size))
                self._remove(path)

    def _is_missed_in(self, path: Path) -> bool:
        """Whether a temporary file holds a live object that stands nowhere."""
        if path.suffix == ".loose":
            raws = [bytes.fromhex(path.stem.rpartition("+")[2])]
        else:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                raws = [raw for raw, _ in walk(descriptor, resync=False)[0].objects()]
            finally:
                os.close(descriptor)
        return any(raw in self.live and not self._stands(raw.hex()) for raw in raws)

    def _result(self) -> Collection:
        layout = self.store.layout
        condemned = layout.condemned_files()
        kept = {path: path.stat().st_size for path in _standing(layout)}
        young = sum(_size(path) for path in self._young if path.exists())
        waiting = sum(_size(one.path) for one in condemned if not one.name.endswith(".idx"))
        until = max((one.since + self.grace for one in condemned), default=None)
        kept_bytes = sum(kept.values())
        if self.dry_run:
            moved = self._sum("condemned")
            kept_bytes += self._sum("restored") + self._sum("rewritten") - moved
            waiting += moved - self._sum("restored")
            if self.grace:
                waiting -= self._sum("deleted")
            else:
                kept_bytes -= self._sum("deleted") - waiting
                waiting = 0
            until = self.now + self.grace if moved else until
        return Collection(
            self._told(), self.freed, kept_bytes, young, waiting, until if waiting else None
        )

    def _sum(self, deed: str) -> int:
        return sum(a.size for a in self.acts if a.deed == deed and a.kind in ("pack", "loose"))

    def _told(self) -> tuple[Act, ...]:
        """The acts, without the condemning of what was deleted at once."""
        deleted = {act.name for act in self.acts if act.deed == "deleted"}
        return tuple(a for a in self.acts if a.deed != "condemned" or a.name not in deleted)


def _standing(layout: Layout) -> Iterator[Path]:
    yield from (path for path in listed(layout.packs) if path.suffix in (".pack", ".idx"))
    yield from (path for _, path in layout.loose_files())


def _kind(name: str) -> str:
    return "pack" if name.endswith(".pack") else "loose"


def _is_loose(one: Condemned) -> bool:
    return "." not in one.name


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _size(path: Path) -> int:
    """The bytes of a file, of a pack with its index; 0 if it is gone."""
    size = 0
    for one in (path, path.with_suffix(".idx") if path.suffix == ".pack" else None):
        if one is not None:
            with suppress(FileNotFoundError):
                size += one.stat().st_size
    return size
