"""Loops that are measured inside of one process; ``python loops.py steps 1000`` prints a table."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIMED = 100


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


def ten(runs_each: int) -> None:
    """A chain of ten no-op steps, whole runs in a process that has run it before."""
    import noop

    first = _seconds(lambda: noop.chain.run({"length": 9}, cache=False))
    again = [_seconds(lambda: noop.chain.run({"length": 9}, cache=False)) for _ in range(runs_each)]
    cached = [_seconds(lambda: noop.chain(9)) for _ in range(runs_each)]
    times = (first, statistics.median(again), statistics.median(cached))
    cells = " | ".join(f"{seconds * 1000:.0f} ms" for seconds in times)
    print("| ten steps | first run of the process | executed | cached |\n|---|---:|---:|---:|")
    print(f"| chain | {cells} |")


def items(count: int) -> None:
    """A no-op step that is mapped over many items: all, one changed, none changed."""
    import noop

    print("| items | all computed | one changed | none |\n|---|---:|---:|---:|")
    times = [_seconds(lambda last=last: noop.items(count, last)) for last in (0, -1, -1)]
    print(f"| {count:,} | {' | '.join(f'{seconds:.2f} s' for seconds in times)} |")


def runs(count: int) -> None:
    """Many runs of a pipeline of two steps, each recorded by itself, then the index made anew.

    The first and the last hundred are timed; between them two processes share the work.
    """
    from gitml import Repo

    timed = min(TIMED, count // 2)
    first = _seconds(lambda: fill(timed)) / timed
    halves = (count - 2 * timed) // 2
    workers = [_started("fill", number) for number in (halves, count - 2 * timed - halves)]
    if ends := [worker.wait() for worker in workers if worker.wait()]:
        raise RuntimeError(f"runs could not be recorded: {ends}")
    last = _seconds(lambda: fill(timed)) / timed
    print("| work | time |\n|---|---:|")
    print(f"| record a run of two cached steps, the first {timed} | {first * 1000:.1f} ms |")
    print(f"| the same, the last {timed} of {count} | {last * 1000:.1f} ms |")
    repo = Repo.discover()
    assert len(repo.runs()) == count
    print(f"| reindex {count} runs | {_seconds(repo.reindex):.2f} s |")
    newest = repo.runs(limit=1)[0].id
    print(f"| look up a run by its id | {_seconds(lambda: repo.run_of(newest)) * 1000:.2f} ms |")
    print(f"| list the newest 20 | {_seconds(lambda: repo.runs(limit=20)) * 1000:.2f} ms |")
    packed = sum(path.stat().st_size for path in Path(".git/objects/pack").glob("*.pack"))
    print(f"| git packs, a run | {packed / count:.0f} bytes |")


def fill(count: int) -> None:
    """As many runs, one after the other."""
    import noop

    for _ in range(count):
        noop.chain(1)


def _started(*arguments: object) -> subprocess.Popen[bytes]:
    """A loop of this file at work in another process."""
    return subprocess.Popen([sys.executable, __file__, *map(str, arguments)])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd() / "pipelines"))
    {"steps": steps, "ten": ten, "items": items, "runs": runs, "fill": fill}[sys.argv[1]](
        int(sys.argv[2])
    )
