"""What a rule of a policy is, what it is given to judge (a ``Case``), and policies made of rules.

A check of one's own is a subclass of ``Rule`` in the entry-point group ``gitml.checks``, named by
its first field. A ``Case`` is everything that a verdict follows from. What git has is read from the
repository; what only the caller can know (who approved on a forge, what a remote holds, how a tag
is signed) is handed in as ``Evidence``, and a check that lacks it says "unknown".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

from gitml.config import Config
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Output
from gitml.errors import ConfigError, CorruptData, NameNotFound
from gitml.frozen import Frozen, field, fields
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.signing import Signature, Signers
from gitml.history.entries import VersionEntry
from gitml.history.index import Index
from gitml.history.models import ModelState
from gitml.history.notes import Notes
from gitml.history.revocations import Revocations
from gitml.history.revs import Names
from gitml.promotion.verdict import FAILED, PASSED, UNKNOWN, Check

PULL_REQUEST = "pull-request"
EMERGENCY = "emergency"
"""Ways by which a move comes about; an emergency may bring a former holder back, and no more."""
PROMOTE, ROLL_BACK, CLEAR = "promote", "rollback", "clear"
NEWCOMERS: tuple[str, ...] = (PROMOTE,)
HOLDERS: tuple[str, ...] = (PROMOTE, ROLL_BACK)
EVERY_MOVE: tuple[str, ...] = (PROMOTE, ROLL_BACK, CLEAR)


class Rule(Frozen):
    """A requirement of a policy; a check is a subclass, and its fields are the rule's settings.

    The first field has the name of the check. A field called ``for_`` is the setting ``for``. Types
    are text, numbers, true or false, or lists of texts, as the annotations say. ``where`` is the
    rule's place in the file.
    """

    where: str = field(default="", kw_only=True, compare=False)

    moves = NEWCOMERS
    """The moves that it is asked at. A roll-back brings back what was judged when it came, so only
    what keeps it safe now is asked again; to clear a stage is judged by how it is done."""
    of_tag = False
    """Whether it is about the event tag, and can be asked only when that is made."""

    def expects(self) -> str:
        """What the rule asks for, in a few words."""
        raise NotImplementedError

    def complain(self, config: Config) -> str | None:
        """What is wrong with the settings of the rule, None where nothing is."""
        return None

    def judge(self, case: Case) -> Check:
        """What a promotion comes to by this rule. Raises only what means that nothing can be."""
        raise NotImplementedError

    def check_name(self) -> str:
        """How the check is called in a verdict: its word and what the rule is about."""
        name, value = next(iter(self.settings().items()))
        return f"{name} {value}" if isinstance(value, str) else name

    def settings(self) -> dict[str, Any]:
        """The settings that were given, by the words of the file."""
        named = {key.rstrip("_"): self.__dict__[key] for key in fields(self) if key != "where"}
        return {key: value for key, value in named.items() if value is not None}

    def passed(self, found: str, detail: str = "") -> Check:
        """That the rule is met."""
        return Check(self.check_name(), PASSED, self.expects(), found, detail)

    def failed(self, found: str, detail: str = "") -> Check:
        """That it is not."""
        return Check(self.check_name(), FAILED, self.expects(), found, detail)

    def unknown(self, found: str, detail: str = "") -> Check:
        """That it cannot be told from here."""
        return Check(self.check_name(), UNKNOWN, self.expects(), found, detail)

    @classmethod
    def read(cls, settings: Mapping[str, Any], where: str) -> Self:
        """The rule with these settings; raises ConfigError with the place and the form."""
        known = {name.rstrip("_"): name for name in fields(cls) if name != "where"}
        values: dict[str, Any] = {}
        for key, value in settings.items():
            if key not in known:
                error = NameNotFound.among(f"setting of `{next(iter(known))}`", key, known)
                raise ConfigError(f"{where}: {error.message}; {cls.form()}", hint=error.hint)
            expected, reader, _ = _reading(cls, known[key])
            try:
                values[known[key]] = reader(value)
            except ValueError:
                raise ConfigError(f"{where}: {key} should be {expected}; {cls.form()}") from None
        missing = [key for key, name in known.items() if fields(cls)[name].required]
        for key in missing:
            if known[key] not in values:
                raise ConfigError(f"{where}: {key} is missing; {cls.form()}")
        return cls(**values, where=where)

    @classmethod
    def form(cls) -> str:
        """How such a rule is written, as a phrase."""
        named = [name for name in fields(cls) if name != "where"]
        shown = (f"{name.rstrip('_')} = {_reading(cls, name)[2]}" for name in named)
        return f"the form is {{ {', '.join(shown)} }}"


class Policy(Frozen):
    """What a stage asks for. ``digest`` is that of the policy with all that it refers to."""

    stage: str
    rules: tuple[Rule, ...]
    digest: str

    def asks(self, kind: type[Rule]) -> bool:
        """Whether one of its rules is of this kind."""
        return any(isinstance(one, kind) for one in self.rules)


class Policies(Frozen):
    """The policies of one ``gitml.toml``, with the settings that they refer to.

    ``commit`` is the last commit that changed the file, None where it is in none.
    """

    config: Config
    stages: Mapping[str, Policy]
    commit: ObjectId | None = None


class Approval(Frozen):
    """That somebody agrees with a promotion: who, by address or account, and how that is known."""

    who: str
    how: str


class Looked(Frozen):
    """Which of some bytes are nowhere to be had, and which of those that are here are damaged.

    ``unread`` is how many bytes were not read, since they are too many. ``remote`` is the one that
    was asked for what is not in this clone, None where nothing was to be asked or nobody could be;
    ``trouble`` says why it did not answer.
    """

    lost: tuple[Digest, ...] = ()
    damaged: tuple[Digest, ...] = ()
    unread: int = 0
    remote: str | None = None
    trouble: str = ""


Absent = Callable[[str, str, ObjectId], Sequence[str]]
Look = Callable[[Sequence[Output], bool], Looked]
Run = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]]


class Evidence(Frozen):
    """What the repository alone does not say; None where the caller has not looked.

    ``via`` is how the promotion comes about ("pull-request", or empty for a direct one).
    ``approvals`` gives those that a forge knows of, ``signed_for`` those of signed commits,
    ``absent`` the places whose bytes a remote lacks, by its name, its URL and a version, ``look``
    what is wrong with the bytes of some artifacts (all of them are read where the second argument
    says so, as ``thorough`` asks), ``run`` the exit code and last line of a program,
    ``signature`` how the event tag is signed, and ``signers`` whose signatures count.
    """

    via: str | None = ""
    approvals: Callable[[], Sequence[Approval]] | None = None
    signed_for: Callable[[], Sequence[Approval]] | None = None
    absent: Absent | None = None
    look: Look | None = None
    thorough: bool = False
    run: Run | None = None
    signature: Callable[[], Signature] | None = None
    signers: Callable[[], Signers] | None = None


class Case(Frozen):
    """A version that asks for a stage, and all that decides whether it may have it.

    ``policies`` are those in force: of ``HEAD`` in a clone, of the default branch elsewhere. The
    same ``version``, a commit, is judged and then promoted, whatever names mean by then; where a
    stage is cleared it is the holder. ``move`` is "promote", "rollback" or "clear".
    """

    git: Git
    odb: Odb
    index: Index
    names: Names
    policies: Policies
    model: str
    stage: str
    version: ObjectId
    move: str = PROMOTE
    evidence: Evidence = Evidence()
    now: float = field(default_factory=time.time)

    @property
    def policy(self) -> Policy | None:
        """What the stage asks for, None where it asks for nothing."""
        return self.policies.stages.get(self.stage)

    @property
    def config(self) -> Config:
        """The settings beside the policy."""
        return self.policies.config

    @cached_property
    def state(self) -> ModelState:
        """The model with its versions and stages."""
        return self.names.model(self.model)

    @cached_property
    def entry(self) -> VersionEntry:
        """The version's record; raises CorruptData where it cannot be read."""
        found = self.index.version(self.version)
        if found is None or found.record.model != self.model:
            raise CorruptData(f"{self.version.short} is no version of {self.model}")
        return found

    @cached_property
    def revocations(self) -> Revocations:
        """What is revoked in this repository."""
        return Revocations(self.index, self.odb)

    @cached_property
    def noted(self) -> Mapping[str, Any]:
        """The metadata that was set on the version later."""
        return Notes(self.git, self.odb).values(self.version)

    @property
    def label(self) -> str:
        """How the version is written."""
        return self.state.label(self.version)


def _reading(kind: type[Rule], name: str) -> tuple[str, Callable[[Any], Any], str]:
    return _READERS[str(fields(kind)[name].type).removesuffix(" | None")]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return tuple(_text(one) for one in value)


_READERS: Mapping[str, tuple[str, Callable[[Any], Any], str]] = {
    "str": ("text", _text, '"…"'),
    "float": ("a finite number", _number, "0.9"),
    "int": ("a whole number from 1", _count, "1"),
    "bool": ("true or false", _flag, "true"),
    "tuple[str, ...]": ("a list of texts", _texts, '["…"]'),
}
"""By the annotation of a field: what is expected, what reads it, and an example."""
