"""Pull: the branch, its data, and artifacts when they are read."""

from __future__ import annotations

import shutil

import pytest

from gitml.errors import GitmlError, MissingBytes, RaceLost
from tests.sync.conftest import Team
from tests.workshop import load, states


def test_a_pull_brings_branch_and_data(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    team.bob.write("data/set/one.txt", "1")
    team.bob.write("data/set/two.txt", "2")
    team.bob.repo().add([team.bob.path / "data/set"])
    tip = team.bob.commit("data")
    team.bob.repo().push()
    done = alice.repo().pull()
    assert done.forwarded is not None
    assert done.forwarded.hex == tip
    assert (alice.path / "data/set/two.txt").read_text() == "2"
    assert alice.git("status", "--porcelain") == ""
    again = alice.repo().pull()
    assert again.forwarded is None
    assert not any(move.written for move in again.data)


def test_a_cached_step_is_a_hit_and_its_bytes_come_when_they_are_read(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().pull()
    assert list(alice.repo().store.objects()) == []
    run = alice.run()
    assert states(run) == {"prepare": "cached", "train": "cached"}
    assert load(run, "train", "model") == {"weights": [1.0, 2.0, 3.0]}
    assert len(list(alice.repo().store.objects())) < 6


def test_a_step_that_needs_a_cached_output_gets_it(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().pull()
    run = alice.run("training", {"rate": 0.25})
    assert states(run) == {"prepare": "cached", "train": "completed"}


def test_a_step_whose_bytes_nobody_has_runs_again(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().pull()
    shutil.rmtree(team.lake / "where")
    assert states(alice.run()) == {"prepare": "completed", "train": "completed"}


def test_a_remote_that_is_away_does_not_keep_a_run_from_running(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().pull()
    shutil.rmtree(team.lake)
    assert states(alice.run()) == {"prepare": "completed", "train": "completed"}


def test_everything_or_some_of_it_comes_before_it_is_read(team: Team) -> None:
    team.bob.run()
    team.bob.run("training", {"rate": 0.25})
    team.bob.repo().push()
    alice = team.clone("alice")
    assert alice.repo().pull(include=["mod*"]).brought == 2
    assert alice.repo().pull(include=["mod*"]).brought == 0
    alice.repo().pull(last=1)
    alice.repo().pull(everything=True)
    shutil.rmtree(team.lake)
    assert alice.problems() == []


def test_a_pull_may_bring_the_remote_with_the_bytes(team: Team) -> None:
    text = (team.bob.path / "gitml.toml").read_text()
    team.bob.code("gitml.toml", text.partition("[remotes")[0])
    team.bob.repo().push()
    alice = team.clone("alice")
    assert alice.repo().pull().forwarded is None
    team.bob.write("gitml.toml", text)
    team.bob.write("data/big.csv", "a,b\n" * 100)
    team.bob.repo().add([team.bob.path / "data/big.csv"])
    team.bob.commit("a place for bytes, and some")
    team.bob.repo().push()
    alice.repo().pull()
    assert (alice.path / "data/big.csv").exists()


def test_both_sides_with_commits_are_not_mixed(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.commit("hers")
    team.bob.commit("his")
    team.bob.repo().push()
    before = alice.git("rev-parse", "HEAD")
    with pytest.raises(RaceLost, match="both have commits"):
        alice.repo().pull()
    assert alice.git("rev-parse", "HEAD") == before


def test_files_that_are_in_the_way_stay(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    team.bob.write("new.txt", "his")
    team.bob.commit("new")
    team.bob.repo().push()
    alice.write("new.txt", "hers")
    with pytest.raises(GitmlError, match="in the way") as caught:
        alice.repo().pull()
    assert (alice.path / "new.txt").read_text() == "hers"
    aside = (caught.value.hint or "").split("`")[1].split()
    alice.git(*aside[1:], "--quiet")
    alice.repo().pull()
    assert (alice.path / "new.txt").read_text() == "his"
    assert alice.git("show", "stash@{0}^3:new.txt") == "hers"


def test_a_damaged_copy_here_is_healed_from_there(team: Team) -> None:
    run = team.bob.run()
    team.bob.repo().push()
    for pack in team.bob.repo().store.packs():
        pack.path.chmod(0o644)
        data = pack.path.read_bytes()
        pack.path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    team.bob.close()
    artifact = team.bob.repo().artifact("clf@v1:table")
    assert artifact.load() == [2, 4, 6]
    assert run.id


def test_what_is_nowhere_is_named(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().pull()
    shutil.rmtree(team.lake / "where")
    with pytest.raises(MissingBytes):
        alice.repo().artifact("clf@v1:model").load()
    with pytest.raises(MissingBytes, match="nobody has pushed"):
        alice.repo().pull(everything=True)
