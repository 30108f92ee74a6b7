"""The place where faults are tried: each scenario prepared once, then copied for every fault."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.faults.injection import KILL, STOP, WORKER, Fault, Injector, Missed, Point
from tests.faults.oracle import World, expect_same, judge, leftovers
from tests.faults.power import Cutter, Disk
from tests.faults.scenarios import Scenario
from tests.faults.tracing import Call
from tests.faults.warm import Ended, Warm
from tests.workshop import Workshop

_FAILURES = {
    **dict.fromkeys(("write", "pwrite64", "writev", "copy_file_range"), ("ENOSPC", "EIO")),
    **dict.fromkeys(("fsync", "fdatasync", "syncfs"), ("EIO",)),
    **dict.fromkeys(("rename", "renameat", "renameat2"), ("EIO", "ENOSPC")),
    **dict.fromkeys(("link", "linkat"), ("EMLINK", "EIO")),
    **dict.fromkeys(("mkdir", "mkdirat", "symlink", "symlinkat"), ("ENOSPC",)),
    **dict.fromkeys(("open", "openat", "openat2", "creat"), ("ENOSPC", "EMFILE")),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), ("EIO",)),
    **dict.fromkeys(("ftruncate", "truncate", "fallocate"), ("EIO",)),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "utimensat"), ("EPERM",)),
}
"""How each call may fail. What only makes a place tidier (unlink) fails as a bad disk lets it."""

_CODES = frozenset({0, 1, 2, 5, 11, 12, 13})
"""The documented codes with which a command may end that the disk let down."""


@dataclass(frozen=True)
class Undisturbed:
    """A scenario as it goes without a fault: the world before and after, and every call.

    ``root`` is the top of the work tree in which it was traced; its calls name it.
    """

    root: Path
    before: World
    after: World
    outcome: Any
    calls: Sequence[Call]

    @cached_property
    def kills(self) -> list[Fault]:
        """A kill at every mutating call of every process."""
        return [Fault(_point(call)) for call in self.calls if call.mutates]

    @cached_property
    def errors(self) -> list[Fault]:
        """Each way in which a call on a file may fail, at each of them."""
        return [
            Fault(_point(call), what)
            for call in self.calls
            if call.mutates and call.is_of_a_file
            for what in _FAILURES.get(call.name, ())
        ]


class Bench:
    """Scenarios below one folder, on the fastest disk there is; closed by `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self.warm = Warm()
        self.injector = Injector(folder / "injector", self.warm)
        self._models: dict[str, Workshop] = {}
        self._undisturbed: dict[str, Undisturbed] = {}

    def model(self, scenario: Scenario) -> Workshop:
        """The repository of a scenario, which is only ever copied."""
        if scenario.name not in self._models:
            made = Workshop.at(self._folder / scenario.name)
            here = Path.cwd()
            os.chdir(made.path)
            try:
                scenario.prepare(made)
            finally:
                made.forget()
                made.close()
                os.chdir(here)
            self._models[scenario.name] = made
        return self._models[scenario.name]

    @contextlib.contextmanager
    def copy(self, scenario: Scenario, disk: Path | None = None) -> Iterator[Workshop]:
        """A copy of a scenario's repository for the length of a block, perhaps on another disk.

        What a command keeps for its user lies beside it, and is as new: a second copy would else
        have fewer calls than the first.
        """
        model = self.model(scenario)
        folder = (disk or self._folder) / f"copy-{next(self._numbers)}" / "bob"
        folder.parent.mkdir()
        subprocess.run(["cp", "-a", str(model.path), str(folder)], check=True)
        workshop = Workshop(folder)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("XDG_STATE_HOME", str(folder.parent / "state"))
                yield workshop
        finally:
            workshop.close()
            shutil.rmtree(folder.parent)

    def undisturbed(self, scenario: Scenario) -> Undisturbed:
        """A scenario without a fault; also run twice, for the same again must exit 0."""
        if scenario.name not in self._undisturbed:
            with self.copy(scenario) as workshop:
                before = World.of(workshop)
                ended, calls = self.injector.trace(scenario.command, workshop.path)
                expect_same(ended.text, ended.code, 0)
                expect_same("left over", leftovers(workshop), [])
                after = World.of(workshop)
                outcome = scenario.outcome(workshop)
                judge(workshop)
                self._again(scenario, workshop)
                known = Undisturbed(workshop.path, before, after, outcome, calls)
                self._check_end(scenario, workshop, known)
            self._undisturbed[scenario.name] = known
        return self._undisturbed[scenario.name]

    def disturb(self, scenario: Scenario, fault: Fault) -> None:
        """Run a scenario with a fault and judge it; raises AssertionError, Missed."""
        known = self.undisturbed(scenario)
        with self.copy(scenario) as workshop:
            ended = self.injector.disturb(scenario.command, workshop.path, fault)
            if fault.what != KILL or fault.point.process.startswith(WORKER):
                _check_words(ended)
            self.check_after(scenario, workshop, known)

    def write_slowly(self, scenario: Scenario) -> None:
        """Run a scenario while every write takes half of its bytes; nothing may differ."""
        known = self.undisturbed(scenario)
        with self.copy(scenario) as workshop:
            ended = self.warm.run(scenario.command, workshop.path, short=True)
            expect_same(ended.text, ended.code, 0)
            self._check_end(scenario, workshop, known)

    def limit(self, scenario: Scenario, largest: int) -> None:
        """Run a scenario whose files cannot grow beyond so many bytes, and judge it."""
        known = self.undisturbed(scenario)
        with self.copy(scenario) as workshop:
            ended = self.warm.run(scenario.command, workshop.path, largest=largest)
            _check_words(ended)
            self.check_after(scenario, workshop, known)

    def fill_disk(self, scenario: Scenario, disk: Path, room: int) -> None:
        """Run a scenario on a disk with so much room, and judge it when there is room again."""
        known = self.undisturbed(scenario)
        filler = disk / "filler"
        with self.copy(scenario, disk) as workshop:
            free = shutil.disk_usage(disk).free
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, free - room))
            try:
                ended = self.warm.run(scenario.command, workshop.path, log=self._folder / "out")
            finally:
                filler.unlink()
            _check_words(ended)
            self.check_after(scenario, workshop, known)

    def cut_power(self, scenario: Scenario, disk: Disk, point: Point, flags: int) -> None:
        """Cut the power behind a call of a scenario; raises AssertionError, Missed."""
        known = self.undisturbed(scenario)
        cutters: list[Cutter] = []

        def watch(session: int) -> None:
            cutters.append(Cutter(disk, session, flags))
            cutters[0].start()

        with self.copy(scenario, disk.path) as workshop:
            os.sync()
            fault = Fault(point, STOP)
            try:
                self.injector.disturb(scenario.command, workshop.path, fault, watch=watch)
            finally:
                cutters[0].join()
                disk.restart()
            self.check_after(scenario, workshop, known)

    def check_after(self, scenario: Scenario, workshop: Workshop, known: Undisturbed) -> None:
        """What must hold after a fault, and after the same command again."""
        torn = World.of(workshop).torn_from(known.before, known.after)
        if not scenario.in_place:
            expect_same("torn", torn, [])
        if not scenario.damaged:
            judge(workshop, unfinished=True)
        scenario.always(workshop)
        self._again(scenario, workshop)
        self._check_end(scenario, workshop, known)

    def _again(self, scenario: Scenario, workshop: Workshop) -> None:
        again = self.warm.run(scenario.command, workshop.path)
        if again.code not in scenario.codes_again:
            raise AssertionError(f"the same again ends with {again.code}: {again.text}")

    def _check_end(self, scenario: Scenario, workshop: Workshop, known: Undisturbed) -> None:
        """The end is that of the undisturbed command, and nothing is left over."""
        end = World.of(workshop)
        for one in ("files", "staged", "refs"):
            expect_same(one, getattr(end, one), getattr(known.after, one))
        if not scenario.collects:
            expect_same("lost objects", known.after.objects - end.objects, frozenset())
        if scenario.keeps:
            expect_same("more objects", end.objects - known.after.objects, frozenset())
        expect_same("outcome", scenario.outcome(workshop), known.outcome)
        judge(workshop)
        expect_same("left over", leftovers(workshop), [])

    def sweep(self, scenario: Scenario, faults: Iterable[Fault]) -> Swept:
        """Try faults, all before any is reported; a point that moved is tried three times."""
        swept = Swept()
        for fault in faults:
            swept.add(fault, self._verdict(scenario, fault))
        return swept

    def _verdict(self, scenario: Scenario, fault: Fault) -> str:
        """What came of a fault: "good", "missed", or what was wrong."""
        for _ in range(3):
            try:
                self.disturb(scenario, fault)
            except Missed:
                continue
            except AssertionError as error:
                return str(error)
            return "good"
        return "missed"

    def close(self) -> None:
        """End the warm process."""
        self.warm.close()


class Swept:
    """What came of many faults."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, fault: Fault, verdict: str) -> None:
        """Count one; anything but "good" and "missed" is wrong.

        What each worker does depends on who is faster, so its points may be missed.
        """
        if verdict == "missed" and fault.point.process.startswith(WORKER):
            verdict = "missed by a worker"
        is_wrong = verdict != "good" and not verdict.startswith("missed")
        self.counts["wrong" if is_wrong else verdict] += 1
        if is_wrong:
            self.wrong.append(f"{fault}:\n{verdict[:3000]}")

    def check(self) -> None:
        """Raise AssertionError when a fault did harm, or when more were not reached than one in 50.

        A few calls depend on the time and on the numbers of processes; of a part of a sweep that
        has only a dozen, one may.
        """
        assert not self.wrong, f"{len(self.wrong)} wrong\n" + "\n\n".join(self.wrong[:10])
        total = sum(self.counts.values())
        assert total
        assert self.counts["missed"] <= max(total // 50, total > 10), self.counts


def _point(call: Call) -> Point:
    return Point(call.process, call.name, call.nth)


def _check_words(ended: Ended) -> None:
    """A command that the disk let down says so in our words, with a documented code."""
    is_told = ended.code == 0 or "Error: " in ended.text
    if ended.code not in _CODES or "Traceback" in ended.text or not is_told:
        raise AssertionError(f"not told well: exit {ended.code}\n{ended.text}")
