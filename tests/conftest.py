"""Every test runs in a sealed environment (gitml.testing.sealed), and reproducibly."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

if TYPE_CHECKING:  # pytest imports the plugin itself, to rewrite its assertions
    from gitml.testing.sealed import SealedEnvironment

pytest_plugins = ["gitml.testing.sealed", "tests.servers", "tests.workshop", "tests.reviewed"]

# Tests do not run in the folder from which pytest was started, where Hypothesis would look.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".hypothesis")
# Deadlines measure the machine, not the code: on two busy cores they fail at random.
hypothesis.settings.register_profile("gitml", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gitml")

# Each process of pytest has a core: threads of a library would only spin for another's.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Names of files have all letters. What a process can say is decided when it starts, so this is for
# those that xdist will start.
if sys.getfilesystemencoding() != "utf-8":
    os.environ["PYTHONUTF8"] = "1"

# pytest rewrites the assertions of 50,000 lines, but once where it may keep what comes of it.
sys.dont_write_bytecode = False

_MEMORY = Path("/dev/shm")
_NEEDED = 4 << 30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep the folders of tests in memory where there is room for them.

    All that gitml and git write is flushed, and on a disk the tests wait for that half of their
    time. ``--basetemp`` or ``TMPDIR`` puts them on a disk again.
    """
    chosen = config.option.basetemp or os.environ.get("TMPDIR")
    if not chosen and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the transcripts: what takes longest must not be what the others wait for."""
    items.sort(key=lambda item: item.path.name != "test_transcripts.py")


@pytest.fixture(scope="session", autouse=True)
def _sealed_from_the_start(sealed_session: SealedEnvironment) -> None:
    """Module and session fixtures, which pytest sets up before any test's own, are sealed too."""


@pytest.fixture(autouse=True)
def _sealed(sealed_environment: SealedEnvironment) -> None:
    """No test sees the developer's machine, and none can harm the repository it lies in."""
