"""The plan: which wishes are carried out, which are not, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.errors import ConfigError, GitmlError, NameNotFound, PolicyNotMet, UsageError
from gitml.frozen import Frozen, field, replace
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.history.index import Index
from gitml.history.models import ModelState
from gitml.history.revs import Names
from gitml.promotion.approving import signed_approvals
from gitml.promotion.judging import judge
from gitml.promotion.promote import held_before
from gitml.promotion.rule import PROMOTE as PROMOTE_MOVE
from gitml.promotion.rule import (
    PULL_REQUEST,
    ROLL_BACK,
    Approval,
    Case,
    Evidence,
    Policies,
)
from gitml.promotion.signers import signers_at
from gitml.promotion.verdict import Verdict
from gitml.promotion.wishes import Wishes, path_of

DONE, PROMOTE, REFUSED, KEPT, HELD, WRONG = (
    *("done", "promote", "refused"),
    *("kept", "held", "wrong"),
)
"""What becomes of a wish: it is so already, or will be; its policy says no; the stage was moved
since by other means; an emergency holds it back; it cannot mean anything."""

Approvals = Callable[[ObjectId], list[Approval]]
"""Who approved what made a commit, as a forge knows it."""


class PlannedMove(Frozen):
    """A wish, and what becomes of it.

    ``wish`` is the version as it is written, ``version`` what it means and ``label`` its name;
    ``holder`` is who holds the stage now; ``goes_back`` tells that the wish is for the one before,
    so that it is judged and recorded as a roll-back. ``commit`` is the wish commit: the one on the
    branch that last changed the file. ``why`` is a phrase. ``error`` says of a wrong wish what is
    wrong with it, ``verdict`` what the policy says of one that would move something.
    """

    model: str
    stage: str
    wish: str
    what: str
    why: str = ""
    commit: ObjectId | None = None
    version: ObjectId | None = None
    label: str | None = None
    holder: str | None = None
    goes_back: bool = False
    verdict: Verdict | None = None
    error: GitmlError | None = field(default=None, compare=False)

    def document(self) -> dict[str, Any]:
        """The planned move as JSON."""
        return {
            "model": self.model,
            "stage": self.stage,
            "wish": self.wish,
            "version": self.label,
            "holder": self.holder,
            "state": self.what,
            "why": self.why,
            "wish_commit": str(self.commit) if self.commit else None,
            "verdict": self.verdict.document() if self.verdict else None,
        }

    def refusal(self) -> GitmlError | None:
        """The error that this wish is, if it is one."""
        if self.error is not None or self.verdict is None or self.what != REFUSED:
            return self.error
        return self.verdict.refusal()


class Proposal(Frozen):
    """The wishes on a branch that is to be merged: ``head``, and ``base`` where it left."""

    head: Wishes
    base: Wishes

    def of(self, model: str) -> Mapping[str, str]:
        """The wishes for a model that the branch changes; raises ConfigError."""
        try:
            before = self.base.of(model)
        except ConfigError:  # the branch may be what mends it
            before = {}
        return {
            stage: which
            for stage, which in self.head.of(model).items()
            if before.get(stage) != which
        }


class Planner(Frozen):
    """Compares wishes with the state; ``policies`` are those in force on the default branch.

    With a ``proposal`` it is as if that branch were merged: what it changes is new. ``known`` is
    what the caller knows beside the repository, whichever wish it is.
    """

    git: Git
    odb: Odb
    index: Index
    wishes: Wishes
    policies: Policies
    approvals: Approvals | None = None
    known: Evidence = Evidence()
    proposal: Proposal | None = None

    def plan(self) -> list[PlannedMove]:
        """What becomes of every wish, by model and stage. One that is wrong spoils no other.

        Raises PolicyNotMet in a shallow clone, where nobody can tell which wish is new.
        """
        if self.git.shallow and self.wishes.models:
            raise PolicyNotMet(
                "in a shallow clone nobody can tell which wishes are new",
                hint="`git fetch --unshallow --tags` brings the history; in a workflow, let the "
                "checkout fetch all of it (`fetch-depth: 0`)",
            )
        proposed = self.proposal.head.models if self.proposal else ()
        models = sorted({*self.wishes.models, *proposed})
        return [one for model in models for one in self.of_model(model)]

    def proposed(self) -> list[PlannedMove]:
        """What becomes of the wishes that the proposal changes."""
        if self.proposal is None:
            return []
        found = []
        for model in self.proposal.head.models:
            try:
                changed = self.proposal.of(model)
            except ConfigError as error:
                found.append(PlannedMove(model, "", "", WRONG, error.message, error=error))
                continue
            found += [self.propose(model, stage, which) for stage, which in sorted(changed.items())]
        return found

    def propose(self, model: str, stage: str, which: str) -> PlannedMove:
        """What would become of a wish if it were made now."""
        return self._of_stage(model, stage, which, is_new=True)

    def of_model(self, model: str) -> Iterator[PlannedMove]:
        """What becomes of the wishes for one model."""
        try:
            proposed = self.proposal.of(model) if self.proposal else {}
            wished = {**self.wishes.of(model), **proposed}
        except ConfigError as error:
            yield PlannedMove(model, "", "", WRONG, error.message, error=error)
            return
        for stage in sorted(wished):
            yield self._of_stage(model, stage, wished[stage], is_new=stage in proposed)

    def of_stage(self, model: str, stage: str) -> PlannedMove | None:
        """What becomes of the wish for one stage, as everything is now; None without a wish."""
        moves = (one for one in self.of_model(model) if one.stage in (stage, ""))
        return next(moves, None)

    def _of_stage(self, model: str, stage: str, which: str, *, is_new: bool) -> PlannedMove:
        names = Names.now(self.index, self.odb)
        source = self.proposal.head if is_new and self.proposal else self.wishes
        move = PlannedMove(model, stage, which, WRONG, commit=source.commit(model))
        try:
            state = names.model(model)
            version = names.version(model, which)
            holder = state.holder(stage)
        except GitmlError as error:
            return self._wrong(move, error)
        found = replace(
            move,
            version=version,
            label=state.label(version),
            holder=state.label(holder) if holder else None,
            goes_back=_goes_back(state, stage, version),
        )
        if holder == version:
            return replace(found, what=DONE, why="it is so already")
        try:
            kept = None if is_new else self._kept(state, stage, which)
            if kept is not None:
                return replace(found, what=kept[0], why=kept[1])
            verdict = judge(self._case(names, found), before_tag=True)
        except PolicyNotMet:
            raise
        except GitmlError as error:
            return self._wrong(found, error)
        missed = ", ".join(one.name for one in verdict.missed)
        if missed:
            why = f"the policy is not met: {missed}"
        else:
            why = f"{found.holder} holds it now" if found.holder else "nothing holds it now"
        return replace(found, what=PROMOTE if verdict.ok else REFUSED, why=why, verdict=verdict)

    def _kept(self, state: ModelState, stage: str, which: str) -> tuple[str, str] | None:
        """Why a wish that is no longer new stays undone; None where it is new."""
        events = state.stages.get(stage, ())
        last = next((one.promotion for one in reversed(events) if one.promotion.wish), None)
        if last is None or last.wish is None:
            return None
        since = last.wish
        if not self.wishes.knows(since):
            raise GitmlError(
                f"the wish commit {since.short} of {state.name}@{stage}/{last.n} is no longer part "
                "of the branch, so nobody can tell which wishes are new",
                hint=f"`gitml promote {state.name}@{which} {stage} -m WHY` decides",
            )
        if last.hold:
            held = state.label(last.version) if last.version else None
            number = held.rpartition("@")[2] if held else ""
            agreed = self.wishes.agreed(state.name, stage, number, since)
            if agreed is None:
                file = path_of(state.name)
                return HELD, f'held by an emergency until {file} says {stage} = "{number}"'
            since = agreed
        if self.wishes.is_newer(state.name, stage, since):
            return None
        return KEPT, f"moved since by {state.name}@{stage}/{events[-1].promotion.n}"

    def _case(self, names: Names, move: PlannedMove) -> Case:
        assert move.version is not None  # noqa: S101 - a wish that means nothing is not judged
        return Case(
            *(self.git, self.odb, self.index, names, self.policies),
            *(move.model, move.stage, move.version),
            move=ROLL_BACK if move.goes_back else PROMOTE_MOVE,
            evidence=self.evidence(move),
        )

    def evidence(self, move: PlannedMove) -> Evidence:
        """What a wish comes with: that it came by a pull request, and who approved of it."""
        model, stage, forge = move.model, move.stage, self.approvals
        source = self._source(model, stage)

        def is_wished() -> bool:  # what is only thought of has been approved by nobody
            return source.of(model).get(stage) == move.wish

        def on_forge() -> list[Approval]:
            commit = source.set_by(model, stage) if is_wished() else None
            return forge(commit) if forge is not None and commit is not None else []

        def signed_for() -> list[Approval]:
            if move.version is None or not is_wished():
                return []
            signers = signers_at(self.odb, self.wishes.tip)
            return signed_approvals(source, signers, model, stage, move.version)

        return replace(
            self.known,
            via=PULL_REQUEST,
            approvals=on_forge if forge is not None else None,
            signed_for=signed_for,
            signers=lambda: signers_at(self.odb, self.wishes.tip),
        )

    def _source(self, model: str, stage: str) -> Wishes:
        """Where the wish for a stage stands: on the proposal, if that changes it."""
        try:
            is_proposed = self.proposal is not None and stage in self.proposal.of(model)
        except ConfigError:
            is_proposed = False
        return self.proposal.head if self.proposal is not None and is_proposed else self.wishes

    def _wrong(self, move: PlannedMove, error: GitmlError) -> PlannedMove:
        where = path_of(move.model)
        if isinstance(error, NameNotFound):
            error = NameNotFound(
                f'{where} says {move.stage} = "{move.wish}", but {error.message}', hint=error.hint
            )
        return replace(move, what=WRONG, why=error.message, error=error)


def _goes_back(state: ModelState, stage: str, version: ObjectId) -> bool:
    """Whether a version is the one that a roll-back of the stage would bring back."""
    try:
        return held_before(state, stage)[0] == version
    except (NameNotFound, UsageError):
        return False
