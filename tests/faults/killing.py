"""Kills a run at a system call of its own or of a git that it started, and judges what is left.

The run is first counted undisturbed; a point is then a process (None is Python, n the nth git), a
mutating call, and how many of this call it has made by then (strace counts each call by itself).
Everything that belongs to the run dies at once, as it does when a machine or a container goes
down: a git that outlives its parent would only tidy up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workshop import Workshop

CALLS = (
    "write,pwrite64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "ftruncate,fsync,fdatasync,copy_file_range"
)

_GIT = """\
#!/bin/sh
n=$(( $(cat "$KILL_FOLDER/count") + 1 ))
echo $n > "$KILL_FOLDER/count"
if [ "$KILL_GIT" = all ]; then
    exec strace -qq -e signal=none -e trace={calls} -o "$KILL_FOLDER/git.$n" {git} "$@"
elif [ "$KILL_GIT" = $n ]; then
    strace -qq -e signal=none -e trace={calls} -e inject=$KILL_CALL \\
        -o "$KILL_FOLDER/git.$n" {git} "$@"
    code=$?
    [ $code = 137 ] && kill -KILL 0
    exit $code
fi
exec {git} "$@"
"""


@dataclass(frozen=True)
class Point:
    """A place to kill a run: the ``nth`` call of this name of the ``git``th git, or of Python."""

    git: int | None
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{'python' if self.git is None else f'git {self.git}'} {self.call} {self.nth}"

    @property
    def injection(self) -> str:
        """What strace is told."""
        return f"{self.call}:signal=KILL:when={self.nth}"


class Hangman:
    """Runs a command under strace, with a git on its path that can be killed too."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        git = shutil.which("git")
        self._folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir()
        wrapper = self._bin / "git"
        wrapper.write_text(_GIT.format(calls=CALLS, git=git))
        wrapper.chmod(0o755)

    def points(self, workshop: Workshop, *command: str) -> list[Point]:
        """Every point of the command, which runs undisturbed."""
        log = self._folder / "python"
        done = self._run(workshop, command, "all", ["-o", str(log)], "")
        assert done.returncode == 0, done.stderr.decode()
        found = list(_points(None, log))
        for path in sorted(self._folder.glob("git.*"), key=lambda one: int(one.suffix[1:])):
            found += _points(int(path.suffix[1:]), path)
        return found

    def kill(self, workshop: Workshop, point: Point, *command: str) -> None:
        """Run the command and kill it at the point; raises AssertionError when it lives on."""
        options = ["-o", os.devnull]
        if point.git is None:
            options += ["-e", f"inject={point.injection}"]
        done = self._run(workshop, command, str(point.git), options, point.injection)
        assert done.returncode == -9, (point, done.returncode, done.stderr.decode())

    def _run(
        self, workshop: Workshop, command: tuple[str, ...], git: str, options: list[str], kill: str
    ) -> subprocess.CompletedProcess[bytes]:
        (self._folder / "count").write_text("0")
        variables = {
            "KILL_FOLDER": str(self._folder),
            "KILL_GIT": git,
            "KILL_CALL": kill,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
        }
        strace = ["strace", "-qq", "-e", "signal=none", "-e", f"trace={CALLS}", *options]
        return subprocess.run(
            [*strace, sys.executable, *command],
            cwd=workshop.path,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            check=False,
        )


def users_world(workshop: Workshop) -> dict[str, Any]:
    """What no run may touch: the work tree, the index, the branch, the stash."""
    files = {
        path.relative_to(workshop.path).as_posix(): path.read_bytes()
        for path in sorted(workshop.path.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(workshop.path).parts
    }
    own = [workshop.path / ".git" / name for name in ("index", "HEAD", "refs/heads/main", "config")]
    return {**files, **{f".git/{path.name}": path.read_bytes() for path in own}}


def leftovers(workshop: Workshop) -> list[str]:
    """Files that only a process in the middle of something should have.

    A ``.keep`` without a pack keeps nothing: git was killed between the two.
    """
    git = workshop.path / ".git"
    found = [
        path.relative_to(git).as_posix()
        for path in git.rglob("*")
        if path.suffix == ".lock"
        or path.name.startswith("gitml-")
        or (path.suffix == ".keep" and path.with_suffix(".pack").exists())
    ]
    folders = [git / "gitml/store/tmp", git / "gitml/journal"]
    return found + [f"{one.name}/{path.name}" for one in folders for path in one.glob("*")]


def judge(workshop: Workshop, *, unfinished: bool = False) -> None:
    """Nothing is lost and nothing is wrong: git and gitml find every object and every byte good.

    A pack whose index a kill left ``unfinished`` is readable, and finished by the next command.
    """
    workshop.git("fsck", "--strict", "--full", "--no-dangling", "--no-progress")
    problems = workshop.problems()
    if unfinished:
        problems = [one for one in problems if one.detail != "the index is missing"]
    assert problems == []


def _points(git: int | None, log: Path) -> Iterator[Point]:
    counts: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        call, paren, _ = line.partition("(")
        if paren and call.replace("_", "").isalnum():
            counts[call] += 1
            yield Point(git, call, counts[call])
