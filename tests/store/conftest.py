"""Fixtures of the store's tests."""

from __future__ import annotations

import pytest

from gitml.store import links


@pytest.fixture
def small_files_are_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is not empty is large enough to be linked: tests need not write megabytes."""
    monkeypatch.setattr(links, "LINK_FROM", 1)
