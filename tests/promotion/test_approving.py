"""Approvals by signed commits: n of a group, of the wish that stands, and of no other."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import PolicyNotMet
from gitml.git.process import Git
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.promotion.approving import trailer
from gitml.promotion.planning import PlannedMove
from gitml.promotion.rule import Approval, Evidence
from gitml.promotion.verdict import Check
from tests.promotion.signing import allowed, needs_ssh, ssh_key
from tests.reviewed import PATH, Reviewed

pytestmark = needs_ssh

TWO = '[{ approvals = 2, of = "owners", from = "commits" }]'


class Owners:
    """A reviewed team whose production wants two of three owners, and their keys."""

    def __init__(self, team: Reviewed, keys: Path) -> None:
        self.team = team
        self.keys = keys

    def settle(self, require: str = TWO) -> None:
        bob = self.team.bob
        people = ("ada", "cleo", "dan", "eve")
        bob.write("allowed_signers", allowed(*((f"{p}@x.org", self.keys / p) for p in people)))
        with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
            file.write('\n[groups]\nowners = ["ada@x.org ada", "cleo@x.org", "dan@x.org dan"]\n')
        bob.commit("owners")
        bob.git("push", "--quiet", "origin", "HEAD:main")
        self.team.policy(require)

    def commit(self, who: str | None, message: str, *more: str) -> None:
        """A commit of Bob's clone, signed by somebody, on what is checked out there."""
        key = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.keys / str(who)}.pub"]
        sign = ["-S"] if who else ["--no-gpg-sign"]
        asked = ("commit", "--quiet", "--allow-empty", *sign, "-m", message, *more)
        self.team.bob.git(*(key if who else []), *asked)

    def approve(self, who: str | None, version: str = "v2", stage: str = "production") -> None:
        commit = self.team.bob.repo().names.version("clf", version)
        self.commit(who, f"Approve\n\n{trailer('clf', stage, commit)}")

    def wish(self, text: str, who: str | None = None) -> None:
        self.team.bob.write(PATH, text)
        self.team.bob.git("add", PATH)
        self.commit(who, "wish")

    def push(self) -> None:
        self.team.bob.git("push", "--quiet", "origin", "HEAD:main")

    def planned(self) -> PlannedMove:
        (found,) = (p for p in self.team.alice.repo().plan_stages() if p.stage == "production")
        return found

    def check(self) -> Check:
        verdict = self.planned().verdict
        assert verdict is not None
        return verdict.checks[-1]


@pytest.fixture(scope="module")
def keys_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owners") / "keys"
    for who in ("ada", "cleo", "dan", "eve", "mallory"):
        ssh_key(folder, who)
    return folder


@pytest.fixture
def owners(reviewed: Reviewed, keys_once: Path, tmp_path: Path) -> Iterator[Owners]:
    shutil.copytree(keys_once, tmp_path / "keys")
    made = Owners(reviewed, tmp_path / "keys")
    made.settle()
    yield made


def test_two_owners_sign_and_the_wish_is_carried_out(owners: Owners) -> None:
    owners.wish('production = "v2"\n', "ada")
    owners.push()
    check = owners.check()
    assert (check.state, check.found[:12]) == ("failed", "ada@x.org by")
    commit = owners.team.bob.repo().names.version("clf", "v2")
    assert f'--trailer "{trailer("clf", "production", commit)}"' in check.detail
    owners.approve("cleo")
    owners.push()
    assert owners.check().state == "passed"
    assert [one.what for one in owners.team.alice.repo().apply_stages()] == ["promote"]
    assert owners.team.holders() == ["clf@v2"]


def test_what_is_no_approval(owners: Owners) -> None:
    owners.wish('production = "v2"\n', "ada")
    for who, version, stage in (
        (None, "v2", "production"),  # nobody signed
        ("ada", "v2", "production"),  # the same person again
        ("mallory", "v2", "production"),  # a key of nobody's
        ("cleo", "v1", "production"),  # another version
        ("cleo", "v2", "staging"),  # another stage
        ("eve", "v2", "production"),  # somebody else
    ):
        owners.approve(who, version, stage)
    owners.push()
    check = owners.check()
    assert (check.state, check.detail) == ("failed", "not of owners: eve@x.org")
    assert check.found.startswith("ada@x.org by")
    with pytest.raises(PolicyNotMet):
        raise owners.planned().refusal() or AssertionError
    assert [one.what for one in owners.team.alice.repo().apply_stages()] == ["refused"]


def test_an_approval_is_of_one_wish_and_not_of_the_next(owners: Owners) -> None:
    owners.approve("dan")  # before anybody wished for it
    owners.wish('production = "v2"\n', "ada")
    owners.push()
    assert owners.check().state == "failed"
    owners.approve("dan")
    owners.push()
    assert owners.check().state == "passed"
    owners.wish('production = "v1"\n', "ada")
    owners.wish('production = "v2"\n', "ada")
    owners.push()
    assert owners.check().state == "failed"


def test_a_wish_for_another_stage_brings_no_approval_along(owners: Owners) -> None:
    owners.wish('production = "v2"\n')
    owners.wish('production = "v2"\nstaging = "v2"\n', "ada")
    owners.commit("cleo", "other work of hers")
    owners.push()
    assert (owners.check().state, owners.check().found) == ("failed", "nobody")


def test_approvals_on_a_branch_count_before_and_behind_the_merge(owners: Owners) -> None:
    bob = owners.team.bob
    bob.git("switch", "--quiet", "--create", "promote/clf/production")
    owners.wish('production = "v2"\n')
    owners.approve("ada")
    owners.approve("dan")
    (found,) = bob.repo().plan_stages()
    assert found.what == "promote"
    bob.git("switch", "--quiet", "main")
    bob.git("merge", "--quiet", "--no-ff", "-m", "merge", "promote/clf/production")
    owners.push()
    assert owners.check().state == "passed"


def test_a_server_sees_for_itself_who_signed(owners: Owners) -> None:
    """The tag of somebody who judged more kindly than the server does not go in."""
    owners.wish('production = "v2"\n', "ada")
    owners.push()
    alice = owners.team.alice
    install(Git.discover(owners.team.server.path), sys.executable, SERVER_EVENTS)
    owners.approve("cleo")  # which only Bob has
    bob = owners.team.bob.repo()
    promoter = bob._promoter(dry_run=False)
    promoter.wished = lambda model: bob.odb.resolve("HEAD~1")
    online = bob._online(None)
    assert online is not None
    planner = bob._planner(None)
    planned = planner.of_stage("clf", "production")
    assert planned is not None
    promoter.evidence, promoter.online = planner.evidence(planned), online
    with pytest.raises(PolicyNotMet, match="origin refuses") as caught:
        promoter.promote("clf", "v2", "production", "kindly")
    assert "approvals owners: ada@x.org" in str(caught.value.__cause__)
    owners.push()
    assert [one.what for one in alice.repo().apply_stages()] == ["promote"]


def test_what_a_server_cannot_see_it_believes_of_a_signed_move_alone(owners: Owners) -> None:
    """Who approved on a forge stands in the record, which anybody can write who may push."""
    rule = '{ approvals = 1, of = "owners", from = "forge" }'
    team = owners.team
    toml = (team.bob.path / "gitml.toml").read_text().replace(TWO, f"[{rule}]")
    team.merge(toml, "forge", "gitml.toml")
    owners.wish('production = "v2"\n')
    owners.push()
    install(Git.discover(team.server.path), sys.executable, SERVER_EVENTS)

    def promote() -> None:
        repo = team.bob.repo()
        online = repo._required_online(None)
        online.look()
        promoter = repo._promoter(dry_run=False, online=online)
        said = Approval("ada", "on github")
        promoter.evidence = Evidence(via="pull-request", approvals=lambda: [said])
        promoter.promote("clf", "v2", "production", "x")

    with pytest.raises(PolicyNotMet, match="origin refuses") as caught:
        promote()
    assert "approvals owners: nobody has looked" in str(caught.value.__cause__)
    team.merge(toml.replace(rule, f"{rule}, {{ signed = true }}"), "signed", "gitml.toml")
    team.bob.git("config", "gpg.format", "ssh")
    team.bob.git("config", "user.signingKey", f"{owners.keys / 'ada'}.pub")
    promote()
    assert team.holders() == ["clf@v2"]
