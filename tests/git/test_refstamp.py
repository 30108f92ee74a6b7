"""Whatever moves a ref changes the stamp; while nothing does, it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gitml.git import refstamp
from gitml.git.process import Git
from gitml.git.refstamp import RefStamp
from gitml.testing.sealed import GitRepository

PATTERNS = ("refs/gitml/runs", "refs/tags/*@*", "refs/tags/*@*/*", "refs/gitml-remotes/*/tags/*@*")


@pytest.fixture
def repository(git_repository: GitRepository, monkeypatch: pytest.MonkeyPatch) -> GitRepository:
    """A commit, a run, a tag; no change is too new to be told."""
    monkeypatch.setattr(refstamp, "_SETTLED", 0)
    git_repository.commit("one")
    git_repository.git("update-ref", "refs/gitml/runs/training/1", "HEAD")
    git_repository.git("tag", "-m", "one", "clf@v1")
    return git_repository


def stamp(repository: GitRepository, mark: bytes = b"mark") -> RefStamp | None:
    return RefStamp.now(
        Git.discover(repository.path), PATTERNS, repository.path / ".git/index.stamp", mark
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.git("update-ref", "refs/gitml/runs/training/2", "HEAD"),
        lambda r: r.git("update-ref", "refs/gitml/runs/other/1", "HEAD"),
        lambda r: r.git("update-ref", "-d", "refs/gitml/runs/training/1"),
        lambda r: r.git("tag", "-f", "-m", "two", "clf@v1"),
        lambda r: r.git("tag", "clf@production/1", "clf@v1"),
        lambda r: r.git("update-ref", "refs/gitml-remotes/origin/tags/clf@v1", "HEAD"),
        lambda r: r.git("pack-refs", "--all"),
        lambda r: (r.path / ".git/shallow").write_text(r.git("rev-parse", "HEAD")),
        lambda r: (r.path / ".git/refs/tags/clf@v1").write_text(r.git("rev-parse", "HEAD") + "\n"),
    ],
)
def test_what_moves_a_ref_shows(
    repository: GitRepository, change: Callable[[GitRepository], object]
) -> None:
    before = stamp(repository)
    assert before is not None
    before.note()
    again = stamp(repository)
    assert again is not None
    assert again.is_noted()
    change(repository)
    after = stamp(repository)
    assert after is not None
    assert not after.is_noted()


def test_refs_that_are_links_into_another_repository_are_followed(
    repository: GitRepository, tmp_path: Path
) -> None:
    """As `git-new-workdir` shares them."""
    repository.git("pack-refs", "--all")
    for name in ("packed-refs", "refs"):
        (repository.path / ".git" / name).rename(tmp_path / name)
        (repository.path / ".git" / name).symlink_to(tmp_path / name)
    before = stamp(repository)
    assert before is not None
    packed = tmp_path / "packed-refs"
    head = repository.git("rev-parse", "HEAD")
    (tmp_path / "new").write_text(f"{packed.read_text()}{head} refs/zz\n")
    (tmp_path / "new").replace(packed)
    middle = stamp(repository)
    assert middle != before
    (tmp_path / "refs/gitml/runs/training").mkdir(parents=True, exist_ok=True)
    (tmp_path / "refs/gitml/runs/training/9").write_text(head)
    assert stamp(repository) != middle


def test_a_branch_is_none_of_its_business(repository: GitRepository) -> None:
    before = stamp(repository)
    repository.git("branch", "other")
    assert stamp(repository) == before


def test_it_belongs_to_the_mark_of_one_listing(repository: GitRepository) -> None:
    first, other = stamp(repository), stamp(repository, b"other")
    assert first is not None
    assert other is not None
    first.note()
    assert first.is_noted()
    assert not other.is_noted()


def test_what_has_just_changed_gives_none(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change in the same moment might have the same times."""
    monkeypatch.setattr(refstamp, "_SETTLED", 10**12)
    assert stamp(repository) is None


def test_very_many_loose_refs_and_tables_of_refs_give_none(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refstamp, "_MOST", 1)
    assert stamp(repository) is None
    monkeypatch.undo()
    (repository.path / ".git/reftable").mkdir()
    assert stamp(repository) is None


def test_where_it_cannot_be_written_nothing_is_noted(repository: GitRepository) -> None:
    found = stamp(repository)
    assert found is not None
    found.note()
    (repository.path / ".git/index.stamp").unlink()
    (repository.path / ".git/index.stamp").mkdir()
    found.note()
    assert not found.is_noted()
