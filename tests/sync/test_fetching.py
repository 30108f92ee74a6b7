"""Fetch: what a remote has comes here, merged by kind, and nothing of this clone is overwritten."""

from __future__ import annotations

import json

import pytest

from gitml.errors import RaceLost
from gitml.testing.sealed import SealedEnvironment
from tests.sync.conftest import ATTEMPT, Team


def test_records_come_to_where_they_are_noted_and_to_where_they_are_used(team: Team) -> None:
    run = team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    done = alice.repo().fetch()
    assert done.runs == 1
    refs = alice.refs()
    theirs = team.server.refs()
    ours = {
        name: oid for name, oid in refs.items() if name.startswith(("refs/gitml/", "refs/tags"))
    }
    assert ours == {name: oid for name, oid in theirs.items() if "heads" not in name}
    noted = {name for name in refs if name.startswith("refs/gitml-remotes/origin/")}
    assert len(noted) == 3
    assert alice.repo().run_of(run.id).pipeline == "training"
    assert alice.repo().version("clf").label == "clf@v1"


def test_a_fetch_again_brings_nothing(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    before = alice.refs()
    done = alice.repo().fetch()
    assert (done.runs, done.versions, done.notes, done.branches) == (0, [], False, False)
    assert alice.refs() == before


def test_a_fetch_of_nothing_lists_the_refs_of_records_once(
    team: Team, sealed_environment: SealedEnvironment
) -> None:
    # With ten thousand runs each listing takes a tenth of a second.
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    trace = sealed_environment.home / "trace"
    sealed_environment.set("GIT_TRACE2_EVENT", str(trace))
    alice.repo().fetch()
    events = map(json.loads, trace.read_text().splitlines())
    argv = [event["argv"] for event in events if event["event"] == "start"]
    listings = [one[6:] for one in argv if one[5:6] == ["for-each-ref"]]
    assert [one[0] for one in listings if "--count=1" not in one[0]] == [
        "--format=%(refname) %(objectname) %(*objectname)",  # the index
        "--format=%(refname) %(objectname)",  # beside what is there
    ]
    noted = "refs/gitml-remotes/origin"
    assert [one[2] for one in listings if "--count=1" in one[0]] == [f"{noted}/tags"]


def test_a_dry_run_names_what_would_come(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    team.bob.run()
    team.bob.repo().push()
    before = alice.refs()
    done = alice.repo().fetch(dry_run=True)
    assert (done.versions, done.runs) == (["clf@v1"], 1)
    assert alice.refs() == before


def test_the_branches_of_the_remote_come_too(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    tip = team.bob.commit("more")
    team.bob.git("tag", "1.0")
    team.bob.git("push", "--quiet", "origin", "main", "1.0")
    assert alice.repo().fetch().branches
    assert alice.git("rev-parse", "origin/main") == tip
    assert alice.git("rev-parse", "1.0") == tip  # as git fetch would


def test_a_run_that_was_deleted_here_does_not_come_back(team: Team) -> None:
    team.bob.code("pipelines/attempt.py", ATTEMPT)
    run = team.bob.run("attempt")
    team.bob.repo().push(runs=True)
    alice = team.clone("alice")
    alice.repo().fetch()
    alice.repo().delete(run.id.hex[:8], "not mine")
    assert alice.repo().fetch().runs == 0
    assert alice.repo().runs() == []


def test_tags_that_were_lost_here_come_back(team: Team) -> None:
    """``git fetch --prune --prune-tags`` takes what the remote lacks, a careless hand the rest."""
    team.bob.run()
    team.bob.repo().push()
    before = team.bob.refs()
    team.bob.git("tag", "--delete", "clf@v1")
    assert team.bob.repo().fetch().versions == ["clf@v1"]
    assert team.bob.refs() == before


def test_metadata_of_both_sides_is_united(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    alice.repo().set_metadata("clf@v1", {"hers": 1})
    team.bob.repo().set_metadata("clf@v1", {"his": 2})
    alice.repo().add_tags("clf@v1:model", ["hers"])
    team.bob.repo().add_tags("clf@v1:model", ["his"])
    alice.repo().push()
    team.bob.repo().fetch()
    assert team.bob.repo().push().notes
    alice.repo().fetch()
    for one in (alice, team.bob):
        noted = one.repo().metadata("clf@v1")
        assert (noted["hers"], noted["his"]) == (1, 2)
        assert one.repo().tags("clf@v1:model") == ("hers", "his")
    tips = {one.git("rev-parse", "refs/notes/gitml") for one in (alice, team.bob)}
    assert len(tips) == 1
    assert not alice.repo().push().notes


def test_a_stage_that_was_moved_twice_at_once_is_nobodys(team: Team) -> None:
    team.bob.git("remote", "remove", "origin")
    for rate in (0.1, 0.2):
        team.bob.run("training", {"rate": rate})
    team.bob.git("remote", "add", "origin", team.url)
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    for one, version in ((alice, "clf@v1"), (team.bob, "clf@v2")):
        url = one.git("remote", "get-url", "origin")
        one.git("remote", "remove", "origin")
        one.repo().promote(version, "production", "mine")
        one.git("remote", "add", "origin", url)
    alice.repo().push()
    done = team.bob.repo().fetch()
    assert done.forked == ["clf@production/1"]
    with pytest.raises(RaceLost, match="moved twice") as caught:
        team.bob.repo().version("clf@production")
    assert caught.value.exit_code == 5
    assert team.bob.repo().push().forked == ["clf@production/1"]
    assert alice.repo().version("clf@production").label == "clf@v1"


def test_a_stage_ref_that_was_lost_is_made_again(team: Team) -> None:
    team.bob.git("remote", "remove", "origin")
    team.bob.run()
    team.bob.repo().promote("clf@v1", "production", "first")
    team.bob.git("remote", "add", "origin", team.url)
    team.bob.repo().push()
    before = team.bob.refs()
    team.bob.git("update-ref", "-d", "refs/gitml/stages/clf/production")
    team.bob.repo().fetch()
    assert team.bob.refs() == before


def test_a_remote_with_a_slash_in_its_name_is_one_too(team: Team) -> None:
    team.bob.run()
    team.bob.git("remote", "rename", "origin", "team/main")
    team.bob.repo().push()
    team.bob.git("tag", "--delete", "clf@v1")
    assert team.bob.repo().fetch().versions == ["clf@v1"]


def test_the_mirror_of_somebody_without_gitml_takes_nothing_that_cannot_come_back(
    team: Team,
) -> None:
    team.bob.run()
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.git("push", "--quiet", "--mirror")  # deletes all custom refs of the remote
    assert not team.server.refs("refs/gitml")
    plan = team.bob.repo().push()
    assert plan.runs == 1
    alice.repo().fetch()
    assert alice.problems() == []
