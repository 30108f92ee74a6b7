"""Revocations: records that nothing may stand on any more, and what descends from them.

A revocation is an immutable tag ``<name>@revoked/<id12>``. What it says goes down: a version is
revoked when any record that it was made of is, or when any of them took or made revoked bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Revocation, Source
from gitml.errors import CorruptData, MissingBytes
from gitml.git.odb import Odb
from gitml.git.refs import Ref
from gitml.history.entries import line_of
from gitml.history.index import Index
from gitml.history.lineage import Lineage
from gitml.history.record import TAGS, revocation_tag


class Revocations:
    """Revocations at one moment, ``given`` or all, and which of them a record descends from.

    What was found of a record is remembered, so that asking about all versions walks over each
    record once. Where there is no revocation nothing is read.
    """

    def __init__(self, index: Index, odb: Odb, given: Sequence[Revocation] | None = None) -> None:
        self._index = index
        self._odb = odb
        self._lineage = Lineage(index, odb)
        self.all = tuple(self._every() if given is None else given)
        self._digests: dict[Digest, list[Revocation]] = {}
        self._commits: dict[ObjectId, list[Revocation]] = {}
        for one in self.all:
            if one.digest is not None:
                self._digests.setdefault(one.digest, []).append(one)
            for commit in self._meant(one):
                self._commits.setdefault(commit, []).append(one)
        self._known: dict[ObjectId, tuple[Revocation, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.all)

    def on(self, commit: ObjectId) -> tuple[Revocation, ...]:
        """The revocations that a record descends from, or that are its own; oldest first.

        Raises MissingBytes where a shallow clone cuts the records off.
        """
        if not self.all:
            return ()
        waiting = [commit]
        while waiting:
            one = waiting[-1]
            if one in self._known:
                waiting.pop()
                continue
            above = self._lineage.above(one)[1]
            missing = [record for record in above if record not in self._known]
            if missing:
                waiting += missing
                continue
            own = [*self._commits.get(one, ()), *self._by_bytes(one)]
            every = [*own, *(found for record in above for found in self._known[record])]
            unique = {(found.kind, found.name, found.commit): found for found in every}
            self._known[one] = tuple(sorted(unique.values(), key=lambda found: found.at))
            waiting.pop()
        return self._known[commit]

    def of(self, digest: Digest) -> tuple[Revocation, ...]:
        """The revocations of these very bytes, as an artifact or as data."""
        return tuple(one for one in self.all if digest in (one.digest, self._source(one)))

    def _source(self, one: Revocation) -> Digest | None:
        """The bytes that a revoked source stands for; None where it is none, or not here."""
        where = ".gitml/source.json"
        try:
            data = self._odb.file(one.commit, where) if one.kind == "source" else None
            return codec.from_json(Source, data, where).digest if data is not None else None
        except (CorruptData, MissingBytes):
            return None

    def _every(self) -> Iterator[Revocation]:
        for ref in self._index.refs_below(f"{TAGS}/"):
            record = self._read(ref) if "@revoked/" in ref.name else None
            if record is not None:
                yield record

    def _read(self, ref: Ref) -> Revocation | None:
        """The record in a tag; None for one that is not what its name says (``fsck`` tells)."""
        tag = self._index.tag(ref.target)
        try:
            return read_revocation(ref, line_of(tag)) if tag is not None else None
        except CorruptData:
            return None

    def _meant(self, one: Revocation) -> Iterable[ObjectId]:
        """The records that a revocation names: of a run also the steps that it executed."""
        yield one.commit
        run = self._index.run(one.commit) if one.kind == "run" else None
        for step in run.record.steps if run is not None else ():
            if step.state not in ("cached", "taken") and step.commit is not None:
                yield step.commit

    def _by_bytes(self, commit: ObjectId) -> Iterable[Revocation]:
        """The revocations of bytes that a step took or made."""
        if not self._digests:
            return
        step = self._index.step(commit)
        if step is not None:
            record = step.record
            taken = [one.digest for one in (*record.inputs, *record.loads)]
            for digest in (*taken, *(one.digest for one in record.outputs)):
                yield from self._digests.get(digest, ())


def read_revocation(ref: Ref, document: dict[str, object]) -> Revocation:
    """The revocation in the line of a tag; raises CorruptData unless it is that of its name."""
    name = ref.name.removeprefix(f"{TAGS}/")
    record = codec.from_document(Revocation, document, name)
    if revocation_tag(record) != ref.name or record.commit != ref.commit:
        raise CorruptData(f"{name} holds the revocation of {record.name}")
    return record


def names_of(revoked: Iterable[Revocation]) -> str:
    """Revocations in words: what was revoked, and why."""
    return "; ".join(f"{one.name}: {one.reason}" for one in revoked)
