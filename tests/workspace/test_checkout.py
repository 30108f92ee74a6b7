from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData, MissingBytes, NameNotFound, UsageError
from gitml.workspace.checkout import LocalChanges
from gitml.workspace.statcache import View
from tests.workspace.conftest import Clone


@pytest.fixture
def two(clone: Clone) -> Clone:
    """Two commits: data with three files, then one changed, one gone, one new; the second is out.

    Branches ``old`` and ``new`` are at them, and ``new`` is checked out.
    """
    for name in ("same", "edited", "gone"):
        clone.write(f"data/{name}", f"{name} 1")
    clone.write("table.csv", "a\n1\n")
    clone.add("data", "table.csv")
    clone.commit("old")
    clone.git("branch", "old")
    clone.git("switch", "--quiet", "-c", "new")
    clone.write("data/edited", "edited 2")
    clone.write("data/sub/made", "made 2")
    (clone.path / "data/gone").unlink()
    clone.write("table.csv", "a\n2\n")
    clone.add("data", "table.csv")
    clone.commit("new")
    return clone


OLD = {"data/same": b"same 1", "data/edited": b"edited 1", "data/gone": b"gone 1"}
NEW = {"data/same": b"same 1", "data/edited": b"edited 2", "data/sub/made": b"made 2"}


def test_data_follows_its_pointers_and_only_what_differs_is_written(two: Clone) -> None:
    inode = (two.path / "data/same").stat().st_ino
    two.git("switch", "--quiet", "old")
    assert {one.state for one in two.states().values()} == {"behind"}
    moves = {one.path: one for one in two.checkout()}
    assert two.files() == OLD
    assert (two.path / "table.csv").read_text() == "a\n1\n"
    assert sorted(moves["data"].written) == ["data/edited", "data/gone"]
    assert moves["data"].removed == ["data/sub/made"]
    assert not (two.path / "data/sub").exists()
    assert (two.path / "data/same").stat().st_ino == inode
    assert two.differing() == {}
    assert two.git("status", "--porcelain") == ""
    two.git("switch", "--quiet", "new")
    two.checkout()
    assert two.files() == NEW


def test_git_is_not_asked_about_the_files_of_a_folder_that_is_gone(
    two: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(two.path / "data")
    assert two.differing() == {"data": "absent"}
    (two.path / "table.csv").unlink()
    monkeypatch.setattr("gitml.git.scan.PrivateIndex.scan", None)
    two.checkout()
    assert two.files() == NEW
    assert (two.path / "table.csv").read_text() == "a\n2\n"


def test_what_is_absent_comes_back(two: Clone) -> None:
    shutil.rmtree(two.path / "data")
    (two.path / "table.csv").unlink()
    assert two.differing() == {"data": "absent", "table.csv": "absent"}
    two.checkout()
    assert two.files() == NEW
    assert two.differing() == {}


def test_a_dry_run_changes_nothing(two: Clone) -> None:
    two.git("switch", "--quiet", "old")
    moves = two.checkout(dry_run=True)
    assert sum(len(one.written) for one in moves) == 3
    assert two.files() == NEW


def test_local_changes_in_the_way_are_refused_and_named(two: Clone) -> None:
    two.write("data/edited", "mine")
    two.git("switch", "--quiet", "old")
    with pytest.raises(LocalChanges, match="nowhere else: data/edited") as caught:
        two.checkout()
    assert "gitml checkout --force data" in (caught.value.hint or "")
    assert two.files() == {**NEW, "data/edited": b"mine"}
    assert (two.path / "table.csv").read_text() == "a\n2\n"
    moves = two.checkout(force=True)
    assert [one.lost for one in moves if one.lost] == [["data/edited"]]
    assert two.files() == OLD


def test_a_change_whose_bytes_are_in_the_store_may_be_overwritten(two: Clone) -> None:
    two.write("data/edited", "gone 1")
    two.git("switch", "--quiet", "old")
    two.checkout()
    assert two.files() == OLD


def test_a_changed_file_that_should_go_is_refused(two: Clone) -> None:
    two.write("data/sub/made", "mine")
    two.git("switch", "--quiet", "old")
    with pytest.raises(LocalChanges, match="data/sub/made"):
        two.checkout()


def test_local_changes_that_are_not_in_the_way_are_carried_over(two: Clone) -> None:
    two.write("data/same", "mine")
    two.write("data/new", "mine too")
    two.git("switch", "--quiet", "old")
    moves = {one.path: one for one in two.checkout()}
    assert moves["data"].kept == ["data/same"]
    assert two.files() == {**OLD, "data/same": b"mine", "data/new": b"mine too"}
    assert two.differing() == {"data/same": "M", "data/new": "A"}


def test_a_named_path_is_brought_back_only_by_force(two: Clone) -> None:
    two.write("table.csv", "mine")
    with pytest.raises(LocalChanges):
        two.checkout("table.csv")
    two.checkout("table.csv", force=True)
    assert (two.path / "table.csv").read_text() == "a\n2\n"


def test_a_path_within_data_brings_only_that(two: Clone) -> None:
    (two.path / "data/same").unlink()
    (two.path / "data/edited").unlink()
    two.checkout("data/edited")
    assert two.differing() == {"data/same": "D"}


def test_a_part_is_remembered(two: Clone) -> None:
    shutil.rmtree(two.path / "data")
    two.checkout("data", view=View(("sub", "same"), ()))
    assert two.files() == {"data/same": b"same 1", "data/sub/made": b"made 2"}
    assert two.differing() == {}
    assert two.states()["data"].view == View(("sub", "same"), ())
    two.git("switch", "--quiet", "old")
    two.checkout()
    assert two.files() == {"data/same": b"same 1"}
    (two.path / ".git/gitml/stat/index").unlink()
    assert two.differing() == {}
    two.git("switch", "--quiet", "new")
    two.checkout("data", view=View(("*",), ()))
    assert two.files() == NEW
    assert two.states()["data"].view is None


def test_adding_in_a_part_keeps_the_rest(two: Clone) -> None:
    two.checkout("data", view=View(("same",), ()))
    assert two.files() == {"data/same": b"same 1"}
    two.write("data/same", "same 3")
    two.write("data/fresh", "fresh 3")
    (added,) = two.add("data")
    tree = two.repo.store.read_tree(added.pointer.digest)
    assert [one.path for one in tree.entries] == ["edited", "fresh", "same", "sub/made"]
    assert two.differing() == {}
    two.checkout()
    assert two.files() == {"data/same": b"same 3", "data/fresh": b"fresh 3"}


def test_a_choice_that_nothing_matches_takes_nothing_away(two: Clone) -> None:
    """A typo in a pattern emptied the folder, without a word."""
    for paths in ((), ("data",)):
        with pytest.raises(NameNotFound, match=r"no file matches --include '\*\.pgn'") as caught:
            two.checkout(*paths, view=View(("*.pgn",), ()))
        assert "--exclude '*'" in str(caught.value.hint)
        assert two.files() == NEW
        assert two.states()["data"].view is None
    two.checkout("data", view=View((), ("*",)))
    assert two.files() == {}
    two.checkout("data", view=View(("*",), ()))
    assert two.files() == NEW
    two.checkout("table.csv", view=View(("*.pgn",), ()))  # a file has no parts to choose from
    assert two.differing() == {}


def test_exclude_leaves_files_out(two: Clone) -> None:
    two.checkout("data", view=View((), ("sub",)))
    assert two.files() == {"data/same": b"same 1", "data/edited": b"edited 2"}


def test_a_pointer_to_bytes_that_nobody_has(two: Clone) -> None:
    lost = Pointer(type(two.states()["table.csv"].pointer.digest)("0" * 64), "blob", 3)  # type: ignore[union-attr]
    two.write("table.csv.gitml", lost.encode())
    two.git("switch", "--quiet", "--force", "old")
    two.write("table.csv.gitml", lost.encode())
    with pytest.raises(MissingBytes, match="nothing was changed") as caught:
        two.checkout()
    assert caught.value.exit_code == 13
    assert two.files() == NEW
    two.checkout("data")
    assert two.files() == OLD


def test_a_branch_is_meant_for_git(two: Clone) -> None:
    with pytest.raises(UsageError, match="old is a revision of git's") as caught:
        two.checkout("old")
    assert caught.value.hint == "`git switch old && gitml checkout`"


def test_what_has_no_pointer(two: Clone) -> None:
    two.write("plain.txt", "")
    with pytest.raises(NameNotFound, match=r"plain.txt has no pointer"):
        two.checkout("plain.txt")
    with pytest.raises(NameNotFound, match=r"no data is called `tabel.csv`"):
        two.checkout("tabel.csv")


def test_data_whose_pointer_is_gone_is_removed(two: Clone) -> None:
    two.git("switch", "--quiet", "main")
    two.git("switch", "--quiet", "-c", "none", "main~1")
    assert two.differing() == {"data": "left", "table.csv": "left"}
    two.write("data/mine", "mine")
    two.checkout()
    assert two.files() == {"data/mine": b"mine"}
    assert not (two.path / "table.csv").exists()
    assert two.differing() == {}


def test_a_pointer_deleted_by_mistake_takes_nothing_away(two: Clone) -> None:
    (two.path / "data.gitml").unlink()
    two.checkout()
    assert two.files() == NEW
    two.git("restore", "data.gitml")
    assert two.differing() == {}


def test_a_folder_that_became_a_file_and_back(two: Clone) -> None:
    two.git("switch", "--quiet", "-c", "file")
    two.repo.remove(two.at("data"))
    two.write("data", "a file now")
    two.add("data")
    two.commit("a file")
    for branch, expected in (("old", OLD), ("file", None), ("new", NEW)):
        two.git("switch", "--quiet", branch)
        two.checkout()
        if expected is None:
            assert (two.path / "data").read_text() == "a file now"
        else:
            assert two.files() == expected
        assert two.differing() == {}


def test_a_file_that_became_a_folder_within_a_tree(two: Clone) -> None:
    two.git("switch", "--quiet", "-c", "kinds")
    (two.path / "data/same").unlink()
    two.write("data/same/inner", "x")
    (two.path / "data/sub/made").unlink()
    (two.path / "data/sub").rmdir()
    two.write("data/sub", "file")
    two.add("data")
    two.commit("other kinds")
    two.git("switch", "--quiet", "new")
    two.checkout()
    assert two.files() == NEW
    two.git("switch", "--quiet", "kinds")
    two.checkout()
    assert two.files() == {
        "data/edited": b"edited 2",
        "data/same/inner": b"x",
        "data/sub": b"file",
    }


def test_a_file_of_the_users_in_place_of_a_folder_is_refused(two: Clone) -> None:
    shutil.rmtree(two.path / "data")
    two.write("data", "precious")
    with pytest.raises(LocalChanges, match="data"):
        two.checkout()
    two.checkout(force=True)
    assert two.files() == NEW


def test_nothing_is_written_through_a_link(two: Clone, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    two.write("deep/er/data", "x")
    two.add("deep/er/data")
    two.commit("deep")
    shutil.rmtree(two.path / "data")
    (two.path / "data").symlink_to(outside)
    with pytest.raises(LocalChanges):
        two.checkout()
    two.checkout(force=True)
    assert two.files() == NEW
    shutil.rmtree(two.path / "data/sub")
    (two.path / "data/sub").symlink_to(outside)
    with pytest.raises(LocalChanges):
        two.checkout()
    shutil.move(two.path / "deep", outside / "deep")
    (two.path / "deep").symlink_to(outside / "deep")
    (outside / "deep/er/data").unlink()
    assert "deep/er/data" not in two.states()
    assert not (outside / "deep/er/data").exists()


def test_a_link_in_a_tree_cannot_lead_out_of_it(two: Clone) -> None:
    from gitml.store.tree import SYMLINK, Tree, TreeEntry

    with two.repo.store.writer() as writer:
        target = writer.put_bytes(b"../table.csv")
        digest = writer.put_tree(Tree.of([TreeEntry("evil", SYMLINK, 12, target)]))
    two.write("bad.gitml", Pointer(digest, "tree", 12).encode())
    with pytest.raises(CorruptData, match="leads out of its tree"):
        two.checkout("bad")
    assert not (two.path / "bad").exists()


@pytest.mark.parametrize("damage", [b"garbage", None])
def test_without_its_cache_the_data_is_hashed_and_the_state_is_right(
    two: Clone, damage: bytes | None
) -> None:
    two.write("data/same", "mine")
    (two.path / "data/edited").unlink()
    two.write("data/more", "more")
    before = two.differing()
    index = two.path / ".git/gitml/stat/index"
    if damage is None:
        shutil.rmtree(index.parent)
    else:
        index.write_bytes(damage)
    assert two.differing() == before
    assert two.differing() == before
    two.checkout("data", force=True)
    assert two.files() == {**NEW, "data/more": b"more"}


@pytest.mark.parametrize("count", [1, 600])
def test_damage_is_found_before_anything_changes(two: Clone, count: int) -> None:
    """The last file of many cannot be read: none is written, and nothing is cleared away."""
    two.git("switch", "--quiet", "old")
    two.checkout()
    before = two.files()
    for number in range(count):
        two.write(f"other/edited/{number}", f"edited into a folder {number}")
    two.write("other/zz", "last")
    two.add("other")
    pointer = (two.path / "other.gitml").read_bytes()
    packs = (two.path / ".git/gitml/store/packs").glob("*.pack")
    (pack,) = [one for one in packs if b"last" in one.read_bytes()]
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes().replace(b"last", b"lust"))
    shutil.rmtree(two.path / "other")  # else the bytes are taken from there
    (two.path / "data.gitml").write_bytes(pointer)
    with pytest.raises(CorruptData):
        two.checkout("data", force=True)
    assert two.files() == before  # where ``edited`` is a file


def test_an_interrupted_checkout_is_finished_by_the_next(two: Clone) -> None:
    """Some files written, some removed, the cache not yet told."""
    two.git("switch", "--quiet", "old")
    index = two.path / ".git/gitml/stat/index"
    before = index.read_bytes()
    two.checkout()
    (two.path / "data/gone").unlink()
    two.write("data/sub/made", "made 2")
    index.write_bytes(before)
    os.utime(index, (0, 0))
    two.checkout()
    assert two.files() == OLD
    assert two.differing() == {}


def test_the_mode_of_a_single_file_comes_back(clone: Clone) -> None:
    file = clone.write("tool.sh", "#!/bin/sh\n")
    file.chmod(0o755)
    clone.add("tool.sh")
    file.unlink()
    clone.checkout()
    assert file.stat().st_mode & 0o100
    assert clone.differing() == {}


def test_a_pointer_in_conflict_or_by_hand(two: Clone) -> None:
    text = (two.path / "data.gitml").read_text()
    two.write("data.gitml", f"<<<<<<< ours\n{text}")
    two.write("table.csv.gitml", text.replace("tree", "thing"))
    assert two.differing() == {"data": "unreadable", "table.csv": "unreadable"}
    two.write("data.gitml", text.replace("kind", "<<<<<<< ours\nkind"))
    assert two.differing()["data"] == "conflict"
    with pytest.raises(CorruptData, match="merge conflict marker"):
        two.checkout("data")
    assert two.files() == NEW
