"""The golden transcripts: every page of tests/cli and those of docs do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.transcripts import check, needs

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / f"docs/{name}.md" for name in ("comparing", "data", "sharing", "tutorial", "hooks")]
TRANSCRIPTS = [*sorted((ROOT / "tests/cli").glob("*.md")), *DOCS]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_transcript(path: Path, tmp_path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path.name} is not written yet")
    missing = [name for name in needs(path.read_text()) if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    check(path, tmp_path / "home")
