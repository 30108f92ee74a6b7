"""Promotion under review: wishes on a branch, what becomes of them, and their requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError
from gitml.repo.stages import Stages

if TYPE_CHECKING:
    from gitml.promotion.online import Online
    from gitml.promotion.planning import PlannedMove, Planner
    from gitml.promotion.promote import Move, Promoter


class Review(Stages):
    """The part of the facade for stages that move by way of a branch."""

    def plan_stages(self, *, remote: str | None = None) -> list[PlannedMove]:
        """What becomes of the wishes: of those on the default branch, as if HEAD were merged.

        The git remote's tags are fetched first; without a remote it is HEAD alone. Raises
        PolicyNotMet in a shallow clone.
        """
        online = self._online(remote)
        if online is not None:
            online.look()
        return self._planner(online, proposed=online is not None).plan()

    def apply_stages(
        self,
        *,
        remote: str | None = None,
        dry_run: bool = False,
        tell: Callable[[PlannedMove, Move | None], None] = lambda planned, move: None,
    ) -> list[PlannedMove]:
        """Carry out the wishes on the default branch that are new and that the policies allow.

        ``tell`` hears of each as it is done, with the move, which is None where there was nothing
        to move. One that is refused or wrong keeps no other from being carried out; the same again
        does what was not done. Raises as `plan_stages`, and what making a tag raises.
        """
        online = self._online(remote)
        if online is not None:
            online.look()
        done = []
        for planned in self._planner(online).plan():
            found, move = planned, None
            if planned.what == "promote" and not dry_run:
                found, move = self._carry_out(planned, online)
            tell(found, move)
            done.append(found)
        return done

    def _carry_out(
        self, planned: PlannedMove, online: Online | None
    ) -> tuple[PlannedMove, Move | None]:
        """Promote as planned, if that is still the plan when it comes to it."""

        def move(promoter: Promoter) -> tuple[PlannedMove, Move | None]:
            planner = self._planner(online)
            now = planner.of_stage(planned.model, planned.stage)
            if now is None or now.what != "promote" or now.version is None:
                return now or planned, None
            reason = self._reason_of(now)
            promoter.policies, promoter.evidence = planner.policies, planner.evidence(now)
            return now, promoter.promote(now.model, now.version.hex, now.stage, reason)

        return self._moving(move, lambda: (), online, retry=True)

    def _reason_of(self, planned: PlannedMove) -> str:
        """Why a wish was made: what the commit says that brought it to the branch, and whose."""
        if planned.commit is None:
            return f"{planned.stage} = {planned.wish}"
        commit = self.odb.commit(planned.commit)
        return f"{commit.subject} ({commit.id.short}, {commit.author.partition(' <')[0]})"

    def _planner(self, online: Online | None, *, proposed: bool = False) -> Planner:
        """What compares wishes with the state; with ``proposed`` as if HEAD were merged."""
        from gitml.promotion.planning import Planner, Proposal
        from gitml.promotion.policy import policies_at
        from gitml.promotion.rule import Policies
        from gitml.promotion.wishes import Wishes

        tip = self._tip(online)
        if tip is None:
            where = f"{online.remote} has no default branch" if online else "nothing is committed"
            raise GitmlError(f"{where}, so there are no wishes", hint="`git push -u origin HEAD`")
        policies = policies_at(self.git, self.odb, tip) or Policies(self.config, {})
        proposal = None
        head = self.odb.resolve("HEAD")
        if proposed and head is not None and head != tip:
            left = self._where_left(tip, head)
            if left is not None and left != head:
                proposal = Proposal(*(Wishes(self.git, self.odb, one) for one in (head, left)))
        wishes = Wishes(self.git, self.odb, tip)
        return Planner(self.git, self.odb, self.index, wishes, policies, proposal=proposal)

    def _where_left(self, tip: ObjectId, head: ObjectId) -> ObjectId | None:
        """The commit at which two branches part, None where they have none."""
        answer = self.git.process("merge-base", str(tip), str(head)).stdout.decode().split()
        return ObjectId(answer[0]) if answer else None
