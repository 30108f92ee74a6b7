"""Pushing records: the current branch, versions with what they need, in one atomic push.

Numbers are given here, where the remote decides: a version tag is created there by its object id,
and only if nobody has that number. What was refused is found out by looking at the remote's refs
again. Bytes go first (`Plan.needs` says whose), local refs come last.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, RaceLost, some
from gitml.git import refs, transport
from gitml.git.odb import Commit, Odb, is_ancestor
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.settings import set_setting
from gitml.git.transport import Move, Refusal, RemoteRef, Tell
from gitml.history.index import Index
from gitml.history.notes import REF as NOTES
from gitml.history.notes import Notes
from gitml.history.record import RUNS, SOURCES, TAGS, Person, Recorder, run_ref, version_ref
from gitml.history.revs import Names
from gitml.sync import tracking
from gitml.sync.kinship import check_kin
from gitml.sync.numbering import Number, numbered
from gitml.sync.selection import BRANCH, Selection, Selector

_BUDGET = 60.0
"""Seconds for which a push is tried again when others push at the same time."""
_STUBBORN = 4
"""Refusals with nothing changed on the remote after which it does not want to."""
_RECORDS = ("source", "step", "run", "version", "fold")
_AT_ONCE = 2000
"""Refs of one push: each stands on git's command line."""


@dataclass
class Plan:
    """What a push is going to do, from one look at the remote's refs.

    ``code`` are the commits of code that would be published and are on no branch of the remote,
    newest first; ``made`` is what was made from a commit. ``at_home`` counts the runs that nothing
    asks for, ``forked`` are moves of a stage that the remote has another tag for, ``outrun``
    aliases (``clf@champion``) that another clone has moved first, so that the last move here does
    not count. ``local`` are the refs of this clone that follow. ``lost`` is data that others have
    pushed without its bytes, ``sent`` how many bytes had to go; ``promoted`` are the promotions
    that had waited for this, ``following`` the branches that had no upstream and follow the
    remote's since now.
    """

    remote: str
    there: Mapping[str, RemoteRef]
    selection: Selection
    moves: list[Move] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    code: list[Commit] = field(default_factory=list)
    made: dict[ObjectId, list[str]] = field(default_factory=dict)
    forked: list[str] = field(default_factory=list)
    outrun: list[str] = field(default_factory=list)
    local: list[Change] = field(default_factory=list)
    at_home: int = 0
    lost: list[str] = field(default_factory=list)
    sent: int = 0
    promoted: list[Any] = field(default_factory=list)
    following: list[str] = field(default_factory=list)

    @property
    def branches(self) -> list[str]:
        """The branches that move, by short name."""
        return [one.name.removeprefix(BRANCH) for one in self.moves if one.name.startswith(BRANCH)]

    @property
    def versions(self) -> list[str]:
        """The versions that get their tag on the remote."""
        return [f"{one.model}@v{one.number}" for one in self.numbers if one.is_new]

    def count(self, prefix: str) -> int:
        """How many refs below a prefix move."""
        return sum(one.name.startswith(prefix) for one in self.moves)

    @property
    def runs(self) -> int:
        """How many runs go there."""
        return self.count(f"{RUNS}/")

    @property
    def saved(self) -> int:
        """How many saved values go there."""
        return self.count(f"{SOURCES}/")

    @property
    def tags(self) -> list[str]:
        """Moves of stages, deletions and aliases that go there, by tag."""
        names = [one.name for one in self.moves if one.name.startswith(f"{TAGS}/")]
        return [one.removeprefix(f"{TAGS}/") for one in names if not tracking.is_version_tag(one)]

    @property
    def notes(self) -> bool:
        """Whether metadata goes there."""
        return any(one.name == NOTES for one in self.moves)

    @property
    def tips(self) -> list[ObjectId]:
        """What the remote's refs will name: whoever sees them expects the bytes."""
        return list(dict.fromkeys(one.new for one in self.moves if one.name != NOTES))


Carry = Callable[[Plan], None]
"""Brings the bytes that a plan needs to where everybody finds them, or raises."""


@dataclass
class Pusher:
    """Pushes from one clone. ``confirm`` is asked before code is published; it raises for a no.

    ``seal`` signs the tags of new numbers.
    """

    git: Git
    odb: Odb
    index: Index
    person: Person
    confirm: Callable[[Plan], None] = lambda plan: None
    carry: Carry = lambda plan: None
    tell: Tell | None = None
    seal: Callable[[bytes], bytes] | None = None
    _atomic: bool = True

    def push(
        self, remote: str, words: Sequence[str], *, runs: bool = False, dry_run: bool = False
    ) -> Plan:
        """Push what the words name, or the current branch and all versions; what was done.

        Raises RaceLost where the branch of the remote has commits that this clone lacks, or others
        keep pushing for too long; AuthenticationFailed, GitmlError; NameNotFound, UsageError.
        """
        deadline = time.monotonic() + _BUDGET
        stubborn = 0
        asked: set[ObjectId] = set()
        while True:
            self.index.refresh()
            there = transport.list_remote(self.git, remote)
            check_kin(self.git, self.odb, remote, there)
            recorder = Recorder(self.git, self.odb, self.person, self.seal)
            plan = self._plan(remote, there, words, runs, recorder)
            if dry_run:
                return plan
            if not asked.issuperset(one.id for one in plan.code):
                self.confirm(plan)
                asked.update(one.id for one in plan.code)
            refusal = self._carry_out(plan, recorder)
            if refusal is None:
                return plan
            if refusal.no_atomic and self._atomic:
                self._atomic = False
                continue
            now = transport.list_remote(self.git, remote)
            changed = any(now.get(one.name) != there.get(one.name) for one in plan.moves)
            stubborn = 0 if changed else stubborn + 1
            is_late = time.monotonic() > deadline
            if stubborn >= _STUBBORN or (stubborn and is_late):
                raise _refused(plan, refusal)
            if is_late:
                raise RaceLost(
                    f"others keep pushing to {remote}", hint="`gitml push` tries it again"
                )
            time.sleep(random.uniform(0.05, 0.3) * (stubborn + 1))  # noqa: S311 - jitter

    def _carry_out(self, plan: Plan, recorder: Recorder) -> Refusal | None:
        """The law of order: bytes there, objects here, refs there, refs here."""
        self.carry(plan)
        if plan.moves:
            recorder.builder.write_loose()
            refusal = self._send(plan)
            if refusal is not None:
                return refusal
        elif plan.local:
            recorder.builder.write_loose()
        if plan.local:
            refs.update(self.git, plan.local, f"push to {plan.remote}")
            self.index.refresh()
        self._follow(plan)
        return None

    def _follow(self, plan: Plan) -> None:
        """Give the branches that have none an upstream, as ``git push -u`` does."""
        for name in plan.selection.branches:
            short = name.removeprefix(BRANCH)
            if self.git.config(f"branch.{short}.merge") is None:
                set_setting(self.git, f"branch.{short}.remote", plan.remote)
                set_setting(self.git, f"branch.{short}.merge", name)
                plan.following.append(short)

    def _send(self, plan: Plan) -> Refusal | None:
        """Push the refs; in parts where they are very many, and the branch and numbers last."""
        early = [one for one in plan.moves if one.name.startswith("refs/gitml/")]
        late = [one for one in plan.moves if not one.name.startswith("refs/gitml/")]
        if len(plan.moves) <= _AT_ONCE:
            early, late = [], [*early, *late]
        parts = [early[at : at + _AT_ONCE] for at in range(0, len(early), _AT_ONCE)]
        for part in (*parts, late):
            if part:
                refusal = transport.push(
                    self.git, plan.remote, part, atomic=self._atomic, tell=self.tell
                )
                if refusal is not None:
                    return refusal
        return None

    # The plan

    def _plan(
        self,
        remote: str,
        there: Mapping[str, RemoteRef],
        words: Sequence[str],
        runs: bool,
        recorder: Recorder,
    ) -> Plan:
        names = Names.now(self.index, self.odb)
        selector = Selector(self.git, self.odb, self.index, names)
        chosen = selector.named(words, runs=runs) if words else selector.everything(runs=runs)
        plan = Plan(remote, there, chosen)
        plan.moves += self._branches(plan)
        plan.numbers = numbered(recorder, self.index, names, there, chosen.versions)
        wanted = dict(self._record_refs(plan))
        plan.moves += [Move(name, oid) for name, oid in wanted.items() if name not in there]
        plan.moves += self._tags(plan, wanted)
        plan.code = self._unpublished(plan)
        plan.made = self._made(plan) if plan.code else {}
        plan.moves += self._notes(plan)
        if chosen.whole:
            ours = self.index.refs_below(f"{RUNS}/")
            plan.at_home = sum(r.name not in there and r.name not in wanted for r in ours)
        plan.local = list(self._followers(plan, wanted))
        return plan

    def _branches(self, plan: Plan) -> Iterator[Move]:
        for name, tip in plan.selection.branches.items():
            short = name.removeprefix(BRANCH)
            place = self._upstream(plan, name)
            old = plan.there[place].target if place in plan.there else None
            if tip == old:
                continue
            if old is not None and not is_ancestor(self.git, old, tip):
                seen = f"refs/remotes/{plan.remote}/{place.removeprefix(BRANCH)}"
                if any(is_ancestor(self.git, tip, one) for one in (old, seen)):
                    continue  # behind: nothing of ours is missing there
                raise RaceLost(
                    f"{short} on {plan.remote} has commits that this clone's {short} lacks",
                    hint="`gitml pull` brings them; where both sides have commits, `git pull` "
                    "merges or rebases, and then `gitml push`",
                )
            yield Move(place, tip, old)

    def _upstream(self, plan: Plan, branch: str) -> str:
        """What a branch is called on the remote."""
        short = branch.removeprefix(BRANCH)
        if self.git.config(f"branch.{short}.remote") == plan.remote:
            return self.git.config(f"branch.{short}.merge") or branch
        return branch

    def _record_refs(self, plan: Plan) -> Iterator[tuple[str, ObjectId]]:
        """The refs that keep what was chosen, with the version tags."""
        chosen = plan.selection
        runs = dict.fromkeys(chosen.runs)
        for number in plan.numbers:
            entry = self.index.version(number.commit)
            if entry is not None:
                runs[entry.record.run] = None
            yield version_ref(number.model, number.commit), number.commit
            if number.is_here:
                yield number.name, number.tag
        for commit in runs:
            run = self.index.run(commit)
            if run is not None:
                yield run_ref(run.record.pipeline, run.record.started, commit), commit
        for ref in chosen.saved:
            yield ref.name, ref.target

    def _tags(self, plan: Plan, wanted: Mapping[str, ObjectId]) -> Iterator[Move]:
        """What else stands on versions that are there or go there: moves, deletions, aliases."""
        going = {one.commit for one in plan.numbers}
        going |= {one.commit for name, one in plan.there.items() if tracking.is_version_tag(name)}
        stopped: set[str] = set()
        outrun: set[str] = set()
        tags = [ref for ref in self.index.refs_below(f"{TAGS}/") if "@" in ref.name]
        for ref in sorted(tags, key=lambda one: _place(one.name)):
            stage = ref.name.rpartition("/")[0]
            known = plan.there.get(ref.name)
            if tracking.is_version_tag(ref.name) or tracking.tracked("x", ref.name) is None:
                continue
            outrun.discard(stage)  # a later move of an alias counts
            if known is not None and known.target != ref.target:
                is_event = re.search(r"@(?!alias/|deleted/|revoked/)", ref.name)
                plan.forked += [ref.name.removeprefix(f"{TAGS}/")] if is_event else []
                (outrun if "@alias/" in ref.name else stopped).add(stage)
                continue
            meant = plan.selection.whole or ref.commit in plan.selection.records
            stands = ref.commit in going
            if "@revoked/" in ref.name and known is None and not stands:
                stands = self._is_behind(ref.commit, going)
            if meant and known is None and stands and stage not in stopped:
                yield Move(ref.name, ref.target)
        plan.outrun += [
            one.removeprefix(f"{TAGS}/").replace("@alias/", "@", 1) for one in sorted(outrun)
        ]

    def _is_behind(self, commit: ObjectId, tips: Iterable[ObjectId]) -> bool:
        """Whether any of the tips descends from a commit."""
        lines = "".join(f"^{one}\n" for one in tips if one in self.odb)
        given = f"{commit}\n{lines}".encode()
        return not self.git.run("rev-list", "--max-count=1", "--stdin", stdin=given).strip()

    def _unpublished(self, plan: Plan) -> list[Commit]:
        """The code commits that go there and are on no branch of the remote."""
        if not plan.selection.code or not plan.moves:
            return []
        known = [one.target for one in plan.there.values()]
        branches = [one.new for one in plan.moves if one.name.startswith(BRANCH)]
        lines = [str(one) for one in sorted(plan.selection.code)]
        lines += [f"^{one}" for one in dict.fromkeys([*known, *branches])]
        listing = self.git.run(
            "rev-list", "--ignore-missing", "--stdin", stdin="\n".join(lines).encode() + b"\n"
        )
        found = [self.odb.commit(ObjectId(one)) for one in listing.decode().split()]
        return [one for one in found if dict(one.trailers()).get("Gitml-Kind") not in _RECORDS]

    def _made(self, plan: Plan) -> dict[ObjectId, list[str]]:
        """The versions that go there by the code that made them, and runs of which none is one."""
        made: dict[ObjectId, list[str]] = {}
        for one in plan.numbers:
            number = f"v{one.before or one.number}"
            name = f"{one.model}@{one.commit.short if one.was_draft else number}"
            made.setdefault(self.odb.commit(one.commit).parents[0], []).append(name)
        behind = set(made)
        for commit in plan.selection.runs:
            code = self.odb.commit(commit).parents[0]
            if code not in behind:
                made.setdefault(code, []).append(f"run {commit.short}")
        return made

    def _notes(self, plan: Plan) -> Iterator[Move]:
        """The notes on what is on the remote or goes there; others stay at home."""
        ours = self.odb.resolve(NOTES)
        if ours is None or not plan.selection.whole:
            return
        theirs = plan.there[NOTES].target if NOTES in plan.there else None
        if theirs is not None and theirs == ours:
            return
        if theirs is not None and theirs not in self.odb:
            transport.fetch(self.git, plan.remote, [theirs])
        notes = Notes(self.git, self.odb)
        known = [one.target for one in plan.there.values()]
        tips = [one.new for one in plan.moves]
        noted = notes.commits(ours)
        lines = [str(one) for one in noted]
        lines += [f"^{one}" for one in dict.fromkeys([*known, *tips])]
        self.odb.close()
        hidden = self.git.run(
            "rev-list", "--ignore-missing", "--stdin", stdin="\n".join(lines).encode() + b"\n"
        )
        private = {ObjectId(one) for one in hidden.decode().split()}
        new = notes.merged(ours, theirs, self.person, leave=private.__contains__)
        if new is not None and new != theirs:
            yield Move(NOTES, new, theirs)

    def _followers(self, plan: Plan, wanted: Mapping[str, ObjectId]) -> Iterator[Change]:
        """The refs of this clone that follow: numbers, and what the remote has from now on."""
        patterns = [tracking.all_tracked(plan.remote), f"refs/remotes/{plan.remote}"]
        here = refs.targets(self.git, [*tracking.LOCAL, *patterns])
        for number in plan.numbers:
            yield from number.local_changes(here)
        there = {one.name: one.new for one in plan.moves}
        # A push that was killed has not noted what it did.
        known = {name: one.target for name, one in plan.there.items()}
        there |= {name: oid for name, oid in wanted.items() if known.get(name) == oid}
        for name, tip in plan.selection.branches.items():  # and neither has its git
            upstream = self._upstream(plan, name)
            follows = f"refs/remotes/{plan.remote}/{upstream.removeprefix(BRANCH)}"
            if tip == known.get(upstream) and here.get(follows) != tip.hex:
                yield Change(follows, tip, ObjectId(here[follows]) if follows in here else None)
        for name, oid in there.items():
            place = tracking.tracked(plan.remote, name)  # of a branch, git's own follows
            if place is not None and here.get(place) != oid.hex:
                yield Change(place, oid, ObjectId(here[place]) if place in here else None)
            if tracking.is_kept(name) and name not in here:
                yield Change(name, oid, None)


def _place(name: str) -> tuple[str, int]:
    """Sorts the moves of a stage by their n."""
    stage, _, n = name.rpartition("/")
    return stage, int(n) if n.isdecimal() else 0


def _refused(plan: Plan, refusal: Refusal) -> GitmlError:
    """The error for a remote that does not take what others have not touched.

    A server may refuse some refs and take the others, in an atomic push too: hidden ones.
    """
    reasons = {name: why for name, why in refusal.refs.items() if "atomic" not in why}
    shown = reasons or dict(refusal.refs)
    name = next(iter(shown), "")
    return refusal.error(
        f"{plan.remote} refuses {some(list(shown), 1) or 'the push'}",
        hint="its administrator can allow refs below `refs/gitml/` and tags with `@`"
        if name.startswith(("refs/gitml/", "refs/notes/", f"{TAGS}/"))
        else f"`git push {plan.remote}` says it in git's own words",
        name=name,
    )
