"""Objects: read through one ``git cat-file`` process, built in memory, stored as one pack."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, cast

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData, MissingBytes, StorageError
from gitml.frozen import Frozen
from gitml.fs import ProcessIdentity, hint_in, sync_directory
from gitml.git.process import Git, GitFailed

_TYPES = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_REF_DELTA = 7
_LONELY_SECONDS = 3600
_KEPT_BY = "gitml "

EMPTY_TREE = ObjectId("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
"""The tree of no files, which every repository has."""
FILE = 0o100644
FOLDER = 0o040000


class Commit(Frozen):
    """A commit: its tree, its parents in order, raw identities with dates, and its message."""

    id: ObjectId
    tree: ObjectId
    parents: tuple[ObjectId, ...]
    author: str
    committer: str
    message: str

    @property
    def time(self) -> int:
        """Seconds since the epoch at which it was committed; raises CorruptData."""
        try:
            return int(self.committer.rsplit(" ", 2)[1])
        except (IndexError, ValueError) as error:
            raise CorruptData(f"the commit {self.id.short} has no date") from error

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]

    def trailers(self) -> list[tuple[str, str]]:
        """The trailers of the last paragraph, in order, as keys and values."""
        *body, last = self.message.rstrip("\n").rsplit("\n\n", 1)
        if not body:
            return []
        pairs = (line.partition(": ") for line in last.splitlines())
        return [(key, value) for key, found, value in pairs if found]


class Tag(Frozen):
    """An annotated tag: the ``name`` in its header, what it tags, its tagger, and its message.

    The tagger is empty in tags that git made before it noted one.
    """

    id: ObjectId
    target: ObjectId
    name: str
    tagger: str
    message: str

    @property
    def seconds(self) -> int:
        """When it was made, since the epoch, as its tagger says; 0 where that is nothing."""
        date = self.tagger.rpartition("> ")[2].partition(" ")[0]
        return int(date) if date.isascii() and date.isdecimal() and len(date) < 16 else 0


class TreeEntry(Frozen):
    """An entry of a git tree: raw name, mode, id."""

    name: bytes
    mode: int
    id: ObjectId

    @property
    def sort_key(self) -> bytes:
        """git sorts a folder as if its name ended with a slash."""
        return self.name + b"/" if self.mode == FOLDER else self.name


class Odb:
    """The repository's objects for reading; one ``git cat-file --batch`` serves all look-ups.

    It ends with `close`, and by itself when nobody holds the ``Odb`` any more.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the process, so that it is up when something is asked of it."""
        if self._process is None:
            self._process = self._git.start("cat-file", "--batch")
            self._ending = weakref.finalize(self, _end, self._process)

    def read(self, spec: str | ObjectId) -> tuple[ObjectId, str, bytes] | None:
        """Id, type and bytes of the object that ``spec`` names; None where there is none.

        ``spec`` is an id or any revision of git's (``HEAD:path``, ``clf@v3^{commit}``). Raises
        CorruptData where git itself fails over the object.
        """
        text = str(spec)
        if "\n" in text or "\0" in text:
            return None
        for _ in range(2):
            try:
                return self._ask(os.fsencode(text))
            except (OSError, ValueError):  # the process is gone: killed, or by a damaged object
                self.close()
        raise CorruptData(f"git cannot read {text[:120]!r}", hint="`git fsck` says what is damaged")

    def _ask(self, spec: bytes) -> tuple[ObjectId, str, bytes] | None:
        self.begin()
        stdin, stdout = self._pipes()
        stdin.write(spec + b"\n")
        stdin.flush()
        header = stdout.readline()
        if not header:
            raise BrokenPipeError
        words = header.split()
        if words[-1] in (b"missing", b"ambiguous") or len(words) != 3:
            return None
        oid, kind, size = header.decode().split()
        data = stdout.read(int(size) + 1)
        if len(data) != int(size) + 1:
            raise BrokenPipeError
        return ObjectId(oid), kind, data[:-1]

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None  # noqa: S101 - for the type checker: it is begun
        return cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)

    def close(self) -> None:
        """End the process; the next look-up starts another."""
        process, self._process = self._process, None
        if process is not None:
            self._ending()

    def __contains__(self, oid: ObjectId) -> bool:
        return self.read(oid) is not None

    def resolve(self, revision: str) -> ObjectId | None:
        """The commit that a revision of git's means, None where it means none."""
        if revision.startswith("-"):
            return None
        found = self.read(revision + "^{commit}")
        return found[0] if found and found[1] == "commit" else None

    def commit(self, oid: ObjectId) -> Commit:
        """The commit with this id; raises MissingBytes where it is absent."""
        return parse_commit(oid, self._expect(oid, "commit"))

    def tag(self, oid: ObjectId) -> Tag:
        """The annotated tag with this id; raises MissingBytes where it is absent."""
        return parse_tag(oid, self._expect(oid, "tag"))

    def tree(self, oid: ObjectId) -> list[TreeEntry]:
        """The entries of a tree, in git's order."""
        try:
            return parse_tree(self._expect(oid, "tree"))
        except ValueError as error:
            raise CorruptData(f"the tree {oid.short} is damaged") from error

    def file(self, commit: ObjectId, path: str) -> bytes | None:
        """The bytes of a file in a commit's tree, None where it has no such file."""
        found = self.read(f"{commit}:{path}")
        return found[2] if found and found[1] == "blob" else None

    def file_at(self, revision: str, path: str) -> bytes | None:
        """The bytes of a file in the tree of a revision, None where there is no such file."""
        found = self.read(f"{revision}:{path}")
        return found[2] if found and found[1] == "blob" else None

    def _expect(self, oid: ObjectId, kind: str) -> bytes:
        found = self.read(oid)
        if found is None:
            raise MissingBytes(
                f"this clone lacks the {kind} {oid.short}",
                hint="in a shallow clone: `git fetch --unshallow`; otherwise `gitml fsck`",
            )
        if found[1] != kind:
            raise CorruptData(f"{oid.short} is a {found[1]}, not a {kind}")
        return found[2]


class CheckedOdb(Odb):
    """Reads as `Odb` does, and believes no object whose bytes do not hash to its id.

    git takes a packed object for what its pack's index says. Raises CorruptData.
    """

    def read(self, spec: str | ObjectId) -> tuple[ObjectId, str, bytes] | None:
        """The object; see `Odb.read`."""
        found = super().read(spec)
        if found is not None and _object_id(found[1], found[2]) != found[0]:
            raise CorruptData(f"the {found[1]} {found[0].short} is not what its id says")
        return found

    def file(self, commit: ObjectId, path: str) -> bytes | None:
        """The bytes of a file in a commit's tree, by way of trees that are hashed as well."""
        oid, kind = self.commit(commit).tree, "tree"
        for part in path.encode().split(b"/"):
            entries = {one.name: one for one in self.tree(oid)} if kind == "tree" else {}
            if part not in entries:
                return None
            oid, kind = entries[part].id, "tree" if entries[part].mode == FOLDER else "blob"
        return self._expect(oid, "blob") if kind == "blob" else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that is talked to through its pipes."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def is_ancestor(git: Git, one: ObjectId | str, other: ObjectId | str) -> bool:
    """Whether ``one`` is ``other`` or an ancestor of it; false where either is not here."""
    return git.process("merge-base", "--is-ancestor", str(one), str(other)).returncode == 0


def parse_commit(oid: ObjectId, data: bytes) -> Commit:
    """The commit in an object's bytes; raises CorruptData."""
    head, _, message = data.decode("utf-8", "surrogateescape").partition("\n\n")
    fields = [line.partition(" ") for line in head.split("\n") if not line.startswith(" ")]
    try:
        values = {key: value for key, _, value in fields}
        parents = tuple(ObjectId(value) for key, _, value in fields if key == "parent")
        return Commit(
            oid, ObjectId(values["tree"]), parents, values["author"], values["committer"], message
        )
    except KeyError as error:
        raise CorruptData(f"the commit {oid.short} has no {error.args[0]}") from error


def parse_tag(oid: ObjectId, data: bytes) -> Tag:
    """The annotated tag in an object's bytes; raises CorruptData."""
    head, _, message = data.decode("utf-8", "surrogateescape").partition("\n\n")
    values = dict(line.split(" ", 1) for line in head.split("\n") if " " in line)
    try:
        tagger = values.get("tagger", "")
        return Tag(oid, ObjectId(values["object"]), values["tag"], tagger, message)
    except KeyError as error:
        raise CorruptData(f"the tag {oid.short} has no {error.args[0]}") from error


def parse_tree(data: bytes) -> list[TreeEntry]:
    """The entries in a tree object's bytes."""
    entries = []
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        oid = ObjectId(data[end + 1 : end + 21].hex())
        entries.append(TreeEntry(data[space + 1 : end], int(data[at:space], 8), oid))
        at = end + 21
    return entries


def blob_id(data: bytes) -> ObjectId:
    """The id that git gives a blob with these bytes."""
    return _object_id("blob", data)


def _object_id(kind: str, data: bytes) -> ObjectId:
    import hashlib  # loads OpenSSL, and who only reads has no use for it

    header = f"{kind} {len(data)}\0".encode()
    return ObjectId(hashlib.sha1(header + data, usedforsecurity=False).hexdigest())


class _Entry(Frozen):
    """An object waiting for its pack; ``base`` is the object that ``data`` is a delta against."""

    type: int
    data: bytes
    base: ObjectId | None = None


class Builder:
    """New objects in memory; dulwich writes them as one pack, git stores it.

    Ids are known at once, so that commits can name one another; nothing is in the repository
    before ``write_pack`` or ``write_loose``.
    """

    def __init__(self, git: Git) -> None:
        self.git = git
        self._entries: dict[ObjectId, _Entry] = {}
        self._bases: dict[int, tuple[ObjectId, bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, oid: ObjectId) -> bool:
        return oid in self._entries

    def blob(self, data: bytes) -> ObjectId:
        """The id of a blob with these bytes."""
        return self._add("blob", data)

    def tree(self, entries: Iterable[TreeEntry], *, like: int | None = None) -> ObjectId:
        """The id of a tree of these entries, sorted here.

        Trees made with an equal ``like`` are stored as deltas of the first of them: the root trees
        of a run's records differ from each other in one entry.
        """
        data = b"".join(
            b"%o %b\0%b" % (one.mode, one.name, bytes.fromhex(one.id.hex))
            for one in sorted(entries, key=lambda entry: entry.sort_key)
        )
        oid = _object_id("tree", data)
        if like is None or oid in self._entries:
            return self._add("tree", data)
        base, content = self._bases.setdefault(like, (oid, data))
        if base == oid:
            return self._add("tree", data)
        self._entries[oid] = _Entry(_REF_DELTA, splice_delta(content, data), base)
        return oid

    def commit(
        self,
        tree: ObjectId,
        parents: Iterable[ObjectId],
        author: str,
        committer: str,
        message: str,
        *,
        seal: Callable[[bytes, bytes], bytes] | None = None,
    ) -> ObjectId:
        """The id of a commit; identities are raw header lines (``Name <mail> 0 +0000``).

        ``seal`` puts a signature to its bytes; it is given a pack of what the commit names and
        waits here.
        """
        above = list(dict.fromkeys(parents))
        lines = [f"tree {tree}", *(f"parent {one}" for one in above)]
        lines += [f"author {author}", f"committer {committer}", "", message]
        data = "\n".join(lines).encode("utf-8", "surrogateescape")
        if seal is not None:
            data = seal(data, self._pack_of([tree, *above]))
        return self._add("commit", data)

    def tag(
        self,
        target: ObjectId,
        name: str,
        tagger: str,
        message: str,
        *,
        seal: Callable[[bytes], bytes] | None = None,
    ) -> ObjectId:
        """The id of an annotated tag of a commit; ``seal`` puts a signature to its bytes."""
        lines = [f"object {target}", "type commit", f"tag {name}", f"tagger {tagger}", "", message]
        data = "\n".join(lines).encode("utf-8", "surrogateescape")
        return self._add("tag", seal(data) if seal is not None else data)

    def data(self, oid: ObjectId) -> bytes:
        """The bytes of an object that waits here and is no delta."""
        return self._entries[oid].data

    def _add(self, kind: str, data: bytes) -> ObjectId:
        oid = _object_id(kind, data)
        if oid not in self._entries:
            self._entries[oid] = _Entry(_TYPES[kind], data)
        return oid

    def write_pack(self) -> Keep:
        """Store all objects as one durable pack, protected from gc until the Keep is released."""
        if not self._entries:
            return Keep(None)
        data = self._pack_bytes()
        folder = self.git.common / "objects" / "pack"
        _release_abandoned(folder)
        why = f"--keep={_KEPT_BY}{ProcessIdentity.current().to_text()}"
        try:
            answer = self.git.run("index-pack", "--stdin", why, stdin=data)
        except GitFailed as error:
            hint = hint_in(error.stderr, self.git.common / "objects")
            raise StorageError("git could not store the records", hint=hint) from error
        self._entries.clear()
        self._bases.clear()
        sync_directory(folder)
        verdict, _, name = answer.decode().strip().partition("\t")
        return Keep(str(folder / f"pack-{name}.keep") if verdict == "keep" else None)

    def write_loose(self) -> None:
        """Store all objects one by one: for a tag or two, where a pack of its own is too much."""
        if not self._entries:
            return
        try:
            self.git.run("unpack-objects", "-q", "--strict", stdin=self._pack_bytes())
        except GitFailed as error:
            hint = hint_in(error.stderr, self.git.common / "objects")
            raise StorageError("git could not store the record", hint=hint) from error
        objects = self.git.common / "objects"
        for folder in {objects / oid.hex[:2] for oid in self._entries}:
            if folder.is_dir():  # it is not there when a pack held the object already
                sync_directory(folder)
        sync_directory(objects)
        self._entries.clear()
        self._bases.clear()

    def _pack_of(self, oids: Iterable[ObjectId]) -> bytes:
        """A pack of those of these objects that wait here, with what they are deltas of."""
        found = {oid: self._entries[oid] for oid in oids if oid in self._entries}
        bases = {one.base for one in found.values() if one.base is not None}
        found = {oid: self._entries[oid] for oid in bases} | found
        return self._pack_bytes(found) if found else b""

    def _pack_bytes(self, chosen: Mapping[ObjectId, _Entry] | None = None) -> bytes:
        from dulwich.object_format import SHA1
        from dulwich.pack import UnpackedObject, write_pack_data

        entries = self._entries if chosen is None else chosen
        records = (
            UnpackedObject(
                entry.type,
                delta_base=bytes.fromhex(entry.base.hex) if entry.base else None,
                decomp_chunks=[entry.data],
                decomp_len=len(entry.data),
                sha=bytes.fromhex(oid.hex),
            )
            for oid, entry in entries.items()
        )
        parts: list[bytes] = []
        write_pack_data(parts.append, records, SHA1, num_records=len(entries), compression_level=1)
        return b"".join(parts)


class Keep(Frozen):
    """Holds git's gc off a new pack; release it when refs reach the objects, or never will.

    A context manager: released at the end of the block.
    """

    path: str | None

    def __enter__(self) -> Keep:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let gc treat the pack as any other."""
        if self.path is not None and os.path.lexists(self.path):
            Path(self.path).unlink()


def _release_abandoned(folder: Path) -> None:
    """Release packs whose writer was killed before it could: gc would keep them for ever.

    git makes the file before the pack, so one that it was killed over holds nothing; it is tidied
    up when no living git can be about to bring the pack.
    """
    for path in folder.glob("pack-*.keep"):
        with contextlib.suppress(OSError, CorruptData, UnicodeDecodeError):
            text = path.read_text("ascii").strip()
            owner = text.removeprefix(_KEPT_BY)
            if owner != text:
                abandoned = not ProcessIdentity.parse(owner).is_alive()
            else:
                empty = not text and not path.with_suffix(".pack").exists()
                abandoned = empty and time.time() - path.stat().st_mtime > _LONELY_SECONDS
            if abandoned:
                path.unlink()


def splice_delta(base: bytes, target: bytes) -> bytes:
    """A git delta that copies the common head and tail of ``base`` and inserts what is between.

    For trees that differ in one entry; see git's Documentation/gitformat-pack, "Deltified
    representation".
    """
    limit = min(len(base), len(target))
    head = _common(base, target, limit)
    tail = _common(base[::-1], target[::-1], limit - head)
    middle = target[head : len(target) - tail]
    parts = [_varint(len(base)), _varint(len(target)), _copy(0, head)]
    for at in range(0, len(middle), 127):
        piece = middle[at : at + 127]
        parts.append(bytes([len(piece)]) + piece)
    parts.append(_copy(len(base) - tail, tail))
    return b"".join(parts)


def _common(one: bytes, other: bytes, limit: int) -> int:
    """The length of the common prefix, at most ``limit``: by halving, since slices compare fast."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _copy(offset: int, size: int) -> bytes:
    """Copy instructions for a range of the base, each of at most 65,535 bytes."""
    out = bytearray()
    while size:
        step = min(size, 0xFFFF)
        code, operands = 0x80, bytearray()
        for bit in range(4):
            byte = offset >> (8 * bit) & 0xFF
            if byte:
                code |= 1 << bit
                operands.append(byte)
        for bit in range(2):
            byte = step >> (8 * bit) & 0xFF
            if byte:
                code |= 0x10 << bit
                operands.append(byte)
        out += bytes([code]) + operands
        offset, size = offset + step, size - step
    return bytes(out)
