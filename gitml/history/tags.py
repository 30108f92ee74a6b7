"""Tags: words that people put on runs, versions and artifacts, and take off again.

Each is a line of the notes, and taking it off is a line that removes the lines which are seen here.
So of two clones that add and take off different tags all of it stands after a sync, and a tag that
one puts on while another takes it off stays on (docs/format.md, "Notes"). They have nothing to do
with git's tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from gitml.entities.ids import ObjectId
from gitml.errors import InvalidName, NameNotFound
from gitml.frozen import Frozen
from gitml.history.notes import REF, Notes

if TYPE_CHECKING:
    from gitml.entities.records import Note
    from gitml.history.index import Index
    from gitml.history.intake import Said
    from gitml.history.record import Person

_LONGEST = 100


def check_tag(text: str) -> str:
    """The tag if it can be one: printable, in one piece, at most 100 characters.

    Raises InvalidName.
    """
    if not isinstance(text, str):
        raise InvalidName(f"a tag is text, not {text!r}")
    whole = text.isprintable() and text == text.strip() and "  " not in text and "," not in text
    if not text or not whole or len(text) > _LONGEST or text.startswith("-"):
        raise InvalidName(
            f"{text!r} cannot be a tag",
            hint=f"a word or a few, at most {_LONGEST} characters, no comma, no `-` in front",
        )
    return text


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once; raises InvalidName, also for one text in the place of several."""
    if isinstance(tags, str):
        raise InvalidName(f"tags are a list, not {tags!r}", hint=f"tags=[{tags!r}]")
    return tuple(dict.fromkeys(check_tag(one) for one in tags))


class Place(Frozen):
    """What carries a tag: a record, or with ``artifact`` its output of this name."""

    commit: ObjectId
    artifact: str | None


class Tags(Frozen):
    """The tags of one thing: those that it was recorded with, and what the notes made of them.

    ``places`` are the records that carry notes on it, new ones go to the first; an artifact has one
    for each record that made the same bytes.
    """

    notes: Notes
    places: tuple[ObjectId, ...]
    own: tuple[str, ...] = ()
    artifact: str | None = None

    def now(self) -> tuple[str, ...]:
        """The tags in order."""
        lines = [(one.tag, one.untag) for place in self.places for one in self._lines(place)]
        return tuple(sorted(_standing(self.own, lines)))

    def add(self, tags: Iterable[str], person: Person) -> tuple[str, ...]:
        """Put tags on it; those that were not there. Raises InvalidName, RaceLost."""
        checked, here = check_tags(tags), self.now()
        new = tuple(one for one in checked if one not in here)
        self.notes.write(
            self.places[0],
            [self.notes.line(person, tag=one, artifact=self.artifact) for one in new],
            person,
        )
        return new

    def remove(self, tags: Iterable[str], person: Person) -> None:
        """Take tags off it; raises NameNotFound where one is not there, and then does nothing."""
        checked, here = tuple(dict.fromkeys(tags)), self.now()
        for one in checked:  # whatever they look like: another tool may have put them on
            if one not in here:
                raise NameNotFound.among("tag on it", one, here)
        for place in self.places:
            seen = [line.id for line in self._lines(place) if line.tag in checked]
            self.notes.write(place, [self.notes.line(person, removes=one) for one in seen], person)
        recorded = [one for one in checked if one in self.own]
        self.notes.write(
            self.places[0],
            [self.notes.line(person, untag=one, artifact=self.artifact) for one in recorded],
            person,
        )

    def _lines(self, place: ObjectId) -> list[Note]:
        return [line for line in self.notes.read(place) if line.artifact == self.artifact]


def tagged(index: Index, notes: Notes, tag: str | None = None) -> Iterator[tuple[str, Place]]:
    """Every tag with everything that carries it, or one of them."""
    own: dict[Place, tuple[str, ...]] = {}
    for run in index.tagged_runs(tag):
        own[Place(run.id, None)] = run.record.tags or ()
    for version in index.tagged_versions(tag):
        own[Place(version.id, None)] = card_tags(version.record.card)
    for step in index.tagged_steps(tag):
        for output in step.record.outputs:
            own[Place(step.id, output.artifact)] = output.tags or ()
    said: dict[Place, list[tuple[str | None, str | None]]] = {}
    tip = notes.odb.resolve(REF)
    for commit, artifact, put, off in index.noted_tags(tip, partial(_said, notes), tag):
        said.setdefault(Place(commit, artifact), []).append((put, off))
    for place in {**own, **said}:
        for one in _standing(own.get(place, ()), said.get(place, ())):
            if tag in (None, one):
                yield one, place


def _said(notes: Notes, since: ObjectId | None) -> Said:
    changed = notes.changed(since) if since is not None else None
    return (True, notes.everything()) if changed is None else (False, changed)


def card_tags(card: object) -> tuple[str, ...]:
    """The tags that a version was made with."""
    tags = card.get("tags") if isinstance(card, dict) else None
    return tuple(map(str, tags)) if isinstance(tags, list) else ()


def _standing(own: Iterable[str], lines: Iterable[tuple[str | None, str | None]]) -> set[str]:
    seen = list(lines)
    off = {untag for _, untag in seen}
    added = {tag for tag, _ in seen if tag is not None}
    return {one for one in own if one not in off} | added
