"""Numbers for versions: the next free one on the remote, and what is taken stays taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gitml.entities.ids import ObjectId
from gitml.errors import NameNotFound
from gitml.frozen import Frozen
from gitml.git.refs import Change
from gitml.git.transport import RemoteRef
from gitml.history.index import Index
from gitml.history.record import TAGS, Recorder, version_tag
from gitml.history.revs import Names
from gitml.sync.tracking import NUMBER


class Number(Frozen):
    """A version and the number that it has or gets on the remote, by its tag.

    ``is_new`` tells that the tag has to go there; ``before`` is the number that the version had
    here and that is another version's there. The tag ``is_here``, or waits in the recorder, unless
    somebody has made another object for it than we would.
    """

    model: str
    commit: ObjectId
    number: int
    tag: ObjectId
    is_new: bool
    is_here: bool = True
    before: int | None = None
    was_draft: bool = False

    @property
    def name(self) -> str:
        """The ref of the tag."""
        return version_tag(self.model, self.number)

    def local_changes(self, here: Mapping[str, str]) -> list[Change]:
        """What makes the number this clone's as well, and gives back the one that is not."""
        changes = []
        if self.name not in here and self.is_here:
            changes.append(Change(self.name, self.tag, None))
        if self.before is not None and (old := here.get(version_tag(self.model, self.before))):
            changes.append(Change(version_tag(self.model, self.before), None, ObjectId(old)))
        return changes


def numbered(
    recorder: Recorder,
    index: Index,
    names: Names,
    there: Mapping[str, RemoteRef],
    versions: Sequence[ObjectId],
) -> list[Number]:
    """A number for each of the versions, in their order.

    A version that has one on the remote keeps the lowest of them. One that has a number here gets
    that, unless another version has it there. The others get the next ones: above all numbers that
    were ever given, here or there. The tag objects wait in the recorder.
    """
    taken = _taken(there)
    ends = {model: max(found, default=0) for model, found in taken.items()}
    found = []
    for commit in versions:
        entry = index.version(commit)
        if entry is None:
            raise NameNotFound(f"no version is called {commit.short}", hint="`gitml fsck`")
        model = entry.record.model
        state = names.model(model) if model in names.models else None
        on_remote = taken.setdefault(model, {})
        ours = state.lowest.get(commit) if state else None
        theirs = min((n for n, one in on_remote.items() if one == commit), default=None)
        committer = recorder.odb.commit(commit).committer
        if theirs is not None:
            number = theirs
        elif ours is not None and ours not in on_remote:
            number = ours
        else:
            number = max(ends.get(model, 0) + 1, state.next_number if state else 1)
        ends[model] = max(ends.get(model, 0), number)
        on_remote[number] = commit
        name = version_tag(model, number)
        known = there[name].target if name in there else None
        own = _own(index, name) or recorder.number(model, number, commit, committer)
        tag = known or own
        lost = ours != number and _is_others(there, model, ours, commit)
        before = ours if lost else None
        is_here = tag == own or tag in recorder.odb
        found.append(
            Number(model, commit, number, tag, known is None, is_here, before, ours is None)
        )
    return found


def _taken(there: Mapping[str, RemoteRef]) -> dict[str, dict[int, ObjectId | None]]:
    """By model: every number that the remote has a tag for, with the version, if it is one's."""
    found: dict[str, dict[int, ObjectId | None]] = {}
    for name, ref in there.items():
        if number := re.match(rf"{TAGS}/([^/@]+)@v({NUMBER})\Z", name):
            found.setdefault(number[1], {})[int(number[2])] = ref.commit
        elif number := re.match(rf"{TAGS}/([^/@]+)@deleted/({NUMBER})\Z", name):
            found.setdefault(number[1], {}).setdefault(int(number[2]), None)
    return found


def _own(index: Index, name: str) -> ObjectId | None:
    """The tag that this clone has under a name: it may be signed, so it is not made again."""
    return next((ref.target for ref in index.refs_below(name) if ref.name == name), None)


def _is_others(
    there: Mapping[str, RemoteRef], model: str, number: int | None, commit: ObjectId
) -> bool:
    """Whether the remote gave a number to another version."""
    ref = there.get(version_tag(model, number)) if number is not None else None
    return ref is not None and ref.commit != commit
