"""Many promoters at once, in two clones of one guarded server: one wins, the others are told."""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import RaceLost
from gitml.git.process import Git
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.promotion.chain import check_chain
from gitml.repo import Repo
from tests.reviewed import Reviewed

_PATIENCE = 120.0
_FORK: Any = multiprocessing.get_context("fork")


def attempt(clone: Path, which: str, reason: str, start: Barrier, told: Any) -> None:
    """Look at the remote, wait until everybody has, and promote by what was seen."""
    repo = Repo.discover(clone)
    try:
        online = repo._online(None)
        assert online is not None
        online.look()
        promoter = repo._promoter(dry_run=False, online=online)
        repo.model("clf")  # the state by which this one promotes
        start.wait(_PATIENCE)
        move = promoter.promote("clf", which, "production", reason)
        # Who comes late finds that the version has the stage already, and leaves it.
        told.put(("won" if move.moved else "held", move.tag, which, reason))
    except RaceLost as error:
        told.put(("lost", error.message, which, reason))
    except BaseException as error:
        told.put(("failed", repr(error), which, reason))
    finally:
        repo.close()


def race(team: Reviewed, count: int, number: int) -> list[tuple[str, str, str, str]]:
    """What each of the promoters of a round came to. They take turns to ask for v1 and v2."""
    start, told = _FORK.Barrier(count), _FORK.Queue()
    started = []
    for at in range(count):
        clone = (team.bob, team.alice)[at % 2].path
        which = f"v{1 + number % 2}"  # the one that does not hold the stage
        arguments = (clone, which, f"{number}/{at}", start, told)
        started.append(_FORK.Process(target=attempt, args=arguments))
    for one in started:
        one.start()
    answers = [told.get(timeout=_PATIENCE) for _ in started]
    for one in started:
        one.join(_PATIENCE)
    return answers


def rounds(team: Reviewed, promoters: int, count: int) -> None:
    install(Git.discover(team.server.path), sys.executable, SERVER_EVENTS)
    team.policy('[{ metric = "accuracy", min = 0.5 }]')
    team.alice.git("pull", "--quiet", "origin", "main")
    for number in range(1, count + 1):
        answers = race(team, promoters, number)
        results = Counter(answer[0] for answer in answers)
        assert results["won"] == 1, answers
        assert results["lost"] + results["held"] == promoters - 1, answers
        [(_, tag, which, reason)] = [one for one in answers if one[0] == "won"]
        assert tag == f"clf@production/{number}"
        record = team.record(tag)
        assert record["reason"] == reason
        # What was judged, what is recorded and what is tagged are one commit.
        commit = team.server.git("rev-parse", f"{tag}^{{commit}}")
        assert commit == record["version"] == team.bob.git("rev-parse", f"clf@{which}^{{commit}}")
    for one in (team.bob, team.alice):
        repo = one.repo()
        repo.fetch()
        state = repo.model("clf")
        moves = [event.promotion.n for event in state.stages["production"]]
        assert moves == list(range(1, count + 1))
        check_chain(repo.index, state, "production", repo.config.project)
        assert state.forked == {}
    assert team.bob.refs("refs/tags", "refs/gitml/stages") == team.alice.refs(
        "refs/tags", "refs/gitml/stages"
    )


def test_one_of_many_wins_each_round(reviewed: Reviewed) -> None:
    rounds(reviewed, promoters=6, count=2)


@pytest.mark.sweep
def test_one_of_fifty_wins_each_of_twenty_rounds(reviewed: Reviewed) -> None:
    rounds(reviewed, promoters=50, count=20)


def test_the_losers_are_told_who_won_and_may_go_on(reviewed: Reviewed) -> None:
    reviewed.alice.git("config", "user.name", "Alice")
    reviewed.bob.repo().promote("clf@v1", "production", "first")
    start, told = _FORK.Barrier(1), _FORK.Queue()
    repo = reviewed.bob.repo()
    online = repo._online(None)
    assert online is not None
    online.look()
    promoter = repo._promoter(dry_run=False, online=online)
    repo.model("clf")
    reviewed.alice.repo().fetch()
    attempt(reviewed.alice.path, "v2", "hers", start, told)
    assert told.get(timeout=_PATIENCE)[0] == "won"
    with pytest.raises(RaceLost, match="Alice moved production of clf first: clf@v2"):
        promoter.promote("clf", "v2", "production", "his")
    reviewed.bob.repo().promote("clf@v1", "production", "all the same", retry=True)
    assert reviewed.holders() == ["clf@v1", "clf@v2", "clf@v1"]
    assert reviewed.holders(who=reviewed.alice) == reviewed.holders()


def test_what_a_check_saw_is_what_is_promoted(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a check runs its version's name comes to mean another, and the stage is moved.

    The one that was judged is promoted or none; with ``retry`` it is judged again.
    """
    bob, alice = reviewed.bob, reviewed.alice
    reviewed.policy('[{ command = ["true"] }]')
    alice.git("pull", "--quiet", "origin", "main")
    bob.git("tag", "clf@alias/best", "clf@v1^{commit}")
    saw = list[tuple[str, str]]()
    really = Repo._run_program

    def check(self: Repo, words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        if self.root == bob.path:
            saw.append((variables["GITML_VERSION"], variables["GITML_COMMIT"]))
            bob.git("tag", "--force", "clf@alias/best", "clf@v2^{commit}")
            alice.repo().fetch()
            if len(saw) == 1:
                alice.repo().promote("clf@v2", "production", "faster")
            elif len(saw) == 2:
                alice.repo().clear_stage("clf", "production", "faster again")
        return really(self, words, variables)

    monkeypatch.setattr(Repo, "_run_program", check)
    with pytest.raises(RaceLost, match="moved production of clf first: clf@v2"):
        bob.repo().promote("clf@alias/best", "production", "judged as v1")
    assert reviewed.holders() == ["clf@v2"]
    move = bob.repo().promote("clf@v1", "production", "again", retry=True)
    assert (move.tag, len(saw)) == ("clf@production/3", 3)
    v1 = bob.git("rev-parse", "clf@v1^{commit}")
    assert set(saw) == {("clf@v1", v1)}
    assert reviewed.holders() == ["clf@v2", None, "clf@v1"]
    record = reviewed.record(move.tag)
    assert record["version"] == reviewed.server.git("rev-parse", f"{move.tag}^{{commit}}") == v1
