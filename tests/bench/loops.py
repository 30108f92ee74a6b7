"""Loops that are measured inside of one process; ``python loops.py steps 1000`` prints a table."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def steps(count: int) -> None:
    """A chain and a fan of no-op steps, executed and cached."""
    import noop

    print("| pipeline | executed | cached |\n|---|---:|---:|")
    for name in ("chain", "fan"):
        pipeline = getattr(noop, name)
        first = _seconds(lambda pipeline=pipeline: pipeline.run({"length": count}, cache=False))
        again = min(_seconds(lambda pipeline=pipeline: pipeline(count)) for _ in range(3))
        cells = [f"{seconds / (count + 1) * 1000:.2f}" for seconds in (first, again)]
        print(f"| {name} of {count} | {' | '.join(cells)} |")


def runs(count: int) -> None:
    """Many runs of a pipeline of two steps, then the index made anew."""
    import noop

    from gitml import Repo

    seconds = _seconds(lambda: [noop.chain(1) for _ in range(count)])
    print("| work | time |\n|---|---:|")
    print(f"| record one run of two cached steps | {seconds / count * 1000:.1f} ms |")
    repo = Repo.discover()
    print(f"| reindex {count} runs | {_seconds(repo.reindex):.2f} s |")
    newest = repo.runs(limit=1)[0].id
    print(f"| look up a run by its id | {_seconds(lambda: repo.run_of(newest)) * 1000:.2f} ms |")
    print(f"| list the newest 20 | {_seconds(lambda: repo.runs(limit=20)) * 1000:.2f} ms |")
    packed = sum(path.stat().st_size for path in Path(".git/objects/pack").glob("*.pack"))
    print(f"| git packs, a run | {packed / count:.0f} bytes |")


def zenml(count: int) -> None:
    """ZenML's local orchestrator on as many no-op steps, executed and cached."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    from zenml import pipeline, step

    @step
    def start() -> int:
        return 1

    @step
    def link(value: int, position: int) -> int:
        return value

    @pipeline
    def chain() -> None:
        value = start()
        for position in range(count - 1):
            value = link(value, position)

    first = _seconds(lambda: chain.with_options(enable_cache=False)())
    chain()
    again = _seconds(chain)
    print("| pipeline | executed | cached |\n|---|---:|---:|")
    print(f"| chain of {count} | {first / count * 1000:.0f} | {again / count * 1000:.0f} |")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd() / "pipelines"))
    {"steps": steps, "runs": runs, "zenml": zenml}[sys.argv[1]](int(sys.argv[2]))
