"""The policy of a stage as a server judges a move by it."""

from __future__ import annotations

from gitml.config import Config
from gitml.entities.ids import ObjectId
from gitml.entities.records import Promotion
from gitml.errors import PolicyNotMet
from gitml.frozen import replace
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.signing import Verifier
from gitml.history.index import Index
from gitml.history.revs import Names
from gitml.promotion.checks import Via
from gitml.promotion.judging import judge
from gitml.promotion.policy import read_policies
from gitml.promotion.rule import (
    CLEAR,
    EMERGENCY,
    PROMOTE,
    PULL_REQUEST,
    ROLL_BACK,
    Case,
    Evidence,
)
from gitml.promotion.signers import signers_at
from gitml.promotion.verdict import UNKNOWN, Check, Verdict
from gitml.promotion.wishes import Wishes


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

    def refuse(self, tag: ObjectId, move: Promotion, target: ObjectId) -> None:
        """Raise PolicyNotMet unless the move that a tag records meets what is asked for here.

        What a server cannot know, who approved on a forge say, or what a remote holds, is believed
        as the record has it, which the signature covers; everything else is judged again.
        """
        policy = self.policies.stages.get(move.stage)
        if move.policy != (policy.digest if policy is not None else None):
            raise PolicyNotMet(
                f"it was judged by another policy for {move.stage} than the one in force here"
            )
        kind = CLEAR if move.version is None else PROMOTE
        kind = ROLL_BACK if move.restores is not None else kind
        names = Names.now(self.index, self.odb)
        evidence = Evidence(
            via=self._way(move) if policy is not None and policy.asks(Via) else None
        )
        case = Case(
            *(self.git, self.odb, self.index, names, self.policies),
            *(move.model, move.stage, target, kind, evidence),
        )
        with Verifier(self.git, signers_at(self.odb, self.tip)) as verifier:
            found = self.odb.read(tag)
            data = found[2] if found is not None else b""
            signed = replace(evidence, signature=lambda: verifier.verify(data))
            verdict = judge(replace(case, evidence=signed))
        missed = [one for one in verdict.missed if not _is_vouched_for(one, move)]
        if missed:
            raise _refusal(verdict, missed)

    def _way(self, move: Promotion) -> str:
        """How a move came about: by an emergency, by a wish that stands on the branch, or not."""
        from gitml.promotion.planning import PROMOTE as WILL_PROMOTE
        from gitml.promotion.planning import REFUSED, Planner

        if move.hold:
            return EMERGENCY
        wishes = Wishes(self.git, self.odb, self.tip)
        planner = Planner(self.git, self.odb, self.index, wishes, self.policies)
        planned = planner.of_stage(move.model, move.stage)
        if planned is None or planned.version != move.version:
            return ""
        if planned.commit is None or planned.commit != move.wish:
            return ""
        return PULL_REQUEST if planned.what in (WILL_PROMOTE, REFUSED) else ""


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
