"""The acceptance story has twenty-five parts, and each has a test with its number."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_story_has_a_test_with_its_number() -> None:
    names = [
        name
        for folder in ("stories", "forges")
        for path in sorted((TESTS / folder).glob("test_*.py"))
        for name in re.findall(r"^def test_story_(\d\d)_", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert {f"{number:02}" for number in range(1, 26)} - set(names) == set()
