"""Metadata that was added to a record later: ``refs/notes/gitml``, one JSON object a line.

gitml writes the notes itself, as a new notes commit moved by compare-and-swap and retried: git's
own ``notes append`` loses lines when several processes write at once. Notes are merged as the union
of their lines; a removal is another line, so nothing that was written is ever rewritten.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Note
from gitml.frozen import Frozen, field
from gitml.git import refs
from gitml.git.odb import FILE, FOLDER, Builder, Odb, TreeEntry, is_ancestor
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history.record import Person, timestamp

REF = "refs/notes/gitml"
_TRIES = 40
_OFTEN = 16
"""Commits that are looked up one by one before a listing of all that have notes is cheaper."""
_FAN_OUT = 256
"""Entries of one folder of the notes tree beyond which new commits get folders, as with git."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Notes(Frozen):
    """The notes of a repository."""

    git: Git
    odb: Odb
    _asked: dict[ObjectId, int] = field(default_factory=dict, repr=False, compare=False)
    _noted: dict[ObjectId, set[ObjectId]] = field(default_factory=dict, repr=False, compare=False)

    def read(self, commit: ObjectId) -> list[Note]:
        """The notes on a record that count, oldest first; what was removed is left out."""
        tip = self.odb.resolve(REF)
        found = self._blob(tip, commit) if tip is not None and self._may_have(tip, commit) else None
        lines = found.decode("utf-8", "replace").split("\n") if found else []
        # Lines that are no object are remarks that somebody made with `git notes`.
        return _live([_decode(line, commit) for line in lines if line.startswith("{")])

    def _may_have(self, tip: ObjectId, commit: ObjectId) -> bool:
        """Whether a commit may have notes; who asks often is answered by one listing of all."""
        asked = self._asked.get(tip, 0)
        if tip not in self._noted:
            if asked < _OFTEN:
                self._asked.clear()
                self._asked[tip] = asked + 1
                return True
            self._noted.clear()
            self._noted[tip] = set(self._all(tip))
        return commit in self._noted[tip]

    def everything(self) -> Iterator[tuple[ObjectId, list[Note]]]:
        """Every commit that has notes, with those of them that count."""
        from gitml.git.walk import contents

        noted = self._all(self.odb.resolve(REF))
        for commit, (_, _, data) in zip(noted, contents(self.git, noted.values()), strict=True):
            lines = data.decode("utf-8", "replace").split("\n")
            yield commit, _live([_decode(line, commit) for line in lines if line.startswith("{")])

    def changed(self, since: ObjectId) -> Iterator[tuple[ObjectId, list[Note]]] | None:
        """What counts on each commit whose notes differ from those at an earlier tip.

        None where that tip is not here any more.
        """
        tip = self.odb.resolve(REF)
        if tip is None or since not in self.odb:
            return None
        listing = self.git.run("diff-tree", "-r", "-z", "--name-only", str(since), str(tip))
        digits = {os.fsdecode(one).replace("/", "") for one in listing.split(b"\0")}
        commits = sorted(one for one in digits if re.fullmatch("[0-9a-f]{40}", one))
        return ((ObjectId(one), self.read(ObjectId(one))) for one in commits)

    def values(self, commit: ObjectId, artifact: str | None = None) -> dict[str, Any]:
        """The metadata that notes set on a record or on its output, the newest of a name."""
        notes = [one for one in self.read(commit) if one.artifact == artifact]
        return {key: value for note in notes for key, value in note.values.items()}

    def values_on(self, commits: Iterable[ObjectId], artifact: str) -> dict[str, Any]:
        """The metadata that notes set on an artifact which several records made alike."""
        notes = [one for commit in commits for one in self.read(commit) if one.artifact == artifact]
        notes.sort(key=lambda note: (note.at, note.id))
        return {key: value for note in notes for key, value in note.values.items()}

    def add(
        self,
        commit: ObjectId,
        values: Mapping[str, Any],
        person: Person,
        artifact: str | None = None,
    ) -> Note:
        """Set metadata on a record, or on an output of it by its repository-wide name.

        Raises RaceLost when others keep writing for too long.
        """
        note = self.line(person, values=dict(values), artifact=artifact)
        self.write(commit, [note], person)
        return note

    def line(self, person: Person, **said: Any) -> Note:
        """A line that somebody says now; it is written by `write`."""
        now = time.time()
        return Note(ulid(now), timestamp(now), f"{person.name} <{person.mail}>", **said)

    def write(self, commit: ObjectId, lines: Sequence[Note], person: Person) -> None:
        """Append lines to the notes of a commit, all at once; raises RaceLost."""
        if not lines:
            return
        documents = (codec.dump_line(codec.to_document(one)) for one in lines)
        data = "".join(f"{one}\n" for one in documents).encode()
        now = time.time()
        refs.retried(lambda: self._append(commit, data, person, now), _TRIES)

    def _append(self, commit: ObjectId, line: bytes, person: Person, now: float) -> None:
        tip = self.odb.resolve(REF)
        builder = Builder(self.git)
        root = self.odb.commit(tip).tree if tip is not None else None
        tree = self._with_line(builder, root, commit.hex, line)
        identity = person.at(now)
        parents = [tip] if tip is not None else []
        made = builder.commit(tree, parents, identity, identity, f"Note on {commit.short}\n")
        builder.write_loose()
        refs.update(self.git, [Change(REF, made, tip)], f"note on {commit.short}")

    def merged(
        self,
        ours: ObjectId | None,
        theirs: ObjectId | None,
        person: Person,
        *,
        leave: Callable[[ObjectId], bool] = lambda commit: False,
    ) -> ObjectId | None:
        """The notes commit with the lines of both: ``theirs`` itself where ours add nothing.

        A union without a base: what is absent on one side deletes nothing. Their lines come first,
        so that two clones that merge each other's come to the same. Of ours, the notes on commits
        that are to be left (told by ``leave``) do not count, and then our history is not continued;
        else it is where it goes on from theirs. The new objects are stored; None where there is not
        one note.
        """
        mine = self._all(ours)
        if (
            ours is not None
            and not any(map(leave, mine))
            and (theirs is None or is_ancestor(self.git, theirs, ours))
        ):
            return ours
        there = self._all(theirs)
        whole = dict(there)
        builder = Builder(self.git)
        for commit, blob in mine.items():
            if leave(commit) or blob == whole.get(commit):
                continue
            base = self._blob_of(whole.get(commit))
            lines = base.split(b"\n")
            added = [one for one in self._blob_of(blob).split(b"\n") if one not in lines]
            if added:
                text = b"\n".join([*([base] if base else []), *added]) + b"\n"
                whole[commit] = builder.blob(text)
        if whole == there:
            return theirs
        identity = person.at(time.time())
        tree = _folder(builder, {commit.hex: blob for commit, blob in whole.items()})
        parents = [theirs] if theirs is not None else []
        made = builder.commit(tree, parents, identity, identity, "Notes of several clones\n")
        builder.write_loose()
        return made

    def commits(self, tip: ObjectId) -> list[ObjectId]:
        """The commits that have notes."""
        return list(self._all(tip))

    def _all(self, tip: ObjectId | None) -> dict[ObjectId, ObjectId]:
        """The blob with the lines on each commit that has notes."""
        if tip is None:
            return {}
        found = {}
        listing = self.git.run("ls-tree", "-r", "-z", "--end-of-options", str(tip))
        for entry in listing.split(b"\0")[:-1]:
            what, _, path = entry.partition(b"\t")
            digits = path.replace(b"/", b"").decode(errors="replace")
            if re.fullmatch("[0-9a-f]{40}", digits):  # anything else is not a note
                found[ObjectId(digits)] = ObjectId(what.split()[2].decode())
        return found

    def _blob_of(self, oid: ObjectId | None) -> bytes:
        found = self.odb.read(oid) if oid is not None else None
        return found[2].removesuffix(b"\n") if found is not None else b""

    def _with_line(
        self, builder: Builder, tree: ObjectId | None, rest: str, line: bytes
    ) -> ObjectId:
        """The notes tree with a line appended for ``rest``; follows git's fan-out folders."""
        entries = {one.name: one for one in self.odb.tree(tree)} if tree is not None else {}
        name, prefix = rest.encode(), rest[:2].encode()
        folder = entries.get(prefix)
        if name not in entries and (folder is not None or len(entries) >= _FAN_OUT):
            below = folder.id if folder is not None and folder.mode == FOLDER else None
            inner = self._with_line(builder, below, rest[2:], line)
            entries[prefix] = TreeEntry(prefix, FOLDER, inner)
        else:
            old = self.odb.read(entries[name].id) if name in entries else None
            data = old[2] if old else b""
            if data and not data.endswith(b"\n"):
                data += b"\n"
            entries[name] = TreeEntry(name, FILE, builder.blob(data + line))
        return builder.tree(entries.values())

    def _blob(self, tip: ObjectId, commit: ObjectId) -> bytes:
        """All that the notes tree has on a commit, at whatever depth of folders."""
        found = []
        for split in range(4):
            parts = [commit.hex[2 * i : 2 * i + 2] for i in range(split)]
            data = self.odb.file(tip, "/".join([*parts, commit.hex[2 * split :]]))
            if data is not None:
                found.append(data.removesuffix(b"\n"))
        return b"\n".join(found)


def _folder(builder: Builder, notes: Mapping[str, ObjectId]) -> ObjectId:
    """A tree of notes by the digits that are left of their commits, fanned out as git does."""
    if len(notes) <= _FAN_OUT:
        entries = [TreeEntry(rest.encode(), FILE, blob) for rest, blob in notes.items()]
        return builder.tree(entries)
    inner: dict[str, dict[str, ObjectId]] = {}
    for rest, blob in notes.items():
        inner.setdefault(rest[:2], {})[rest[2:]] = blob
    folders = ((name, _folder(builder, below)) for name, below in inner.items())
    return builder.tree(TreeEntry(name.encode(), FOLDER, oid) for name, oid in folders)


def ulid(seconds: float) -> str:
    """A new ULID: sorts by time, unique without asking anyone (the ULID specification)."""
    number = (int(seconds * 1000) << 80) | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))


def _live(notes: Iterable[Note]) -> list[Note]:
    """The lines that count, oldest first."""
    found = list(notes)
    removed = {note.removes for note in found}
    live = {n.id: n for n in found if n.id not in removed and n.removes is None}
    return sorted(live.values(), key=lambda note: (note.at, note.id))


def _decode(line: str, commit: ObjectId) -> Note:
    where = f"note on {commit.short}"
    return codec.from_document(Note, codec.parse(line, where), where)
