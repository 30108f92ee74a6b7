"""The one evaluation of a policy: command line, server hook and continuous integration call it."""

from __future__ import annotations

from gitml.errors import PolicyNotMet
from gitml.promotion.rule import Case
from gitml.promotion.verdict import Verdict


def judge(case: Case) -> Verdict:
    """Whether the version may hold the stage.

    Raises PolicyNotMet, with the fetch that helps, in a shallow clone: what is cut off there may be
    what decides. Raises CorruptData where a record cannot be read.
    """
    policy = case.policy
    if case.git.shallow and policy is not None:
        raise PolicyNotMet(
            f"the policy for {case.stage} cannot be judged in a shallow clone",
            hint="`git fetch --unshallow --tags` brings the history that it asks about",
        )
    checks = [rule.judge(case) for rule in policy.rules] if policy is not None else []
    return Verdict(
        case.model,
        case.stage,
        case.label,
        case.version,
        tuple(checks),
        policy.digest if policy is not None else None,
        case.policies.commit if policy is not None else None,
    )
