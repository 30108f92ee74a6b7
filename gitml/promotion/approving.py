"""Approvals that the history holds: commits, signed by a project's signers, that stand for a wish.

A commit stands for a wish by setting it, or by saying so in a trailer that names the version's
commit: ``Gitml-Approves: clf@production 1f0c…``. Only those count that are no older than the wish:
what was approved once is not approved when it comes again.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitml.entities.ids import ObjectId
from gitml.git.signing import GOOD, Signers, Verifier
from gitml.promotion.rule import Approval
from gitml.promotion.wishes import Wishes

TRAILER = "Gitml-Approves"


def signed_approvals(
    wishes: Wishes, signers: Signers, model: str, stage: str, version: ObjectId
) -> list[Approval]:
    """Those who signed for the wish for a stage, each once; nobody where there is no wish."""
    if not signers:
        return []
    since = wishes.set_by(model, stage)
    found: dict[str, Approval] = {}
    with Verifier(wishes.git, signers) as verifier:
        for commit in _standing_for(wishes, since, model, stage, version) if since else ():
            data = wishes.odb.read(commit)
            signature = verifier.verify_commit(data[2]) if data is not None else None
            if signature is not None and signature.state == GOOD:
                found.setdefault(signature.who, Approval(signature.who, f"by {commit.short}"))
    return list(found.values())


def trailer(model: str, stage: str, version: ObjectId) -> str:
    """The line in a commit's message that approves of a version for a stage."""
    return f"{TRAILER}: {model}@{stage} {version}"


def _standing_for(
    wishes: Wishes, since: ObjectId, model: str, stage: str, version: ObjectId
) -> Iterator[ObjectId]:
    said = trailer(model, stage, version).partition(": ")[2]
    parents = wishes.odb.commit(since).parents
    older = [f"^{parents[0]}"] if parents else []
    listing = wishes.git.run("rev-list", "--max-count=10000", str(wishes.tip), *older)
    wish = wishes.of(model).get(stage)
    for line in listing.decode().split():
        commit = wishes.odb.commit(ObjectId(line))
        is_said = (TRAILER, said) in commit.trailers()
        if is_said or commit.id == since or wishes.sets(commit.id, model, stage, wish):
            yield commit.id
