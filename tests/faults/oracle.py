"""The one judge of all fault tests: what must hold after a fault, whatever the command was.

Every blob hashes to its name and every ref resolves; every file of the work tree is as it was
before the command or as it is after an undisturbed one, never in between; the same command again
exits 0 and ends as the undisturbed one did, with nothing left over and no lock in the way.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitml.store.store import Store
from tests.workshop import Workshop

TEMPORARY = ".gitml-"
"""How the name of a temporary file or folder beside the user's files begins."""

Files = Mapping[str, str]


@dataclass(frozen=True)
class World:
    """What a command may change: the work tree, what git has staged, its branches, the store.

    ``files`` are by path from the top, each as its mode and the digest of its bytes or its target.
    """

    files: Files
    staged: Files
    refs: Files
    objects: frozenset[str]

    @classmethod
    def of(cls, workshop: Workshop) -> World:
        """The world as it is now, read by plain means."""
        lines = workshop.git("ls-files", "--stage", "-z").split("\0")
        staged = {path: what for what, _, path in (one.partition("\t") for one in lines) if path}
        refs = {
            name: oid
            for name, oid in workshop.refs().items()
            if not name.startswith(("refs/gitml/", "refs/notes/")) and "@" not in name
        }
        git = workshop.path / ".git"
        refs |= {name: (git / name).read_text() for name in ("HEAD", "config")}
        objects = {str(one.digest) for one in Store(store_folder(workshop)).objects()}
        return cls(dict(_files_below(workshop.path)), staged, refs, frozenset(objects))

    def torn_from(self, before: World, after: World) -> list[str]:
        """What is neither as before nor as after: by path, an absent file being a state too.

        Temporary files are left out: they are nobody's yet.
        """
        torn = []
        for one in ("files", "staged", "refs"):
            mine, old, new = (getattr(world, one) for world in (self, before, after))
            for name in sorted({*mine, *old, *new}):
                is_temporary = any(one.startswith(TEMPORARY) for one in name.split("/"))
                if not is_temporary and mine.get(name) not in (old.get(name), new.get(name)):
                    torn.append(f"{one} {name}: {mine.get(name)}")
        return torn


def store_folder(workshop: Workshop) -> Path:
    """Where the store of a repository is."""
    return workshop.path / ".git/gitml/store"


def _files_below(root: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(root):
        if ".git" in folders and Path(folder) == root:
            folders.remove(".git")
        for name in [*names, *(one for one in folders if os.path.islink(f"{folder}/{one}"))]:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                what = f"link {os.readlink(path)}"
            else:
                bits = stat.S_IMODE(status.st_mode)
                what = f"{bits:o} {hashlib.sha256(path.read_bytes()).hexdigest()[:20]}"
            yield path.relative_to(root).as_posix(), what


def leftovers(workshop: Workshop) -> list[str]:
    """Files that only a process in the middle of something should have.

    A ``.keep`` without a pack keeps nothing: git was killed between the two. An empty one has lost
    its owner in a power cut, since git does not flush it, and may be the user's own. git's own
    temporary files (``tmp_obj_…``) are left to its gc, which knows when they are nobody's.
    """
    git = workshop.path / ".git"
    found = [
        path.relative_to(workshop.path).as_posix()
        for path in workshop.path.rglob("*")
        if (path.suffix == ".lock" and git in path.parents)
        or (path.name.startswith((TEMPORARY, "gitml-")) and path != git / "refs/gitml-remotes")
        or (path.suffix == ".keep" and path.with_suffix(".pack").exists() and path.stat().st_size)
    ]
    folders = [git / "gitml/store/tmp", git / "gitml/journal", git / "gitml/moves"]
    return found + [f"{one.name}/{path.name}" for one in folders for path in one.glob("*")]


def judge(workshop: Workshop, *, unfinished: bool = False) -> None:
    """Nothing is lost and nothing is wrong: git and gitml find every object and every byte good.

    A pack whose index a fault left ``unfinished`` is readable, and finished by the next command.
    """
    check = ["git", "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
    done = subprocess.run(check, cwd=workshop.path, capture_output=True, text=True, check=False)
    expect_same("git fsck", (done.returncode, done.stderr), (0, ""))
    try:
        problems = workshop.problems()
    finally:
        workshop.close()
    if unfinished:
        problems = [one for one in problems if one.detail != "the index is missing"]
    expect_same("gitml fsck", problems, [])


def expect_same(what: str, found: Any, expected: Any) -> None:
    """Raise AssertionError with the differences: pytest explains asserts in test files only."""
    if found == expected:
        return
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        names = [one for one in {*found, *expected} if found.get(one) != expected.get(one)]
        found, expected = ({one: of.get(one) for one in names} for of in (found, expected))
    raise AssertionError(f"{what}: found {found}\nexpected {expected}")
