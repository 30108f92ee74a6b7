"""Push, pull and clone as scenarios: a git remote and a remote for bytes inside of ``.git``.

There they are copied with the repository, and relative URLs find them. A copy is called ``bob``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gitml.git.process import Git
from gitml.repo import Repo
from gitml.sync.needs import needs_at
from tests.faults.scenarios import Scenario, differing, versions
from tests.workshop import Workshop

SERVER = ".git/server.git"
LAKE = ".git/lake"
CLONE = "../alice"


def _shared(workshop: Workshop) -> None:
    """A version, data in a folder and a large file, committed; nothing is pushed."""
    workshop.training()
    workshop.git("init", "--quiet", "--bare", SERVER)
    (workshop.path / LAKE).mkdir()
    with (workshop.path / "gitml.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[remotes.lake]\nurl = "../bob/{LAKE}"\n')
    workshop.git("config", "gitml.remote.lake.url", LAKE)
    workshop.git("remote", "add", "origin", f"./{SERVER}")
    workshop.git("config", "branch.main.remote", "origin")
    workshop.git("config", "branch.main.merge", "refs/heads/main")
    for number in range(5):
        workshop.write(f"images/{number}.txt", f"{number} " * 500)
    workshop.write("large.bin", bytes(range(256)) * 9000)
    workshop.repo().add([workshop.path / "images", workshop.path / "large.bin"])
    workshop.commit("data")
    workshop.run()
    workshop.close()


def _behind(workshop: Workshop) -> None:
    """Everything is pushed, and this clone is at the beginning again, without any bytes."""
    _shared(workshop)
    workshop.repo().push()
    workshop.close()
    for ref in workshop.refs("refs/gitml", "refs/gitml-remotes", "refs/tags", "refs/remotes"):
        workshop.git("update-ref", "-d", ref)
    workshop.git("reset", "--quiet", "--hard", "HEAD~1")
    shutil.rmtree(workshop.path / "images")
    (workshop.path / "large.bin").unlink()
    for one in ("store", "remotes", "stat", "index.sqlite"):
        path = workshop.path / ".git/gitml" / one
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _there(workshop: Workshop) -> None:
    """Everything is pushed."""
    _shared(workshop)
    workshop.repo().push()
    workshop.close()


def on_the_remotes(workshop: Workshop) -> Any:
    """The numbers of the versions on the git remote, and which refs there are."""
    server = Workshop(workshop.path / SERVER)
    names = {one.split("/")[2] + one[-7:] * one.startswith("refs/tags") for one in server.refs()}
    return names, versions(workshop)


def named_bytes_are_there(workshop: Workshop) -> None:
    """Raise AssertionError where the git remote names bytes that the remote for bytes lacks.

    The git of the server was not killed, in truth it is on another machine: its locks go.
    """
    server = workshop.path / SERVER
    for lock in server.rglob("*.lock"):
        lock.unlink()
    git = Git.discover(server)
    tips = [one.target for one in _refs(git)]
    needs = needs_at(git, tips)
    lacking = [one.where for digest, one in needs.items() if not _where(workshop, digest.hex)]
    if lacking:
        raise AssertionError(f"refs are there before their bytes: {lacking}")


def _refs(git: Git) -> Any:
    from gitml.git.refs import list_refs

    return [one for one in list_refs(git, ["refs"]) if one.name != "refs/notes/gitml"]


def _where(workshop: Workshop, digest: str) -> bool:
    return (workshop.path / LAKE / "where" / digest[:2] / digest[2:]).is_file()


def pulled(workshop: Workshop) -> Any:
    """The versions, and all data that is not what its pointer says."""
    return versions(workshop), differing(workshop)


def cloned(workshop: Workshop) -> Any:
    """The versions and the data of the clone."""
    made = Workshop(workshop.path / CLONE)
    repo = Repo.discover(made.path)
    try:
        files = {path.name: path.stat().st_size for path in _files(made.path / "images")}
        numbers = repo.model("clf").numbers
        return made.git("status", "--porcelain"), files, sorted(numbers)
    finally:
        repo.close()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


PUSH = Scenario("push", ("gitml", "push"), _shared, on_the_remotes, always=named_bytes_are_there)
PULL = Scenario("pull", ("gitml", "pull"), _behind, pulled, in_place=True, damaged=True)
CLONING = Scenario(
    "clone",
    ("gitml", "clone", f"./{SERVER}", CLONE),
    _there,
    cloned,
    codes_again=(0, 2),
)
SHARING = (PUSH, PULL, CLONING)
