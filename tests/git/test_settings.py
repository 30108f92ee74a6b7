from __future__ import annotations

import json
import os
import time

import pytest

from gitml.fs import ProcessIdentity
from gitml.git.process import Git, GitFailed
from gitml.git.settings import set_setting
from gitml.testing.sealed import GitRepository


@pytest.fixture
def git(git_repository: GitRepository) -> Git:
    return Git.discover(git_repository.path)


def test_settings_come_and_go(git: Git) -> None:
    assert git.config("gitml.stack") is None
    set_setting(git, "gitml.stack", "a b\nc")
    assert git.config("gitml.stack") == "a b\nc"
    set_setting(git, "gitml.stack", None)
    set_setting(git, "gitml.stack", None)
    assert git.config("gitml.stack") is None
    with pytest.raises(GitFailed):
        set_setting(git, "no dot", "x")


def test_names_of_branches_and_remotes_keep_their_case(git: Git) -> None:
    """As git has it: the section and the variable do not, whoever writes them."""
    set_setting(git, "Branch.Feature/X.Merge", "refs/heads/main")
    assert git.config("branch.Feature/X.merge") == "refs/heads/main"
    assert git.config("BRANCH.Feature/X.MERGE") == "refs/heads/main"
    assert git.config("branch.feature/x.merge") is None
    set_setting(git, "core.Some", "1")
    assert git.config("CORE.some") == "1"


def test_remotes_are_known_by_their_urls(git: Git) -> None:
    assert git.remotes() == []
    assert not git.has_remote()
    set_setting(git, "remote.up.stream.url", "elsewhere")
    set_setting(git, "remote.Origin.url", "there")
    assert git.remotes() == ["Origin", "up.stream"]


def test_a_lock_that_a_killed_git_left_is_waited_for(git: Git) -> None:
    """The sweep of kills found it: a clone that was killed there could not be finished."""
    me = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, me.start, me.host, me.boot).to_text()
    announcement = git.common / f"gitml/moves/{dead}+00000000"
    announcement.parent.mkdir(parents=True)
    announcement.write_text(json.dumps({"packed-refs": "", "config": ""}))
    lock = git.common / "config.lock"
    lock.write_text("[half]")
    os.utime(lock, (time.time() - 9.8,) * 2)
    set_setting(git, "gitml.stack", "shared")
    assert git.config("gitml.stack") == "shared"
    assert not lock.exists()
    assert list(announcement.parent.iterdir()) == []


def test_nobody_breaks_the_lock_of_somebody_else(git: Git) -> None:
    lock = git.common / "config.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    with pytest.raises(GitFailed, match="could not lock"):
        set_setting(git, "gitml.stack", "shared")
    assert lock.exists()
