"""Why a run failed, for its record: the error and a traceback of the user's own frames."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path

from gitml.entities.records import Failure
from gitml.errors import GitmlError

_LIMIT = 64 << 10
_SECRET = re.compile(r"(?i)secret|password|passwd|token|api_?key|access_?key|credential")
_OURS = str(Path(__file__).parent.parent)


def describe(error: BaseException, step: str, environment: Mapping[str, str]) -> Failure:
    """The failure of a step, with the values of secret-looking environment variables hidden."""
    cause = error
    if isinstance(error, GitmlError) and error.__cause__ is not None:
        cause = error.__cause__
    message = cause.message if isinstance(cause, GitmlError) else str(cause)
    report = traceback.TracebackException.from_exception(cause)
    frames = [frame for frame in report.stack if not frame.filename.startswith(_OURS)]
    report.stack = traceback.StackSummary.from_list(frames)
    text = "".join(report.format(chain=cause is error))
    secrets = [v for k, v in environment.items() if _SECRET.search(k) and len(v) >= 6]
    kind = type(cause).__name__
    return Failure(step, kind, _scrub(message, secrets), _scrub(text, secrets)[-_LIMIT:])


def _scrub(text: str, secrets: list[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
