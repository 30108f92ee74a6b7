"""Signed promotions, and what verifying finds: each attack is refused with its reason and code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import GitmlError, NameNotFound, NotTrusted, PolicyNotMet, RaceLost
from gitml.git.process import Git
from gitml.git.signing import Signer
from gitml.repo import Repo
from tests.promotion.signing import allowed, needs_ssh, ssh_key
from tests.promotion.test_promote import CODE
from tests.workshop import Copy, Workshop, model_for_copies

pytestmark = needs_ssh


class Team:
    """A repository whose production asks for signatures of owners, with keys of three people."""

    def __init__(self, workshop: Workshop, keys: Path) -> None:
        self.workshop = workshop
        self.keys = keys
        self.environment = {"XDG_STATE_HOME": str(keys.parent / "state")}

    def key(self, who: str) -> Path:
        return self.keys / who

    def sign_as(self, who: str) -> None:
        self.workshop.git("config", "user.signingKey", f"{self.key(who)}.pub")

    def repo(self) -> Repo:
        return self.workshop.repo(self.environment)

    def promote(self, version: str, stage: str = "production") -> None:
        self.repo().promote(version, stage, "better")

    def tag(self, name: str) -> bytes:
        return self.workshop.git("cat-file", "tag", name).encode() + b"\n"

    def put(self, name: str, data: bytes) -> None:
        """Make a tag be this object, as somebody who may push could."""
        text = data.decode()
        oid = self.workshop.git("hash-object", "-t", "tag", "-w", "--stdin", text=text)
        self.workshop.git("update-ref", f"refs/tags/{name}", oid)

    def verify(self, name: str = "clf@production") -> list[str]:
        return [one.name for one in self.repo().verify(name).links]

    def refused(self, said: str, name: str = "clf@production") -> GitmlError:
        with pytest.raises(NotTrusted, match=said) as caught:
            self.verify(name)
        assert caught.value.exit_code == 5
        return caught.value

    def settle(self, policy: str, signers: str, revoked: str = "") -> None:
        """Commit a policy for production and whose keys count."""
        file = self.workshop.path / "gitml.toml"
        text = file.read_text().partition("[policy.production]")[0]
        groups = '[groups]\nowners = ["ada@example.org"]\n'
        file.write_text(f"{text}[policy.production]\nrequire = {policy}\n{groups}")
        self.workshop.write("allowed_signers", signers)
        if revoked:
            self.workshop.write("revoked_signers", revoked)
        self.workshop.commit("who may promote")


@pytest.fixture(scope="module")
def signed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Path]]:
    folder = tmp_path_factory.mktemp("signed")
    for who in ("ada", "bob", "eve"):
        ssh_key(folder / "keys", who)
    with model_for_copies(folder) as made:
        made.code("pipelines/training.py", CODE)
        for rate in range(1, 4):
            made.run("training", {"rate": rate})
        yield made, folder / "keys"


@pytest.fixture
def team(signed_once: tuple[Workshop, Path], copied: Copy, tmp_path: Path) -> Team:
    """``clf`` v1 to v3; Ada and Bob are allowed signers, Ada alone is an owner."""
    made = Team(copied(signed_once[0]), tmp_path / "keys")
    shutil.copytree(signed_once[1], tmp_path / "keys")
    made.workshop.git("config", "gpg.format", "ssh")
    made.sign_as("ada")
    signers = allowed(*((f"{who}@example.org", made.key(who)) for who in ("ada", "bob")))
    made.settle('[{ signed = true, by = "owners" }]', signers)
    return made


@pytest.fixture
def three(team: Team) -> Team:
    """Three signed moves of production: v1, v2, v3."""
    for version in ("clf@v1", "clf@v2", "clf@v3"):
        team.promote(version)
    return team


def test_what_is_signed_by_an_owner_is_promoted_and_verified(three: Team) -> None:
    assert three.verify() == [f"clf@production/{n}" for n in (1, 2, 3)]
    found = three.repo().verify("clf@production")
    assert {one.signature.who for one in found.links} == {"ada@example.org"}
    assert found.records == 3  # the version, its run and its step
    git = three.workshop.git
    git("config", "gpg.ssh.allowedSignersFile", str(three.workshop.path / "allowed_signers"))
    git("verify-tag", "clf@production/3")
    assert three.workshop.problems() == []


@pytest.mark.parametrize(
    ("who", "said"),
    [("eve", "signed by a key that is nobody's here"), ("bob", "owners does not list bob")],
)
def test_wrong_key(team: Team, who: str, said: str) -> None:
    team.sign_as(who)
    before = team.workshop.refs()
    with pytest.raises(PolicyNotMet) as caught:
        team.promote("clf@v1")
    assert said in " ".join(caught.value.causes())
    assert caught.value.exit_code == 3
    assert team.workshop.refs() == before


def test_expired_key(team: Team) -> None:
    lines = allowed(("ada@example.org", team.key("ada")), options='valid-before="20200101"')
    team.settle('[{ signed = true, by = "owners" }]', lines)
    with pytest.raises(PolicyNotMet) as caught:
        team.promote("clf@v1")
    assert "was not valid at that time" in caught.value.causes()[0]


def test_revoked_key(three: Team) -> None:
    lines = allowed(*((f"{who}@example.org", three.key(who)) for who in ("ada", "bob")))
    public = three.key("ada").with_name("ada.pub").read_text()
    three.settle('[{ signed = true, by = "owners" }]', lines, public)
    with pytest.raises(PolicyNotMet) as caught:
        three.promote("clf@v1")
    assert "is revoked" in caught.value.causes()[0]
    three.refused("clf@production/1: key .* is revoked")


def test_no_signing_key(team: Team) -> None:
    team.workshop.git("config", "--unset", "user.signingKey")
    with pytest.raises(GitmlError, match="git knows no key of yours") as caught:
        team.promote("clf@v1")
    assert caught.value.exit_code == 2


def test_who_may_sign_is_read_from_the_main_branch(team: Team) -> None:
    """Not from the work tree, where everybody may write what they like."""
    team.workshop.write("allowed_signers", allowed(("ada@example.org", team.key("eve"))))
    team.sign_as("eve")
    with pytest.raises(PolicyNotMet):
        team.promote("clf@v1")


def test_old_state_served(three: Team) -> None:
    """A clone that is shown the stage as it was two moves ago."""
    for n in (2, 3):
        three.workshop.git("update-ref", "-d", f"refs/tags/clf@production/{n}")
    said = "clf@production/3 was seen at .*, and production ends at move 1 here"
    assert "gitml fetch" in (three.refused(said).hint or "")
    with pytest.raises(NotTrusted):
        three.promote("clf@v2")
    assert three.repo().verify("clf@production", accept=True).links[-1].name == "clf@production/1"


def test_a_stage_that_is_gone_altogether_was_seen(three: Team) -> None:
    """A server that serves none of its moves: there would be nothing to verify."""
    for n in (1, 2, 3):
        three.workshop.git("update-ref", "-d", f"refs/tags/clf@production/{n}")
    three.refused("clf@production/3 was seen at .*, and production ends at move 0 here")
    with pytest.raises(NotTrusted):
        three.promote("clf@v1")
    with pytest.raises(NameNotFound, match="no version of clf holds `production`"):
        three.repo().verify("clf@production", accept=True)
    three.promote("clf@v1")  # accepted: it begins anew
    assert three.verify() == ["clf@production/1"]


def test_event_deleted_from_the_middle(three: Team) -> None:
    three.workshop.git("update-ref", "-d", "refs/tags/clf@production/2")
    three.refused("clf@production/2 is missing")
    with pytest.raises(NotTrusted, match="clf@production/2 is missing"):
        three.promote("clf@v1")


def test_forged_unsigned_entry(three: Team) -> None:
    body = three.tag("clf@production/3")
    record = json.loads(body.split(b"\n")[7])
    previous = three.workshop.git("rev-parse", "clf@production/3")
    record |= {"n": 4, "previous": previous, "before": record["version"]}
    head = body.partition(b"\n\n")[0].replace(b"production/3", b"production/4").decode()
    line = json.dumps(record, sort_keys=True)
    three.put("clf@production/4", f"{head}\n\nclf production 4 clf@v3\n\n{line}\n".encode())
    three.refused("clf@production/4: not signed")


def test_altered_record(three: Team) -> None:
    """With other words in it a move is another object, which the next one does not follow."""
    data = three.tag("clf@production/2").replace(b'"reason": "better"', b'"reason": "bettor"')
    three.put("clf@production/2", data)
    three.refused("clf@production/3 is not what it should be: it follows")


def test_an_altered_last_record_is_told_by_its_signature(team: Team) -> None:
    team.promote("clf@v1")
    data = team.tag("clf@production/1").replace(b'"reason": "better"', b'"reason": "bettor"')
    team.put("clf@production/1", data)
    team.environment = {}
    team.refused("clf@production/1: the signature is of other bytes")


def test_a_date_of_the_past_does_not_make_a_key_valid(three: Team) -> None:
    """A key has to be valid at the time of the tag, so that is the record's as well."""
    head, _, rest = three.tag("clf@production/3").partition(b"\n\n")
    lines = head.split(b"\n")
    lines[3] = lines[3].rpartition(b"> ")[0] + b"> 1500000000 +0000"
    made = b"\n".join(lines) + b"\n\n" + rest.partition(b"-----BEGIN")[0]
    three.put("clf@production/3", Signer(Git.discover(three.workshop.path)).sign(made))
    three.refused("clf@production/3 is not what it should be: its tag has another date")


def test_a_version_whose_bytes_changed(team: Team) -> None:
    """A number that leads to other bytes than the run made is neither verified nor promoted."""
    git = team.workshop.git
    git("tag", "-d", "clf@v3")
    version = git("for-each-ref", "--format=%(objectname)", "refs/gitml/versions").split()
    version += [git("rev-parse", "clf@v2^{commit}")]
    record = git("show", f"{version[-1]}:.gitml/model.json")
    digest = re.search(r"blake3:([0-9a-f]{64})", record)
    assert digest
    changed = record.replace(digest[1], "0" * 64)
    blob = git("hash-object", "-w", "--stdin", text=changed)
    git("read-tree", version[-1])
    git("update-index", "--add", "--cacheinfo", f"100644,{blob},.gitml/model.json")
    tree = git("write-tree")
    git("read-tree", "HEAD")
    body = git("cat-file", "commit", version[-1])
    old = git("rev-parse", f"{version[-1]}^{{tree}}")
    made = git("hash-object", "-t", "commit", "-w", "--stdin", text=body.replace(old, tree) + "\n")
    git("-c", "tag.gpgSign=false", "tag", "-a", "-m", "clf v3", "clf@v3", made)
    lines = (team.workshop.path / "allowed_signers").read_text()
    team.settle('[{ lineage = "complete" }]', lines)
    team.refused("clf@v3 stands on", "clf@v3")
    with pytest.raises(PolicyNotMet) as caught:
        team.promote("clf@v3")
    assert caught.value.exit_code == 3


def test_fork(three: Team) -> None:
    """Another third move, signed by an owner too, under the number that was seen already."""
    seen = three.workshop.git("rev-parse", "clf@production/3")
    three.workshop.git("update-ref", "-d", "refs/tags/clf@production/3")
    three.environment |= {"XDG_STATE_HOME": str(three.keys.parent / "elsewhere")}
    three.promote("clf@v1")
    three.environment |= {"XDG_STATE_HOME": str(three.keys.parent / "state")}
    three.refused(f"clf@production/3 is not the tag that was seen at .*: {seen[:12]}")


@pytest.mark.parametrize("name", ["clf@staging/1", "other@production/1"])
def test_replay_into_another_stage_or_model(three: Team, name: str) -> None:
    """The tag itself says what it was made for, and so does the record in it."""
    three.put(name, three.tag("clf@production/1"))
    if name.startswith("clf"):
        three.refused("clf@staging is not what it should be: .* holds the record of", "clf@staging")
        with pytest.raises(GitmlError) as caught:
            three.promote("clf@v2", "staging")
        assert caught.value.exit_code == 5
    else:
        assert "other" not in three.repo().names.models


def test_replay_into_another_repository(three: Team) -> None:
    file = three.workshop.path / "gitml.toml"
    file.write_text(file.read_text().replace('id = "', 'id = "X', 1))
    three.workshop.git("commit", "--quiet", "-am", "another project")
    three.refused("clf@production/1 is not what it should be: it belongs to another project")


def test_older_policy_after_a_newer_one(three: Team) -> None:
    """A move that is in order in itself, and was judged by a policy that no longer held."""
    git = three.workshop.git
    old = git("rev-parse", "HEAD")
    lines = (three.workshop.path / "allowed_signers").read_text()
    three.settle('[{ signed = true }, { passed = "staging" }]', lines)
    three.promote("clf@v1", "staging")
    three.promote("clf@v1")
    git("checkout", "--quiet", old)
    with pytest.raises(PolicyNotMet, match="clf@production/4 was judged by a newer policy"):
        three.promote("clf@v2")
    git("switch", "--quiet", "main")
    record = json.loads(three.tag("clf@production/4").split(b"\n")[7])
    record |= {"n": 5, "before": record["version"], "policy_commit": old, "policy": "sha256:00"}
    record["previous"] = git("rev-parse", "clf@production/4")
    head = three.tag("clf@production/4").partition(b"\n\n")[0].replace(b"ion/4", b"ion/5").decode()
    line = json.dumps(record, sort_keys=True)
    data = f"{head}\n\nclf production 5 clf@v1\n\n{line}\n".encode()
    signed = Signer(Git.discover(three.workshop.path)).sign(data)
    three.put("clf@production/5", signed)
    three.refused("clf@production/5 was judged by an older policy than the move before it")


def test_a_version_is_verified_down_to_the_roots(three: Team) -> None:
    found = three.repo().verify("clf@v2")
    assert [one.name for one in found.links] == ["clf@v2"]
    assert found.links[0].signature.state == "none"
    assert found.records == 3


def test_a_shallow_clone_cannot_verify(three: Team, tmp_path: Path) -> None:
    url = f"file://{three.workshop.path}"
    three.workshop.git(
        "clone", "--quiet", "--depth", "1", "--branch", "clf@v2", url, str(tmp_path / "ci")
    )
    clone = Workshop(tmp_path / "ci")
    with pytest.raises(PolicyNotMet, match="shallow") as caught:
        clone.repo().verify("clf@v2")
    assert "--unshallow" in (caught.value.hint or "")
    clone.close()


def test_version_tags_are_signed_where_the_project_says_so(team: Team) -> None:
    file = team.workshop.path / "gitml.toml"
    file.write_text(f"{file.read_text()}[signing]\ntags = true\n")
    team.workshop.git("commit", "--quiet", "-am", "sign")
    team.refused("clf@v1: not signed", "clf@v1")


def test_a_forked_stage_is_no_chain(three: Team) -> None:
    theirs = three.workshop.git("rev-parse", "clf@production/2")
    three.workshop.git("update-ref", "refs/gitml-remotes/origin/tags/clf@production/3", theirs)
    with pytest.raises(RaceLost):
        three.verify()
