"""Patterns of a view mean what git's own mean."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gitml.errors import UsageError
from gitml.workspace.globs import Globs, escaped
from gitml.workspace.statcache import View

PATHS = ["a.png", "b.txt", "x/a.png", "x/y/a.png", "x/-.png", "x/[.png", "x/&.png", "~", "]", "+x"]
PATTERNS = [
    *("*.png", "/*.png", "x", "x/", "x/*", "x/**", "**/a.png", "x/**/a.png", "?.txt", "x/?.png"),
    *("[ab].*", "[!a].*", "x/[[].png", "x/[&&].png", "[~~]", "[+--]x", "x[+-0]a.png", "[]]"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_git_would_ignore(pattern: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    told = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(PATHS),
        capture_output=True,
        text=True,
    ).stdout
    globs = Globs.of(View((pattern,)))
    assert [path for path in PATHS if globs.match(path)] == told.split("\0")[:-1]


@pytest.mark.parametrize("path", ["a[1].png", "a*b", "x/?", "[[]]", "[&&~~||--]"])
def test_an_escaped_path_means_itself(path: str) -> None:
    assert Globs.of(View((escaped(path),))).match(path)


@pytest.mark.parametrize("pattern", ["", "/", "../x", "[z-a]"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"`{pattern}`")):
        Globs.of(View((pattern,)))
