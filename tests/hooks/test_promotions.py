"""Wishes in a commit: well formed, of versions that there are, meeting their policy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gitml.hooks import checks
from gitml.hooks.checks import PROMOTION, Occasion, before_commit
from gitml.hooks.staged import Finding
from tests.reviewed import PATH, Reviewed
from tests.workshop import Workshop


def found(one: Workshop, *names: str) -> list[Finding]:
    git = one.repo().git
    return before_commit(git, (PROMOTION,), Occasion(names), lambda: one.repo().workspace)


def stage(one: Workshop, text: str, path: str = PATH) -> None:
    one.write(path, text)
    one.git("add", path)


def test_a_wish_that_meets_its_policy_is_fine(reviewed: Reviewed) -> None:
    reviewed.policy('[{ metric = "accuracy", min = 0.85 }, { via = "pull-request" }]')
    stage(reviewed.bob, '# better\nproduction = "v2"\nstaging = "v1"\n')
    assert found(reviewed.bob) == []
    assert found(reviewed.bob, PATH) == []


def test_one_that_does_not_is_named_with_its_line(reviewed: Reviewed) -> None:
    reviewed.policy('[{ metric = "accuracy", min = 0.85 }]')
    stage(reviewed.bob, 'staging = "v1"\nproduction = "v1"\n')
    [one] = found(reviewed.bob)
    assert (one.path, one.line) == (PATH, 2)
    assert one.what.startswith("clf@v1 does not meet the policy for production: metric accuracy")
    assert one.repair == "gitml promote clf@v1 production --dry-run"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('staging = "v1"\nproduction = "v9"\n', 2, "no version of clf is called `v9`"),
        ("production = v9\n", 1, "a wish is a line like"),
        ('production = "v1"\nproduction = "v2"\n', 2, "production has two wishes"),
        ('production = "v1"\n<<<<<<< a\n=======\n>>>>>>> b\n', 2, "a merge conflict was left"),
    ],
)
def test_what_cannot_be_meant(reviewed: Reviewed, text: str, line: int, what: str) -> None:
    stage(reviewed.bob, text)
    [one] = found(reviewed.bob)
    assert (one.path, one.line) == (PATH, line)
    assert what in one.what


def test_a_model_that_is_not_there_and_a_name_that_is_none(reviewed: Reviewed) -> None:
    stage(reviewed.bob, 'production = "v1"\n', "promotions/reg.toml")
    stage(reviewed.bob, 'production = "v1"\n', "promotions/v7.toml")
    stage(reviewed.bob, "not a wish", "promotions/README.md")
    reg, name = found(reviewed.bob)
    assert (reg.path, reg.what) == ("promotions/reg.toml", "no model is called `reg`")
    assert "cannot be called 'v7'" in name.what


def test_what_stands_already_is_not_judged_again(reviewed: Reviewed) -> None:
    reviewed.merge('production = "v1"\n')
    reviewed.policy('[{ metric = "accuracy", min = 0.85 }]')
    stage(reviewed.bob, 'production = "v1"\nstaging = "v2"\n')
    assert found(reviewed.bob) == []


def test_bytes_go_before_the_refs_that_name_them(reviewed: Reviewed) -> None:
    bob = reviewed.bob
    bob.write("data/big.csv", "a,b\n" * 1000)
    bob.repo().add([bob.path / "data/big.csv"])
    bob.commit("data")
    before = set(reviewed_files(reviewed))
    hook = bob.path / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gitml hooks run pre-push -- "$@"\n')
    hook.chmod(0o755)
    done = subprocess.run(
        ["git", "push", "origin", "HEAD:main"],
        cwd=bob.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of data before the push" in done.stderr
    assert set(reviewed_files(reviewed)) > before
    alice = reviewed.clone("fresh")
    alice.repo().pull()
    assert (alice.path / "data/big.csv").read_text() == "a,b\n" * 1000


def test_a_push_whose_bytes_are_nowhere_does_not_go(reviewed: Reviewed) -> None:
    bob = reviewed.bob
    digest = "0" * 64
    bob.write("lost.csv.gitml", f"gitml 1\nkind blob\nsize 3\ndigest blake3:{digest}\n")
    bob.commit("a pointer to nothing")
    tips = [bob.repo().odb.resolve("HEAD")]
    with pytest.raises(Exception, match=r"lost\.csv"):
        bob.repo().send_bytes("origin", [one for one in tips if one], [])


def test_pre_commit_shows_one_ref_and_the_versions_count_too(reviewed: Reviewed) -> None:
    repo = reviewed.bob.repo()
    variables = {"PRE_COMMIT_REMOTE_BRANCH": "refs/heads/main", "PRE_COMMIT_TO_REF": "HEAD"}
    tips, known = checks.pushed_commits(repo.git, repo.odb, Occasion((), variables))
    versions = {repo.version(f"clf@v{n}").id for n in (1, 2)}
    assert versions < set(tips)
    assert known == []


def reviewed_files(team: Reviewed) -> list[str]:
    lake = team.bob.repo().remote("lake")
    return [one.key for one in lake.list()]
