"""Commands in a process of their own without its start: forked from one that has imported all.

A fault sweep runs the same command thousands of times, and a new interpreter spends four fifths of
each on imports. So one process imports gitml and what it may need, and every command is a fork of
it, in a session of its own, which dies, is traced and is limited like any other process.

    python -m tests.faults.warm      reads one request a line, answers with pid and wait status
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import itertools
import json
import os
import pkgutil
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.faults.tracing import OPTIONS

_BE_SUBREAPER = 36
_ALLOW_TRACER = 0x59616D61
_LINGERS = 10.0
"""Seconds for which something of a command may go on when its first process has ended."""

_LAZY = ("blake3", "dulwich.pack", "pyarrow", "sqlite3", "zstandard", "numpy")


@dataclass(frozen=True)
class Ended:
    """How a command ended: the code as ``subprocess`` has it (-9 is a kill) and all it printed."""

    code: int
    text: str


class Warm:
    """The client of one warm process; ended by `close`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        variables: Mapping[str, str] | None = None,
        attach: Callable[[int], Any] = lambda pid: None,
        traced: bool = False,
        largest: int | None = None,
        short: bool = False,
        log: Path | None = None,
    ) -> Ended:
        """Run ``gitml …`` or ``<script>.py …`` in the folder and wait for its end.

        ``attach`` is called with the pid, which is its session's id too; if it is ``traced``, the
        command waits until a tracer has hold of it.
        ``largest`` limits the size of the files that it writes; ``short`` lets every write of
        Python's take only half of the bytes, as the system may at any time. What the command
        prints goes to ``log``, which is a file beside the folder unless it is given.
        """
        log = log or folder.with_name(folder.name + ".out")
        request = {
            "command": list(command),
            "folder": str(folder),
            "log": str(log),
            "variables": {**os.environ, **(variables or {})},
            "traced": traced,
            "largest": largest,
            "short": short,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        attach(pid)
        status = int(self._process.stdout.readline())
        return Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    """Answer requests until the client goes."""
    import gitml

    _adopt_orphans()
    for one in pkgutil.walk_packages(gitml.__path__, "gitml."):
        if not one.name.startswith(("gitml.testing", "gitml.demo", "gitml.__main__")):
            importlib.import_module(one.name)
    for name in _LAZY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.dont_write_bytecode = True
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _become(request, writing)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        print(pid, flush=True)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):  # a git that outlives its parent would only tidy up
            _end_group(pid)
        _await_group(pid)
        print(status, flush=True)


def _adopt_orphans() -> None:
    """Become the parent of whatever a command leaves behind, to see when it is gone."""
    ctypes.CDLL(None).prctl(_BE_SUBREAPER, 1, 0, 0, 0)


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _await_group(group: int) -> None:
    """Wait until no process of a command is left; what lives on for long is made to go."""
    deadline = time.monotonic() + _LINGERS
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    _end_group(group)
                time.sleep(0.001)


def _become(request: Mapping[str, Any], ready: int) -> NoReturn:
    """Be the command.

    Its pid is told when ``ready`` is closed: from then on every call that is counted is its own.
    """
    code = 70
    try:
        os.setsid()
        _redirect(request["log"])
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["variables"])
        time.tzset()
        if request["largest"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"],) * 2)
        if request["short"]:
            _take_half()
        status = _allow_tracer()
        os.close(ready)
        if request["traced"]:
            _await_tracer(status)
        os.close(status)
        _number_children()
        _trace_workers()
        code = _execute(request["command"])
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    """Let the command say everything to one file, and ask nobody."""
    for path, flags, target in (
        (os.devnull, os.O_RDONLY, 0),
        (log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 1),
    ):
        descriptor = os.open(path, flags, 0o644)
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.dup2(1, 2)


def _take_half() -> None:
    """Let every write take only the first half of what it is given, down to one byte."""
    write = os.write

    def half(descriptor: int, data: Any) -> int:
        view = memoryview(data).cast("B")
        return write(descriptor, view[: (len(view) + 1) // 2])

    os.write = half


def _allow_tracer() -> int:
    """Let any process trace this one; a descriptor of the file that says whether one does."""
    ctypes.CDLL(None).prctl(_ALLOW_TRACER, ctypes.c_ulong(-1), 0, 0, 0)
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)


def _await_tracer(status: int) -> None:
    """Wait until a tracer has hold of this process; by no call that it would count."""
    while b"TracerPid:\t0\n" in os.pread(status, 1 << 16, 0):
        time.sleep(0.0005)
    time.sleep(0.002)


def _number_children() -> None:
    """Give each process that the command starts its number, in the order of the program.

    Of two that run side by side either may be the first to begin.
    """
    numbers = itertools.count(1)

    def number(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            _, _, _, env = arguments
            name, value = "FAULT_NUMBER", str(next(numbers))
            if env is None:
                os.environ[name] = value
            else:
                is_bytes = isinstance(next(iter(env), ""), bytes)
                env[name.encode() if is_bytes else name] = value

    sys.addaudithook(number)


def _trace_workers() -> None:
    """Have a process that the command forks traced like the command, as ``worker.<n>``."""
    numbers = itertools.count(1)
    forked: list[int] = []

    def begin() -> None:
        name = f"worker.{forked[-1]}"
        wanted = os.environ.get("FAULT_PROCESS")
        if wanted not in ("all", name):
            return
        inject = ["-e", f"inject={os.environ['FAULT_INJECTED']}"] if wanted == name else []
        log = f"{os.environ['FAULT_FOLDER']}/{name}"
        argv = [*OPTIONS, *inject, "-o", log, "-p", str(os.getpid())]
        status = _allow_tracer()
        subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        _await_tracer(status)
        os.close(status)

    os.register_at_fork(before=lambda: forked.append(next(numbers)), after_in_child=begin)


def _execute(command: Sequence[str]) -> int:
    """Run the command in this process; its exit code."""
    sys.argv = list(command)
    try:
        if command[0] == "gitml":
            from gitml.cli import main

            main()
        else:
            sys.path.insert(0, str(Path(command[0]).parent))
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
