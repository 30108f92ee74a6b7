"""Whether a git remote is of the same project: whether some commit of code is in both.

Records of another project would take the names and numbers of ours, and ours would be published
over there; git would let both happen without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitml.entities.ids import ObjectId
from gitml.errors import UsageError
from gitml.git import refs, transport
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.transport import RemoteRef
from gitml.sync import tracking

_HEADS = "refs/heads/"


def check_kin(git: Git, odb: Odb, remote: str, there: Mapping[str, RemoteRef]) -> None:
    """Raise UsageError where no branch of a remote shares a commit with this clone's.

    ``there`` are the refs of the remote. Asked before anything was exchanged with it; what is noted
    of it says that it was. Where one side has no branch yet, or this clone not all of its history,
    nothing can be said, and all is well.
    """
    tips = [one.target for name, one in there.items() if name.startswith(_HEADS)]
    noted = tracking.all_tracked(remote)
    # Tags are few. Git lists all that match before it gives the first, and there may be many runs.
    if not tips or git.shallow or refs.has_any(git, f"{noted}/tags") or refs.has_any(git, noted):
        return
    ours = list(dict.fromkeys([*_resolved(odb, "HEAD"), *_branches(git)]))
    if not ours or _meet(git, ours, [one for one in tips if one in odb]):
        return
    absent = [one for one in tips if one not in odb]
    if absent:
        transport.fetch(git, remote, absent)
        odb.close()
        if _meet(git, ours, tips):
            return
    raise UsageError(
        f"{remote} and this clone have no commit in common: it is of another project; "
        "nothing was exchanged",
        hint=f"`git remote get-url {remote}` shows where it is; if they should become one, "
        f"`git pull --no-rebase --allow-unrelated-histories {remote} {_main(there)}` joins them",
    )


def _main(there: Mapping[str, RemoteRef]) -> str:
    """The branch that a remote is on, as far as that can be told, by short name."""
    head = there.get("HEAD")
    names = [name for name in there if name.startswith(_HEADS)]
    on_it = [name for name in names if head is not None and there[name] == head]
    return (on_it or names)[0].removeprefix(_HEADS)


def _resolved(odb: Odb, name: str) -> list[ObjectId]:
    found = odb.resolve(name)
    return [] if found is None else [found]


def _branches(git: Git) -> list[ObjectId]:
    return [ObjectId(one) for one in refs.targets(git, [_HEADS.rstrip("/")]).values()]


def _meet(git: Git, ours: list[ObjectId], theirs: list[ObjectId]) -> bool:
    """Whether some commit is behind one of ours and one of theirs."""
    if not set(ours).isdisjoint(theirs):
        return True
    others = [str(one) for one in theirs]
    return bool(others) and any(
        git.process("merge-base", str(one), *others).returncode == 0 for one in ours
    )
