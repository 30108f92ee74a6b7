"""Any order of storing, naming, forgetting, waiting and collecting: what is named can be read."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gitml.entities.ids import Digest
from gitml.store import tree as trees
from gitml.store.gc import GRACE, collect, restore
from gitml.store.store import Store, Tree, TreeEntry, Writer

DAY = 24 * 3600.0
LONG_AGO = 10 * 365 * DAY

numbers = st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True)


def content(number: int) -> bytes:
    """Blobs of different sizes, so that packs are more and less than half dead."""
    return b"%d," % number * (10 + 400 * (number % 4))


class Collecting(RuleBasedStateMachine):
    """A store, what is named in it, and a clock of our own that starts ten years ago.

    Files that somebody has written or relied upon since the last step have a time of today, and
    are given that of our clock.
    """

    named = Bundle("named")
    at_work = Bundle("at_work")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "store")
        self.today = time.time() - 5
        self.now = self.today - LONG_AGO
        self.names: dict[int, set[Digest]] = {}
        self.writers: dict[int, tuple[Writer, set[Digest]]] = {}
        self.used: dict[Digest, float] = {}
        self.blobs: dict[Digest, bytes] = {}
        self.count = 0

    def teardown(self) -> None:
        for writer, _ in self.writers.values():
            writer.__exit__(None)
        shutil.rmtree(self.folder)

    def settle(self) -> None:
        """Give what was touched in this step the time of our clock."""
        for folder in ("packs", "tmp"):
            for path in (self.store.root / folder).glob("*"):
                if path.stat().st_mtime > self.today:
                    os.utime(path, (self.now, self.now))

    def put(self, writer: Writer, some: list[int], *, as_folder: bool) -> set[Digest]:
        entries = []
        for number in some:
            data = content(number)
            digest = writer.put_bytes(data)
            self.blobs[digest] = data
            entries.append(TreeEntry(f"{number}", trees.REGULAR, len(data), digest))
        made = {one.digest for one in entries}
        if as_folder:
            made.add(writer.put_tree(Tree.of(entries)))
        return made

    @rule(target=named, some=numbers, as_folder=st.booleans())
    def add(self, some: list[int], as_folder: bool) -> int:
        self.count += 1
        with Store(self.store.root).writer() as writer:
            self.names[self.count] = self.put(writer, some, as_folder=as_folder)
        self.used |= dict.fromkeys(self.names[self.count], self.now)
        self.settle()
        return self.count

    @rule(target=at_work, some=numbers)
    def begin(self, some: list[int]) -> int:
        self.count += 1
        writer = Store(self.store.root).writer()
        writer.__enter__()
        self.writers[self.count] = (writer, self.put(writer, some, as_folder=False))
        self.settle()
        return self.count

    @rule(target=named, which=consumes(at_work), commits_first=st.booleans(), wait=st.booleans())
    def publish(self, which: int, commits_first: bool, wait: bool) -> int:
        """Bytes first, then the name, then the writer is done; a gc may come between."""
        writer, digests = self.writers.pop(which)
        writer.commit()
        self.used |= dict.fromkeys(digests, self.now)
        self.settle()
        if commits_first and wait:
            self.collect_now(0)
        self.names[which] = digests
        writer.__exit__(None)
        self.settle()
        return which

    @rule(which=consumes(named))
    def forget(self, which: int) -> None:
        del self.names[which]

    @rule(days=st.sampled_from([1, 10, 20]))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @rule(grace=st.sampled_from([0.0, GRACE]))
    def collect_now(self, grace: float) -> None:
        live = {one.raw for digests in self.names.values() for one in digests}
        collect(Store(self.store.root), lambda: live, grace=grace, now=self.now + 1)
        self.now += 2
        held = Store(self.store.root)
        for digest, at in self.used.items():
            if at > self.now - grace:
                assert held.has(digest), "younger than the grace"
        self.used = {digest: at for digest, at in self.used.items() if held.has(digest)}

    @rule()
    def dry_run(self) -> None:
        before = sorted(self.store.root.rglob("*"))
        live = {one.raw for digests in self.names.values() for one in digests}
        done = collect(
            Store(self.store.root), lambda: live, grace=GRACE, now=self.now, dry_run=True
        )
        assert sorted(self.store.root.rglob("*")) == before
        assert done.kept >= 0
        assert done.condemned >= 0

    @rule()
    def take_back(self) -> None:
        if self.store.root.is_dir():
            restore(Store(self.store.root))
            self.settle()

    @invariant()
    def what_is_named_can_be_read(self) -> None:
        store = Store(self.store.root)
        for digests in self.names.values():
            self.check(store, digests)

    @invariant()
    def who_is_at_work_can_read_what_it_put(self) -> None:
        for writer, digests in self.writers.values():
            for digest in digests:
                assert writer.read(digest) == self.blobs[digest]

    @invariant()
    def nothing_is_damaged(self) -> None:
        assert [one for one in Store(self.store.root).check() if one.digests] == []

    def check(self, store: Store, digests: set[Digest]) -> None:
        for digest in digests:
            if digest in self.blobs:
                assert store.read(digest) == self.blobs[digest]
            else:
                assert len(store.read_tree(digest)) > 0


Collecting.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestCollecting = Collecting.TestCase
