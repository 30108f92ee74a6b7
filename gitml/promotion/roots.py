"""What a version or a run stands on: every record read again, every signature of one looked at."""

from __future__ import annotations

from gitml.entities.ids import ObjectId
from gitml.frozen import Frozen
from gitml.git.odb import CheckedOdb
from gitml.git.process import Git
from gitml.git.signing import GOOD, NONE, STRANGER, Signature, Signers, Verifier
from gitml.history.check import Problem, check_lineage

_SIGNED = ("run", "version")


class Link(Frozen):
    """A tag or a record that was verified: its name, what it says, and its signature."""

    name: str
    what: str
    signature: Signature


class Roots(Frozen):
    """What a record stands on: how many records, and the first of them that does not hold.

    ``signed`` are the runs and versions that are signed, ``unsigned`` the newest that no known key
    has signed.
    """

    records: int = 0
    problem: Problem | None = None
    signed: tuple[Link, ...] = ()
    unsigned: Link | None = None


def look_below(git: Git, record: ObjectId, kind: str, signers: Signers) -> Roots:
    """What a version or a run (its ``kind``) stands on: every record read, every signature seen.

    Signed are runs and versions. A signature that is false is a problem, and so is one of a key
    that no longer counts; one of a key that the project does not list is worth as much as none.
    """
    odb = CheckedOdb(git)
    try:
        found = check_lineage(git, odb, record, kind)
        if found.problems:
            return Roots(len(found.checked), found.problems[0])
        sealed = [odb.commit(one) for one, is_a in found.kinds.items() if is_a in _SIGNED]
        kinds = found.kinds
        sealed.sort(key=lambda one: (one.time, kinds[one.id] == "version", one.id), reverse=True)
        links: list[Link] = []
        unsigned: Link | None = None
        with Verifier(git, signers) as verifier:
            for commit in sealed:
                data = odb.read(commit.id)
                signature = verifier.verify_commit(data[2] if data is not None else b"")
                name = f"{kinds[commit.id]} {commit.id.short}"
                link = Link(name, commit.message.partition("\n")[0], signature)
                if signature.state not in (GOOD, NONE, STRANGER):
                    detail = Problem("bad-signature", name, signature.words)
                    return Roots(len(found.checked), detail, tuple(links), unsigned)
                if signature.state != NONE:
                    links.append(link)
                if signature.state != GOOD:
                    unsigned = unsigned or link
    finally:
        odb.close()
    return Roots(len(found.checked), None, tuple(links), unsigned)
