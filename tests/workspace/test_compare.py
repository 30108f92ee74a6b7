from __future__ import annotations

import pytest

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import AmbiguousName, NameNotFound
from gitml.repo.data import Difference
from tests.workspace.conftest import Clone


def shown(found: Difference) -> dict[str, str]:
    return {
        one.path: one.kind[0] + (f" {one.before}" if one.before else "")
        for change in found.data
        for one in change.files
    }


def diff(clone: Clone, *words: str, **flags: bool) -> dict[str, str]:
    return shown(clone.repo.diff(words, clone.path, **flags))


@pytest.fixture
def grown(clone: Clone) -> Clone:
    """Two commits of data, then changes that are in the index, then some that are nowhere."""
    for name in "abcd":
        clone.write(f"data/{name}", name * 9)
    clone.write("table.csv", "x\n1\n")
    clone.write("old/name.bin", "moved as it is")
    clone.add("data", "table.csv", "old/name.bin")
    clone.commit("one")
    clone.write("data/a", "changed")
    (clone.path / "data/b").rename(clone.path / "data/bb")
    clone.add("data")
    clone.repo.move(clone.at("old/name.bin"), clone.path / "new.bin")
    clone.commit("two")
    clone.write("table.csv", "x\n2\n")
    clone.add("table.csv")
    clone.write("data/e", "new")
    (clone.path / "data/c").unlink()
    return clone


def test_any_two_states(grown: Clone) -> None:
    one_two = {"data/a": "c", "data/bb": "r data/b", "new.bin": "r old/name.bin"}
    assert diff(grown, "HEAD~1", "HEAD") == one_two
    assert diff(grown, "HEAD~1..HEAD") == one_two
    assert diff(grown) == {"data/c": "r", "data/e": "a"}
    assert diff(grown, staged=True) == {"table.csv": "c"}
    assert diff(grown, "HEAD") == {"data/c": "r", "data/e": "a", "table.csv": "c"}
    assert diff(grown, "HEAD", "HEAD~1", "data") == {"data/a": "c", "data/b": "r data/bb"}
    assert diff(grown, "HEAD~1", "data/a", "table.csv") == {"data/a": "c", "table.csv": "c"}
    assert diff(grown, "HEAD", "HEAD") == {}


def test_sizes_and_modes(grown: Clone) -> None:
    (grown.path / "data/d").chmod(0o755)
    found = grown.repo.diff(["data/d", "data/e"], grown.path)
    changes = {one.path: one for change in found.data for one in change.files}
    old, new = changes["data/d"].old, changes["data/d"].new
    assert (old.mode, new.mode, old.digest == new.digest) == (0o100644, 0o100755, True)  # type: ignore[union-attr]
    assert changes["data/e"].growth == 3


def test_three_dots_begin_where_the_two_parted(grown: Clone) -> None:
    grown.git("switch", "--quiet", "-c", "side", "HEAD~1")
    grown.git("stash", "--quiet")
    grown.checkout(force=True)
    grown.write("data/side", "side")
    grown.add("data")
    grown.commit("side")
    assert diff(grown, "main...side", "data") == {"data/side": "a", "data/e": "a"}


def test_a_folder_that_became_a_file(clone: Clone) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    clone.commit("folder")
    clone.repo.remove(clone.at("data"))
    clone.write("data", "file")
    clone.add("data")
    clone.commit("file")
    assert diff(clone, "HEAD~1", "HEAD") == {"data": "a", "data/a": "r"}
    (clone.path / "data").unlink()
    clone.write("data/z", "z")
    assert diff(clone) == {"data": "r", "data/z": "a"}


def test_files_that_cannot_be_listed_are_said_to_differ(clone: Clone) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    clone.commit("here")
    clone.write("data.gitml", Pointer(Digest("1" * 64), "tree", 77).encode())
    clone.commit("not here")
    (change,) = clone.repo.diff(["HEAD~1", "HEAD"], clone.path).data
    assert "is not in this store" in (change.unlisted or "")
    assert change.new is not None
    assert change.new.size == 77


def test_a_word_that_is_two_things(clone: Clone) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    clone.commit("data")
    clone.git("branch", "data")
    with pytest.raises(AmbiguousName, match="`data` is a path and a revision"):
        diff(clone, "data")
    assert diff(clone, "./data") == {}
    with pytest.raises(NameNotFound):
        diff(clone, "nothing")


def test_before_the_first_commit(git_repository: Clone) -> None:
    from gitml.repo import Repo

    clone = Clone(git_repository.path)
    Repo.init(clone.path)
    clone.write("a", "a")
    clone.add("a")
    assert diff(clone, staged=True) == {"a": "a"}
    assert diff(clone) == {}
