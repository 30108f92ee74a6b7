"""One evaluation of a policy: each check with what it finds, in a real repository."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import PolicyNotMet
from gitml.promotion.judging import judge
from gitml.promotion.policy import policies_at
from gitml.promotion.rule import Case, Evidence, Policies
from gitml.promotion.verdict import Check
from tests.workshop import Copy, Workshop, model_for_copies

CODE = """\
from typing import Annotated
from gitml import Model, log_metrics, log_metadata, pipeline, step

@step
def train(accuracy: float) -> Annotated[int, "model"]:
    log_metrics({"accuracy": accuracy, "loss": 1 - accuracy, "odd": float("nan")})
    log_metadata({"license": "MIT"})
    return int(accuracy * 100)

@pipeline(model=Model("clf", description="Which bird it is"))
def training(accuracy: float = 0.9):
    train(accuracy)
"""


@pytest.fixture(scope="module")
def models_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("models")) as made:
        made.code("pipelines/training.py", CODE)
        for accuracy in (0.8, 0.9, 0.89):
            made.run("training", {"accuracy": accuracy})
        yield made


@pytest.fixture
def models(models_once: Workshop, copied: Copy) -> Workshop:
    """The model ``clf`` with versions 1 to 3 of accuracy 0.8, 0.9 and 0.89."""
    return copied(models_once)


def with_policy(workshop: Workshop, require: str, more: str = "") -> None:
    """Commit a policy for production."""
    file = workshop.path / "gitml.toml"
    text = file.read_text().partition("[metrics.accuracy]")[0]
    settings = '[metrics.accuracy]\ndirection = "max"\n[metrics.loss]\ndirection = "min"\n'
    file.write_text(f"{text}{settings}[policy.production]\nrequire = {require}\n{more}")
    workshop.git("commit", "--quiet", "--allow-empty", "-m", "policy", "gitml.toml")


def case(workshop: Workshop, version: str, evidence: Evidence | None = None, **given: Any) -> Case:
    repo = workshop.repo()
    tip = repo.odb.resolve("HEAD")
    assert tip is not None
    policies = policies_at(repo.git, repo.odb, tip)
    assert isinstance(policies, Policies)
    return Case(
        repo.git,
        repo.odb,
        repo.index,
        repo.names,
        policies,
        "clf",
        "production",
        repo.names.version("clf", version),
        evidence=evidence or Evidence(),
        **given,
    )


def only(workshop: Workshop, require: str, version: str = "v2", **given: Any) -> Check:
    """What the one rule of a policy comes to."""
    with_policy(workshop, f"[{require}]")
    verdict = judge(case(workshop, version, **given))
    (check,) = verdict.checks
    assert verdict.ok == check.ok
    return check


def test_a_stage_without_a_policy_asks_for_nothing(models: Workshop) -> None:
    verdict = judge(case(models, "v1"))
    assert verdict.ok
    assert verdict.policy is None


@pytest.mark.parametrize(
    ("rule", "version", "state", "found"),
    [
        ('{ metric = "accuracy", min = 0.9 }', "v2", "passed", "0.9"),
        ('{ metric = "accuracy", min = 0.9 }', "v3", "failed", "0.89"),
        ('{ metric = "loss", max = 0.15 }', "v2", "passed", "0.1"),
        ('{ metric = "loss", max = 0.15 }', "v1", "failed", "0.2"),
        ('{ metric = "f1", min = 0.9 }', "v1", "failed", "clf@v1 logged no f1"),
        ('{ metric = "odd", min = 0.9 }', "v1", "failed", "NaN"),
        ('{ metric = "odd", max = 0.9 }', "v1", "failed", "NaN"),
    ],
)
def test_bounds_of_metrics(
    models: Workshop, rule: str, version: str, state: str, found: str
) -> None:
    check = only(models, rule, version)
    assert (check.state, check.found) == (state, found)


@pytest.mark.parametrize(
    ("rule", "version", "state"),
    [
        ('{ metric = "accuracy", not_worse_than = "current" }', "v3", "failed"),
        ('{ metric = "accuracy", not_worse_than = "current", tolerance = 0.01 }', "v3", "passed"),
        ('{ metric = "accuracy", not_worse_than = "current", tolerance = 0.01 }', "v1", "failed"),
        ('{ metric = "loss", not_worse_than = "current" }', "v3", "failed"),
        ('{ metric = "loss", not_worse_than = "current", tolerance = 0.01 }', "v3", "passed"),
        ('{ metric = "accuracy", not_worse_than = "trial" }', "v1", "passed"),
    ],
)
def test_not_worse_than_the_holder(models: Workshop, rule: str, version: str, state: str) -> None:
    models.repo().promote("clf@v2", "production", "good")
    assert only(models, rule, version).state == state


def test_a_vacant_stage_has_nobody_to_be_worse_than(models: Workshop) -> None:
    check = only(models, '{ metric = "accuracy", not_worse_than = "current" }', "v1")
    assert (check.state, check.found) == ("passed", "0.8; no version holds production")


def test_another_stage_first_and_for_how_long(models: Workshop) -> None:
    rule = '{ passed = "staging", for = "7d" }'
    check = only(models, rule)
    assert (check.state, check.found) == ("failed", "never held staging")
    assert check.detail == "`gitml promote clf@v2 staging -m WHY`"
    models.repo().promote("clf@v2", "staging", "try")
    assert judge(case(models, "v2")).checks[0].found == "held it for 0s"
    in_a_week = case(models, "v2").now + 7 * 86400
    assert judge(case(models, "v2", now=in_a_week)).checks[0].found == "held it for 7d"
    assert judge(case(models, "v2", now=in_a_week)).ok
    models.repo().promote("clf@v3", "staging", "next")
    assert not judge(case(models, "v2", now=in_a_week)).ok
    assert only(models, '{ passed = "staging" }').ok


def test_fields_of_the_model_card(models: Workshop) -> None:
    assert only(models, '{ card = ["description", "license"] }').found == "2 of 2"
    check = only(models, '{ card = ["license", "intended_use"] }')
    assert (check.state, check.found) == ("failed", "nothing is said of intended_use")
    models.repo().set_metadata("clf@v2", {"intended_use": "gardens"})
    assert judge(case(models, "v2")).ok


def test_the_way_by_which_it_comes(models: Workshop) -> None:
    rule = '{ via = "pull-request" }'
    check = only(models, rule)
    assert (check.state, check.found) == ("failed", "direct")
    assert "--pull-request" in check.detail
    assert only(models, rule, evidence=Evidence(via="pull-request")).ok
    assert only(models, rule, evidence=Evidence(via=None)).state == "unknown"


def test_a_shallow_clone_is_no_place_to_judge(models: Workshop, tmp_path: Path) -> None:
    with_policy(models, '[{ metric = "accuracy", min = 0.5 }]')
    models.git("clone", "--quiet", "--depth", "1", f"file://{models.path}", str(tmp_path / "ci"))
    clone = Workshop(tmp_path / "ci")
    clone.git("fetch", "--quiet", "--depth", "1", "origin", "refs/tags/*:refs/tags/*")
    with pytest.raises(PolicyNotMet, match="shallow clone") as caught:
        judge(case(clone, "v2"))
    assert (
        caught.value.hint == "`git fetch --unshallow --tags` brings the history that it asks about"
    )
    clone.git("fetch", "--quiet", "--unshallow", "--tags")
    assert judge(case(clone, "v2")).ok
    clone.close()


def test_a_lineage_that_is_whole_and_of_committed_code(models: Workshop) -> None:
    assert only(models, '{ lineage = "clean" }').found == "3 records"
    models.code("pipelines/training.py", CODE.replace("* 100", "* 200"), message=None)
    models.run("training", {"accuracy": 0.95})
    assert only(models, '{ lineage = "complete" }', "v4").ok
    check = only(models, '{ lineage = "clean" }', "v4")
    assert check.found.endswith("ran code that was not committed")


def test_a_parent_that_is_hidden_is_missed(models: Workshop) -> None:
    """A record that leaves out a parent is not what follows from what it says."""
    body = models.git("cat-file", "commit", "clf@v2^{commit}")
    run = models.parents("clf@v2^{commit}")[1]
    made = models.git(
        "hash-object", "-t", "commit", "-w", "--stdin", text=body.replace(f"parent {run}\n", "")
    )
    with_policy(models, '[{ lineage = "complete" }]')
    models.git("update-ref", f"refs/gitml/versions/clf/{made[:12]}", made)
    (check,) = judge(case(models, made[:12])).checks
    assert (check.state, "the record says" in check.found) == ("failed", True)


def test_a_commit_that_it_must_not_stand_on(models: Workshop) -> None:
    bug = models.git("log", "-1", "--format=%H", "--", "pipelines/training.py")
    assert only(models, f'{{ lacks = "{bug}" }}').found == "it is an ancestor"
    assert only(models, f'{{ lacks = "{"0" * 40}" }}').ok


def test_a_program_of_ones_own(models: Workshop) -> None:
    """It is told what is asked for, and its last line is what it found."""
    code = 'import os, sys; e = os.environ; print(e["GITML_VERSION"], e["GITML_STAGE"]); '
    code += 'sys.exit(int(e["GITML_VERSION"][-1]) % 2)'
    rule = f"{{ command = ['{sys.executable}', '-c', '{code}'] }}"
    with_policy(models, f"[{rule}]")
    (check,) = judge(case(models, "v2")).checks
    assert (check.state, check.found) == ("unknown", "nobody has run it")
    repo = models.repo()
    moved = repo.promote("clf@v2", "production", "even")
    assert moved.verdict is not None
    assert moved.verdict.checks[0].found == "clf@v2 production"
    with pytest.raises(PolicyNotMet) as caught:
        repo.promote("clf@v3", "production", "odd")
    assert "clf@v3 production, exit code 1" in caught.value.causes()[0]
    with_policy(models, "[{ command = ['no-such-program'] }]")
    with pytest.raises(PolicyNotMet) as caught:
        models.repo().promote("clf@v3", "production", "odd")
    assert "no-such-program is not here" in caught.value.causes()[0]


def test_a_commit_that_it_must_stand_on(models: Workshop) -> None:
    mend = models.git("log", "-1", "--format=%H", "--", "pipelines/training.py")
    assert only(models, f'{{ has = "{mend}" }}').found == "it is an ancestor"
    models.write("more.txt", "x")
    models.commit("later")
    for absent in (models.git("rev-parse", "HEAD"), "0" * 40):
        assert only(models, f'{{ has = "{absent}" }}').found == "it is no ancestor"
