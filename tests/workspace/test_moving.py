from __future__ import annotations

import pytest

from gitml.errors import NameNotFound, UsageError
from gitml.workspace.checkout import LocalChanges
from tests.workspace.conftest import Clone


@pytest.fixture
def filled(clone: Clone) -> Clone:
    clone.write("data/raw.csv", "raw")
    clone.write("data/images/a.png", "a")
    clone.write("data/images/b/c.png", "c")
    clone.add("data/raw.csv", "data/images")
    clone.commit("data")
    return clone


def remove(clone: Clone, *names: str, **flags: bool) -> None:
    clone.repo.remove(clone.at(*names), **flags)


def move(clone: Clone, *names: str) -> None:
    *sources, target = clone.at(*names)
    clone.repo.move(sources, target)


def test_data_pointer_and_line_go_together(filled: Clone) -> None:
    remove(filled, "data/raw.csv")
    assert not (filled.path / "data/raw.csv").exists()
    assert (filled.path / "data/.gitignore").read_text() == "/images\n"
    assert filled.staged() == ["data/.gitignore", "data/raw.csv.gitml"]
    remove(filled, "data/images.gitml")
    assert not (filled.path / "data").exists()
    assert filled.git("status", "--porcelain").split("\n") == [
        "D  data/.gitignore",
        "D  data/images.gitml",
        "D  data/raw.csv.gitml",
    ]
    assert filled.states() == {}
    filled.git("restore", "--staged", "--worktree", ".")
    filled.checkout()
    assert filled.files() == {
        "data/images/a.png": b"a",
        "data/images/b/c.png": b"c",
        "data/raw.csv": b"raw",
    }


def test_keep_leaves_the_data(filled: Clone) -> None:
    remove(filled, "data/images", keep=True)
    assert (filled.path / "data/images/a.png").read_text() == "a"
    assert (filled.path / "data/.gitignore").read_text() == "/raw.csv\n"
    assert filled.states().keys() == {"data/raw.csv"}


def test_what_is_nowhere_else_is_refused(filled: Clone) -> None:
    filled.write("data/images/a.png", "mine")
    filled.write("data/images/new.png", "mine")
    with pytest.raises(LocalChanges, match=r"data/images/a.png, data/images/new.png"):
        remove(filled, "data/images")
    assert (filled.path / "data/images.gitml").exists()
    remove(filled, "data/images", force=True)
    assert not (filled.path / "data/images").exists()


def test_a_removal_that_was_cut_off_is_finished_by_who_comes_next(filled: Clone) -> None:
    """Killed between two pointers: the first is gone, so the same command does not find it."""
    text = (filled.path / "data/images.gitml").read_bytes()
    remove(filled, "data/raw.csv", "data/images")
    filled.write("data/images.gitml", text)
    filled.write(".git/gitml/stat/removing", b"data/images.gitml\0data/raw.csv.gitml")
    with pytest.raises(NameNotFound):
        remove(filled, "data/raw.csv", "data/images")
    assert not (filled.path / "data/images.gitml").exists()
    filled.git("restore", "--staged", "--worktree", ".")
    filled.write(".git/gitml/stat/removing", b"data/images.gitml")
    filled.checkout()
    assert filled.differing() == {}


def test_a_folder_of_pointers_needs_a_word(filled: Clone) -> None:
    with pytest.raises(UsageError, match="a folder with 2 pointers"):
        remove(filled, "data")
    remove(filled, "data", recursive=True)
    assert not (filled.path / "data").exists()
    with pytest.raises(NameNotFound):
        remove(filled, "data/raw.csv")


def test_without_the_cache_too(filled: Clone) -> None:
    (filled.path / ".git/gitml/stat/index").unlink()
    remove(filled, "data", recursive=True)
    assert not (filled.path / "data").exists()


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("data/raw.csv", "data/raw2.csv", "data/raw2.csv"),
        ("data/raw.csv", "elsewhere/deep/raw.csv", "elsewhere/deep/raw.csv"),
        ("data/images", "images", "images"),
        ("data/images", "code", "code/images"),
        ("data/raw.csv", "", "raw.csv"),
    ],
)
def test_data_moves_with_its_pointer(
    filled: Clone, source: str, target: str, expected: str
) -> None:
    filled.write("code/x.py", "")
    filled.commit("code")
    before = {
        name.removeprefix(source): data
        for name, data in filled.files("").items()
        if name.startswith(source)
    }
    move(filled, source, target)
    after = {
        name.removeprefix(expected): data
        for name, data in filled.files("").items()
        if name.startswith(expected) and not name.startswith("code/x")
    }
    assert after == before
    assert not (filled.path / source).exists()
    assert filled.differing() == {}
    assert filled.states().keys() == {expected, *{"data/raw.csv", "data/images"} - {source}}
    assert "??" not in filled.git("status", "--porcelain", "--untracked-files=all")
    filled.commit("moved")
    filled.git("switch", "--quiet", "--detach", "HEAD~1")
    filled.checkout()
    assert filled.differing() == {}
    assert (filled.path / source).exists()


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("data/raw.csv", "data/images/raw.csv", "inside data/images"),
        ("data/images", "data/images/sub", "itself or inside it"),
        ("data/raw.csv", "data/images", "is there already"),
        ("data/raw.csv", "gitml.toml", "is there already"),
        ("data/raw.csv", "x.gitml", "the name of a pointer"),
        ("data/raw.csv", "../out", "outside of the repository"),
    ],
)
def test_places_that_cannot_be_moved_to(
    filled: Clone, source: str, target: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        move(filled, source, target)
    assert filled.git("status", "--porcelain") == ""


def test_a_file_within_data_is_moved_by_hand(filled: Clone) -> None:
    with pytest.raises(NameNotFound, match="inside data/images"):
        move(filled, "data/images/a.png", "data/images/z.png")


def test_a_move_that_was_cut_off_is_finished(filled: Clone) -> None:
    """The new pointer is written, the data moved or not, the index not told."""
    text = (filled.path / "data/raw.csv.gitml").read_bytes()
    filled.write("data/new.csv.gitml", text)
    move(filled, "data/raw.csv", "data/new.csv")
    assert filled.differing() == {}
    filled.write("data/newer.csv.gitml", text)
    (filled.path / "data/new.csv").rename(filled.path / "data/newer.csv")
    move(filled, "data/new.csv", "data/newer.csv")
    assert filled.differing() == {}
    assert filled.states().keys() == {"data/newer.csv", "data/images"}
