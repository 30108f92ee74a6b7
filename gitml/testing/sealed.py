"""Pytest fixtures for a world in which nothing of the user's machine shows.

A test that reads the developer's git configuration, home, language, clock zone or terminal width
passes on one machine and fails on the next. So the environment is built from an allow-list, not
cleaned by a list of known offenders: what is not named in ``_KEPT`` does not get in.

    sealed_environment   HOME, XDG folders, git configuration and locale of a test's own
    git_repository       an empty repository on branch ``main``, driven by the real git
    project              the same after ``gitml init``

Use them with ``pytest_plugins = ["gitml.testing.sealed"]`` in the top-level ``conftest.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

IDENTITY = ("Ada Example", "ada@example.org")
"""The name and the address under which a sealed test commits until it says otherwise."""

COLUMNS = 100
"""The width of every terminal that a sealed test pretends to have."""

_KEPT = frozenset(
    {
        *("PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
        *("VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        "PYTHONHASHSEED",  # and bytecode is written, as for a user
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    }
)
_KEPT_PREFIXES = ("PYTEST_", "COVERAGE_", "COV_CORE_", "HYPOTHESIS_")

_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})

# No process of git may outlive its test: background maintenance would race with the clean-up, and
# a commit, a fetch or a push would start one process more that finds nothing to do.
_GIT_CONFIG = """\
[user]
\tname = {name}
\temail = {email}
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
[maintenance]
\tauto = false
"""


def sealed_variables(home: Path, outer: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a process whose home is ``home``, for ``env=`` of a subprocess.

    Creates the folders and the git configuration that it names, below ``home``'s sibling
    ``<home>.sealed``, so that the home itself looks empty. ``outer`` is the environment to take
    ``PATH`` and the like from (this process's own when None). The folder of the running Python
    comes first on ``PATH``: ``python`` and ``gitml`` are the ones under test.
    """
    outer = os.environ if outer is None else outer
    kept = {
        name: value
        for name, value in outer.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    private = home.with_name(home.name + ".sealed")
    folders = {
        "XDG_CONFIG_HOME": private / "config",
        "XDG_CACHE_HOME": private / "cache",
        "XDG_DATA_HOME": private / "data",
        "XDG_STATE_HOME": private / "state",
    }
    for folder in (home, *folders.values()):
        folder.mkdir(parents=True, exist_ok=True)
    git_config = private / "gitconfig"
    if not git_config.exists():
        name, email = IDENTITY
        git_config.write_text(_GIT_CONFIG.format(name=name, email=email), encoding="utf-8")
    scripts = str(Path(sys.executable).parent)
    path = [folder for folder in kept.get("PATH", os.defpath).split(os.pathsep) if folder]
    return kept | {
        "PATH": os.pathsep.join(dict.fromkeys([scripts, *path])),
        "HOME": str(home),
        **{variable: str(folder) for variable, folder in folders.items()},
        "GIT_CONFIG_GLOBAL": str(git_config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(home.parent),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "false",
        "GIT_PAGER": "cat",
        "PAGER": "cat",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "LINES": "40",
    }


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit status and what it wrote, as text."""

    command: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    def __str__(self) -> str:
        streams = [text.rstrip("\n") for text in (self.out, self.err) if text.strip()]
        return "\n".join([f"$ {' '.join(self.command)}", *streams, f"[exit {self.status}]"])


@dataclass(frozen=True)
class SealedEnvironment:
    """The world of one test: an empty ``home``, which is also where the test starts.

    Changes made through its methods end with the test.
    """

    home: Path
    _patch: pytest.MonkeyPatch = field(repr=False)

    def set(self, name: str, value: str | None) -> None:
        """Give the variable ``name`` a value, or take it away with None."""
        if value is None:
            self._patch.delenv(name, raising=False)
        else:
            self._patch.setenv(name, value)

    def freeze_dates(self, date: str = "2026-01-02T03:04:05+00:00") -> None:
        """Make every commit and tag that git dates by itself carry ``date`` (RFC 3339)."""
        self.set("GIT_AUTHOR_DATE", date)
        self.set("GIT_COMMITTER_DATE", date)

    def forget_identity(self) -> None:
        """Leave git without a name and an address, and forbid it to guess them from the host."""
        _finish(["git", "config", "--global", "--remove-section", "user"], self.home)
        _finish(["git", "config", "--global", "user.useConfigOnly", "true"], self.home)


@dataclass(frozen=True)
class GitRepository:
    """A git repository with its work tree at ``path``, driven by the git on ``PATH``."""

    path: Path

    def git(self, *arguments: str, text: str | None = None) -> str:
        """What ``git <arguments>`` prints, without the last line feed; ``text`` is its input.

        Raises AssertionError with the whole output when git fails.
        """
        return _finish(["git", *arguments], self.path, text=text).out.removesuffix("\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file, and the folders above it, at ``name`` (relative); its absolute path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "change") -> str:
        """Commit everything that is not ignored, also when nothing changed; the full id."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Project(GitRepository):
    """A git repository in which ``gitml init`` ran and was committed."""

    def gitml(self, *arguments: str, status: int = 0) -> Finished:
        """Run ``gitml <arguments>`` in the work tree and return how it ended.

        It is a process of its own, the console script that users call: modules that an earlier
        command imported must not decide what a later one does. Raises AssertionError with the
        whole output when the exit status is not ``status``.
        """
        return _finish(["gitml", *arguments], self.path, status=status)


def _finish(
    command: list[str], folder: Path, *, text: str | None = None, status: int = 0
) -> Finished:
    """Run a command to its end; raises AssertionError when it does not end with ``status``."""
    done = subprocess.run(
        command,
        cwd=folder,
        input=text or "",
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
    finished = Finished(tuple(command), done.returncode, done.stdout, done.stderr)
    if finished.status != status:
        raise AssertionError(f"expected exit status {status}:\n{finished}")
    return finished


def seal(patch: pytest.MonkeyPatch, home: Path) -> SealedEnvironment:
    """Put this process into a sealed environment until ``patch`` is undone, and go to ``home``."""
    inner = sealed_variables(home)
    for name in set(os.environ) - set(inner):
        patch.delenv(name)
    for name, value in inner.items():
        patch.setenv(name, value)
    patch.chdir(home)
    time.tzset()
    return SealedEnvironment(home, patch)


def seal_process() -> None:
    """Make of this process what a login makes of one, where the one that started it did not.

    Files are readable for all (a umask is inherited), and signals do what they do by themselves:
    whoever starts the tests in the background, by a script or under nohup, has some of them
    ignored, and so would every command that a test means to interrupt.
    """
    os.umask(0o022)
    if threading.current_thread() is not threading.main_thread():
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def _sealed_process() -> None:
    """What all processes of the tests inherit, whatever their environment."""
    seal_process()


@pytest.fixture
def sealed_environment(
    _sealed_process: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> SealedEnvironment:
    """A home, a git configuration and variables of the test's own; the test starts in the home."""
    return seal(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def sealed_session(
    _sealed_process: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SealedEnvironment]:
    """The same for what is made once for many tests: module and session fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        yield seal(patch, tmp_path_factory.mktemp("session-home"))


@pytest.fixture
def git_repository(sealed_environment: SealedEnvironment, tmp_path: Path) -> GitRepository:
    """An empty git repository on branch ``main``, without a commit and without gitml."""
    repository = GitRepository(tmp_path / "repository")
    repository.path.mkdir()
    repository.git("init", "--quiet")
    return repository


@pytest.fixture(scope="session")
def _project_once(
    sealed_session: SealedEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The one that `project` copies: a command and three of git take longer than a copy."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.git("init", "--quiet")
    made.gitml("init")
    made.commit("gitml init")
    return made


@pytest.fixture
def project(git_repository: GitRepository, _project_once: Project) -> Project:
    """A git repository in which ``gitml init`` ran, with its files committed."""
    shutil.copytree(_project_once.path, git_repository.path, symlinks=True, dirs_exist_ok=True)
    return Project(git_repository.path)
