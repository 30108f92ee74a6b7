"""What signs the records of a run: the key is tried before the work, and costs no results."""

from __future__ import annotations

from collections.abc import Callable

from gitml.errors import GitmlError, UsageError
from gitml.git.process import Git
from gitml.git.signing import Signer


def _quiet(note: str) -> None:
    """Nobody listens yet."""


class Sealing:
    """Signs runs, versions and numbers, as far as this user and the project ask for it.

    What cannot be signed when the run ends, since the agent has gone by then, is recorded without a
    signature, and ``tell`` says so.
    """

    def __init__(self, git: Git, *, tags: bool, records: bool) -> None:
        self._signer = Signer(git)
        self._tags, self._records = tags, records
        self.tell: Callable[[str], None] = _quiet

    def try_out(self, identity: str) -> None:
        """Raise UsageError where git cannot sign, before anything is done that would be lost."""
        try:
            self._signer.try_out(identity)
        except UsageError as error:
            if self._records:
                error.hint = f"{error.hint}; `git config gitml.signRuns false` runs without"
            raise

    def tag(self, data: bytes) -> bytes:
        """A tag of a number with its signature, where numbers are signed."""
        return self._signed(data, "number", self._tags, lambda: self._signer.sign(data))

    def record(self, data: bytes, named: bytes) -> bytes:
        """The commit of a run or a version with its signature, where they are signed."""
        sign = self._signer.sign_commit
        return self._signed(data, "record", self._records, lambda: sign(data, named))

    def _signed(self, data: bytes, what: str, asked: bool, sign: Callable[[], bytes]) -> bytes:
        if not asked:
            return data
        try:
            return sign()
        except GitmlError as error:
            self.tell(f"a {what} of this run is not signed: {error.message}")
            return data
