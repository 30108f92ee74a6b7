"""Refs move by compare-and-swap, together or not at all, and a race has exactly one winner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, Locked, RaceLost
from gitml.git import refs
from gitml.git.process import Git, GitFailed
from gitml.git.refs import Change, Listing, Ref, list_refs
from gitml.testing.sealed import GitRepository


@pytest.fixture
def git(git_repository: GitRepository) -> Git:
    git_repository.commit("one")
    git_repository.commit("two")
    return Git.discover(git_repository.path)


@pytest.fixture
def ids(git: Git) -> list[ObjectId]:
    return [ObjectId(one) for one in git.run("rev-list", "main").decode().split()]


def state(git: Git) -> dict[str, str]:
    return {ref.name: ref.target.hex for ref in list_refs(git, ["refs/"])}


def test_a_listing_is_begun_early_or_when_it_is_read(git: Git, ids: list[ObjectId]) -> None:
    for early in (True, False):
        listing = Listing(git, ["refs/heads"])
        if early:
            listing.begin()
        assert listing.refs() == [Ref("refs/heads/main", ids[0], ids[0])] == listing.refs()
        listing.close()
    unread = Listing(git, ["refs/heads"])
    unread.begin()
    unread.close()
    with pytest.raises(GitFailed):
        Listing(git, ["refs/heads", "--no-such-option"]).read()


def test_a_ref_is_created_moved_and_deleted(git: Git, ids: list[ObjectId]) -> None:
    two, one = ids
    name = "refs/gitml/stages/clf/production"
    refs.update(git, [Change(name, one, None)], "first")
    assert state(git)[name] == one.hex
    refs.update(git, [Change(name, two, one)], "second")
    assert state(git)[name] == two.hex
    refs.pack(git)
    refs.update(git, [Change(name, None, two)], "third")
    assert name not in state(git)
    refs.update(git, [], "nothing")


def test_a_listing_peels_annotated_tags(git: Git, ids: list[ObjectId]) -> None:
    git.run("tag", "-a", "clf@v1", "-m", "x", ids[1].hex)
    git.run("tag", "clf@v2", ids[0].hex)
    tag = ObjectId(git.run("rev-parse", "clf@v1").decode().strip())
    assert list_refs(git, ["refs/tags/*@*"]) == [
        Ref("refs/tags/clf@v1", tag, ids[1]),
        Ref("refs/tags/clf@v2", ids[0], ids[0]),
    ]
    assert list_refs(git, ["refs/nowhere"]) == []
    refs.pack(git)
    assert list_refs(git, ["refs/tags/*@*"])[0].commit == ids[1]


@pytest.mark.parametrize(
    ("new", "old"), [("two", None), ("two", "two"), (None, "two"), (None, None)]
)
def test_a_loser_writes_nothing_and_is_told(
    git: Git, ids: list[ObjectId], new: str | None, old: str | None
) -> None:
    two, one = ids
    known = {"one": one, "two": two, None: None}
    refs.update(git, [Change("refs/gitml/x", one, None)], "first")
    before = state(git)
    fine = Change("refs/gitml/other", one, None)
    with pytest.raises(RaceLost, match=rf"mine: refs/gitml/x is {one.short}") as caught:
        refs.update(git, [fine, Change("refs/gitml/x", known[new], known[old])], "mine")
    assert caught.value.exit_code == 5
    assert state(git) == before


def test_a_ref_that_is_gone_is_a_lost_race(git: Git, ids: list[ObjectId]) -> None:
    with pytest.raises(RaceLost, match="refs/gitml/x is gone by now"):
        refs.update(git, [Change("refs/gitml/x", ids[0], ids[1])], "mine")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [("refs/gitml/a", "refs/gitml/a/b/c"), ("refs/gitml/a/b/c", "refs/gitml/a")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_name_in_the_way_is_said(
    git: Git, ids: list[ObjectId], there: str, wanted: str, packed: bool
) -> None:
    refs.update(git, [Change(there, ids[0], None)], "first")
    if packed:
        refs.pack(git)
    before = state(git)
    changes = [Change("refs/gitml/other", ids[0], None), Change(wanted, ids[0], None)]
    with pytest.raises(GitmlError, match=f"{there} is in the way of {wanted}"):
        refs.update(git, changes, "second")
    assert state(git) == before


def test_a_lock_that_stays_is_told_with_its_file(
    git: Git, ids: list[ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "_TRIES", 2)
    lock = git.common / "refs/gitml/x.lock"
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    with pytest.raises(Locked, match="another git command holds") as caught:
        refs.update(git, [Change("refs/gitml/x", ids[0], None)], "mine")
    assert f"`rm {lock}`" in (caught.value.hint or "")
    lock.unlink()
    refs.update(git, [Change("refs/gitml/x", ids[0], None)], "mine")


def test_a_lock_of_a_moment_is_waited_for(git: Git, ids: list[ObjectId]) -> None:
    """`git gc` in another terminal locks all refs for a while: that is no lost race."""
    lock = git.common / "refs/gitml/x.lock"
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    script = f"import os, time; time.sleep(0.25); os.unlink({str(lock)!r})"
    other = subprocess.Popen([sys.executable, "-c", script])
    refs.update(git, [Change("refs/gitml/x", ids[0], None)], "mine")
    other.wait()
    assert state(git)["refs/gitml/x"] == ids[0].hex


def test_what_git_refuses_otherwise_has_its_words(
    git: Git, ids: list[ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "_TRIES", 2)
    before = state(git)
    for name, new in [("refs/gitml/a b", ids[0]), ("refs/gitml/x", ObjectId("1" * 40))]:
        with pytest.raises(GitmlError, match="mine: fatal: ") as caught:
            refs.update(git, [Change(name, new, None)], "mine")
        assert type(caught.value) is GitmlError
    hook = git.common / "hooks/reference-transaction"
    hook.write_text("#!/bin/sh\n[ $1 != prepared ] || exit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitmlError, match="hook"):
        refs.update(git, [Change("refs/gitml/x", ids[0], None)], "mine")
    assert state(git) == before


RACER = """
import json, sys
from pathlib import Path
from gitml.entities.ids import ObjectId
from gitml.errors import RaceLost
from gitml.git import refs
from gitml.git.process import Git

git, target = Git.discover(Path(sys.argv[1])), ObjectId(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
won = []
for n in range(12):
    own = f"refs/gitml/own/{n}/{sys.argv[3]}"
    changes = [refs.Change(own, target, None), refs.Change(f"refs/gitml/race/{n}", target, None)]
    try:
        refs.update(git, changes, "race")
        won.append(n)
    except RaceLost:
        pass
print(json.dumps(won))
"""


def test_of_racing_processes_exactly_one_wins_each_name(git: Git, ids: list[ObjectId]) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(git.root), ids[0].hex, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sorted(n for each in won for n in each) == list(range(12))
    own = {name for name in state(git) if name.startswith("refs/gitml/own/")}
    assert own == {f"refs/gitml/own/{n}/{r}" for r, each in enumerate(won) for n in each}


def test_refs_are_shared_by_work_trees(git: Git, ids: list[ObjectId], tmp_path: Path) -> None:
    git.run("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    linked = Git.discover(tmp_path / "linked")
    refs.update(linked, [Change("refs/gitml/x", ids[0], None)], "there")
    assert state(git)["refs/gitml/x"] == ids[0].hex


def test_an_attempt_that_lost_a_race_is_made_again() -> None:
    lost: list[int] = []

    def attempt() -> str:
        if len(lost) < 3:
            lost.append(1)
            raise RaceLost("somebody was first")
        return "done"

    assert refs.retried(attempt, 4) == "done"
    lost.clear()
    with pytest.raises(RaceLost):
        refs.retried(attempt, 3)
    assert len(lost) == 3
