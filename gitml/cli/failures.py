"""What went wrong, in the words of docs/style.md, and the exit code that goes with it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from gitml.cli import render
from gitml.cli.invocation import Invocation
from gitml.errors import GitmlError, StorageError, UsageError

INTERRUPTED, BUG = 130, 70
_ENVIRONMENTAL = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG),
}


def report(error: BaseException, invocation: Invocation, arguments: Sequence[str]) -> int:
    """Say what happened on standard error; the exit code of the process."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        return _reader_left()
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return _interrupted(error)
    as_json = invocation.json or _json_was_meant(error, arguments)
    known = _foreseen(error)
    if known is None:
        known = _bug(error)
        _say(known, as_json, BUG)
        return BUG
    _say(known, as_json, known.exit_code)
    return known.exit_code


def _say(error: GitmlError, as_json: bool, code: int) -> None:
    if as_json:
        document = {
            "error": error.message,
            "causes": error.causes(),
            "hint": error.hint,
            "exit_code": code,
        }
        render.tell_json("error", document)
        return
    lines = [f"{render.paint('error', 'Error:')} {error.message}"]
    causes = [cause for cause in error.causes() if not _told(cause, error.message)]
    lines += [f"{render.paint('dim', 'Caused by:')} {cause}" for cause in causes]
    if error.hint:
        lines.append(f"{render.paint('hint', 'Hint:')} {error.hint}")
    render.tell(*lines)


def _told(cause: str, message: str) -> bool:
    """Whether a message says already what its cause says."""
    return cause in message or (": " in cause and cause.partition(": ")[2] in message)


def _foreseen(error: BaseException) -> GitmlError | None:
    """The error as one of ours; None for what nobody foresaw."""
    if isinstance(error, GitmlError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in _ENVIRONMENTAL:
        where = f": {os.fspath(error.filename)}" if error.filename else ""
        return StorageError(f"{(error.strerror or 'input/output error').lower()}{where}")
    return None


def _usage(error: click.ClickException) -> UsageError:
    """A complaint of the parser's, in our style."""
    message = error.message if hasattr(error, "possibilities") else error.format_message()
    words = message.strip().removesuffix(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gitml"
    hint = f"`{path} --help`"
    near = getattr(error, "possibilities", None)
    if near:
        hint = f"did you mean {' or '.join(f'`{one}`' for one in near)}?"
    return UsageError(words[:1].lower() + words[1:].replace("'", "`"), hint=hint)


def _json_was_meant(error: BaseException, arguments: Sequence[str]) -> bool:
    """Whether the command that could not be parsed was asked for JSON, and has it."""
    context = getattr(error, "ctx", None)
    if context is None or "--json" not in arguments:
        return False
    return any(parameter.name == "as_json" for parameter in context.command.params)


def _interrupted(error: BaseException) -> int:
    stopped = error.__cause__ if isinstance(error, click.Abort) else error
    run, code = getattr(stopped, "run", None), int(getattr(stopped, "exit_code", INTERRUPTED))
    if run is None:
        render.tell("Interrupted")
        return code
    kept = sum(step.status in ("completed", "cached", "taken") for step in run.steps.values())
    render.tell(
        f"Interrupted: recorded as {run.id.short} with {render.count(kept, 'finished step')} kept",
        f"{render.paint('hint', 'Hint:')} `gitml run {run.pipeline}` goes on from there",
    )
    return code


def _reader_left() -> int:
    """Whoever read our output has gone (``gitml log | head``): nothing is left to say."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return 0


def _bug(error: BaseException) -> GitmlError:
    """What nobody foresaw, as an error that names the file with the details."""
    kind = type(error).__name__
    try:
        path = _write_log(error)
    except OSError:
        return GitmlError(f"gitml met something that it did not foresee ({kind}: {error})")
    return GitmlError(
        f"gitml met something that it did not foresee ({kind})", hint=f"the details are in {path}"
    )


def _write_log(error: BaseException) -> str:
    """Write versions and traceback to a file of its own; its path. Arguments may hold secrets."""
    import platform
    import tempfile
    import traceback
    from pathlib import Path

    from gitml import __version__

    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    folder = Path(home) / "gitml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir())
    versions = f"gitml {__version__}, Python {platform.python_version()}, {platform.platform()}"
    text = "".join(traceback.format_exception(error))
    descriptor, path = tempfile.mkstemp(prefix="bug-", suffix=".log", dir=folder, text=True)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{versions}\n\n{text}")
    return path
