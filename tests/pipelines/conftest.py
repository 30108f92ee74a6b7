from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.project import Project, Write
from tests.workshop import Workshop


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path, monkeypatch)
    yield made
    made.forget()


@pytest.fixture
def steps(workshop: Workshop, request: pytest.FixtureRequest) -> Write:
    """Writes and commits ``pipelines/example.py``: the ``HEAD`` of the tests, then a text."""

    def write(text: str) -> Workshop:
        workshop.write("pipelines/example.py", request.module.HEAD + textwrap.dedent(text))
        workshop.commit("code")
        return workshop

    return write
