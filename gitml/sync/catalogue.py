"""What a remote for bytes holds, found by name and never by a listing (docs/format.md, "Remotes").

    format               ``gitml-remote 1``
    parts/ab/cdef…       up to 16 MiB of a pack or file, under the digest of just these bytes
    packs/<name>         the sheet of a pack: a line of JSON with its parts, and its index
    files/ab/cdef…       the sheet of a large blob that is no pack's: a line of JSON
    where/ab/cdef…       of an object that git names: the packs and files that it is made of

They are written in this order, each durable before the next. So where there is a ``where`` there is
all of the object, and who pushes asks for that alone.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gitml.entities import codec
from gitml.entities.ids import Digest
from gitml.errors import (
    AuthenticationFailed,
    ConnectionLost,
    CorruptData,
    GitmlError,
    MissingBytes,
    StorageError,
)
from gitml.frozen import Frozen
from gitml.fs import make_directories
from gitml.remotes.base import PART, Remote
from gitml.store.digest import hash_bytes
from gitml.store.packindex import PackIndex

T = TypeVar("T")
R = TypeVar("R")

FORMAT = b"gitml-remote 1\n"
_MAX_SHEET = 1 << 30
_MAX_WHERE = 64 << 20
_ASKED_AT_ONCE = 500
_SAMPLE = 4


class Part(Frozen):
    """A piece of a file: the digest of its bytes, where it begins, how long it is."""

    digest: Digest
    start: int
    length: int

    @property
    def key(self) -> str:
        """Its key on the remote."""
        return fanned("parts", self.digest)


class Sheet(Frozen):
    """What a remote says of one file: its length and its parts; of a pack also its index."""

    length: int
    parts: tuple[Part, ...]
    index: bytes = b""

    def encode(self) -> bytes:
        """The bytes that are kept."""
        document = {
            "format": 1,
            "length": self.length,
            "parts": [str(one.digest) for one in self.parts],
        }
        return codec.dump_line(document).encode() + b"\n" + self.index

    @classmethod
    def decode(cls, data: bytes, where: str) -> Sheet:
        """The sheet in some bytes; raises CorruptData naming ``where``."""
        line, _, index = data.partition(b"\n")
        document = codec.parse(line, where)
        codec.check_format(document, where)
        length, listed = document.get("length"), document.get("parts")
        if not isinstance(length, int) or not isinstance(listed, list) or length < 0:
            raise CorruptData(f"{where} does not say what it stands for")
        starts = range(0, length, PART)
        if len(starts) != len(listed) or not all(isinstance(one, str) for one in listed):
            raise CorruptData(f"{where} has {len(listed)} parts for {length} bytes")
        parts = (
            Part(Digest.parse(one), start, min(PART, length - start))
            for one, start in zip(listed, starts, strict=True)
        )
        return cls(length, tuple(parts), index)


class Whereabouts(Frozen):
    """Of what an object is made: names of packs, digests of files that are no pack's."""

    packs: tuple[str, ...]
    files: tuple[Digest, ...] = ()

    def encode(self) -> bytes:
        """The bytes that are kept."""
        files = [str(one) for one in self.files]
        return codec.dump_line({"files": files, "format": 1, "packs": list(self.packs)}).encode()

    @classmethod
    def decode(cls, data: bytes, where: str) -> Whereabouts:
        """The whereabouts in some bytes; raises CorruptData."""
        document = codec.parse(data, where)
        codec.check_format(document, where)
        packs, files = document.get("packs"), document.get("files", [])
        if not isinstance(packs, list) or not isinstance(files, list):
            raise CorruptData(f"{where} does not say where anything is")
        return cls(tuple(_pack_name(one, where) for one in packs), tuple(map(Digest.parse, files)))


def fanned(folder: str, digest: Digest) -> str:
    """The key of something that has a digest for its name."""
    return f"{folder}/{digest.hex[:2]}/{digest.hex[2:]}"


def where_key(digest: Digest) -> str:
    """The key that says where an object is."""
    return fanned("where", digest)


class Catalogue:
    """What is known of one remote; what was learnt once is kept below ``folder``.

    Everything on a remote is immutable, so what is remembered stays true unless somebody deletes
    from it by hand; `doubt` notices that. ``sheets`` are those of packs, by name.
    """

    def __init__(self, remote: Remote, folder: Path) -> None:
        self.remote = remote
        self.folder = folder
        self._sheets: dict[str, tuple[Sheet, PackIndex]] = {}
        self._files: dict[Digest, Sheet] = {}
        self._is_read = False
        self._there: set[Digest] | None = None

    # What objects the remote has

    def holds(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of the objects that are there, whole; asks only for what is not known to be."""
        asked = set(digests)
        known = asked & self._known()
        keys = {where_key(one): one for one in asked - known}
        found = {keys[key] for key in self._stat(keys)}
        self.remember(found)
        return known | found

    def remember(self, digests: Iterable[Digest]) -> None:
        """Note that objects are there."""
        new = sorted(set(digests) - self._known())
        if new:
            self._known().update(new)
            with suppress(StorageError, OSError):
                make_directories(self.folder)
                with (self.folder / "there").open("ab") as file:
                    file.write(b"".join(one.raw for one in new))

    def doubt(self) -> None:
        """Ask for some of what is remembered, and forget all of it where one is not there.

        So a remote that was emptied, or that an older copy was put back of, is noticed for the
        price of one question. Where nobody answers, or lets us in, what was known is still known.
        """
        with suppress(OSError):
            with (self.folder / "there").open("rb") as file:
                count = os.fstat(file.fileno()).st_size // 32
                digests = set()
                for at in {*random.sample(range(count), min(count, _SAMPLE - 1)), count - 1}:
                    file.seek(max(at, 0) * 32)
                    digests.add(file.read(32))
            keys = [where_key(Digest.from_bytes(one)) for one in digests if one]
            with suppress(ConnectionLost, AuthenticationFailed):
                if len(self.remote.stat(keys)) < len(keys):
                    self.forget()

    @property
    def tips(self) -> Path:
        """A file for whoever notes commits all of whose bytes are there; `forget` removes it."""
        return self.folder / "tips"

    def forget(self) -> None:
        """Believe nothing that was remembered of what is there."""
        self._there = set()
        with suppress(OSError):
            (self.folder / "there").unlink(missing_ok=True)
            self.tips.unlink(missing_ok=True)

    def _known(self) -> set[Digest]:
        if self._there is None:
            self._there = set()
            with suppress(OSError):
                data = (self.folder / "there").read_bytes()
                whole = range(0, len(data) - len(data) % 32, 32)
                self._there = {Digest.from_bytes(data[at : at + 32]) for at in whole}
        return self._there

    def stat_parts(self, parts: Iterable[Part]) -> set[str]:
        """The keys of those parts that are there in full."""
        wanted = {one.key: one.length for one in parts}
        return {key for key, size in self._stat(wanted).items() if size == wanted[key]}

    def stat_sheets(self, names: Iterable[str]) -> set[str]:
        """The packs whose sheets are there."""
        keys = {f"packs/{name}": name for name in names}
        return {keys[key] for key in self._stat(keys)}

    def _stat(self, keys: Iterable[str]) -> dict[str, int]:
        wanted = list(keys)
        groups = [wanted[at : at + _ASKED_AT_ONCE] for at in range(0, len(wanted), _ASKED_AT_ONCE)]
        found: dict[str, int] = {}
        for one in self.at_once(self.remote.stat, groups):
            found |= one
        return found

    # Where they are

    def whereabouts(self, digests: Sequence[Digest]) -> dict[Digest, Whereabouts]:
        """Where objects are; those that the remote lacks are left out. Raises CorruptData."""

        def look(digest: Digest) -> tuple[Digest, Whereabouts] | None:
            key = where_key(digest)
            try:
                return digest, Whereabouts.decode(self.remote.read(key, _MAX_WHERE), key)
            except MissingBytes:
                return None

        found = dict(one for one in self.at_once(look, digests) if one is not None)
        self.remember(found)
        return found

    def sheet(self, name: str) -> tuple[Sheet, PackIndex]:
        """The sheet of a pack and its index; raises MissingBytes, CorruptData."""
        if name not in self._sheets:
            path = self.folder / "packs" / name
            with suppress(OSError, CorruptData):
                self._sheets[name] = _opened(path.read_bytes(), name)
                return self._sheets[name]
            self.keep_sheet(name, self.remote.read(f"packs/{name}", _MAX_SHEET))
        return self._sheets[name]

    def sheets(self, names: Iterable[str]) -> None:
        """Have the sheets of packs at hand, fetched several at once."""
        list(self.at_once(self.sheet, [one for one in names if one not in self._sheets]))

    def keep_sheet(self, name: str, data: bytes) -> None:
        """Remember the sheet of a pack; raises CorruptData where it is none."""
        self._sheets[name] = _opened(data, name)
        with suppress(StorageError, OSError):
            make_directories(self.folder / "packs")
            (self.folder / "packs" / name).write_bytes(data)  # a torn one is not believed

    def known_sheets(self) -> dict[str, tuple[Sheet, PackIndex]]:
        """The sheets that this clone has seen, by the pack's name."""
        if not self._is_read:
            self._is_read = True
            folder = self.folder / "packs"
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name not in self._sheets:
                    with suppress(OSError, GitmlError):
                        self._sheets[path.name] = _opened(path.read_bytes(), path.name)
        return self._sheets

    def file(self, digest: Digest) -> Sheet:
        """The sheet of a file that is no pack's; raises MissingBytes, CorruptData."""
        if digest not in self._files:
            key = fanned("files", digest)
            self._files[digest] = Sheet.decode(self.remote.read(key, _MAX_WHERE), key)
        return self._files[digest]

    def at_once(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """What ``work`` makes of each item, in order, as many at once as the remote is good for."""
        listed = list(items)
        if len(listed) < 2 or self.remote.capabilities.parallel == 1:
            yield from map(work, listed)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self.remote.capabilities.parallel, "gitml-remote") as threads:
            try:
                yield from threads.map(work, listed)
            finally:
                threads.shutdown(cancel_futures=True)

    def check_format(self, *, write: bool = False) -> None:
        """Refuse a remote of a later version; with ``write`` mark one that is new."""
        try:
            found = self.remote.read("format", 1024)
        except MissingBytes:
            if write:
                self.remote.put("format", FORMAT)
            return
        except CorruptData:
            found = b""
        if found.splitlines()[:1] != [FORMAT.strip()]:
            shown = found.splitlines()[0].decode(errors="replace")[:60] if found else "empty"
            raise StorageError(
                f"{self.remote.url} is a remote that this gitml cannot read: `{shown}`",
                hint="a later version wrote it: `pip install --upgrade gitml`",
            )


def _opened(data: bytes, name: str) -> tuple[Sheet, PackIndex]:
    sheet = Sheet.decode(data, f"packs/{name}")
    if hash_bytes(sheet.index).hex != name:
        raise CorruptData(f"packs/{name} is not what its name says")
    index = PackIndex(sheet.index, Path(f"{name}.idx"))
    if index.pack_length != sheet.length:
        raise CorruptData(f"packs/{name} has parts of another pack")
    return sheet, index


def _pack_name(text: Any, where: str) -> str:
    if not isinstance(text, str) or len(text) != 64 or text.strip("0123456789abcdef"):
        raise CorruptData(f"{where} names something that is no pack: {json.dumps(text)[:80]}")
    return text
