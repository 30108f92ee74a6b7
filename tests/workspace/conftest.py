"""A clone with data in it, driven in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitml.git.process import Git
from gitml.repo import Repo
from gitml.testing.sealed import GitRepository, Project
from gitml.workspace.status import DataState


@dataclass(frozen=True)
class Clone(GitRepository):
    """A repository after ``gitml init``, the verbs taking paths from its root."""

    @property
    def repo(self) -> Repo:
        """A new look at the repository, as another command would have."""
        return Repo(Git.discover(self.path))

    def at(self, *names: str) -> list[Path]:
        return [self.path / name for name in names]

    def add(self, *names: str, **flags: bool):  # type: ignore[no-untyped-def]
        return self.repo.add(self.at(*names), **flags)

    def checkout(self, *names: str, **flags):  # type: ignore[no-untyped-def]
        return self.repo.checkout(self.at(*names), **flags)

    def states(self) -> dict[str, DataState]:
        return {one.path: one for one in self.repo.data_status()}

    def differing(self) -> dict[str, str]:
        """What status would show: M, A or D by path, and the state of what has another."""
        found = {}
        for one in self.repo.data_status():
            if one.state not in ("clean", "changed"):
                found[one.path] = one.state
            found |= {one.full(name): "M" for name in one.changed}
            found |= {one.full(name): "A" for name in (*one.added, *one.repositories)}
            found |= {one.full(name): "D" for name in one.deleted}
        return found

    def staged(self) -> list[str]:
        return self.git("diff", "--cached", "--name-only").split()

    def files(self, folder: str = "data") -> dict[str, bytes]:
        """Every file below a folder but pointers and git's own, with its bytes."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes()
            for path in sorted((self.path / folder).rglob("*"))
            if path.is_file() and path.suffix != ".gitml" and path.name != ".gitignore"
        }


@pytest.fixture
def clone(project: Project) -> Clone:
    return Clone(project.path)


def later() -> None:
    """Wait until the clock shows another second, and what was written before is not of just now."""
    now = time.time()
    time.sleep(1.05 - now % 1)
