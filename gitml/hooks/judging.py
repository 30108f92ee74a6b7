"""The policy of a stage as a server judges a move by it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gitml.config import Config
from gitml.entities.ids import ObjectId
from gitml.entities.records import Promotion
from gitml.errors import PolicyNotMet
from gitml.frozen import replace
from gitml.git.odb import Odb, is_ancestor
from gitml.git.process import Git
from gitml.git.signing import GOOD, Verifier
from gitml.history.index import Index
from gitml.history.revs import Names
from gitml.promotion.checks import Approvals, Via
from gitml.promotion.judging import judge
from gitml.promotion.policy import read_policies
from gitml.promotion.rule import (
    CLEAR,
    EMERGENCY,
    PROMOTE,
    ROLL_BACK,
    Case,
    Evidence,
    Policy,
)
from gitml.promotion.signers import signers_at
from gitml.promotion.verdict import UNKNOWN, Check, Verdict
from gitml.promotion.wishes import Wishes

if TYPE_CHECKING:
    from gitml.promotion.planning import PlannedMove, Planner


class Judging:
    """Judges moves by the policies of a commit, the tip of the default branch on the server.

    ``config`` are its settings.
    """

    def __init__(self, git: Git, odb: Odb, index: Index, tip: ObjectId, config: Config) -> None:
        self.git = git
        self.odb = odb
        self.tip = tip
        self.index = index
        self.policies = read_policies(config)

    def refuse(
        self, tag: ObjectId, move: Promotion, target: ObjectId, before: Promotion | None
    ) -> None:
        """Raise PolicyNotMet unless the move that a tag records meets what is asked for here.

        What a server cannot know, who approved on a forge say, or what a remote holds, is believed
        as the record has it, if a known key signed that; everything else is judged again.
        """
        policy = self.policies.stages.get(move.stage)
        if move.policy != (policy.digest if policy is not None else None):
            raise PolicyNotMet(
                f"it was judged by another policy for {move.stage} than the one in force here"
            )
        if policy is not None:
            self._refuse_older(move, before)
        kind = CLEAR if move.version is None else PROMOTE
        kind = ROLL_BACK if move.restores is not None else kind
        names = Names.now(self.index, self.odb)
        evidence = self._evidence(move, policy)
        case = Case(
            *(self.git, self.odb, self.index, names, self.policies),
            *(move.model, move.stage, target, kind, evidence),
        )
        signers = signers_at(self.odb, self.tip)
        with Verifier(self.git, signers) as verifier:
            found = self.odb.read(tag)
            data = found[2] if found is not None else b""
            looked = {"signature": lambda: verifier.verify(data), "signers": lambda: signers}
            signed = replace(evidence, **looked)
            verdict = judge(replace(case, evidence=signed))
            missed = [one for one in verdict.missed if not _is_vouched_for(one, move)]
            believed = len(missed) < len(verdict.missed)
            if believed and verifier.verify(data).state != GOOD:
                missed = verdict.missed
        if missed:
            raise _refusal(verdict, missed)

    def _refuse_older(self, move: Promotion, before: Promotion | None) -> None:
        """Raise PolicyNotMet for a move by a policy that is older than the one of the move before.

        The branch may have been pushed back behind it. A commit that is not here is one by which
        nobody could tell, of this move and of the next, which policy is newer.
        """
        here, known = move.policy_commit, before.policy_commit if before is not None else None
        if here is None or here not in self.odb:
            raise PolicyNotMet("it names no commit of its policy that is here: push the branch")
        if here == known or known is None or known not in self.odb:
            return
        if is_ancestor(self.git, here, known):
            raise PolicyNotMet(
                f"it was judged by an older policy than the move before: {here.short}"
            )

    def _evidence(self, move: Promotion, policy: Policy | None) -> Evidence:
        """How a move came about and who signed for it, as far as its policy asks."""
        asks = policy is not None and policy.asks
        if not asks or not (asks(Via) or asks(Approvals)):
            return Evidence(via=None)
        planned = self._planned(move)
        if planned is None:
            return Evidence(via=EMERGENCY if move.hold else "", signed_for=list)
        return replace(self._planner.evidence(planned), approvals=None)

    @cached_property
    def _planner(self) -> Planner:
        from gitml.promotion.planning import Planner

        wishes = Wishes(self.git, self.odb, self.tip)
        return Planner(self.git, self.odb, self.index, wishes, self.policies)

    def _planned(self, move: Promotion) -> PlannedMove | None:
        """The wish that a move carries out, if it stands on the branch and is new."""
        from gitml.promotion.planning import PROMOTE, REFUSED

        if move.hold:
            return None
        planned = self._planner.of_stage(move.model, move.stage)
        if planned is None or planned.version != move.version:
            return None
        if planned.commit is None or planned.commit != move.wish:
            return None
        return planned if planned.what in (PROMOTE, REFUSED) else None


def _is_vouched_for(check: Check, move: Promotion) -> bool:
    """Whether the record says of a check that cannot be made here that it passed."""
    if check.state != UNKNOWN or move.verdict is None:
        return False
    listed = move.verdict.get("checks", [])
    return any(
        isinstance(one, dict) and one.get("name") == check.name and one.get("state") == "passed"
        for one in listed
    )


def _refusal(verdict: Verdict, missed: list[Check]) -> PolicyNotMet:
    said = "; ".join(f"{one.name}: {one.found}, asked for is {one.expected}" for one in missed)
    return PolicyNotMet(f"{verdict.version} does not meet the policy for {verdict.stage}: {said}")
