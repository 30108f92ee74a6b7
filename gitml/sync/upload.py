"""Bytes to a remote: what it lacks of the objects that are needed, and nothing else.

A pack of the store goes as it is where all that is in it is needed; else the entries that are
needed go as a pack of their own, so that nobody's experiments are published on the way. Everything
is verified before it is sent. What was sent before a connection broke is there, part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, MissingBytes
from gitml.frozen import Frozen
from gitml.fs import storage_errors
from gitml.remotes.base import PART, FilePart
from gitml.store import parts
from gitml.store.digest import hash_bytes, hash_file
from gitml.store.layout import discard
from gitml.store.lookup import SmallBlobs
from gitml.store.pack import Pack
from gitml.store.repack import extract
from gitml.store.store import Store
from gitml.sync.catalogue import Catalogue, Part, Sheet, Whereabouts, fanned, where_key
from gitml.sync.needs import Need


class Sent(Frozen):
    """What an upload did: objects that are there now and were not, and bytes that went over."""

    objects: int = 0
    size: int = 0


Moved = Callable[[int, int], None]
"""Hears of bytes: how many have just gone, and how many there are in all."""


@dataclass
class _Shelf:
    """What is needed of one pack of the store: raw digests of objects and of chunks."""

    pack: Pack
    objects: set[bytes] = field(default_factory=set)
    chunks: set[bytes] = field(default_factory=set)
    name: str = ""


@dataclass
class Uploader:
    """Sends objects of a store to a remote."""

    store: Store
    catalogue: Catalogue
    moved: Moved = lambda done, whole: None
    _shelves: list[_Shelf] = field(default_factory=list)
    _homes: dict[bytes, set[int]] = field(default_factory=dict)
    _loose: dict[bytes, Path] = field(default_factory=dict)
    _there: dict[bytes, str] = field(default_factory=dict)

    def missing(self, needs: Mapping[Digest, Need]) -> dict[Digest, Need]:
        """Those that the remote lacks."""
        held = self.catalogue.holds(needs)
        return {digest: need for digest, need in needs.items() if digest not in held}

    def check(self, needs: Mapping[Digest, Need]) -> None:
        """Raise MissingBytes unless the store has these objects; nothing is read or sent."""
        for need in needs.values():
            self._members(need)

    def send(self, needs: Mapping[Digest, Need]) -> Sent:
        """Put objects there, each with all that it is made of, and confirm it.

        Raises MissingBytes, with nothing sent, where the store lacks some of them; CorruptData
        where what it has is damaged; what the remote raises.
        """
        if not needs:
            return Sent()
        members = {digest: self._members(need) for digest, need in needs.items()}
        self._choose({raw for listed in members.values() for raw in listed})
        self._follow_chunks()
        self.catalogue.check_format(write=True)
        with ExitStack() as stack:
            sheets = self._packs(stack)
            files = {Digest.from_bytes(raw): path for raw, path in self._loose.items()}
            sent = self._put_all(sheets, files)
        found = {digest: self._where(listed) for digest, listed in members.items()}

        self.catalogue.remote.put_all((where_key(one), w.encode()) for one, w in found.items())
        self.catalogue.remember(found)
        return Sent(len(found), sent)

    # What is needed, and where it is here

    def _members(self, need: Need) -> list[bytes]:
        """An object and, of a tree, its files; raises MissingBytes."""
        try:
            if need.kind != "tree":
                if not self.store.has(need.digest):
                    raise MissingBytes(f"{need.digest} is not in this store")
                return [need.digest.raw]
            digests = self.store.read_tree(need.digest).columns.digests
        except MissingBytes as error:
            raise MissingBytes(
                f"the bytes of {need.where} are neither here nor on {self.catalogue.remote.url}",
                hint="`gitml push` where they were made brings them there",
            ) from error
        return [need.digest.raw, *(digests[at : at + 32] for at in range(0, len(digests), 32))]

    def _choose(self, wanted: set[bytes]) -> None:
        """Give each object a place: a pack there, one here, or a loose file."""
        left = set(wanted)
        for name, (_, index) in self.catalogue.known_sheets().items():
            chunks = {raw for raw, _ in index.chunks() if raw in left}
            here = {raw for raw, _ in index.objects() if raw in chunks}
            self._there.update(dict.fromkeys(here, name))
            left -= here
        confirmed = self.catalogue.stat_sheets(set(self._there.values()))
        for raw in [raw for raw, name in self._there.items() if name not in confirmed]:
            del self._there[raw]
            left.add(raw)
        for pack in self.store.packs():
            found = {raw for raw, _ in pack.tables.objects() if raw in left} if left else set()
            if found:
                for raw in found:
                    self._homes[raw] = {len(self._shelves)}
                self._shelves.append(_Shelf(pack, found))
                left -= found
        for raw in left:
            path = self.store.layout.loose(Digest.from_bytes(raw))
            if not path.is_file():
                raise MissingBytes(
                    f"{Digest.from_bytes(raw)} is neither here nor on {self.catalogue.remote.url}",
                    hint="`gitml fsck` names what is lost, and what may bring it back",
                )
            self._loose[raw] = path

    def _follow_chunks(self) -> None:
        """Which chunks the objects are made of, in whatever packs, with the bases of deltas."""
        packs = self.store.packs()
        for number in range(len(self._shelves)):
            shelf = self._shelves[number]
            own = {raw for raw, _ in shelf.pack.tables.chunks()}
            bases = shelf.pack.has_bases()
            singles = shelf.objects & own
            shelf.chunks |= singles
            for raw in shelf.objects if bases else shelf.objects - singles:
                row = shelf.pack.find_object(raw)
                todo = [] if row is None else parts.names(shelf.pack, raw, row)
                while todo:
                    chunk = todo.pop()
                    place = number if chunk in own else self._place_of(chunk, packs)
                    self._shelves[place].chunks.add(chunk)
                    self._homes[raw].add(place)
                    base = self._shelves[place].pack.base_of(chunk)
                    todo += [base] if base is not None else []

    def _place_of(self, chunk: bytes, packs: Sequence[Pack]) -> int:
        """The shelf of a pack that has a chunk, begun if need be; raises CorruptData."""
        for number, shelf in enumerate(self._shelves):
            if shelf.pack.find_chunk(chunk):
                return number
        for pack in packs:
            if pack.find_chunk(chunk):
                self._shelves.append(_Shelf(pack))
                return len(self._shelves) - 1
        raise CorruptData(f"the chunk blake3:{chunk.hex()} is missing", hint="`gitml fsck`")

    # What goes there

    def _packs(self, stack: ExitStack) -> dict[str, tuple[Path, bytes]]:
        """The packs to be there, by name: file and index; some are made for it in ``tmp/``."""
        found = {}
        for shelf in self._shelves:
            self._verify(shelf)
            pack = shelf.pack
            tables = pack.tables
            is_whole = all(raw in shelf.objects for raw, _ in tables.objects()) and all(
                raw in shelf.chunks for raw, _ in tables.chunks()
            )
            index = pack.path.with_suffix(".idx")
            if is_whole and index.is_file():
                with storage_errors(index, "read"):
                    data = index.read_bytes()
                shelf.name = pack.path.stem
                path = pack.path
            else:
                spans = [
                    one
                    for one in pack.spans(gaps=True)
                    if one.digest in (shelf.chunks if one.is_chunk else shelf.objects)
                ]
                path, data = extract(self.store.layout, pack, spans)
                stack.callback(discard, path)
                shelf.name = hash_bytes(data).hex
            found[shelf.name] = (path, data)
        return found

    def _verify(self, shelf: _Shelf) -> None:
        """Raise CorruptData unless every chunk that goes is what its name says, read now."""
        pack = shelf.pack
        with (
            SmallBlobs([pack], len(shelf.chunks)) as small,
            parts.ChunkSource(pack, self.store.packs) as source,
        ):
            for raw in shelf.chunks:
                if small.read(raw) is None:
                    row = pack.find_chunk(raw)
                    if row is None or not source.holds(pack, raw, row):
                        raise CorruptData(
                            f"blake3:{raw.hex()} is damaged in {pack.path}; nothing was sent",
                            hint="`gitml fsck --repair` heals what can be healed",
                        )

    def _put_all(
        self, packs: Mapping[str, tuple[Path, bytes]], files: Mapping[Digest, Path]
    ) -> int:
        """Parts first, then sheets; how many bytes had to go."""
        for digest, path in files.items():
            if hash_file(path) != digest:
                raise CorruptData(
                    f"{digest} is damaged in {path}; nothing was sent",
                    hint="`gitml fsck --repair` heals what can be healed",
                )
        known = self.catalogue.stat_sheets(packs)
        sheets = {
            f"packs/{name}": (path, Sheet(path.stat().st_size, tuple(_parts(path)), index))
            for name, (path, index) in packs.items()
            if name not in known
        }
        keys = {fanned("files", digest): path for digest, path in files.items()}
        there = self.catalogue.remote.stat(keys) if keys else {}
        for key, path in keys.items():
            if key not in there:
                sheets[key] = (path, Sheet(path.stat().st_size, tuple(_parts(path))))
        wanted = {one.key: (path, one) for path, sheet in sheets.values() for one in sheet.parts}
        held = self.catalogue.stat_parts(part for _, part in wanted.values())
        to_go = [(key, path, part) for key, (path, part) in wanted.items() if key not in held]
        whole = sum(part.length for _, _, part in to_go)

        def put_part(item: tuple[str, Path, Part]) -> None:
            key, path, part = item
            self.catalogue.remote.put(key, FilePart(path, part.start, part.length))
            self.moved(part.length, whole)

        # One by one: together they would be named, and so be there for the next try, at the end.
        list(self.catalogue.at_once(put_part, to_go))
        self.catalogue.remote.put_all((key, sheet.encode()) for key, (_, sheet) in sheets.items())
        for key, (_, sheet) in sheets.items():
            if key.startswith("packs/"):
                self.catalogue.keep_sheet(key.removeprefix("packs/"), sheet.encode())
        return whole

    def _where(self, listed: Iterable[bytes]) -> Whereabouts:
        """What an object with these members is made of, as the remote has it."""
        names: set[str] = set()
        files: set[bytes] = set()
        for raw in listed:
            if raw in self._there:
                names.add(self._there[raw])
            elif raw in self._loose:
                files.add(raw)
            else:
                names.update(self._shelves[place].name for place in self._homes[raw])
        digests = tuple(Digest.from_bytes(raw) for raw in sorted(files))
        return Whereabouts(tuple(sorted(names)), digests)


def _parts(path: Path) -> Iterator[Part]:
    """A file in parts, each with the digest of its bytes; raises StorageError."""
    # Read, not mapped: what is mapped counts as this process's memory, all of it in the end.
    buffer = memoryview(bytearray(PART))
    with storage_errors(path, "read"), path.open("rb", buffering=0) as file:
        start = 0
        while length := _read_fully(file, buffer):
            yield Part(hash_bytes(buffer[:length]), start, length)
            start += length


def _read_fully(file: FileIO, buffer: memoryview) -> int:
    """Fill the buffer, but for the end of the file; how many bytes that were."""
    length = 0
    while count := file.readinto(buffer[length:]):
        length += count
    return length
