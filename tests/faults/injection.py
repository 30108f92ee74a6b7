"""Faults at chosen system calls of a command, of its Python, its workers and every git it starts.

A command is traced undisturbed first. A `Point` is then a process, a call and how many of this
call it has made by then (strace counts each call by itself); a `Fault` is what happens there:
either everything that belongs to the command dies at once, as it does when a machine or a
container goes down, or the one call fails. A worker dies alone: the command can go on without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.tracing import OPTIONS, Call, read_trace
from tests.faults.warm import Ended, Warm

PYTHON = "python"
WORKER = "worker"
KILL = "KILL"
STOP = "STOP"

_GIT = """\
#!/bin/sh
n=$FAULT_NUMBER
if [ "$FAULT_PROCESS" = all ]; then
    exec {strace} -o "$FAULT_FOLDER/git.$n" {git} "$@"
elif [ "$FAULT_PROCESS" = git.$n ]; then
    {strace} -e inject="$FAULT_INJECTED" -o "$FAULT_FOLDER/git.$n" {git} "$@"
    code=$?
    [ $code = 137 ] && kill -KILL 0
    exit $code
fi
exec {git} "$@"
"""


@dataclass(frozen=True, slots=True)
class Point:
    """The ``nth`` call of this name of a process.

    That is ``python``, or ``git.2`` for a git that Python started as its second process, or
    ``worker.1`` for the first that it forked to share its work with.
    """

    process: str
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.process} {self.call} {self.nth}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point: ``KILL``, ``STOP``, or the errno with which the call fails."""

    point: Point
    what: str = KILL

    def __str__(self) -> str:
        return f"{self.what} at {self.point}"

    @property
    def injection(self) -> str:
        """The fault in the words of strace."""
        what = f"{'signal' if self.what in (KILL, STOP) else 'error'}={self.what}"
        return f"{self.point.call}:{what}:when={self.point.nth}"


class Missed(AssertionError):
    """The command did not come to the point: nothing was tested."""


class Injector:
    """Runs commands with a git on their path that can be traced and disturbed too."""

    def __init__(self, folder: Path, warm: Warm) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._warm = warm
        self._bin = folder / "bin"
        self._bin.mkdir(exist_ok=True)
        wrapper = self._bin / "git"
        git = shutil.which("git")
        wrapper.write_text(_GIT.format(strace=" ".join(OPTIONS), git=git))
        wrapper.chmod(0o755)

    def trace(self, command: Sequence[str], folder: Path) -> tuple[Ended, list[Call]]:
        """The undisturbed command and the calls of all its processes, in the order of time."""
        self._forget()
        log = self._folder / PYTHON
        ended = self._run(command, folder, "all", log, [], "")
        calls = list(read_trace(PYTHON, log, folder))
        for path in self._logs():
            calls += read_trace(path.name, path, folder)
        return ended, sorted(calls, key=lambda call: call.at)

    def disturb(
        self,
        command: Sequence[str],
        folder: Path,
        fault: Fault,
        *,
        watch: Callable[[int], None] = lambda session: None,
    ) -> Ended:
        """The command with a fault; raises Missed when it did not happen.

        ``watch`` is called with the id of the command's session when it begins; who stops a
        command has to end it there.
        """
        self._forget()
        process = fault.point.process
        log = self._folder / process
        options = ["-e", f"inject={fault.injection}"] if process == PYTHON else []
        own = log if process == PYTHON else Path(os.devnull)
        ended = self._run(command, folder, process, own, options, fault.injection, watch)
        if fault.what == KILL and process.startswith(WORKER):
            said = log.read_text(errors="replace") if log.exists() else ""
            happened = said.rstrip().endswith((" = ?", "<unfinished ...>"))
        elif fault.what in (KILL, STOP):
            happened = ended.code == -9
        else:
            happened = log.exists() and "(INJECTED)" in log.read_text(errors="replace")
        if not happened:
            raise Missed(f"{fault} did not happen: exit {ended.code}\n{ended.text}")
        return ended

    def _forget(self) -> None:
        for path in (self._folder / PYTHON, *self._logs()):
            path.unlink(missing_ok=True)

    def _logs(self) -> list[Path]:
        """The traces of the processes that the command started."""
        return [*self._folder.glob("git.*"), *self._folder.glob(f"{WORKER}.*")]

    def _run(
        self,
        command: Sequence[str],
        folder: Path,
        process: str,
        log: Path,
        options: Sequence[str],
        injected: str,
        watch: Callable[[int], None] = lambda session: None,
    ) -> Ended:
        tracers: list[subprocess.Popen[bytes]] = []

        def attach(pid: int) -> None:
            watch(pid)
            if process not in ("all", PYTHON):
                return
            argv = [*OPTIONS, *options, "-o", str(log), "-p", str(pid)]
            tracers.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))

        variables = {
            "FAULT_FOLDER": str(self._folder),
            "FAULT_PROCESS": process,
            "FAULT_INJECTED": injected,
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
        }
        is_traced = process in ("all", PYTHON)
        ended = self._warm.run(
            command,
            folder,
            variables=variables,
            attach=attach,
            traced=is_traced,
            log=self._folder / "said",
        )
        for tracer in tracers:
            tracer.wait(timeout=60)
        return ended
