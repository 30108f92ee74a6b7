"""Revocations: what descends from something shows it, and is not promoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import MissingBytes, NameNotFound, PolicyNotMet, UsageError
from gitml.repo import Repo
from tests.sync.conftest import Team, bob_once, team
from tests.workshop import Copy, Workshop, model_for_copies

__all__ = ["bob_once", "team"]


@pytest.fixture(scope="module")
def models_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("models")) as made:
        made.training([1, 2, 3])
        for rate in (0.1, 0.2):
            made.run("training", {"rate": rate})
        made.write("data/raw.json", json.dumps({"rows": [4, 5]}))
        made.commit("other data")
        made.run("training", {"rate": 0.1})
        yield made


@pytest.fixture
def models(models_once: Workshop, copied: Copy) -> Workshop:
    """``clf`` v1 and v2 of the same data and the same first step, v3 of other data."""
    return copied(models_once)


def revoked(repo: Repo) -> list[str]:
    return [one.label for one in repo.versions("clf") if one.revoked]


def refused(workshop: Workshop, version: str) -> str:
    with pytest.raises(PolicyNotMet) as caught:
        workshop.repo().promote(version, "production", "please")
    return caught.value.causes()[0]


def test_a_version_alone(models: Workshop) -> None:
    repo = models.repo()
    assert repo.standing_on(repo.revoke("clf@v1", "leaked", dry_run=True)) == ["clf@v1"]
    assert revoked(repo) == []
    record = repo.revoke("clf@v1", "leaked")
    assert (record.kind, record.name) == ("version", "clf@v1")
    assert revoked(models.repo()) == ["clf@v1"]
    assert "clf@v1: leaked" in refused(models, "clf@v1")
    assert models.repo().promote("clf@v2", "production", "in order").moved
    assert models.problems() == []


def test_a_run_with_every_step_that_it_executed(models: Workshop) -> None:
    """The second run took its first step from the first one."""
    repo = models.repo()
    run = repo.version("clf@v1").run
    assert run is not None
    repo.revoke(run.id.short, "wrong machine")
    assert revoked(models.repo()) == ["clf@v1", "clf@v2"]
    other = models.repo().version("clf@v2").run
    assert other is not None
    models.repo().revoke(other.id.short, "this one too")
    assert len(models.repo().version("clf@v2").revoked) == 2
    assert len(models.repo().version("clf@v1").revoked) == 1


def test_bytes_whoever_made_them(models: Workshop) -> None:
    repo = models.repo()
    artifact = repo.version("clf@v3").artifacts["model"]
    assert repo.revoke("clf@v3:model", "biased").digest == artifact.record.digest
    assert revoked(models.repo()) == ["clf@v3"]
    models.run("training", {"rate": 0.1}, cache=False)
    latest = models.repo().version("clf@latest")
    assert latest.label == "clf@v4"
    assert latest.revoked


def test_data_from_outside_by_its_commit(models: Workshop) -> None:
    repo = models.repo()
    source = next(
        one.commit
        for one in repo.index.steps_named("prepare")[-1].record.loads
        or repo.index.steps_named("prepare")[-1].record.inputs
    )
    repo.revoke(str(source), "no consent")
    assert revoked(models.repo()) == ["clf@v1", "clf@v2"]
    assert "no consent" in refused(models, "clf@v2")


def test_data_at_a_path(models: Workshop) -> None:
    models.write("data/more.json", json.dumps({"rows": [7]}))
    models.repo().add([Path("data/more.json")])
    with pytest.raises(NameNotFound, match="no run has used data/more"):
        models.repo().revoke("data/more.json", "no consent")


def test_a_file_that_git_has_itself(models: Workshop) -> None:
    """`gitml.data` reads it, so a run stands on it; one that none has read is no data."""
    models.repo().revoke("data/raw.json", "no consent")
    assert revoked(models.repo()) == ["clf@v3"]
    models.write("data/raw.json", json.dumps({"rows": [7]}))
    with pytest.raises(NameNotFound):
        models.repo().revoke("data/raw.json", "nobody has read it so")


def test_a_holder_keeps_its_stage_and_a_roll_back_to_what_is_revoked_is_refused(
    models: Workshop,
) -> None:
    for version in ("clf@v1", "clf@v3"):
        models.repo().promote(version, "production", "good then")
    repo = models.repo()
    record = repo.revoke("clf@v1", "leaked")
    assert repo.held_by(repo.standing_on(record)) == []
    with pytest.raises(PolicyNotMet):
        models.repo().rollback("clf", "production")
    assert models.repo().version("clf@production").label == "clf@v3"
    record = models.repo().revoke("clf@v3", "leaked too")
    assert models.repo().held_by(["clf@v3"]) == [("clf", "production")]
    assert models.repo().clear_stage("clf", "production", "nothing is left").moved


def test_it_is_said_once_and_only_of_what_can_be(models: Workshop) -> None:
    models.repo().revoke("clf@v1", "the first reason")
    before = models.refs()
    models.repo().revoke("clf@v1", "another")
    assert models.refs() == before
    assert models.repo().version("clf@v1").revoked[0].reason == "the first reason"
    with pytest.raises(UsageError, match="clf is a model; versions, runs"):
        models.repo().revoke("clf", "all of it")


def test_a_tag_that_is_not_what_its_name_says_revokes_nothing(models: Workshop) -> None:
    models.repo().revoke("clf@v1", "leaked")
    (tag,) = models.refs("refs/tags/clf@revoked")
    other = models.git("rev-parse", "clf@v2^{commit}")[:12]
    models.git("update-ref", f"refs/tags/clf@revoked/{other}", models.git("rev-parse", tag))
    assert revoked(models.repo()) == ["clf@v1"]
    assert [one.kind for one in models.problems()] == ["forged-tag", "corrupt-record"]


def test_it_goes_to_everyone(team: Team) -> None:
    bob = team.bob
    bob.run("training", {"rate": 0.1})
    bob.repo().push()
    alice = team.clone("alice")
    alice.repo().fetch()
    bob.repo().revoke("clf@v1", "leaked")
    assert [one for one in team.server.refs() if "@revoked/" in one]
    assert alice.repo().version("clf@v1").revoked == ()
    with pytest.raises(PolicyNotMet):  # which looks at the remote first
        alice.repo().promote("clf@v1", "production", "not knowing")
    assert alice.repo().version("clf@v1").revoked
    assert alice.repo().fetch().revoked == []


def test_what_nobody_else_has_is_revoked_here_and_goes_with_the_next_push(team: Team) -> None:
    team.bob.repo().push()
    version = team.bob.run("training", {"rate": 0.1}).model_version
    assert version is not None
    team.bob.repo().revoke(version.label, "leaked")
    assert not [one for one in team.server.refs() if "@revoked/" in one]
    team.bob.repo().push()
    assert [one for one in team.server.refs() if "@revoked/" in one]


def test_bytes_that_were_taken_away_are_named_as_revoked(workshop: Workshop) -> None:
    """Where they go is up to who has the store; whoever misses them is told why they went."""
    workshop.code(
        "pipelines/training.py",
        """
        from typing import Annotated

        import gitml
        from gitml import Model, pipeline, step


        @step
        def train(raw) -> Annotated[str, "model"]:
            return raw.read_text() + "!"


        @pipeline(model=Model("clf"))
        def training():
            train(gitml.data("data/people.csv"))
        """,
    )
    workshop.write("data/people.csv", "name\nAda\n")
    workshop.repo().add([workshop.path / "data/people.csv"])
    workshop.commit("people")
    workshop.run()
    workshop.repo().revoke("data/people.csv", "asked to be forgotten")
    workshop.repo().revoke("model@latest", "has their names in it")
    shutil.rmtree(workshop.path / ".git/gitml/store/packs")
    (workshop.path / "data/people.csv").unlink()
    with pytest.raises(MissingBytes, match=r"it is revoked \(.*has their names in it\)"):
        workshop.repo().version("clf@v1").load("model")
    with pytest.raises(MissingBytes, match=r"people.csv .*; it is revoked .*asked to be forgotten"):
        workshop.repo().checkout([workshop.path / "data/people.csv"])
    details = " ".join(one.detail for one in workshop.problems())
    assert "asked to be forgotten" in details
    assert "has their names in it" in details
    found = workshop.repo().verify("clf@v1")
    assert {one.reason for one in found.revoked} == {
        "asked to be forgotten",
        "has their names in it",
    }
