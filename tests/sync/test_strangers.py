"""Clones that have only part of the repository, and remotes that are another project's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import StorageError, UsageError
from gitml.repo import Repo
from tests.sync.conftest import Team
from tests.workshop import Workshop


@pytest.fixture
def full(team: Team) -> Team:
    """Bob has pushed a version, a run, data and a promotion."""
    team.bob.write("data/big.csv", "a,b\n" * 100)
    team.bob.repo().add([team.bob.path / "data/big.csv"])
    team.bob.commit("data")
    team.bob.run()
    team.bob.repo().push()
    team.bob.repo().promote("clf@latest", "production", "first")
    team.server.git("config", "uploadpack.allowFilter", "true")
    return team


def cloned(team: Team, place: Path, *options: str) -> Workshop:
    """A clone by git, completed as ``gitml init`` does it."""
    team.bob.git("clone", "--quiet", *options, team.url, str(place))
    repo, _ = Repo.init(place)
    assert repo.complete_clone() is not None
    repo.close()
    return Workshop(place)


@pytest.mark.parametrize("what", ["blob:none", "tree:0", "blob:limit=100"])
def test_a_partial_clone_is_a_clone(full: Team, tmp_path: Path, what: str) -> None:
    """What git has left out it brings when it is read: nobody notices but the line."""
    alice = cloned(full, tmp_path / "alice", f"--filter={what}")
    assert (alice.path / "data/big.csv").read_text() == "a,b\n" * 100
    assert alice.repo().artifact("clf@production:model").load() == {"weights": [1.0, 2.0, 3.0]}
    run = alice.run(parameters={"rate": 0.25})
    assert alice.states(parameters={"rate": 0.25}) == {"prepare": "cached", "train": "cached"}
    assert alice.repo().push([run.model_version.label]).versions == ["clf@v2"]
    full.bob.commit("more")
    full.bob.repo().push()
    assert alice.repo().pull().forwarded is not None
    assert alice.problems() == []
    full.bob.repo().fetch()
    assert full.bob.repo().artifact("clf@v2:model").load() == {"weights": [0.5, 1.0, 1.5]}


def test_a_clone_of_one_branch_is_a_clone(full: Team, tmp_path: Path) -> None:
    full.bob.git("switch", "--quiet", "--create", "side")
    full.bob.commit("aside")
    full.bob.repo().push()
    alice = cloned(full, tmp_path / "alice", "--single-branch", "--branch", "side")
    remote = sorted(alice.refs("refs/remotes"))
    assert [one for one in remote if "main" in one] == []
    assert alice.repo().version("clf@production").label == "clf@v1"
    run = alice.run(parameters={"rate": 0.25})
    alice.commit("hers")
    done = alice.repo().push()
    assert (done.branches, done.versions) == (["side"], ["clf@v2"])
    full.bob.git("switch", "--quiet", "main")
    full.bob.commit("his")
    full.bob.repo().push()
    assert alice.repo().pull().forwarded is None
    full.bob.git("switch", "--quiet", "side")
    assert full.bob.repo().pull().forwarded is not None
    full.bob.commit("his, aside")
    full.bob.repo().push()
    assert alice.repo().pull().forwarded is not None
    assert [one for one in alice.refs("refs/remotes") if "main" in one] == []
    assert alice.problems() == []
    assert full.bob.repo().version("clf@v2").id == run.model_version.id


@pytest.fixture
def stranger(full: Team, tmp_path: Path) -> Iterator[Workshop]:
    """Another project with a model of the same name, which has Bob's git remote for its own."""
    other = Workshop.at(tmp_path / "other").training(rows=[7])
    other.git("remote", "add", "origin", full.url)
    with (other.path / "gitml.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[remotes.lake]\nurl = "{full.lake}"\n')
    other.commit("the same place for bytes")
    other.run()
    yield other
    other.forget()
    other.close()


def test_the_git_repository_of_another_project_is_refused(full: Team, stranger: Workshop) -> None:
    """Its versions would take the numbers of ours, and ours would be published over there."""
    there, here = full.server.refs(), stranger.refs("refs/gitml", "refs/tags", "refs/heads")
    for act in (
        lambda: stranger.repo().fetch(),
        lambda: stranger.repo().pull(),
        lambda: stranger.repo().push(),
        lambda: stranger.repo().promote("clf@latest", "production", "ours"),
        lambda: stranger.repo().fetch(),
    ):
        with pytest.raises(UsageError, match="no commit in common") as caught:
            act()
        assert "`git remote get-url origin`" in (caught.value.hint or "")
        assert stranger.refs("refs/gitml", "refs/tags", "refs/heads") == here
        assert full.server.refs() == there


def test_a_branch_of_another_name_does_not_slip_past(full: Team, stranger: Workshop) -> None:
    stranger.git("branch", "--move", "trunk")
    there = full.server.refs()
    with pytest.raises(UsageError, match="no commit in common"):
        stranger.repo().push()
    assert full.server.refs() == there


def test_histories_that_were_joined_are_one_project(full: Team, stranger: Workshop) -> None:
    """The way out that the hint names: git joins them, and then all goes as always."""
    with pytest.raises(UsageError) as caught:
        stranger.repo().push()
    joining = (caught.value.hint or "").split("`")[3].split()
    assert joining[:2] == ["git", "pull"]
    stranger.git(*joining[1:], "--quiet", "--no-tags", "--strategy-option=ours")
    stranger.repo().fetch()
    assert stranger.repo().version("clf@v1") == stranger.repo().version("clf@production")
    assert stranger.repo().push().branches == ["main"]


def test_two_projects_may_keep_their_bytes_in_one_place(
    full: Team, stranger: Workshop, tmp_path: Path
) -> None:
    """Bytes are named by themselves, so neither is in the other's way."""
    server = Workshop(tmp_path / "theirs.git")
    server.path.mkdir()
    server.git("init", "--quiet", "--bare")
    stranger.git("remote", "set-url", "origin", server.path.as_uri())
    stranger.repo().push()
    assert stranger.repo().drop().freed > 0
    assert stranger.repo().artifact("clf@v1:model").load() == {"weights": [7.0]}
    alice = full.clone("alice")
    alice.repo().pull()
    assert alice.repo().artifact("clf@v1:model").load() == {"weights": [1.0, 2.0, 3.0]}


def test_a_folder_of_something_else_is_refused_or_left_alone(full: Team, tmp_path: Path) -> None:
    (full.lake / "format").chmod(0o644)
    (full.lake / "format").write_text("version = 3\n")
    full.bob.run(parameters={"rate": 0.25})
    with pytest.raises(StorageError, match="cannot read"):
        full.bob.repo().push(["clf@latest"])
    (full.lake / "format").write_text("gitml-remote 1\n")
    (full.lake / "letters").mkdir()
    (full.lake / "letters/to-ada.txt").write_text("dear Ada")
    full.bob.repo().push(["clf@latest"])
    assert (full.lake / "letters/to-ada.txt").read_text() == "dear Ada"
