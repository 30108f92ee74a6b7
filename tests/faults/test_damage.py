"""Damage to any one file between a checkout and its bytes: noticed before a file changes.

Flipped, truncated, emptied, swapped; blob, pack, index, tree, pointer, stat cache. Where another
good copy exists the command succeeds; where none does it says so, and no wrong byte gets anywhere.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.fs import ProcessIdentity
from gitml.repo.care import Report
from gitml.store.store import LARGE, Store
from tests.faults.oracle import World, store_folder
from tests.workshop import Copy, Workshop, model_for_copies

FILES = {
    "data/a.txt": b"first," * 300,
    "data/b/noise.bin": random.Random(1).randbytes(5000),
    "data/large.bin": random.Random(2).randbytes(LARGE),
    "single.csv": b"a,b\n" + b"1,2\n" * 3000,
}
Damage = Callable[[Path, random.Random], None]


def flip(path: Path, source: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    overwrite(path, bytes(data))


def truncate(path: Path, source: random.Random) -> None:
    data = path.read_bytes()
    overwrite(path, data[: source.randrange(len(data))])


def empty(path: Path, source: random.Random) -> None:
    del source
    overwrite(path, b"")


def swap(path: Path, source: random.Random) -> None:
    """Exchange two stretches, as blocks of a disk that were written to each other's place."""
    data = bytearray(path.read_bytes())
    length = max(1, len(data) // 8)
    one, two = sorted(source.sample(range(0, len(data) - length + 1, length), 2))
    data[one : one + length], data[two : two + length] = (
        data[two : two + length],
        data[one : one + length],
    )
    overwrite(path, bytes(data))


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


DAMAGES: list[Damage] = [flip, truncate, empty, swap]
every_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Data that is added and committed, and checked out."""
    with model_for_copies(tmp_path_factory.mktemp("damage")) as made:
        for name, data in FILES.items():
            made.write(name, data)
        made.repo().add([made.path / "data", made.path / "single.csv"])
        made.close()
        made.commit("data")
        yield made


@pytest.fixture
def workshop(added: Workshop, copied: Copy) -> Workshop:
    return copied(added)


def take_away(workshop: Workshop) -> None:
    """Leave the pointers alone: the bytes are in the store only."""
    shutil.rmtree(workshop.path / "data", ignore_errors=True)
    (workshop.path / "single.csv").unlink(missing_ok=True)


PATTERNS = {"loose": "loose/*/*", "pack": "packs/*.pack", "index": "packs/*.idx"}


def files_of(workshop: Workshop, kind: str) -> list[Path]:
    return sorted(store_folder(workshop).glob(PATTERNS[kind]))


def is_right(workshop: Workshop) -> bool:
    return all((workshop.path / name).read_bytes() == data for name, data in FILES.items())


def checked_out_or_told(workshop: Workshop) -> GitmlError | None:
    """Check out: all of it is right, or the error is one of damage and no file is wrong."""
    before = World.of(workshop).files
    try:
        workshop.repo().checkout()
    except (CorruptData, MissingBytes) as error:
        workshop.close()
        assert error.exit_code in (12, 13)
        for name, what in World.of(workshop).files.items():
            is_restored = (workshop.path / name).read_bytes() == FILES.get(name)
            assert is_restored or what == before[name]
        return error
    finally:
        workshop.close()
    assert is_right(workshop)
    return None


@every_damage
@pytest.mark.parametrize("kind", ["loose", "pack", "index"])
def test_a_file_of_the_store(workshop: Workshop, kind: str, damage: Damage) -> None:
    take_away(workshop)
    chosen = files_of(workshop, kind)
    assert chosen
    kept = {path: path.read_bytes() for path in chosen}
    source = random.Random(f"{kind} {damage.__name__}")
    outcomes = set()
    for path in chosen:
        for _ in range(3):
            damage(path, source)
            outcomes.add(checked_out_or_told(workshop) is None)
            take_away(workshop)
            overwrite(path, kept[path])
    if kind == "index":
        assert outcomes == {True}, "an index can be made again from its pack"
    elif damage is not swap:
        assert False in outcomes


@every_damage
def test_a_pointer(workshop: Workshop, damage: Damage) -> None:
    take_away(workshop)
    source = random.Random(damage.__name__)
    for name in ("data.gitml", "single.csv.gitml"):
        path = workshop.path / name
        good = path.read_bytes()
        for _ in range(6):
            damage(path, source)
            if path.read_bytes() == good:
                continue
            before = World.of(workshop).files
            with pytest.raises(GitmlError) as caught:
                workshop.repo().checkout([workshop.path / name.removesuffix(".gitml")])
            workshop.close()
            assert caught.value.exit_code in (12, 13), caught.value
            assert World.of(workshop).files == before
            path.write_bytes(good)


@every_damage
def test_the_stat_cache_is_a_cache(workshop: Workshop, damage: Damage) -> None:
    """Whatever becomes of it, what is changed is seen and what is not is not."""
    workshop.write("data/a.txt", FILES["data/a.txt"].replace(b"first", b"third"))
    cache = workshop.path / ".git/gitml/stat/index"
    workshop.repo().data_status()
    workshop.close()
    good = cache.read_bytes()
    source = random.Random(damage.__name__)
    for _ in range(8):
        damage(cache, source)
        states = {one.path: one for one in workshop.repo().data_status()}
        workshop.close()
        assert states["data"].state == "changed"
        assert states["data"].changed == ("a.txt",)
        assert states["single.csv"].state == "clean"
        cache.write_bytes(good)


@every_damage
def test_another_copy_heals(workshop: Workshop, damage: Damage) -> None:
    """The same bytes in a second pack, or loose: one bad copy is passed over."""
    store = Store(store_folder(workshop))
    (mine,) = files_of(workshop, "pack")
    spare = Store(workshop.path.with_name("spare"))
    with spare.writer() as writer:
        writer.put_bytes(b"so that its packs have other names")
        writer.put_directory(workshop.path / "data")
        writer.put_file(workshop.path / "single.csv")
    for path in spare.root.glob("packs/*"):
        shutil.copy2(path, store.root / "packs" / path.name)
    for digest, path in spare.layout.loose_files():
        there = store.layout.loose(digest)
        there.parent.mkdir(exist_ok=True)
        if not there.exists():
            shutil.copy2(path, there)
    take_away(workshop)
    damage(mine, random.Random(damage.__name__))
    repo = workshop.repo()
    repo.checkout()
    assert is_right(workshop)


@every_damage
def test_an_unmodified_file_under_another_name_heals_the_checkout(
    workshop: Workshop, damage: Damage
) -> None:
    """The version before had these bytes elsewhere, and no other good copy is left."""
    shutil.move(workshop.path / "data/large.bin", workshop.path / "data/renamed.bin")
    shutil.move(workshop.path / "data/a.txt", workshop.path / "data/first.txt")
    workshop.repo().add([workshop.path / "data"])
    workshop.close()
    workshop.commit("renamed")
    workshop.git("switch", "--quiet", "--detach", "HEAD~1")
    for path in files_of(workshop, "loose"):
        damage(path, random.Random(damage.__name__))
    before = World.of(workshop).objects
    workshop.repo().checkout()
    workshop.close()
    assert is_right(workshop)
    assert before <= World.of(workshop).objects
    assert workshop.problems() == []


@every_damage
def test_the_file_in_the_work_tree_heals(workshop: Workshop, damage: Damage) -> None:
    """Nothing but the user's own file has the bytes any more: adding it again stores them again."""
    source = random.Random(damage.__name__)
    for kind in ("pack", "loose"):
        for path in files_of(workshop, kind):
            damage(path, source)
    repo = workshop.repo()
    repo.add([workshop.path / "data", workshop.path / "single.csv"], rehash=True)
    workshop.close()
    take_away(workshop)
    assert checked_out_or_told(workshop) is None


def repaired(workshop: Workshop) -> Report:
    """One ``fsck --full --repair``, after which a second one has nothing to do."""
    report = workshop.repo().fsck(sample=None, seed=0, repair=True)
    workshop.close()
    again = workshop.repo().fsck(sample=None, seed=0)
    workshop.close()
    assert [one for one in report.problems if not one.is_harmless] == []
    assert list(again.problems) == []
    return report


@every_damage
@pytest.mark.parametrize("kinds", [("pack",), ("loose",), ("pack", "loose"), ("pack", "index")])
def test_one_repair_takes_all_from_unmodified_files(
    workshop: Workshop, kinds: tuple[str, ...], damage: Damage
) -> None:
    source = random.Random(f"{kinds} {damage.__name__}")
    before = World.of(workshop)
    for count in (1, 40):
        for path in [one for kind in kinds for one in files_of(workshop, kind)]:
            for _ in range(count):
                if path.stat().st_size > 1:
                    damage(path, source)
        repaired(workshop)
        now = World.of(workshop)
        assert now.files == before.files
        assert before.objects <= now.objects
    take_away(workshop)
    assert checked_out_or_told(workshop) is None


@pytest.mark.parametrize("index", [True, False])
def test_unmodified_files_beside_a_modified_one_heal_too(workshop: Workshop, index: bool) -> None:
    """The list of the folder's files is lost with its packs, and the folder is another by now."""
    for kind in ("pack", "loose") if index else ("pack", "index", "loose"):
        for path in files_of(workshop, kind):
            empty(path, random.Random(0))
    workshop.write("data/a.txt", "another text")
    report = workshop.repo().fsck(sample=None, seed=0, repair=True)
    healed = {one.source for one in report.healed if one.kind == "blob"}
    # Without the index nobody knows that small files were there at all.
    assert healed - {"data/b/noise.bin"} == {"data/large.bin", "single.csv"}
    assert ("data/b/noise.bin" in healed) is index
    assert [one.kind for one in report.problems] == ["missing-blob"], "the list itself"


def test_a_repair_that_was_killed_at_its_end_is_tidied_up_by_the_next(workshop: Workshop) -> None:
    me = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", me.host, me.boot).to_text()
    left = store_folder(workshop) / f"tmp/{dead}+00000000.part"
    left.write_bytes(b"half")
    workshop.repo().fsck(sample=None, seed=0)
    assert left.exists()
    repaired(workshop)
    assert not left.exists()
