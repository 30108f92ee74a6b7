"""Runs and versions that are signed, and what verifying and a policy say of those that are not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from gitml.errors import NotTrusted, PolicyNotMet, UsageError
from tests.promotion.signing import allowed, needs_ssh, ssh_key
from tests.workshop import Workshop

pytestmark = needs_ssh


@pytest.fixture
def signing(workshop: Workshop, tmp_path: Path) -> Workshop:
    """A project whose runs Ada signs, by a setting of hers."""
    keys = tmp_path / "keys"
    for who in ("ada", "eve"):
        ssh_key(keys, who)
    workshop.write("allowed_signers", allowed(("ada@example.org", keys / "ada")))
    workshop.training()
    workshop.git("config", "gpg.format", "ssh")
    workshop.git("config", "user.signingKey", str(keys / "ada.pub"))
    workshop.git("config", "gitml.signRuns", "true")
    return workshop


def require(workshop: Workshop, text: str) -> None:
    file = workshop.path / "gitml.toml"
    file.write_text(f"{file.read_text()}\n{text}\n")
    workshop.commit("settings")


def words(error: BaseException) -> str:
    return " ".join(error.causes()) if isinstance(error, PolicyNotMet) else str(error)


def test_a_run_and_its_version_are_signed_and_verified(signing: Workshop) -> None:
    run = signing.run()
    for commit in (run.id, signing.git("rev-parse", "clf@v1^{commit}")):
        assert "\ngpgsig -----BEGIN SSH SIGNATURE-----" in signing.git(
            "cat-file", "commit", str(commit)
        )
    steps = [one["commit"] for one in signing.record(run.id, "run.json")["steps"]]
    assert all("gpgsig" not in signing.git("cat-file", "commit", one) for one in steps)
    found = signing.repo().verify(run.id.short)
    assert [(one.name, one.signature.who) for one in found.signed] == [
        (f"run {run.id.short}", "ada@example.org")
    ]
    assert len(signing.repo().verify("clf@v1").signed) == 2
    assert signing.problems() == []
    lines = signing.path / "allowed_signers"
    signing.git("config", "gpg.ssh.allowedSignersFile", str(lines))
    signing.git("verify-commit", str(run.id))
    signing.git("fsck", "--strict")


def test_nothing_is_signed_unless_it_is_asked_for(signing: Workshop) -> None:
    signing.git("config", "--unset", "gitml.signRuns")
    signing.git("config", "commit.gpgSign", "true")
    run = signing.run()
    assert "gpgsig" not in signing.git("cat-file", "commit", str(run.id))
    assert signing.repo().verify("clf@v1").signed == ()


def test_the_first_unsigned_record_below_a_version_is_named(signing: Workshop) -> None:
    signing.git("config", "gitml.signRuns", "false")
    run = signing.run()
    signing.git("config", "--unset", "gitml.signRuns")
    require(signing, "[signing]\nruns = true")
    with pytest.raises(
        NotTrusted, match=r"stands on version \w{12}, which is not signed"
    ) as caught:
        signing.repo().verify("clf@v1")
    assert caught.value.exit_code == 5
    with pytest.raises(NotTrusted, match=f"run {run.id.short}, which is not signed"):
        signing.repo().verify(run.id.short)
    signing.run(cache=False)
    assert len(signing.repo().verify("clf@v2").signed) == 2


def test_a_key_that_the_project_does_not_list_is_as_good_as_none(
    signing: Workshop, tmp_path: Path
) -> None:
    signing.git("config", "user.signingKey", str(tmp_path / "keys/eve.pub"))
    run = signing.run()
    (one,) = signing.repo().verify(run.id.short).signed
    assert one.signature.state == "stranger"
    require(signing, "[signing]\nruns = true")
    with pytest.raises(NotTrusted, match="nobody's here"):
        signing.repo().verify("clf@v1")


def test_a_run_signed_with_a_revoked_key_is_refused(signing: Workshop, tmp_path: Path) -> None:
    run = signing.run()
    shutil.copy(tmp_path / "keys/ada.pub", signing.path / "revoked_signers")
    signing.commit("revoke")
    with pytest.raises(NotTrusted, match=f"run {run.id.short}: key .* is revoked"):
        signing.repo().verify(run.id.short)


def test_a_policy_asks_for_signed_runs(signing: Workshop) -> None:
    require(signing, '[policy.production]\nrequire = [{ lineage = "signed" }]')
    signing.git("config", "gitml.signRuns", "false")
    signing.run()
    with pytest.raises(PolicyNotMet) as caught:
        signing.repo().promote("clf@v1", "production", "why")
    assert re.search(r"version \w{12} is not signed", words(caught.value))
    signing.git("config", "gitml.signRuns", "true")
    signing.run(cache=False)
    signing.repo().promote("clf@v2", "production", "why")
    assert len(signing.repo().verify("clf@production").signed) == 2


def test_a_run_without_a_key_does_not_begin(signing: Workshop) -> None:
    signing.git("config", "--unset", "user.signingKey")
    before = signing.refs()
    error = signing.fails()
    assert isinstance(error, UsageError)
    assert "the record is to be signed, and git knows no key of yours" in error.message
    assert "`git config gitml.signRuns false`" in str(error.hint)
    assert signing.refs() == before


def test_a_key_that_goes_during_the_run_costs_no_result(signing: Workshop) -> None:
    key = Path(signing.git("config", "user.signingKey"))
    signing.code(
        "pipelines/training.py",
        f"""
        import os
        from gitml import Model, pipeline, step


        @step
        def train() -> int:
            os.remove({str(key.with_suffix(""))!r})
            return 1


        @pipeline(model=Model("clf"))
        def training():
            train()
        """,
    )
    notes: list[str] = []
    run = signing.run(tell=lambda event: notes.extend(event.notes))
    assert run.status == "completed"
    assert run.model_version is not None
    assert "gpgsig" not in signing.git("cat-file", "commit", str(run.id))
    assert any("is not signed: git cannot sign the record" in one for one in notes)


def test_numbers_that_a_run_gives_are_signed_where_tags_are(signing: Workshop) -> None:
    require(signing, "[signing]\ntags = true")
    signing.run()
    (link,) = signing.repo().verify("clf@v1").links
    assert link.signature.who == "ada@example.org"


def test_what_cannot_be_verified_is_told(signing: Workshop) -> None:
    signing.run()
    with pytest.raises(UsageError, match="clf is a model") as caught:
        signing.repo().verify("clf")
    assert "gitml verify clf@latest" in str(caught.value.hint)
    with pytest.raises(UsageError, match="table is an artifact"):
        signing.repo().verify("table")
