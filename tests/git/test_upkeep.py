"""Keeping git quick: refs and objects packed, the commit-graph fresh, and nothing of it lost."""

from __future__ import annotations

import pytest

from gitml.git import refs, upkeep
from gitml.git.process import Git
from gitml.testing.sealed import GitRepository


@pytest.fixture
def repository(git_repository: GitRepository) -> GitRepository:
    git_repository.commit("one")
    for number in range(5):
        git_repository.git("update-ref", f"refs/gitml/runs/r/{number}", "HEAD")
    return git_repository


def test_tidying_up_changes_no_ref_and_loses_no_object(repository: GitRepository) -> None:
    git = Git.discover(repository.path)
    before = refs.list_refs(git, ["refs/"])
    for _ in range(2):
        upkeep.tidy(git)
        assert refs.list_refs(git, ["refs/"]) == before
        assert not [path for path in (git.common / "refs").rglob("*") if path.is_file()]
        assert len(list((git.common / "objects/pack").glob("*.pack"))) == 1
        assert (git.common / "objects/info/commit-graphs/commit-graph-chain").exists()
        git.run("fsck", "--strict", "--full")
        assert list((git.common / "gitml/moves").iterdir()) == []


def test_an_empty_repository_has_nothing_to_tidy_up(git_repository: GitRepository) -> None:
    upkeep.tidy(Git.discover(git_repository.path))


def test_what_is_due_is_done_and_no_more(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = Git.discover(repository.path)
    assert not upkeep.keep_up(git, "refs/gitml/runs/r/4")
    monkeypatch.setattr(upkeep, "LOOSE_REFS", 5)
    assert upkeep.keep_up(git, "refs/gitml/runs/r/4")
    assert (git.common / "packed-refs").exists()
    assert not upkeep.keep_up(git, "refs/gitml/runs/r/4")


def test_the_pack_of_a_repack_that_was_killed_is_one_like_any_other(
    repository: GitRepository,
) -> None:
    """To git it is one already, and may have the only copy of an object since: it must not go."""
    git = Git.discover(repository.path)
    git.run("repack", "-a", "-d", "--quiet")
    (pack,) = (git.common / "objects/pack").glob("*.pack")
    for suffix in ("pack", "idx"):
        path = pack.with_suffix(f".{suffix}")
        path.rename(path.with_name(f".tmp-1-{path.name}"))
    git.run("fsck", "--strict", "--full")
    repository.commit("two")
    upkeep.tidy(git)
    git.run("fsck", "--strict", "--full")
