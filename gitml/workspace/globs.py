"""Patterns for a part of a folder, in the words of ``.gitignore`` where they mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gitml.errors import UsageError
from gitml.frozen import Frozen
from gitml.workspace.statcache import View


class Globs(Frozen):
    """What a view matches: a path that some ``include`` means (or there is none) and no exclude.

    A pattern without a slash means names in any folder; one with a slash is relative to the data's
    folder. ``*`` and ``?`` stop at a slash, ``**`` does not. A pattern that means a folder means
    all that is in it.
    """

    include: re.Pattern[str] | None
    exclude: re.Pattern[str] | None

    @classmethod
    def of(cls, view: View) -> Globs:
        """The patterns of a view; raises UsageError for one that cannot match anything."""
        return cls(_compiled(view.include), _compiled(view.exclude))

    def match(self, path: str) -> bool:
        """Whether a path, relative to the data's folder, is meant."""
        if self.include is not None and not self.include.match(path):
            return False
        return self.exclude is None or not self.exclude.match(path)


def escaped(path: str) -> str:
    """A pattern that means this one path; a sign that brackets cannot hold stands as ``?``."""
    return re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", path).replace("[[]", "?")


def _compiled(patterns: Iterable[str]) -> re.Pattern[str] | None:
    parts = [_checked(one, _expression(one)) for one in patterns]
    return re.compile("|".join(parts), re.DOTALL) if parts else None


def _checked(pattern: str, expression: str) -> str:
    """The expression of a pattern; raises UsageError where a bracket holds no range (``[z-a]``)."""
    try:
        re.compile(expression)
    except re.error as error:
        raise _meaningless(pattern) from error
    return expression


def _expression(pattern: str) -> str:
    """One pattern as a regular expression for a whole path."""
    text = pattern.removeprefix("./").strip("/")
    if not text or ".." in text.split("/"):
        raise _meaningless(pattern)
    anywhere = "" if "/" in pattern.strip("/") or pattern.startswith(("/", "./")) else r"(?:.*/)?"
    pieces, at = [], 0
    while at < len(text):
        if text.startswith("**/", at):
            pieces.append(r"(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            pieces.append(".*")
            at += 2
        else:
            piece, at = _piece(text, at)
            pieces.append(piece)
    return rf"{anywhere}{''.join(pieces)}(?:/.*)?\Z"


def _meaningless(pattern: str) -> UsageError:
    return UsageError(f"the pattern `{pattern}` means nothing", hint="for example `'*.png'`")


def _piece(text: str, at: int) -> tuple[str, int]:
    """The expression of one sign or bracket of a pattern, and where the next begins."""
    one = text[at]
    if one == "*":
        return "[^/]*", at + 1
    if one == "?":
        return "[^/]", at + 1
    end = text.find("]", at + 2) if one == "[" else -1
    if end > 0:
        inner = text[at + 1 : end]
        negated = inner.startswith(("!", "^"))
        return f"(?!/)[{'^' if negated else ''}{_set(inner[negated:])}]", end + 1
    return re.escape(one), at + 1


def _set(signs: str) -> str:
    """The inside of a bracket, escaped: Python keeps ``[[`` or ``&&`` for itself."""
    pieces, at = [], 0
    while at < len(signs):
        is_range = signs[at + 1 : at + 2] == "-" and at + 2 < len(signs)
        ends = (signs[at], signs[at + 2]) if is_range else (signs[at],)
        pieces.append("-".join(re.escape(one) for one in ends))
        at += 3 if is_range else 1
    return "".join(pieces)
