"""Stages: moves as a chain of immutable tags, roll-backs, vacancies, refusals, and races."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import (
    GitmlError,
    InvalidName,
    NameNotFound,
    PolicyNotMet,
    RaceLost,
    UsageError,
)
from gitml.fs import ProcessIdentity
from gitml.repo import Repo
from gitml.repo.stages import Deleted
from tests.workshop import Copy, Workshop, group_of, model_for_copies, wait_for

CODE = """\
from typing import Annotated
from gitml import Model, pipeline, step

@step
def train(rate: int) -> Annotated[int, "model"]:
    return rate

@pipeline(model=Model("clf"))
def training(rate: int = 1):
    train(rate)
"""


@pytest.fixture(scope="module")
def models_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("models")) as made:
        made.code("pipelines/training.py", CODE)
        for rate in range(1, 5):
            made.run("training", {"rate": rate})
        yield made


@pytest.fixture
def models(models_once: Workshop, copied: Copy) -> Workshop:
    """The model ``clf`` with versions 1 to 4."""
    return copied(models_once)


@pytest.fixture
def repo(models: Workshop) -> Iterator[Repo]:
    yield models.repo()


def test_a_promotion_that_was_killed_behind_its_tag_is_finished_by_the_same_again(
    models: Workshop, repo: Repo
) -> None:
    """git moves one ref after the other: the tag was there, the rest of the locks stayed."""
    repo.promote("clf@v1", "production", "good")
    stage, stone = "refs/gitml/stages/clf/production", "refs/tags/clf@deleted/1"
    tag = models.git("rev-parse", stage).strip()
    models.git("update-ref", "-d", stage)
    git = models.path / ".git"
    me = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, me.start, me.host, me.boot).to_text()
    (git / "gitml/moves").mkdir(exist_ok=True)
    (git / f"gitml/moves/{dead}+00000000").write_text(json.dumps({stage: tag, stone: "0" * 40}))
    for name, text in ((stone, ""), (stage, f"{tag}\n")):
        (git / name).parent.mkdir(parents=True, exist_ok=True)
        (git / f"{name}.lock").write_text(text)
    assert not models.repo().promote("clf@v1", "production", "good", dry_run=True).moved
    assert (git / f"{stage}.lock").exists()
    assert not models.repo().promote("clf@v1", "production", "good").moved
    assert models.git("rev-parse", stage).strip() == tag
    assert list(git.rglob("*.lock")) == list((git / "gitml/moves").iterdir()) == []


def event(workshop: Workshop, tag: str) -> dict[str, Any]:
    """The record in an event tag, read by plain git."""
    body = workshop.git("cat-file", "tag", tag).partition("\n\n")[2]
    first, blank, line, *rest = body.split("\n")
    assert blank == ""
    assert rest in ([], [""])
    assert line.isascii()
    document = json.loads(line)
    assert json.dumps(document, sort_keys=True, separators=(", ", ": ")) == line
    assert first.startswith(f"{document['model']} {document['stage']} {document['n']} ")
    return dict(document)


def holders(repo: Repo, stage: str = "production") -> list[str | None]:
    state = repo.names.model("clf")
    versions = [one.promotion.version for one in state.stages[stage]]
    return [state.label(one) if one else None for one in versions]


def test_events_are_a_chain(models: Workshop, repo: Repo) -> None:
    repo.promote(
        "clf@v1", "production", "the first ✓\n# not a comment\n-----BEGIN PGP SIGNATURE-----"
    )
    repo.promote("clf@v2", "production", "better")
    one, two = event(models, "clf@production/1"), event(models, "clf@production/2")
    ids = {n: models.git("rev-parse", f"clf@v{n}^{{commit}}") for n in (1, 2)}
    assert (one["version"], two["version"]) == (ids[1], ids[2])
    assert "before" not in one
    assert "previous" not in one
    assert two["before"] == ids[1]
    assert two["previous"] == models.git("rev-parse", "clf@production/1")
    assert (one["n"], two["n"]) == (1, 2)
    assert one["project"] == two["project"] == repo.config.project
    assert one["reason"] == "the first ✓\n# not a comment\n-----BEGIN PGP SIGNATURE-----"
    assert models.git("rev-parse", "refs/gitml/stages/clf/production") == models.git(
        "rev-parse", "clf@production/2"
    )
    assert models.git("rev-parse", "clf@production/2^{commit}") == ids[2]
    assert models.problems() == []
    models.git("fsck", "--strict")


def test_promoting_the_holder_writes_nothing(models: Workshop, repo: Repo) -> None:
    repo.promote("clf@v1", "production", "first")
    before = models.refs()
    move = repo.promote("clf@v1", "production", "again")
    assert not move.moved
    assert move.tag == "clf@production/1"
    assert models.refs() == before


def test_stages_with_a_common_beginning_do_not_disturb_each_other(repo: Repo) -> None:
    repo.promote("clf@v1", "production", "long")
    repo.promote("clf@v2", "prod", "short")
    repo.promote("clf@v3", "prod", "short again")
    assert holders(repo) == ["clf@v1"]
    assert holders(repo, "prod") == ["clf@v2", "clf@v3"]


def test_a_version_may_hold_several_stages_and_is_archived_after_the_last(repo: Repo) -> None:
    for stage in ("staging", "production"):
        repo.promote("clf@v1", stage, "all")
    assert repo.version("clf@v1").stages == ["production", "staging"]
    repo.promote("clf@v2", "production", "next")
    assert not repo.version("clf@v1").archived
    repo.promote("clf@v2", "staging", "next")
    assert repo.version("clf@v1").archived
    assert not repo.version("clf@v3").archived


def test_a_version_is_named_by_number_stage_latest_or_alias(repo: Repo) -> None:
    for name, expected in (("clf@2", "clf@v2"), ("clf@latest", "clf@v4")):
        assert repo.promote(name, "staging", "try").version == expected
    assert repo.promote("clf@staging", "production", "it held").version == "clf@v4"


def test_rollbacks_walk_back(models: Workshop, repo: Repo) -> None:
    for n in (1, 2, 3):
        repo.promote(f"clf@v{n}", "production", "next")
    moves = [repo.rollback("clf", "production"), repo.rollback("clf", "production", "further")]
    assert [one.version for one in moves] == ["clf@v2", "clf@v1"]
    assert event(models, "clf@production/4")["restores"] == 2
    assert event(models, "clf@production/5")["restores"] == 1
    with pytest.raises(UsageError, match="nothing held production of clf before"):
        repo.rollback("clf", "production")
    repo.promote("clf@v4", "production", "after all")
    assert repo.rollback("clf", "production").version == "clf@v1"
    assert holders(repo) == [f"clf@v{n}" for n in (1, 2, 3, 2, 1, 4, 1)]
    assert models.problems() == []


def test_a_rollback_passes_over_deleted_versions(repo: Repo) -> None:
    for n in (1, 2, 3):
        repo.promote(f"clf@v{n}", "production", "next")
    repo.delete("clf@v2", "broken")
    assert repo.rollback("clf", "production").version == "clf@v1"


def test_a_cleared_stage_is_vacant_and_can_be_brought_back(models: Workshop, repo: Repo) -> None:
    repo.promote("clf@v1", "production", "first")
    repo.promote("clf@v2", "production", "second")
    move = repo.clear_stage("clf", "production", "recalled")
    assert (move.version, move.before) == (None, "clf@v2")
    record = event(models, "clf@production/3")
    assert "version" not in record or record["version"] is None
    assert models.git("rev-parse", "clf@production/3^{commit}") == record["before"]
    assert "refs/gitml/stages/clf/production" not in models.refs("refs/gitml")
    with pytest.raises(NameNotFound, match="no version of clf holds `production`"):
        repo.version("clf@production")
    with pytest.raises(NameNotFound, match="nothing holds production"):
        repo.clear_stage("clf", "production", "again")
    assert repo.version("clf@v2").archived
    assert repo.rollback("clf", "production").version == "clf@v2"
    assert holders(repo) == ["clf@v1", "clf@v2", None, "clf@v2"]
    assert models.problems() == []


def policy(models: Workshop, require: str) -> None:
    """Commit a policy for production, in place of the one before."""
    file = models.path / "gitml.toml"
    text = file.read_text().partition("[policy.production]")[0]
    file.write_text(f"{text}[policy.production]\nrequire = {require}\n")
    models.git("commit", "--quiet", "-m", "policy", "gitml.toml")


def test_a_policy_that_is_not_met_stops_every_move_and_says_why(models: Workshop) -> None:
    policy(models, '[{ metric = "accuracy", min = 0.9 }, { passed = "staging" }]')
    repo = models.repo()
    with pytest.raises(PolicyNotMet, match=r"production \(0 of 2 checks\)") as caught:
        repo.promote("clf@v1", "production", "please")
    assert caught.value.exit_code == 3
    assert caught.value.causes()[0].startswith("metric accuracy: clf@v1 logged no accuracy")
    dry = repo.promote("clf@v1", "production", "", dry_run=True)
    assert dry.verdict is not None
    assert [one.state for one in dry.verdict.checks] == ["failed", "failed"]
    assert list(models.refs("refs/tags/clf@production")) == []
    assert repo.promote("clf@v1", "staging", "no policy there").moved


def test_a_dry_run_for_the_holder_shows_what_the_checks_find_now(models: Workshop) -> None:
    models.repo().promote("clf@v1", "production", "before there was a policy")
    policy(models, '[{ metric = "accuracy", min = 0.9 }]')
    dry = models.repo().promote("clf@v1", "production", "", dry_run=True)
    assert not dry.moved
    assert dry.verdict is not None
    assert [one.state for one in dry.verdict.checks] == ["failed"]
    again = models.repo().promote("clf@v1", "production", "again")
    assert not again.moved
    assert again.verdict is None


def test_what_judged_a_move_stands_in_its_tag(models: Workshop) -> None:
    models.repo().promote("clf@v1", "staging", "try")
    policy(models, '[{ passed = "staging" }]')
    move = models.repo().promote("clf@v1", "production", "tried")
    assert move.verdict is not None
    record = event(models, "clf@production/1")
    assert record["policy"] == move.verdict.policy
    assert record["policy_commit"] == models.git("rev-parse", "HEAD")
    assert record["verdict"] == {
        "ok": True,
        "checks": [{"name": "passed staging", "state": "passed", "found": "held it for 0s"}],
    }
    assert models.problems() == []


def test_a_policy_counts_when_it_is_committed(models: Workshop) -> None:
    with (models.path / "gitml.toml").open("a") as file:
        file.write('\n[policy.production]\nrequire = [{ passed = "staging" }]\n')
    models.repo().promote("clf@v1", "production", "not yet")
    models.git("commit", "--quiet", "-am", "policy")
    (models.path / "gitml.toml").write_text("[project]\nid = 'x'\n")
    with pytest.raises(PolicyNotMet):
        models.repo().promote("clf@v2", "production", "now it does")


def test_a_roll_back_and_a_vacancy_are_not_asked_what_only_a_newcomer_is(
    models: Workshop,
) -> None:
    for version in ("clf@v1", "clf@v2"):
        models.repo().promote(version, "production", "before there was a policy")
    policy(models, '[{ metric = "accuracy", min = 0.9 }]')
    assert models.repo().rollback("clf", "production").version == "clf@v1"
    assert models.repo().clear_stage("clf", "production", "enough").version is None
    policy(models, '[{ via = "pull-request" }]')
    with pytest.raises(PolicyNotMet):
        models.repo().rollback("clf", "production")


def test_an_older_policy_is_no_way_around_a_newer_one(models: Workshop) -> None:
    models.git("branch", "old")
    models.repo().promote("clf@v1", "staging", "try")
    policy(models, '[{ passed = "staging" }]')
    models.repo().promote("clf@v1", "production", "tried")
    models.git("switch", "--quiet", "old")
    with pytest.raises(PolicyNotMet, match="clf@production/1 was judged by a newer policy") as no:
        models.repo().promote("clf@v2", "production", "without a policy")
    assert "git pull" in (no.value.hint or "")
    models.git("switch", "--quiet", "main")
    policy(models, "[]")
    assert models.repo().promote("clf@v2", "production", "by a newer one").moved


@pytest.mark.parametrize(
    ("version", "stage", "error", "words"),
    [
        ("clf@v9", "production", NameNotFound, "no version of clf is called `v9`"),
        ("clf@v1", "latest", InvalidName, "a stage cannot be called 'latest'"),
        ("clf@v1", "v2", InvalidName, "a stage cannot be called 'v2'"),
        ("clf@v1", "abcdef", InvalidName, "a stage cannot be called 'abcdef'"),
        ("clf@v1", "in/side", InvalidName, "not a name for a stage"),
        ("clg@v1", "production", NameNotFound, "no model is called `clg`"),
        ("clf", "production", UsageError, "clf names no version"),
    ],
)
def test_moves_that_mean_nothing(
    models: Workshop, version: str, stage: str, error: type[GitmlError], words: str
) -> None:
    before = models.refs()
    with pytest.raises(error, match=words):
        models.repo().promote(version, stage, "why")
    assert models.refs() == before


def test_unknown_stages_and_models_have_suggestions(models: Workshop, repo: Repo) -> None:
    repo.promote("clf@v1", "production", "first")
    with pytest.raises(NameNotFound) as caught:
        repo.version("clf@prodcution")
    assert caught.value.hint == "did you mean `production`?"
    with pytest.raises(NameNotFound) as caught:
        repo.rollback("clf", "staging")
    assert caught.value.hint == "`gitml stage list clf`"
    with pytest.raises(NameNotFound) as caught:
        repo.rollback("clff", "staging")
    assert caught.value.hint == "did you mean `clf`?"


def test_deleting_leaves_a_tombstone_that_wins_everywhere(models: Workshop, repo: Repo) -> None:
    models.git("tag", "--annotate", "--message", "x", "clf@alias/good", "clf@v4^{commit}")
    repo.delete("clf@v4", "wrong data")
    stone = json.loads(
        models.git("cat-file", "tag", "clf@deleted/4").split("\n\n", 1)[1].split("\n")[2]
    )
    assert (stone["model"], stone["n"], stone["reason"]) == ("clf", 4, "wrong data")
    assert stone["version"] == models.git("rev-parse", "clf@v4^{commit}")
    repo = models.repo()
    for name in ("clf@v4", "clf@good", f"clf@{stone['version'][:12]}"):
        with pytest.raises(NameNotFound):
            repo.version(name)
        with pytest.raises(NameNotFound):
            repo.promote(name, "production", "please")
    with pytest.raises(NameNotFound, match="clf@v4 is deleted"):
        repo.version("clf@v4")
    assert models.problems() == []
    assert models.run("training", {"rate": 9}).model_version.label == "clf@v5"  # type: ignore[union-attr]


def test_a_deletion_beside_a_promotion_elsewhere_is_named(
    models: Workshop, repo: Repo, tmp_path: Path
) -> None:
    """Two clones: neither saw the other's tag when it made its own."""
    other = Workshop(tmp_path / "other")
    shutil.copytree(models.path, other.path)
    other.repo().promote("clf@v2", "production", "good")
    other.repo().promote("clf@v3", "staging", "new")
    other.close()
    repo.delete("clf@v2", "wrong data")
    models.git("fetch", "--quiet", str(other.path), "refs/tags/*:refs/tags/*")
    (problem,) = [one for one in models.problems() if one.kind == "deleted-holder"]
    assert problem.what == "clf@production"
    assert problem.detail.startswith("clf@v2 holds it and is deleted")
    with pytest.raises(NameNotFound, match="clf@v2 holds production and is deleted") as caught:
        models.repo().version("clf@production")
    assert caught.value.hint == "`gitml promote clf@v4 production -m WHY`"
    assert models.repo().version("clf@staging").label == "clf@v3"
    models.repo().promote("clf@v4", "production", "instead")
    assert [one for one in models.problems() if one.kind == "deleted-holder"] == []


def test_a_stage_that_differs_only_in_case_is_refused(repo: Repo) -> None:
    repo.promote("clf@v1", "production", "good")
    with pytest.raises(InvalidName, match="stage `Production` differs only in case"):
        repo.promote("clf@v2", "Production", "better")


def test_deleting_a_run(models: Workshop, repo: Repo) -> None:
    made = repo.version("clf@v1").run
    assert made is not None
    with pytest.raises(GitmlError, match=r"clf@v1 was made by the run") as caught:
        repo.delete(made.id.short, "tidy")
    assert "`gitml delete clf@v1 -m WHY`" in (caught.value.hint or "")
    again = models.run("training", {"rate": 1})
    repo = models.repo()
    assert repo.delete(again.id.short, "tidy") == Deleted("run", again.id.short)
    assert again.id not in [one.id for one in models.repo().runs()]
    with pytest.raises(NameNotFound):
        models.repo().delete(str(again.id), "tidy")
    models.git("reflog", "expire", "--expire=now", "--all")
    models.git("gc", "--quiet", "--prune=now")
    assert models.problems() == []


def test_of_two_racing_processes_exactly_one_wins(models: Workshop) -> None:
    """Both have read the state and then move at once; the loser is told who won."""
    models.code(
        "race.py",
        """
        import sys, time
        from pathlib import Path
        from gitml.errors import RaceLost
        from gitml.repo import Repo
        import gitml.promotion.promote as promotion

        who, version = sys.argv[1:]
        real = promotion.Promoter._publish
        def wait(*arguments, **options):
            Path(f"ready-{who}").touch()
            while not Path("go").exists():
                time.sleep(0.0005)
            return real(*arguments, **options)
        promotion.Promoter._publish = wait
        try:
            print("won", Repo.discover(".").promote(version, "production", who).tag)
        except RaceLost as error:
            print("lost", error.exit_code, error.message, "|", error.hint)
        """,
    )
    for turn in range(1, 4):
        for name in ("go", "ready-ada", "ready-bob"):
            (models.path / name).unlink(missing_ok=True)
        versions = ("clf@v1", "clf@v2") if turn % 2 else ("clf@v3", "clf@v4")
        ada = models.start("race.py", "ada", versions[0])
        bob = models.start("race.py", "bob", versions[1])
        with group_of(ada), group_of(bob):
            ready = [models.path / "ready-ada", models.path / "ready-bob"]
            wait_for(lambda ready=ready: all(one.exists() for one in ready))
            (models.path / "go").touch()
            told = [one.communicate(timeout=60) for one in (ada, bob)]
        outs = sorted(out.strip() for out, _ in told)
        assert [one.split()[0] for one in outs] == ["lost", "won"], told
        assert outs[1] == f"won clf@production/{turn}"
        holder = models.repo().version("clf@production").label
        assert holder in versions
        assert outs[0].startswith(f"lost 5 Ada Example moved production of clf first: {holder} | ")
        assert "gitml stage log clf production" in outs[0]
    assert models.problems() == []


def test_a_lost_race_writes_nothing(models: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    late = models.repo()
    late.names.model("clf")
    from gitml.promotion import promote

    real = promote.Promoter._publish

    def overtaken(self: Any, *arguments: Any) -> None:
        monkeypatch.setattr(promote.Promoter, "_publish", real)
        models.repo().promote("clf@v2", "production", "sooner")
        real(self, *arguments)

    monkeypatch.setattr(promote.Promoter, "_publish", overtaken)
    with pytest.raises(RaceLost, match="Ada Example moved production of clf first: clf@v2"):
        late.promote("clf@v1", "production", "later")
    assert holders(models.repo()) == ["clf@v2"]
    assert late.promote("clf@v1", "production", "again").tag == "clf@production/2"
