"""What `pre-receive` adds to a push of one promotion, on a server with many runs.

    python -m tests.bench.receive --runs 10000

Pushes by plain git, with the hook and without it in turns; medians, and the difference.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Promotion
from gitml.git import refs
from gitml.git.odb import Builder, Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history.record import Person, Recorder, timestamp
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.repo import Repo
from tests.workshop import Workshop, model_for_copies

POLICY = '\n[policy.production]\nrequire = [{ metric = "accuracy", min = 0.5 }]\n'


def measure(folder: Path, runs: int, pushes: int) -> None:
    with model_for_copies(folder) as bob:
        server = Workshop(folder / "server.git")
        server.path.mkdir()
        server.git("init", "--quiet", "--bare", "--initial-branch=main")
        bob.git("branch", "--quiet", "-M", "main")
        bob.git("remote", "add", "origin", server.path.as_uri())
        (folder / "lake").mkdir()
        with (bob.path / "gitml.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[remotes.lake]\nurl = "{folder / "lake"}"\n{POLICY}')
        bob.training()
        bob.commit("settings")
        for rate in (0.1, 0.2):
            bob.run("training", {"rate": rate})
        bob.repo().push()
        fill(server, bob, runs)
        install(Git.discover(server.path), sys.executable, SERVER_EVENTS)
        Repo.discover(server.path).index.refresh()
        tags = moves(bob, 2 * pushes)
        hook = server.path / "hooks" / "pre-receive"
        away = hook.with_name("away")
        times: dict[bool, list[float]] = {True: [], False: []}
        for n, tag in enumerate(tags, 1):
            guarded = n % 2 == 0
            if guarded == away.exists():
                (away if guarded else hook).rename(hook if guarded else away)
            spec = f"{tag}:refs/tags/clf@production/{n}"
            began = time.perf_counter()
            subprocess.run(["git", "push", "--quiet", "origin", spec], cwd=bob.path, check=True)
            times[guarded].append(time.perf_counter() - began)
        with_it, without = (1000 * statistics.median(times[one][1:]) for one in (True, False))
        print(f"{runs} runs: push {without:.0f} ms, with the hook {with_it:.0f} ms")
        print(f"the hook adds {with_it - without:.0f} ms")
        print("with", sorted(round(1000 * t) for t in times[True]))
        print("without", sorted(round(1000 * t) for t in times[False]))


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


def moves(bob: Workshop, count: int) -> list[ObjectId]:
    """A chain of promotions, of the two versions in turn."""
    repo = bob.repo()
    policies = repo._policies
    versions = [repo.version(f"clf@v{n}").id for n in (1, 2)]
    recorder = Recorder(repo.git, repo.odb, Person("Ada Example", "ada@example.org"))
    tags: list[ObjectId] = []
    for n in range(1, count + 1):
        now = time.time()
        record = Promotion(
            project=repo.config.project,
            model="clf",
            stage="production",
            n=n,
            reason="measured",
            at=timestamp(now),
            version=versions[n % 2],
            before=versions[(n - 1) % 2] if n > 1 else None,
            previous=tags[-1] if tags else None,
            policy=policies.stages["production"].digest,
            policy_commit=policies.commit,
        )
        name = f"clf@production/{n}"
        document = codec.to_document(record)
        tags.append(recorder.line_tag(name, versions[n % 2], "clf", document, now))
    with recorder.builder.write_pack():
        pass
    return tags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs on the server")
    parser.add_argument("--pushes", type=int, default=15, help="pushes of each kind")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gitml-receive-"))
    try:
        measure(folder, given.runs, given.pushes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
