"""The one runner of git processes, and where the repository is."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from gitml.errors import GitmlError, NoRepository
from gitml.frozen import Frozen, replace
from gitml.fs import storage_errors

_INHERITED_GIT_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""What a hook hands down and would bend our commands; ``git -c`` settings are left in place."""

_INHERITED = frozenset(map(os.fsencode, _INHERITED_GIT_VARIABLES))
_PINNED = {
    b"GIT_ALLOW_PROTOCOL": b"https:ssh:file:git",
    b"GIT_OPTIONAL_LOCKS": b"0",
    # A path is a path, whatever characters it has; and an id means the object that has it.
    b"GIT_LITERAL_PATHSPECS": b"1",
    b"GIT_NO_REPLACE_OBJECTS": b"1",
    b"LC_ALL": b"C",
}
_UNSET = frozenset({b"GIT_GLOB_PATHSPECS", b"GIT_NOGLOB_PATHSPECS", b"GIT_ICASE_PATHSPECS"})
_CONFIG = ("config", "--null", "--list")

_QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH")


class GitFailed(GitmlError):
    """A git command ended with a code that its caller did not expect; holds git's own words."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        words = " ".join(one for one in arguments[:3])
        lines = stderr.strip().splitlines() or [f"exit code {code}"]
        reason = next((line for line in lines if line.startswith("fatal: ")), lines[-1])
        super().__init__(f"git {words}: {reason}")
        self.code = code
        self.stderr = stderr


class Git(Frozen):
    """A repository, and the means to run git in it.

    ``directory`` is this work tree's git directory, ``common`` the one shared by all work trees
    (objects, refs and gitml's store live there), ``root`` the top of the work tree, absent where
    the repository is bare. Found by ``discover``, so git's own check of ownership has passed.
    ``quarantine`` are the variables with which the objects of a push that is not let in yet are
    seen.
    """

    directory: Path
    common: Path
    root: Path | None
    shallow: bool
    quarantine: tuple[tuple[str, str], ...] = ()

    @classmethod
    def discover(cls, start: Path, *, settings: bool = False) -> Git:
        """The repository around ``start``; raises NoRepository with the way out.

        With ``settings`` git is asked for them at once, for who is going to need them.
        """
        if not settings or not start.is_dir():
            return cls._discovered(start)
        process = subprocess.Popen(
            _command(_CONFIG),
            cwd=start,
            env=_environment({}, None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = cls._discovered(start)
        finally:
            listing, _ = process.communicate()
        if process.returncode == 0 and not {b"GIT_DIR", b"GIT_COMMON_DIR"} & os.environb.keys():
            found.__dict__["settings"] = _settings(listing)
        return found

    @classmethod
    def _discovered(cls, start: Path) -> Git:
        if not start.is_dir():
            raise NoRepository(f"no such folder: {start}")
        env = _environment({}, None)
        unbent = _without_inherited(env)
        if b"GIT_DIR" not in env or not start.samefile(Path.cwd()):
            return cls._look(start, unbent)
        if b"GIT_WORK_TREE" not in env:
            # A hook hands GIT_DIR down. With it alone, git takes the folder that it is started in
            # for the top of the work tree, wherever in the work tree that is.
            with contextlib.suppress(NoRepository, OSError):
                found = cls._look(start, unbent)
                if found.directory.samefile(os.fsdecode(env[b"GIT_DIR"])):
                    return found
        return cls._look(start, env)

    @classmethod
    def receiving(cls, folder: Path, environment: Mapping[str, str]) -> Git:
        """The repository in which git runs ``pre-receive``, with the objects that were pushed.

        git refuses to move refs there. Raises as `discover`.
        """
        seen = tuple((name, environment[name]) for name in _QUARANTINE if name in environment)
        if (folder / "HEAD").is_file() and (folder / "objects").is_dir():  # git has found it
            return cls(folder, folder, None, (folder / "shallow").exists(), seen)
        return replace(cls.discover(folder), quarantine=seen)

    @classmethod
    def _look(cls, start: Path, env: Mapping[bytes, bytes]) -> Git:
        """The repository that git finds from ``start`` in this environment."""
        question = ["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"]
        question += ["--is-shallow-repository", "--show-object-format", "--is-bare-repository"]
        # The last question fails where there is no work tree, and the others are answered by then.
        question += ["--is-inside-work-tree", "--show-toplevel"]
        done = _execute(question, cwd=start, env=env)
        answers = os.fsdecode(done.stdout).split("\n")
        if done.returncode and len(answers) < 7:
            raise _no_repository(start, done.stderr.decode(errors="replace"))
        if len(answers) != (7 if done.returncode else 8):
            raise NoRepository(f"the path of the repository has a line break: {str(start)!r}")
        directory, common, shallow, algorithm, bare, inside, top, *_ = answers
        if algorithm != "sha1":
            raise NoRepository(f"{start} has {algorithm} object ids, which gitml cannot work with")
        root = Path(top) if bare == "false" and inside == "true" else None
        return cls(Path(directory), Path(common), root, shallow == "true")

    def work_tree(self) -> Path:
        """The top of the work tree; raises NoRepository in a bare repository or in ``.git``."""
        if self.root is None:
            inside = self.directory.name == ".git"
            raise NoRepository(
                f"this needs a work tree, and {self.directory} has none here",
                hint="`cd` to a folder of the project"
                if inside
                else "`git clone` the repository and run the command inside the clone",
            )
        return self.root

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        accept: Sequence[int] = (0,),
    ) -> bytes:
        """What git printed; raises GitFailed when it ends with a code that is not accepted.

        Arguments are an argv list, never a shell line. Callers put ``--end-of-options`` before
        revisions and ``--`` before paths that come from outside.
        """
        done = self.process(*arguments, stdin=stdin, env=env)
        if done.returncode not in accept:
            raise GitFailed(arguments, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout

    def process(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """The ended process, whatever its code: for commands whose code is the answer."""
        return _execute(arguments, cwd=self._cwd(), env=_environment(env or {}, self), stdin=stdin)

    def start(
        self,
        *arguments: str,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """A running git that is talked to through its pipes (``cat-file --batch``), or files."""
        return subprocess.Popen(
            _command(arguments),
            cwd=self._cwd(),
            env=_environment(env or {}, self),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )

    def start_held(self, *arguments: str, stderr: int) -> subprocess.Popen[bytes]:
        """A git that begins when it is written a line; without one, it never does.

        Until then it has its pid, and has touched nothing.
        """
        return subprocess.Popen(
            ["sh", "-c", 'read -r line && exec "$@"', "sh", *_command(arguments)],
            cwd=self._cwd(),
            env=_environment({}, self),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """git's settings, the last value of each, read once.

        In a key the section and the variable are in lower case; what is between them, the name of a
        branch or of a remote, is as it was written.
        """
        return _settings(self.run(*_CONFIG))

    def config(self, key: str) -> str | None:
        """The value of one of git's settings, or None where it is not set."""
        section, dot, rest = key.partition(".")
        between, last_dot, name = rest.rpartition(".")
        return self.settings.get(f"{section.lower()}{dot}{between}{last_dot}{name.lower()}")

    def expiry(self, words: str) -> float:
        """The point in time (seconds) that git's words for one mean, like ``2.weeks.ago``.

        ``never`` is 0, ``now`` lies far ahead. Raises GitFailed for what git does not understand.
        """
        question = ["config", "--type=expiry-date", "--get", "gitml.expiry"]
        return float(self.run("-c", f"gitml.expiry={words}", *question))

    def has_remote(self) -> bool:
        """Whether the repository has any git remote."""
        return bool(self.remotes())

    def remotes(self) -> list[str]:
        """The names of the git remotes."""
        prefix, suffix = "remote.", ".url"
        keys = [one for one in self.settings if one.startswith(prefix) and one.endswith(suffix)]
        return sorted(key[len(prefix) : -len(suffix)] for key in keys)

    def branch(self) -> str | None:
        """The checked-out branch's short name, None when HEAD is detached."""
        name = self.process("symbolic-ref", "--quiet", "--short", "HEAD").stdout
        return os.fsdecode(name).strip() or None

    def identity(self) -> tuple[str, str] | None:
        """The user's configured name and address, None when git was told neither.

        git would make one up from the host's name; a record should not carry an invention.
        """
        name = _header_text(os.environ.get("GIT_COMMITTER_NAME") or self.config("user.name"))
        mail = _header_text(os.environ.get("GIT_COMMITTER_EMAIL") or self.config("user.email"))
        return (name, mail) if name and mail else None

    def _cwd(self) -> Path:
        return self.root or self.common


def init_repository(path: Path, *, bare: bool = False) -> Git:
    """A repository at ``path``, made by ``git init`` where there is none; raises StorageError."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    env = _without_inherited(_environment({}, None))
    arguments = ["init", "--quiet", *(["--bare"] if bare else [])]
    done = _execute(arguments, cwd=path, env=env)
    if done.returncode:
        raise GitFailed(["init"], done.returncode, done.stderr.decode(errors="replace"))
    return Git.discover(path)


def _settings(listing: bytes) -> dict[str, str]:
    """The settings of a listing, the last value of each."""
    entries = (entry.partition("\n") for entry in os.fsdecode(listing).split("\0") if entry)
    return {key: value for key, _, value in entries}


def _header_text(text: str | None) -> str:
    """A name or address without what would break a commit's header."""
    return "".join(one for one in text or "" if one not in "<>" and one >= " ").strip()


def start_pager(command: str) -> subprocess.Popen[bytes]:
    """A pager that is written to through its pipe, begun as git does: by a shell."""
    env = {"LESS": "FRX", "LV": "-c"} | os.environ
    return subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, env=env)


def _command(arguments: Sequence[str]) -> list[str]:
    return ["git", "-c", "core.fsmonitor=false", "-c", "core.fsync=all", *arguments]


def _environment(extra: Mapping[str, str], git: Git | None) -> dict[bytes, bytes]:
    """The user's environment, pinned to our repository and to messages in plain English.

    As bytes, which is what a process is given: many are started.
    """
    env = {key: value for key, value in os.environb.items() if key not in _UNSET}
    if git is not None:
        env = _without_inherited(env)
        env.update((os.fsencode(key), os.fsencode(value)) for key, value in git.quarantine)
        env[b"GIT_DIR"] = os.fsencode(git.directory)
        if git.root is not None:
            env[b"GIT_WORK_TREE"] = os.fsencode(git.root)
    env.update(_PINNED)
    env.update((os.fsencode(key), os.fsencode(value)) for key, value in extra.items())
    return env


def _without_inherited(env: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The environment without what a hook handed down."""
    return {key: value for key, value in env.items() if key not in _INHERITED}


def _execute(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[bytes, bytes], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _command(arguments), cwd=cwd, env=env, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        if not cwd.is_dir():
            raise NoRepository(f"no such folder: {cwd}") from error
        raise GitmlError("git is not installed", hint="`apt-get install git`") from error


def _no_repository(start: Path, stderr: str) -> NoRepository:
    if "dubious ownership" in stderr:
        command = next((one.strip() for one in stderr.splitlines() if "--add" in one), "")
        return NoRepository(
            f"the repository around {start} belongs to another user",
            hint=f"if you trust it: `{command}`" if command else "`git status` says more",
        )
    if "not a git repository" in stderr:
        return NoRepository(
            f"not inside a git repository: {start}",
            hint="`git init && gitml init` makes one here",
        )
    reason = stderr.strip().splitlines()
    return NoRepository(f"git cannot use {start}: {reason[-1] if reason else 'no reason given'}")
