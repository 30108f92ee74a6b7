"""Compare whole commands by time and memory, fairly, on a machine that does other things too.

``compare`` interleaves the commands (A B A B …) so that a slow minute hits all of them alike, and
says under which conditions. A row's median is what to quote; min and max say how far to trust it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The kernel counts what a process had before it became another program towards that one's peak. So
# each command is started by a bare interpreter without site-packages, never by this process, which
# may hold half of PyArrow; what that interpreter has itself is the floor of what can be measured.
_STARTER = """\
import json, os, sys, time
quiet = os.open(os.devnull, os.O_RDWR)
files = [(os.POSIX_SPAWN_DUP2, quiet, number) for number in (0, 1, 2)]
begin = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=files)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


@dataclass(frozen=True)
class Measurement:
    """One command over all its runs: seconds of wall time of each, and the largest peak RSS."""

    name: str
    seconds: tuple[float, ...]
    peak_bytes: int

    @property
    def median(self) -> float:
        """The middle run, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Table:
    """What ``compare`` measured; its text is Markdown, the conditions above the rows."""

    rows: tuple[Measurement, ...]
    conditions: str

    def __str__(self) -> str:
        lines = [
            self.conditions,
            "",
            "| command | median | min | max | peak RSS |",
            "|---|---:|---:|---:|---:|",
        ]
        for row in self.rows:
            times = (row.median, min(row.seconds), max(row.seconds))
            cells = [row.name, *map(_duration, times), f"{row.peak_bytes / 1e6:.0f} MB"]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def compare(
    commands: Mapping[str, Sequence[str]],
    runs: int = 7,
    warmup: int = 1,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Table:
    """Run every command ``warmup + runs`` times in turn, and tell how long the last ``runs`` took.

    Names are for the table; values are argument lists. Their input and output is ``/dev/null``.
    Raises RuntimeError when one of them fails: a fast failure is no result.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0)
    for round_number in range(warmup + runs):
        for name, command in commands.items():
            taken, peak = _run_once(name, command, cwd, env)
            if round_number >= warmup:
                seconds[name].append(taken)
                peaks[name] = max(peaks[name], peak)
    floor = _run_once("true", ["true"], cwd, env)[1]
    rows = tuple(Measurement(name, tuple(seconds[name]), peaks[name]) for name in commands)
    return Table(rows, _conditions(runs, warmup, floor))


def _run_once(
    name: str, command: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
) -> tuple[float, int]:
    """Seconds and peak bytes of one run."""
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, *command]
    done = subprocess.run(starter, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} cannot be started: {done.stderr.strip().splitlines()[-1]}")
    seconds, peak, status = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{name} ended with status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return float(seconds), int(peak) * unit


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _conditions(runs: int, warmup: int, floor: int) -> str:
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    return (
        f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}; "
        f"{git.strip()}; {dt.datetime.now(dt.UTC):%Y-%m-%d}. "
        f"{runs} interleaved runs after {warmup} to warm up; "
        f"peaks below {floor / 1e6:.0f} MB cannot be told apart."
    )


def _processor() -> str:
    """The model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
