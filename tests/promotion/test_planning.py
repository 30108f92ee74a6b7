"""What becomes of wishes: carried out once, and not over a roll-back or an emergency."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

import pytest

from gitml.entities.records import Version
from gitml.errors import ConfigError, GitmlError, NameNotFound, PolicyNotMet
from gitml.git.refs import Change
from gitml.promotion.online import Online
from gitml.promotion.planning import PlannedMove
from gitml.promotion.promote import Move
from gitml.repo import Repo
from tests.reviewed import PATH, Reviewed
from tests.workshop import Workshop


def states(planned: list[PlannedMove]) -> dict[str, str]:
    return {one.stage: one.what for one in planned}


def test_a_wish_is_carried_out_and_says_which(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob, reviewed.alice
    commit = reviewed.merge('production = "v2"\n', "v2 is better")
    [planned] = alice.repo().plan_stages()
    assert (planned.what, planned.label, planned.holder) == ("promote", "clf@v2", None)
    told = []
    alice.repo().apply_stages(tell=lambda one, move: told.append((one.what, move)))
    [(what, move)] = told
    assert (what, move.tag) == ("promote", "clf@production/1")
    found = reviewed.record("clf@production/1")
    assert found["wish"] == commit
    assert found["reason"] == f"v2 is better ({commit[:12]}, Ada Example)"
    assert states(alice.repo().apply_stages()) == {"production": "done"}
    assert states(bob.repo().plan_stages()) == {"production": "done"}


def test_a_dry_run_moves_nothing(reviewed: Reviewed) -> None:
    alice = reviewed.alice
    reviewed.merge('production = "v2"\n')
    assert states(alice.repo().apply_stages(dry_run=True)) == {"production": "promote"}
    assert "production" not in alice.repo().model("clf").stages


def test_a_roll_back_is_not_undone_by_the_next_merge(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob, reviewed.alice
    for which in ("v1", "v2"):
        reviewed.merge(f'production = "{which}"\n')
        alice.repo().apply_stages()
    alice.repo().rollback("clf", "production", "too slow")
    reviewed.merge('production = "v2"\nstaging = "v2"\n')
    assert states(bob.repo().apply_stages()) == {"production": "kept", "staging": "promote"}
    assert reviewed.holders() == ["clf@v1", "clf@v2", "clf@v1"]
    reviewed.merge('production = "v1"\nstaging = "v2"\n')
    assert states(bob.repo().apply_stages()) == {"production": "done", "staging": "done"}
    reviewed.merge('production = "v2"\nstaging = "v2"\n')  # and now it is meant again
    assert states(bob.repo().apply_stages()) == {"production": "promote", "staging": "done"}
    assert reviewed.holders()[-1] == "clf@v2"


def test_one_wrong_wish_keeps_no_other_from_being_done(reviewed: Reviewed) -> None:
    bob = reviewed.bob
    reviewed.merge('production = "v9"\nstaging = "v2"\n')
    bob.write("promotions/reg.toml", 'production = "v1"\n')
    bob.write("promotions/bad.toml", "production = v1\n")
    bob.commit("more")
    bob.git("push", "--quiet", "origin", "HEAD:main")
    planned = bob.repo().apply_stages()
    assert [(one.model, one.stage, one.what) for one in planned] == [
        ("bad", "", "wrong"),
        ("clf", "production", "wrong"),
        ("clf", "staging", "promote"),
        ("reg", "production", "wrong"),
    ]
    bad, unknown, _, no_model = (one.refusal() for one in planned)
    assert isinstance(bad, ConfigError)
    assert isinstance(unknown, NameNotFound)
    assert 'promotions/clf.toml says production = "v9", but' in str(unknown)
    assert "no model is called `reg`" in str(no_model)
    assert reviewed.holders("staging") == ["clf@v2"]


def test_a_branch_is_planned_as_if_it_were_merged(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob, reviewed.alice
    reviewed.merge('production = "v1"\nstaging = "v1"\n')
    alice.git("pull", "--quiet", "--rebase", "origin", "main")
    alice.git("switch", "--quiet", "--create", "try")
    alice.write(PATH, 'production = "v2"\nstaging = "v1"\n')
    alice.commit("v2")
    bob.repo().apply_stages()
    bob.repo().promote("clf@v2", "staging", "by hand")
    assert states(alice.repo().plan_stages()) == {"production": "promote", "staging": "kept"}
    assert states(alice.repo().apply_stages()) == {"production": "done", "staging": "kept"}


def test_a_shallow_clone_refuses_and_names_the_fetch(reviewed: Reviewed) -> None:
    reviewed.merge('production = "v2"\n')
    shallow = reviewed.clone("shallow", "--depth=1")
    for call in (shallow.repo().plan_stages, shallow.repo().apply_stages):
        with pytest.raises(PolicyNotMet, match="shallow clone") as caught:
            call()
        assert "git fetch --unshallow --tags" in (caught.value.hint or "")


def test_a_detached_checkout_of_the_branch_will_do(reviewed: Reviewed) -> None:
    reviewed.merge('production = "v2"\n')
    ci = reviewed.clone("ci")
    ci.git("checkout", "--quiet", "--detach", "origin/main")
    assert states(ci.repo().apply_stages()) == {"production": "promote"}
    assert reviewed.holders() == ["clf@v2"]


def test_a_branch_that_was_rewritten_is_not_guessed_at(reviewed: Reviewed) -> None:
    bob, alice = reviewed.bob, reviewed.alice
    reviewed.merge('production = "v1"\n')
    alice.repo().apply_stages()
    bob.write(PATH, 'production = "v2"\n')
    bob.git("add", PATH)
    bob.git("commit", "--quiet", "--amend", "-m", "rewritten")
    bob.git("push", "--quiet", "--force", "origin", "HEAD:main")
    [planned] = alice.repo().apply_stages()
    assert planned.what == "wrong"
    assert "no longer part of the branch" in planned.why
    assert isinstance(planned.refusal(), GitmlError)
    assert reviewed.holders() == ["clf@v1"]


def test_without_a_remote_the_wishes_of_head_count(reviewed: Reviewed) -> None:
    models = reviewed.bob
    models.git("remote", "remove", "origin")
    models.write(PATH, 'production = "v2"\n')
    models.commit("wish")
    assert states(models.repo().apply_stages()) == {"production": "promote"}
    assert states(models.repo().plan_stages()) == {"production": "done"}


def test_an_apply_that_broke_off_half_way_is_finished_by_the_same_again(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewed.merge('canary = "v1"\nproduction = "v2"\nstaging = "v2"\n')
    real, made = Online.create, []

    def create(self: Online, changes: Sequence[Change]) -> list[Change]:
        if made:
            raise GitmlError("the connection broke off")
        made.append(changes)
        return real(self, changes)

    with monkeypatch.context() as patch:
        patch.setattr(Online, "create", create)
        with pytest.raises(GitmlError, match="broke off"):
            reviewed.alice.repo().apply_stages()
    assert reviewed.holders("canary") == ["clf@v1"]
    assert reviewed.holders() == []
    found = states(reviewed.bob.repo().apply_stages())
    assert found == {"canary": "done", "production": "promote", "staging": "promote"}
    assert reviewed.holders() == ["clf@v2"]


def test_no_stage_takes_a_version_whose_bytes_are_nowhere(reviewed: Reviewed) -> None:
    """Without a policy as well: here or on the remote; where that cannot be told, it is said."""
    lake = reviewed.folder / "another"
    before = reviewed.bob.repo().remote("lake").url
    shutil.copytree(before.removeprefix("file://"), lake)
    toml = (reviewed.bob.path / "gitml.toml").read_text()
    reviewed.merge(re.sub(r'url = ".*lake"', f'url = "{lake}"', toml), "lake", "gitml.toml")
    alice = reviewed.alice
    alice.git("pull", "--quiet", "origin", "main")
    assert alice.repo().store.absent([one.output.digest for one in version(alice).artifacts])
    assert bytes_of(alice.repo().promote("clf@v1", "qa", "there")) == ("passed", "on lake", "")
    lake.rename(lake.with_name("away"))
    state, found, detail = bytes_of(alice.repo().promote("clf@v2", "qa", "not asked"))
    assert (state, found) == ("passed", "not all are here")
    assert detail.startswith("lake cannot be asked: the remote")
    shutil.copytree(lake.with_name("away"), lake)
    shutil.rmtree(lake / "parts")

    def promoted(repo: Repo, dry_run: bool) -> Move:
        return repo.promote("clf@v1", "production", "gone", dry_run=dry_run)

    def rolled_back(repo: Repo, dry_run: bool) -> Move:
        return repo.rollback("clf", "qa", dry_run=dry_run)

    for move in (promoted, rolled_back):
        with pytest.raises(PolicyNotMet, match="clf@v1 may not hold") as caught:
            move(alice.repo(), False)
        assert caught.value.exit_code == 3
        [cause] = caught.value.causes()
        assert "table, model: neither here nor on lake" in cause and "`gitml push`" in cause
        assert bytes_of(move(alice.repo(), True))[0] == "failed"
    reviewed.merge('production = "v1"\nstaging = "v2"\n')
    assert [one.what for one in alice.repo().apply_stages()] == ["refused", "refused"]
    assert bytes_of(reviewed.bob.repo().promote("clf@v1", "production", "Bob has them")) is None
    alice.repo().clear_stage("clf", "qa", "a vacancy needs no bytes")


def version(one: Workshop) -> Version:
    return one.repo().version("clf@v1").entry.record


def bytes_of(move: Move) -> tuple[str, str, str] | None:
    """What was found out about the bytes of a version, where anything was."""
    checks = move.verdict.checks if move.verdict is not None else ()
    found = [(one.state, one.found, one.detail) for one in checks if one.name == "bytes"]
    return found[0] if found else None


def test_all_bytes_are_on_the_remote_when_it_is_asked(reviewed: Reviewed) -> None:
    lake = reviewed.folder / "another"
    before = reviewed.bob.repo().remote("lake").url
    shutil.copytree(before.removeprefix("file://"), lake)
    toml = (reviewed.bob.path / "gitml.toml").read_text()
    toml = re.sub(r'url = ".*lake"', f'url = "{lake}"', toml)
    policy = '[policy.production]\nrequire = [{ stored_on = "lake" }]\n'
    reviewed.merge(f"{toml}\n{policy}", "policy", "gitml.toml")
    reviewed.bob.repo().promote("clf@v1", "production", "there")
    record = reviewed.record("clf@production/1")
    assert record["verdict"]["checks"][0]["found"] == "all are there"  # type: ignore[index]
    (next(one for one in (lake / "parts").rglob("*") if one.is_file())).unlink()
    with pytest.raises(PolicyNotMet) as caught:
        reviewed.bob.repo().promote("clf@v2", "production", "gone")
    assert "objects are not there" in caught.value.causes()[0]
    reviewed.merge('production = "v2"\n')
    assert [one.what for one in reviewed.alice.repo().apply_stages()] == ["refused"]
