"""Several people at one store: whatever they do, and in whatever order, nobody loses a byte.

A state machine over clones that share a store: add, change, check out, delete and collect, with
grace and without; and the same with real processes at once.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gitml.entities.pointer import Pointer
from gitml.store.store import Store
from tests.workshop import Workshop

CLONES = st.integers(0, 1)
NAMES = st.sampled_from(["a", "b/c", "d"])
CONTENTS = st.integers(0, 3)


def content(number: int) -> bytes:
    """Small and large, dull and random."""
    source = random.Random(number)
    return [b"", b"dull," * 2000, source.randbytes(9000), source.randbytes(4 << 20)][number]


class Actors(RuleBasedStateMachine):
    """Two clones with one store, each with data of its own; what it should hold is in ``held``.

    ``held[clone][name]`` is the content that the pointer in the work tree names.
    """

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        shutil.rmtree(self.folder / "world", ignore_errors=True)
        root = self.folder / "world"
        self.clones = []
        for number in range(2):
            workshop = Workshop(root / f"clone-{number}")
            shutil.copytree(self.folder / "model", workshop.path, symlinks=True)
            workshop.git("config", "gitml.store", str(root / "store"))
            self.clones.append(workshop)
        self.held: list[dict[str, bytes]] = [{}, {}]
        self.committed: list[list[dict[str, bytes]]] = [[], []]

    @rule(clone=CLONES, name=NAMES, number=CONTENTS)
    def add(self, clone: int, name: str, number: int) -> None:
        workshop, data = self.clones[clone], content(number)
        workshop.write(name, data)
        workshop.repo().add([workshop.path / name], force=True)
        workshop.close()
        self.held[clone][name] = data

    @rule(clone=CLONES)
    def commit(self, clone: int) -> None:
        self.clones[clone].commit("state")
        self.committed[clone].append(dict(self.held[clone]))

    @rule(clone=CLONES, name=NAMES)
    def lose_the_file(self, clone: int, name: str) -> None:
        (self.clones[clone].path / name).unlink(missing_ok=True)

    @rule(clone=CLONES)
    def checkout(self, clone: int) -> None:
        workshop = self.clones[clone]
        workshop.repo().checkout()
        workshop.close()
        for name, data in self.held[clone].items():
            assert (workshop.path / name).read_bytes() == data

    @rule(clone=CLONES, name=NAMES)
    def remove(self, clone: int, name: str) -> None:
        workshop = self.clones[clone]
        if name in self.held[clone]:
            workshop.repo().remove([workshop.path / name], force=True)
            workshop.close()
            del self.held[clone][name]

    @rule(clone=CLONES, age=st.sampled_from(["now", "2.weeks.ago"]))
    def collect(self, clone: int, age: str) -> None:
        workshop = self.clones[clone]
        workshop.repo().gc(age)
        workshop.close()

    @rule(clone=CLONES)
    def go_back(self, clone: int) -> None:
        """Whatever was committed can be had again, whatever was collected since."""
        if not self.committed[clone]:
            return
        workshop = self.clones[clone]
        self.commit(clone)
        wanted = self.committed[clone][-2]
        workshop.git("switch", "--quiet", "--detach", "HEAD~1")
        workshop.repo().checkout(force=True)
        workshop.close()
        for name, data in wanted.items():
            assert (workshop.path / name).read_bytes() == data
        workshop.git("switch", "--quiet", "main")
        workshop.repo().checkout(force=True)
        workshop.close()

    @invariant()
    def nothing_is_damaged(self) -> None:
        store = Store(self.folder / "world/store")
        assert [one for one in store.check() if not one.readable] == []

    def teardown(self) -> None:
        for clone in (0, 1):
            self.checkout(clone)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = Workshop.at(tmp_path / "model")
    made.close()
    return tmp_path


def run_actors(folder: Path, **options: Any) -> None:
    actors = type("Actors", (Actors,), {"folder": folder}).TestCase
    quiet = list(HealthCheck)
    actors.settings = settings(suppress_health_check=quiet, database=None, **options)
    actors().runTest()


def test_actors(model: Path) -> None:
    run_actors(model, max_examples=2, stateful_step_count=10)


@pytest.mark.sweep
def test_actors_for_long(model: Path) -> None:
    run_actors(model, max_examples=150, stateful_step_count=30)


# At once, in processes of their own

ADDS = """
import random, sys
from pathlib import Path
from gitml.repo import Repo
source, number = random.Random(sys.argv[1]), 0
while True:
    Path("data").write_bytes(source.randbytes(source.choice([10, 5000, 70_000])))
    Path("folder").mkdir(exist_ok=True)
    Path(f"folder/{number % 9}").write_text(f"{number}," * 100)
    repo = Repo.discover()
    repo.add([Path("data").absolute(), Path("folder").absolute()])
    repo.git.run("commit", "--quiet", "--all", "--message", str(number))
    repo.close()
    number += 1
    print(number, flush=True)
"""
COLLECTS = """
from gitml.errors import Locked
from gitml.repo import Repo
number = 0
while True:
    repo = Repo.discover()
    try:
        repo.gc()
        number += 1
    except Locked:
        pass
    repo.close()
    print(number, flush=True)
"""


def work_at_once(folder: Path, seconds: float) -> None:
    """Two clones add and commit, and two collect, all in one store; then all of it is there."""
    clones = []
    for number in range(2):
        workshop = Workshop(folder / f"clone-{number}")
        shutil.copytree(folder / "model", workshop.path, symlinks=True)
        workshop.git("config", "gitml.store", str(folder / "store"))
        clones.append(workshop)
    jobs = [(clone, script) for clone in clones for script in (ADDS, COLLECTS)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number)],
            cwd=clone.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for number, (clone, script) in enumerate(jobs)
    ]
    time.sleep(seconds)
    told = []
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # under load the first round may be the only one
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        told.append(process.communicate())
    assert all(error == "" for _, error in told), told
    store = Store(folder / "store")
    assert [one for one in store.check() if not one.readable] == []
    for clone in clones:
        (clone.path / ".git/index.lock").unlink(missing_ok=True)  # of the git that commits
        commits = clone.git("rev-list", "HEAD").splitlines()
        for commit in commits[:-1]:
            for name in ("data", "folder"):
                text = clone.git("show", f"{commit}:{name}.gitml")
                pointer = Pointer.decode(text.encode() + b"\n", name)
                if pointer.kind == "tree":
                    for entry in store.read_tree(pointer.digest).entries:
                        store.read(entry.digest)
                else:
                    assert len(store.read(pointer.digest)) == pointer.size


def test_adding_and_collecting_at_once(model: Path) -> None:
    work_at_once(model, 2)


@pytest.mark.sweep
def test_adding_and_collecting_at_once_for_a_minute(model: Path) -> None:
    work_at_once(model, 60)
