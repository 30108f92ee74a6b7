from __future__ import annotations

import textwrap

import pytest

from tests.code.project import Write, project
from tests.workshop import Workshop

__all__ = ["project", "steps"]


@pytest.fixture
def steps(workshop: Workshop, request: pytest.FixtureRequest) -> Write:
    """Writes and commits ``pipelines/example.py``: the ``HEAD`` of the tests, then a text."""

    def write(text: str) -> Workshop:
        workshop.write("pipelines/example.py", request.module.HEAD + textwrap.dedent(text))
        workshop.commit("code")
        return workshop

    return write
