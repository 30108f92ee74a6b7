"""The bench on which faults are tried, one for all tests of a process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench

_MEMORY = Path("/dev/shm")
_NEEDED = 256 << 20


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Scenarios to disturb, in memory where there is room: no fault here is one of power."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED:
        folder = Path(tempfile.mkdtemp(prefix="gitml-faults-", dir=_MEMORY))
    else:
        folder = tmp_path_factory.mktemp("bench")
    made = Bench(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)
