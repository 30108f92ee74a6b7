"""Drop: what a remote has for certain goes, and comes back; everything else stays."""

from __future__ import annotations

import pytest

from gitml.errors import UsageError
from tests.sync.conftest import ATTEMPT, Team


def size(team: Team) -> int:
    packs = team.bob.path / ".git/gitml/store/packs"
    return sum(path.stat().st_size for path in packs.glob("*.pack"))


def test_what_is_there_goes_and_comes_back(team: Team) -> None:
    team.bob.write("data/set/one.txt", "1" * 5000)
    team.bob.repo().add([team.bob.path / "data/set"])
    team.bob.commit("data")
    run = team.bob.run()
    team.bob.repo().push()
    before = size(team)
    assert team.bob.repo().drop(dry_run=True).acts
    assert size(team) == before
    team.bob.repo().drop()
    assert size(team) == 0
    assert team.bob.problems() == []
    assert (team.bob.path / "data/set/one.txt").exists()
    (team.bob.path / "data/set/one.txt").unlink()
    team.bob.repo().checkout()
    assert (team.bob.path / "data/set/one.txt").read_text() == "1" * 5000
    assert team.bob.repo().run_of(run.id).steps["train"].outputs["model"].load()


def test_what_stays_at_home_stays(team: Team) -> None:
    team.bob.run()
    team.bob.repo().push()
    team.bob.code("pipelines/attempt.py", ATTEMPT)
    run = team.bob.run("attempt")
    team.bob.repo().save(b"by hand", "mine")
    team.bob.repo().drop()
    for part in team.lake.rglob("*"):
        if part.is_file():
            part.unlink()
    assert team.bob.repo().run_of(run.id).steps["one"].outputs["output"].load() == 1
    assert team.bob.repo().artifact("mine").load() == b"by hand"


@pytest.mark.parametrize("what", ["parts", "packs", "where"])
def test_what_has_gone_from_the_remote_since_stays(team: Team, what: str) -> None:
    team.bob.run()
    team.bob.repo().push()
    before = size(team)
    for path in (team.lake / what).rglob("*"):
        if path.is_file():
            path.unlink()
    team.bob.repo().drop()
    assert size(team) == before


def test_without_a_remote_nothing_is_dropped(team: Team) -> None:
    text = (team.bob.path / "gitml.toml").read_text().partition("[remotes")[0]
    team.bob.code("gitml.toml", text)
    with pytest.raises(UsageError, match="no remote for bytes"):
        team.bob.repo().drop()
