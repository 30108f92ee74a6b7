"""Two clones of one bare repository whose default branch is reviewed; filled once, then copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workshop import Copy, Workshop, model_for_copies

PATH = "promotions/clf.toml"


@dataclass(frozen=True)
class Reviewed:
    """Bob and Alice with ``clf`` v1 (accuracy 0.8) and v2 (0.9), and the server, on `main`."""

    bob: Workshop
    alice: Workshop
    server: Workshop

    @property
    def folder(self) -> Path:
        return self.server.path.parent

    def merge(self, text: str, message: str = "wish", path: str = PATH) -> str:
        """Put a file on the default branch, as Bob; the commit."""
        self.bob.git("pull", "--quiet", "--rebase", "origin", "main")
        self.bob.write(path, text)
        self.bob.commit(message)
        self.bob.git("push", "--quiet", "origin", "HEAD:main")
        return self.bob.git("rev-parse", "HEAD")

    def policy(self, require: str, stage: str = "production") -> str:
        """Put a policy on the default branch."""
        self.bob.git("pull", "--quiet", "--rebase", "origin", "main")
        text = (self.bob.path / "gitml.toml").read_text()
        more = f"\n[policy.{stage}]\nrequire = {require}\n"
        return self.merge(text + more, "policy", "gitml.toml")

    def clone(self, name: str, *options: str) -> Workshop:
        self.bob.git("clone", "--quiet", *options, self.server.path.as_uri(), f"../{name}")
        return Workshop(self.folder / name)

    def holders(self, stage: str = "production", who: Workshop | None = None) -> list[str | None]:
        """Who held a stage, oldest first, as a clone knows it that has fetched."""
        repo = (who or self.bob).repo()
        repo.fetch()
        state = repo.model("clf")
        held = (event.promotion.version for event in state.stages.get(stage, ()))
        return [state.label(one) if one else None for one in held]

    def record(self, tag: str) -> dict[str, object]:
        """The record in an event tag, as the server has it."""
        line = self.server.git("cat-file", "tag", tag).splitlines()[-1]
        return dict(json.loads(line))


@pytest.fixture(scope="session")
def reviewed_once(tmp_path_factory: pytest.TempPathFactory) -> Reviewed:
    folder = tmp_path_factory.mktemp("reviewed")
    with model_for_copies(folder) as bob:
        server = Workshop(folder / "server.git")
        server.path.mkdir()
        server.git("init", "--quiet", "--bare", "--initial-branch=main")
        bob.git("branch", "--quiet", "-M", "main")
        bob.git("remote", "add", "origin", server.path.as_uri())
        lake = folder / "lake"
        lake.mkdir()
        with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
            file.write('\n[metrics.accuracy]\ndirection = "max"\n')
            file.write(f'\n[remotes.lake]\nurl = "{lake}"\n')
        bob.training()
        bob.commit("settings")
        for rate in (0.1, 0.2):
            bob.run("training", {"rate": rate})
        bob.repo().push()
        made = Reviewed(bob, Workshop(folder / "alice"), server)
        alice = made.clone("alice")
        alice.repo().fetch()
        alice.close()
    return made


@contextmanager
def team_of(bob: Workshop, model: Reviewed, folder: Path) -> Iterator[Reviewed]:
    """Bob, whose repository is a copy of the model's, with copies of the other two beside it."""
    for one in (model.alice, model.server):
        shutil.copytree(one.path, folder / one.path.name, symlinks=True)
    made = Reviewed(bob, Workshop(folder / "alice"), Workshop(folder / "server.git"))
    for one in (bob, made.alice):
        config = one.path / ".git/config"
        url = made.server.path.as_uri()
        config.write_text(config.read_text().replace(model.server.path.as_uri(), url))
    yield made
    for one in (made.alice, made.server):
        one.close()


@pytest.fixture
def reviewed(reviewed_once: Reviewed, copied: Copy, tmp_path: Path) -> Iterator[Reviewed]:
    """The team as it was made; a test does what it likes with its own."""
    with team_of(copied(reviewed_once.bob), reviewed_once, tmp_path) as made:
        yield made
