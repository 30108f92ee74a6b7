"""What of a step's circumstances counts for its cache, and for how long a result is reused.

Without a policy all counts that can be seen. A policy is the author's word that something does not,
or that something else does; the words are ZenML's where the meaning is.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from gitml.code.values import NotPlain, canonical_value
from gitml.config import parse_age
from gitml.entities.records import Step
from gitml.errors import ConfigError, GitmlError, NameNotFound, UsageError
from gitml.frozen import Frozen
from gitml.history.record import made_at

T = TypeVar("T")

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class CachePolicy(Frozen):
    """What counts for the cache of a step, besides what always does.

    A result is reused for ``expires_after``: seconds, a ``timedelta``, or a text like "7d" or
    "12h". ``ignored_inputs`` are parameters and inputs that do not count, ``file_dependencies``
    files of the repository that do. ``cache_func`` takes nothing and gives plain data that counts,
    say the last change of a table; it is called when a run is planned. With ``include_step_code``
    False no code counts. Raises UsageError for what is none of these.
    """

    expires_after: float | timedelta | str | None = None
    ignored_inputs: Collection[str] = ()
    file_dependencies: Collection[str] = ()
    cache_func: Callable[[], Any] | None = None
    include_step_code: bool = True

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        for name in ("ignored_inputs", "file_dependencies"):
            said: Any = getattr(self, name)
            if isinstance(said, str) or not all(isinstance(one, str) for one in said):
                raise UsageError(f"{name} of a cache policy is {said!r}, not a list of texts")
            self.__dict__[name] = tuple(said)
        asked: Any = self.cache_func
        if asked is not None and not callable(asked):
            kind = type(asked).__name__
            raise UsageError(f"cache_func of a cache policy is a {kind}, not a function")
        if type(self.include_step_code) is not bool:
            raise UsageError("include_step_code of a cache policy should be True or False")
        _ = self.seconds

    @functools.cached_property
    def seconds(self) -> float | None:
        """How long a result is reused, None where it is for ever."""
        given = self.expires_after
        if isinstance(given, str):
            try:
                return parse_age(given, "expires_after of a cache policy")
            except ConfigError as error:
                raise UsageError(error.message) from None
        found: Any = given.total_seconds() if isinstance(given, timedelta) else given
        if found is None:
            return None
        plain = isinstance(found, numbers.Real) and not isinstance(found, bool)
        if not plain or not 0 <= float(found) < math.inf:
            raise UsageError(
                f"expires_after of a cache policy is {given!r}, not a length of time",
                hint='seconds, a timedelta, or a text like "7d"',
            )
        return float(found)

    def check(self, owner: str, parameters: Collection[str]) -> None:
        """Raise NameNotFound for an ignored input that is none of a step's ``parameters``."""
        for one in self.ignored_inputs:
            if one not in parameters:
                raise NameNotFound.among(f"input of {owner}", one, parameters)

    def counted(self, values: Mapping[str, T]) -> dict[str, T]:
        """Those of a step's parameters or inputs that count."""
        return {name: one for name, one in values.items() if name not in self.ignored_inputs}

    def said(self, step: str) -> str | None:
        """What the policy's own function says now, as canonical text; None without one.

        Raises GitmlError with what it raised.
        """
        if self.cache_func is None:
            return None
        try:
            value = self.cache_func()
        except Exception as error:
            raise GitmlError(
                f"the cache_func of {step} raised {type(error).__name__}: {error}"
            ) from error
        try:
            return canonical_value(value)
        except NotPlain as error:
            raise UsageError(
                f"the cache_func of {step} gave a {type(value).__name__}, which is not plain data",
                hint="return a number, a text, or a list of them",
            ) from error

    def is_over(self, made: float, now: float) -> bool:
        """Whether what was made at a time (seconds) is too old to be reused."""
        return self.seconds is not None and now - made >= self.seconds

    def objection(self, record: Step, now: float) -> str | None:
        """Why the policy does not let a result be reused, None where it does."""
        if self.seconds is None:
            return None
        if self.is_over(made_at(record), now):
            return f"its result is older than {_span(self.seconds)}"
        if record.map is not None and record.map.cached:
            return "some of its items are older than its record"
        return None


DEFAULT_POLICY = CachePolicy()


def check_policy(policy: Any, owner: str) -> CachePolicy:
    """The policy, if it is one; raises UsageError."""
    if not isinstance(policy, CachePolicy):
        raise UsageError(
            f"{owner}: cache_policy is {policy!r}, not a CachePolicy",
            hint='`cache_policy=CachePolicy(expires_after="7d")`',
        )
    return policy


def _span(seconds: float) -> str:
    """A length of time in the largest unit that it is a multiple of."""
    for unit, length in _UNITS.items():
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
