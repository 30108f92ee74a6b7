"""The manual: a page for each command, as man(1) and git find them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gitml.cli import main
from gitml.cli.manual import pages
from gitml.testing.sealed import SealedEnvironment
from tests.reference import every_command

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, sealed_session: SealedEnvironment) -> Path:
    """The folder of pages that an installation makes."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    (source / "gitml").symlink_to(ROOT / "gitml")
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "install_data", "--install-dir", prefix],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return prefix / "share" / "man"


def test_an_installation_has_a_page_for_each_command(installed: Path) -> None:
    there = {one.name for one in (installed / "man1").iterdir()}
    context = click.Context(main, info_name="gitml")
    assert there == {
        *("gitml.1", "git-ml.1"),
        *(f"gitml-{name}.1" for name in main.list_commands(context)),
    }


def test_a_page_says_all_that_the_help_says() -> None:
    """Compared by words: options, arguments, descriptions, examples of commands and subcommands."""

    def words(text: str) -> set[str]:
        text = re.sub(r"\\f[BR]|\\&|(?m:^\.\w+)", " ", text)
        for roff, plain in (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(ti", "~")):
            text = text.replace(roff, plain)
        return set(re.findall(r"[\w/@:.=<>~-]+\w", text))

    texts = {name: words(text) for name, text in pages(main).items()}
    for context in every_command(click.Context(main, info_name="gitml")):
        page = texts[f"gitml-{context.command_path.split()[1]}.1"]
        helps = [one.get_help_record(context) for one in context.command.get_params(context)]
        said = "\n".join(
            [context.command.help or "", *(part for one in helps if one for part in one)]
        )
        assert words(said.replace("\b", "")) <= page, context.command_path


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_no_page_warns(installed: Path) -> None:
    """All of them by one groff, with every warning."""
    names = sorted(one for one in (installed / "man1").iterdir() if one.name != "git-ml.1")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8", "-P-c", *names],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "gitml stage apply --dry-run" in done.stdout


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_and_git_find_them(installed: Path, sealed_environment: SealedEnvironment) -> None:
    sealed_environment.set("MANPATH", str(installed))
    sealed_environment.set("MANPAGER", "cat")
    for command, words in {
        ("man", "gitml-add"): "gitml-add - Store data and put a pointer",
        ("git", "ml", "--help"): "gitml - Models, data and runs as git history",
    }.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert words in done.stdout, done
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "Usage: gitml [OPTIONS]"),
        (["add"], "Usage: gitml add [OPTIONS]"),
        (["stage", "list"], "Usage: gitml stage list [OPTIONS]"),
    ],
)
def test_help_is_that_of_the_command(
    words: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["help", *words])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert said.startswith(shown)
    with pytest.raises(SystemExit):
        main.main([*words, "--help"])
    assert capsys.readouterr().out.split() == said.split()


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["ad"], "gitml has no command `ad`", "did you mean `gitml add`?"),
        (["stage", "lst"], "gitml stage has no command `lst`", "`gitml stage list`"),
        (["add", "x"], "gitml add has no commands below it", "`gitml help add`"),
    ],
)
def test_help_on_what_is_not_there(
    words: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["help", *words])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert error in said
    assert hint in said
