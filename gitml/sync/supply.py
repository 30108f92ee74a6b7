"""Bytes that are elsewhere: what a store asks when it is to read what it has not."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gitml.entities.ids import Digest
from gitml.errors import GitmlError
from gitml.store.store import Store
from gitml.sync.catalogue import Catalogue
from gitml.sync.download import Downloader, Moved


class RemoteSupply:
    """A remote as a store's supply. It is opened when something is asked of it."""

    def __init__(
        self, open_catalogue: Callable[[], Catalogue], open_store: Callable[[], Store]
    ) -> None:
        self._open_catalogue = open_catalogue
        self._open_store = open_store
        self._nowhere: set[Digest] = set()
        self.moved: Moved = lambda done, whole: None

    def bring(self, digests: Collection[Digest]) -> None:
        """Bring what the remote has of these; raises CorruptData, what the remote raises."""
        wanted = [one for one in digests if one not in self._nowhere] if self._nowhere else digests
        downloader = Downloader(self._open_store(), self._open_catalogue(), self.moved)
        self._nowhere |= downloader.bring(wanted)

    def elsewhere(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of the objects that the remote has; none where it does not answer."""
        try:
            return self._open_catalogue().holds(digests)
        except GitmlError:
            return set()
