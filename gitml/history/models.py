"""A model as its tags say it: versions with their numbers, stages with their moves, aliases.

A tag is believed only when the record in it is that of its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from gitml.entities import codec
from gitml.entities.ids import ObjectId, is_stage_name
from gitml.entities.records import Alias, Promotion, Tombstone
from gitml.errors import CorruptData, RaceLost
from gitml.frozen import Frozen, field
from gitml.git.odb import Tag
from gitml.git.refs import Ref
from gitml.history.entries import line_of

VERSION = r"v([1-9][0-9]{0,8})\Z"
NUMBER = r"[1-9][0-9]{0,8}\Z"


class Event(Frozen):
    """A move of a stage: the tag that is its record, the promotion in it, and who made it."""

    tag: ObjectId
    promotion: Promotion
    tagger: str


class ModelState(Frozen):
    """A model: its versions by number, its drafts oldest first, what is deleted, its stages.

    ``stages`` holds the events of each stage by n, oldest first; ``aliases`` are names of one's
    own, and ``alias_ends`` the number of the last move of each, here or on a remote.
    ``hidden`` are the versions that tombstones name. ``broken`` says of leaves (``v3``, a stage,
    ``deleted/2``) why their tags are not believed; ``taken`` are all numbers that any tag has, so
    that the next version gets a free one, here or on a remote. ``forked`` are the stages of which a
    remote has another move for the same n: the n, our tag, the remote's.
    """

    name: str
    numbers: Mapping[int, ObjectId]
    drafts: tuple[ObjectId, ...]
    deleted: frozenset[int]
    aliases: Mapping[str, ObjectId]
    stages: Mapping[str, tuple[Event, ...]]
    hidden: frozenset[ObjectId] = frozenset()
    broken: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[int] = frozenset()
    forked: Mapping[str, tuple[int, ObjectId, ObjectId]] = field(default_factory=dict)
    alias_ends: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def lowest(self) -> Mapping[ObjectId, int]:
        """The number of each numbered version: the lowest, where it has several."""
        return {commit: n for n, commit in sorted(self.numbers.items(), reverse=True)}

    @property
    def visible(self) -> list[ObjectId]:
        """The versions that are not deleted: by number, then the drafts."""
        numbered = [commit for _, commit in sorted(self.numbers.items())]
        return [c for c in dict.fromkeys([*numbered, *self.drafts]) if c not in self.hidden]

    @property
    def latest(self) -> ObjectId | None:
        """The newest draft of this clone, else the version with the highest number."""
        return next(reversed(self.visible), None)

    @property
    def next_number(self) -> int:
        """The number of the next version: one above every number ever given, deleted or not."""
        return max([0, *self.numbers, *self.deleted, *self.taken]) + 1

    def holder(self, stage: str) -> ObjectId | None:
        """The version that holds a stage now, None where it is vacant.

        Raises CorruptData where one of its tags is not the record that it should be.
        """
        self.refuse_broken(stage)
        events = self.stages.get(stage, ())
        return events[-1].promotion.version if events else None

    def refuse_broken(self, leaf: str) -> None:
        """Raise CorruptData for a number or a stage whose tag cannot be believed.

        RaceLost for a stage that was moved here and on the remote at the same time.
        """
        if leaf in self.forked:
            n, ours, theirs = self.forked[leaf]
            raise RaceLost(
                f"{leaf} of {self.name} was moved twice as its move {n}: "
                f"here by {ours.short}, on the remote by {theirs.short}",
                hint=f"`gitml stage repair {self.name} {leaf}` keeps the remote's",
            )
        if leaf in self.broken:
            raise CorruptData(
                f"{self.name}@{leaf}: {self.broken[leaf]}",
                hint="`gitml fsck` lists what is off",
            )

    def trouble(self, stage: str) -> str | None:
        """Why nobody can tell what holds a stage, None where all is well."""
        if stage in self.forked:
            return "it was moved here and on the remote at the same time"
        return self.broken.get(stage)

    def held(self, commit: ObjectId) -> list[str]:
        """The stages that a version holds now."""
        whole = (stage for stage in self.stages if self.trouble(stage) is None)
        return sorted(stage for stage in whole if self.holder(stage) == commit)

    def aliases_of(self, commit: ObjectId) -> list[str]:
        """The aliases that mean a version now."""
        return sorted(name for name, one in self.aliases.items() if one == commit)

    def archived(self, commit: ObjectId) -> bool:
        """Whether a version held a stage once and holds none now, of those that can be read."""
        moves = [event.promotion for events in self.stages.values() for event in events]
        once = {move.stage for move in moves if move.version == commit}
        return bool(once) and not self.held(commit) and not any(map(self.trouble, once))

    def label(self, commit: ObjectId) -> str:
        """How a version is written: ``clf@v3``, a draft ``clf@<commit12>``."""
        number = self.lowest.get(commit)
        return f"{self.name}@{f'v{number}' if number else commit.short}"


class Collected:
    """The tags of one model as they are read, each believed only when it is what its name says.

    One tag that is not (forged, renamed, of another tool) spoils its own leaf and no other.
    """

    def __init__(self, name: str, times: Mapping[ObjectId, float]) -> None:
        self.name = name
        self.times = times
        self.kept: list[ObjectId] = []
        self.numbers: dict[int, ObjectId] = {}
        self.deleted: set[int] = set()
        self.hidden: set[ObjectId] = set()
        self.taken: set[int] = set()
        self.aliases: dict[str, ObjectId | None] = {}
        self.alias_ends: dict[str, int] = {}
        self.events: dict[str, list[Event]] = {}
        self.broken: dict[str, str] = {}
        self.forked: dict[str, tuple[int, ObjectId, ObjectId]] = {}
        self.local: dict[str, ObjectId] = {}

    def take(self, leaf: str, ref: Ref, tag: Tag | None) -> None:
        """Take in the tag ``<model>@<leaf>``; ``tag`` is None for one that is not annotated."""
        group, _, rest = leaf.partition("/")
        self.local[leaf] = ref.target
        try:
            if number := re.match(VERSION, leaf):
                self.taken.add(int(number[1]))
                self._number(leaf, int(number[1]), ref, tag)
            elif group == "deleted" and re.match(NUMBER, rest):
                self.taken.add(int(rest))
                self._tombstone(leaf, int(rest), tag)
            elif group == "alias":
                self._alias(rest, ref, tag)
            elif re.match(NUMBER, rest) and is_stage_name(group):
                if tag is None:
                    raise CorruptData(f"the tag {self.name}@{leaf} is not annotated")
                promotion = read_promotion(tag, self.name, group, int(rest))
                event = Event(ref.target, promotion, tag.tagger)
                self.events.setdefault(group, []).append(event)
        except CorruptData as error:
            self.broken[group if is_stage_name(group) else leaf] = error.message

    def compare(self, leaf: str, there: Ref) -> None:
        """Take in what a remote has under ``<model>@<leaf>``, behind all tags of this clone."""
        group, _, rest = leaf.partition("/")
        if number := re.match(VERSION, leaf) or re.match(f"deleted/({NUMBER})", leaf):
            self.taken.add(int(number[1]))
        if group == "alias" and re.match(NUMBER, n := rest.partition("/")[2]):
            alias = rest.partition("/")[0]
            self.alias_ends[alias] = max(self.alias_ends.get(alias, 0), int(n))
        ours = self.local.get(leaf)
        is_event = is_stage_name(group) and re.match(NUMBER, rest)
        if is_event and ours is not None and ours != there.target:
            self.forked[group] = (int(rest), ours, there.target)

    def _number(self, leaf: str, number: int, ref: Ref, tag: Tag | None) -> None:
        if _annotated(tag).name != f"{self.name}@{leaf}":
            raise CorruptData(f"the tag was made as {_annotated(tag).name}")
        if ref.commit not in self.times:
            raise CorruptData(f"{ref.commit.short} is no version of {self.name} that can be read")
        self.numbers[number] = ref.commit

    def _alias(self, rest: str, ref: Ref, tag: Tag | None) -> None:
        """A move of an alias, the last of which counts; or a tag that was made by hand."""
        name, slash, n = rest.partition("/")
        if not slash:
            self.aliases.setdefault(name, ref.commit)
        elif re.match(NUMBER, n):
            last = self.alias_ends.get(name, 0)
            self.alias_ends[name] = max(last, int(n))
            record = read_alias(_annotated(tag), self.name, name, int(n))
            if int(n) > last:
                self.aliases[name] = record.version

    def _tombstone(self, leaf: str, number: int, tag: Tag | None) -> None:
        stone = read_tombstone(_annotated(tag), f"{self.name}@{leaf}")
        named = f"{stone.model}@deleted/{stone.n}"
        if not named == _annotated(tag).name == f"{self.name}@{leaf}":
            raise CorruptData(f"the tombstone was made as {named}")
        self.deleted.add(number)
        self.hidden.add(stone.version)

    def state(self) -> ModelState:
        """The model, as far as its tags can be believed."""
        self.hidden |= {self.numbers[n] for n in self.deleted if n in self.numbers}
        drafts = set(self.kept) - set(self.numbers.values()) - self.hidden
        stages = {
            stage: tuple(sorted(moves, key=lambda one: one.promotion.n))
            for stage, moves in self.events.items()
        }
        return ModelState(
            self.name,
            self.numbers,
            tuple(sorted(drafts, key=lambda commit: (self.times.get(commit, 0.0), commit))),
            frozenset(self.deleted),
            {name: one for name, one in self.aliases.items() if one is not None},
            stages,
            frozenset(self.hidden),
            self.broken,
            frozenset(self.taken),
            self.forked,
            self.alias_ends,
        )


def _annotated(tag: Tag | None) -> Tag:
    if tag is None:
        raise CorruptData("it is not an annotated tag")
    return tag


def read_promotion(tag: Tag, model: str, stage: str, n: int) -> Promotion:
    """The promotion in an event tag; raises CorruptData unless it is of this model, stage and n.

    A tag object copied under another name is caught here: its header has the name it was made for.
    """
    name = f"{model}@{stage}/{n}"
    promotion = codec.from_document(Promotion, line_of(tag), name)
    same = (promotion.model, promotion.stage, promotion.n) == (model, stage, n)
    if tag.name != name or not same:
        raise CorruptData(
            f"the tag {name} holds the record of {tag.name}", hint="`gitml fsck` lists what is off"
        )
    return promotion


def read_alias(tag: Tag, model: str, alias: str, n: int) -> Alias:
    """The move of an alias in a tag; raises CorruptData unless it is of this model, name and n."""
    name = f"{model}@alias/{alias}/{n}"
    record = codec.from_document(Alias, line_of(tag), name)
    if tag.name != name or (record.model, record.name, record.n) != (model, alias, n):
        raise CorruptData(
            f"the tag {name} holds the record of {tag.name}", hint="`gitml fsck` lists what is off"
        )
    return record


def read_tombstone(tag: Tag, where: str) -> Tombstone:
    """The tombstone in a tag ``<model>@deleted/<N>``; raises CorruptData."""
    return codec.from_document(Tombstone, line_of(tag), where)
