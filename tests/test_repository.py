"""What is in git speaks of the project alone, in plain text, and nothing of one machine is in it.

The patterns are written so that they do not match themselves.
"""

from __future__ import annotations

import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.test_architecture import EMPTY_WORDS

ROOT = Path(__file__).parents[1]

# Absolute paths, not the middle of a longer path, of a URL or of an interpolated string.
_MACHINE = re.compile(
    r"(?<![\w.~})\]*-])/(?:[r]oot|[w]ork|[h]ome/(?!anna\b|ada\b)\w+|[U]sers/\w+)/"
)
_TEMPORARY = re.compile(r"(?<![\w.~})\]*-])/[t]mp/")
_REGISTRY = re.compile(
    r"\b(?:py[p]i\.org|python[h]osted\.org|np[m]js\.org|npm[j]s\.com|anacond[a]\.org"
    r"|crate[s]\.io|prox[y]\.golang\.org)\b|--(?:extra-)?inde[x]-url|PIP_(?:EXTRA_)?INDE[X]_URL"
)
# Characters that a reader does not see: controls but tab and line feed, and all format characters
# (bidirectional overrides, joiners, byte order marks), and spaces that are no space.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_SPACES = {"\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}"}


def no_machine_paths(name: str, text: str) -> Iterator[str]:
    yield from _matches(_MACHINE, name, text)
    if name.endswith(".md"):
        yield from _matches(_TEMPORARY, name, text)


def no_registries(name: str, text: str) -> Iterator[str]:
    yield from _matches(_REGISTRY, name, text)


def nothing_hidden(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            hidden = unicodedata.category(character) in _UNSEEN and character != "\t"
            if hidden or character in _SPACES:
                yield f"{name}:{number}: U+{ord(character):04X}"


def ends_with_one_line_feed(name: str, text: str) -> Iterator[str]:
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield f"{name}: ends without a line feed, or with more than one"


def names_say_something(name: str, text: str) -> Iterator[str]:
    del text
    for part in PurePosixPath(name).with_suffix("").parts:
        if EMPTY_WORDS.intersection(re.split(r"[^a-z]+", part.lower())):
            yield f"{name}: `{part}` says nothing about what is inside"


RULES = (
    no_machine_paths,
    no_registries,
    nothing_hidden,
    ends_with_one_line_feed,
    names_say_something,
)
Rule = Callable[[str, str], Iterator[str]]


def _matches(pattern: re.Pattern[str], name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for found in pattern.finditer(line):
            yield f"{name}:{number}: {found[0]}"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The text files that git has or would take, by name; what holds a NUL is no text."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a clone of the repository")
    names = [name.decode() for name in listing.stdout.split(b"\0") if name]
    contents = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    return {
        name: raw.decode("utf-8", "surrogateescape")
        for name, raw in contents.items()
        if b"\0" not in raw
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_files_keep_the_rule(rule: Rule, files: dict[str, str]) -> None:
    assert files
    assert [fault for name, text in files.items() for fault in rule(name, text)] == []


def test_there_is_a_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0" in text


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (no_machine_paths, "a.py", "path = '/" + "root/x'\n"),
        (no_machine_paths, "a.md", "see /" + "work/main/x\n"),
        (no_machine_paths, "a.toml", "x = '/" + "home/someone/x'\n"),
        (no_machine_paths, "a.md", "cd /" + "tmp/x\n"),
        (no_registries, "a.md", "https://" + "py" + "pi.org/simple\n"),
        (no_registries, "run", "pip install --in" + "dex-url x\n"),
        (nothing_hidden, "a.md", "a\u202eb\n"),
        (nothing_hidden, "a.md", "a\u200bb\n"),
        (nothing_hidden, "a.md", "a\u00a0b\n"),
        (nothing_hidden, "a.md", "\ufeffa\n"),
        (nothing_hidden, "a.md", "a\r\n"),
        (nothing_hidden, "a.md", "a\x1b[31m\n"),
        (ends_with_one_line_feed, "a.md", "a"),
        (ends_with_one_line_feed, "a.md", "a\n\n"),
        (names_say_something, "tests/helpers.py", ""),
        (names_say_something, "docs/core/x.md", ""),
        (names_say_something, "gitml/path-utils.py", ""),
    ],
)
def test_a_planted_violation_is_found(rule: Rule, name: str, text: str) -> None:
    assert len(list(rule(name, text))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (no_machine_paths, "a.md", "https://example.org/" + "work/x and tests/" + "work/x\n"),
        (no_machine_paths, "a.py", "Path('/" + "tmp/x')\n"),
        (no_machine_paths, "a.py", "f'{base}/" + "root/x'\n"),
        (nothing_hidden, "a.md", "a\tb → é ○ ◆\n"),
        (names_say_something, "docs/scores.md", ""),
    ],
)
def test_what_is_allowed_passes(rule: Rule, name: str, text: str) -> None:
    assert list(rule(name, text)) == []
