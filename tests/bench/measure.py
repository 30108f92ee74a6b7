"""Compare whole commands by time and memory, fairly, on a machine that does other things too.

``compare`` interleaves the commands (A B A B …) so that a slow minute hits all of them alike, and
says under which conditions. A row's median is what to quote; min and max say how far to trust it.
"""

from __future__ import annotations

import compileall
import datetime as dt
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gitml
from gitml.testing.sealed import sealed_variables

# The kernel counts what a process had before it became another program towards that one's peak. So
# each command is started by a bare interpreter without site-packages, never by this process, which
# may hold half of PyArrow; what that interpreter has itself is the floor of what can be measured.
_STARTER = """\
import json, os, sys, time
quiet = os.open(os.devnull, os.O_RDONLY)
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
files = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate((quiet, log, log))]
begin = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=files)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begin
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps([seconds, cpu, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


@dataclass(frozen=True)
class Usage:
    """One run: wall time, CPU time of all its processes, the largest one's peak RSS."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Measurement:
    """One command over all its runs: seconds of each by the clock and on all processors, its peak.

    On a busy machine the processors' time says more: it leaves out the waiting.
    """

    name: str
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
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
            "| command | median | min | max | CPU | peak RSS |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in self.rows:
            cpu = statistics.median(row.cpu_seconds)
            times = (row.median, min(row.seconds), max(row.seconds), cpu)
            cells = [row.name, *map(_duration, times), f"{row.peak_bytes / 1e6:.0f} MB"]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def user_environment(home: Path) -> dict[str, str]:
    """The sealed environment of a process as a user would start it, with ``home`` as its home.

    ``PYTHONDONTWRITEBYTECODE``, which test machines like to set, does not get in: with it a
    command that is not installed for good compiles its source at every start, which was half
    of what `gitml add` took. What is compiled is made here, before anybody looks at the clock.
    """
    compileall.compile_dir(Path(gitml.__file__).parent, quiet=1)
    variables = sealed_variables(home)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


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
    used: dict[str, list[Usage]] = {name: [] for name in commands}
    for round_number in range(warmup + runs):
        for name, command in commands.items():
            one = once(name, command, cwd=cwd, env=env)
            if round_number >= warmup:
                used[name].append(one)
    floor = once("true", ["true"], cwd=cwd, env=env).peak_bytes
    rows = tuple(
        Measurement(
            name,
            tuple(one.seconds for one in each),
            tuple(one.cpu_seconds for one in each),
            max(one.peak_bytes for one in each),
        )
        for name, each in used.items()
    )
    return Table(rows, _conditions(runs, warmup, floor))


def once(
    name: str,
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path = Path(os.devnull),
    limit: float | None = None,
) -> Usage:
    """What one run of a command took.

    ``log`` gets what the command writes. After ``limit`` seconds it is killed with all that it
    started. Raises RuntimeError, with ``name`` in it, unless it ends in time and with status 0.
    """
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, str(log), *command]
    with subprocess.Popen(
        starter,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"{name} was stopped after {limit:.0f} s") from None
            raise
    if process.returncode:
        raise RuntimeError(f"{name} cannot be started: {err.strip().splitlines()[-1]}")
    seconds, cpu, peak, status = json.loads(out)
    if status:
        raise RuntimeError(f"{name} ended with status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(seconds, cpu, peak * unit)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def machine() -> str:
    """The conditions that any figure needs beside it: hardware, load, versions, the day."""
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    return (
        f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}; "
        f"{git.strip()}; {dt.datetime.now(dt.UTC):%Y-%m-%d}"
    )


def _conditions(runs: int, warmup: int, floor: int) -> str:
    return (
        f"{machine()}. {runs} interleaved runs after {warmup} to warm up; "
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
