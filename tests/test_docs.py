"""The documentation cannot lie: what it shows runs, what there is stands in it, links resolve.

Each check is a function over text, shown to fail on a planted fault below. What is not written yet
is skipped by name.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gitml import config
from tests import reference
from tests.transcripts import blocks, check

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# The only blocks of the README that are not run by its own test: each makes an environment.
INSTALL = (
    "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[demo]' && gitml demo",
    "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest",
)
# Every key of gitml.toml that is read.
KEYS = (
    "project.id",
    "pipelines.paths",
    "stacks.<name>.orchestrator",
    "stacks.<name>.artifact_store",
    "metrics.<name>.direction",
    "policy.<stage>.require",
    "groups.<name>",
    "signing.tags",
    "signing.runs",
    "signing.allowed_signers",
    "signing.revoked_signers",
    "signing.gpg_keys",
    "remotes.<name>.url",
    "remotes.<name>.default",
    "materializers.pickle",
    "materializers.trusted_types",
    "models.<name>.description",
    *(f"models.<name>.{one}" for one in config.CARD),
    "hooks.limit",
    "hooks.exclude",
)
_SHELL = ("sh", "bash", "shell", "zsh")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_NOTE = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def read(path: Path) -> str:
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not written yet")
    return path.read_text(encoding="utf-8")


def command_line() -> click.Group:
    main = getattr(importlib.import_module("gitml.cli"), "main", None)
    if not isinstance(main, click.Group):
        pytest.skip("gitml.cli has no commands yet")
    return main


# The checks


def not_run(text: str) -> Iterator[str]:
    """Blocks that a reader would type and no test runs, other than the lines that install."""
    for block in blocks(text):
        if block.not_run is None and block.language not in _SHELL:
            continue
        for line in filter(None, (line.removeprefix("$ ").strip() for line in block.lines)):
            if line not in INSTALL and not line.startswith("#"):
                yield f"line {block.start}: no test runs `{line}`"


def without_help(group: click.Group) -> Iterator[str]:
    """Commands and options that do not say what they do."""
    for context in reference.every_command(click.Context(group, info_name="gitml")):
        if not (context.command.help or "").strip():
            yield context.command_path
        for parameter in context.command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help:
                yield f"{context.command_path} {parameter.opts[-1]}"


def absent(names: tuple[str, ...], text: str) -> list[str]:
    """The names that the text does not have in backticks."""
    return [name for name in names if f"`{name}`" not in text]


def broken_links(path: Path, root: Path) -> Iterator[str]:
    """Relative links of a Markdown file that lead out of ``root`` or to nothing."""
    for target in links(path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        there = (path.parent / name).resolve() if name else path
        if not there.is_relative_to(root.resolve()) or not there.exists():
            yield f"{path.relative_to(root)}: {target}"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text("utf-8")):
            yield f"{path.relative_to(root)}: {target} (no such heading)"


def prose(text: str) -> list[str]:
    """The lines of a Markdown text that are outside its fenced blocks."""
    fenced = {number for block in blocks(text) for number in range(block.start - 1, block.end + 1)}
    return [line for number, line in enumerate(text.splitlines()) if number not in fenced]


def links(text: str) -> list[str]:
    plain = "\n".join(_INLINE_CODE.sub("", line) for line in prose(text))
    return [found[1] or found[2] for found in _LINK.finditer(plain)]


def headings(text: str) -> list[tuple[int, str]]:
    """The level and the words of each heading."""
    found = (re.match(r"(#{1,6}) +(.+?) *$", line) for line in prose(text))
    return [(len(match[1]), match[2]) for match in found if match]


def anchors(text: str) -> set[str]:
    """The fragments under which a forge shows the headings of a text."""
    found: set[str] = set()
    for _, words in headings(text):
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = 0
        while (one := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(one)
    return found


def faults_of_notes(notes: dict[str, str]) -> Iterator[str]:
    """What is wrong with the decision notes, given as file names with their texts."""
    seen: dict[str, str] = {}
    for name, text in sorted(notes.items()):
        numbered = _NOTE.fullmatch(name)
        if not numbered:
            yield f"{name}: a note is called NNNN-some-words.md"
            continue
        if (other := seen.setdefault(numbered[1], name)) != name:
            yield f"{name}: {other} has its number"
        all_headings = headings(text)
        if not all_headings or all_headings[0][0] != 1:
            yield f"{name}: no title"
        sections = [words for level, words in all_headings if level == 2]
        if sections[:1] != ["Problem"] or sections[-1:] != ["Rejected"]:
            yield f"{name}: begins with `## Problem` and ends with `## Rejected`"


# The documentation passes them


def test_readme_does_what_it_shows(tmp_path: Path) -> None:
    read(ROOT / "README.md")
    check(ROOT / "README.md", tmp_path / "home")


def test_readme_has_two_lines_that_install_and_runs_the_rest() -> None:
    text = read(ROOT / "README.md")
    assert [line for line in INSTALL if line not in text] == []
    assert list(not_run(text)) == []


def test_every_command_and_option_has_help() -> None:
    assert list(without_help(command_line())) == []


def test_reference_is_up_to_date() -> None:
    current = reference.reference(command_line())
    text = read(DOCS / "reference.md")
    assert text == current, "run `python -m tests.reference > docs/reference.md`"


def test_every_key_of_the_configuration_is_documented() -> None:
    assert absent(KEYS, read(DOCS / "configuration.md")) == []


def test_every_relative_link_resolves() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    assert [fault for page in sorted(pages) for fault in broken_links(page, ROOT)] == []


def test_decision_notes_have_their_form() -> None:
    pages = {path.name: path.read_text("utf-8") for path in (DOCS / "design").glob("*.md")}
    notes = {name: text for name, text in pages.items() if name != "README.md"}
    if not notes:
        pytest.skip("docs/design has no notes yet")
    assert list(faults_of_notes(notes)) == []


# Each check finds a planted fault


@pytest.fixture
def planted() -> click.Group:
    @click.group()
    def main() -> None:
        """Everything."""

    @main.group()
    def stage() -> None:
        """Stages of models."""

    @stage.command(
        help="Show who moved a stage.\n\n\b\ngitml stage log clf\ngitml stage log clf -n 1"
    )
    @click.argument("model")
    @click.option("-n", "--limit", default=3, show_default=True, help="How many.")
    @click.option("--secret", hidden=True)
    def log(model: str, limit: int, secret: str) -> None:
        pass

    @main.command(hidden=True)
    def internal() -> None:
        """Not for people."""

    return main


def test_the_reference_has_commands_options_and_exit_codes(planted: click.Group) -> None:
    text = reference.reference(planted)
    assert "### gitml stage\n" in text
    assert "### gitml stage log\n\n```text\ngitml stage log [OPTIONS] MODEL\n```\n" in text
    assert "```text\ngitml stage log clf\ngitml stage log clf -n 1\n```" in text
    assert re.search(r"- `-n, --limit INTEGER`: How many\. .*default: 3", text)
    assert "secret" not in text
    assert "internal" not in text
    section = text.partition("## Exit codes")[2]
    for one in reference.error_classes():
        assert f"| {one.exit_code} | `{one.__name__}` |" in section


def test_missing_help_is_found(planted: click.Group) -> None:
    assert list(without_help(planted)) == []

    @planted.command()
    @click.option("--mute")
    def silent(mute: str) -> None:
        pass

    assert list(without_help(planted)) == ["gitml silent", "gitml silent --mute"]


def test_a_block_that_no_test_runs_is_found() -> None:
    install = f"```sh\n{INSTALL[0]}\n```\n<!-- not run: slow -->\n```console\n$ {INSTALL[1]}\n```\n"
    assert list(not_run(install)) == []
    assert list(not_run("```sh\nrm -r x\n```\n")) == ["line 1: no test runs `rm -r x`"]
    marked = "<!-- not run: slow -->\n```console\n$ gitml run x\nout\n```\n"
    assert len(list(not_run(marked))) == 2


def test_an_undocumented_key_is_found() -> None:
    assert absent(("project.id", "x.y"), "the key `project.id` and x.y") == ["x.y"]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    (tmp_path / "b.md").write_text("# One & two\n\n## Again\n\n## Again\n```\n# no heading\n```\n")
    page.write_text(
        "[b](b.md) [h](b.md#one--two) [i](b.md#again-1) [w](https://example.org/x) `[c](no.md)`\n"
        "```\n[d](no.md)\n```\n"
    )
    assert list(broken_links(page, tmp_path)) == []
    page.write_text("[b](no.md) ![i](no.png) [h](b.md#no-heading) [s](#here) [o](../x.md)\n")
    assert len(list(broken_links(page, tmp_path))) == 5


def test_a_malformed_note_is_found() -> None:
    good = "# One\n\n## Problem\nx\n\n## Decision\ny\n\n## Rejected\nz\n"
    assert list(faults_of_notes({"0001-one.md": good, "0002-two.md": good})) == []
    for name, text in {
        "0001-two.md": good,
        "notes.md": good,
        "0002-x.md": good.replace("# One\n", "", 1),
        "0003-x.md": good.replace("## Problem", "## Context"),
        "0004-x.md": good + "## Later\n",
    }.items():
        assert len(list(faults_of_notes({"0001-one.md": good, name: text}))) == 1, name
