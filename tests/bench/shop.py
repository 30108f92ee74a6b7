"""A clone and its git remote with a policy, two versions and many runs, to time promotions in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitml.git import refs
from gitml.git.odb import Builder, Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from tests.workshop import Workshop, model_for_copies

_POLICY = '\n[policy.production]\nrequire = [{ metric = "accuracy", min = 0.5 }]\n'


@contextmanager
def shop(folder: Path, runs: int) -> Iterator[tuple[Workshop, Workshop]]:
    """Bob's clone, whose remote is the bare repository beside it: ``clf`` v1 and v2, and runs."""
    with model_for_copies(folder) as bob:
        server = Workshop(folder / "server.git")
        server.path.mkdir()
        server.git("init", "--quiet", "--bare", "--initial-branch=main")
        bob.git("branch", "--quiet", "-M", "main")
        bob.git("remote", "add", "origin", server.path.as_uri())
        (folder / "lake").mkdir()
        with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[remotes.lake]\nurl = "{folder / "lake"}"\n{_POLICY}')
        bob.training()
        bob.commit("settings")
        for rate in (0.1, 0.2):
            bob.run("training", {"rate": rate})
        bob.repo().push()
        fill(server, bob, runs)
        yield bob, server
        server.close()


def fill(server: Workshop, bob: Workshop, runs: int) -> None:
    """Runs like the one that there is, each at another second."""
    git = Git.discover(server.path)
    odb, builder = Odb(git), Builder(git)
    tip = bob.repo().version("clf@v1").entry.record.run
    commit = odb.commit(tip)
    changes = []
    for n in range(runs):
        line = f"Ada Example <ada@example.org> {1_700_000_000 + n} +0000"
        made = builder.commit(commit.tree, commit.parents, line, line, commit.message)
        changes.append(Change(f"refs/gitml/runs/training/202311/{made.short}", made, None))
    with builder.write_pack():
        refs.update(git, changes, "runs", packed=True)
    odb.close()
