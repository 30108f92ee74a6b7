"""The commands that are disturbed: each with the repository that it is run in, and its outcome."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gitml.errors import NameNotFound
from tests.workshop import TRAINING, Workshop

Prepare = Callable[[Workshop], None]
Outcome = Callable[[Workshop], Any]


@dataclass(frozen=True)
class Scenario:
    """A command, the repository it needs, and what must be the same however it came about.

    ``keeps`` says that the objects in the store must be those of the undisturbed command exactly;
    otherwise there may be more: a run that was killed is recorded, with what it had logged.
    ``collects`` says that the command takes more garbage away each time: then only what is named
    must be there, which fsck sees. ``damaged`` says that it begins with damage, which a fault may
    leave. ``codes_again`` are the exit codes of the same command once its work is done.
    ``in_place`` says that git itself writes into files of the work tree, which may be torn until
    the command is run again; ``always`` raises for what must hold right behind a fault as well.
    """

    name: str
    command: Sequence[str]
    prepare: Prepare
    outcome: Outcome
    keeps: bool = True
    collects: bool = False
    damaged: bool = False
    codes_again: Sequence[int] = (0,)
    in_place: bool = False
    always: Callable[[Workshop], None] = lambda workshop: None

    def __str__(self) -> str:
        return self.name


def _dirty_training(workshop: Workshop) -> None:
    """A run here does all that a run can do: snapshot, data, steps, version, tag."""
    workshop.training()
    workshop.code("pipelines/training.py", TRAINING.replace("row * 2", "row * 3"), None)
    workshop.write("notes.txt", "staged")
    workshop.git("add", "notes.txt")


def _trained_twice(workshop: Workshop) -> None:
    """Two versions, in one pack.

    Whether a new object needs a folder of its own depends on its name, and so on the time, unless
    there are none: then it always does, and the calls are the same each time.
    """
    workshop.training()
    workshop.run()
    workshop.run("training", {"rate": 0.25})
    workshop.close()
    workshop.git("repack", "-a", "-d", "--quiet")
    for folder in (workshop.path / ".git/objects").glob("??"):
        folder.rmdir()


def _folder_of_files(workshop: Workshop) -> None:
    """Small and large, dull and random, a script, a link, an empty file, the same bytes twice."""
    source = random.Random(0)
    for number in range(4):
        workshop.write(f"in/{number}.txt", f"{number}," * 2000)
        workshop.write(f"in/deep/{number}.bin", source.randbytes(3000))
    workshop.write("in/twin.txt", "1," * 2000)
    workshop.write("in/empty", "")
    workshop.write("in/large.bin", source.randbytes(4 << 20))
    workshop.write("in/run.sh", "#!/bin/sh\n").chmod(0o755)
    (workshop.path / "in/link").symlink_to("deep/0.bin")
    workshop.write(".gitignore", "__pycache__/\nin/\n")
    workshop.commit("ready")


def _with_garbage(workshop: Workshop) -> None:
    """A pack that is half dead, one that is all dead, a dead loose file, and what is alive."""
    source = random.Random(1)
    repo = workshop.repo()
    with repo.store.writer() as writer:
        for _ in range(3):
            writer.put_bytes(source.randbytes(3000))
        writer.put_bytes(b"alive " * 200)
    repo.save(b"alive " * 200, "alive")
    workshop.write("dead/a.bin", source.randbytes(5 << 20))
    workshop.write("dead/b.txt", "dead " * 300)
    repo.save(workshop.path / "dead", "dead")
    for ref in workshop.refs("refs/gitml/sources/dead/"):
        workshop.git("update-ref", "-d", ref)
    workshop.close()


def _new_data(workshop: Workshop) -> None:
    """A file and a folder without pointers, and a file that has one and has changed."""
    _folder_of_files(workshop)
    workshop.write("data/old.csv", "a,b\n1,2\n")
    workshop.repo().add([workshop.path / "data/old.csv"])
    workshop.commit("ready")
    workshop.write(".gitignore", "__pycache__/\n")
    workshop.git("add", ".gitignore")
    workshop.write("data/old.csv", "a,b\n1,3\n")


def _other_version(workshop: Workshop) -> None:
    """Data is checked out, and git has gone to a commit with other data, in other places too."""
    _folder_of_files(workshop)
    workshop.write(".gitignore", "__pycache__/\n")
    workshop.write("data/old.csv", "a,b\n1,2\n")
    workshop.repo().add([workshop.path / "data/old.csv", workshop.path / "in"])
    workshop.commit("first")
    workshop.git("switch", "--quiet", "-c", "second")
    workshop.write("in/1.txt", "changed")
    workshop.write("in/deeper/new.txt", "new")
    (workshop.path / "in/deep/2.bin").unlink()
    (workshop.path / "in/run.sh").chmod(0o644)
    workshop.write("data/new.csv", "a\n1\n")
    workshop.repo().add([workshop.path / "data/new.csv", workshop.path / "in"])
    workshop.repo().remove([workshop.path / "data/old.csv"])
    workshop.commit("second")
    workshop.git("switch", "--quiet", "--detach", "HEAD~1")


def _crowd(workshop: Workshop) -> None:
    """More small files than one process takes at a time."""
    for number in range(600):
        workshop.write(f"many/{number % 7}/{number}.txt", f"{number}," * 20)


def _added(workshop: Workshop) -> None:
    """Data that is added and committed."""
    _folder_of_files(workshop)
    workshop.write(".gitignore", "__pycache__/\n")
    workshop.write("raw.csv", "a,b\n" + "1,2\n" * 5000)
    workshop.repo().add([workshop.path / "in", workshop.path / "raw.csv"])
    workshop.close()
    workshop.commit("data")


def _changed(workshop: Workshop) -> None:
    """Data of which some was changed, removed and made since it was added."""
    _added(workshop)
    workshop.write("in/0.txt", "other," * 3000)
    workshop.write("in/new/one", "new")
    (workshop.path / "in/1.txt").unlink()
    workshop.write("raw.csv", "a,b\n" + "1,2\n" * 2000 + "3,4\n" * 3000)


def _absent(workshop: Workshop) -> None:
    """Data that is not checked out, as after a clone beside a store."""
    _added(workshop)
    shutil.rmtree(workshop.path / "in")
    (workshop.path / "raw.csv").unlink()
    shutil.rmtree(workshop.path / ".git/gitml/stat", ignore_errors=True)


def _many_packs(workshop: Workshop) -> None:
    """More small packs than need be, and versions of a table that differ all over."""
    repo = workshop.repo()
    for number in range(18):
        repo.save(f"{number}," * 200, f"small{number}")
    rows = [f"{number},{number * 7 % 1000},{number % 13}" for number in range(12_000)]
    for version in range(2):
        workshop.write("table.csv", "\n".join(rows))
        repo.add([workshop.path / "table.csv"])
        workshop.commit(f"version {version}")
        rows[::50] = [f"{row},edited" for row in rows[::50]]
    workshop.close()


def _damaged(workshop: Workshop) -> None:
    """A pack with a flipped bit in every kilobyte, and the files whose bytes it had."""
    _added(workshop)
    for pack in (workshop.path / ".git/gitml/store/packs").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        for at in range(500, len(data), 1024):
            data[at] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(data)


def differing(workshop: Workshop) -> Any:
    """The state of all data that is not what its pointer says."""
    return {one.path: one.state for one in workshop.repo().data_status() if one.state != "clean"}


def versions(workshop: Workshop) -> Any:
    """What the versions of the model hold, and who has which stage."""
    repo = workshop.repo()
    found = {
        one.label: {name: str(artifact.digest) for name, artifact in one.artifacts.items()}
        for one in repo.versions("clf")
    }
    stages = {
        stage: [(event.promotion.n, str(event.promotion.version)) for event in events]
        for model in repo.models()
        for stage, events in model.stages.items()
    }
    return found, stages


def saved(workshop: Workshop) -> Any:
    """The values that were saved by hand."""
    outputs = [one.output for one in workshop.repo().artifacts()]
    return sorted((one.artifact, str(one.digest)) for one in outputs)


def noted(workshop: Workshop) -> Any:
    """What was noted on a version."""
    return workshop.repo().metadata("clf@v1")["live"]


RUN = Scenario("run", ("gitml", "run", "training"), _dirty_training, versions, keeps=False)
PUT = Scenario("put", ("gitml", "artifact", "put", "in", "images"), _folder_of_files, saved)

PROMOTE = Scenario(
    "promote",
    ("gitml", "promote", "clf@v1", "production", "-m", "good"),
    _trained_twice,
    versions,
)
DELETE = Scenario(
    "delete",
    ("gitml", "delete", "clf@v1", "-m", "wrong", "--yes"),
    _trained_twice,
    versions,
    codes_again=(0, NameNotFound.exit_code),
)
NOTE = Scenario("note", ("gitml", "metadata", "set", "clf@v1", "live=0.9"), _trained_twice, noted)

GC = Scenario("gc", ("gitml", "gc", "--prune=now"), _with_garbage, saved, collects=True)

ADD = Scenario("add", ("gitml", "add", "in", "data/old.csv"), _new_data, differing)
CHECKOUT = Scenario("checkout", ("gitml", "checkout"), _other_version, differing)
REMOVE = Scenario(
    "rm",
    ("gitml", "rm", "-r", "in", "data"),
    _other_version,
    differing,
    codes_again=(0, NameNotFound.exit_code),
)
MOVE = Scenario(
    "mv",
    ("gitml", "mv", "in", "elsewhere/out"),
    _other_version,
    differing,
    codes_again=(0, NameNotFound.exit_code),
)

CROWD = Scenario("crowd", ("gitml", "add", "many"), _crowd, differing)
UPDATE = Scenario("update", ("gitml", "add", "--all"), _changed, differing)
RESTORE = Scenario("restore", ("gitml", "checkout"), _absent, differing)

MAINTENANCE = Scenario("maintenance", ("gitml", "maintenance"), _many_packs, saved, collects=True)
REPAIR = Scenario(
    "repair", ("gitml", "fsck", "--full", "--repair"), _damaged, differing, damaged=True
)

SCENARIOS: tuple[Scenario, ...] = (
    *(RUN, PUT, PROMOTE, DELETE, NOTE),
    *(ADD, CROWD, UPDATE, CHECKOUT, RESTORE, REMOVE, MOVE),
    *(GC, MAINTENANCE, REPAIR),
)
