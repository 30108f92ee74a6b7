"""Stories 17 to 20 and 24: two clones, a server with the hook, a forge in front of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from gitml.errors import GitmlError, NameNotFound, PolicyNotMet, RaceLost
from gitml.git.process import Git
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.repo import Repo
from tests.forges.test_requests import Shop, shop
from tests.reviewed import Reviewed


@pytest.fixture
def guarded(reviewed: Reviewed) -> Iterator[Shop]:
    install(Git.discover(reviewed.server.path), sys.executable, SERVER_EVENTS)
    reviewed.alice.git("config", "user.name", "Alice Example")
    yield from shop("gitea", reviewed)


def last(repo: Repo, stage: str = "production") -> tuple[str, str, str, str | None]:
    """Who, why, from which version and to which, of the last move, in a clone that fetched."""
    repo.fetch()
    state = repo.model("clf")
    event = state.stages[stage][-1]
    move = event.promotion
    before = state.label(move.before) if move.before else None
    to = state.label(move.version) if move.version else "vacant"
    return event.tagger.partition(" <")[0], move.reason, to, before


def test_story_17_a_promotion_says_who_when_why_and_from_which(guarded: Shop) -> None:
    guarded.bob.promote("clf@v1", "production", "first")
    guarded.alice.fetch()
    move = guarded.alice.promote("clf@v2", "production", "better")
    assert last(guarded.bob) == ("Alice Example", "better", "clf@v2", "clf@v1")
    message = guarded.team.server.git("cat-file", "tag", move.tag)
    assert '"reason": "better"' in message
    assert guarded.bob.version("clf@v1").archived


def test_story_18_production_moves_by_pull_request_alone(guarded: Shop) -> None:
    team = guarded.team
    team.policy('[{ metric = "accuracy", min = 0.85 }, { via = "pull-request" }]')
    team.alice.git("pull", "--quiet", "origin", "main")
    with pytest.raises(PolicyNotMet) as no:
        guarded.alice.promote("clf@v2", "production", "at once")
    assert no.value.exit_code == 3
    asked = guarded.alice.request("clf@v2", "production", "better")
    team.alice.git("fetch", "--quiet")
    team.alice.git("checkout", "--quiet", "--detach", f"origin/{asked.branch}")
    guarded.repo(team.alice, GITHUB_REF="refs/pull/1/merge").report()
    assert "| accuracy | 0.9 |" in guarded.forge.requests[0].comments[0]["body"]
    guarded.forge.merge(1)
    guarded.repo(team.alice).apply_stages()
    assert last(guarded.bob)[2] == "clf@v2"
    assert team.record("clf@production/1")["wish"] == team.server.git("rev-parse", "main")


def test_story_19_of_two_one_wins_and_the_other_may_go_on(guarded: Shop) -> None:
    bob = guarded.bob
    online = bob._online(None)
    assert online is not None
    online.look()
    promoter = bob._promoter(dry_run=False, online=online)
    bob.model("clf")
    guarded.alice.promote("clf@v2", "production", "hers")
    with pytest.raises(RaceLost, match="Alice Example moved production of clf first: clf@v2"):
        promoter.promote("clf", "v1", "production", "his")
    guarded.bob.promote("clf@v1", "production", "still", retry=True)
    assert last(guarded.alice) == last(guarded.bob) == ("Ada Example", "still", "clf@v1", "clf@v2")


def test_story_20_a_roll_back_keeps_both_moves(guarded: Shop) -> None:
    for which in ("v1", "v2"):
        guarded.bob.promote(f"clf@{which}", "production", which)
    guarded.alice.fetch()
    guarded.alice.rollback("clf", "production")
    assert guarded.team.holders() == ["clf@v1", "clf@v2", "clf@v1"]
    assert last(guarded.bob)[0] == "Alice Example"


def test_story_24_a_deleted_number_is_never_given_again(guarded: Shop) -> None:
    guarded.bob.promote("clf@v1", "production", "first")
    with pytest.raises(GitmlError, match="clf@v1 holds production"):
        guarded.bob.delete("clf@v1", "wrong")
    guarded.bob.delete("clf@v2", "wrong")
    guarded.alice.fetch()
    with pytest.raises(NameNotFound, match="clf@v2 is deleted"):
        guarded.alice.version("clf@v2")
    guarded.team.bob.run("training", {"rate": 0.4})
    guarded.bob.push()
    assert guarded.bob.model("clf").visible[-1] == guarded.bob.version("clf@v3").id
