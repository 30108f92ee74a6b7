"""kill -9 at any system call: no lost byte, no wrong blob, no bad ref, and the next run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.killing import Hangman, Point, judge, leftovers, users_world
from tests.workshop import TRAINING, Copy, Workshop, model_for_copies

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

SAMPLE = 12
COMMAND = "pipelines/training.py"
MAIN = """

if __name__ == "__main__":
    print(training().model_version.label)
"""


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A repository whose run does all that a run can do: snapshot, data, steps, version, tag."""
    with model_for_copies(tmp_path_factory.mktemp("dirty")) as made:
        made.write("data/raw.json", json.dumps({"rows": [1, 2, 3]}))
        made.code("pipelines/training.py", TRAINING + MAIN)
        made.code("pipelines/training.py", (TRAINING + MAIN).replace("row * 2", "row * 3"), None)
        made.write("notes.txt", "staged")
        made.git("add", "notes.txt")
        yield made


@pytest.fixture(scope="module")
def undisturbed(
    dirty: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Point], dict[str, str]]:
    """The points of a run, and the digests of the version that it makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(dirty.path, folder / "bob", symlinks=True)
    workshop = Workshop(folder / "bob")
    points = Hangman(folder / "hangman").points(workshop, COMMAND)
    try:
        assert leftovers(workshop) == []
        return points, digests(workshop)
    finally:
        workshop.close()


def digests(workshop: Workshop) -> dict[str, str]:
    """What the versions of the model hold; of one version here, since numbers are not lost."""
    (version,) = workshop.repo().versions("clf")
    assert version.label == "clf@v1"
    return {name: str(one.digest) for name, one in version.artifacts.items()}


def kill_and_go_on(
    workshop: Workshop, hangman: Hangman, point: Point, expected: dict[str, str]
) -> None:
    world = users_world(workshop)
    hangman.kill(workshop, point, COMMAND)
    assert users_world(workshop) == world
    judge(workshop, unfinished=True)
    again = workshop.python(COMMAND)
    assert again.out == "clf@v1\n"
    assert users_world(workshop) == world
    judge(workshop)
    assert digests(workshop) == expected
    assert leftovers(workshop) == []
    recorded = sorted(run.status for run in workshop.repo().runs())
    assert recorded in (["completed"], ["completed", "completed"], ["completed", "interrupted"])


@pytest.mark.parametrize("place", range(SAMPLE))
def test_a_killed_run_loses_nothing(
    place: int,
    dirty: Workshop,
    undisturbed: tuple[list[Point], dict[str, str]],
    copied: Copy,
    tmp_path: Path,
) -> None:
    points, expected = undisturbed
    assert len(points) > 100
    point = points[(2 * place + 1) * len(points) // (2 * SAMPLE)]
    kill_and_go_on(copied(dirty), Hangman(tmp_path / "hangman"), point, expected)


@pytest.mark.sweep
def test_every_point(
    dirty: Workshop,
    undisturbed: tuple[list[Point], dict[str, str]],
    tmp_path: Path,
) -> None:
    """The whole sweep: minutes. A failure names its point; all are tried before it fails."""
    points, expected = undisturbed
    failed = []
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        shutil.copytree(dirty.path, folder / "bob", symlinks=True)
        workshop = Workshop(folder / "bob")
        try:
            kill_and_go_on(workshop, Hangman(folder / "hangman"), point, expected)
        except AssertionError as error:
            failed.append(f"{point}: {str(error)[:500]}")
        finally:
            workshop.close()
            shutil.rmtree(folder)
    assert not failed, "\n".join(failed)
