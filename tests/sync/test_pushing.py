"""Push: what goes to the remote and what stays at home, numbers, races, refusals."""

from __future__ import annotations

import shutil

import pytest

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    GitmlError,
    MissingBytes,
    NameNotFound,
    RaceLost,
    UsageError,
)
from gitml.sync.pushing import Plan
from tests.sync.conftest import ATTEMPT, Team
from tests.workshop import Workshop


def remote_refs(team: Team) -> dict[str, str]:
    return team.server.refs()


def names(team: Team) -> list[str]:
    return sorted(remote_refs(team))


def test_a_version_goes_with_its_run_and_gets_its_number(team: Team) -> None:
    run = team.bob.run()
    version = run.model_version
    assert version is not None
    assert version.label == f"clf@{version.id.short}"
    plan = team.bob.repo().push()
    assert plan.versions == ["clf@v1"]
    month = run.entry.record.started[:4] + run.entry.record.started[5:7]
    assert names(team) == [
        f"refs/gitml/runs/training/{month}/{run.id.short}",
        f"refs/gitml/versions/clf/{version.id.short}",
        "refs/heads/main",
        "refs/tags/clf@v1",
    ]
    assert team.bob.repo().version("clf@v1").id == version.id
    assert team.server.git("fsck", "--strict", "--full") == ""


def test_a_push_again_moves_nothing(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    before, here = remote_refs(team), team.bob.refs()
    plan = team.bob.repo().push()
    assert plan.moves == []
    assert plan.local == []
    assert (remote_refs(team), team.bob.refs()) == (before, here)


def test_a_dry_run_says_the_same_and_changes_nothing(team: Team) -> None:
    team.bob.run()
    before = team.bob.refs()
    plan = team.bob.repo().push(dry_run=True)
    assert plan.versions == ["clf@v1"]
    assert remote_refs(team) == {}
    assert team.bob.refs() == before


def test_a_dry_run_refuses_what_a_push_refuses(team: Team) -> None:
    team.bob.write("data/a.csv", "a,b\n1,2\n")
    team.bob.repo().add([team.bob.path / "data/a.csv"])
    settings = team.bob.path / "gitml.toml"
    settings.write_text(settings.read_text("utf-8").partition("[remotes")[0], "utf-8")
    team.bob.commit("data")
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match="no remote for bytes"):
            team.bob.repo().push(dry_run=dry_run)
    team.bob.repo().add_remote("lake", str(team.lake), team.bob.path)
    shutil.rmtree(team.bob.repo().store.root)
    team.bob.forget()
    for dry_run in (True, False):
        with pytest.raises(MissingBytes, match=r"data/a\.csv"):
            team.bob.repo().push(dry_run=dry_run)
    assert remote_refs(team) == {}


def test_a_branch_without_an_upstream_gets_one(team: Team) -> None:
    assert team.bob.repo().push(dry_run=True).following == []
    assert team.bob.repo().push().following == ["main"]
    assert team.bob.git("rev-parse", "--abbrev-ref", "main@{upstream}").strip() == "origin/main"
    assert team.bob.repo().push().following == []


def test_experiments_stay_at_home_unless_asked_for(team: Team) -> None:
    team.bob.code("pipelines/attempt.py", ATTEMPT)
    run = team.bob.run("attempt")
    team.bob.repo().set_metadata(run.id.hex, {"private": 1})
    plan = team.bob.repo().push()
    assert plan.at_home == 1
    assert names(team) == ["refs/heads/main"]
    plan = team.bob.repo().push(runs=True)
    assert plan.runs == 1
    assert plan.notes
    assert any("runs/attempt" in name for name in names(team))


def test_a_name_pushes_that_and_nothing_else(team: Team) -> None:
    first = team.bob.run().model_version
    second = team.bob.run("training", {"rate": 0.25}).model_version
    assert first is not None
    assert second is not None
    plan = team.bob.repo().push([second.label])
    assert plan.branches == []
    assert plan.versions == ["clf@v1"]
    assert [one.id.hex for one in plan.code] == team.bob.git("rev-list", "main").split()
    assert team.server.git("rev-parse", "clf@v1^{commit}") == second.id.hex
    assert team.server.refs("refs/heads") == {}
    assert f"refs/gitml/versions/clf/{first.id.short}" not in names(team)


def test_numbers_follow_what_others_have_pushed(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    mine = alice.run("training", {"rate": 0.1}).model_version
    theirs = team.bob.run("training", {"rate": 0.2}).model_version
    assert mine is not None
    assert theirs is not None
    assert alice.repo().push().versions == ["clf@v1"]
    assert team.bob.repo().push().versions == ["clf@v2"]
    team.bob.repo().fetch()
    state = team.bob.repo().model("clf")
    assert state.numbers == {1: mine.id, 2: theirs.id}


def test_the_same_version_pushed_by_two_has_one_number(team: Team) -> None:
    version = team.bob.run().model_version
    assert version is not None
    team.bob.git("push", "--quiet", "origin", "main", version.entry.id.hex + ":refs/heads/draft")
    alice = team.clone("alice")
    alice.git("update-ref", f"refs/gitml/versions/clf/{version.id.short}", version.id.hex)
    assert alice.repo().push().versions == ["clf@v1"]
    assert team.bob.repo().push().versions == []
    assert team.bob.repo().version("clf@v1").id == version.id


def test_a_number_from_before_there_was_a_remote_gives_way(team: Team) -> None:
    team.bob.git("remote", "remove", "origin")
    mine = team.bob.run().model_version
    assert mine is not None
    assert mine.label == "clf@v1"
    team.bob.git("remote", "add", "origin", team.url)
    team.bob.repo().push(["main"])
    alice = team.clone("alice")
    alice.run("training", {"rate": 0.1})
    assert alice.repo().push().versions == ["clf@v1"]
    plan = team.bob.repo().push()
    assert plan.versions == ["clf@v2"]
    assert [one.before for one in plan.numbers] == [1]
    team.bob.repo().fetch()
    assert team.bob.repo().model("clf").lowest[mine.id] == 2
    assert team.bob.problems() == []


def test_fetching_over_a_number_makes_it_a_draft(team: Team) -> None:
    team.bob.git("remote", "remove", "origin")
    mine = team.bob.run().model_version
    assert mine is not None
    team.bob.git("remote", "add", "origin", team.url)
    team.bob.repo().push(["main"])
    alice = team.clone("alice")
    theirs = alice.run("training", {"rate": 0.1}).model_version
    assert theirs is not None
    alice.repo().push()
    done = team.bob.repo().fetch()
    assert done.renumbered == [f"clf@{mine.id.short}"]
    state = team.bob.repo().model("clf")
    assert state.numbers == {1: theirs.id}
    assert state.drafts == (mine.id,)


def test_code_that_is_on_no_branch_is_asked_about(team: Team) -> None:
    team.bob.repo().push()
    team.bob.code(
        "pipelines/training.py",
        (team.bob.path / "pipelines/training.py").read_text() + "# x\n",
        None,
    )
    team.bob.run()
    asked: list[Plan] = []

    def no(plan: Plan) -> None:
        asked.append(plan)
        raise UsageError("no")

    def look(plan: Plan) -> None:
        asked.extend([plan] * bool(plan.code))

    with pytest.raises(UsageError):
        team.bob.repo().push(confirm=no)
    assert names(team) == ["refs/heads/main"]
    assert len(asked[0].code) == 1
    assert [len(made) for made in asked[0].made.values()] == [1]
    assert asked[0].made.keys() == {asked[0].code[0].id}
    assert asked[0].code[0].parents == (team.bob.repo().odb.resolve("HEAD"),)
    asked.clear()
    team.bob.repo().push(confirm=look)
    assert len(asked) == 1
    team.bob.run("training", {"rate": 0.9})
    asked.clear()
    team.bob.repo().push(confirm=look)
    assert asked == []  # it is there by now


def test_the_branch_that_lacks_commits_is_refused_before_anything_goes(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.commit("hers")
    alice.repo().push()
    team.bob.commit("his")
    team.bob.run()
    before = remote_refs(team)
    with pytest.raises(RaceLost, match="lacks") as caught:
        team.bob.repo().push()
    assert "gitml pull" in (caught.value.hint or "")
    assert remote_refs(team) == before
    team.bob.git("pull", "--quiet", "--rebase", "origin", "main")
    assert team.bob.repo().push().branches == ["main"]


def test_a_branch_that_is_behind_is_no_hindrance(team: Team) -> None:
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.commit("hers")
    alice.repo().push()
    team.bob.run()
    plan = team.bob.repo().push()
    assert plan.branches == []
    assert plan.versions == ["clf@v1"]


def test_a_remote_that_refuses_custom_refs_is_named(team: Team) -> None:
    team.server.git("config", "receive.hideRefs", "refs/gitml")
    team.bob.run()
    with pytest.raises(GitmlError, match="refuses refs/gitml/") as caught:
        team.bob.repo().push()
    assert "hidden ref" in caught.value.causes()[0]
    # What was not hidden went there: git does that, in spite of --atomic.
    assert names(team) == ["refs/heads/main", "refs/tags/clf@v1"]


def test_a_hook_that_refuses_is_heard(team: Team) -> None:
    hook = team.server.write("hooks/pre-receive", "#!/bin/sh\necho 'not on Fridays' >&2\nexit 1\n")
    hook.chmod(0o755)
    team.bob.run()
    with pytest.raises(GitmlError, match="refuses") as caught:
        team.bob.repo().push()
    assert "pre-receive hook declined" in caught.value.causes()[0]


def test_a_refusal_is_one_also_where_the_time_is_up(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow machine the first refusal comes late: nobody else has pushed for all that."""
    monkeypatch.setattr("gitml.sync.pushing._BUDGET", 0.0)
    team.bob.repo().push()
    hook = team.server.write("hooks/pre-receive", "#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    team.bob.run()
    with pytest.raises(GitmlError, match="refuses"):
        team.bob.repo().push()
    taken = "env -u GIT_QUARANTINE_PATH git update-ref refs/tags/clf@v1 main"
    hook.write_text(f"#!/bin/sh\n{taken}\nexit 1\n")
    with pytest.raises(RaceLost, match="others keep pushing"):
        team.bob.repo().push()


def test_a_server_without_atomic_pushes_gets_them_one_by_one(team: Team) -> None:
    team.server.git("config", "receive.advertiseAtomic", "false")
    team.bob.run()
    assert team.bob.repo().push().versions == ["clf@v1"]
    assert "refs/tags/clf@v1" in names(team)


def test_without_a_remote_or_with_two_the_error_says_what_to_do(team: Team) -> None:
    team.bob.git("remote", "rename", "origin", "one")
    team.bob.git("remote", "add", "two", team.url)
    with pytest.raises(UsageError, match="several") as caught:
        team.bob.repo().push()
    assert "remote.pushDefault" in (caught.value.hint or "")
    assert team.bob.repo().push(remote="two").remote == "two"
    with pytest.raises(NameNotFound, match="thre"):
        team.bob.repo().push(remote="thre")
    for name in ("one", "two"):
        team.bob.git("remote", "remove", name)
    with pytest.raises(UsageError, match="no git remote"):
        team.bob.repo().push()


def test_a_remote_that_is_not_there_is_no_wonder(team: Team) -> None:
    team.bob.git("remote", "set-url", "origin", f"{team.url}.gone")
    with pytest.raises(GitmlError, match="cannot be reached") as caught:
        team.bob.repo().push()
    assert not isinstance(caught.value, AuthenticationFailed)
    assert caught.value.causes()


def test_promotions_from_before_there_was_a_remote_follow_their_versions(team: Team) -> None:
    team.bob.git("remote", "remove", "origin")
    team.bob.run()
    team.bob.repo().promote("clf@v1", "production", "first")
    team.bob.git("remote", "add", "origin", team.url)
    plan = team.bob.repo().push()
    assert plan.tags == ["clf@production/1"]
    alice = team.clone("alice")
    alice.repo().fetch()
    assert alice.repo().version("clf@production").label == "clf@v1"
    assert alice.refs("refs/gitml/stages") == team.bob.refs("refs/gitml/stages")


def test_a_push_whose_end_was_not_seen_is_finished_by_the_next(team: Team) -> None:
    """Killed between the remote's refs and this clone's: the number is there, and found again."""
    version = team.bob.run().model_version
    assert version is not None
    team.bob.repo().push()
    for ref, oid in team.bob.refs("refs/tags", "refs/gitml-remotes").items():
        team.bob.git("update-ref", "-d", ref, oid)
    plan = team.bob.repo().push()
    assert plan.moves == []
    assert team.bob.repo().version("clf@v1").id == version.id


def test_a_saved_value_and_its_bytes_name_go(team: Team) -> None:
    team.bob.repo().save([1, 2, 3], "thresholds")
    plan = team.bob.repo().push()
    assert plan.saved == 1
    alice: Workshop = team.clone("alice")
    assert alice.repo().fetch().saved == 1
    assert [one.output.name for one in alice.repo().artifacts()] == ["thresholds"]
