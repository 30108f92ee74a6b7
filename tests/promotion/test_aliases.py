"""Aliases: names of one's own, which move, go along with push and fetch, and are no stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gitml import Model
from gitml.cli.pull import pull
from gitml.cli.push import push
from gitml.errors import CorruptData, GitmlError, InvalidName, NameNotFound, UsageError
from gitml.repo import Repo
from tests.reviewed import Reviewed
from tests.workshop import Workshop


@pytest.fixture
def two(workshop: Workshop) -> Workshop:
    """``clf@v1`` and ``clf@v2``."""
    workshop.training()
    workshop.run(parameters={"rate": 0.1})
    workshop.run(parameters={"rate": 0.2})
    return workshop


def aliases(repo: Repo) -> dict[str, str]:
    state = repo.model("clf")
    return {name: state.label(commit) for name, commit in state.aliases.items()}


def test_an_alias_means_a_version_until_it_is_moved_on(two: Workshop) -> None:
    repo = two.repo()
    first = repo.put_alias("clf@v1", "champion")
    assert (first.version, first.before, first.moved) == ("clf@v1", None, True)
    assert not repo.put_alias("clf@v1", "champion").moved
    assert repo.put_alias("clf@champion", "baseline").version == "clf@v1"
    moved = repo.put_alias("clf@latest", "champion")
    assert (moved.version, moved.before) == ("clf@v2", "clf@v1")
    repo = two.repo()
    assert repo.version("clf@champion").label == "clf@v2"
    assert repo.resolve("clf@alias/champion").label == "clf@v2"
    assert repo.artifact("clf@champion:model").load()["weights"]
    assert repo.version("clf@v1").aliases == ["baseline"]
    record = two.git("cat-file", "tag", "clf@alias/champion/2").splitlines()
    assert record[0].endswith(two.git("rev-parse", "clf@v2^{commit}"))
    assert two.problems() == []


def test_a_deleted_alias_means_nothing_and_its_history_stays(two: Workshop) -> None:
    repo = two.repo()
    repo.put_alias("clf@v1", "champion")
    with pytest.raises(UsageError, match="champion is clf@v1, not clf@v2"):
        repo.remove_alias("clf@v2", "champion")
    assert repo.remove_alias("clf@v1", "champion").before == "clf@v1"
    with pytest.raises(NameNotFound):
        repo.version("clf@champion")
    with pytest.raises(NameNotFound):
        repo.remove_alias("clf", "champion")
    assert aliases(repo) == {}
    repo.put_alias("clf@v2", "champion")
    assert two.refs("refs/tags/clf@alias/champion/*").keys() == {
        f"refs/tags/clf@alias/champion/{n}" for n in (1, 2, 3)
    }
    assert two.problems() == []


def test_ten_moves_are_counted_as_numbers(two: Workshop) -> None:
    repo = two.repo()
    for n in range(11):
        repo.put_alias(f"clf@v{n % 2 + 1}", "champion")
    assert repo.model("clf").alias_ends["champion"] == 11
    assert two.repo().version("clf@champion").label == "clf@v1"


@pytest.mark.parametrize("word", ["latest", "v3", "12", "cafe", "alias", "none", "a/b", "", ".x"])
def test_words_that_mean_something_else_are_refused(two: Workshop, word: str) -> None:
    with pytest.raises(InvalidName):
        two.repo().put_alias("clf@v1", word)


def test_an_alias_is_no_stage_and_a_stage_no_alias(two: Workshop) -> None:
    repo = two.repo()
    repo.promote("clf@v1", "shadow", "try it")
    for stage in ("shadow", "production"):
        with pytest.raises(UsageError, match=f"{stage} is a stage"):
            repo.put_alias("clf@v2", stage)
    repo.put_alias("clf@v2", "champion")
    with pytest.raises(UsageError, match="champion is an alias of clf@v2"):
        repo.promote("clf@v1", "champion", "why")
    with pytest.raises(InvalidName):
        repo.put_alias("clf@v2", "Champion")


def test_a_name_without_a_version_and_versions_that_are_not_there(two: Workshop) -> None:
    repo = two.repo()
    with pytest.raises(UsageError, match="names no version") as error:
        repo.put_alias("clf", "champion")
    assert error.value.hint == "`gitml model alias clf@latest champion`"
    for name in ("clf@v9", "other@v1"):
        with pytest.raises(NameNotFound):
            repo.put_alias(name, "champion")
    repo.put_alias("clf@v2", "champion")
    repo.delete("clf@v2", "wrong")
    with pytest.raises(NameNotFound):
        two.repo().version("clf@champion")


def test_a_tag_made_by_hand_stays_where_it_is(two: Workshop) -> None:
    two.git("tag", "clf@alias/good", "clf@v1^{commit}")
    repo = two.repo()
    assert repo.version("clf@good").label == "clf@v1"
    with pytest.raises(GitmlError, match="in the way"):
        repo.put_alias("clf@v2", "good")
    two.git("tag", "-a", "-m", "forged", "clf@alias/best/1", "clf@v1^{commit}")
    repo = two.repo()
    assert "best" not in aliases(repo)
    assert [one.what for one in two.problems()] == ["clf@alias/best/1"]
    with pytest.raises(CorruptData):
        repo.model("clf").refuse_broken("alias/best/1")


def test_in_python_a_model_takes_an_alias(two: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two.path)
    Model("clf", version=1).set_alias("champion")
    assert Model("clf", version="champion").resolved.label == "clf@v1"


def test_aliases_go_along_with_push_and_fetch(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob.repo(), reviewed.alice.repo()
    bob.put_alias("clf@v1", "champion")
    assert bob.push().tags == ["clf@alias/champion/1"]
    assert bob.push().tags == []
    assert alice.fetch().aliases == ["clf@alias/champion/1"]
    assert aliases(alice) == {"champion": "clf@v1"}
    alice.put_alias("clf@v2", "champion")
    alice.push()
    bob.fetch()
    assert aliases(bob) == {"champion": "clf@v2"}
    bob.remove_alias("clf", "champion")
    bob.push()
    alice.fetch()
    assert aliases(alice) == {}


def test_of_two_who_move_it_the_first_to_push_counts(reviewed: Reviewed, tmp_path: Path) -> None:
    bob, alice = reviewed.bob.repo(), reviewed.alice.repo()
    bob.put_alias("clf@v1", "champion")
    alice.put_alias("clf@v2", "champion")
    alice.put_alias("clf@v2", "other")
    bob.push()
    plan = alice.push()  # its other alias goes there, the champion stays Bob's
    assert (plan.tags, plan.outrun) == (["clf@alias/other/1"], ["clf@champion"])
    assert alice.push(dry_run=True).outrun == ["clf@champion"]
    foreseen = alice.fetch(dry_run=True)
    assert foreseen.replaced == {"clf@champion": ("v1", "v2")}
    assert aliases(alice)["champion"] == "clf@v2"
    done = alice.fetch()
    assert done.replaced == {"clf@champion": ("v1", "v2")}
    assert alice.fetch(dry_run=True).replaced == {}
    assert alice.push().outrun == []
    assert alice.fetch().replaced == {}
    assert aliases(alice) == {"champion": "clf@v1", "other": "clf@v2"}
    alice.put_alias("clf@v2", "champion")
    assert alice.push().tags == ["clf@alias/champion/2"]
    bob.fetch()
    assert aliases(bob) == aliases(alice) == {"champion": "clf@v2", "other": "clf@v2"}


def test_a_later_move_of_ones_own_counts_and_nothing_is_said(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob.repo(), reviewed.alice.repo()
    bob.put_alias("clf@v1", "champion")
    alice.put_alias("clf@v1", "champion")
    alice.put_alias("clf@v2", "champion")
    bob.push()
    assert alice.push().outrun == []
    assert alice.fetch(dry_run=True).replaced == {}
    done = alice.fetch()
    assert (done.outrun, done.replaced) == (["clf@alias/champion/1"], {})
    assert aliases(alice) == {"champion": "clf@v2"}


def test_commands_name_the_alias_that_another_clone_moved_first(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, alice = reviewed.bob.repo(), reviewed.alice.repo()
    for name in ("champion", "other"):
        bob.put_alias("clf@v1", name)
        alice.put_alias("clf@v2", name)
    bob.push()
    monkeypatch.chdir(reviewed.alice.path)
    pushed = CliRunner().invoke(push, [])
    assert pushed.exit_code == 0, pushed.output
    assert "Left: another clone moved clf@champion first" in pushed.stderr
    assert pushed.stdout == "Nothing to do: origin has all else\n"
    pulled = CliRunner().invoke(pull, [])
    assert "Replaced: clf@champion is v1 now; yours was v2" in pulled.stderr
    assert pulled.stdout.startswith("Pulled 2 aliases (clf@alias/champion/1, clf@alias/other/1)")
