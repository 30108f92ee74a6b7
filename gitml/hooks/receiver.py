"""What a server refuses: the rules of the refs that records live in.

Version tags, moves of stages and tombstones are made once and never changed; each move continues
the chain, meets the policy of the default branch as it is on the server, and is signed as that
asks; records are what they say. One push goes in as a whole or not at all.

Nothing here, and nothing that it imports, needs more than Python and git: a server should not have
to install anything. The policy is judged by the same function as everywhere.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import config as configuration
from gitml.entities import codec
from gitml.entities.ids import ObjectId, check_model_name, check_stage_name, check_twins
from gitml.entities.records import Promotion, Tombstone, Version
from gitml.errors import GitmlError, InvalidName
from gitml.git.odb import Odb, Tag, is_ancestor, parse_tag
from gitml.git.process import Git
from gitml.git.refs import Change, Listing, Ref
from gitml.history.entries import line_of
from gitml.history.models import read_alias, read_promotion, read_tombstone
from gitml.history.record import RUNS, STAGES, TAGS, VERSIONS, seconds_of
from gitml.history.strangers import USUAL, is_stranger

if TYPE_CHECKING:
    from gitml.history.index import Index
    from gitml.hooks.judging import Judging

_NUMBER = "[1-9][0-9]{0,8}"
_LEAF = (
    rf"v(?P<version>{_NUMBER})|deleted/(?P<stone>{_NUMBER})|revoked/(?P<revoked>[0-9a-f]{{12}})"
    rf"|(?P<stage>[^/]+)/(?P<n>{_NUMBER})|alias/(?P<alias>[^/]+)/(?P<move>{_NUMBER})"
)
_HEADS = "refs/heads/"
_NOTES = "refs/notes/gitml"
_LEAP = 1000
"""Numbers that may be passed over: one far off would leave none to be given."""
_AHEAD, _BEHIND = 3600.0, 86400.0
"""Seconds by which the clock of whoever pushes may be off, and for which a push may wait."""


class Refused(GitmlError):
    """A ref that the server does not take as it was pushed."""


class Receiver:
    """Judges the refs of one push against what the server has.

    ``listing`` are the refs of versions and stages and the tags that are there.
    """

    def __init__(self, git: Git, odb: Odb, listing: Listing, updates: tuple[Change, ...]) -> None:
        self.git = git
        self.odb = odb
        self.listing = listing
        self.updates = updates
        self._taken: dict[str, ObjectId] = {}
        self._models: dict[str, dict[str, ObjectId]] = {}

    def refusals(self) -> Iterator[tuple[str, str]]:
        """The refs that are refused, and why; numbers before moves, moves in their order."""
        for update in sorted(self.updates, key=_in_order):
            try:
                self._judge(update)
            except GitmlError as error:
                yield update.name, "; ".join([error.message, *error.causes()])
            else:
                if update.new is not None:
                    self._taken[update.name] = update.new

    def close(self) -> None:
        """Let go of what was opened."""
        if "_index" in self.__dict__:
            self._index.close()

    def _judge(self, update: Change) -> None:
        if update.name.startswith(f"{TAGS}/"):
            self._tag(update, *update.name.removeprefix(f"{TAGS}/").partition("@")[::2])
        elif update.name.startswith((f"{VERSIONS}/", f"{RUNS}/")):
            self._record(update)
        elif update.name.startswith(f"{STAGES}/"):
            self._stage(update)
        elif update.name == _NOTES:
            self._notes(update)
        elif update.name == f"{_HEADS}{self._branch}":
            self._settings(update)

    def _tag(self, update: Change, model: str, leaf: str) -> None:
        """A tag below ``<model>@``; those of other tools are not ours to judge."""
        found = re.fullmatch(_LEAF, leaf)
        if found is None and update.new is not None:
            self._refuse_in_the_way(model, leaf)
        if found is None or not _is_name(check_model_name, model):
            return
        if found["stage"] is not None and not _is_name(check_stage_name, found["stage"]):
            return
        if update.old is not None:
            removed = update.old if update.new is None and found["stage"] is not None else None
            if removed is not None and self._is_stranger(removed, f"{model}@{leaf}"):
                return  # it got in before this hook
            if found["version"] is None or self._model_of(update.old) == model:
                raise Refused("a tag of gitml is made once, and neither moved nor removed")
            return
        if update.new is None:
            return
        if found["version"] is not None:
            self._number(update.new, model, int(found["version"]))
        elif found["revoked"] is not None:
            self._revocation(update)
        elif found["alias"] is not None:
            self._alias(update.new, model, found["alias"], int(found["move"]))
        elif found["stone"] is not None:
            self._tombstone(update.new, model, int(found["stone"]))
        else:
            self._move(update.new, model, found["stage"], int(found["n"]))

    def _refuse_in_the_way(self, model: str, leaf: str) -> None:
        """A tag without a number, named like a stage, would keep the stage from ever moving."""
        settings = self._settings_here
        stages = USUAL.union(settings.policies if settings is not None else ())
        if leaf in stages and _is_name(check_model_name, model) and self._is_known(model):
            raise Refused(f"it would be in the way of {model}@{leaf}/1, the first move of a stage")

    def _is_stranger(self, oid: ObjectId, name: str) -> bool:
        """Whether what has the name of a move is none."""
        found = self.odb.read(oid)
        tag = parse_tag(oid, found[2]) if found and found[1] == "tag" else None
        return found is not None and is_stranger(tag, name)

    def _number(self, new: ObjectId, model: str, number: int) -> None:
        if self._model_of(new) is None and not self._is_known(model):
            return  # another tool's `name@v1`
        tag = self._annotated(new, f"{model}@v{number}")
        self._version(tag.target, model)
        last = max([0, *self._numbers(model)])
        if number > last + _LEAP:
            raise Refused(f"the numbers of {model} go on from {last}")
        if f"deleted/{number}" in self._tags(model):
            raise Refused(f"{model}@v{number} was deleted, and its number is not given again")
        self._records_above(tag.target)

    def _numbers(self, model: str) -> list[int]:
        """The numbers that versions of a model have, or had."""
        found = (re.fullmatch(f"(?:v|deleted/)({_NUMBER})", leaf) for leaf in self._tags(model))
        return [int(one[1]) for one in found if one]

    def _revocation(self, update: Change) -> None:
        """What is no revocation is not let in: it would stand in the way of the true one."""
        from gitml.history.revocations import read_revocation

        assert update.new is not None  # noqa: S101 - nobody takes one back
        tag = self._annotated(update.new, update.name.removeprefix(f"{TAGS}/"))
        record = read_revocation(Ref(update.name, update.new, tag.target), line_of(tag))
        if record.project != self._project:
            raise Refused(f"it belongs to another project, {record.project}")

    def _alias(self, new: ObjectId, model: str, alias: str, n: int) -> None:
        tag = self._annotated(new, f"{model}@alias/{alias}/{n}")
        record = read_alias(tag, model, alias, n)
        if record.project != self._project:
            raise Refused(f"it belongs to another project, {record.project}")
        if record.version not in (None, tag.target):
            raise Refused("it tags another version than it names")
        ends = (leaf.rpartition("/") for leaf in self._tags(model))
        last = max((int(one[2]) for one in ends if one[0] == f"alias/{alias}"), default=0)
        if not last < n <= last + _LEAP:
            raise Refused(f"the next move of {alias} is {model}@alias/{alias}/{last + 1}")

    def _tombstone(self, new: ObjectId, model: str, number: int) -> None:
        name = f"{model}@deleted/{number}"
        stone: Tombstone = read_tombstone(self._annotated(new, name), name)
        there = self._tags(model).get(f"v{number}")
        if (stone.model, stone.n, stone.project) != (model, number, self._project):
            raise Refused("the tombstone is of another model, number or project")
        if there is None or self._commit(there) != stone.version:
            raise Refused(f"{model}@v{number} is not the version that it names")
        for stage in {leaf.partition("/")[0] for leaf in self._tags(model) if "/" in leaf}:
            last = self._last(model, stage)
            if last is not None and last[1].version == stone.version:
                raise Refused(f"{model}@v{number} holds {stage}")

    def _move(self, new: ObjectId, model: str, stage: str, n: int) -> None:
        name = f"{model}@{stage}/{n}"
        stages = {leaf.partition("/")[0] for leaf in self._tags(model) if "/" in leaf}
        check_twins([stage], stages, "stage")
        tag = self._annotated(new, name)
        move = read_promotion(tag, model, stage, n)
        last = self._last(model, stage)
        before = last[1] if last is not None else None
        expected = before.n + 1 if before is not None else 1
        if n != expected:
            raise Refused(f"the next move of {stage} is {model}@{stage}/{expected}")
        if move.project != self._project:
            raise Refused(f"it belongs to another project, {move.project}")
        if move.previous != (last[0] if last is not None else None):
            raise Refused("it does not follow the move before: the chain is broken")
        holder = before.version if before is not None else None
        if move.before != holder:
            raise Refused("it names another holder before than the move before")
        if tag.target != (move.version or holder):
            raise Refused("it tags another commit than it names")
        if before is not None and move.at < before.at:
            raise Refused("it is older than the move before")
        self._dated(move, tag)
        if move.version is not None:
            self._version(move.version, model)
            self._is_numbered(move.version, model)
        self._goes_back(move, model, stage)
        self._policy(new, move, tag.target, before)

    def _dated(self, move: Promotion, tag: Tag) -> None:
        """Raise unless a move is of now.

        A date of the past would get around a key's end or a week of waiting, and one of the future
        keeps everybody out of the stage until then.
        """
        at, now = seconds_of(move.at), time.time()
        if abs(at - tag.seconds) > 1:
            raise Refused("its tag has another date than it names")
        if at > now + _AHEAD:
            raise Refused(f"it is dated {move.at}, and that is yet to come")
        if self._has_policies and at < now - _BEHIND:
            raise Refused(f"it is dated {move.at}, and was not pushed then")

    def _is_numbered(self, version: ObjectId, model: str) -> None:
        tags = self._tags(model)
        numbers = [
            leaf[1:]
            for leaf, oid in tags.items()
            if re.fullmatch(f"v{_NUMBER}", leaf) and self._commit(oid) == version
        ]
        if not numbers:
            raise Refused(f"{model}@{version.short} has no number here: push the version first")
        if any(f"deleted/{one}" in tags for one in numbers):
            raise Refused(f"{model}@v{numbers[0]} is deleted")

    def _goes_back(self, move: Promotion, model: str, stage: str) -> None:
        """A roll-back brings back who held the stage by the move that it names; a hold is one."""
        if move.hold and move.restores is None:
            raise Refused("an emergency may bring a former holder back, and nothing else")
        if move.restores is None:
            return
        there = self._tags(model).get(f"{stage}/{move.restores}")
        if there is None or move.restores >= move.n:
            raise Refused(f"{model}@{stage}/{move.restores}, which it restores, is not there")
        restored = read_promotion(self.odb.tag(there), model, stage, move.restores)
        if restored.version != move.version:
            raise Refused(f"{model}@{stage}/{move.restores} did not make that version the holder")

    def _policy(
        self, new: ObjectId, move: Promotion, target: ObjectId, before: Promotion | None
    ) -> None:
        """What the policy on the default branch says of a move, and what every stage asks for."""
        if self._has_policies or move.policy is not None or self._has_revocations:
            self._judging.refuse(new, move, target, before)

    @cached_property
    def _judging(self) -> Judging:
        from gitml.hooks.judging import Judging

        settings = self._settings_here
        assert self._tip is not None and settings is not None  # noqa: S101 - project's id
        return Judging(self.git, self.odb, self._index, self._tip, settings)

    @cached_property
    def _index(self) -> Index:
        from gitml.history.index import Index

        return Index(self.git, self.odb, of_runs=False, listing=self.listing)

    def _record(self, update: Change) -> None:
        """The ref that keeps a run or a version: it has the name that follows from its commit."""
        if update.new is None:
            return  # drafts and runs may be given up
        if update.old is not None:
            raise Refused("the ref of a record is not moved")
        folder, _, leaf = update.name.rpartition("/")
        if not update.new.hex.startswith(leaf) or len(leaf) != 12:
            raise Refused(f"what it keeps belongs at {folder}/{update.new.short}")
        if folder.startswith(f"{VERSIONS}/"):
            self._version(update.new, folder.removeprefix(f"{VERSIONS}/"))
        self._records_above(update.new)

    def _records_above(self, tip: ObjectId) -> None:
        """Every record that comes with a push is what it says: format, parents, trailers."""
        from gitml.history.check import check_new_records

        arguments = ["--grep=^Gitml-Kind: ", str(tip), "--not", "--all"]
        arguments += [str(one) for one in self._taken.values()]
        new = [ObjectId(one) for one in self.git.run("rev-list", *arguments).decode().split()]
        for problem in check_new_records(self.git, self.odb, new):
            raise Refused(f"the record {problem.what} is not what it says: {problem.detail}")

    def _stage(self, update: Change) -> None:
        """The ref of a stage is where its newest move is, and is not there when that cleared it."""
        model, _, stage = update.name.removeprefix(f"{STAGES}/").partition("/")
        last = self._last(model, stage)
        wanted = last[0] if last is not None and last[1].version is not None else None
        if update.new != wanted:
            raise Refused(f"the newest move of {stage} is {wanted.short if wanted else 'none'}")

    def _notes(self, update: Change) -> None:
        if update.old is None:
            return
        if update.new is None or not is_ancestor(self.git, update.old, update.new):
            raise Refused("metadata is added to, and what others have added stays")

    def _settings(self, update: Change) -> None:
        """On the default branch, policies and wishes can be read: all that follows needs them."""
        from gitml.promotion.policy import policies_at
        from gitml.promotion.wishes import Wishes

        if update.new is None:
            return
        policies_at(self.git, self.odb, update.new)
        wishes = Wishes(self.git, self.odb, update.new)
        for model in wishes.models:
            wishes.of(model)

    @cached_property
    def _branch(self) -> str:
        return self.git.branch() or ""

    @cached_property
    def _tip(self) -> ObjectId | None:
        """The default branch as it is on the server, whatever this push wants of it.

        In a push that makes that branch, it is what is pushed.
        """
        there = self.odb.resolve("HEAD")
        if there is not None:
            return there
        made = (one.new for one in self.updates if one.name == f"{_HEADS}{self._branch}")
        return next(made, None)

    @cached_property
    def _settings_here(self) -> configuration.Config | None:
        data = self.odb.file(self._tip, configuration.FILE) if self._tip is not None else None
        return configuration.parse(data, Path(configuration.FILE)) if data is not None else None

    @property
    def _project(self) -> str:
        if self._settings_here is None:
            raise Refused(
                f"the default branch `{self._branch}` has no {configuration.FILE} here, "
                "which says what project this is"
            )
        return self._settings_here.project

    @cached_property
    def _has_revocations(self) -> bool:
        return any("@revoked/" in name for name in self._there)

    @cached_property
    def _there(self) -> dict[str, ObjectId]:
        """What the tags name that are here, those that may be gitml's."""
        return {one.name: one.target for one in self.listing.refs() if one.name.startswith(TAGS)}

    @property
    def _has_policies(self) -> bool:
        return self._settings_here is not None and bool(self._settings_here.policies)

    def _tags(self, model: str) -> dict[str, ObjectId]:
        """The tags of a model by what stands behind the ``@``: those here, and those taken."""
        prefix = f"{TAGS}/{model}@"
        if model not in self._models:
            self._models[model] = {
                name.removeprefix(prefix): oid
                for name, oid in self._there.items()
                if name.startswith(prefix)
            }
        taken = {
            name.removeprefix(prefix): oid
            for name, oid in self._taken.items()
            if name.startswith(prefix)
        }
        return {**self._models[model], **taken}

    def _last(self, model: str, stage: str) -> tuple[ObjectId, Promotion] | None:
        """The newest move of a stage: its tag, and its record."""
        moves = {
            int(found[1]): oid
            for leaf, oid in self._tags(model).items()
            if (found := re.fullmatch(rf"{re.escape(stage)}/({_NUMBER})", leaf))
        }
        if not moves:
            return None
        n = max(moves)
        return moves[n], read_promotion(self.odb.tag(moves[n]), model, stage, n)

    def _annotated(self, oid: ObjectId, name: str) -> Tag:
        found = self.odb.read(oid)
        if found is None or found[1] != "tag":
            raise Refused("it is no annotated tag")
        tag = self.odb.tag(oid)
        if tag.name != name:
            raise Refused(f"the tag was made as {tag.name}")
        return tag

    def _commit(self, oid: ObjectId) -> ObjectId | None:
        return self.odb.resolve(str(oid))

    def _version(self, commit: ObjectId, model: str) -> None:
        """Raise unless a commit is the record of a version of a model."""
        found = self._model_of(commit)
        if found is None:
            raise Refused(f"{commit.short} is no version of {model}")
        if found != model:
            raise Refused(f"{commit.short} is a version of {found}, not of {model}")

    def _model_of(self, oid: ObjectId) -> str | None:
        """The model that a commit, or what a tag is on, is a version of."""
        commit = self._commit(oid)
        data = self.odb.file(commit, ".gitml/model.json") if commit is not None else None
        if commit is None or data is None:
            return None
        if dict(self.odb.commit(commit).trailers()).get("Gitml-Kind") != "version":
            return None
        return codec.from_json(Version, data, f"{commit.short}:.gitml/model.json").model

    def _is_known(self, model: str) -> bool:
        return any(
            re.fullmatch(f"v{_NUMBER}", leaf) and self._model_of(oid) == model
            for leaf, oid in self._tags(model).items()
        )


def _in_order(update: Change) -> tuple[int, str, int]:
    """Branches and what keeps versions, then numbers, moves by their n, what follows from moves."""
    name, _, last = update.name.rpartition("/")
    n = int(last) if last.isdigit() else 0
    if update.name.startswith(f"{TAGS}/"):
        return (3 if n and "@deleted" not in update.name else 2, name, n)
    return (4 if update.name.startswith(f"{STAGES}/") else 1, update.name, 0)


def _is_name(check: Callable[[str], str], text: str) -> bool:
    try:
        check(text)
    except InvalidName:
        return False
    return True
