"""The ordering law of promises about durability, checked on the trace of an undisturbed command.

A name is visible from the call that makes it (rename, link, mkdir, an open that creates), durable
when its bytes and then its folder were fsynced. The law, as data: which kinds of names there are,
and which kinds must be durable before a name of a kind may be made, since it refers to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.tracing import Call


@dataclass(frozen=True)
class Kind:
    """Names whose path from the top of the work tree matches; the first kind that does counts.

    ``after`` are the kinds that must be durable before. ``bytes_first`` says that the bytes must
    be on the disk before the name is visible, ``lasts`` that it must be durable in the end.
    """

    name: str
    pattern: str
    after: tuple[str, ...] = ()
    bytes_first: bool = True
    lasts: bool = True


_STORE = r"\.git/gitml/store"

LAW = (
    Kind("unseen", rf"{_STORE}/(tmp|condemned)/.*|.*\.lock|\.git/objects/(.*/)?tmp_.*"),
    Kind("unseen", r"\.git/(gitml/(?!store(/|$)).*|logs/.*|COMMIT_EDITMSG|.*\.keep|gc\..*)"),
    Kind("unseen", r"(.*/)?\.gitml-[^/]+\.tmp(/.*)?"),
    Kind("store", rf"\.git/gitml(/store(/[^/]*)?)?|{_STORE}/loose/.."),
    Kind("blob", rf"{_STORE}/packs/.*\.pack|{_STORE}/loose/../.*", after=("store",)),
    Kind("pack index", rf"{_STORE}/packs/.*\.idx", after=("store", "blob")),
    Kind(  # git takes one that is empty or cut off for none
        "list of commit-graphs",
        r"\.git/objects/info/commit-graphs/commit-graph-chain",
        bytes_first=False,
    ),
    Kind("git object", r"\.git/objects/.*", after=("store", "blob", "pack index")),
    Kind(
        "ref",
        r"\.git/(refs/.*|packed-refs|HEAD)",
        after=("store", "blob", "pack index", "git object"),
    ),
    Kind("git's own", r"\.git/.*", bytes_first=False, lasts=False),
    Kind("pointer", r"(.*/)?[^/]+\.gitml", after=("store", "blob", "pack index")),
    Kind(
        "file of the user",
        r".*",
        after=("store", "blob", "pack index"),
        bytes_first=False,
        lasts=False,
    ),
)

_UNSEEN = LAW[0]


def violations(calls: Iterable[Call], root: Path) -> list[str]:
    """What in a trace breaks the law; ``root`` is the top of the work tree."""
    disk = _Disk(root)
    found = [text for call in calls if call.result >= 0 for text in disk.do(call)]
    return found + list(disk.at_the_end())


def kind_of(path: str) -> Kind:
    """The kind of the name at a path from the top of the work tree."""
    return next(kind for kind in LAW if re.fullmatch(kind.pattern, path))


@dataclass
class _Disk:
    """Which bytes and which names would be gone after a power cut now."""

    root: Path
    dirty: set[str] = field(default_factory=set)
    pending: dict[str, Kind] = field(default_factory=dict)

    def do(self, call: Call) -> Iterator[str]:
        """Take a call into account; what is wrong with it."""
        paths = [path for path in call.paths if Path(path).is_relative_to(self.root)]
        match call.name:
            case "write" | "pwrite64" | "writev" | "pwritev" | "ftruncate" | "copy_file_range":
                self.dirty.update(paths[-1:])
            case "sendfile" | "ioctl":
                self.dirty.update(paths[:1])
            case "fsync" | "fdatasync":
                for path in paths:
                    self._flush(path)
            case "sync" | "syncfs":
                self.dirty.clear()
                self.pending.clear()
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                if len(paths) == 2:  # else git's index of our own, in a folder for such things
                    yield from self._move(call, *paths)
            case "mkdir" | "mkdirat" | "symlink" | "symlinkat":
                for path in paths:
                    yield from self._appear(call, path)
            case "unlink" | "unlinkat" | "rmdir":
                for path in paths:
                    self._vanish(path)
            case _ if call.creates:
                for path in paths[:1]:
                    yield from self._appear(call, path)

    def at_the_end(self) -> Iterator[str]:
        """What must last and would not."""
        for path, kind in self.pending.items():
            if kind.lasts:
                yield f"the {kind.name} {self._short(path)} is not durable in the end"

    def _flush(self, path: str) -> None:
        self.dirty.discard(path)
        self.pending = {
            name: kind for name, kind in self.pending.items() if str(Path(name).parent) != path
        }

    def _move(self, call: Call, old: str, new: str) -> Iterator[str]:
        is_dirty = old in self.dirty
        kind = kind_of(self._short(new))
        if is_dirty and kind.bytes_first and kind is not _UNSEEN and kind.name != "unseen":
            yield f"the {kind.name} {self._short(new)} is visible before its bytes ({call.name})"
        yield from self._appear(call, new)
        if is_dirty:
            self.dirty.add(new)
        if call.name.startswith("rename"):
            self._vanish(old)

    def _appear(self, call: Call, path: str) -> Iterator[str]:
        kind = kind_of(self._short(path))
        if kind.name == "unseen":
            return
        for other, waiting in self.pending.items():
            if waiting.name in kind.after:
                yield (
                    f"the {kind.name} {self._short(path)} is made by {call.name} while "
                    f"the {waiting.name} {self._short(other)} is not durable"
                )
        self.pending[path] = kind

    def _vanish(self, path: str) -> None:
        self.dirty.discard(path)
        self.pending.pop(path, None)

    def _short(self, path: str) -> str:
        return Path(path).relative_to(self.root).as_posix()
