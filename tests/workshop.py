"""A repository to tell stories in: real git and real runs, here or in processes of their own.

Every run in this process starts as a new process would: the project's modules are imported afresh
and the repository is opened anew, so nothing is remembered but what is on disk.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitml.handles import RunHandle
from gitml.history.check import Problem
from gitml.pipelines.selection import Selection
from gitml.repo import Repo
from gitml.testing.sealed import Finished, GitRepository, SealedEnvironment

TRAINING = """\
import json
from pathlib import Path
from typing import Annotated

import gitml
from gitml import Model, log_metrics, pipeline, step


@step
def prepare(raw: Path) -> Annotated[list, "table"]:
    return [row * 2 for row in json.loads(raw.read_text())["rows"]]


@step
def train(table: list, rate: float = 0.5) -> Annotated[dict, "model"]:
    log_metrics({"accuracy": 1.0 - abs(rate - 0.3)})
    return {"weights": [value * rate for value in table]}


@pipeline(model=Model("clf"))
def training(rate: float = 0.5):
    train(prepare(gitml.data("data/raw.json")), rate)
"""
"""Two steps on a data file: artifacts ``table`` and ``model``, the model ``clf``."""

_PREFIXES = (f"{sys.prefix}{os.sep}", f"{sys.base_prefix}{os.sep}")
_INSTALLED: dict[str, object] = {}
"""Modules that are no project's, of which there are thousands, and each run asks about all."""


@dataclass(frozen=True)
class Workshop(GitRepository):
    """A git repository with gitml in it, and the ways to work in it."""

    _open: list[Repo] = field(default_factory=list, repr=False)

    @classmethod
    def at(cls, path: Path) -> Workshop:
        """The repository at ``path``; made, set up and committed where there is none."""
        made = cls(path)
        if not (path / ".git").exists():
            path.mkdir(parents=True, exist_ok=True)
            made.git("init", "--quiet")
            Repo.init(path)
            made.write(".gitignore", "__pycache__/\n")
            made.commit("set up")
        return made

    def code(self, name: str, text: str, message: str | None = "code") -> Path:
        """Write source text without its indentation, and commit it unless ``message`` is None."""
        path = self.write(name, textwrap.dedent(text))
        if message is not None:
            self.commit(message)
        return path

    def training(self, rows: list[int] | None = None) -> Workshop:
        """Write and commit the two-step training pipeline and its data (which git tracks)."""
        self.write("data/raw.json", json.dumps({"rows": rows or [1, 2, 3]}))
        self.code("pipelines/training.py", TRAINING)
        return self

    def repo(self, environment: Mapping[str, str] | None = None) -> Repo:
        """The repository opened anew, closed when the test ends."""
        opened = Repo.discover(self.path, environment=environment or {})
        self._open.append(opened)
        return opened

    def run(
        self,
        target: str = "training",
        parameters: Mapping[str, Any] | None = None,
        *,
        cache: bool = True,
        here: Path | None = None,
        environment: Mapping[str, str] | None = None,
        tell: Any = None,
        selection: Selection | None = None,
    ) -> RunHandle:
        """Run a pipeline by name or file as a new process would; what it raises comes out."""
        self.forget()
        repo = self.repo(environment)
        try:
            pipeline = repo.load_pipeline(target, here or self.path)
            options = {"tell": tell} if tell is not None else {}
            given = parameters or {}
            return repo.run(pipeline, given, cache=cache, selection=selection, **options)
        finally:
            self.forget()

    def fails(self, target: str = "training", *arguments: Any, **options: Any) -> BaseException:
        """The error that a run ends in; the recorded run is its ``run``, where there is one."""
        try:
            self.run(target, *arguments, **options)
        except Exception as error:
            return error
        raise AssertionError(f"the run of {target} did not fail")

    def run_unrecorded(
        self, target: str = "training", *arguments: Any, **options: Any
    ) -> list[str]:
        """Run a pipeline without a record, as a new process would; the names of its steps."""
        self.forget()
        repo = self.repo()
        try:
            return repo.run_unrecorded(repo.load_pipeline(target, self.path), *arguments, **options)
        finally:
            self.forget()

    def states(self, target: str = "training", *arguments: Any, **options: Any) -> dict[str, str]:
        """How each step of a run ended."""
        return states(self.run(target, *arguments, **options))

    def problems(self) -> list[Problem]:
        """What ``fsck`` finds."""
        return list(self.repo().fsck().problems)

    def refs(self, *patterns: str) -> dict[str, str]:
        """Refs and the objects that they name."""
        listing = self.git("for-each-ref", "--format=%(refname) %(objectname)", *patterns)
        return dict(line.split(" ") for line in listing.splitlines())

    def reachable(self, *tips: str) -> set[str]:
        """Every object that these revisions reach."""
        return {
            line.split(" ")[0] for line in self.git("rev-list", "--objects", *tips).splitlines()
        }

    def parents(self, commit: object) -> list[str]:
        """The parents of a commit, in order."""
        return self.git("rev-list", "--parents", "--max-count=1", str(commit)).split()[1:]

    def record(self, commit: object, name: str) -> Any:
        """A JSON file of a record, read by plain git."""
        return json.loads(self.git("show", f"{commit}:.gitml/{name}"))

    def python(self, *arguments: str, status: int = 0, here: Path | None = None) -> Finished:
        """Run Python with these arguments in a process of its own, from the root or ``here``."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=here or self.path, capture_output=True, text=True, check=False
        )
        finished = Finished(tuple(command), done.returncode, done.stdout, done.stderr)
        assert finished.status == status, finished
        return finished

    def follow(self, hint: str | None) -> None:
        """Paste the command that a hint has in backticks; it has to succeed."""
        command = str(hint).split("`")[1]
        subprocess.run(["sh", "-ec", command], cwd=self.path, check=True, capture_output=True)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Python with these arguments as a process in a group of its own, with its pipes."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def forget(self) -> None:
        """Drop the project's modules from memory, as the end of a process would."""
        for name, module in sys.modules.copy().items():  # a finalizer may import in between
            if _INSTALLED.get(name) is module:
                continue
            places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
            if any(place and str(place).startswith(f"{self.path}{os.sep}") for place in places):
                del sys.modules[name]
            elif any(place and str(place).startswith(_PREFIXES) for place in places):
                _INSTALLED[name] = module
        sys.path[:] = [one for one in sys.path if not one.startswith(str(self.path))]
        importlib.invalidate_caches()

    def close(self) -> None:
        """End what the test opened."""
        for one in self._open:
            one.close()
        self._open.clear()


def states(run: RunHandle) -> dict[str, str]:
    """How each step of a run ended."""
    return {name: step.status for name, step in run.steps.items()}


def load(run: RunHandle, step: str, output: str = "output") -> Any:
    """The value of an output of a run."""
    return run.steps[step].outputs[output].load()


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Wait until a condition holds; raises AssertionError when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def group_of(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A started process, of which nothing is left when the block ends."""
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


Copy = Callable[[Workshop], Workshop]


@contextlib.contextmanager
def work_at(path: Path, patch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """The repository at ``path``, in which this process stands until the block ends."""
    patch.setattr(sys, "dont_write_bytecode", True)
    patch.setattr(sys, "path", list(sys.path))
    made = Workshop.at(path)
    patch.chdir(made.path)
    try:
        yield made
    finally:
        made.forget()
        made.close()


@contextlib.contextmanager
def model_for_copies(folder: Path) -> Iterator[Workshop]:
    """A repository to fill once for many tests, each of which works in a copy (`copied`)."""
    with pytest.MonkeyPatch.context() as patch, work_at(folder / "bob", patch) as made:
        yield made


@pytest.fixture(scope="session")
def workshop_once(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    with model_for_copies(tmp_path_factory.mktemp("workshop")) as made:
        return made


@pytest.fixture
def workshop(workshop_once: Workshop, copied: Copy) -> Workshop:
    """A repository after ``gitml init``, committed; the test stands in it."""
    return copied(workshop_once)


@pytest.fixture
def copied(
    tmp_path: Path, sealed_environment: SealedEnvironment, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Copy]:
    """Copies a finished repository, since to fill one takes longer; the test stands in the copy."""
    with contextlib.ExitStack() as stack:

        def copy(model: Workshop) -> Workshop:
            shutil.copytree(model.path, tmp_path / "bob", symlinks=True)
            return stack.enter_context(work_at(tmp_path / "bob", monkeypatch))

        yield copy
