"""The bench on which faults are tried, one for all tests of a process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.faults.bench import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Scenarios to disturb, which need no disk: no fault here is one of power."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    made = Bench(tmp_path_factory.mktemp("bench"))
    try:
        yield made
    finally:
        made.close()
