"""What judging a promotion came to, as data: one ``Check`` a requirement, and the ``Verdict``.

The same verdict is printed, posted to a pull request, answered by a server's hook and recorded in
the event tag, so it holds nothing that only one of them could show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitml.entities.ids import ObjectId
from gitml.errors import PolicyNotMet
from gitml.frozen import Frozen

PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"
_MARKS = {PASSED: "✓", FAILED: "✗", UNKNOWN: "?"}
_MARKUP = {ord(mark): f"&#{ord(mark)};" for mark in "\\`*_[]<>|#@&"}
_LONGEST = 200
"""Characters of a text that is recorded: what a check found may be long, and a tag is short."""


class Check(Frozen):
    """What one requirement came to.

    ``state`` is "passed", "failed", or "unknown" where it cannot be told from here: nobody asked
    the forge, say. Texts for people; ``expected`` is what the policy asks for, ``found`` what there
    is instead or as well, ``detail`` a phrase that helps on, perhaps with a command in backticks.
    """

    name: str
    state: str
    expected: str
    found: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it passed; what is unknown has not."""
        return self.state == PASSED

    def document(self) -> dict[str, Any]:
        """The check as JSON."""
        return {
            "name": self.name,
            "state": self.state,
            "expected": self.expected,
            "found": self.found,
            "detail": self.detail,
        }


class Verdict(Frozen):
    """Whether a version may hold a stage, and why (not).

    ``version`` is its label and ``commit`` its commit: what was judged, and what may be promoted.
    ``policy`` is the digest of the policy that was in force, None where the stage has none, and
    ``policy_commit`` the last commit that changed the file where policies stand.
    """

    model: str
    stage: str
    version: str
    commit: ObjectId
    checks: tuple[Check, ...]
    policy: str | None = None
    policy_commit: ObjectId | None = None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(one.ok for one in self.checks)

    @property
    def missed(self) -> list[Check]:
        """The checks that did not pass, those that failed first."""
        return sorted((c for c in self.checks if not c.ok), key=lambda c: c.state != FAILED)

    def document(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {
            "model": self.model,
            "stage": self.stage,
            "version": self.version,
            "commit": str(self.commit),
            "ok": self.ok,
            "policy": self.policy,
            "policy_commit": str(self.policy_commit) if self.policy_commit else None,
            "checks": [one.document() for one in self.checks],
        }

    def record(self) -> Mapping[str, Any]:
        """What an event tag keeps of it: the checks, without what helps on."""
        kept = [{"name": c.name, "state": c.state, "found": _short(c.found)} for c in self.checks]
        return {"ok": self.ok, "checks": kept}

    def markdown(self) -> str:
        """The verdict as a table for a pull request or a page; all text escaped."""
        passed = sum(one.ok for one in self.checks)
        outcome = "meets" if self.ok else "does not meet"
        version, stage = plain_markdown(self.version), plain_markdown(self.stage)
        lines = [
            f"**{version}** {outcome} the policy for **{stage}** "
            f"({passed} of {len(self.checks)} checks)"
        ]
        if self.checks:
            lines += ["", "| | check | asked for | found |", "|---|---|---|---|"]
        for one in self.checks:
            found = "<br>".join(plain_markdown(text) for text in (one.found, one.detail) if text)
            cells = [
                _MARKS[one.state],
                plain_markdown(one.name),
                plain_markdown(one.expected),
                found,
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, ""])

    def refusal(self) -> PolicyNotMet:
        """The error for a version that may not hold the stage; its cause names what was missed."""
        missed, asks = self.missed, "the policy asks for"
        said = (
            f"{self.version} does not meet the policy for {self.stage} "
            f"({len(self.checks) - len(missed)} of {len(self.checks)} checks)"
        )
        if self.policy is None:
            said, asks = f"{self.version} may not hold {self.stage}", "every stage asks for"
        error = PolicyNotMet(
            said,
            hint=f"`gitml promote {self.version} {self.stage} --dry-run` shows every check",
        )
        cause: PolicyNotMet | None = None
        for one in reversed(missed):
            said = f"{one.name}: {one.found}; {asks} {one.expected}"
            below, cause = cause, PolicyNotMet(f"{said}; {one.detail}" if one.detail else said)
            cause.__cause__ = below
        error.__cause__ = cause
        return error


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def plain_markdown(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))
    return shown.translate(_MARKUP)
