"""Clone: by gitml, by git and then gitml, shallow; and one that was killed in the middle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import GitmlError, MissingBytes, UsageError
from gitml.repo import Repo
from gitml.sync import cloning
from tests.sync.conftest import Team
from tests.workshop import Workshop


@pytest.fixture
def full(team: Team) -> Iterator[Team]:
    """Bob has pushed a version, a run, data, a promotion and metadata."""
    team.bob.write("data/big.csv", "a,b\n" * 100)
    team.bob.repo().add([team.bob.path / "data/big.csv"])
    team.bob.commit("data")
    team.bob.run()
    team.bob.repo().push()
    team.bob.repo().promote("clf@latest", "production", "first")
    team.bob.repo().set_metadata("clf@v1", {"live": 1})
    team.bob.repo().push()
    yield team


def cloned(team: Team, path: Path, *, data: bool = True) -> Workshop:
    repo, _ = Repo.clone(team.url, path, data=data)
    repo.close()
    return Workshop(path)


def settings(one: Workshop) -> set[str]:
    listed = one.git("config", "--local", "--list").splitlines()
    return {line for line in listed if "sshcommand" not in line}


def test_a_clone_has_all_that_was_pushed(full: Team, tmp_path: Path) -> None:
    alice = cloned(full, tmp_path / "alice")
    assert (alice.path / "data/big.csv").read_text() == "a,b\n" * 100
    assert alice.repo().version("clf@production").label == "clf@v1"
    assert alice.repo().metadata("clf@v1")["live"] == 1
    assert len(alice.repo().runs()) == 1
    assert alice.repo().artifact("clf@v1:model").load() == {"weights": [1.0, 2.0, 3.0]}
    assert alice.git("status", "--porcelain", "--branch") == "## main...origin/main"
    alice.commit("hers")
    assert alice.repo().push().branches == ["main"]


def test_git_clone_and_init_end_in_the_same_state(full: Team, tmp_path: Path) -> None:
    ours = cloned(full, tmp_path / "ours")
    full.clone("theirs")
    repo, written = Repo.init(tmp_path / "theirs")
    assert not written
    assert repo.complete_clone() is not None
    assert repo.complete_clone() is None
    repo.close()
    theirs = Workshop(tmp_path / "theirs")
    assert ours.refs() == theirs.refs()
    assert settings(ours) == settings(theirs)
    for name in ("data/big.csv", "data/big.csv.gitml", "pipelines/training.py"):
        assert (ours.path / name).read_bytes() == (theirs.path / name).read_bytes()
    assert ours.git("symbolic-ref", "HEAD") == theirs.git("symbolic-ref", "HEAD")


def test_without_data_the_pointers_are_there(full: Team, tmp_path: Path) -> None:
    alice = cloned(full, tmp_path / "alice", data=False)
    assert not (alice.path / "data/big.csv").exists()
    alice.repo().checkout()
    assert (alice.path / "data/big.csv").exists()


def test_a_shallow_clone_of_a_version_gives_code_record_and_model(
    full: Team, tmp_path: Path
) -> None:
    place = tmp_path / "deployed"
    full.bob.git(*("clone", "--quiet", "--depth", "1", "--branch", "clf@v1"), full.url, str(place))
    deployed = Workshop(place)
    deployed.repo().checkout()
    assert (place / "pipelines/training.py").exists()
    assert (place / "data/big.csv").exists()
    model = (place / ".gitml/artifacts/model").read_bytes()
    assert deployed.git("status", "--porcelain") == ""
    assert not any(move.written for move in deployed.repo().checkout())
    assert model == full.bob.repo().store.read(full.bob.repo().artifact("clf@v1:model").digest)


def test_a_folder_that_is_in_use_is_left_alone(full: Team, tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice/mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        Repo.clone(full.url, tmp_path / "alice")
    assert (tmp_path / "alice/mine").read_text() == "mine"
    with pytest.raises(UsageError, match="not empty"):
        Repo.clone(full.url, full.bob.path)


def test_what_cannot_be_cloned_leaves_nothing(team: Team, tmp_path: Path) -> None:
    with pytest.raises(GitmlError, match="cannot be cloned") as raised:
        Repo.clone(f"{team.url}.gone", tmp_path / "alice")
    assert raised.value.hint is not None
    assert f"git ls-remote {team.url}.gone" in raised.value.hint
    assert not (tmp_path / "alice").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(GitmlError, match="cannot be cloned"):
        Repo.clone(f"{team.url}.gone", tmp_path / "mine")
    assert not list((tmp_path / "mine").iterdir())


def test_a_clone_whose_data_nobody_has_pushed_is_there_without_it(
    team: Team, tmp_path: Path
) -> None:
    team.bob.write("data/big.csv", "a,b\n" * 100)
    team.bob.repo().add([team.bob.path / "data/big.csv"])
    team.bob.commit("data")
    team.bob.git("push", "--quiet", "origin", "HEAD")
    repo, done = Repo.clone(team.url, tmp_path / "alice")
    repo.close()
    assert isinstance(done.absent, MissingBytes)
    assert "data/big.csv" in done.absent.message
    assert "`gitml push` in a clone that has them" in (done.absent.hint or "")
    team.bob.repo().push()
    moves = Workshop(tmp_path / "alice").repo().checkout()
    assert [one.path for one in moves] == ["data/big.csv"]


def test_a_clone_that_was_killed_is_made_by_the_same_command(full: Team, tmp_path: Path) -> None:
    place = tmp_path / "alice"
    cloned(full, place)
    mark = place / ".git/gitml/cloning"
    mark.write_text("1+1+gone+gone\n")
    with pytest.raises(UsageError, match="being cloned"):
        Repo.clone(full.url, place)  # of another machine, for all we know
    import os

    from gitml.fs import ProcessIdentity

    here = ProcessIdentity.current()
    child = os.fork()
    if child == 0:
        os._exit(0)
    dead = ProcessIdentity(child, "1", here.host, here.boot)
    os.waitpid(child, 0)
    mark.write_text(dead.to_text())
    (place / ".git/index.lock").touch()
    alice = cloned(full, place)
    assert not mark.exists()
    assert (alice.path / "data/big.csv").exists()
    assert alice.git("status", "--porcelain") == ""


def test_an_empty_repository_and_one_without_gitml(team: Team, tmp_path: Path) -> None:
    shutil.rmtree(team.server.path)
    team.server.path.mkdir()
    team.server.git("init", "--quiet", "--bare", "--initial-branch=trunk")
    empty = cloned(team, tmp_path / "empty")
    assert empty.repo().git.branch() == "trunk"
    assert empty.refs() == {}
    assert empty.repo().pull().forwarded is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/team/churn.git", "churn"),
        ("git@example.org:team/churn.git/", "churn"),
        ("git@example.org:churn", "churn"),
        ("/srv/churn/.git", "churn"),
        ("../churn", "churn"),
        ("file:///srv/churn.git", "churn"),
    ],
)
def test_a_clone_is_called_as_git_would_call_it(url: str, name: str) -> None:
    assert cloning.folder_of(url) == name


def test_a_url_without_a_name() -> None:
    with pytest.raises(UsageError, match="called"):
        cloning.folder_of("https://example.org/")
