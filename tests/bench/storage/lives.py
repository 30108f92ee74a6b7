"""What is done with each tool, step by step; every timed step is a row of the table.

One life of a repository: data is put, added, committed, looked at, checked out. So a row's command
finds what a user's would find, and a later row (a second version) stands on an earlier one.
"""

from __future__ import annotations

import filecmp
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.bench.measure import Usage, once
from tests.bench.storage.inputs import MIB, Inputs
from tests.bench.storage.place import Place, disk_bytes
from tests.bench.storage.results import Results
from tests.bench.storage.tools import Tool


class Abandoned(Exception):
    """The life of a tool ended early; what was measured before counts."""


@dataclass
class Life:
    """One tool at work in a fresh place; what it does is recorded under the names of the works."""

    tool: Tool
    place: Place
    inputs: Inputs
    results: Results
    words: dict[str, str]
    log: Path
    limit: float
    """Seconds after which a command is stopped."""
    patience: float
    """Seconds above which a tool is not asked for the same with the next version."""
    looks: int
    """How often a command that only looks is run in each life."""
    tell: Callable[[str], None]
    _adds: int = field(default=0)
    _looks: int = field(default=0)
    _store_before: int = field(default=0)

    def begin(self) -> None:
        """An empty folder, and in it what the tool needs before the first add."""
        self.place.fresh()
        for command in self.tool.start:
            self._quietly(command, "")

    def put(self, source: Path, name: str) -> None:
        """Give the tool a copy of ``source``, as a new file or in place of an older one."""
        self.place.put(source, name)

    def add(self, work: str, name: str) -> None:
        """Time an add of what was put, and what the store grew by; then commit it."""
        self.place.away("copied")
        self._store_before = self._stored()
        if self.tool.add is not None:
            self._adds += 1
            used = self._timed(work, self.tool.add, name)
            grown = self._stored() - self._store_before if self.tool.store else None
            self._record(work, used, grown)
        if self.tool.keep is not None:
            self._quietly(self.tool.keep, name)

    def maintain(self, work: str) -> None:
        """Time the tool's maintenance; its figure of bytes is what is left of the add's growth."""
        if self.tool.maintain is not None:
            used = self._timed(work, self.tool.maintain, "")
            self._record(work, used, self._stored() - self._store_before)

    def status(self, work: str, name: str) -> None:
        """Time the command that tells whether anything changed."""
        for _ in range(self.looks if self.tool.status is not None else 0):
            self._looks += 1
            self._record(work, self._timed(work, self.tool.status or "", name))

    def diff(self, work: str) -> None:
        """Time the comparison of the last two commits."""
        for _ in range(self.looks if self.tool.diff is not None else 0):
            self._record(work, self._timed(work, self.tool.diff or "", ""))

    def checkout(self, work: str, name: str, source: Path) -> None:
        """Take the data away and time how it comes back; it must be what it was."""
        if self.tool.checkout is None:
            return
        self.place.away(name, "out")
        used = self._timed(work, self.tool.checkout, name)
        restored = self.place.work / self.tool.restored.format(name=name)
        if not _same(source, restored):
            self._abandon(work, "brought other bytes back")
        self._record(work, used)

    def too_slow(self, work: str, next_works: tuple[str, ...]) -> bool:
        """Whether a peer took so long for ``work`` that the next ones are left out, visibly."""
        figure = self.results.figure(work, self.tool.name)
        if self.tool.ours or figure is None or figure.median <= self.patience:
            return False
        for later in next_works:
            self.results.gap(later, self.tool.name, f"not run: {figure.median:.0f} s for the first")
        return True

    def _timed(self, work: str, command: str, name: str) -> Usage:
        self.place.settle()
        argv = self._argv(command, name)
        try:
            return once(
                argv[0],
                argv,
                cwd=self.place.work,
                env=self.place.env,
                log=self.log,
                limit=self.limit,
            )
        except RuntimeError as error:
            self._abandon(work, f"{error}: {self._last_words()}")

    def _record(self, work: str, used: Usage, grown: int | None = None) -> None:
        self.results.record(work, self.tool.name, used, grown)
        size = "" if grown is None else f", {grown / MIB:.1f} MiB"
        self.tell(
            f"{self.tool.name}: {work}: {used.seconds:.2f} s, CPU {used.cpu_seconds:.2f} s, "
            f"peak {used.peak_bytes / MIB:.0f} MiB{size}"
        )

    def _abandon(self, work: str, reason: str) -> NoReturn:
        self.results.gap(work, self.tool.name, f"failed: {reason}")
        self.tell(f"{self.tool.name}: {work}: failed: {reason}")
        raise Abandoned(f"{work} failed")

    def _quietly(self, command: str, name: str) -> None:
        argv = self._argv(command, name)
        with self.log.open("ab") as log:
            done = subprocess.run(
                argv,
                cwd=self.place.work,
                env=self.place.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            reason = f"`{shlex.join(argv)}` failed: {self._last_words()}"
            self.tell(f"{self.tool.name}: {reason}")
            raise Abandoned(reason)

    def _argv(self, command: str, name: str) -> list[str]:
        words = self.words | {"name": name, "stamp": f"s{self._adds}", "look": f"l{self._looks}"}
        return [word.format(**words) for word in shlex.split(command)]

    def _last_words(self) -> str:
        """What the log ends with: mostly why a command failed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _stored(self) -> int:
        return disk_bytes(self.place.work / name for name in self.tool.store)


def blob(life: Life) -> None:
    """One large file without structure, in and out again."""
    source = life.inputs.blob()
    life.results.sizes["add blob"] = source.stat().st_size
    life.begin()
    life.put(source, "blob.bin")
    life.add("add blob", "blob.bin")
    life.checkout("checkout blob", "blob.bin", source)


def table(life: Life) -> None:
    """Three versions of one large text file."""
    life.begin()
    versions = ("add table", "add table in places", "add table evenly")
    for number, work in enumerate(versions, 1):
        source = life.inputs.table(number)
        life.results.sizes[work] = source.stat().st_size
        life.put(source, "table.csv")
        life.add(work, "table.csv")
        if number == 1 and life.too_slow(work, versions[1:]):
            return
    life.results.sizes["maintain table"] = source.stat().st_size
    life.maintain("maintain table")


def files(life: Life) -> None:
    """Many small files: added, looked at, ten of them changed, and checked out."""
    source = life.inputs.files()
    life.begin()
    life.put(source, "files")
    life.add("add files", "files")
    life.status("status", "files")
    changed = _every(life.place.work / "files", 10)
    for path in changed:
        _replace(path, b"changed" + path.read_bytes()[7:])
    life.status("status 10 changed", "files")
    life.checkout("checkout files", "files", source)


def model(life: Life) -> None:
    """A real model as it is, fine-tuned, and in 16 bits."""
    life.begin()
    for kind in ("float32", "tuned", "float16", "bfloat16"):
        source = life.inputs.model(kind)
        if source is None:
            life.results.gap(f"add {kind}", life.tool.name, "the model is not installed")
            continue
        life.results.sizes[f"add {kind}"] = source.stat().st_size
        name = "model" if kind in ("float32", "tuned") else kind
        life.put(source, f"{name}.safetensors")
        life.add(f"add {kind}", f"{name}.safetensors")


def million(life: Life) -> None:
    """A million files, once: what must not grow without bounds."""
    life.begin()
    folder = life.place.work / "million"
    life.inputs.lend_million(folder)
    life.add("add million", "million")
    life.status("status million", "million")
    if not life.tool.ours:
        life.inputs.take_million_back(folder)
        return
    some = _every(folder, 2000)
    for number, path in enumerate(some):
        if number % 2:
            _replace(path, b"changed\n")
        else:
            path.rename(path.with_suffix(".new" if number % 4 else ".renamed"))
    life.add("add million again", "million")
    life.diff("diff million")


def _every(folder: Path, count: int) -> list[Path]:
    """``count`` of the files below, spread over all of them."""
    found = sorted(_files(folder))
    step = max(1, len(found) // count)
    return [Path(path) for path in found[::step][:count]]


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(parent, name)


def _replace(path: Path, content: bytes) -> None:
    """Another file in its place, as careful editors write: a stored file may share its bytes."""
    new = path.with_name("replacement")
    new.write_bytes(content)
    new.replace(path)


def _same(source: Path, restored: Path) -> bool:
    """Whether all of the data is back; of many files every hundredth is read."""
    if source.is_file():
        return restored.exists() and filecmp.cmp(source, restored, shallow=False)
    there = sorted(os.path.relpath(path, source) for path in _files(source))
    back = sorted(os.path.relpath(path, restored) for path in _files(restored))
    return there == back and all(
        filecmp.cmp(source / name, restored / name, shallow=False) for name in there[::100]
    )
