"""The law of order: nothing is named before it is there, for everybody who may read the name.

    bytes of this store → parts, sheets, whereabouts on the remote for bytes → objects of this git →
    refs of the git remote → refs of this clone

`upload` keeps the first arrow, each step confirmed before the next; `Pusher` the last two; here is
the one in the middle. Who fetches goes the other way: refs, then the bytes that they name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import ConfigError
from gitml.fs import make_directories
from gitml.git.process import Git
from gitml.sync.needs import Need, needs_at, new_needs
from gitml.sync.pushing import Plan

if TYPE_CHECKING:
    from gitml.store.store import Store
    from gitml.sync.catalogue import Catalogue
    from gitml.sync.upload import Moved


@dataclass
class Carrier:
    """Sees to it that the bytes which a push will name are on the remote for bytes.

    ``lost`` are places whose bytes are neither here nor there, in commits that somebody else has
    pushed without them; ``sent`` is how many bytes had to go. The store is not opened where no
    object has to be looked at: a push of nothing is a look at refs.
    """

    git: Git
    open_store: Callable[[], Store]
    open_catalogue: Callable[[], Catalogue | None]
    moved: Moved = lambda done, whole: None
    lost: list[str] = field(default_factory=list)
    sent: int = 0

    def carry(self, plan: Plan) -> None:
        """Bring there what the plan needs; when this returns, its refs may be pushed.

        Raises ConfigError where bytes are needed and there is no remote for them; MissingBytes
        where what this push adds has bytes that are nowhere; what the upload raises.
        """
        tips = plan.tips if plan.moves else plan.selection.tips
        known = [one.target for one in plan.there.values()]
        new = new_needs(self.git, tips, known) if plan.moves else {}
        catalogue = self.open_catalogue()
        if catalogue is not None:
            catalogue.doubt()
        seen = _Seen(catalogue.tips) if catalogue is not None else None
        fresh = [one for one in tips if seen is None or one not in seen]
        needs = {**needs_at(self.git, fresh), **new}
        if not needs:
            return
        if catalogue is None:
            raise no_place(needs)
        held = catalogue.holds(needs)
        missing = {digest: need for digest, need in needs.items() if digest not in held}
        if missing:
            from gitml.sync.upload import Uploader

            self.lost = self._pass_over_lost(missing, new)
            self.sent = Uploader(self.open_store(), catalogue, self.moved).send(missing).size
        if seen is not None and not self.lost:
            seen.add(fresh)

    def check_place(self, plan: Plan) -> None:
        """Raise ConfigError where bytes are needed and have no place to go."""
        if self.open_catalogue() is None:
            known = [one.target for one in plan.there.values()]
            if new := new_needs(self.git, plan.selection.tips, known):
                raise no_place(new)

    def foresee(self, plan: Plan) -> None:
        """Raise what `carry` would for want of a remote or of bytes; nothing is sent."""
        tips = plan.selection.tips
        new = new_needs(self.git, tips, [one.target for one in plan.there.values()])
        catalogue = self.open_catalogue()
        if new and catalogue is None:
            raise no_place(new)
        if new and catalogue is not None:
            from gitml.sync.upload import Uploader

            uploader = Uploader(self.open_store(), catalogue)
            uploader.check(uploader.missing(new))

    def _pass_over_lost(self, missing: dict[Digest, Need], new: dict[Digest, Need]) -> list[str]:
        """Take out what only its maker can bring: it was pushed before, and is not here either."""
        lost = self.open_store().absent(digest for digest in missing if digest not in new)
        return sorted(missing.pop(digest).where for digest in lost)


def no_place(needs: dict[Digest, Need]) -> ConfigError:
    """The error for bytes that have to go somewhere, and nobody said where."""
    some = next(iter(needs.values())).where
    return ConfigError(
        f"there is no remote for bytes, and what is pushed needs some: {some}; nothing was pushed",
        hint="`gitml remote add NAME URL --default` says where bytes go",
    )


class _Seen:
    """Commits whose bytes are known to be on a remote, kept in a file; losing it costs a look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: set[bytes] = set()
        with suppress(OSError):
            data = path.read_bytes()
            self._known = {data[at : at + 20] for at in range(0, len(data) - 19, 20)}

    def __contains__(self, commit: ObjectId) -> bool:
        return bytes.fromhex(commit.hex) in self._known

    def add(self, commits: list[ObjectId]) -> None:
        """Note commits."""
        with suppress(OSError):
            make_directories(self._path.parent)
            with self._path.open("ab") as file:
                file.write(b"".join(bytes.fromhex(one.hex) for one in commits))
