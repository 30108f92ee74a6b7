"""A ledger: a repository with one commit of code, to write records into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gitml.testing.sealed import GitRepository, SealedEnvironment
from tests.history.ledger import Ledger


@pytest.fixture
def ledger(
    git_repository: GitRepository, sealed_environment: SealedEnvironment
) -> Iterator[Ledger]:
    """A ledger whose every id is the same in every test run."""
    sealed_environment.freeze_dates()
    git_repository.write("train.py", "depth = 6\n")
    git_repository.write("data/readme.md", "penguins\n")
    git_repository.commit("code")
    made = Ledger(git_repository)
    yield made
    made.close()
