"""Promotions where there is a git remote: there first, one winner, and what was lost comes back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.errors import GitmlError, NameNotFound, NotTrusted, RaceLost
from gitml.history.models import ModelState
from gitml.repo import Repo
from gitml.repo.stages import Deleted
from tests.sync.conftest import Team, bob_once, team
from tests.workshop import Workshop

__all__ = ["bob_once", "team"]


@pytest.fixture
def pair(team: Team) -> Iterator[tuple[Workshop, Workshop]]:
    """Bob and Alice, both with ``clf`` v1 and v2."""
    for rate in (0.1, 0.2):
        team.bob.run("training", {"rate": rate})
    team.bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    yield team.bob, alice


def state(one: Workshop) -> ModelState:
    return one.repo().model("clf")


def holders(one: Workshop, stage: str = "production") -> list[str | None]:
    found = state(one)
    return [
        found.label(e.promotion.version) if e.promotion.version else None
        for e in found.stages[stage]
    ]


def test_a_promotion_is_on_the_remote_before_it_is_here(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, alice = pair
    move = bob.repo().promote("clf@v1", "production", "first")
    assert move.tag == "clf@production/1"
    assert team.server.git("rev-parse", move.tag) == bob.git("rev-parse", move.tag)
    alice.repo().fetch()
    assert alice.repo().version("clf@production").label == "clf@v1"
    assert alice.refs("refs/gitml/stages") == bob.refs("refs/gitml/stages")
    noted = bob.refs("refs/gitml-remotes")
    assert f"refs/gitml-remotes/origin/tags/{move.tag}" in noted


def test_who_won_is_not_told_that_they_lost_to_themselves(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    """Another process of the clone fetches the tag before the one that made it has noted it."""
    bob, alice = pair
    alice.close()
    hook = team.server.path / "hooks/post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\nunset $(git rev-parse --local-env-vars)\n"
        f"cd '{bob.path}' && '{sys.executable}' -m gitml fetch >&2\n"
    )
    hook.chmod(0o755)
    assert bob.repo().promote("clf@v1", "production", "first").tag == "clf@production/1"
    assert bob.repo().promote("clf@v2", "production", "second").tag == "clf@production/2"
    assert holders(bob) == ["clf@v1", "clf@v2"]
    noted = bob.refs("refs/gitml-remotes")
    assert "refs/gitml-remotes/origin/tags/clf@production/2" in noted
    assert bob.repo().delete("clf@v1", "wrong")


def test_promoting_a_draft_numbers_it_first(team: Team) -> None:
    team.bob.repo().push()
    version = team.bob.run().model_version
    assert version is not None
    move = team.bob.repo().promote(version.label, "production", "at once")
    assert move.version == "clf@v1"
    assert {"refs/tags/clf@v1", "refs/tags/clf@production/1"} <= set(team.server.refs())


def test_the_second_of_two_is_told_who_was_first_and_may_go_on(
    pair: tuple[Workshop, Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, alice = pair
    repo = bob.repo()
    online = repo._online(None)
    assert online is not None
    alice.git("config", "user.name", "Alice")
    alice.repo().promote("clf@v1", "production", "hers")
    promoter = repo._promoter(dry_run=False, online=online)  # it has not looked since
    with pytest.raises(RaceLost, match="Alice moved production of clf first: clf@v1") as caught:
        promoter.promote("clf", "v2", "production", "his")
    assert "--retry" in (caught.value.hint or "")
    assert holders(bob) == ["clf@v1"]
    bob.repo().promote("clf@v2", "production", "all the same", retry=True)
    alice.repo().fetch()
    assert holders(alice) == holders(bob) == ["clf@v1", "clf@v2"]


def test_three_clones_at_once_make_a_chain_without_gaps(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, alice = pair
    carol = team.clone("carol")
    code = "from gitml.cli import main; main()"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, "promote", version, "production", "-m", name, "--retry"],
            cwd=one.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for one, name, version in (
            (bob, "bob", "clf@v1"),
            (alice, "alice", "clf@v2"),
            (carol, "carol", "clf@v1"),
        )
    ]
    said = [one.communicate()[0].decode() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    for one in (bob, alice, carol):
        one.git("fetch", "--quiet", "--tags")
        one.repo().fetch()
    events = [state(one).stages["production"] for one in (bob, alice, carol)]
    assert events[0] == events[1] == events[2]
    assert [e.promotion.n for e in events[0]] == list(range(1, len(events[0]) + 1))
    previous = [e.promotion.previous for e in events[0]]
    assert previous == [None, *(e.tag for e in events[0][:-1])]


def test_without_the_remote_it_is_refused_or_kept(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, alice = pair
    away = team.server.path.rename(team.server.path.with_name("away"))
    before = bob.refs()
    with pytest.raises(GitmlError, match="cannot be reached"):
        bob.repo().promote("clf@v1", "production", "now")
    assert bob.refs() == before
    move = bob.repo().promote("clf@v1", "production", "later", local=True)
    assert move.tag.startswith("refs/gitml/pending/clf/production/")
    with pytest.raises(NameNotFound):
        bob.repo().version("clf@production")
    away.rename(team.server.path)
    assert not team.server.refs("refs/gitml/pending")
    alice.repo().promote("clf@v2", "production", "meanwhile")
    plan = bob.repo().push()
    assert [one.tag for one in plan.promoted] == ["clf@production/2"]
    assert bob.refs("refs/gitml/pending") == {}
    assert holders(bob) == ["clf@v2", "clf@v1"]


def test_roll_back_and_vacancy_are_there_too(team: Team, pair: tuple[Workshop, Workshop]) -> None:
    bob, alice = pair
    bob.repo().promote("clf@v1", "production", "first")
    alice.repo().fetch()
    alice.repo().promote("clf@v2", "production", "second")
    bob.repo().fetch()
    bob.repo().rollback("clf", "production")
    alice.repo().fetch()
    alice.repo().clear_stage("clf", "production", "out")
    bob.repo().fetch()
    assert holders(bob) == ["clf@v1", "clf@v2", "clf@v1", None]
    assert bob.refs("refs/gitml/stages") == {}
    assert "refs/tags/clf@production/4" in team.server.refs()


@pytest.mark.parametrize(
    ("move", "left"),
    [
        (lambda repo: repo.rollback("clf", "production"), "clf@v2"),
        (lambda repo: repo.clear_stage("clf", "production", "out"), None),
        (lambda repo: repo.promote("clf@v2", "production", "older"), "clf@v2"),
    ],
    ids=["rollback", "clear", "promote"],
)
def test_nobody_ends_what_they_have_not_seen(
    pair: tuple[Workshop, Workshop], move: Callable[[Repo], object], left: str | None
) -> None:
    bob, alice = pair
    for version in ("clf@v1", "clf@v2"):
        bob.repo().promote(version, "production", version)
    alice.repo().fetch()
    bob.repo().promote("clf@v1", "production", "better on Mondays")
    with pytest.raises(RaceLost, match=r"it is clf@v1, better on Mondays") as raised:
        move(alice.repo())
    assert "`gitml stage log clf`" in (raised.value.hint or "")
    assert holders(alice) == ["clf@v1", "clf@v2", "clf@v1"]
    move(alice.repo())
    assert holders(alice)[-1] == left


def test_a_deleted_version_is_deleted_for_everybody(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, alice = pair
    planned = bob.repo().delete("clf@v2", "wrong", dry_run=True)
    assert planned == Deleted("version", "clf@v2", "origin")
    assert "refs/tags/clf@deleted/2" not in team.server.refs()
    assert bob.repo().delete("clf@v2", "wrong") == planned
    assert "refs/tags/clf@deleted/2" in team.server.refs()
    assert alice.repo().fetch().deleted == ["clf@deleted/2"]
    assert alice.repo().model("clf").visible == [state(bob).numbers[1]]
    assert alice.run("training", {"rate": 0.3}).model_version is not None
    assert alice.repo().push().versions == ["clf@v3"]


def test_a_protected_tag_is_a_refusal_and_nothing_changes(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, _ = pair
    hook = team.server.write(
        "hooks/update", '#!/bin/sh\ncase "$1" in *production*) exit 1;; esac\n'
    )
    hook.chmod(0o755)
    before = bob.refs()
    with pytest.raises(GitmlError, match="refuses refs/tags/clf@production/1"):
        bob.repo().promote("clf@v1", "production", "now")
    assert bob.refs() == before


def test_a_name_in_the_way_is_named(team: Team, pair: tuple[Workshop, Workshop]) -> None:
    bob, _ = pair
    bob.git("push", "--quiet", "origin", "main:refs/tags/clf@production")
    with pytest.raises(GitmlError, match="on origin is in the way") as caught:
        bob.repo().promote("clf@v1", "production", "now")
    bob.follow(caught.value.hint)
    bob.git("tag", "clf@production", "main")
    with pytest.raises(GitmlError, match="clf@production is in the way") as caught:
        bob.repo().promote("clf@v1", "production", "now")
    assert bob.git("ls-remote", "origin", "refs/tags/clf@production/*") == ""
    bob.git("tag", "--delete", "old/clf@production")
    bob.follow(caught.value.hint)
    bob.repo().promote("clf@v1", "production", "now")
    assert holders(bob) == ["clf@v1"]


def test_a_fetch_names_the_tag_that_is_in_its_way(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, alice = pair
    bob.repo().promote("clf@v1", "production", "now")
    alice.git("tag", "clf@production", "main")
    with pytest.raises(GitmlError, match="clf@production is in the way") as caught:
        alice.repo().fetch()
    alice.follow(caught.value.hint)
    alice.repo().fetch()
    assert holders(alice) == ["clf@v1"]


def test_a_tag_by_hand_is_taken_away_everywhere_and_forgotten(
    team: Team, pair: tuple[Workshop, Workshop]
) -> None:
    bob, _ = pair
    bob.repo().promote("clf@v1", "production", "now")
    bob.git("push", "--quiet", "origin", "main:refs/tags/clf@production/2")
    bob.repo().fetch()
    with pytest.raises(NotTrusted, match="the tag clf@production/2 is not annotated"):
        bob.repo().promote("clf@v2", "production", "now")
    (stray,) = [one for one in bob.problems() if one.kind == "stray-tag"]
    bob.follow(stray.remedy)
    # What was noted of the remote goes with it: the next move 2 is no fork of that tag.
    bob.repo().promote("clf@v2", "production", "now")
    assert bob.repo().resolve("clf@production").label == "clf@v2"


def test_a_fork_is_ended_by_keeping_the_remotes_moves(team: Team, tmp_path: Path) -> None:
    bob = team.bob
    bob.git("remote", "remove", "origin")
    for rate in (0.1, 0.2):
        bob.run("training", {"rate": rate})
    bob.git("remote", "add", "origin", team.url)
    bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    alice.repo().promote("clf@v1", "production", "hers")
    bob.git("remote", "remove", "origin")
    for version in ("clf@v2", "clf@v1"):
        bob.repo().promote(version, "production", "his")
    mine = bob.git("rev-parse", "clf@production/1")
    bob.git("remote", "add", "origin", team.url)
    assert bob.repo().fetch().forked == ["clf@production/1"]
    with pytest.raises(RaceLost):
        bob.repo().version("clf@production")
    assert bob.repo().repair_stage("clf", "production") == ["clf@production/1", "clf@production/2"]
    assert holders(bob) == ["clf@v1"]
    assert f"refs/gitml/forks/{mine}" in bob.refs("refs/gitml/forks")
    assert bob.refs("refs/gitml/stages") == alice.refs("refs/gitml/stages")
    bob.repo().promote("clf@v2", "production", "again")
    with pytest.raises(NameNotFound, match="not forked"):
        bob.repo().repair_stage("clf", "production")
