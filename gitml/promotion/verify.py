"""``verify``: a stage's chain of moves, a version or a run down to the roots, each link looked at.

The first link that is missing, altered or not signed as it should be is named, and nothing behind
it counts. Everything is read from git's objects, whose bytes are hashed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gitml.entities.ids import ObjectId
from gitml.entities.records import Revocation
from gitml.errors import NotTrusted, PolicyNotMet
from gitml.frozen import Frozen
from gitml.git.odb import CheckedOdb, Odb
from gitml.git.process import Git
from gitml.git.signing import GOOD, NONE, Signature, Signers, Verifier
from gitml.history.index import Index
from gitml.history.models import Event, ModelState
from gitml.history.record import version_tag
from gitml.history.revocations import Revocations
from gitml.history.revs import Names
from gitml.promotion.chain import check_chain
from gitml.promotion.memory import Memory
from gitml.promotion.roots import Link, Roots, look_below
from gitml.promotion.rule import Case, Evidence, Policies


class Verified(Frozen):
    """What held: the tags, oldest first, and how many records a version or a run stands on.

    ``signed`` are the runs and versions among these that are signed, newest first; ``revoked`` is
    what it stands on that was revoked, which changes nothing of what it is.
    """

    name: str
    links: tuple[Link, ...]
    records: int = 0
    signed: tuple[Link, ...] = ()
    revoked: tuple[Revocation, ...] = ()


@dataclass
class Verification:
    """Verifies in one clone. ``policies`` and ``signers`` are those of the main branch."""

    git: Git
    odb: Odb
    index: Index
    policies: Policies
    signers: Signers
    memory: Memory

    def stage(self, model: str, stage: str) -> Verified:
        """Every move of a stage, and the version that holds it now down to its roots.

        Raises NotTrusted that names the first link which does not hold; NameNotFound, RaceLost for
        a fork, PolicyNotMet in a shallow clone.
        """
        self._refuse_shallow()
        names = Names.now(self.index, self.odb)
        state = names.model(model)
        check_chain(self.index, state, stage, self.policies.config.project)
        self.memory.check(state, stage)
        events = state.stages.get(stage, ())
        links = list(self._signed(names, state, stage, events))
        holder = events[-1].promotion.version if events else None
        if holder in state.hidden:
            raise NotTrusted(
                f"{state.label(holder)} holds {stage} and is deleted: both were done at once",
                hint=f"`gitml stage clear {model} {stage} -m WHY`, or promote another version",
            )
        below = Roots()
        if holder is not None:
            below = self._roots(state.label(holder), holder)
        revoked = self._revoked(holder) if holder is not None else ()
        if events:
            self.memory.note(model, stage, events[-1].promotion.n, events[-1].tag)
        return Verified(f"{model}@{stage}", tuple(links), below.records, below.signed, revoked)

    def version(self, model: str, version: ObjectId) -> Verified:
        """A version: its number, and every record that it was made of; raises as `stage`."""
        self._refuse_shallow()
        state = Names.now(self.index, self.odb).model(model)
        label = state.label(version)
        links = []
        number = state.lowest.get(version)
        if number is not None:
            ref = version_tag(model, number)
            tag = next(one.target for one in self.index.refs_below(ref) if one.name == ref)
            data = self._object(label, tag, "tag")
            with Verifier(self.git, self.signers) as verifier:
                found = verifier.verify(data)
            needed = self.policies.config.signing.tags
            if found.state != GOOD and (needed or found.state != NONE):
                raise NotTrusted(f"{label}: {found.words}")
            links.append(Link(label, version.short, found))
        below, revoked = self._roots(label, version), self._revoked(version)
        return Verified(label, tuple(links), below.records, below.signed, revoked)

    def run(self, run: ObjectId) -> Verified:
        """A run, and every record that it is made of; raises as `stage`."""
        self._refuse_shallow()
        below = self._roots(f"the run {run.short}", run, "run")
        return Verified(run.short, (), below.records, below.signed, self._revoked(run))

    def _signed(
        self, names: Names, state: ModelState, stage: str, events: tuple[Event, ...]
    ) -> Iterator[Link]:
        """Each move with its signature. From the first that is signed on, all have to be."""
        policy = self.policies.stages.get(stage)
        rules = [one for one in policy.rules if one.of_tag] if policy is not None else []
        newest = events[-1].promotion.n if events else 0
        has_begun = False
        last_policy: ObjectId | None = None
        with Verifier(self.git, self.signers) as verifier:
            for event in events:
                promotion, name = event.promotion, f"{state.name}@{stage}/{event.promotion.n}"
                signature = verifier.verify(self._object(name, event.tag, "tag"))
                by_this = policy is not None and promotion.policy == policy.digest
                needed = has_begun or (bool(rules) and (by_this or promotion.n == newest))
                if signature.state != GOOD and (needed or signature.state != NONE):
                    raise NotTrusted(f"{name}: {signature.words}", hint=_HINT)
                has_begun = has_begun or signature.state == GOOD
                if by_this:
                    self._judged(names, event, signature)
                self._in_order(name, last_policy, promotion.policy_commit)
                last_policy = promotion.policy_commit or last_policy
                what = state.label(promotion.version) if promotion.version else "vacant"
                yield Link(name, what, signature)

    def _judged(self, names: Names, event: Event, signature: Signature) -> None:
        """Ask again what the policy asks of the tag of a move."""
        promotion = event.promotion
        version = promotion.version or promotion.before
        policy = self.policies.stages[promotion.stage]
        if version is None:
            return
        case = Case(
            *(self.git, self.odb, self.index, names, self.policies),
            *(promotion.model, promotion.stage, version),
            evidence=Evidence(signature=lambda: signature),
        )
        for check in (rule.judge(case) for rule in policy.rules if rule.of_tag):
            if not check.ok:
                name = f"{promotion.model}@{promotion.stage}/{promotion.n}"
                raise NotTrusted(f"{name}: {check.found}; {check.detail or check.expected}")

    def _in_order(self, name: str, before: ObjectId | None, here: ObjectId | None) -> None:
        """Refuse a move that was judged by an older policy than the move before."""
        if before is None or here is None or here == before:
            return
        if here not in self.odb or before not in self.odb:
            return
        asked = ("merge-base", "--is-ancestor", str(here), str(before))
        if self.git.process(*asked).returncode == 0:
            raise NotTrusted(
                f"{name} was judged by an older policy than the move before it: {here.short}",
                hint=f"`git show {here.short}:gitml.toml` is that policy",
            )

    def _roots(self, label: str, record: ObjectId, kind: str = "version") -> Roots:
        """What a record stands on; raises NotTrusted for the first that does not hold."""
        found = look_below(self.git, record, kind, self.signers)
        if found.problem is not None:
            raise NotTrusted(
                f"{label} stands on {found.problem.what}: {found.problem.detail}",
                hint="`gitml fsck` lists all that is off",
            )
        if self.policies.config.signing.runs and found.unsigned is not None:
            one = found.unsigned
            raise NotTrusted(f"{label} stands on {one.name}, which is {one.signature.words}")
        return found

    def _revoked(self, record: ObjectId) -> tuple[Revocation, ...]:
        return Revocations(self.index, self.odb).on(record)

    def _object(self, name: str, oid: ObjectId, kind: str) -> bytes:
        """The bytes of an object, hashed again."""
        odb = CheckedOdb(self.git)
        try:
            found = odb.read(oid)
        finally:
            odb.close()
        if found is None or found[1] != kind:
            raise NotTrusted(f"{name} is missing: there is no {kind} {oid.short}")
        return found[2]

    def _refuse_shallow(self) -> None:
        if self.git.shallow:
            raise PolicyNotMet(
                "nothing can be verified in a shallow clone",
                hint="`git fetch --unshallow --tags` brings what it stands on",
            )


_HINT = "`gitml stage log` shows who made it; the keys that count are those of the main branch"
