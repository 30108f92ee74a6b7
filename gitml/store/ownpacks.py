"""The packs that a writer fills and nobody else sees: one being built, others finished."""

from __future__ import annotations

from pathlib import Path

from gitml.fs import storage_errors
from gitml.store import repair
from gitml.store.layout import Layout, discard
from gitml.store.lease import Lease
from gitml.store.pack import Pack, PackBuilder
from gitml.store.packindex import PackIndex


class OwnPacks:
    """Packs in ``tmp/``, for one process, until they are published or thrown away.

    A pack is finished when it is full: then it is durable, and its tables leave the memory for
    the more compact index.
    """

    def __init__(self, layout: Layout, lease: Lease) -> None:
        self._layout = layout
        self._lease = lease
        self._builder: PackBuilder | None = None
        self._finished: list[tuple[Pack, bytes]] = []
        self._parents: list[Pack] = []

    def all(self) -> list[Pack]:
        """Every pack, the one that is being built first."""
        packs = [pack for pack, _ in self._finished] + self._parents
        return packs if self._builder is None else [self._builder.pack, *packs]

    def holds(self, digest: bytes) -> bool:
        """Whether one of the packs has an object."""
        if self._builder is not None and self._builder.has_object(digest):
            return True
        if not self._finished and not self._parents:
            return False
        return any(pack.find_object(digest) is not None for pack in self.all())

    def builder(self) -> PackBuilder:
        """The pack that takes what comes next, begun if need be; raises StorageError."""
        if self._builder is None:
            self._lease.begin()
            self._builder = PackBuilder(self._layout.temporary(".pack"))
        return self._builder

    def flush(self) -> None:
        """Let everything so far survive a kill of this process, though not a power cut."""
        if self._builder is not None:
            self._builder.write_out()

    def write_ahead(self) -> None:
        """Have the disk begin with what `finish` would wait for, where that is much."""
        if self._builder is not None:
            self._builder.write_ahead()

    def finish_if_full(self) -> None:
        """Between two objects: see to it that no pack grows without end."""
        if self._builder is not None and self._builder.is_full:
            self.finish()

    def finish(self) -> None:
        """Make everything so far durable; what comes next goes to another pack."""
        if self._builder is not None:
            index = self._builder.finish()
            self._add(self._builder.pack.path, index)
            self._builder = None

    def publish(self) -> bool:
        """Give the finished packs their names, one after the other; whether there were any."""
        has_any = bool(self._finished)
        while self._finished:
            pack, index = self._finished[0]
            self._layout.publish_pack(pack.path, index)
            del self._finished[0]
        return has_any

    def salvage(self) -> None:
        """Publish the objects that `flush` has let survive, and forget the others."""
        packs = self.all()
        self._forget()
        for pack in packs:
            repair.salvage(self._layout, pack.path)

    def discard(self) -> None:
        """Remove the files of everything that was not published."""
        packs = self.all()
        self._forget()
        for pack in packs:
            discard(pack.path)

    def begin_apart(self) -> None:
        """In a forked worker: know all packs so far, but own none of them."""
        self._parents = self.all()
        self._builder, self._finished = None, []

    def end_apart(self) -> list[tuple[str, bytes]]:
        """In a forked worker: the finished packs of its own, path and index of each."""
        self.finish()
        return [(str(pack.path), index) for pack, index in self._finished]

    def adopt(self, path: str, index: bytes) -> None:
        """Take over a finished pack from a worker that still lives; raises StorageError.

        Its name says whose it is, so that at any time somebody is known to be at work on it.
        """
        ours = self._layout.temporary(".pack")
        with storage_errors(ours):
            Path(path).rename(ours)
        self._add(ours, index)

    def _add(self, path: Path, index: bytes) -> None:
        self._finished.append((Pack(path, PackIndex.of(index)), index))

    def _forget(self) -> None:
        if self._builder is not None:
            self._builder.close()
        self._builder, self._finished = None, []
