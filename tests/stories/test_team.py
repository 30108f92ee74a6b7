"""Bob and Alice: two clones, a bare repository, a folder for bytes, and nothing else running."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitml.config import secrets_in
from gitml.errors import CorruptData, NameNotFound, RaceLost
from gitml.repo import Repo
from tests.workshop import Copy, Workshop, load, states

STACKS = """
[remotes.lake]
url = "{lake}"

[stacks.shared]
orchestrator = "local"
artifact_store = "lake"
"""


@dataclass(frozen=True)
class Team:
    """Bob and Alice, the bare repository, the folder for bytes."""

    bob: Workshop
    alice: Workshop
    server: Workshop
    lake: Path


@pytest.fixture
def team(trained_once: Workshop, copied: Copy, tmp_path: Path) -> Iterator[Team]:
    """Bob has pushed three versions of ``clf`` and their features; Alice has cloned."""
    bob = copied(trained_once)
    server = Workshop(tmp_path / "server.git")
    server.path.mkdir()
    server.git("init", "--quiet", "--bare")
    lake = tmp_path / "lake"
    lake.mkdir()
    with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
        file.write(STACKS.format(lake=lake))
    bob.commit("a stack for both")
    bob.git("remote", "add", "origin", server.path.as_uri())
    bob.repo().push(runs=True)
    repo, _ = Repo.clone(server.path.as_uri(), tmp_path / "alice")
    repo.close()
    alice = Workshop(tmp_path / "alice")
    alice.git("config", "user.name", "Alice")
    yield Team(bob, alice, server, lake)
    alice.forget()
    alice.close()


def files_of(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def test_story_03_a_second_stack_gives_the_same_digests(team: Team) -> None:
    digests = {}
    for name in ("default", "shared"):
        team.bob.repo().set_stack(name)
        run = team.bob.run("features", cache=False)
        digests[name] = {
            output.name: output.digest
            for step in run.steps.values()
            for output in step.outputs.values()
        }
        assert run.entry.record.stack == name
    assert digests["default"] == digests["shared"]
    assert team.bob.git("status", "--porcelain") == ""
    team.bob.repo().push(runs=True)


def test_story_04_one_stack_for_all_pipelines_and_both_users(team: Team) -> None:
    team.bob.repo().promote("clf@v2", "production", "best")
    team.alice.repo().pull()
    for one in (team.bob, team.alice):
        one.repo().set_stack("shared")
        for pipeline in ("features", "training", "inference"):
            assert one.run(pipeline).entry.record.stack == "shared"
    text = (team.alice.path / "gitml.toml").read_text()
    assert text == (team.bob.path / "gitml.toml").read_text()
    assert list(secrets_in(tomllib.loads(text))) == []


def test_story_11_alice_sees_it_all_and_loads_what_she_needs(team: Team) -> None:
    repo = team.alice.repo()
    assert [one.label for one in repo.versions("clf")] == ["clf@v1", "clf@v2", "clf@v3"]
    store = repo.store.root
    assert files_of(store) < 1000  # nothing but its own files: no artifact has come
    checkpoint = repo.version("clf@v1").load("checkpoint")
    assert checkpoint == b"epoch 1"
    run = team.alice.run("training", {"rate": 0.2})
    assert states(run) == {"preprocess": "cached", "train": "cached"}
    assert run.model_version is not None
    assert run.model_version.label == "clf@v2"
    team.alice.repo().pull(everything=True)
    assert team.alice.problems() == []
    assert team.bob.problems() == []


@pytest.mark.parametrize("stack", ["default", "shared"])
def test_story_12_the_model_is_the_same_on_either_stack(team: Team, stack: str) -> None:
    team.bob.repo().promote("clf@v2", "production", "best")
    team.alice.repo().pull()
    team.alice.repo().set_stack(stack)
    run = team.alice.run("inference")
    team.alice.repo().push(runs=True)
    team.bob.repo().pull()
    found = {}
    for one in (team.bob, team.alice):
        repo = one.repo()
        versions = repo.versions("clf")
        found[one.path.name] = [
            (v.label, v.metrics, {n: a.digest for n, a in v.artifacts.items()}, v.stages)
            for v in versions
        ]
        assert [r.id for r in repo.consumers(versions[1])] == [run.id]
    assert found["bob"] == found["alice"]


def test_story_13_bytes_by_stage_are_those_of_the_record_or_healed(team: Team) -> None:
    team.bob.repo().promote("clf@v2", "production", "best")
    team.alice.repo().pull()
    recorded = team.bob.repo().artifact("clf@v2:model")
    value = recorded.load()
    assert team.alice.repo().artifact("clf@production:model").digest == recorded.digest
    assert team.alice.repo().version("clf@production").load("model") == value
    for pack in team.alice.repo().store.packs():
        pack.path.chmod(0o644)
        data = pack.path.read_bytes()
        pack.path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    team.alice.close()
    assert team.alice.repo().version("clf@production").load("model") == value  # from the lake
    shutil.rmtree(team.alice.path / ".git/gitml/store")
    for part in (team.lake / "parts").rglob("*/*"):
        part.chmod(0o644)
        part.write_bytes(part.read_bytes()[:-1] + b"!")
    team.alice.close()
    with pytest.raises(CorruptData) as caught:
        team.alice.repo().version("clf@production").load("model")
    assert caught.value.exit_code == 12


def test_story_19_of_two_promotions_one_wins_and_the_other_goes_on(team: Team) -> None:
    code = "from gitml.cli import main; main()"
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", code, "promote", version, "production", "-m", "mine"],
            cwd=one.path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one, version in ((team.bob, "clf@v2"), (team.alice, "clf@v3"))
    ]
    said = {one.args[-4]: (one.communicate()[1], one.returncode) for one in racing}  # type: ignore[index]
    codes = sorted(code for _, code in said.values())
    if codes == [0, RaceLost.exit_code]:  # else the first was done before the second began
        (words,) = [words for words, code in said.values() if code]
        assert "moved production of clf first" in words
        assert "--retry" in words
        loser, version = (team.bob, "clf@v2") if said["clf@v2"][1] else (team.alice, "clf@v3")
        loser.repo().promote(version, "production", "all the same", retry=True)
    else:
        assert codes == [0, 0]
    for one in (team.bob, team.alice):
        one.repo().fetch()
    stages = [one.repo().model("clf").stages for one in (team.bob, team.alice)]
    assert stages[0] == stages[1]
    assert [event.promotion.n for event in stages[0]["production"]] == [1, 2]
    assert team.bob.refs("refs/gitml/stages") == team.alice.refs("refs/gitml/stages")


def test_story_21_a_run_keeps_to_the_version_that_it_was_planned_with(team: Team) -> None:
    team.bob.repo().promote("clf@v2", "production", "best")
    team.alice.repo().pull()

    def meanwhile(event: object) -> None:
        if getattr(event, "state", "") == "started":
            team.bob.repo().promote("clf@v3", "production", "meanwhile")
            team.alice.repo().fetch()

    run = team.alice.run("inference", tell=meanwhile)
    second = team.alice.repo().version("clf@v2")
    pins = {one.name: one.commit for one in run.entry.record.pins if "clf" in one.name}
    assert pins == dict.fromkeys(("clf@production", "clf@production:model"), second.id)
    assert load(run, "predict", "predictions") == [0.2 * 60 * x for x in (1, 2, 3)]
    assert team.alice.repo().version("clf@production").label == "clf@v3"


def test_story_23_metadata_adds_and_both_see_it(team: Team) -> None:
    before = team.bob.repo().version("clf@v2").id
    team.bob.repo().set_metadata("clf@v2", {"live_acc": 0.91})
    team.alice.repo().set_metadata("clf@v2", {"reviewed": True})
    for one in (team.bob, team.alice, team.bob):
        one.repo().pull()
        one.repo().push()
    for one in (team.bob, team.alice):
        noted = one.repo().metadata("clf@v2")
        assert (noted["live_acc"], noted["reviewed"]) == (0.91, True)
        assert one.repo().version("clf@v2").id == before


def test_without_a_holder_nothing_falls_back_for_alice_either(team: Team) -> None:
    with pytest.raises(NameNotFound, match="no version of clf holds `production`"):
        team.alice.repo().version("clf@production")
