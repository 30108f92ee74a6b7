"""``remote doctor``: each finding by a remote, or a git remote, that has what it tells of."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gitml.doctor import Finding
from gitml.doctor_remotes import examine_git_remote, examine_remote
from gitml.errors import AuthenticationFailed
from gitml.frozen import replace
from gitml.git.process import Git
from gitml.remotes.base import Access, Content, Entry, Remote
from gitml.remotes.folder import FolderRemote
from gitml.remotes.layers import Layer
from gitml.remotes.object_store import S3Remote
from gitml.testing.sealed import GitRepository, Project
from tests.servers import S3Server, SshServer


@pytest.fixture
def lake(tmp_path: Path) -> FolderRemote:
    root = tmp_path / "lake"
    root.mkdir()
    return FolderRemote(root)


def states(found: list[Finding]) -> dict[str, str]:
    return {one.check: one.state for one in found}


def test_all_is_well_and_nothing_is_left(lake: FolderRemote) -> None:
    found = states(examine_remote(lake))
    assert set(found.values()) == {"ok"}
    assert set(found) == {
        *("reachable", "writing", "reading", "conditional writes"),
        *("listing", "clock", "deleting"),
    }
    assert list(lake.list()) == []


def test_what_a_killed_doctor_left_is_taken_away(lake: FolderRemote) -> None:
    lake.put("doctor/0011", b"x")
    lake.put("doctor/0022", b"x")
    lake.put("packs/a", b"x")
    for key in ("doctor/0011", "packs/a"):
        os.utime(lake.root / key, (1e9, 1e9))
    examine_remote(lake)
    assert {one.key for one in lake.list()} == {"doctor/0022", "packs/a"}


def test_read_only_writes_nothing(lake: FolderRemote) -> None:
    found = states(examine_remote(lake, read_only=True))
    assert found == {"reachable": "ok", "writing": "note", "listing": "ok"}
    assert list(lake.root.iterdir()) == []


def test_one_that_is_not_there(tmp_path: Path) -> None:
    (found,) = examine_remote(FolderRemote(tmp_path / "absent"))
    assert (found.check, found.state) == ("reachable", "problem")
    assert "mkdir" in found.fix


class Odd(Layer):
    """A remote with one thing that is not as it should be."""

    def __init__(self, inner: Remote, oddity: str) -> None:
        super().__init__(inner)
        self.oddity = oddity
        if oddity == "create":
            self.capabilities = replace(inner.capabilities, create=False)

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        if self.oddity == "readonly":
            raise AuthenticationFailed("you may not write")
        super().put(key, content, create=create and self.oddity != "both win")

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        yield b"other" if self.oddity == "swapped" else b"".join(super().get(key, start, length))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for one in super().list(prefix):
            yield Entry(one.key, one.size, one.modified + 900 * (self.oddity == "clock"))

    def delete(self, keys: Iterable[str]) -> None:
        if self.oddity == "undeletable":
            raise AuthenticationFailed("you may not delete")
        super().delete(keys)


@pytest.mark.parametrize(
    ("oddity", "check", "state"),
    [
        ("readonly", "writing", "warning"),
        ("swapped", "reading", "problem"),
        ("create", "conditional writes", "warning"),
        ("both win", "conditional writes", "warning"),
        ("clock", "clock", "warning"),
        ("undeletable", "deleting", "note"),
    ],
)
def test_what_is_odd_is_found(lake: FolderRemote, oddity: str, check: str, state: str) -> None:
    found = states(examine_remote(Odd(lake, oddity)))
    assert found.pop(check) == state
    assert set(found.values()) == {"ok"}


# The git remote


@pytest.fixture
def server(git_repository: GitRepository, tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "server.git")
    made.path.mkdir()
    made.git("init", "--quiet", "--bare")
    git_repository.commit("first")
    git_repository.git("remote", "add", "origin", made.path.as_uri())
    return made


def test_what_a_killed_doctor_left_on_the_git_remote_is_taken_away(
    git_repository: GitRepository, server: GitRepository
) -> None:
    left = ("refs/gitml/doctor/gitml-doctor-00ff", "refs/tags/gitml-doctor@00ff")
    git_repository.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    git_repository.git("push", "--quiet", "origin", *(f"HEAD:{ref}" for ref in left))
    examine_git_remote(Git.discover(git_repository.path), read_only=True)
    assert server.git("for-each-ref").count("\n") == 2
    examine_git_remote(Git.discover(git_repository.path))
    assert server.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def update_hook(server: GitRepository, script: str) -> None:
    hook = server.path / "hooks/update"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_a_git_remote_that_takes_all(git_repository: GitRepository, server: GitRepository) -> None:
    found = states(examine_git_remote(Git.discover(git_repository.path)))
    assert found == {"git remote": "ok", "git refs": "ok", "git tags": "ok"}
    assert server.git("for-each-ref") == ""
    assert server.git("cat-file", "--batch-all-objects", "--batch-check").count("commit") == 1


@pytest.mark.parametrize(
    ("prefix", "check"), [("refs/gitml/", "git refs"), ("refs/tags/", "git tags")]
)
def test_a_git_remote_that_refuses(
    git_repository: GitRepository, server: GitRepository, prefix: str, check: str
) -> None:
    update_hook(server, f'case "$1" in {prefix}*) echo no such names here >&2; exit 1;; esac')
    found = {one.check: one for one in examine_git_remote(Git.discover(git_repository.path))}
    assert found.pop(check).state == "problem"
    assert {one.state for one in found.values()} == {"ok"}


def test_a_git_remote_that_keeps_what_it_has(
    git_repository: GitRepository, server: GitRepository
) -> None:
    update_hook(server, 'case "$3" in 000000*) exit 1;; esac')
    found = {one.check: one for one in examine_git_remote(Git.discover(git_repository.path))}
    assert found["git refs"].state == "note"
    left = server.git("for-each-ref", "--format=%(refname)").splitlines()
    assert len(left) == 2
    noted = [one for one in found.values() if one.state == "note"]
    assert len(noted) == 2
    assert all(any(ref in one.says for ref in left) for one in noted)


def test_no_git_remote_and_one_that_is_gone(git_repository: GitRepository) -> None:
    git = Git.discover(git_repository.path)
    assert states(examine_git_remote(git)) == {"git remote": "note"}
    git_repository.git("remote", "add", "origin", "file:///nowhere/at/all")
    git = Git.discover(git_repository.path)
    assert states(examine_git_remote(git)) == {"git remote": "problem"}


def test_read_only_asks_git_and_pushes_nothing(
    git_repository: GitRepository, server: GitRepository
) -> None:
    git = Git.discover(git_repository.path)
    assert states(examine_git_remote(git, read_only=True)) == {
        "git remote": "ok",
        "git refs": "note",
    }
    assert server.git("cat-file", "--batch-all-objects", "--batch-check") == ""


# On real servers


def test_a_bucket_by_who_may_write_and_who_may_read(s3_server: S3Server, tmp_path: Path) -> None:
    url = s3_server.url(secrets.token_hex(4))
    may = S3Remote.open(url, Access(tmp_path, s3_server.environment()))
    assert set(states(examine_remote(may)).values()) == {"ok"}
    assert list(may.list()) == []
    reader = S3Remote.open(url, Access(tmp_path, s3_server.environment(reader=True)))
    assert states(examine_remote(reader)) == {
        "reachable": "ok",
        "writing": "warning",
        "listing": "ok",
    }
    stranger = S3Remote.open(
        url, Access(tmp_path, {**s3_server.environment(), "AWS_SECRET_ACCESS_KEY": "no"})
    )
    (found,) = examine_remote(stranger)
    assert (found.check, found.state) == ("reachable", "problem")


def test_another_machine(ssh_server: SshServer, project: Project, tmp_path: Path) -> None:
    """By the command, which looks for ssh where git has it."""
    root = tmp_path / "lake"
    root.mkdir()
    project.git("config", "core.sshCommand", f"ssh -F {ssh_server.config}")
    project.gitml("remote", "add", "lake", f"{ssh_server.user}@lake:{root}")
    found = project.gitml("remote", "doctor", "--json").json["findings"]
    assert {one["state"] for one in found if one["check"] != "git remote"} == {"ok"}
    project.git("config", "gitml.remote.lake.command", "/nowhere/gitml")
    failed = project.gitml("remote", "doctor", status=1)
    assert "gitml.remote.NAME.command" in failed.out
