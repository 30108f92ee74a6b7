"""Each forge behind the one interface, against a strict server of its kind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    NameNotFound,
    RemoteFailed,
    Unreachable,
)
from gitml.forges.base import Draft, Site
from gitml.forges.client import Api, Token
from gitml.forges.opening import KINDS, Surroundings, find_token, open_forge, site_of
from gitml.repo import Repo
from gitml.testing.sealed import GitRepository
from tests.forges.server import TOKEN, Forge, Refusal, serving

DRAFT = Draft("promote/clf/production", "main", "Promote clf@v2", "| better |")


def around(environment: dict[str, str] | None = None, **given: object) -> Surroundings:
    whole = {
        "environment": environment or {},
        "settings": {},
        "ask": lambda program: None,
        "credentials": lambda protocol, host: None,
        **given,
    }
    return Surroundings(**whole)


@pytest.fixture
def bare(git_repository: GitRepository) -> Path:
    """A bare repository with `main`, and a branch that is one commit ahead."""
    one = git_repository
    one.git("init", "--quiet", "--initial-branch=main")
    one.write("a", "1")
    one.commit("one")
    one.git("switch", "--quiet", "--create", DRAFT.branch)
    one.write("a", "2")
    one.commit("two")
    one.git("switch", "--quiet", "main")
    one.git("clone", "--quiet", "--bare", ".", "../server.git")
    return one.path.parent / "server.git"


@pytest.fixture(params=["github", "gitlab", "gitea"])
def forge(request: pytest.FixtureRequest, bare: Path) -> Iterator[Forge]:
    with serving(request.param, bare) as made:
        yield made


def opened(forge: Forge, token: str | None = TOKEN):
    kind = KINDS[forge.kind]
    site = Site(forge.kind, forge.web, forge.project)
    value = Token(f"{kind.scheme} {token}", "THE_TOKEN") if token else None
    return kind(site, Api(f"{forge.web}{forge.api}", value))


def test_one_request_a_branch_made_once_and_renewed(forge: Forge) -> None:
    ours = opened(forge)
    assert ours.find(DRAFT.branch, DRAFT.base) is None
    made = ours.open(DRAFT)
    again = ours.open(Draft(DRAFT.branch, DRAFT.base, "Promote clf@v3", "worse"))
    assert made == again == ours.find(DRAFT.branch, DRAFT.base)
    assert made.url.startswith(f"{forge.web}/{forge.project}/")
    [kept] = forge.requests
    assert (kept.title, kept.body, kept.head) == ("Promote clf@v3", "worse", DRAFT.branch)


def test_a_request_that_another_opened_meanwhile_is_taken(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = opened(forge)
    real, looks = ours.find, []

    def find(branch: str, base: str):
        looks.append(branch)
        if len(looks) == 1:
            forge.add(DRAFT.branch, DRAFT.base, "theirs", "")
            return None
        return real(branch, base)

    monkeypatch.setattr(ours, "find", find)
    assert ours.open(DRAFT).number == 1
    assert [one.title for one in forge.requests] == ["Promote clf@v2"]


def test_one_comment_is_written_and_then_changed(forge: Forge) -> None:
    ours = opened(forge)
    number = ours.open(DRAFT).number
    for at in range(130):  # more than a page of other people's
        forge.comment(number, f"number {at}")
    first = ours.comment(number, "<!-- ours -->", "<!-- ours -->\none")
    assert ours.comment(number, "<!-- ours -->", "<!-- ours -->\ntwo") == first
    asked = len(forge.asked)
    assert ours.comment(number, "<!-- ours -->", "<!-- ours -->\ntwo") == first
    assert {one.partition(" ")[0] for one in forge.asked[asked:]} == {"GET"}
    said = [one["body"] for one in forge.find(number).comments if "ours" in one["body"]]
    assert said == ["<!-- ours -->\ntwo"]
    assert first.startswith(forge.web)


def test_approvals_are_of_people_and_of_what_is_there_now(forge: Forge) -> None:
    ours = opened(forge)
    number = ours.open(DRAFT).number
    assert ours.approvals(number) == []
    forge.approve(number, "bob")
    forge.approve(number, "alice")
    forge.approve(number, "alice")
    assert ours.approvals(number) == ["alice", "bob"]


@pytest.mark.parametrize("kind", ["github", "gitea"])
def test_a_changed_mind_and_a_changed_branch_are_no_approvals(kind: str, bare: Path) -> None:
    with serving(kind, bare) as forge:
        ours = opened(forge)
        number = ours.open(DRAFT).number
        forge.approve(number, "bob")
        forge.approve(number, "alice")
        against = "CHANGES_REQUESTED" if kind == "github" else "REQUEST_CHANGES"
        forge.approve(number, "alice", state=against)
        forge.approve(number, "carol", state="COMMENTED" if kind == "github" else "COMMENT")
        assert ours.approvals(number) == ["bob"]
        forge.run("update-ref", f"refs/heads/{DRAFT.branch}", "main")
        assert ours.approvals(number) == []


def test_the_request_behind_a_merged_commit(forge: Forge) -> None:
    ours = opened(forge)
    number = ours.open(DRAFT).number
    before = forge.tip("main")
    assert before is not None
    commit = forge.merge(number)
    assert ours.request_of(commit) == number
    assert ours.request_of(before) is None
    assert ours.find(DRAFT.branch, DRAFT.base) is None


def test_a_wrong_token_and_none(forge: Forge) -> None:
    with pytest.raises(AuthenticationFailed, match="does not let the token from THE_TOKEN") as no:
        opened(forge, "wrong").open(DRAFT)
    assert "wrong" not in str(no.value) + str(no.value.hint) + str(no.value.causes())
    assert no.value.exit_code == 4
    with pytest.raises(AuthenticationFailed, match="wants a token"):
        opened(forge, None).find(DRAFT.branch, DRAFT.base)


def test_a_repository_that_is_not_there(forge: Forge) -> None:
    kind = KINDS[forge.kind]
    token = Token(f"{kind.scheme} {TOKEN}", "T")
    site = Site(forge.kind, forge.web, "shop/other")
    with pytest.raises(NameNotFound, match="or the token may not see it"):
        kind(site, Api(f"{forge.web}{forge.api}", token)).open(DRAFT)


def test_the_forges_own_words_are_the_cause(forge: Forge) -> None:
    forge.run("update-ref", f"refs/heads/{DRAFT.branch}", "main")
    with pytest.raises(RemoteFailed) as no:
        opened(forge).open(DRAFT)
    assert no.value.causes() == ["422: No commits between main and promote/clf/production"]
    assert no.value.exit_code == 1


def test_a_forge_that_wants_us_to_wait_is_waited_for(forge: Forge) -> None:
    forge.failures += [Refusal(429, "slow down", Retry_After="1"), Refusal(502, "oh")]
    began = time.monotonic()
    assert opened(forge).find(DRAFT.branch, DRAFT.base) is None
    assert 1 < time.monotonic() - began < 8


def test_one_that_wants_us_to_wait_for_long_is_not(forge: Forge) -> None:
    forge.failures += [Refusal(403, "limit", X_RateLimit_Remaining="0", Retry_After="900")]
    with pytest.raises(ConnectionLost, match="takes no more requests for 900 seconds"):
        opened(forge).find(DRAFT.branch, DRAFT.base)


def test_no_request_is_made_twice_where_it_may_have_been_made(forge: Forge) -> None:
    real = opened(forge)
    assert real.find(DRAFT.branch, DRAFT.base) is None
    with pytest.raises(ConnectionLost, match="trouble of its own"):
        forge.failures += [Refusal(500, "oh")]
        real.api.call("POST", real_path(forge), {"title": "x"})
    assert forge.requests == []


def real_path(forge: Forge) -> str:
    if forge.kind == "gitlab":
        return "/projects/shop%2Fmodels/merge_requests"
    return f"/repos/{forge.project}/pulls"


def test_a_redirect_is_not_followed_with_the_token(forge: Forge) -> None:
    forge.failures += [Refusal(301, "moved", Location="http://localhost:1/elsewhere")]
    with pytest.raises(RemoteFailed, match="sends us to http://localhost:1/elsewhere"):
        opened(forge).find(DRAFT.branch, DRAFT.base)


def test_nobody_answers(forge: Forge) -> None:
    kind = KINDS[forge.kind]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 does not answer"):
        kind(Site(forge.kind, "http://127.0.0.1:1", "a/b"), Api("http://127.0.0.1:1", None)).find(
            "a", "b"
        )


@pytest.mark.parametrize(
    ("url", "kind", "page"),
    [
        ("https://github.com/shop/models.git", "github", "https://github.com/shop/models"),
        ("git@github.com:shop/models.git", "github", "https://github.com/shop/models"),
        ("ssh://git@gitlab.com:22/shop/ml/models", "gitlab", "https://gitlab.com/shop/ml/models"),
        ("https://ada@codeberg.org/shop/models", "forgejo", "https://codeberg.org/shop/models"),
        ("https://git.example.org/shop/models", None, None),
        ("file:///srv/models.git", None, None),
        ("/srv/shop/models.git", None, None),
        ("git@git.example.org:shop/models", None, None),
    ],
)
def test_a_forge_is_known_by_its_host(url: str, kind: str | None, page: str | None) -> None:
    found = site_of(url, around())
    assert (found.kind if found else None, found.url if found else None) == (kind, page)


def test_a_host_is_what_the_user_or_the_workflow_says() -> None:
    url = "git@git.example.org:shop/models.git"
    named = around(settings={"gitml.git.example.org.forge": "forgejo"})
    site = site_of(url, named)
    assert site == Site("forgejo", "https://git.example.org", "shop/models")
    assert open_forge(site, named).api.url == "https://git.example.org/api/v1"
    elsewhere = {"gitml.git.example.org.web": "https://code.example.org"}
    moved = site_of(url, around(settings={**named.settings, **elsewhere}))
    assert moved is not None
    assert moved.web == "https://code.example.org"
    runs = {"GITHUB_SERVER_URL": "https://git.example.org"}
    assert site_of(url, around(runs)) == Site("github", "https://git.example.org", "shop/models")
    found = site_of(url, around({**runs, "GITEA_ACTIONS": "true"}))
    assert found is not None
    assert found.kind == "gitea"
    found = site_of(url, around({"GITLAB_CI": "1", "CI_SERVER_URL": "https://git.example.org"}))
    assert found is not None
    assert found.kind == "gitlab"


def test_settings_that_cannot_be_meant() -> None:
    url = "git@git.example.org:shop/models.git"
    with pytest.raises(ConfigError, match="no kind of forge is called `githup`"):
        site_of(url, around(settings={"gitml.git.example.org.forge": "githup"}))
    plain = {"gitml.git.example.org.forge": "gitea", "gitml.git.example.org.web": "http://a.org"}
    with pytest.raises(ConfigError, match="no encryption"):
        site_of(url, around(settings=plain))


def test_where_a_token_comes_from_and_where_it_goes() -> None:
    hub = Site("github", "https://github.com", "a/b")
    tokens = {"GH_TOKEN": "one", "GITHUB_TOKEN": "two", "GITLAB_TOKEN": "three"}
    assert find_token(hub, around(tokens)) == Token("Bearer one", "GH_TOKEN")
    lab = Site("gitlab", "https://gitlab.com", "a/b")
    assert find_token(lab, around(tokens)) == Token("Bearer three", "GITLAB_TOKEN")
    asked = []

    def ask(program: list[str]) -> str | None:
        asked.append(" ".join(program))
        return "four\n"

    assert find_token(hub, around(ask=ask)) == Token("Bearer four", "gh")
    assert find_token(lab, around(ask=ask)) == Token("Bearer four", "glab")
    assert asked == [
        "gh auth token --hostname github.com",
        "glab config get token --host gitlab.com",
    ]
    berg = Site("forgejo", "https://codeberg.org", "a/b")
    helper = around(credentials=lambda protocol, host: ("ada", f"{protocol}:{host}"))
    found = find_token(berg, helper)
    assert found is not None
    assert found.value == "Basic YWRhOmh0dHBzOmNvZGViZXJnLm9yZw=="
    assert "YWRh" not in repr(found)


def test_a_clone_finds_its_forge_and_the_token_on_the_users_machine(
    git_repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a setting of the user's; then the environment, before `gh`, before a credential helper."""
    one = git_repository
    one.git("init", "--quiet")
    Repo.init(one.path)
    one.git("remote", "add", "origin", "git@git.example.org:ml/shop.git")
    helper = '!f() { test "$1" = get && echo username=ada && echo password=stored; }; f'
    one.git("config", "credential.https://code.example.org.helper", helper)

    def found(**environment: str) -> tuple[str, str] | None:
        repo = Repo.discover(one.path, environment=environment)
        forge = repo._forge("origin")
        repo.close()
        token = forge.api.token if forge is not None else None
        return (token.value, token.source) if token is not None else None

    assert found(GH_TOKEN="one") is None  # nobody said what is at that host
    one.git("config", "gitml.git.example.org.forge", "github")
    one.git("config", "gitml.git.example.org.web", "https://code.example.org")
    assert found() == ("Bearer stored", "git's credential helper")
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    asked = "auth token --hostname code.example.org"
    program.write_text(f'#!/bin/sh\ntest "$*" = "{asked}" && echo gh\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert found() == ("Bearer gh", "gh")
    assert found(GH_TOKEN="own") == ("Bearer own", "GH_TOKEN")  # the setting names its host


def test_no_token_goes_to_a_host_that_nobody_named() -> None:
    other = Site("github", "https://git.example.org", "a/b")
    tokens = {"GH_TOKEN": "one", "GITHUB_TOKEN": "two", "GH_ENTERPRISE_TOKEN": "own"}
    assert find_token(other, around(tokens)) is None
    named = {**tokens, "GH_HOST": "git.example.org"}
    assert find_token(other, around(named)) == Token("Bearer own", "GH_ENTERPRISE_TOKEN")
    here = {**tokens, "GITHUB_SERVER_URL": "https://git.example.org"}
    assert find_token(other, around(here)) == Token("Bearer one", "GH_TOKEN")


def test_a_token_of_two_lines_is_none() -> None:
    site = Site("github", "https://github.com", "a/b")
    with pytest.raises(ConfigError, match="what GH_TOKEN has is no token") as no:
        find_token(site, around({"GH_TOKEN": "secret\r\nHost: evil"}))
    assert "secret" not in str(no.value)


def test_the_page_on_which_a_person_goes_on() -> None:
    pages = {kind: KINDS[kind].new_url(Site(kind, "https://x.org", "a/b"), DRAFT) for kind in KINDS}
    assert pages["github"] == (
        "https://x.org/a/b/compare/main...promote%2Fclf%2Fproduction"
        "?expand=1&title=Promote+clf%40v2"
    )
    assert pages["gitea"] == "https://x.org/a/b/compare/main...promote%2Fclf%2Fproduction"
    assert "source_branch%5D=promote%2Fclf%2Fproduction" in pages["gitlab"]
