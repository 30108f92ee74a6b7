"""Several at once for a while: whoever looks in between sees something whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitml.repo import Repo
from tests.sync.conftest import Team
from tests.workshop import Workshop

SECONDS = 120

PUSHER = """
import itertools, sys, time
from gitml.repo import Repo
from tests.workshop import Workshop
from pathlib import Path
here, name, until = Workshop(Path.cwd()), sys.argv[1], time.time() + float(sys.argv[2])
sys.path.insert(0, ".")
for number in itertools.count():
    if time.time() > until:
        break
    here.run("training", {"rate": number + (0.25 if name == "bob" else 0.5)})
    here.repo().push([one.label for one in here.repo().versions("clf") if one.number is None])
    here.close()
print(number)
"""


def pushing(one: Workshop, name: str, code: str = PUSHER) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, name, str(SECONDS)],
        cwd=one.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.sweep
def test_every_clone_beside_two_pushers_is_complete(team: Team, tmp_path: Path) -> None:
    """Numbers have no gap, and no clone ever lacks the bytes that its records name."""
    team.bob.repo().push()
    alice = team.clone("alice")
    racing = [pushing(team.bob, "bob"), pushing(alice, "alice")]
    clones, until = 0, time.time() + SECONDS
    while time.time() < until:
        repo, _ = Repo.clone(team.url, tmp_path / f"clone{clones}")
        repo.pull(everything=True)
        assert list(repo.fsck().problems) == []
        repo.close()
        clones += 1
    said = [one.communicate()[0] for one in racing]
    assert [one.returncode for one in racing] == [0, 0], said
    print(f"{clones} clones beside {[one.split()[-1] for one in said]} pushes")
    assert clones > 1
    assert min(int(one.strip().splitlines()[-1]) for one in said) > 1
    team.bob.repo().fetch()
    state = team.bob.repo().model("clf")
    assert sorted(state.numbers) == list(range(1, len(state.numbers) + 1))
    assert len(set(state.numbers.values())) == len(state.numbers)
    for one in (team.bob, alice):
        one.git("fetch", "--quiet", "--tags")


PROMOTER = """
import itertools, sys, time
from tests.workshop import Workshop
from pathlib import Path
here, name, until = Workshop(Path.cwd()), sys.argv[1], time.time() + float(sys.argv[2])
sys.path.insert(0, ".")
for number in itertools.count():
    if time.time() > until:
        break
    made = here.run("training", {"rate": number + len(name) / 10}).model_version
    here.repo().promote(made.label, "production", name, retry=True)
    here.close()
print(number)
"""


@pytest.mark.sweep
def test_three_that_promote_and_number_at_once_make_one_line(team: Team) -> None:
    """No gap, no number twice, and nobody's ``git fetch --tags`` fails meanwhile."""
    team.bob.repo().push()
    clones = [team.bob, team.clone("alice"), team.clone("carol")]
    racing = [
        pushing(one, name, PROMOTER)
        for one, name in zip(clones, ("bob", "alice", "caroline"), strict=True)
    ]
    watcher = team.clone("dave")
    fetches, until = 0, time.time() + SECONDS
    while time.time() < until:
        watcher.git("fetch", "--quiet", "--tags")
        fetches += 1
    said = [one.communicate()[0] for one in racing]
    assert [one.returncode for one in racing] == [0, 0, 0], said
    assert min(int(one.strip().splitlines()[-1]) for one in said) > 0
    print(f"{fetches} fetches beside {[one.split()[-1] for one in said]} promotions")
    states = []
    for one in (*clones, watcher):
        one.git("fetch", "--quiet", "--tags")
        one.repo().fetch()
        states.append(one.repo().model("clf"))
    for state in states:
        events = state.stages["production"]
        assert [one.promotion.n for one in events] == list(range(1, len(events) + 1))
        assert [one.promotion.previous for one in events] == [None, *(e.tag for e in events[:-1])]
        assert sorted(state.numbers) == list(range(1, len(state.numbers) + 1))
        assert state.numbers == states[0].numbers
