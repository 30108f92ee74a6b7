"""Pushes at once of which one ends a version that the other lets into a stage: one goes in."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.hooks import turns
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.hooks.turns import NotYourTurn, take_turn
from tests.reviewed import Reviewed

SLOW = """#!/bin/sh
case $1 in {pattern})
  touch {folder}/judged
  while [ -e {folder}/judged ] && [ ! -e {folder}/go ]; do sleep 0.02; done;;
esac
"""
ONE = ObjectId("1" * 40)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("first", ["deletion", "promotion"])
def test_of_a_deletion_and_a_promotion_at_once_one_goes_in(
    reviewed: Reviewed, tmp_path: Path, first: str
) -> None:
    """The first is held between the hook and the moving of its refs, by a hook that is slow."""
    bob, alice, server = reviewed.bob, reviewed.alice, reviewed.server
    alice.repo().fetch()
    install(Git.discover(server.path), sys.executable, SERVER_EVENTS)
    pattern = "refs/tags/clf@deleted/*" if first == "deletion" else "refs/tags/clf@production/*"
    slow = server.path / "hooks/update"
    slow.write_text(SLOW.format(pattern=pattern, folder=tmp_path))
    slow.chmod(0o755)
    delete = ("delete", "clf@v2", "-m", "wrong", "--yes")
    promote = ("promote", "clf@v2", "production", "-m", "good")
    commands = (delete, promote) if first == "deletion" else (promote, delete)
    one = bob.start("-m", "gitml", *commands[0])
    wait_for(tmp_path / "judged")
    two = alice.start("-m", "gitml", *commands[1])
    folder = server.path / "gitml" / turns.FOLDER
    until = time.monotonic() + 20
    while len(list(folder.glob("*.push"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert two.poll() is None, two.communicate()
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=60)[1] for process in (one, two)]
    assert one.returncode == 0, said
    assert two.returncode != 0, said
    bob.repo().fetch()
    assert bob.problems() == []
    tags = server.refs("refs/tags/clf@deleted", "refs/tags/clf@production")
    assert len(tags) == 1, tags


def change(name: str) -> Change:
    return Change(name, ONE, None)


def test_who_is_in_nobodys_way_does_not_wait(reviewed: Reviewed) -> None:
    git = Git.discover(reviewed.server.path)
    with subprocess.Popen(["sleep", "60"]) as other:
        take_turn(git, [change("refs/tags/clf@production/1")], str(other.pid))
        take_turn(git, [change("refs/tags/clf@staging/1")], str(other.pid + 1))
        take_turn(git, [change("refs/tags/clf@alias/best/1")], str(other.pid + 1))
        take_turn(git, [change("refs/heads/main")], str(other.pid + 1))
        other.kill()
    take_turn(git, [change("refs/tags/clf@revoked/0123456789ab")], str(other.pid + 1))
    folder = reviewed.server.path / "gitml" / turns.FOLDER
    assert not list(folder.glob(f"*={other.pid}+*"))


def test_who_waits_too_long_is_told_to_push_again(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.05)
    git = Git.discover(reviewed.server.path)
    with subprocess.Popen(["sleep", "60"]) as other:
        take_turn(git, [change("refs/tags/clf@deleted/2")], str(other.pid))
        with pytest.raises(NotYourTurn, match="push again") as caught:
            take_turn(git, [change("refs/tags/clf@production/1")], str(other.pid + 1))
        assert isinstance(caught.value, GitmlError)
        other.kill()
    take_turn(git, [change("refs/tags/clf@production/1")], str(other.pid + 1))


def test_a_push_whose_refs_have_moved_is_over(reviewed: Reviewed) -> None:
    """A slow post-receive keeps its process, and nobody waits for that."""
    git = Git.discover(reviewed.server.path)
    there = ObjectId(reviewed.server.git("rev-parse", "clf@v1"))
    reviewed.server.git("update-ref", "refs/tags/clf@deleted/2", str(there))
    with subprocess.Popen(["sleep", "60"]) as other:
        take_turn(git, [Change("refs/tags/clf@deleted/2", there, None)], str(other.pid))
        take_turn(git, [change("refs/tags/clf@production/1")], "1")
        other.kill()


def test_where_nothing_can_be_written_nobody_waits(reviewed: Reviewed) -> None:
    git = Git.discover(reviewed.server.path)
    (reviewed.server.path / "gitml").mkdir(exist_ok=True)
    (reviewed.server.path / "gitml" / turns.FOLDER).write_text("in the way")
    take_turn(git, [change("refs/tags/clf@production/1")], "1")
