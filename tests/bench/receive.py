"""What `pre-receive` adds to a push of one promotion, on a server with many runs.

    python -m tests.bench.receive --runs 10000

Pushes by plain git, with the hook and without it in turns; medians, and the difference.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Promotion
from gitml.git.process import Git
from gitml.history.record import Person, Recorder, timestamp
from gitml.hooks.install import SERVER_EVENTS, install
from gitml.repo import Repo
from tests.bench.shop import shop
from tests.workshop import Workshop


def measure(folder: Path, runs: int, pushes: int) -> None:
    with shop(folder, runs) as (bob, server):
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
    with tempfile.TemporaryDirectory(prefix="gitml-receive-", ignore_cleanup_errors=True) as name:
        measure(Path(name), given.runs, given.pushes)


if __name__ == "__main__":
    main()
