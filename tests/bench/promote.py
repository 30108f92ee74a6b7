"""What `gitml promote` takes in a clone whose git remote is a folder, and how much of it is git's.

    python -m tests.bench.promote --runs 100 10000

Two clones promote in turns, whole commands. Git alone looks at the remote twice, fetches a tag and
pushes one; that is what a network would make longer. Medians, and the difference.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.shop import shop
from tests.workshop import Workshop


def measure(folder: Path, runs: int, moves: int) -> None:
    """Print the medians for one number of runs, which both clones and the remote have."""
    with shop(folder, runs) as (bob, server):
        bob.git("clone", "--quiet", server.path.as_uri(), "../alice")
        alice = Workshop(folder / "alice")
        for one in (bob, alice):
            command(one, "fetch")
        took: list[float] = []
        bare: list[float] = []
        for n in range(moves):
            one, other = (bob, alice) if n % 2 else (alice, bob)
            began = time.perf_counter()
            command(one, "promote", f"clf@v{1 + n % 2}", "production", "-m", "measured")
            took.append(time.perf_counter() - began)
            command(other, "fetch")
            began = time.perf_counter()
            by_git(one, n)
            bare.append(time.perf_counter() - began)
        whole, git = (1000 * statistics.median(times[2:]) for times in (took, bare))
        print(f"{runs} runs: promote {whole:.0f} ms, git alone {git:.0f} ms", end=", ")
        print(f"besides {whole - git:.0f} ms; {sorted(round(1000 * one) for one in took)}")


def command(one: Workshop, *arguments: str) -> None:
    """One whole command of gitml."""
    words = [sys.executable, "-m", "gitml", *arguments]
    subprocess.run(words, cwd=one.path, check=True, capture_output=True)


def by_git(one: Workshop, n: int) -> None:
    """What git itself takes to look, and to push a tag: what a promotion asks of it."""
    one.git("ls-remote", "--quiet", "origin")
    one.git("push", "--quiet", "origin", f"clf@v1:refs/tags/measured/{n}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--moves", type=int, default=12, help="promotions, in turns")
    given = parser.parse_args()
    for runs in given.runs:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            measure(Path(name), runs, given.moves)


if __name__ == "__main__":
    main()
