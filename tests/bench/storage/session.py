"""One session of measuring: alone on the machine, tools in turn, within the time that it was given.

The tools take turns (A B C A B C …), so that a slow minute hits all of them alike. Everything is
done once; what is left of the time goes to more rounds, for the tools that do not take long.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import machine
from tests.bench.storage import xet
from tests.bench.storage.inputs import Inputs, copy
from tests.bench.storage.lives import Abandoned, Life
from tests.bench.storage.place import Place
from tests.bench.storage.results import Results
from tests.bench.storage.tools import ENVIRONMENT, TOOLS, Tool
from tests.bench.storage.works import SCENARIOS, Scenario


@dataclass(frozen=True)
class Settings:
    """What to measure, where, and how long it may take."""

    scale: float = 1
    minutes: float = 15
    runs: int = 3
    scenarios: tuple[str, ...] = tuple(each.name for each in SCENARIOS if each.name != "million")
    tools: tuple[str, ...] | None = None
    peers: Path | None = None
    folder: Path = Path(tempfile.gettempdir())
    patience: float = 20
    """Seconds: a slower tool has one run, and is not asked for the next version of a table."""
    limit: float = 300
    """Seconds after which any command is stopped."""
    lock: Path = Path(tempfile.gettempdir()) / "gitml-bench.lock"
    """Held while measuring, by one session on the machine."""


@contextmanager
def measured(settings: Settings, tell: Callable[[str], None]) -> Iterator[Results]:
    """Do all of it, telling of each step; waits until no other session measures.

    Cleans up behind the block, which takes a while. Leaves the inputs for the next time and the
    log of all commands in ``settings.folder``, and nothing else.
    """
    kept = settings.folder / "gitml-bench"
    kept.mkdir(parents=True, exist_ok=True)
    with _alone(settings.lock, tell):
        inputs = Inputs(kept, settings.scale, settings.peers)
        root = Path(tempfile.mkdtemp(prefix="work-", dir=kept))
        place = Place(root / "place", settings.peers, ENVIRONMENT)
        try:
            yield _Session(settings, tell, inputs, place, root / "log").run()
        finally:
            tell("deleting what the tools left")
            place.clear()
            if (root / "log").exists():
                (root / "log").replace(kept / "log")
            root.rmdir()


class _Session:
    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str], None],
        inputs: Inputs,
        place: Place,
        log: Path,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._inputs = inputs
        self._place = place
        self._log = log
        self._words = {"xet": xet.__file__, "python": _python_with_xet(settings.peers)}
        self._results = Results(settings.scale)

    def run(self) -> Results:
        """Every scenario with every tool that is there."""
        began = time.monotonic()
        self._results.conditions = f"{machine()}; {_file_system(self._place.root)}"
        tools = [tool for tool in self._chosen() if self._present(tool)]
        self._warm_up()
        self._tell(f"ready after {time.monotonic() - began:.0f} s")
        for scenario in SCENARIOS:
            if scenario.name in self._settings.scenarios:
                self._rounds(scenario, [tool for tool in tools if scenario.name in tool.works])
        self._results.conditions += (
            f"; {time.monotonic() - began:.0f} s in all, load {os.getloadavg()[0]:.1f} at the end"
        )
        return self._results

    def _chosen(self) -> list[Tool]:
        wanted = self._settings.tools
        return [tool for tool in TOOLS if wanted is None or tool.name in wanted]

    def _present(self, tool: Tool) -> bool:
        """Whether the tool can take part; the report gets its version or the reason."""
        if tool.reflinks and not self._place.reflinks():
            self._results.missing[tool.name] = "no reflinks on this file system"
            return False
        command = [word.format(**self._words) for word in tool.probe.split()]
        try:
            done = subprocess.run(
                command, env=self._place.env, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            self._results.missing[tool.name] = "not installed"
            return False
        version = re.search(r"\d+(\.\d+)+", done.stdout)
        self._results.versions[tool.name] = version[0] if version else done.stdout.strip()
        return True

    def _warm_up(self) -> None:
        """Make the inputs, and touch the pages and blocks that a first write would pay for."""
        for number in (1, 2, 3) if "table" in self._settings.scenarios else ():
            self._inputs.table(number)
        source = self._inputs.blob()
        for number in range(4):
            copy(source, self._place.work / f"warm{number}")
        self._place.settle()

    def _rounds(self, scenario: Scenario, tools: list[Tool]) -> None:
        settings = self._settings
        end = time.monotonic() + 60 * settings.minutes * scenario.share
        took: dict[str, float] = {}
        for number in range(settings.runs if scenario.share else 1):
            for tool in tools:
                left = end - time.monotonic()
                if number and (took[tool.name] > left or took[tool.name] > 3 * settings.patience):
                    continue
                began = time.monotonic()
                self._once(scenario, tool)
                took[tool.name] = time.monotonic() - began

    def _once(self, scenario: Scenario, tool: Tool) -> None:
        life = Life(
            tool=tool,
            place=self._place,
            inputs=self._inputs,
            results=self._results,
            words=self._words,
            log=self._log,
            limit=self._settings.limit,
            patience=self._settings.patience,
            looks=self._settings.runs,
            tell=self._tell,
        )
        try:
            scenario.live(life)
        except Abandoned as reason:
            for work in scenario.works:
                if self._results.figure(work.key, tool.name) is None:
                    self._results.gap(work.key, tool.name, f"not reached: {reason}")


@contextmanager
def _alone(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock while in the block; two sessions at once would measure each other."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell("waiting for another session of measuring to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _python_with_xet(peers: Path | None) -> str:
    """The Python of the peers' folder where it is one, or this one."""
    theirs = None if peers is None else peers / "bin" / "python"
    return str(theirs if theirs is not None and theirs.exists() else sys.executable)


def _file_system(path: Path) -> str:
    done = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", path], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "file system unknown"
