from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData, UsageError
from gitml.store.gc import collect
from gitml.store.store import Store, Writer
from gitml.store.tree import REGULAR, Tree, TreeEntry
from gitml.workspace.checkout import LocalChanges
from gitml.workspace.merging import Merged, install_drivers, merge
from gitml.workspace.resolving import InConflict
from tests.workspace.conftest import Clone

Files = dict[str, str]
FILES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3"]))


def pointer(store: Store, files: Files) -> bytes:
    with store.writer() as writer:
        entries = [
            TreeEntry(name, REGULAR, len(text), writer.put_bytes(text.encode()))
            for name, text in files.items()
        ]
        tree = Tree.of(entries)
        return Pointer(writer.put_tree(tree), "tree", tree.size).encode()


def contents(store: Store, data: bytes) -> Files:
    tree = store.read_tree(Pointer.decode(data, "merged").digest)
    return {one.path: store.read(one.digest).decode() for one in tree.entries}


def merged(store: Store, base: Files, ours: Files, theirs: Files) -> Merged:
    sides = [pointer(store, files) for files in (base, ours, theirs)]
    return merge(store, *sides, "data")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES, FILES, FILES)
def test_a_merge_is_what_git_does_with_files(
    tmp_path: Path, base: Files, ours: Files, theirs: Files
) -> None:
    """Per path: one side's change wins over none, equal changes agree, others are a conflict."""
    store = Store(tmp_path / "store")
    expected: Files = {}
    clash = False
    for name in {*base, *ours, *theirs}:
        old, mine, yours = base.get(name), ours.get(name), theirs.get(name)
        clash |= mine not in (old, yours) and yours != old
        result = yours if mine == old else mine
        if result is not None:
            expected[name] = result
    found = merged(store, base, ours, theirs)
    assert bool(found.conflicts) == clash
    if not clash:
        assert contents(store, found.data) == expected
    mirrored = merged(store, base, theirs, ours)
    assert bool(mirrored.conflicts) == clash
    if not clash:
        assert mirrored.data == found.data


def test_a_conflict_is_a_pointer_that_says_so(tmp_path: Path) -> None:
    found = merged(Store(tmp_path), {"a": "1"}, {"a": "2"}, {"a": "3"})
    assert found.conflicts == ("data: both sides changed a in another way",)
    assert found.data.splitlines()[1] == b"<<<<<<< ours"
    with pytest.raises(CorruptData, match="line 2 is a merge conflict marker"):
        Pointer.decode(found.data, "data.gitml")


def test_a_file_where_the_other_side_has_a_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blob = Pointer(store_bytes(store, b"x"), "blob", 1).encode()
    folder = pointer(store, {"a": "1"})
    found = merge(store, pointer(store, {}), blob, folder, "data")
    assert found.conflicts == ("data: a file on one side, a folder on the other",)
    made = merged(store, {}, {"a": "1"}, {"A": "1"})
    assert "two paths that can be one file" in found_words(made)
    assert merge(store, b"", folder, pointer(store, {"b": "2"}), "data").conflicts == ()


def test_a_tree_that_is_not_here_is_a_conflict_with_the_way_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    other = pointer(Store(tmp_path / "there"), {"b": "2"})
    found = merge(store, pointer(store, {}), pointer(store, {"a": "1"}), other, "data")
    assert "`gitml pull` brings it" in found_words(found)


def store_bytes(store: Store, data: bytes):  # type: ignore[no-untyped-def]
    with store.writer() as writer:
        return writer.put_bytes(data)


def found_words(found: Merged) -> str:
    assert found.conflicts
    return " ".join(found.conflicts)


@pytest.fixture
def parted(clone: Clone) -> Clone:
    """Two branches, each of which adds an image of its own and changes one more; on main."""
    for name in "abc":
        clone.write(f"data/{name}", name)
    clone.add("data")
    clone.commit("base")
    for branch in ("left", "right"):
        clone.git("switch", "--quiet", "-c", branch, "main")
        clone.checkout()
        clone.write(f"data/{branch}", branch)
        clone.write("data/a" if branch == "left" else "data/b", branch)
        clone.add("data")
        clone.commit(branch)
    return clone


def test_git_merges_two_peoples_images(parted: Clone) -> None:
    parted.git("merge", "--quiet", "-m", "both", "left")
    parted.checkout()
    assert parted.files() == {
        "data/a": b"left",
        "data/b": b"right",
        "data/c": b"c",
        "data/left": b"left",
        "data/right": b"right",
    }
    assert parted.differing() == {}


def test_git_stops_at_one_file_changed_twice(parted: Clone) -> None:
    parted.write("data/a", "right too")
    parted.add("data")
    parted.commit("right too")
    done = subprocess.run(
        ["git", "merge", "left"], cwd=parted.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "CONFLICT (data): data: both sides changed a in another way" in done.stderr
    assert parted.differing() == {"data": "conflict"}
    parted.git("checkout", "--theirs", "data.gitml")
    parted.checkout()
    parted.git("add", "data.gitml")
    assert parted.git("status", "--porcelain") == "M  data.gitml"
    assert parted.files()["data/a"] == b"left"


def expected_of(clash: str) -> dict[str, bytes]:
    """All that merged of `clashing`, with one side of the file that both changed."""
    return {
        "data/a": clash.encode(),
        "data/b": b"right",
        "data/c": b"c",
        "data/left": b"left",
        "data/right": b"right",
    }


@pytest.fixture
def clashing(parted: Clone) -> Clone:
    """On right, where `left` has been merged up to one file that both changed."""
    change_twice(parted)
    assert "CONFLICT (data): data: both sides changed a" in fails(parted, "merge", "left")
    return parted


def change_twice(clone: Clone) -> None:
    clone.write("data/a", "right too")
    clone.add("data")
    clone.commit("right too")


def fails(clone: Clone, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=clone.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done
    return done.stderr


def test_what_merged_is_not_lost_by_what_did_not(clashing: Clone) -> None:
    before = clashing.files()
    for flags in ({}, {"dry_run": True}):
        with pytest.raises(InConflict, match="lacks what the other side changed"):
            clashing.add("data", **flags)
    assert clashing.files() == before
    (moved,) = clashing.checkout()
    assert moved.in_conflict
    assert moved.undecided == ["data/a"]
    assert clashing.files() == expected_of("right too")
    with pytest.raises(InConflict, match="both sides changed data/a"):
        clashing.repo.add(everything=True)
    assert clashing.states()["data"].undecided == ("a",)
    assert clashing.git("ls-files", "--unmerged")


@pytest.mark.parametrize("way", ["ours", "theirs", "edited", "removed"])
def test_each_file_that_both_changed_is_decided(clashing: Clone, way: str) -> None:
    clashing.checkout("data")
    expected = expected_of({"ours": "right too", "theirs": "left"}.get(way, "both"))
    if way == "edited":
        clashing.write("data/a", "both")
    elif way == "removed":
        (clashing.path / "data/a").unlink()
        del expected["data/a"]
    else:
        clashing.checkout("data/a", side=way)
    assert clashing.states()["data"].undecided == ()
    (added,) = clashing.repo.add(everything=True)
    assert added.resolved == (("data/a",) if way in ("edited", "removed") else ())
    clashing.git("commit", "--quiet", "--no-edit")
    assert clashing.files() == expected
    assert clashing.differing() == {}
    clashing.git("switch", "--quiet", "left")
    clashing.checkout()
    clashing.git("switch", "--quiet", "right")
    clashing.checkout()
    assert clashing.files() == expected


def test_a_side_can_be_taken_back_and_needs_no_checkout_before(clashing: Clone) -> None:
    clashing.checkout("data", side="theirs")
    assert clashing.files() == expected_of("left")
    clashing.checkout("data/a", side="ours")
    assert clashing.files() == expected_of("right too")
    clashing.add("data")
    assert clashing.states()["data"].state == "clean"
    with pytest.raises(UsageError, match="not in conflict"):
        clashing.checkout("data/a", side="ours")


def test_a_side_does_not_overwrite_what_is_nowhere_else(clashing: Clone) -> None:
    clashing.write("data/a", "mine")
    pointer = (clashing.path / "data.gitml").read_bytes()
    for side in ("ours", "theirs"):
        with pytest.raises(LocalChanges, match="data/a"):
            clashing.checkout("data/a", side=side)
    assert (clashing.path / "data.gitml").read_bytes() == pointer
    (moved,) = clashing.checkout("data")
    assert moved.kept == ["data/a"]
    assert clashing.files() == expected_of("mine")
    clashing.checkout("data/a", side="theirs", force=True)
    assert clashing.files() == expected_of("left")


def test_a_merge_that_is_given_up_leaves_what_was(clashing: Clone) -> None:
    clashing.checkout()
    clashing.git("merge", "--abort")
    clashing.checkout()
    assert "data/left" not in clashing.files()
    assert clashing.differing() == {}


def test_a_file_that_both_changed_has_sides_too(clone: Clone) -> None:
    clone.write("table.csv", "old")
    clone.add("table.csv")
    clone.commit("base")
    for branch in ("left", "right"):
        clone.git("switch", "--quiet", "-c", branch, "main")
        clone.checkout()
        clone.write("table.csv", branch)
        clone.add("table.csv")
        clone.commit(branch)
    fails(clone, "merge", "left")
    with pytest.raises(InConflict, match=r"both sides changed table\.csv"):
        clone.add("table.csv")
    clone.checkout("table.csv", side="theirs")
    clone.add("table.csv")
    clone.git("commit", "--quiet", "--no-edit")
    assert (clone.path / "table.csv").read_text() == "left"
    assert clone.differing() == {}


def test_a_file_that_one_side_deleted(parted: Clone) -> None:
    (parted.path / "data/a").unlink()
    parted.add("data")
    parted.commit("gone")
    fails(parted, "merge", "left")
    parted.checkout()
    assert parted.states()["data"].undecided == ("a",)
    parted.checkout("data/a", side="theirs")
    parted.checkout("data/a", side="ours")
    parted.add("data")
    expected = expected_of("")
    del expected["data/a"]
    assert parted.files() == expected
    assert parted.differing() == {}


def test_in_a_rebase_and_from_a_stash(parted: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_EDITOR", "true")
    change_twice(parted)
    fails(parted, "rebase", "left")
    parted.checkout()
    parted.checkout("data/a", side="theirs")
    parted.add("data")
    parted.git("rebase", "--continue")
    parted.checkout()
    assert parted.files() == expected_of("right too")
    parted.git("switch", "--quiet", "left")
    parted.checkout()
    parted.write("data/a", "stashed")
    parted.write("data/new", "new")
    parted.add("data")
    parted.git("stash")
    parted.checkout()
    parted.git("merge", "--quiet", "right")
    fails(parted, "stash", "pop")
    parted.checkout()
    assert parted.files() == {**expected_of("right too"), "data/new": b"new"}
    parted.checkout("data/a", side="theirs")
    parted.add("data")
    assert parted.files() == {**expected_of("stashed"), "data/new": b"new"}


def test_a_conflict_is_not_moved_and_fsck_knows_the_way_out(clashing: Clone) -> None:
    with pytest.raises(CorruptData, match="conflict"):
        clashing.repo.move(clashing.at("data"), clashing.path / "moved")
    assert (clashing.path / "data.gitml").exists()
    (problem,) = [one for one in clashing.repo.fsck().problems if one.kind == "corrupt-pointer"]
    assert "gitml status" in problem.remedy


def test_what_a_conflict_names_survives_gc(clashing: Clone) -> None:
    clashing.checkout()
    clashing.git("branch", "-D", "left")
    clashing.git("reflog", "expire", "--expire=all", "--all")
    for path in clashing.repo.store.root.rglob("*"):
        os.utime(path, (1, 1))
    clashing.repo.gc("now")
    clashing.checkout("data/a", side="theirs")
    clashing.add("data")
    assert clashing.files() == expected_of("left")
    assert clashing.differing() == {}


def test_two_ancestors_that_clash_are_a_base_without_what_clashed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    base = merged(store, {"a": "1"}, {"a": "2", "b": "1"}, {"a": "3", "c": "1"})
    sides = [{"a": "4", "c": "1"}, {"a": "4", "b": "1", "c": "1"}]
    agreed = merge(store, base.data, *(pointer(store, one) for one in sides), "data")
    assert contents(store, agreed.data) == {"a": "4", "c": "1"}
    sides[0]["a"] = "2"
    other = merge(store, base.data, *(pointer(store, one) for one in sides), "data")
    assert other.conflicts == ("data: both sides changed a in another way",)


def test_a_merge_of_lines_goes_on_as_one_of_files(parted: Clone) -> None:
    change_twice(parted)
    parted.git("config", "--remove-section", "merge.gitml")
    fails(parted, "merge", "left")
    parted.checkout()
    assert parted.files() == expected_of("right too")
    parted.checkout("data/a", side="theirs")
    parted.add("data")
    parted.git("commit", "--quiet", "--no-edit")
    assert parted.files() == expected_of("left")


@pytest.mark.parametrize("driver", ["absent", "broken"])
def test_without_its_driver_git_merges_lines(parted: Clone, driver: str) -> None:
    if driver == "absent":
        parted.git("config", "--remove-section", "merge.gitml")
    else:
        command = parted.git("config", "merge.gitml.driver")
        parted.git("config", "merge.gitml.driver", command.replace("gitml merge-", "none merge-"))
    done = subprocess.run(
        ["git", "merge", "left"], cwd=parted.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert parted.differing() == {"data": "conflict"}


def test_git_shows_the_files_of_a_pointer(parted: Clone) -> None:
    shown = parted.git("diff", "main", "right", "--", "data.gitml")
    added = [line.split()[-1] for line in shown.split("\n") if line.startswith("+100644")]
    assert added == ["b", "right"]
    parted.git("config", "diff.gitml.textconv", 'f() { none "$1" 2>/dev/null || cat "$1"; }; f')
    assert "+digest blake3:" in parted.git("diff", "main", "right")


def test_the_settings_are_made_once(clone: Clone) -> None:
    assert not install_drivers(clone.repo.git)
    clone.git("config", "--remove-section", "merge.gitml")
    assert install_drivers(clone.repo.git)


def test_what_a_merge_names_is_safe_from_gc_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    sides = [pointer(store, files) for files in ({"a": "1"}, {"a": "2"}, {"a": "1", "b": "3"})]
    for path in store.root.rglob("*.pack"):
        os.utime(path, (1, 1))
    real = Writer.put_tree

    def put_tree(writer: Writer, tree: Tree) -> Digest:
        collect(Store(store.root), set, grace=0)
        return real(writer, tree)

    monkeypatch.setattr(Writer, "put_tree", put_tree)
    found = merge(store, *sides, "data")
    assert contents(Store(store.root), found.data) == {"a": "2", "b": "3"}
