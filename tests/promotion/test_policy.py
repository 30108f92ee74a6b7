"""Policies as they stand in gitml.toml: read, or refused with the place and the form."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml import config
from gitml.errors import ConfigError, PolicyNotMet
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.promotion.policy import policies_at, read_policies
from gitml.promotion.rule import Case, Policies, Rule
from gitml.promotion.verdict import Check
from gitml.testing.sealed import GitRepository
from tests.reviewed import Reviewed

HEAD = '[project]\nid = "P"\n[metrics.accuracy]\ndirection = "max"\n'


def read(require: str, more: str = "") -> Policies:
    text = f"{HEAD}[policy.production]\nrequire = {require}\n{more}"
    return read_policies(config.parse(text.encode(), Path(config.FILE)))


def test_rules_are_read_with_their_settings_whatever_their_order() -> None:
    found = read('[{ min = 0.9, metric = "accuracy" }, { passed = "staging", for = "7d" }]')
    first, second = found.stages["production"].rules
    assert first.settings() == {"metric": "accuracy", "min": 0.9}
    assert second.settings() == {"passed": "staging", "for": "7d"}
    assert (first.expects(), second.expects()) == ("at least 0.9", "held staging for 7d")
    assert (first.check_name(), second.check_name()) == ("metric accuracy", "passed staging")


def test_the_digest_is_of_all_that_decides() -> None:
    rules = '[{ metric = "accuracy", min = 0.9 }]'
    one = read(rules)
    assert one.stages["production"].digest == read(rules).stages["production"].digest
    others = [
        read('[{ metric = "accuracy", min = 0.8 }]'),
        read(rules, '[groups]\nowners = ["ada@example.org"]'),
    ]
    digests = {o.stages["production"].digest for o in (one, *others)}
    assert len(digests) == 3
    assert all(digest.startswith("sha256:") for digest in digests)


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ('"strict"', r"policy\.production\.require should be a list .* the form is"),
        ('["strict"]', r"policy\.production\.require\[1\] should be a table; the form is"),
        ("[{}]", r"require\[1\] should be a table"),
        ("[{ metrik = 1 }]", r"require\[1\]: no check is called `metrik`"),
        (
            '[{ metric = "accuracy", min = 0.9 }, { metric = "accuracy", min = "0.9" }]',
            r"require\[2\]: min should be a finite number; the form is \{ metric = \"…\", min",
        ),
        ('[{ metric = "accuracy", min = nan }]', "min should be a finite number"),
        ('[{ metric = "accuracy", minimum = 1 }]', "no setting of `metric` is called `minimum`"),
        ("[{ metric = 3 }]", "metric should be text"),
        ('[{ metric = "accuracy" }]', "it asks for nothing"),
        ('[{ metric = "loss", not_worse_than = "current" }]', r"\[metrics\.loss\] should say"),
        ('[{ metric = "accuracy", min = 1, tolerance = 1 }]', "beside not_worse_than"),
        ('[{ passed = "staging", for = "a week" }]', "for should be a time"),
        ('[{ for = "7d", card = ["x"] }]', "no setting of `card` is called `for`"),
        ("[{ card = [] }]", "card should be a list of texts"),
        ('[{ stored_on = "lake" }]', r"no remote is called 'lake'; \[remotes\] has none"),
        ("[{ approvals = 1 }]", "of is missing"),
        ('[{ approvals = 0, of = "owners" }]', "approvals should be a whole number from 1"),
        ('[{ approvals = 1, of = "nobody" }]', "no group is called 'nobody'"),
        ('[{ has = "v2" }]', "it is a full commit id"),
        ('[{ via = "e-mail" }]', 'the only way there is is "pull-request"'),
    ],
)
def test_what_is_malformed_is_named_with_its_place_and_form(require: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(require)


def test_a_policy_has_rules_and_nothing_else_and_a_stage_has_a_name() -> None:
    with pytest.raises(ConfigError, match=r"policy\.production\.demand is no setting"):
        read("[]", "demand = 1")
    with pytest.raises(ConfigError, match=r"policy\.latest: a stage cannot be called 'latest'"):
        read("[]", "[policy.latest]\nrequire = []")


class Fair(Rule):
    """The version's metric is not too good to be true; a plugin's check."""

    fair: str
    above: float = 0.99

    def expects(self) -> str:
        return f"a {self.fair} below {self.above}"

    def judge(self, case: Case) -> Check:
        value = case.entry.metrics[self.fair]
        found = f"{value:.3g}"
        return self.passed(found) if value < self.above else self.failed(found, "look for a leak")


def test_a_check_of_a_plugin_is_a_word_like_any(
    reviewed: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "acme_checks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n")
    entry = f"[gitml.checks]\nfair = {__name__}:Fair\n"
    (info / "entry_points.txt").write_text(entry)
    reviewed.policy('[{ fair = "accuracy", above = 0.85 }]')
    with pytest.raises(ConfigError, match="no check is called `fair`"):
        reviewed.bob.repo().promote("clf@v1", "production", "without the plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    reviewed.bob.repo().promote("clf@v1", "production", "plausible")
    assert reviewed.record("clf@production/1")["verdict"] == {
        "ok": True,
        "checks": [{"name": "fair accuracy", "state": "passed", "found": "0.8"}],
    }
    with pytest.raises(PolicyNotMet) as caught:
        reviewed.bob.repo().promote("clf@v2", "production", "too good")
    assert caught.value.causes() == [
        "fair accuracy: 0.9; the policy asks for a accuracy below 0.85; look for a leak"
    ]
    wrong = '[{ fair = "accuracy", above = "much" }]'
    with pytest.raises(
        ConfigError, match=r"above should be a finite number; the form is \{ fair ="
    ):
        reviewed.policy(wrong, "staging")
        reviewed.bob.repo().promote("clf@v1", "staging", "malformed")


def test_policies_are_those_of_a_commit_not_of_the_work_tree(git_repository: GitRepository) -> None:
    git_repository.commit("before")
    rules = 'require = [{ metric = "accuracy", min = 0.9 }]\n'
    git_repository.write("gitml.toml", f"{HEAD}[policy.production]\n{rules}")
    changed = git_repository.commit("policy")
    git_repository.write("gitml.toml", HEAD)
    git_repository.write("other", "x")
    git_repository.git("add", "other")
    git_repository.git("commit", "--quiet", "-m", "later")
    git = Git.discover(git_repository.path)
    odb = Odb(git)
    tip, old = odb.resolve("HEAD"), odb.resolve("HEAD~2")
    assert tip is not None
    assert old is not None
    found = policies_at(git, odb, tip)
    assert found is not None
    assert list(found.stages) == ["production"]
    assert str(found.commit) == changed
    assert policies_at(git, odb, old) is None
    odb.close()
