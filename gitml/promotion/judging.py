"""The one evaluation of a policy: command line, server hook and continuous integration call it."""

from __future__ import annotations

from gitml.errors import PolicyNotMet
from gitml.frozen import replace
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.history.models import ModelState
from gitml.history.revocations import names_of
from gitml.promotion.rule import CLEAR, Case, Policies
from gitml.promotion.verdict import FAILED, PASSED, Check, Verdict


def judge(case: Case, *, before_tag: bool = False) -> Verdict:
    """Whether the version may hold the stage, or of a stage that is cleared, leave it.

    With ``before_tag`` what is asked of the event tag waits for `judge_tag`: the tag holds the
    verdict, so it is made between the two.

    Raises PolicyNotMet, with the fetch that helps, in a shallow clone: what is cut off there may be
    what decides. Raises CorruptData where a record cannot be read.
    """
    policy = case.policy
    if case.git.shallow and (policy is not None or case.revocations):
        raise PolicyNotMet(
            f"a promotion to {case.stage} cannot be judged in a shallow clone",
            hint="`git fetch --unshallow --tags` brings the history that it asks about",
        )
    rules = policy.rules if policy is not None else ()
    asked = (one for one in rules if case.move in one.moves and not (before_tag and one.of_tag))
    checks = [*_standing(case), *(rule.judge(case) for rule in asked)]
    return Verdict(
        case.model,
        case.stage,
        case.label,
        case.version,
        tuple(checks),
        policy.digest if policy is not None else None,
        case.policies.commit,
    )


def _standing(case: Case) -> list[Check]:
    """What every stage asks for, policy or not: nothing revoked below, and bytes that are there."""
    return [] if case.move == CLEAR else [*_revoked(case), *_bytes(case)]


def _bytes(case: Case) -> list[Check]:
    """That its artifacts can be loaded: they are here and whole, or on a remote that answers."""
    look = case.evidence.look
    artifacts = case.entry.record.artifacts if look else ()
    if look is None or not artifacts:
        return []
    names = {one.output.digest: one.name for one in artifacts}
    outputs = [one.output for one in artifacts]
    looked, expected = look(outputs, case.evidence.thorough), "the bytes of its artifacts"
    if looked.damaged:
        damaged = ", ".join(names[one] for one in looked.damaged)
        way = "`gitml fsck --repair` heals what can be healed"
        return [Check("bytes", FAILED, expected, f"{damaged}: damaged here", way)]
    if looked.lost:
        lost = ", ".join(names[one] for one in looked.lost)
        asked = f"neither here nor on {looked.remote}" if looked.remote else "not here"
        way = "`gitml push` sends them from a clone that has them"
        return [Check("bytes", FAILED, expected, f"{lost}: {asked}", way)]
    if looked.trouble:
        return [Check("bytes", PASSED, expected, "not all are here", looked.trouble)]
    return [Check("bytes", PASSED, expected, f"on {looked.remote}")] if looked.remote else []


def _revoked(case: Case) -> list[Check]:
    if not case.revocations:
        return []
    revoked, expected = case.revocations.on(case.version), "nothing revoked in its lineage"
    if revoked:
        way = f"`gitml lineage {case.label}` shows where"
        return [Check("revoked", FAILED, expected, names_of(revoked), way)]
    return [Check("revoked", PASSED, expected, "nothing")]


def judge_tag(case: Case, verdict: Verdict) -> Verdict:
    """The verdict with what is asked of the event tag; ``case`` has its signature."""
    rules = case.policy.rules if case.policy is not None else ()
    checks = [one.judge(case) for one in rules if one.of_tag and case.move in one.moves]
    return replace(verdict, checks=(*verdict.checks, *checks))


def refuse_older_policy(
    git: Git, odb: Odb, policies: Policies, state: ModelState, stage: str
) -> None:
    """Raise PolicyNotMet where the stage was moved by a newer policy than the one in force here.

    So a branch from before a policy, or a clone that has not seen it yet, is no way around it.
    """
    judged = [one.promotion for one in state.stages.get(stage, ()) if one.promotion.policy_commit]
    if not judged:
        return
    last, own = judged[-1], policies.stages.get(stage)
    commit, here = last.policy_commit, policies.commit
    if commit is None or last.policy == (own.digest if own is not None else None):
        return
    if here is not None and commit in odb:
        asked = ("merge-base", "--is-ancestor", str(here), str(commit))
        if here == commit or git.process(*asked).returncode == 1:
            return
    raise PolicyNotMet(
        f"{state.name}@{stage}/{last.n} was judged by a newer policy than the one here",
        hint=f"`git pull` brings the gitml.toml of {commit.short}",
    )
