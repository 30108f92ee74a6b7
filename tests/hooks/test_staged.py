"""What a commit is about to hold, as git's index and the commits behind it say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.hooks.staged import LINK, Staged, is_match
from gitml.testing.sealed import GitRepository


@pytest.fixture
def odb(git_repository: GitRepository) -> Iterator[Odb]:
    opened = Odb(Git.discover(git_repository.path))
    yield opened
    opened.close()


def staged(repository: GitRepository, odb: Odb, **options: object) -> Staged:
    return Staged(Git.discover(repository.path), odb, **options)  # type: ignore[arg-type]


def paths(found: Staged) -> list[str]:
    return [one.path for one in found.files]


def test_before_the_first_commit_everything_staged_is_new(
    git_repository: GitRepository, odb: Odb
) -> None:
    git_repository.write("b.txt", "b")
    git_repository.write("folder/a b\n.txt", "aa")
    git_repository.write("untracked", "")
    git_repository.git("add", "b.txt", "folder")
    found = staged(git_repository, odb)
    assert paths(found) == ["b.txt", "folder/a b\n.txt"]
    assert all(one.is_new for one in found.files)
    assert found.sizes(found.files) == [1, 2]
    assert found.read(found.files[1]) == b"aa"


def test_what_is_staged_counts_not_what_lies_there(git_repository: GitRepository, odb: Odb) -> None:
    for name in ("same", "changed", "gone", "link"):
        git_repository.write(name, name)
    git_repository.commit()
    git_repository.write("changed", "staged")
    (git_repository.path / "link").unlink()
    (git_repository.path / "link").symlink_to("same")
    git_repository.git("rm", "--quiet", "gone")
    git_repository.git("add", "changed", "link")
    git_repository.write("changed", "not staged")
    found = staged(git_repository, odb)
    assert paths(found) == ["changed", "link"]
    assert found.read(found.files[0]) == b"staged"
    assert found.files[1].mode == LINK


def test_named_files_are_looked_at_also_when_they_are_old(
    git_repository: GitRepository, odb: Odb
) -> None:
    git_repository.write("old", "old")
    git_repository.write(":(glob)*", "odd")
    git_repository.commit()
    git_repository.write("new", "new")
    git_repository.git("add", "new")
    found = staged(git_repository, odb, names=["old", "new", ":(glob)*", "absent"])
    assert {one.path: one.is_new for one in found.files} == {
        "old": False,
        "new": True,
        ":(glob)*": False,
    }
    assert paths(staged(git_repository, odb, names=[])) == []


def test_the_index_that_git_hands_down_is_the_one(git_repository: GitRepository, odb: Odb) -> None:
    git_repository.write("a", "a")
    git_repository.commit()
    other = git_repository.path / ".git" / "other-index"
    other.write_bytes((git_repository.path / ".git" / "index").read_bytes())
    git_repository.write("b", "b")
    git_repository.git("add", "b")
    assert paths(staged(git_repository, odb, index=other)) == []
    assert paths(staged(git_repository, odb)) == ["b"]


def test_a_merge_brings_nothing_new_but_what_it_makes(
    git_repository: GitRepository, odb: Odb
) -> None:
    git_repository.write("both", "base")
    git_repository.commit()
    git_repository.git("switch", "--quiet", "--create", "theirs")
    git_repository.write("theirs", "theirs")
    git_repository.write("both", "theirs")
    git_repository.commit()
    git_repository.git("switch", "--quiet", "main")
    git_repository.write("both", "ours")
    git_repository.commit()
    with pytest.raises(AssertionError):
        git_repository.git("merge", "theirs")
    git_repository.write("both", "resolved")
    git_repository.git("add", "both")
    found = staged(git_repository, odb)
    assert paths(found) == ["both"]
    assert found.touched == ["both", "theirs"]


def test_commits_that_exist_are_compared_with_where_they_branched_off(
    git_repository: GitRepository, odb: Odb
) -> None:
    git_repository.write("a", "a")
    git_repository.commit()
    git_repository.git("branch", "old")
    git_repository.write("b", "b")
    git_repository.commit()
    assert paths(staged(git_repository, odb)) == []
    assert paths(staged(git_repository, odb, since="old")) == ["b"]
    named = staged(git_repository, odb, since="old", names=["a", "b"])
    assert [one.is_new for one in named.files] == [False, True]


def test_pointers_are_found_wherever_they_are(git_repository: GitRepository, odb: Odb) -> None:
    for name in ("a.gitml", "x/y/b.gitml", "not.gitml.txt", "[c].gitml"):
        git_repository.write(name, name)
    git_repository.git("add", ".")
    assert staged(git_repository, odb).pointers == {"a.gitml", "x/y/b.gitml", "[c].gitml"}


def test_excluded_files_are_passed_over(git_repository: GitRepository, odb: Odb) -> None:
    for name in ("tests/data/a.py", "src/a.py", "src/b.lock"):
        git_repository.write(name, name)
    git_repository.git("add", ".")
    assert paths(staged(git_repository, odb, exclude=["tests/", "*.lock"])) == ["src/a.py"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("tests/", True),
        ("tests/data/", True),
        ("data/", False),
        ("tests/*.txt", True),
        ("*.txt", True),
        ("a.txt", True),
        ("*.csv", False),
        ("tests", False),
        ("*/a.txt", True),
    ],
)
def test_patterns(pattern: str, matches: bool) -> None:
    assert is_match("tests/data/a.txt", pattern) is matches


def test_a_lost_blob_reads_as_nothing(git_repository: GitRepository, odb: Odb) -> None:
    git_repository.write("a", "some bytes")
    git_repository.git("add", "a")
    found = staged(git_repository, odb)
    blob = found.files[0].blob.hex
    Path(git_repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert found.sizes(found.files) == [-1]
    assert found.read(found.files[0]) == b""
