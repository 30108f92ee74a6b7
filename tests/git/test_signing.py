"""Tags signed and verified by git's own ssh and gpg, against signers that are handed in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gitml.errors import UsageError
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.signing import Signature, Signer, Signers, Verifier
from gitml.testing.sealed import GitRepository
from tests.promotion.signing import allowed, needs_gpg, needs_ssh, ssh_key

WHEN = 1767323050  # 2026-01-02


@pytest.fixture
def git(git_repository: GitRepository) -> Git:
    git_repository.commit("first")
    return Git.discover(git_repository.path)


def unsigned(git: Git) -> bytes:
    odb = Odb(git)
    commit = odb.resolve("HEAD")
    odb.close()
    lines = [f"object {commit}", "type commit", "tag clf@production/1"]
    lines += [f"tagger Ada Example <ada@example.org> {WHEN} +0000", "", "clf production 1", ""]
    return "\n".join([*lines, '{"n": 1}\n']).encode()


def found(git: Git, signers: Signers, data: bytes) -> Signature:
    with Verifier(git, signers) as verifier:
        return verifier.verify(data)


@needs_ssh
def test_ssh(git: Git, git_repository: GitRepository, tmp_path: Path) -> None:
    key, other = ssh_key(tmp_path / "keys", "ada"), ssh_key(tmp_path / "keys", "eve")
    git_repository.git("config", "gpg.format", "ssh")
    git_repository.git("config", "user.signingKey", f"{key}.pub")
    git = Git.discover(git_repository.path)
    data = unsigned(git)
    signed = Signer(git).sign(data)
    assert signed.startswith(data)
    assert git_repository.git("for-each-ref", "refs/tags") == ""
    ours = allowed(("ada@example.org", key)).encode()
    good = found(git, Signers(ours), signed)
    assert (good.state, good.who) == ("good", "ada@example.org")
    assert good.key.startswith("SHA256:")
    theirs = allowed(("eve@example.org", other)).encode()
    assert found(git, Signers(theirs), signed).state == "stranger"
    assert found(git, Signers(), signed).state == "stranger"
    old = allowed(("ada@example.org", key), options='valid-before="20260101"').encode()
    expired = found(git, Signers(old), signed)
    assert (expired.state, expired.who) == ("expired", "ada@example.org")
    still = allowed(("ada@example.org", key), options='valid-before="20260201"').encode()
    assert found(git, Signers(still), signed).state == "good"
    public = key.with_name("ada.pub").read_bytes()
    assert found(git, Signers(ours, public), signed).state == "revoked"
    assert found(git, Signers(ours), signed.replace(b'"n": 1', b'"n": 2')).state == "bad"
    assert found(git, Signers(ours), data).state == "none"


@needs_gpg
def test_gpg(
    git: Git,
    git_repository: GitRepository,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    for who in ("ada", "eve"):
        gpg("--passphrase", "", "--quick-generate-key", f"{who} <{who}@example.org>", "ed25519")
    try:
        git_repository.git("config", "user.signingKey", "ada@example.org")
        git = Git.discover(git_repository.path)
        data = unsigned(git)
        signed = Signer(git).sign(data)
        keys = {who: gpg("--armor", "--export", f"{who}@example.org") for who in ("ada", "eve")}
        good = found(git, Signers(gpg=keys["ada"]), signed)
        assert (good.state, good.who) == ("good", "ada@example.org")
        assert found(git, Signers(gpg=keys["eve"]), signed).state == "stranger"
        altered = signed.replace(b'"n": 1', b'"n": 2')
        assert found(git, Signers(gpg=keys["ada"]), altered).state == "bad"
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def gpg(*arguments: str) -> bytes:
    command = ["gpg", "--batch", "--quiet", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@needs_ssh
def test_without_a_key_the_way_to_one_is_shown(
    git_repository: GitRepository, tmp_path: Path
) -> None:
    git_repository.commit("first")
    git_repository.git("config", "gpg.format", "ssh")
    git = Git.discover(git_repository.path)
    with pytest.raises(UsageError, match="git knows no key of yours") as caught:
        Signer(git).sign(unsigned(git))
    assert "user.signingKey" in (caught.value.hint or "")
    git_repository.git("config", "user.signingKey", str(tmp_path / "none.pub"))
    git = Git.discover(git_repository.path)
    with pytest.raises(UsageError, match="git cannot sign the tag with your key"):
        Signer(git).sign(unsigned(git))
