"""Promotion by pull request, from the wish to the tag: two clones and a strict forge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    NameNotFound,
    PolicyNotMet,
    RemoteFailed,
    UsageError,
)
from gitml.repo import Repo
from tests.forges.server import TOKEN, Forge, Refusal, serving
from tests.reviewed import PATH, Reviewed
from tests.workshop import Workshop

VARIABLE = {"github": "GH_TOKEN", "gitlab": "GITLAB_TOKEN", "gitea": "GITEA_TOKEN"}


@dataclass(frozen=True)
class Shop:
    """The two clones and the server of a team, whose git remote is a forge's URL."""

    team: Reviewed
    forge: Forge

    def repo(self, one: Workshop, *, token: str | None = TOKEN, **more: str) -> Repo:
        """The repository of a clone, opened with or without the token in the environment."""
        environment = {VARIABLE[self.forge.kind]: token} if token else {}
        return one.repo({**environment, **more})

    @property
    def bob(self) -> Repo:
        return self.repo(self.team.bob)

    @property
    def alice(self) -> Repo:
        return self.repo(self.team.alice)


def shop(kind: str, team: Reviewed) -> Iterator[Shop]:
    with serving(kind, team.server.path) as forge:
        for one in (team.bob, team.alice):
            one.git("remote", "set-url", "origin", forge.url)
            one.git("config", f"gitml.127.0.0.1:{forge.port}.forge", kind)
        yield Shop(team, forge)


@pytest.fixture
def hub(reviewed: Reviewed) -> Iterator[Shop]:
    yield from shop("github", reviewed)


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_a_model_reaches_production_by_a_merge(kind: str, reviewed: Reviewed) -> None:
    for made in shop(kind, reviewed):
        reviewed.policy('[{ metric = "accuracy", min = 0.85 }, { via = "pull-request" }]')
        reviewed.alice.git("pull", "--quiet", "origin", "main")
        with pytest.raises(PolicyNotMet) as no:
            made.alice.promote("clf@v2", "production", "at once")
        assert "--pull-request" in str(no.value.causes())
        asked = made.alice.request("clf@v2", "production", "better on the tail")
        assert (asked.number, asked.branch, asked.base) == (1, "promote/clf/production", "main")
        [request] = made.forge.requests
        assert request.title == "Promote clf@v2 to production"
        assert "better on the tail" in request.body
        assert "| accuracy | 0.9 |" in request.body
        assert "```mermaid\nflowchart LR\n" in request.body
        assert "meets the policy" in request.body
        changed = made.forge.run("diff", "--stat", "main...promote/clf/production")
        assert changed.startswith(PATH)
        assert "1 file changed, 2 insertions(+)" in changed
        assert reviewed.holders() == []

        ci = reviewed.alice
        ci.git("fetch", "--quiet", "origin")
        ci.git("checkout", "--quiet", "--detach", "origin/promote/clf/production")
        number = (
            {"CI_MERGE_REQUEST_IID": "1"}
            if kind == "gitlab"
            else {"GITHUB_REF": "refs/pull/1/merge"}
        )
        first = made.repo(ci, **number).report()
        again = made.repo(ci, **number).report()
        assert first.url == again.url
        [comment] = request.comments
        assert "production: clf&#64;v2 will be promoted when this is merged" in comment["body"]

        commit = made.forge.merge(1)
        [planned] = made.repo(ci).apply_stages()
        assert planned.what == "promote"
        record = reviewed.record("clf@production/1")
        assert record["wish"] == commit
        assert record["verdict"]["ok"]  # type: ignore[index]
        assert reviewed.holders() == ["clf@v2"]


def test_doing_it_again_renews_the_one_request(hub: Shop) -> None:
    hub.bob.request("clf@v1", "production", "first")
    hub.alice.request("clf@v2", "production", "no, this one")
    again = hub.alice.request("clf@v2", "production", "no, this one")
    assert again.number == 1
    [request] = hub.forge.requests
    assert request.title == "Promote clf@v2 to production"
    assert hub.forge.run("show", f"{request.head}:{PATH}").endswith('production = "v2"')
    assert hub.forge.run("rev-list", "--count", f"main..{request.head}") == "2"


def test_the_branch_follows_the_default_branch_without_force(hub: Shop) -> None:
    hub.bob.request("clf@v1", "production", "first")
    hub.team.merge('staging = "v1"\n')
    hub.bob.request("clf@v2", "production", "second")
    head = hub.forge.requests[0].head
    assert hub.forge.run("diff", "--name-only", f"main...{head}") == PATH
    shown = hub.forge.run("show", f"{head}:{PATH}")
    assert shown == 'staging = "v1"\nproduction = "v2"'
    hub.forge.merge(1, squash=True)
    hub.bob.apply_stages()
    hub.bob.request("clf@v1", "production", "and back")
    assert hub.forge.run("diff", "--name-only", f"main...{head}") == PATH
    assert [one.state for one in hub.forge.requests] == ["merged", "open"]


def test_what_the_default_branch_wishes_already_is_not_asked_for(hub: Shop) -> None:
    hub.team.merge('production = "v2"\n')
    asked = hub.bob.request("clf@v2", "production", "again")
    assert not asked.made
    assert hub.forge.requests == []


def test_a_draft_is_pushed_and_numbered_first(hub: Shop) -> None:
    version = hub.team.bob.run("training", {"rate": 0.25}).model_version
    assert version is not None
    asked = hub.bob.request(version.label, "production", "fresh")
    assert asked.planned.label == "clf@v3"
    assert hub.forge.run("show", f"{asked.branch}:{PATH}").endswith('production = "v3"')


def test_a_dry_run_pushes_nothing(hub: Shop) -> None:
    asked = hub.bob.request("clf@v2", "production", "why", dry_run=True)
    assert (asked.made, asked.number) == (True, None)
    assert "```mermaid" in asked.text
    assert hub.forge.tip("promote/clf/production") is None


def test_without_a_token_the_page_is_named(hub: Shop) -> None:
    asked = hub.repo(hub.team.bob, token=None).request("clf@v2", "production", "why")
    assert (asked.number, asked.asked) == (None, False)
    assert asked.url is not None
    assert asked.url.startswith(f"{hub.forge.web}/shop/models/compare/main...promote%2Fclf")
    assert hub.forge.tip("promote/clf/production") is not None
    assert hub.forge.asked == []


def test_gitlab_opens_it_for_the_push_where_there_is_no_token(reviewed: Reviewed) -> None:
    for made in shop("gitlab", reviewed):
        asked = made.repo(reviewed.bob, token=None).request("clf@v2", "production", "why")
        assert asked.asked
        [request] = made.forge.requests
        assert (request.head, request.title) == (asked.branch, "Promote clf@v2 to production")
        made.forge.run("config", "receive.advertisePushOptions", "false")
        later = made.repo(reviewed.bob, token=None).request("clf@v1", "staging", "why")
        assert later.url is not None
        assert made.forge.tip("promote/clf/staging") is not None


def test_a_remote_that_is_no_forge_gets_the_branch(reviewed: Reviewed) -> None:
    asked = reviewed.bob.repo().request("clf@v2", "production", "why")
    assert (asked.number, asked.url, asked.made) == (None, None, True)
    assert reviewed.server.git("rev-parse", "promote/clf/production")
    with pytest.raises(UsageError, match="nothing is known of a forge") as no:
        reviewed.bob.git("fetch", "--quiet", "origin")
        reviewed.bob.git("switch", "--quiet", "promote/clf/production")
        reviewed.bob.repo().report(1)
    assert "gitml.HOST.forge" in (no.value.hint or "")


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal(401, "Bad credentials"), AuthenticationFailed),
        (Refusal(404, "Not Found"), NameNotFound),
        (Refusal(422, "Validation Failed"), RemoteFailed),
        (Refusal(429, "slow", Retry_After="600"), RemoteFailed),
    ],
)
def test_a_forge_that_refuses_leaves_the_branch_and_the_same_again_goes_on(
    hub: Shop, refusal: Refusal, expected: type[Exception]
) -> None:
    hub.forge.failures.append(refusal)
    with pytest.raises(expected):
        hub.bob.request("clf@v2", "production", "why")
    assert hub.forge.tip("promote/clf/production") is not None
    assert hub.bob.request("clf@v2", "production", "why").number == 1


def test_a_roll_back_opens_the_revert_and_an_emergency_does_not_wait(hub: Shop) -> None:
    worse = '{ metric = "accuracy", not_worse_than = "current" }'
    hub.team.policy(f'[{worse}, {{ via = "pull-request" }}]')
    for which in ("v1", "v2"):
        asked = hub.bob.request(f"clf@{which}", "production", which)
        hub.forge.merge(asked.number or 0)
        hub.bob.apply_stages()
    repo = hub.bob
    assert repo.needs_request("production")
    assert not repo.needs_request("staging")
    with pytest.raises(PolicyNotMet):
        repo.rollback("clf", "production")
    asked = repo.request_back("clf", "production", "too slow")
    assert hub.forge.requests[-1].title == "Roll back production of clf to v1"
    assert asked.planned.verdict is not None
    assert asked.planned.verdict.ok  # worse than the holder, but it comes back
    repo.rollback("clf", "production", "the shop is down", emergency=True)
    record = hub.team.record("clf@production/3")
    assert (record["hold"], record["restores"]) == (True, 1)
    assert hub.team.holders() == ["clf@v1", "clf@v2", "clf@v1"]

    hub.team.merge('production = "v2"\nstaging = "v2"\n')  # an old request, merged all the same
    planned = hub.bob.apply_stages()
    assert [one.what for one in planned] == ["held", "promote"]
    assert hub.team.holders()[-1] == "clf@v1"
    hub.team.merge('production = "v1"\nstaging = "v2"\n')
    assert [one.what for one in hub.bob.apply_stages()] == ["done", "done"]
    hub.team.merge('production = "v2"\nstaging = "v2"\n')
    assert [one.what for one in hub.bob.apply_stages()] == ["promote", "done"]
    assert hub.team.holders()[-1] == "clf@v2"


def test_an_emergency_goes_back_and_nowhere_else(hub: Shop) -> None:
    hub.team.policy('[{ via = "pull-request" }]')
    hub.team.merge('production = "v1"\n')
    hub.bob.apply_stages()
    with pytest.raises(UsageError, match="nothing held production of clf before"):
        hub.bob.rollback("clf", "production", "oh", emergency=True)


def test_a_squash_merge_is_a_wish_like_any(hub: Shop) -> None:
    hub.bob.request("clf@v2", "production", "why")
    commit = hub.forge.merge(1, squash=True)
    hub.alice.apply_stages()
    assert hub.team.record("clf@production/1")["wish"] == commit


def test_a_report_of_what_is_wrong_says_so_and_is_not_ok(hub: Shop) -> None:
    alice = hub.team.alice
    alice.git("switch", "--quiet", "--create", "hand")
    alice.write(PATH, 'production = "v9"\n')
    alice.write("promotions/bad.toml", "production = v1\n")
    alice.commit("by hand")
    alice.git("push", "--quiet", "origin", "hand")
    hub.forge.add("hand", "main", "by hand", "")
    done = hub.alice.report()  # the branch's own request is found
    [comment] = hub.forge.requests[0].comments
    assert done.url is not None
    assert "production: clf&#64;v9 cannot mean anything" in comment["body"]
    assert "promotions/bad.toml:1:" in comment["body"]
    errors = [one.refusal() for one in done.planned]
    assert [type(error) for error in errors] == [ConfigError, NameNotFound]


def test_a_report_of_nothing_writes_nothing(hub: Shop) -> None:
    done = hub.alice.report(1)
    assert (done.planned, done.url) == ((), None)
    assert not any("comments" in one for one in hub.forge.asked)


def test_the_text_of_a_hostile_reason_is_text(hub: Shop) -> None:
    hub.bob.request("clf@v2", "production", "<img src=x> @everyone | `rm`\n# no")
    body = hub.forge.requests[0].body
    assert "<img" not in body
    assert "@everyone" not in body
    assert "\n# no" not in body


def test_nobody_looks_for_a_token_before_a_policy_asks_who_approved(
    hub: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object) -> None:
        raise AssertionError("a program was asked for a token")

    hub.team.merge('production = "v2"\n')
    monkeypatch.setattr("gitml.git.credentials.program_answer", no)
    repo = hub.repo(hub.team.alice, token=None)
    assert [one.what for one in repo.plan_stages()] == ["promote"]
    assert [one.what for one in repo.apply_stages()] == ["promote"]


def test_two_of_a_group_approve_on_the_forge(hub: Shop) -> None:
    groups = '\n[groups]\nowners = ["carol", "dave@example.org dave", "erin"]\n'
    text = (hub.team.bob.path / "gitml.toml").read_text()
    hub.team.merge(text + groups, "owners", "gitml.toml")
    hub.team.policy('[{ approvals = 2, of = "owners" }]')
    hub.bob.request("clf@v2", "production", "why")
    for who in ("carol", "frank"):
        hub.forge.approve(1, who)
    hub.forge.merge(1)
    (planned,) = hub.bob.apply_stages()
    assert planned.what == "refused"
    assert planned.verdict is not None
    check = planned.verdict.checks[0]
    assert (check.found, check.detail) == ("carol on github", "not of owners: frank")
    with pytest.raises(PolicyNotMet) as caught:
        hub.bob.promote("clf@v2", "production", "past them")
    assert "approvals come by a pull request" in caught.value.causes()[0]
    # Who approved another request, merged later, approved of nothing here.
    hub.bob.request("clf@v2", "staging", "why")
    for who in ("dave", "erin"):
        hub.forge.approve(2, who)
    hub.forge.merge(2)
    assert [one.what for one in hub.bob.apply_stages()] == ["refused", "promote"]
    hub.forge.approve(1, "dave")
    assert [one.what for one in hub.bob.apply_stages()] == ["promote", "done"]
    assert hub.team.holders() == ["clf@v2"]
