"""The walk over all that git keeps: files in folders, of every commit, in every work tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData, MissingBytes
from gitml.git import walk
from gitml.git.process import Git
from gitml.testing.sealed import GitRepository


def paths(git: Git, *tips: ObjectId) -> set[str]:
    return {path for _, path in walk.files_ever(git, tips, ["*.gitml", ".gitml"])}


def test_files_of_all_commits_also_in_folders(git_repository: GitRepository) -> None:
    for name in ("a.gitml", "deep/er/b.gitml", "c.txt", ".gitml/run.json"):
        git_repository.write(name, name)
    git_repository.commit("all of them")
    git = Git.discover(git_repository.path)
    assert paths(git) == {"a.gitml", "deep/er/b.gitml", ".gitml/run.json"}
    git_repository.git("rm", "-rq", ".")
    git_repository.commit("none of them")
    assert paths(git) == {"a.gitml", "deep/er/b.gitml", ".gitml/run.json"}


def test_names_that_git_would_quote(git_repository: GitRepository) -> None:
    names = {"übel.gitml", 'quo"te.gitml', "line\nbreak.gitml", "two words.gitml"}
    for name in names:
        git_repository.write(name, name)
    git_repository.commit("names")
    assert paths(Git.discover(git_repository.path)) == names


def test_a_commit_that_no_ref_keeps_is_a_tip(git_repository: GitRepository) -> None:
    git_repository.write("a.txt", "a")
    git_repository.commit("one")
    git_repository.write("x.gitml", "x")
    git_repository.git("add", ".")
    tree = git_repository.git("write-tree")
    commit = ObjectId(git_repository.git("commit-tree", tree, "-m", "nobody's"))
    git = Git.discover(git_repository.path)
    absent = ObjectId("f" * 40)
    assert walk.existing(git, {commit, absent}) == [commit]
    assert paths(git) == set()
    assert paths(git, commit) == {"x.gitml"}


def test_heads_of_a_merge_and_a_work_tree(git_repository: GitRepository, tmp_path: Path) -> None:
    git_repository.write("a", "1")
    git_repository.commit("one")
    git_repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "other"))
    git = Git.discover(git_repository.path)
    main, other = walk.work_trees(git)
    assert (main.git.root, other.git.root) == (git_repository.path, tmp_path / "other")
    head = git_repository.git("rev-parse", "HEAD")
    (other.git.directory / "MERGE_HEAD").write_text(f"{head}\n{'1' * 40}\n")
    assert walk.heads(other.git.directory) >= {ObjectId(head), ObjectId("1" * 40)}


def test_an_empty_repository(git_repository: GitRepository) -> None:
    git = Git.discover(git_repository.path)
    assert paths(git) == set()
    assert walk.existing(git, []) == []
    assert list(walk.contents(git, [])) == []


def test_many_contents_and_one_that_is_absent(git_repository: GitRepository) -> None:
    for number in range(600):
        git_repository.write(f"f/{number}", f"{number}\n" * 200)
    git_repository.commit("many")
    git = Git.discover(git_repository.path)
    ids = walk.tree_files(git, "HEAD")
    found = list(walk.contents(git, ids))
    assert [one for one, _, _ in found] == ids
    assert {kind for _, kind, _ in found} == {"blob"}
    assert len({data for _, _, data in found}) == 600
    with pytest.raises(MissingBytes):
        list(walk.contents(git, [*ids, ObjectId("f" * 40)]))


def test_a_missing_tree_is_an_error_and_not_an_end(git_repository: GitRepository) -> None:
    git_repository.write("deep/a.gitml", "a")
    git_repository.commit("one")
    tree = git_repository.git("rev-parse", "HEAD:deep")
    (git_repository.path / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(CorruptData, match="walk"):
        paths(Git.discover(git_repository.path))


def test_files_of_the_trees_of_some_commits(git_repository: GitRepository) -> None:
    """The first file of each tree counts too, which git prints behind the names of the trees."""
    for name in ("a.gitml", "deep/er/b.gitml", "c.txt"):
        git_repository.write(name, name)
    first = ObjectId(git_repository.commit("two"))
    git_repository.git("rm", "-q", "a.gitml")
    second = ObjectId(git_repository.commit("one"))
    git_repository.git("rm", "-q", "-r", "deep")
    third = ObjectId(git_repository.commit("none"))
    git = Git.discover(git_repository.path)

    def at(*tips: ObjectId) -> list[str]:
        return [path for _, path in walk.files_at(git, tips, ["*.gitml", ".gitml"])]

    assert at(first) == ["a.gitml", "deep/er/b.gitml"]
    assert at(third, second, third, first) == ["deep/er/b.gitml", "a.gitml", "deep/er/b.gitml"]
    assert at() == []


def test_files_that_somebody_lacks(git_repository: GitRepository) -> None:
    commits = []
    for name in ("a.gitml", "b.gitml", "c.gitml"):
        git_repository.write(name, name)
        commits.append(ObjectId(git_repository.commit(name)))
    git = Git.discover(git_repository.path)
    known = [commits[0], ObjectId("1" * 40)]  # one that this repository lacks
    found = [path for _, path in walk.files_between(git, commits[2:], known, ["*.gitml"])]
    assert sorted(found) == ["b.gitml", "c.gitml"]
