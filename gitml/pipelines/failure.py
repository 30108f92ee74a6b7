"""Why a run failed, for its record: the error and a traceback of the user's own frames."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

from gitml.entities.records import Failure
from gitml.errors import GitmlError

_LIMIT = 64 << 10
_SECRET = re.compile(r"(?i)secret|password|passwd|token|api_?key|access_?key|credential")
_OURS = f"{Path(__file__).parent.parent}{os.sep}"


def describe(error: BaseException, step: str, environment: Mapping[str, str]) -> Failure:
    """The failure of a step, with the values of secret-looking environment variables hidden."""
    cause = error
    if isinstance(error, GitmlError) and error.__cause__ is not None:
        cause = error.__cause__
    report = traceback.TracebackException.from_exception(cause)
    message = cause.message if isinstance(cause, GitmlError) else str(report)
    _keep_own_frames(report)
    secrets = [v for k, v in environment.items() if _SECRET.search(k) and len(v) >= 6]
    text = _scrub("".join(report.format()), secrets)
    return Failure(step, type(cause).__name__, _scrub(message, secrets)[:_LIMIT], text[-_LIMIT:])


def _keep_own_frames(report: traceback.TracebackException | None) -> None:
    """Take gitml's frames out of a traceback, and out of those that it was raised from."""
    while report is not None:
        frames = [frame for frame in report.stack if not frame.filename.startswith(_OURS)]
        report.stack = traceback.StackSummary.from_list(frames)
        report = report.__cause__ or report.__context__


def _scrub(text: str, secrets: list[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
