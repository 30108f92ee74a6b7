"""Collecting: what is live stays whatever happens, what is not goes in two steps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, GitmlError, Locked, MissingBytes
from gitml.fs import ProcessIdentity
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.gc import GRACE, Collection, Collector, collect, restore
from gitml.store.links import LinkMode
from gitml.store.pack import PackBuilder
from gitml.store.packformat import BLOB
from gitml.store.store import LARGE, Store, Tree, TreeEntry

DAY = 24 * 3600.0
ABSENT = Digest("0" * 64)

pytestmark = pytest.mark.usefixtures("small_files_are_linked")


def gc(store: Store, *live: Digest, after: float = 0.0, **options: object) -> Collection:
    """A collection by somebody who comes ``after`` so many seconds from now."""
    now = time.time() + 3 + after
    raws = {one.raw for one in live}
    return collect(Store(store.root), lambda: raws, now=now, **{"grace": GRACE, **options})  # type: ignore[arg-type]


def put(store: Store, *blobs: bytes) -> list[Digest]:
    """Blobs in one pack of their own."""
    with store.writer() as writer:
        return [writer.put_bytes(one) for one in blobs]


def deeds(done: Collection) -> list[tuple[str, str]]:
    return [(act.deed, act.kind) for act in done.acts]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_empty_store_has_nothing_to_collect(store: Store) -> None:
    assert gc(store) == Collection((), 0, 0, 0, 0, None)
    assert not store.root.exists()


def test_what_nothing_names_is_condemned_and_then_deleted(store: Store) -> None:
    (dead,) = put(store, os.urandom(9000))
    (live,) = put(store, b"live")
    assert gc(store, live).acts == ()
    done = gc(store, live, after=GRACE)
    assert deeds(done) == [("condemned", "pack")]
    assert done.freed == 0
    assert Store(store.root).read(dead)
    assert gc(store, live, after=GRACE + DAY).acts == ()
    done = gc(store, live, after=2 * GRACE + 9)
    assert deeds(done) == [("deleted", "pack")]
    assert done.freed > 9000
    with pytest.raises(MissingBytes):
        Store(store.root).read(dead)
    assert store.read(live) == b"live"
    assert os.listdir(store.root / "condemned") == []


def test_what_is_named_again_comes_back(store: Store) -> None:
    dead, other = put(store, b"named again", b"beside it")
    gc(store, after=GRACE)
    assert Store(store.root).packs() == []
    done = gc(store, dead, after=3 * GRACE)
    assert ("restored", "pack") in deeds(done)
    assert "deleted" not in [act.deed for act in done.acts]
    assert [one.has(dead) for one in (store, Store(store.root))] == [True, True]
    assert list(Store(store.root).check()) == []
    del other


def test_loose_files_go_the_same_way(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(LARGE))
    with store.writer() as writer:
        digest, _ = writer.put_file(file)
    assert deeds(gc(store, after=GRACE)) == [("condemned", "loose")]
    assert not store.layout.loose(digest).exists()
    assert Store(store.root).read(digest) == file.read_bytes()
    assert deeds(gc(store, digest, after=GRACE)) == [("restored", "loose")]
    assert store.layout.loose(digest).exists()
    assert deeds(gc(store, after=0, grace=0)) == [("deleted", "loose")]
    assert not Store(store.root).has(digest)


def test_a_half_dead_pack_is_rewritten_byte_for_byte(store: Store) -> None:
    live, dead = put(store, b"dull " * 300, os.urandom(9000))
    (before,) = store.layout.packs.glob("*.pack")
    done = gc(store, live, after=GRACE)
    assert deeds(done) == [("rewritten", "pack"), ("condemned", "pack")]
    (after,) = store.layout.packs.glob("*.pack")
    assert after.stat().st_size < before_size(done)
    assert (
        after.stat().st_mtime_ns
        == Path(next(one.path for one in store.layout.condemned_files() if one.name == before.name))
        .stat()
        .st_mtime_ns
    )
    assert Store(store.root).read(live) == b"dull " * 300
    assert Store(store.root).read(dead)
    assert list(Store(store.root).check()) == []
    done = gc(store, live, after=2 * GRACE + 9)
    assert deeds(done) == [("deleted", "pack")]
    assert Store(store.root).read(live) == b"dull " * 300


def before_size(done: Collection) -> int:
    return next(act.size for act in done.acts if act.deed == "condemned")


def test_a_mostly_live_pack_stays(store: Store) -> None:
    live, _ = put(store, os.urandom(9000), b"little")
    assert gc(store, live, after=GRACE).acts == ()


def test_prune_now_frees_at_once(store: Store) -> None:
    live, _ = put(store, b"live", os.urandom(9000))
    put(store, b"dead")
    done = gc(store, live, grace=0)
    assert sorted(deeds(done)) == [("deleted", "pack"), ("deleted", "pack"), ("rewritten", "pack")]
    assert done.freed > 9000
    assert done.condemned == 0
    assert [one.digest for one in Store(store.root).objects()] == [live]
    assert os.listdir(store.root / "condemned") == []


@pytest.mark.parametrize("grace", [0.0, GRACE])
def test_a_dry_run_says_the_same_and_changes_nothing(store: Store, grace: float) -> None:
    live, _ = put(store, b"live", os.urandom(9000))
    put(store, b"dead")
    gc(store, live, after=GRACE)
    put(store, b"dead too")

    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in store.root.rglob("*") if p.is_file()}

    before = files()
    foreseen = gc(store, live, after=3 * GRACE, grace=grace, dry_run=True)
    assert files() == before
    done = gc(store, live, after=3 * GRACE, grace=grace)
    assert sorted(deeds(foreseen)) == sorted(deeds(done))
    assert foreseen.freed == done.freed


def test_restore_takes_everything_back(store: Store) -> None:
    digests = put(store, b"one") + put(store, b"two")
    gc(store, after=GRACE)
    assert {act.deed for act in restore(store)} == {"restored"}
    assert all(map(store.has, digests))
    assert len(Store(store.root).packs()) == 2
    assert gc(store, after=GRACE - DAY).acts == ()
    assert restore(store) == []


def test_what_was_just_relied_upon_goes_when_now_is_said(store: Store) -> None:
    put(store, b"dead")
    gc(store, after=GRACE)
    restore(store)
    time.sleep(0.05)  # a tick of the file system's clock
    assert deeds(collect(store, set, grace=0)) == [("deleted", "pack")]


def test_marks_that_cannot_be_made_stop_everything(store: Store) -> None:
    put(store, b"dead")

    def mark() -> set[bytes]:
        raise MissingBytes("a tree is not here")

    with pytest.raises(MissingBytes):
        collect(store, mark, grace=0)
    assert len(Store(store.root).packs()) == 1


def test_one_gc_at_a_time(store: Store) -> None:
    put(store, b"dead")

    def mark() -> set[bytes]:
        with pytest.raises(Locked):
            gc(store)
        return set()

    collect(store, mark, grace=GRACE)
    gc(store)


def test_members_of_young_packs_keep_their_chunks_elsewhere(store: Store) -> None:
    """A young object whose one part lies in an old pack: the old pack has to stay."""
    (old,) = put(store, b"part ")
    age(store, 30 * DAY)
    builder = PackBuilder(store.layout.temporary(".pack"))
    twice = b"part " * 2
    digest = hash_bytes(twice)
    builder.add_object(digest.raw, BLOB, 10, 0, [(old.raw, 5), (old.raw, 5)])
    index = builder.finish()
    store.layout.publish_pack(builder.pack.path, index)
    assert Store(store.root).read(digest) == twice
    gc(store)  # the old pack is rewritten without its object
    gc(store, after=GRACE - DAY)
    assert Store(store.root).read(digest) == twice
    for days in (20, 40, 60):
        gc(store, digest, after=days * DAY)
        assert Store(store.root).read(digest) == twice
    assert os.listdir(store.root / "condemned") == []
    assert not Store(store.root).has(old)


def age(store: Store, seconds: float) -> None:
    """Make everything in place older."""
    for path in [*store.layout.packs.iterdir(), *(p for _, p in store.layout.loose_files())]:
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


def test_a_damaged_live_object_stops_the_collection(store: Store) -> None:
    digest, _ = put(store, b"x" * 10, b"y")
    tree = Tree.of([TreeEntry("a", trees.REGULAR, 10, digest)])
    with store.writer() as writer:
        made = writer.put_tree(tree)
    pack = next(one.path for one in Store(store.root).copies(made))
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[-20] ^= 1
    pack.write_bytes(data)
    with pytest.raises(CorruptData, match="nothing was deleted"):
        gc(store, made, digest, after=GRACE)
    assert len(Store(store.root).packs()) == 2


def test_a_bad_copy_does_not_cost_the_good_one(store: Store) -> None:
    """The copy that a rewriting left in place has rotted since: the condemned one comes back."""
    live, _ = put(store, b"only here " * 9, os.urandom(9000))
    gc(store, live, after=GRACE)
    (pack,) = store.layout.packs.glob("*.pack")
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[120] ^= 1
    pack.write_bytes(data)
    done = gc(store, live, after=3 * GRACE)
    assert ("restored", "pack") in deeds(done)
    assert Store(store.root).read(live) == b"only here " * 9


def test_what_the_dead_left_goes_and_what_the_living_write_stays(store: Store) -> None:
    (live,) = put(store, b"live")
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    writer = store.writer()
    writer.put_bytes(b"in flight")
    writer.flush()
    for suffix in (".part", ".writer", ".pack"):
        left = store.root / f"tmp/{dead}+00000000{suffix}"
        left.write_bytes(b"half")
        os.utime(left, (time.time() - 60,) * 2)
    done = gc(store, live)
    assert deeds(done) == [("deleted", "temporary")] * 2  # half a pack may hold something whole
    assert deeds(gc(store, live, grace=0)) == [("deleted", "temporary")]
    writer.commit()
    del writer
    gc(store, live, after=GRACE)
    assert os.listdir(store.root / "tmp") == []


def test_a_pack_that_a_killed_gc_was_writing_goes_or_is_finished(store: Store) -> None:
    """All of it stands elsewhere; and where something live does not, it is published."""
    (live,) = put(store, b"live")
    (pack,) = store.layout.packs.glob("*.pack")
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    left = store.root / f"tmp/{dead}+00000000.pack"
    left.write_bytes(pack.read_bytes())
    os.utime(left, (time.time() - 60,) * 2)
    assert deeds(gc(store, live, grace=0)) == [("deleted", "temporary")]
    pack.rename(left)
    pack.with_suffix(".idx").unlink()
    assert deeds(gc(store, live, grace=0)) == [("restored", "temporary")]
    assert Store(store.root).read(live) == b"live"
    assert os.listdir(store.root / "tmp") == []


def test_a_full_disk_skips_rewriting_and_still_frees(tmp_path: Path, small_disk: Path) -> None:
    store = Store(small_disk / "store")
    live, _ = put(store, os.urandom(100_000), os.urandom(400_000))
    put(store, os.urandom(200_000))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    done = gc(store, live, grace=0)
    assert ("left", "pack") in deeds(done)
    assert ("deleted", "pack") in deeds(done)
    assert "no space" in next(act.why for act in done.acts if act.deed == "left")
    assert os.listdir(store.root / "tmp") == []
    filler.unlink()
    done = gc(store, live, grace=0)
    assert ("rewritten", "pack") in deeds(done)
    assert [one.digest for one in Store(store.root).objects()] == [live]
    assert list(Store(store.root).check()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# Writers that rely on what is being collected


def test_a_writer_does_not_count_on_the_condemned(store: Store) -> None:
    (digest,) = put(store, b"stored again")
    gc(store, after=GRACE)
    put(store, b"stored again")
    assert len(Store(store.root).packs()) == 1
    gc(store, digest, after=3 * GRACE)
    assert Store(store.root).read(digest) == b"stored again"


def test_what_a_writer_found_held_is_young_again(store: Store) -> None:
    (digest,) = put(store, b"old")
    age(store, 30 * DAY)
    with store.writer() as writer:
        assert writer.put_bytes(b"old") == digest
    assert len(list(store.layout.packs.glob("*.pack"))) == 1
    assert gc(store).acts == ()
    assert deeds(gc(store, after=GRACE)) == [("condemned", "pack")]


def test_a_writer_at_work_is_safe_from_prune_now(store: Store) -> None:
    (digest,) = put(store, b"old")
    age(store, 30 * DAY)
    with store.writer() as writer:
        writer.put_bytes(b"old")
        assert gc(store, grace=0, after=5 * GRACE).acts == ()
        new = writer.put_bytes(b"new")
        writer.commit()
        done = gc(store, grace=0, after=5 * GRACE)
        assert done.acts == ()
        assert done.young == done.kept
        assert store.read(new) == b"new"
    assert store.read(digest) == b"old"
    assert len(gc(store, grace=0, after=5 * GRACE).acts) == 2


def test_a_gc_that_was_killed_after_taking_out_does_not_harm_a_writer(store: Store) -> None:
    (digest,) = put(store, b"old")
    with store.writer() as writer:
        writer.put_bytes(b"old")
        (pack,) = store.layout.packs.glob("*.pack")
        store.layout.condemn(pack, int(time.time()))
        assert not pack.exists()
    assert pack.exists()
    assert pack.with_suffix(".idx").exists()
    assert os.listdir(store.root / "condemned") == []
    assert store.read(digest) == b"old"


def test_what_vanished_under_a_writer_is_told(store: Store) -> None:
    put(store, b"old")
    with pytest.raises(GitmlError, match="nothing was written") as caught, store.writer() as writer:
        writer.put_bytes(b"old")
        new = writer.put_bytes(b"new")
        next(store.layout.packs.glob("*.pack")).unlink()
    assert "again" in (caught.value.hint or "")
    del new


def test_cached_bytes_are_kept_by_who_relies_on_them(store: Store) -> None:
    (digest,) = put(store, b"cached")
    gc(store, after=GRACE)
    with store.writer() as writer:
        assert writer.rely_on(digest)
        assert not writer.rely_on(ABSENT)
        assert gc(store, grace=0, after=9 * GRACE).acts == ()
        assert len(Store(store.root).packs()) == 1


def test_many_are_relied_upon_with_one_note_a_pack_or_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", link="hardlink")
    small = put(store, *(b"%d" % number for number in range(300)))
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(b"linked %d" % number)
    with store.writer() as writer:
        linked = [writer.put_file(tmp_path / f"{number}.bin")[0] for number in range(20)]
        large = writer.put_bytes(b"a dead neighbour")
    assert (tmp_path / "0.bin").stat().st_nlink == 2
    age(store, 30 * DAY)
    before = {path.name for path in store.root.rglob("*.used")}
    with store.writer() as writer:
        wanted = [*small, *linked, ABSENT, large]
        assert writer.rely_on_all([one.raw for one in wanted]) == [ABSENT.raw]
        noted = {path.name for path in store.root.rglob("*.used")} - before
        assert noted == {f"{one.hex[:2]}.used" for one in linked}
        assert gc(store, grace=0, after=9 * GRACE).acts == ()
    for number, digest in enumerate(linked):
        assert Store(store.root).read(digest) == b"linked %d" % number
    # A note on a folder is for whoever is at work: it does not keep garbage for the time of grace.
    for note in store.root.rglob("*.used"):
        os.utime(note, (time.time() + 2 * GRACE - DAY,) * 2)
    done = gc(store, *small, large, after=2 * GRACE)
    assert deeds(done) == [("condemned", "loose")] * 20


def test_a_note_on_a_folder_is_seen_by_who_has_taken_a_file_out(tmp_path: Path) -> None:
    """The writer notes, then looks; the collection takes out, then looks: one sees the other."""
    store = Store(tmp_path / "store", link="hardlink")
    (tmp_path / "one").write_bytes(b"one")
    with store.writer() as writer:
        digest, _ = writer.put_file(tmp_path / "one")
    age(store, 30 * DAY)
    loose = store.layout.loose(digest)
    real = store.layout.condemn

    def condemn_late(path: Path, since: int) -> Path:
        assert relying.rely_on_all([digest.raw]) == []
        return real(path, since)

    held = Store(store.root)
    held.layout.condemn = condemn_late  # type: ignore[method-assign]
    with store.writer() as relying:
        # The clock of the file system, which the note has too.
        done = collect(held, set, grace=0)
        assert done.acts == ()
        assert loose.exists()
    assert store.read(digest) == b"one"


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_a_use_after_the_ages_were_judged_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: LinkMode
) -> None:
    store = Store(tmp_path / "store", link=link)
    (tmp_path / "one").write_bytes(b"one")
    with store.writer() as writer:
        digest, _ = writer.put_file(tmp_path / "one")
    age(store, 30 * DAY)
    real = Collector._gather_chunks

    def gather(collector: Collector) -> None:
        real(collector)
        assert relying.rely_on(digest)

    monkeypatch.setattr(Collector, "_gather_chunks", gather)
    with store.writer() as relying:
        assert collect(Store(store.root), set, grace=0).acts == ()
    assert Store(store.root).read(digest) == b"one"


def test_a_loose_file_without_bytes_is_not_relied_upon(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", link="hardlink")
    (tmp_path / "one").write_bytes(b"one")
    with store.writer() as writer:
        digest, _ = writer.put_file(tmp_path / "one")
    os.truncate(store.layout.loose(digest), 0)  # as a power cut may leave it elsewhere
    with Store(store.root).writer() as writer:
        assert writer.rely_on_all([digest.raw]) == [digest.raw]


def test_a_linked_file_that_vanished_under_a_writer_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", link="hardlink")
    (tmp_path / "one").write_bytes(b"one")
    with store.writer() as writer:
        digest, _ = writer.put_file(tmp_path / "one")
    with pytest.raises(GitmlError, match="nothing was written"), store.writer() as writer:
        assert writer.rely_on_all([digest.raw]) == []
        store.layout.loose(digest).unlink()
    with store.writer() as writer:
        writer.put_file(tmp_path / "one")


def test_another_user_s_file_is_relied_upon_by_a_note_beside_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(Path(folder) / "store")
        (digest,) = put(store, b"root's")
        age(store, 30 * DAY)
        for path in [store.root, *store.root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o777)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgid(65534)
                os.setuid(65534)
                with Store(store.root).writer() as writer:
                    status = int(writer.put_bytes(b"root's") != digest)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(store.layout.packs.glob("*.pack"))) == 1
        assert gc(store).acts == ()
        assert deeds(gc(store, after=GRACE)) == [("condemned", "pack")]


RELIES = """
import random, sys, time
from pathlib import Path
from gitml.store.store import Store
root, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
for turn in range(rounds):
    time.sleep(chance.uniform(0, 0.06))
    names = chance.sample(range(30), 4)
    store = Store(root)
    with store.writer() as writer:
        digests = [writer.put_bytes(b"%d;" % n * 200) for n in names]
        writer.commit()
        # Here a record would be published: from now on they are live.
        line = " ".join(one.hex for one in digests)
        with open(sys.argv[4], "a") as file:
            file.write(line + "\\n")
print("done")
"""


def test_nothing_that_was_published_is_ever_lost_to_a_race(store: Store, tmp_path: Path) -> None:
    """Writers of few blobs against a gc that deletes at once: each blob goes and comes often."""
    published = tmp_path / "published"
    published.touch()
    argv = [sys.executable, "-c", RELIES, str(store.root)]
    writers = [
        subprocess.Popen([*argv, str(seed), "40", str(published)], stderr=subprocess.PIPE)
        for seed in range(2)
    ]
    collected = 0
    forgotten = 0
    while any(one.poll() is None for one in writers):

        def mark() -> set[bytes]:
            # Every record but the newest few is deleted, so that there is always something to do.
            nonlocal forgotten
            seen = published.read_text().splitlines()
            forgotten = max(forgotten, len(seen) - 6)
            return {bytes.fromhex(one) for line in seen[forgotten:] for one in line.split()}

        done = collect(Store(store.root), mark, grace=0)
        collected += sum(act.deed == "deleted" and act.kind == "pack" for act in done.acts)
    errors = [one.communicate()[1].decode() for one in writers]
    assert errors == ["", ""]
    assert collected
    for line in published.read_text().splitlines()[forgotten:]:
        for one in line.split():
            assert Store(store.root).read(Digest(one))
    assert list(Store(store.root).check()) == []
    assert os.listdir(store.root / "tmp") == []


def test_who_relies_on_a_pack_is_not_forgotten_when_it_is_published_again(store: Store) -> None:
    (digest,) = put(store, b"dead")
    other = Store(store.root)
    with store.writer() as late:
        late.put_bytes(b"dead")  # it was away when this one looked
        (pack,) = store.layout.packs.glob("*.pack")
        index = pack.with_suffix(".idx").read_bytes()
        copy = store.layout.temporary(".pack")
        copy.write_bytes(pack.read_bytes())
        os.utime(copy, (1, 1))
        with other.writer() as writer:
            assert writer.rely_on(digest)
            store.layout.publish_pack(copy, index)
            assert deeds(gc(store, grace=0)) == []
    assert Store(store.root).has(digest)
    assert os.listdir(store.root / "tmp") == []


def test_making_an_index_again_never_costs_the_pack(store: Store) -> None:
    """While gc has the pack out, nobody else may take its place for a leftover."""
    put(store, b"wanted")
    (pack,) = store.layout.packs.glob("*.pack")
    index = pack.with_suffix(".idx")
    known = index.read_bytes()
    index.unlink()
    away = pack.rename(store.layout.root / "away")
    assert store.layout.index_again(pack, known) == pack
    assert not index.exists()
    away.rename(pack)
    assert store.layout.index_again(pack, known) == pack
    assert index.read_bytes() == known
