"""Moves of stages, and deletions: each one immutable annotated tag, made by compare-and-swap.

An event tag ``<model>@<stage>/<n>`` binds project, model, stage, n, the version's commit, the
holder before and the object id of the event before: a chain that cannot be forged in the middle. To
create the tag is the compare-and-swap; the ref of the stage moves in the same transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gitml.entities import codec
from gitml.entities.ids import ObjectId, check_stage_name, check_twins
from gitml.entities.records import Promotion, Revocation, Tombstone
from gitml.errors import GitmlError, NameNotFound, RaceLost, UsageError
from gitml.frozen import replace
from gitml.git import locks, refs
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.settings import signs_tags
from gitml.git.signing import Signer, Signers, Verifier
from gitml.history.index import Index
from gitml.history.models import ModelState
from gitml.history.record import (
    FORKS,
    PENDING,
    STAGES,
    TAGS,
    TRACKING,
    Person,
    Recorder,
    revocation_tag,
    run_ref,
    timestamp,
    version_ref,
    version_tag,
)
from gitml.history.revs import Names, stage_changes
from gitml.promotion.chain import check_chain
from gitml.promotion.judging import judge, judge_tag, refuse_older_policy
from gitml.promotion.memory import Memory
from gitml.promotion.online import Online
from gitml.promotion.rule import CLEAR, PROMOTE, ROLL_BACK, Case, Evidence, Policies
from gitml.promotion.verdict import Verdict

_TRIES = 5
"""How often what the remote has taken is written here, while others bring parts of it."""


@dataclass(frozen=True, slots=True)
class Move:
    """What a promotion did: labels of the versions, the event's tag, and whether anything moved.

    ``verdict`` is what it was judged by; in a dry run it may be one that forbids the move.
    """

    model: str
    stage: str
    version: str | None
    before: str | None
    tag: str
    moved: bool = True
    verdict: Verdict | None = None


def refuse_alias(state: ModelState, stage: str) -> None:
    """Raise UsageError for a stage that would be called like an alias of the model."""
    if stage in state.aliases and stage not in state.stages:
        label = state.label(state.aliases[stage])
        raise UsageError(
            f"{stage} is an alias of {label}, and cannot be a stage too",
            hint=f"`gitml model alias {label} {stage} --delete` makes room",
        )


def _no_wish(model: str) -> ObjectId | None:
    return None


@dataclass
class Promoter:
    """Moves stages and deletes versions in one repository; every move names who and why.

    With ``dry_run`` everything is judged and answered as otherwise, and nothing is written. With
    ``online`` a tag is made on the git remote first, and here only when it is there. ``wished``
    tells the newest wish commit of a model; moves record it, so that a wish is carried out once.
    With ``hold`` they are emergencies, after which no wish moves the stage until it agrees.
    ``evidence`` is what is known of the promotion beside the repository, ``signers`` gives those
    whose signatures count, and ``memory`` is what this user saw of the stages before.
    """

    git: Git
    odb: Odb
    index: Index
    policies: Policies
    person: Person | None
    dry_run: bool = False
    online: Online | None = None
    wished: Callable[[str], ObjectId | None] = _no_wish
    hold: bool = False
    evidence: Evidence = field(default_factory=Evidence)
    signers: Callable[[], Signers] = Signers
    memory: Memory = field(default_factory=Memory)

    def promote(self, model: str, which: str, stage: str, reason: str) -> Move:
        """Make a version the holder of a stage.

        Raises NameNotFound, PolicyNotMet, RaceLost; UsageError where no identity is configured. A
        version that holds the stage already stays, and nothing is written.
        """
        check_stage_name(stage)
        state = self._state(model)
        check_twins([stage], state.stages, "stage")
        refuse_alias(state, stage)
        self._trust(state, stage)
        version = Names.now(self.index, self.odb).version(model, which)
        if state.holder(stage) == version:
            tag = f"{model}@{stage}/{state.stages[stage][-1].promotion.n}"
            label, verdict = state.label(version), None
            if self.dry_run:
                verdict = self._judged(self._case(state, stage, version, PROMOTE))
            else:
                self._finish(model, stage)
            return Move(model, stage, label, label, tag, moved=False, verdict=verdict)
        return self._move(state, stage, version, reason, PROMOTE)

    def rollback(self, model: str, stage: str, reason: str | None) -> Move:
        """Bring back the holder before; repeated, it goes further back. Raises UsageError."""
        check_stage_name(stage)
        state = self._state(model)
        self._trust(state, stage)
        version, n = held_before(state, stage)
        why = reason or f"roll-back to {state.label(version)}"
        return self._move(state, stage, version, why, ROLL_BACK, restores=n)

    def clear(self, model: str, stage: str, reason: str) -> Move:
        """Leave a stage without a holder; the vacancy is an event like any other."""
        check_stage_name(stage)
        state = self._state(model)
        self._trust(state, stage)
        if state.holder(stage) is None:
            raise NameNotFound(f"nothing holds {stage} of {model}", hint="`gitml stage list`")
        return self._move(state, stage, None, reason, CLEAR)

    def delete_version(self, model: str, which: str, reason: str) -> str:
        """Hide a version from all readers for ever; its label.

        A numbered one gets a tombstone and its number is never given again; a draft loses its ref.
        Raises UsageError for one that holds a stage.
        """
        person = self._who()
        names = Names.now(self.index, self.odb)
        state, commit = names.model(model), names.version(model, which)
        label, held = state.label(commit), state.held(commit)
        if held:
            raise GitmlError(
                f"{label} holds {' and '.join(held)}",
                hint=f"`gitml promote` another version to {held[0]}, "
                f"or `gitml stage clear {model} {held[0]} -m WHY`",
            )
        recorder = Recorder(self.git, self.odb, person)
        changes = []
        numbers = [n for n, one in state.numbers.items() if one == commit]
        now = time.time()
        for n in numbers:
            name = f"{model}@deleted/{n}"
            stone = Tombstone(
                self.policies.config.project, model, n, commit, reason, timestamp(now)
            )
            document = codec.to_document(stone)
            tag = recorder.line_tag(name, commit, f"{model} deleted v{n}", document, now)
            changes.append(Change(f"{TAGS}/{name}", tag, None))
        stages = self.index.refs_below(f"{STAGES}/{model}/")
        changes += [Change(one.name, one.target, one.target) for one in stages]
        if not numbers:
            changes.append(Change(version_ref(model, commit), None, commit))
        self._publish(recorder, changes, f"delete {label}")
        return label

    def revoke(self, record: Revocation) -> str:
        """Say that nothing may stand on a record any more; the tag's name.

        Saying it twice is saying it once: the first reason stays. Raises UsageError where git does
        not know who asks.
        """
        recorder = Recorder(self.git, self.odb, self._who())
        ref = revocation_tag(record)
        name = ref.removeprefix(f"{TAGS}/")
        if any(one.name == ref for one in self.index.refs_below(ref)):
            return name
        document = codec.to_document(record)
        subject = f"{record.name} revoked"
        tag = recorder.line_tag(name, record.commit, subject, document, time.time())
        try:
            self._publish(recorder, [Change(ref, tag, None)], f"revoke {record.name}")
        except RaceLost:
            if not any(one.name == ref for one in self.index.refs_below(ref)):
                raise
        return name

    def delete_run(self, commit: ObjectId) -> str:
        """Forget a run that no version descends from; raises UsageError where one does."""
        entry = self.index.run(commit)
        ref = run_ref(entry.record.pipeline, entry.record.started, commit) if entry else ""
        if entry is None or not self.index.refs_below(ref):
            raise NameNotFound(f"no run is called {commit.short}", hint="`gitml log`")
        for version in self.index.versions():
            if version.record.run == commit:
                model = version.record.model
                label = self._state(model).label(version.id)
                raise GitmlError(
                    f"{label} was made by the run {commit.short}",
                    hint=f"`gitml delete {label} -m WHY` hides the version; its run stays",
                )
        recorder = Recorder(self.git, self.odb, self.person or Person())
        self._publish(recorder, [Change(ref, None, commit)], f"delete run {commit.short}")
        return commit.short

    def _move(
        self,
        state: ModelState,
        stage: str,
        version: ObjectId | None,
        reason: str,
        move: str,
        *,
        restores: int | None = None,
    ) -> Move:
        person = self._who()
        events = state.stages.get(stage, ())
        before = events[-1].promotion.version if events else None
        target = version or before
        if target is None:
            raise UsageError(f"nothing holds {stage} of {state.name}")
        self._refuse_blocked(state.name, stage)
        case = self._case(state, stage, target, move)
        verdict = self._judged(case)
        now = time.time()
        promotion = replace(
            self._promotion(state, stage, version, reason, verdict, now), restores=restores
        )
        name, was = f"{state.name}@{stage}/{promotion.n}", state.label(before) if before else None
        if not verdict.ok:  # a dry run, in which nobody is asked for the pass phrase of a key
            label = state.label(version) if version else None
            return Move(state.name, stage, label, was, name, verdict=verdict)
        recorder = Recorder(self.git, self.odb, person, self._seal(case))
        changes, label = self._numbered(recorder, state, version)
        subject = f"{state.name} {stage} {promotion.n} {label or 'vacant'}"
        tag = recorder.line_tag(name, target, subject, codec.to_document(promotion), now)
        verdict = self._judged_tag(case, verdict, recorder.builder.data(tag))
        changes += self._changes(state, stage, version, name, tag)
        try:
            self._publish(recorder, changes, f"promote {label or state.name} to {stage}")
        except RaceLost as error:
            raise self._lost(state.name, stage, promotion.n) from error
        if not self.dry_run:
            self.memory.note(state.name, stage, promotion.n, tag)
        return Move(state.name, stage, label, was, name, verdict=verdict)

    def _refuse_blocked(self, model: str, stage: str) -> None:
        """Raise where a tag made by hand has the name below which the moves of a stage lie."""
        name = f"{TAGS}/{model}@{stage}"
        if any(one.name == name for one in self.index.refs_below(name)):
            raise refs.obstacle(name, f"{name}/1", f"promote to {stage}")

    def _promotion(
        self,
        state: ModelState,
        stage: str,
        version: ObjectId | None,
        reason: str,
        verdict: Verdict,
        now: float,
    ) -> Promotion:
        """The record of the next move of a stage."""
        events = state.stages.get(stage, ())
        last = events[-1] if events else None
        return Promotion(
            project=self.policies.config.project,
            model=state.name,
            stage=stage,
            n=last.promotion.n + 1 if last else 1,
            reason=reason,
            at=timestamp(now),
            version=version,
            before=last.promotion.version if last else None,
            previous=last.tag if last else None,
            policy=verdict.policy,
            policy_commit=verdict.policy_commit,
            verdict=verdict.record() if verdict.policy is not None else None,
            wish=self.wished(state.name),
            hold=self.hold or None,
        )

    def _changes(
        self,
        state: ModelState,
        stage: str,
        version: ObjectId | None,
        name: str,
        tag: ObjectId,
    ) -> list[Change]:
        """The refs that a move changes, and those that must not appear meanwhile."""
        stage_ref = f"{STAGES}/{state.name}/{stage}"
        below = {ref.name: ref.target for ref in self.index.refs_below(stage_ref)}
        current = below.get(stage_ref)
        changes = [Change(f"{TAGS}/{name}", tag, None)]
        numbers = [n for n, one in state.numbers.items() if one == version]
        changes += [Change(f"{TAGS}/{state.name}@deleted/{n}", None, None) for n in numbers]
        if version is not None or current is not None:
            changes.append(Change(stage_ref, tag if version is not None else None, current))
        return changes

    def _numbered(
        self, recorder: Recorder, state: ModelState, version: ObjectId | None
    ) -> tuple[list[Change], str | None]:
        """The change that numbers a draft, where it is one, and the label of the version."""
        if version is None or version in state.lowest:
            return [], state.label(version) if version else None
        number = state.next_number
        committer = self.odb.commit(version).committer
        tag = recorder.number(state.name, number, version, committer)
        return [Change(version_tag(state.name, number), tag, None)], f"{state.name}@v{number}"

    def _publish(self, recorder: Recorder, changes: list[Change], reason: str) -> None:
        """Write the tags and move the refs, all or none; raises RaceLost."""
        if self.dry_run:
            return
        recorder.builder.write_loose()
        if self.online is None:
            recorder.publish_few(changes, reason)
        else:
            made = [*changes, *self.online.create(changes)]
            refs.retried(lambda: recorder.publish_few(self._not_here(made), reason), _TRIES)
        self.index.refresh()

    def _not_here(self, made: Sequence[Change]) -> list[Change]:
        """Of changes that the remote has taken, those that no other process has brought here.

        From then on they are the truth, and whoever fetches beside us writes them first.
        """
        here = {
            one.name: one.target for one in refs.list_refs(self.git, [one.name for one in made])
        }
        return [one for one in made if one.old == one.new or here.get(one.name) != one.new]

    def keep_for_later(self, model: str, which: str, stage: str, reason: str) -> Move:
        """Note a promotion that is to be made when the git remote can be reached.

        No name resolves to it, and no plain git pushes it. Raises as `promote`.
        """
        check_stage_name(stage)
        state = self._state(model)
        refuse_alias(state, stage)
        self._trust(state, stage)
        version = Names.now(self.index, self.odb).version(model, which)
        verdict = self._judged(self._case(state, stage, version, PROMOTE))
        events = state.stages.get(stage, ())
        last = events[-1].promotion if events else None
        now, n = time.time(), last.n + 1 if last else 1
        promotion = Promotion(
            project=self.policies.config.project,
            model=model,
            stage=stage,
            n=n,
            reason=reason,
            at=timestamp(now),
            version=version,
        )
        recorder = Recorder(self.git, self.odb, self._who())
        name, label = f"{model}@{stage}/{n}", state.label(version)
        subject = f"{model} {stage} {n} {label}"
        tag = recorder.line_tag(name, version, subject, codec.to_document(promotion), now)
        ref = f"{PENDING}/{model}/{stage}/{tag.short}"
        if not self.dry_run:
            recorder.publish_few([Change(ref, tag, None)], f"keep a promotion of {label}")
        before = last.version if last else None
        was = state.label(before) if before else None
        return Move(model, stage, label, was, ref, verdict=verdict)

    def repair(self, model: str, stage: str) -> list[str]:
        """End a fork: keep the remote's moves of a stage, set this clone's aside; their names.

        What is set aside stays in ``refs/gitml/forks/<object id>``. Raises NameNotFound where there
        is no fork.
        """
        state = self._state(model)
        if stage not in state.forked:
            raise NameNotFound(
                f"{stage} of {model} is not forked", hint=f"`gitml stage log {model} {stage}`"
            )
        first, _, _ = state.forked[stage]
        prefix = f"{TAGS}/{model}@{stage}/"
        ours = {one.name: one.target for one in self.index.refs_below(prefix)}
        theirs = {
            f"{TAGS}/{one.name.rpartition('/tags/')[2]}": one.target
            for one in self.index.refs_below(f"{TRACKING}/")
            if one.name.rpartition("/tags/")[2].startswith(f"{model}@{stage}/")
        }
        moved = [
            name
            for name, tag in ours.items()
            if int(name.rpartition("/")[2]) >= first and theirs.get(name) != tag
        ]
        changes = [Change(name, theirs.get(name), ours[name]) for name in moved]
        changes += [Change(f"{FORKS}/{ours[name]}", ours[name], None) for name in moved]
        if not self.dry_run:
            refs.update(self.git, changes, f"end the fork of {model} {stage}")
            self.index.refresh()
            self.memory.accept(model, stage)
            follow = stage_changes(Names.now(self.index, self.odb))
            refs.update(self.git, follow, f"stage {stage} of {model}")
            self.index.refresh()
        return [name.removeprefix(f"{TAGS}/") for name in moved]

    def _finish(self, model: str, stage: str) -> None:
        """Do what a promotion left to do that was killed behind its tag: its locks, its ref."""
        locks.settle(self.git)
        ref = f"{STAGES}/{model}/{stage}"
        follow = [one for one in stage_changes(Names.now(self.index, self.odb)) if one.name == ref]
        if follow:
            refs.update(self.git, follow, f"stage {stage} of {model}")
            self.index.refresh()

    def _lost(self, model: str, stage: str, n: int) -> RaceLost:
        """Who moved the stage first, read from the tag that is there now."""
        self.index.refresh()
        events = self._state(model).stages.get(stage, ())
        winner = next((one for one in events if one.promotion.n == n), None)
        if winner is None:
            return RaceLost(f"{stage} of {model} is being moved by another process")
        who = winner.tagger.partition(" <")[0]
        holder = winner.promotion.version
        to = self._state(model).label(holder) if holder else "vacant"
        return RaceLost(
            f"{who} moved {stage} of {model} first: {to}",
            hint=f"`gitml stage log {model} {stage}` shows it; if you still mean it, the same "
            "command with `--retry`",
        )

    def _state(self, model: str) -> ModelState:
        return Names.now(self.index, self.odb).model(model)

    def _trust(self, state: ModelState, stage: str) -> None:
        """Raise NotTrusted where the moves of a stage so far cannot be what happened."""
        check_chain(self.index, state, stage, self.policies.config.project)
        self.memory.check(state, stage)

    def _case(self, state: ModelState, stage: str, version: ObjectId, move: str) -> Case:
        names = Names.now(self.index, self.odb)
        return Case(
            *(self.git, self.odb, self.index, names, self.policies),
            *(state.name, stage, version, move, replace(self.evidence, signers=self.signers)),
        )

    def _judged(self, case: Case) -> Verdict:
        """The verdict on a move; raises PolicyNotMet for one that forbids it, unless it is dry."""
        refuse_older_policy(self.git, self.odb, self.policies, case.state, case.stage)
        verdict = judge(case, before_tag=True)
        if not verdict.ok and not self.dry_run:
            raise verdict.refusal()
        return verdict

    def _judged_tag(self, case: Case, verdict: Verdict, tag: bytes) -> Verdict:
        """The verdict with what is asked of the event tag, which is not stored yet."""
        with Verifier(self.git, self.signers()) as verifier:
            evidence = replace(case.evidence, signature=lambda: verifier.verify(tag))
            whole = judge_tag(replace(case, evidence=evidence), verdict)
        if not whole.ok and not self.dry_run:
            raise whole.refusal()
        return whole

    def _seal(self, case: Case) -> Callable[[bytes], bytes] | None:
        """What signs the tags of a move; None where nobody asks for signatures."""
        asked = case.policy is not None and any(one.of_tag for one in case.policy.rules)
        if asked or signs_tags(self.git, case.config.signing.tags):
            return Signer(self.git).sign
        return None

    def _who(self) -> Person:
        if self.person is None:
            raise UsageError(
                "a promotion names who made it, and git does not know you",
                hint="`git config user.name 'Your Name' && git config user.email you@example.org`",
            )
        return self.person


def held_before(state: ModelState, stage: str) -> tuple[ObjectId, int]:
    """The version that a roll-back brings back, and the n of the event that made it the holder.

    Versions that are deleted are passed over. Raises NameNotFound, UsageError where there is none.
    """
    events = state.stages.get(stage, ())
    if not events:
        raise NameNotFound(
            f"{stage} of {state.name} has never been held", hint=f"`gitml stage list {state.name}`"
        )
    last = events[-1].promotion
    reference = last.restores or last.n
    for event in reversed(events):
        version, n = event.promotion.version, event.promotion.n
        if version is None or version in state.hidden or version == last.version:
            continue
        if n < reference:
            return version, n
    raise UsageError(f"nothing held {stage} of {state.name} before")
