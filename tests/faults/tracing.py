"""What a command does to the disk, call by call, as strace tells it.

Each process has a trace of its own, so that the nth call of a name of a process is the nth call
that strace counts when it is told to inject a fault there. The traces carry times, which put the
calls of all processes in one order.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "open", "openat", "openat2", "creat"),
    *("truncate", "ftruncate", "fallocate", "fsync", "fdatasync", "syncfs", "sync"),
    *("chmod", "fchmod", "fchmodat", "utimensat", "setxattr", "fsetxattr", "ioctl"),
)
"""Every call that can change what is on disk or make it durable."""

STRACE = ("strace", "-qq", "-ttt", "-y", "-s", "32", "-e", "signal=none")
OPTIONS = (*STRACE, "-e", f"trace={','.join(CALLS)}")

_OPENING = ("open", "openat", "openat2", "creat")
_LINE = re.compile(r"(?P<at>[0-9.]+) (?P<name>\w+)\((?P<rest>.*)\Z", re.DOTALL)
_RESULT = re.compile(r"\) += (?P<result>-?[0-9]+|\?)(?P<more>.*)\Z")
_DESCRIPTOR = re.compile(r"(?P<number>[0-9]+|AT_FDCWD)<(?P<path>[^>]*)>(?:\(deleted\))?")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?|[0-9]+<[^>]*>(?:\(deleted\))?|AT_FDCWD<[^>]*>')


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one process: the ``nth`` of its name there, and the paths that it touches.

    ``paths`` are absolute, in the order of the arguments: a descriptor stands for its file, a name
    for itself. ``result`` is below zero for a failure. A pipe has a path like ``pipe:[7]``.
    """

    process: str
    name: str
    nth: int
    at: float
    paths: tuple[str, ...]
    flags: str
    result: int

    @property
    def creates(self) -> bool:
        """Whether this opens a file that need not have been there."""
        return self.name in _OPENING and ("O_CREAT" in self.flags or "O_TRUNC" in self.flags)

    @property
    def mutates(self) -> bool:
        """Whether the call can change a file or make it durable, as far as its name says."""
        if self.name == "ioctl":
            return "FICLONE" in self.flags
        return self.name not in _OPENING or self.creates

    @property
    def is_of_a_file(self) -> bool:
        """Whether it touches the file system: not a pipe, a socket or a device."""
        return bool(self.paths) and all(
            path.startswith("/") and not path.startswith(("/dev/null", "/proc/", "/dev/pts/"))
            for path in self.paths
        )


def read_trace(process: str, log: Path, folder: Path) -> Iterator[Call]:
    """The calls in a trace, in order; ``folder`` is where relative names begin."""
    counts: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name = match["name"]
        counts[name] += 1
        ended = _RESULT.search(match["rest"])
        arguments = match["rest"][: ended.start()] if ended else match["rest"]
        result = ended["result"] if ended else "?"
        value = int(result) if result != "?" else -1
        paths = tuple(_paths(name, arguments, folder))
        yield Call(process, name, counts[name], float(match["at"]), paths, arguments, value)


def _paths(name: str, arguments: str, folder: Path) -> Iterator[str]:
    """The paths among a call's arguments."""
    above = str(folder)
    if "NULL" in arguments.split(", ")[1:2]:  # utimensat of an open file
        name = ""
    writes_data = name.startswith(("write", "pwrite"))
    target_is_text = name in ("symlink", "symlinkat")
    for token in _TOKEN.findall(arguments):
        descriptor = _DESCRIPTOR.fullmatch(token)
        if descriptor is None:
            if writes_data:
                return
            if target_is_text:
                target_is_text = False
                continue
            text = token.rstrip(".").strip('"')
            yield os.path.normpath(os.path.join(above, text))
        elif _names_a_folder(name, descriptor["number"]):
            above = descriptor["path"]
        else:
            yield descriptor["path"]


def _names_a_folder(name: str, number: str) -> bool:
    """Whether a descriptor only says where the name that follows begins."""
    return number == "AT_FDCWD" or name.endswith("at") or name in ("renameat2", "openat2")
