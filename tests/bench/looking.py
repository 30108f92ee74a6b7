"""How long it takes to look at 20 versions in a repository of many runs.

    python -m tests.bench.looking --runs 10000

Whole commands, interleaved; the medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gitml.history.record import timestamp
from tests.bench.shop import fill
from tests.workshop import Workshop, model_for_copies

COMMANDS = {
    "--version": ("--version",),
    "log -n 20": ("log", "-n", "20"),
    "log --metric accuracy": ("log", "--metric", "accuracy"),
    "log --tag t7": ("log", "--tag", "t7"),
    "log data/raw.json": ("log", "data/raw.json"),
    "log --graph": ("log", "--graph"),
    "model compare clf": ("model", "compare", "clf"),
    "model compare clf --sort accuracy --md": (
        *("model", "compare", "clf"),
        *("--sort", "accuracy", "--md"),
    ),
    "diff clf@v1 clf@v20": ("diff", "clf@v1", "clf@v20"),
    "lineage diff clf@v1 clf@v20": ("lineage", "diff", "clf@v1", "clf@v20"),
}


def measure(folder: Path, runs: int, rounds: int) -> None:
    with model_for_copies(folder) as bob:
        bob.training()
        for n in range(20):
            bob.run("training", {"rate": n / 40})
        fill(Workshop(bob.path), bob, runs)
        tag_all(bob)
        env = {name: one for name, one in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(rounds + 1):
            for name, arguments in COMMANDS.items():
                command = [sys.executable, "-m", "gitml", *arguments]
                began = time.perf_counter()
                done = subprocess.run(command, cwd=bob.path, env=env, capture_output=True)
                times[name].append(1000 * (time.perf_counter() - began))
                assert done.returncode < 2, done.stderr.decode()
        for name, found in times.items():
            print(f"| `gitml {name}` | {statistics.median(found[1:]):.0f} ms |")


def tag_all(bob: Workshop) -> None:
    """Put one of a hundred tags on every run, as notes that came with a fetch."""
    repo = bob.repo()
    by = "Bench <bench@example.org>"
    lines = ["commit refs/notes/gitml", f"committer {by} 1767323050 +0000", "data 0"]
    for n, run in enumerate(repo.runs()):
        note = {"at": timestamp(1767323050), "by": by, "format": 1, "id": f"{n:026}"}
        text = json.dumps({**note, "tag": f"t{n % 100}"}) + "\n"
        lines += [f"N inline {run.id}", f"data {len(text)}", text]
    bob.git("fast-import", "--quiet", text="\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the repository")
    parser.add_argument("--rounds", type=int, default=11, help="runs of each command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitml-looking-", ignore_cleanup_errors=True) as name:
        measure(Path(name), given.runs, given.rounds)


if __name__ == "__main__":
    main()
