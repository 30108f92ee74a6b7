"""Fetching records: what a git remote has and this clone lacks, merged by kind.

The remote's refs are compared with what was noted of them at the last fetch. The new objects come
first, by their ids, and then one transaction notes what the remote has and makes what is missing
here. So a fetch that is killed has done nothing or all of it, and one that brings nothing is one
question to the remote and one listing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitml.entities.ids import ObjectId
from gitml.errors import AuthenticationFailed, GitmlError, RaceLost
from gitml.git import locks, refs, transport
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.transport import RemoteRef, Tell
from gitml.history.index import Index
from gitml.history.notes import REF as NOTES
from gitml.history.notes import Notes
from gitml.history.record import RUNS, SOURCES, TAGS, TRACKING, VERSIONS, Person
from gitml.history.revs import Names, stage_changes
from gitml.sync import tracking
from gitml.sync.kinship import check_kin

_TRIES = 8
_MANY = 200
"""Refs from which on they are packed: loose ones slow every git command, and each is flushed."""


@dataclass
class Fetched:
    """What a fetch brought, or would bring.

    ``versions``, ``moves`` (of stages), ``deleted``, ``revoked`` and ``aliases`` are tags,
    ``runs``, ``drafts`` and ``saved`` how many; ``renumbered`` are versions of this clone that lost
    their number to one of the remote's; ``forked`` are moves that both sides have made; ``outrun``
    are moves of aliases here that lost to another clone's, ``replaced`` the aliases that mean
    another version by that: what they mean now, and did here (``v3``, ``nothing``); ``branches``
    tells whether the remote's branches were looked at again, ``head`` is the tip of its default
    branch, which a fetch of tags alone does not bring. ``moved`` tells whether refs here have.
    """

    remote: str
    versions: list[str] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    runs: int = 0
    drafts: int = 0
    saved: int = 0
    notes: bool = False
    branches: bool = False
    renumbered: list[str] = field(default_factory=list)
    forked: list[str] = field(default_factory=list)
    outrun: list[str] = field(default_factory=list)
    replaced: dict[str, tuple[str, str]] = field(default_factory=dict)
    head: ObjectId | None = None
    moved: bool = False

    def note(self, name: str) -> None:
        """Take in the ref of a record that is new here."""
        if name.startswith(f"{RUNS}/"):
            self.runs += 1
        elif name.startswith(f"{SOURCES}/"):
            self.saved += 1
        elif name.startswith(f"{TAGS}/"):
            tag = name.removeprefix(f"{TAGS}/")
            group = tag.partition("@")[2].partition("/")[0]
            lists = {"deleted": self.deleted, "revoked": self.revoked, "alias": self.aliases}
            is_version = tracking.is_version_tag(name)
            (self.versions if is_version else lists.get(group, self.moves)).append(tag)


@dataclass
class Fetcher:
    """Fetches into one clone; ``person`` is who a merge of notes is by."""

    git: Git
    odb: Odb
    index: Index
    person: Person

    def fetch(
        self,
        remote: str,
        *,
        tags_only: bool = False,
        tell: Tell | None = None,
        dry_run: bool = False,
    ) -> Fetched:
        """Bring what the remote has and this clone lacks; nothing of this clone's is overwritten.

        ``tags_only`` leaves out branches, runs and metadata: versions and stages are known by tags.
        A number that both sides have given is the remote's: the version here becomes a draft again.
        Raises UsageError where the remote is another project's; AuthenticationFailed, GitmlError;
        RaceLost where refs here keep moving meanwhile.
        """
        if not dry_run:
            locks.settle(self.git)
        self.index.refresh()
        before = Names.now(self.index, self.odb)
        others_first = False

        def attempt() -> Fetched:
            nonlocal others_first
            try:
                return self._attempt(remote, tags_only, tell, dry_run)
            except RaceLost:
                others_first = True
                raise

        done = refs.retried(attempt, _TRIES)
        if not dry_run:
            now = before
            if done.moved or others_first:
                self.index.refresh()
                now = Names.now(self.index, self.odb)
            _note_replaced(done, before, now)
            moved = stage_changes(now)
            if moved:
                refs.update(self.git, moved, f"stages of {remote}")
                self.index.refresh()
        return done

    def _attempt(self, remote: str, tags_only: bool, tell: Tell | None, dry_run: bool) -> Fetched:
        without = "refs/gitml/" if tags_only else None
        there = transport.list_remote(self.git, remote, without=without)
        check_kin(self.git, self.odb, remote, there)
        head = there.get("HEAD")
        if tags_only:
            there = {name: one for name, one in there.items() if name.startswith(f"{TAGS}/")}
        patterns = [*tracking.LOCAL, tracking.all_tracked(remote), f"refs/remotes/{remote}"]
        if tags_only:
            patterns = [TAGS, f"{tracking.all_tracked(remote)}/tags"]
        here = refs.targets(self.git, patterns)
        theirs = {name: str(ref.target) for name, ref in there.items()}
        refspecs = [] if tags_only else tracking.branch_refspecs(self.git, remote, theirs, here)
        wanted = {
            name: place for name in there if (place := tracking.tracked(remote, name)) is not None
        }
        moved = [name for name, place in wanted.items() if here.get(place) != theirs[name]]
        done = Fetched(remote, branches=bool(refspecs), head=head.target if head else None)
        if not dry_run and (refspecs or moved):
            self._bring(remote, there, moved, refspecs, tell)
        changes = [
            Change(wanted[name], there[name].target, _old(here, wanted[name])) for name in moved
        ]
        changes += self._merged(there, here, wanted, set(moved), done, dry_run=dry_run)
        if dry_run:
            _foresee_replaced(done, Names.now(self.index, self.odb), there)
        noted = set(wanted.values())
        looked_at = f"{tracking.all_tracked(remote)}/{'tags/' if tags_only else ''}"
        for place in here:
            if place.startswith(looked_at) and place not in noted:
                changes.append(Change(place, None, _old(here, place)))
        if changes and not dry_run:
            self._publish(changes, f"fetch {remote}")
        done.moved = bool(changes or refspecs)
        return done

    def _publish(self, changes: Sequence[Change], reason: str) -> None:
        """Move the refs; where they are very many, what notes the remote's follows the others.

        Then a power cut between the two leaves refs that the next fetch looks at again.
        """
        if len(changes) < _MANY:
            refs.update(self.git, changes, reason)
            return
        noted = [one for one in changes if one.name.startswith(f"{TRACKING}/")]
        ours = [one for one in changes if not one.name.startswith(f"{TRACKING}/")]
        for part in (ours, noted):
            refs.update(self.git, part, reason, packed=True)

    def _bring(
        self,
        remote: str,
        there: Mapping[str, RemoteRef],
        moved: Sequence[str],
        refspecs: Sequence[str],
        tell: Tell | None,
    ) -> None:
        """Bring the objects of refs; raises RaceLost where they have moved on meanwhile."""
        try:
            ids = [there[name].target for name in moved]
            moving = self._moving(remote, there) if refspecs else {}
            transport.fetch(self.git, remote, ids, refspecs, tell, moving)
        except GitmlError as error:
            known_to_them = not isinstance(error, AuthenticationFailed)
            now = transport.list_remote(self.git, remote) if known_to_them else there
            if any(now.get(name) != there[name] for name in there):
                raise RaceLost(f"the refs of {remote} moved during the fetch") from error
            raise

    def _moving(self, remote: str, there: Mapping[str, RemoteRef]) -> dict[str, str]:
        """The refs that git moves itself: the branches of the remote, and tags that follow them."""
        heads, tags = "refs/heads/", f"{TAGS}/"
        here = refs.targets(self.git, [TAGS])
        moving = {}
        for name, one in there.items():
            if name.startswith(heads):
                moving[f"refs/remotes/{remote}/{name.removeprefix(heads)}"] = str(one.target)
            elif name.startswith(tags) and name not in here:
                moving[name] = str(one.target)
        return moving

    def _merged(
        self,
        there: Mapping[str, RemoteRef],
        here: Mapping[str, str],
        wanted: Mapping[str, str],
        moved: set[str],
        done: Fetched,
        *,
        dry_run: bool,
    ) -> list[Change]:
        """What becomes of the refs of this clone."""
        changes = []
        numbered = {one.commit for name, one in there.items() if tracking.is_version_tag(name)}
        for name in wanted:
            ours, theirs = _old(here, name), there[name]
            if name == NOTES:
                changes += [] if dry_run else self._notes(ours, theirs, done)
            elif ours is None and (name in moved or not tracking.is_kept(name)):
                # A tag is never deleted, so one that is missing was lost; a run may have been.
                changes.append(Change(name, theirs.target, None))
                done.note(name)
                done.drafts += name.startswith(f"{VERSIONS}/") and theirs.commit not in numbered
            elif ours is not None and ours != theirs.target and not tracking.is_kept(name):
                changes += self._clash(name, ours, theirs, done)
        return changes

    def _notes(self, ours: ObjectId | None, theirs: RemoteRef, done: Fetched) -> list[Change]:
        if ours == theirs.target:
            return []
        new = Notes(self.git, self.odb).merged(ours, theirs.target, self.person)
        if new is None or new == ours:
            return []
        done.notes = True
        return [Change(NOTES, new, ours)]

    def _clash(self, name: str, ours: ObjectId, theirs: RemoteRef, done: Fetched) -> list[Change]:
        """Two tags of one name: numbers are the remote's; two moves of a stage are a fork."""
        tag = name.removeprefix(f"{TAGS}/")
        commit = self.odb.resolve(str(ours))
        if tracking.is_version_tag(name):
            found = self.odb.read(theirs.target)
            if commit == theirs.commit or found is None or found[1] != "tag" or commit is None:
                return []
            done.versions.append(tag)
            done.renumbered.append(f"{tag.partition('@')[0]}@{commit.short}")
            return [Change(name, theirs.target, ours)]
        if re.search(rf"@(?!alias/|deleted/)[^/]+/{tracking.NUMBER}\Z", tag):
            done.forked.append(tag)
        if "@alias/" in tag and commit is not None:  # whoever comes first moves it, as of numbers
            done.aliases.append(tag)
            done.outrun.append(tag)
            return [Change(name, theirs.target, ours)]
        return []


def _note_replaced(done: Fetched, before: Names, now: Names) -> None:
    """Note the aliases whose move here lost to that of another clone, and mean another version."""
    for tag in done.outrun:
        model, _, rest = tag.partition("@alias/")
        alias = rest.rpartition("/")[0]
        if model not in before.models:
            continue
        ours, theirs = (one.model(model).aliases.get(alias) for one in (before, now))
        if ours != theirs:
            state = now.model(model)
            labels = [
                state.label(one).partition("@")[2] if one else "nothing" for one in (theirs, ours)
            ]
            done.replaced[f"{model}@{alias}"] = (labels[0], labels[1])


def _foresee_replaced(done: Fetched, names: Names, there: Mapping[str, RemoteRef]) -> None:
    """Note the same before the moves are here: each is taken for one to the version that it tags.

    (One that takes the alias away tags the version that had it.)
    """
    numbers = {one.commit: name for name, one in there.items() if tracking.is_version_tag(name)}
    for tag in done.outrun:
        model, _, rest = tag.partition("@alias/")
        alias = rest.rpartition("/")[0]
        prefix = f"{TAGS}/{model}@alias/{alias}/"
        moves = {
            int(name.removeprefix(prefix)): one
            for name, one in there.items()
            if name.startswith(prefix) and name.removeprefix(prefix).isdigit()
        }
        if model not in names.models or max(moves) < names.model(model).alias_ends.get(alias, 0):
            continue  # a later move here is not outrun, and counts
        state = names.model(model)
        ours, theirs = state.aliases.get(alias), moves[max(moves)].commit
        if ours != theirs:
            which = numbers.get(theirs, f"@{theirs.short}").rpartition("@")[2]
            was = state.label(ours).partition("@")[2] if ours else "nothing"
            done.replaced[f"{model}@{alias}"] = (which, was)


def _old(here: Mapping[str, str], name: str) -> ObjectId | None:
    return ObjectId(here[name]) if name in here else None
