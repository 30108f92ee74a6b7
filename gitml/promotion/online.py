"""Tags made on the git remote first, where only one of many can make each: the compare-and-swap.

A tag is pushed by its object id and without force. Whatever the answer was, the remote's refs say
who has it: ours, so it was made; another, so somebody was first; none, so the remote was busy, or
does not want to.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, RaceLost
from gitml.git import refs, transport
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.transport import Move, Refusal, RemoteRef
from gitml.history.record import TAGS

_STUBBORN = 5
"""Refusals with nothing there to show for them after which the remote does not want to."""
_BUDGET = 30.0


@dataclass
class Online:
    """A git remote on which promotions are made.

    ``bring`` fetches its tags and gives the tip of its default branch, ``place`` says where a ref
    of it is noted here. ``tip`` is that tip as it was seen last.
    """

    git: Git
    remote: str
    bring: Callable[[], ObjectId | None]
    place: Callable[[str], str | None]
    tip: ObjectId | None = None

    def look(self) -> None:
        """See what the remote has now: its tags are here then."""
        self.tip = self.bring()

    def create(self, changes: Sequence[Change]) -> list[Change]:
        """Make the new tags among some changes there; what this clone has to note of it.

        Raises RaceLost when one of the names is another's by now, whose tag has then been fetched;
        AuthenticationFailed, and GitmlError when the remote refuses or cannot be reached.
        """
        tags = [one for one in changes if one.name.startswith(f"{TAGS}/") and one.new is not None]
        new = [Move(one.name, one.new) for one in tags if one.new is not None and one.old is None]
        deadline, stubborn, atomic, missing = time.monotonic() + _BUDGET, 0, True, new
        while missing:
            refusal = transport.push(self.git, self.remote, missing, atomic=atomic)
            if refusal is None:
                break
            if refusal.no_atomic and atomic:
                atomic = False
                continue
            there = transport.list_remote(self.git, self.remote, tags_only=True)
            self._refuse_taken(new, there)
            missing = [one for one in new if one.name not in there]
            stubborn += 1
            is_over = stubborn >= _STUBBORN or time.monotonic() > deadline
            if missing and (refusal.judged or is_over):
                raise self._refused(refusal)
            if missing:
                time.sleep(random.uniform(0.02, 0.1) * stubborn)  # noqa: S311 - jitter
        return self._notes(new)

    def _refuse_taken(self, new: Sequence[Move], there: Mapping[str, RemoteRef]) -> None:
        for one in new:
            known = there.get(one.name)
            if known is not None and known.target != one.new:
                self.look()
                raise RaceLost(f"{one.name.removeprefix(f'{TAGS}/')} is on {self.remote} by now")
            for other in there:
                if other.startswith(f"{one.name}/") or one.name.startswith(f"{other}/"):
                    raise GitmlError(
                        f"{other} on {self.remote} is in the way of {one.name}",
                        hint=f"`{_renaming(self.remote, other)}` makes room; it is not gitml's",
                    )

    def _notes(self, new: Sequence[Move]) -> list[Change]:
        """The refs that note what the remote has now."""
        places = {place: one.new for one in new if (place := self.place(one.name)) is not None}
        here = refs.targets(self.git, list(places)) if places else {}
        return [Change(name, oid, None) for name, oid in places.items() if name not in here]

    def _refused(self, refusal: Refusal) -> GitmlError:
        name = next(iter(refusal.refs), "the push")
        return refusal.error(
            f"{self.remote} refuses {name}; nothing was changed",
            hint="whoever runs it may have protected these tags",
            name=name,
        )


def _renaming(remote: str, tag: str) -> str:
    """The command that gives a tag of a remote another name."""
    name = tag.removeprefix(f"{TAGS}/")
    there, kept = shlex.quote(tag), shlex.quote(f"{TAGS}/old/{name}")
    return f"git fetch --no-tags {remote} {there}:{kept} && git push {remote} {kept} :{there}"
