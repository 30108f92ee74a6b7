"""Promotion under review: wishes on a branch, what becomes of them, and their requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from gitml.entities.ids import ObjectId, check_stage_name
from gitml.errors import AuthenticationFailed, GitmlError, UsageError
from gitml.frozen import Frozen, replace
from gitml.repo.stages import Stages, named_version

if TYPE_CHECKING:
    from gitml.forges.base import Forge
    from gitml.forges.opening import Surroundings
    from gitml.forges.workflows import Workflow
    from gitml.git.transport import Move as RefMove
    from gitml.promotion.online import Online
    from gitml.promotion.planning import Approvals, PlannedMove, Planner
    from gitml.promotion.promote import Move, Promoter
    from gitml.promotion.rule import Approval
    from gitml.repo.reporting import Reported
    from gitml.sync.pushing import Plan as PushPlan


class Requested(Frozen):
    """A request for a stage: the wish, the branch with it and where it goes, and its text.

    ``number`` is that of the open request. Without one a person goes on at ``url``, unless the
    forge was ``asked`` by the push. Nothing was ``made`` where the wish stands
    on the default branch already.
    """

    planned: PlannedMove
    branch: str
    base: str
    text: str
    number: int | None = None
    url: str | None = None
    asked: bool = False
    made: bool = True


class Report(Frozen):
    """The wishes that a branch changes, the text about them, the page of the comment with it."""

    planned: tuple[PlannedMove, ...]
    text: str
    url: str | None = None


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

    def request(
        self,
        version: str,
        stage: str,
        reason: str,
        *,
        remote: str | None = None,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        dry_run: bool = False,
    ) -> Requested:
        """Ask for a stage by a pull request: a branch with the line, and the request for it.

        A version that is not on the git remote is pushed first, which gives a draft its number.
        Where nothing is known of the forge, or no token is found, the branch is pushed and the page
        is named on which a person goes on. Doing it again renews branch and request. Raises what a
        push and the forge's interface raise; the branch stays then, and the same again goes on.
        """
        from gitml.repo.reporting import request_text

        online = self._required_online(remote)
        online.look()
        model, which = named_version(version, f"gitml promote MODEL@latest {stage}")
        check_stage_name(stage)
        found = self.names.version(model, which)
        if not dry_run:
            for name in self._unpublished(online.remote, model, stage, which):
                self._publish([name], online.remote, confirm=confirm)
        state = self.names.model(model)
        label = state.label(found)
        number = label.rpartition("@")[2]
        if found not in state.lowest:
            raise UsageError(f"{label} is a draft", hint="`gitml push` gives it a number")
        planned = self._planner(online).propose(model, stage, number)
        if planned.error is not None:
            raise planned.error
        back = "Roll back" if planned.goes_back else "Promote"
        title = (
            f"{back} {stage} of {model} to {number}"
            if planned.goes_back
            else (f"{back} {label} to {stage}")
        )
        body = request_text(self._reported(planned), reason)
        return self._propose(online, planned, title, reason, body, dry_run=dry_run)

    def _propose(
        self,
        online: Online,
        planned: PlannedMove,
        title: str,
        reason: str,
        body: str,
        *,
        dry_run: bool,
    ) -> Requested:
        """Push the branch of a wish, and open or renew its request."""
        from gitml.forges.base import Draft
        from gitml.git import transport
        from gitml.promotion.proposing import Proposer, branch_of

        git, remote, tip = self.git, online.remote, self._tip(online)
        base = transport.head_of(git, remote)
        assert tip is not None  # noqa: S101 - there were wishes to compare with
        draft = Draft(branch_of(planned.model, planned.stage), base or "main", title, body)
        ref = f"refs/heads/{draft.branch}"
        known = transport.list_remote(git, remote).get(ref)
        there = known.target if known else None
        if there is not None and there not in self.odb:
            transport.fetch(git, remote, [there])
        person = self._person
        if person is None:
            raise UsageError(
                "a request names who made it, and git does not know you",
                hint="`git config user.name 'Your Name' && git config user.email you@example.org`",
            )
        proposer = Proposer(git, self.odb, person)
        wish = (planned.model, planned.stage, planned.wish)
        commit = proposer.commit(wish, tip, there, f"{title}\n\n{reason}\n")
        if commit is None or dry_run:
            return Requested(planned, draft.branch, draft.base, body, made=commit is not None)
        forge = self._forge(remote)
        options = []
        if forge is not None and forge.api.token is None:
            options = forge.push_options(draft)
        if commit != there:
            self._push_branch(remote, transport.Move(ref, commit, there), options)
        if forge is None or forge.api.token is None:
            url = forge.new_url(forge.site, draft) if forge is not None else None
            asked = bool(options) and commit != there
            return Requested(planned, draft.branch, draft.base, body, url=url, asked=asked)
        request = forge.open(draft)
        return Requested(planned, draft.branch, draft.base, body, request.number, request.url)

    def _push_branch(self, remote: str, move: RefMove, options: list[str]) -> None:
        from gitml.git import transport

        refusal = transport.push(self.git, remote, [move], options=options)
        if refusal is not None and refusal.no_options:
            refusal = transport.push(self.git, remote, [move])
        if refusal is not None:
            branch = move.name.removeprefix("refs/heads/")
            raise refusal.error(
                f"{remote} refuses the branch {branch}; no request was opened",
                hint="somebody else may have pushed it just now: the same command again",
                name=move.name,
            )

    def rollback(
        self,
        model: str,
        stage: str,
        reason: str | None = None,
        *,
        remote: str | None = None,
        emergency: bool = False,
        dry_run: bool = False,
    ) -> Move:
        """Bring the holder before back; see ``Promoter.rollback``.

        An ``emergency`` needs no pull request where the policy asks for one. After it no wish moves
        the stage until one says what holds it.
        """
        if not emergency:
            return super().rollback(model, stage, reason, remote=remote, dry_run=dry_run)
        from gitml.promotion.rule import EMERGENCY

        def move(promoter: Promoter) -> Move:
            promoter.hold, promoter.evidence = True, replace(promoter.evidence, via=EMERGENCY)
            return promoter.rollback(model, stage, reason)

        return self._moved(move, model, stage, remote=remote, dry_run=dry_run, retry=True)

    def needs_request(self, stage: str) -> bool:
        """Whether the policy of a stage asks for a pull request, or for who approves of it."""
        from gitml.promotion.checks import Approvals, Via

        policy = self._policies.stages.get(stage)
        asked = policy is not None and (policy.asks(Via) or policy.asks(Approvals))
        return asked and self.git.has_remote()

    def request_back(
        self,
        model: str,
        stage: str,
        reason: str | None,
        *,
        remote: str | None = None,
        dry_run: bool = False,
    ) -> Requested:
        """Ask by a pull request for the holder before; raises as `request`, UsageError."""
        from gitml.promotion.promote import held_before

        online = self._required_online(remote)
        online.look()
        state = self.names.model(model)
        label = state.label(held_before(state, stage)[0])
        why = reason or f"roll-back to {label}"
        return self.request(label, stage, why, remote=remote, dry_run=dry_run)

    def write_workflow(self, kind: str, *, dry_run: bool = False) -> tuple[str, Workflow, bool]:
        """Write the workflow file for a kind of forge; its path, what it is, whether it is new.

        A file that is there is left alone. Raises UsageError where something else is at its place.
        """
        from gitml.forges.workflows import workflow
        from gitml.fs import make_directories, write_durably

        found = workflow(kind, self._default_branch())
        path = self.root / found.path
        if path.exists() and path.read_bytes() != found.text.encode() and found.elsewhere:
            path = self.root / found.elsewhere
        inside = str(path.relative_to(self.root))
        if path.exists():
            if path.read_bytes() == found.text.encode():
                return inside, found, False
            raise UsageError(
                f"{inside} is there already, and it is another",
                hint=f"`git mv {inside} {inside}.old` makes room",
            )
        if not dry_run:
            make_directories(path.parent)
            write_durably(path, found.text.encode())
        return inside, found, True

    def _default_branch(self) -> str:
        from gitml.git import transport

        if self.git.has_remote():
            remote = transport.choose(self.git)
            head = self.git.process("symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD")
            name = head.stdout.decode().strip().removeprefix(f"refs/remotes/{remote}/")
            if name:
                return name
        return self.git.branch() or "main"

    def report(
        self, number: int | None = None, *, remote: str | None = None, dry_run: bool = False
    ) -> Report:
        """Write what becomes of the wishes that HEAD changes as the one comment on its request.

        The request is the one with this number, the one that a workflow runs for, or the open one
        of the current branch. With ``dry_run``, or where nothing is proposed, nothing is written.
        Raises what the forge's interface raises, UsageError where no request is found.
        """
        from gitml.repo.reporting import MARK, report_text

        online = self._required_online(remote)
        online.look()
        forge = self._forge(online.remote)
        number = number or workflow_request(self._environment)
        if number is None and forge is not None and not dry_run:
            number = self._own_request(forge, online.remote)
        planner = self._planner(online, proposed=True)
        if forge is not None and forge.api.token is not None and number is not None:
            planner = replace(planner, approvals=partial(_approvals_of, forge, number))
        planned = planner.proposed()
        text = report_text([self._reported(one) for one in planned])
        if dry_run or not planned:
            return Report(tuple(planned), text)
        if forge is None or forge.api.token is None:
            raise self._no_token(forge, online.remote)
        if number is None:
            raise UsageError(
                "no open request of this branch is known",
                hint="`gitml report NUMBER` names it, `gitml report --dry-run` prints the text",
            )
        return Report(tuple(planned), text, forge.comment(number, MARK, text))

    def _own_request(self, forge: Forge, remote: str) -> int | None:
        from gitml.git import transport

        branch, base = self.git.branch(), transport.head_of(self.git, remote)
        if branch is None or base is None or forge.api.token is None:
            return None
        found = forge.find(branch, base)
        return found.number if found is not None else None

    def _reported(self, planned: PlannedMove) -> Reported:
        """A wish with its comparison to the holder, and its lineage."""
        from gitml.repo.reporting import Reported

        if planned.label is None or planned.what in ("done", "kept", "held"):
            return Reported(planned)
        labels = [planned.holder, planned.label] if planned.holder else [planned.label]
        lineage = replace(self.lineage(planned.label), label=planned.label)
        return Reported(planned, self.compare(labels), lineage)

    def _forge(self, remote: str) -> Forge | None:
        """The forge that a git remote is on; None where it is on none that we know."""
        from gitml.forges.opening import open_forge, site_of
        from gitml.git import transport

        around = self._surroundings
        site = site_of(transport.url_of(self.git, remote), around)
        return open_forge(site, around) if site is not None else None

    @property
    def _surroundings(self) -> Surroundings:
        from gitml.forges.opening import Surroundings
        from gitml.git.credentials import program_answer, stored_credentials

        return Surroundings(
            self._environment,
            self.git.settings,
            program_answer,
            partial(stored_credentials, self.git),
        )

    def _approvals(self, online: Online | None) -> Approvals | None:
        """Who approved the request behind a commit, looked up when a policy asks for it.

        Nobody, where no forge is known or no token for it is found.
        """
        if online is None:
            return None
        remote = online.remote

        def approvals(commit: ObjectId) -> list[Approval]:
            forge = self._forge(remote)
            if forge is None or forge.api.token is None:
                return []
            number = forge.request_of(str(commit))
            return _approvals_of(forge, number, commit) if number is not None else []

        return approvals

    def _no_token(self, forge: Forge | None, remote: str) -> GitmlError:
        from gitml.forges.opening import KINDS, variables_of

        if forge is None:
            kinds = ", ".join(sorted(KINDS))
            return UsageError(
                f"nothing is known of a forge at {remote}",
                hint=f"`git config gitml.HOST.forge KIND` says which it is: {kinds}",
            )
        names = " or ".join(variables_of(forge.site))
        return AuthenticationFailed(
            f"there is no token for {forge.site.web}", hint=f"`export {names}` has it"
        )

    def _required_online(self, remote: str | None) -> Online:
        online = self._online(remote)
        if online is None:
            raise UsageError(
                "a request needs a git remote", hint="`git remote add origin URL` names one"
            )
        return online

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
            if now.goes_back:
                return now, promoter.rollback(now.model, now.stage, reason)
            return now, promoter.promote(now.model, now.version.hex, now.stage, reason)

        return self._moving(move, online, retry=True)

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
        return Planner(
            *(self.git, self.odb, self.index, wishes, policies),
            approvals=self._approvals(online),
            known=self._evidence,
            proposal=proposal,
        )

    def _where_left(self, tip: ObjectId, head: ObjectId) -> ObjectId | None:
        """The commit at which two branches part, None where they have none."""
        answer = self.git.process("merge-base", str(tip), str(head)).stdout.decode().split()
        return ObjectId(answer[0]) if answer else None


def _approvals_of(forge: Forge, number: int, commit: ObjectId) -> list[Approval]:
    from gitml.promotion.rule import Approval

    return [Approval(login, f"on {forge.kind}") for login in forge.approvals(number)]


def workflow_request(environment: Mapping[str, str]) -> int | None:
    """The number of the request that a workflow runs for, as the forges tell it."""
    merged = environment.get("CI_MERGE_REQUEST_IID", "")
    found = re.fullmatch(r"refs/pull/([0-9]{1,9})/\w+", environment.get("GITHUB_REF", ""))
    number = found[1] if found else merged
    return int(number) if re.fullmatch("[0-9]{1,9}", number) else None
