"""Every error that gitml foresees: what failed, why, and the command that helps.

    GitmlError                      1   failed
    ├── StepFailed                  1   a step of a run raised; the run is recorded
    ├── UnsupportedValue            1   a value that no materializer can store exactly
    ├── StorageError                1   disk full, read-only, input/output error
    ├── RemoteFailed                1   a remote did not do what it was asked for
    │   └── ConnectionLost          1   it broke off or is too busy: another try may do
    │       └── Unreachable         1   it does not answer at all
    ├── UsageError                  2   the command or the call cannot mean anything
    │   ├── InvalidName             2   outside the grammar of names
    │   ├── ConfigError             2   gitml.toml or a git setting is wrong
    │   └── AmbiguousName           2   one name, two things
    ├── PolicyNotMet                3   a stage's policy says no
    ├── AuthenticationFailed        4   the other side does not know us
    ├── RaceLost                    5   someone else moved the name first
    ├── NotTrusted                  5   a history of moves that cannot be what happened
    ├── NameNotFound                6   no such model, version, artifact, run …
    ├── NoRepository               10   not inside a git repository that gitml can use
    ├── Locked                     11   another process holds what we need
    ├── CorruptData                12   bytes or records that are not what they were
    └── MissingBytes               13   known bytes that are not available here

A class owns its exit code. Errors are raised at the altitude of their layer, ``from`` their cause;
the command line prints ``Error:``, each ``Caused by:`` and one ``Hint:``, never a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class GitmlError(Exception):
    """A failure that we foresaw: a message, perhaps a cause, perhaps a hint with a command.

    ``message`` starts in lower case and has no full stop; ``hint`` is a phrase that holds a
    command in backticks which can be pasted.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:  # for Python's own traceback, where no command line prints it
            self.add_note(f"Hint: {hint}")

    def causes(self) -> list[str]:
        """The messages of the chain of causes below this error, nearest first."""
        found: list[str] = []
        cause = self.__cause__
        while cause is not None and len(found) < 8:
            text = cause.message if isinstance(cause, GitmlError) else _plain(cause)
            found.append(text)
            cause = cause.__cause__
        return found


class StepFailed(GitmlError):
    """A step raised; the run is recorded as failed and its finished steps stay reusable."""


class UnsupportedValue(GitmlError):
    """A value that no materializer can store so that it comes back exactly."""


class StorageError(GitmlError):
    """The file system refused: disk full, read-only, no permission, input/output error."""


class RemoteFailed(GitmlError):
    """A remote did not do what it was asked for."""


class ConnectionLost(RemoteFailed):
    """A remote broke off, or is too busy for now: the same request again may well succeed."""


class Unreachable(ConnectionLost):
    """A remote does not answer at all: no such host, nobody listening, a disk not mounted."""


class UsageError(GitmlError):
    """A command or call that cannot mean anything as it stands."""

    exit_code = 2


class InvalidName(UsageError):
    """A name outside the grammar of names (docs/format.md, "Names")."""


class ConfigError(UsageError):
    """A setting in ``gitml.toml`` or in git's configuration that is wrong."""


class AmbiguousName(UsageError):
    """A name that means two things; the message lists the spellings that mean one."""


class PolicyNotMet(GitmlError):
    """A stage's policy does not allow the promotion, or cannot be judged here."""

    exit_code = 3


class AuthenticationFailed(GitmlError):
    """The other side does not accept our credentials."""

    exit_code = 4


class RaceLost(GitmlError):
    """Someone else moved the same name first; nothing of ours was written."""

    exit_code = 5


class NotTrusted(GitmlError):
    """Moves of a stage, or what a version stands on, that are altered, missing, or not signed."""

    exit_code = 5


class NameNotFound(GitmlError):
    """No model, version, stage, artifact, pipeline, run or revision has this name."""

    exit_code = 6

    @classmethod
    def among(
        cls, what: str, name: str, known: Iterable[str], *, hint: str | None = None
    ) -> NameNotFound:
        """An error for ``name`` that suggests the nearest of the ``known`` names of this kind."""
        import difflib  # a command that succeeds need not wait for it

        candidates = sorted(set(known))
        shared = name[: name.rfind(".") + 1]  # what all of them begin with makes none of them near
        if not all(one.startswith(shared) for one in candidates):
            shared = ""
        tails = [one.removeprefix(shared) for one in candidates]
        near = difflib.get_close_matches(name.removeprefix(shared), tails, n=3, cutoff=0.6)
        if near:
            hint = f"did you mean {' or '.join(f'`{shared}{one}`' for one in near)}?"
        elif hint is None and candidates:
            shown = ", ".join(candidates[:6]) + (" …" if len(candidates) > 6 else "")
            hint = f"there are: {shown}"
        return cls(f"no {what} is called `{name}`", hint=hint)


class NoRepository(GitmlError):
    """Not inside a git repository that gitml can work in."""

    exit_code = 10


class Locked(GitmlError):
    """Another process holds what this command needs."""

    exit_code = 11


class CorruptData(GitmlError):
    """A blob, pack, index or record is not what its name or its format says."""

    exit_code = 12


class MissingBytes(GitmlError):
    """Bytes that a record names are not in this store (nor on a remote that was asked)."""

    exit_code = 13


def some(names: Sequence[object], most: int = 3, mark: str = ", ") -> str:
    """Names in a message: the first of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return mark.join(map(str, names[:most])) + more


def _plain(error: BaseException) -> str:
    """An error that is not ours, as one line of text."""
    try:
        text = str(error).strip() or "no message"
    except Exception:  # noqa: BLE001 - a class of the user's whose text cannot be made
        text = "no message"
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror.lower()}{where}"
    return f"{type(error).__name__}: {text.splitlines()[0]}"
