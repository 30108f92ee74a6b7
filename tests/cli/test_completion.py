"""What a shell offers at Tab: from the table to real bash, zsh and fish."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from gitml.cli import completion, main
from gitml.cli.live_names import LiveNames
from gitml.repo import Repo
from gitml.testing.sealed import SealedEnvironment
from tests.cli.test_startup import HEAVY
from tests.reference import every_command
from tests.workshop import Copy, Workshop, model_for_copies

# What a person makes up, or what is named by no record.
FREE = {
    "clone": {"url"},
    "artifact put": {"file"},
    "cache explain": {"step"},
    "cache clear": {"step", "steps", "names"},
    "metadata set": {"values"},
    "remote add": {"name", "url"},
    "run": {"command"},
    "help": {"words"},
    "hooks run": {"arguments"},
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, sealed_session: SealedEnvironment) -> Workshop:
    """Two versions, one of them in production, a run of each, a remote and a stack."""
    with model_for_copies(tmp_path_factory.mktemp("filled")) as made:
        made.training()
        with (made.path / "gitml.toml").open("a") as file:
            file.write('\n[stacks.night]\norchestrator = "local"\n\n[metrics.accuracy]\n')
            file.write('direction = "max"\n\n[remotes.lake]\nurl = "/nowhere/at/all"\n')
            file.write("\n[policy.staging]\nrequire = [{ metric = 'accuracy', min = 0.1 }]\n")
        made.commit("settings")
        made.run()
        made.run(parameters={"rate": 0.1})
        made.repo().promote("clf@v1", "production", "why")
        made.git("remote", "add", "origin", "/nowhere/hub")
    return made


@pytest.fixture
def offered(
    filled: Workshop,
    copied: Copy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], list[str]]:
    """What bash would show behind a line, asked for in this process."""
    copied(filled)

    def ask(line: str, replaced: str | None = None) -> list[str]:
        monkeypatch.setenv(completion.COMPLETING, "bash_complete")
        monkeypatch.setenv("_GITML_LINE", line)
        monkeypatch.setenv("_GITML_WORD", line.split(" ")[-1] if replaced is None else replaced)
        completion.answer(main, "bash_complete")
        said = capsys.readouterr()
        assert said.err == ""
        return [one.partition(",")[2] for one in said.out.splitlines()]

    return ask


def test_names_are_offered_where_they_may_stand(
    filled: Workshop, offered: Callable[[str], list[str]]
) -> None:
    numbers = ["clf@v2", "clf@v1"]
    for line, names in {
        "gitml prom": ["promote"],
        "gitml stage ": ["apply", "clear", "list", "log", "plan", "repair"],
        "gitml run tr": ["training"],
        "gitml promote ": ["clf@latest", "clf@production", *numbers],
        "gitml promote clf@v": numbers,
        "gitml promote clf@v1 ": ["production", "staging"],
        "gitml rollback clf p": ["production"],
        "gitml stage log c": ["clf"],
        "gitml show clf@v2:": ["clf@v2:table", "clf@v2:model"],
        "gitml show m": ["model"],
        "gitml artifact get table@": ["table@latest"],
        "gitml model compare clf@p": ["clf@production"],
        "gitml model compare --sort ": ["accuracy"],
        "gitml stack set ": ["default", "night"],
        "gitml --stack n": ["night"],
        "gitml remote doctor ": ["lake"],
        "gitml push --remote ": ["origin"],
        "ENV=1 gitml ci init gith": ["github"],
        "gitml promote nothing": [],
    }.items():
        assert offered(line) == names, line
    runs = {ref.rpartition("/")[2] for ref in filled.refs("refs/gitml/runs")}
    assert set(offered("gitml run training --resume ")) == runs
    some = runs.pop()
    assert offered(f"gitml delete {some[:6]}") == [some]
    assert offered(f"gitml show {some[:6]}") == [some]


def test_tags_are_offered(offered: Callable[[str], list[str]]) -> None:
    with contextlib.closing(Repo.discover(Path.cwd())) as repo:
        repo.add_tags("clf@v1", ["baseline", "for the paper"])
        repo.add_tags("training", ["nightly"])
    every = ["baseline", r"for\ the\ paper", "nightly"]
    assert offered("gitml log --tag ") == every
    assert offered("gitml tag list --tag b") == ["baseline"]
    assert offered("gitml model list --tag n") == ["nightly"]
    assert offered("gitml tag add clf@v2 ") == every
    assert offered("gitml tag remove clf@v1 ") == ["baseline", r"for\ the\ paper"]
    assert offered("gitml tag remove training ") == ["nightly"]
    assert offered("gitml tag remove nothing@v1 ") == []


def test_runs_are_offered_where_they_can_be_verified(
    filled: Workshop, offered: Callable[[str], list[str]]
) -> None:
    run = next(iter(filled.refs("refs/gitml/runs"))).rpartition("/")[2]
    assert offered(f"gitml verify {run[:6]}") == [run]
    assert offered("gitml verify clf@p") == ["clf@production"]


def test_data_that_is_not_checked_out_is_offered(offered: Callable[[str], list[str]]) -> None:
    Path("data/big.bin.gitml").write_text("")
    assert offered("gitml checkout data/b") == ["data/big.bin"]
    assert offered("gitml checkout data/") == ["data/big.bin", "data/raw.json"]
    Path("data/big.bin").touch()
    assert offered("gitml checkout data/b") == ["data/b"]  # the shell knows


def test_a_deleted_version_is_not_offered_and_an_alias_is(
    offered: Callable[[str], list[str]],
) -> None:
    for name in ("clf@deleted/2", "clf@alias/candidate", "pkg@1.2.3", "@odd/v1"):
        subprocess.run(["git", "tag", name, "clf@v2"], check=True)
    assert offered("gitml promote ") == [
        *("clf@latest", "clf@production", "clf@candidate", "clf@v1"),
        "pkg@latest",
    ]


def test_a_draft_is_offered_by_its_id(
    filled: Workshop, offered: Callable[[str], list[str]]
) -> None:
    version = filled.git("rev-parse", "clf@v2^{commit}")
    subprocess.run(["git", "tag", "-d", "clf@v2"], check=True)
    assert offered("gitml show clf@") == [
        *("clf@latest", "clf@production", f"clf@{version[:12]}", "clf@v1")
    ]


def test_bash_gets_the_part_that_it_replaces(offered: Callable[[str, str], list[str]]) -> None:
    assert offered("gitml promote clf@p", "@p") == ["@production"]
    assert offered("gitml show clf@v1:m", "m") == ["model"]
    assert offered("gitml show 'clf@p", "'clf@p") == ["clf@production"]


@pytest.mark.parametrize("what", ["no repository", "no settings", "broken settings", "bad refs"])
def test_where_something_is_wrong_nothing_is_said(
    what: str, offered: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if what == "no repository":
        monkeypatch.chdir(tmp_path)
        assert offered("gitml promote ") == []
    elif what == "bad refs":
        Path(".git/packed-refs").write_text("no refs at all\n")
    else:
        Path("gitml.toml").write_text("[" if what == "broken settings" else "")
    for line in (
        "gitml run ",
        "gitml show clf@",
        "gitml stack set ",
        "gitml show 'a",
        "gitml x y ",
    ):
        offered(line)
    monkeypatch.chdir("/")
    offered("gitml -C /no/such/folder show ")


def test_paths_are_left_to_the_shell(offered: Callable[[str], list[str]]) -> None:
    assert offered("gitml add da") == ["da"]
    assert offered("gitml -C pip") == ["pip"]
    assert offered("gitml run pipelines/t") == ["pipelines/t"]


def test_every_parameter_that_takes_text_is_thought_of() -> None:
    unknown = []
    for context in every_command(click.Context(main, info_name="gitml")):
        path = context.command_path.partition(" ")[2]
        for one in context.command.params:
            known = {*completion.OFFERED.get(path, ()), *FREE.get(path, ())}
            takes_text = isinstance(one, click.Argument) and one.type is click.STRING
            if takes_text and one.metavar not in completion.PATHS and one.name not in known:
                unknown.append(f"{path}: {one.name}")
    assert unknown == [], "gitml/cli/completion.py has a table of them"
    for path, parameters in completion.OFFERED.items():
        command: click.Command | None = main
        for word in path.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None
        assert parameters.keys() <= {one.name for one in command.params}, path
        assert all(hasattr(LiveNames, kind) for kind in parameters.values()), path


def test_an_answer_imports_little(filled: Workshop) -> None:
    """A hundred milliseconds are not much: sets of modules tell, and a stopwatch would not."""
    for line in ("gitml promote ", "gitml run ", "gitml show c", "gitml stack set "):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "gitml"],
            cwd=filled.path,
            env=os.environ | {completion.COMPLETING: "bash_complete", "_GITML_LINE": line},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout
        modules = {one.rpartition("|")[2].strip() for one in done.stderr.splitlines()}
        assert modules & (HEAVY - {"shlex", "dataclasses"}) == set(), line
        assert {"gitml.repo", "gitml.store.store", "gitml.pipelines.dsl"} & modules == set(), line


# Real shells


class Terminal:
    """A shell at a terminal."""

    def __init__(self, *command: str, setup: str, folder: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:  # pragma: no cover - the child is the shell
            os.chdir(folder)
            os.execvp(command[0], command)
        os.write(self._fd, f"{setup}; echo rea''dy\n".encode())
        self.wait_for("ready")

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, words: str, seconds: float = 30.0) -> str:
        """What the shell prints until the words are there."""
        end = time.monotonic() + seconds
        seen = ""
        while words not in seen:
            assert time.monotonic() < end, f"{words!r} does not come: {seen!r}"
            if select.select([self._fd], [], [], 0.5)[0]:
                seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(self._fd, 65536).decode())
        return seen

    def close(self) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, filled: Workshop) -> Iterator[Terminal]:
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    ready = "autoload -Uz compinit; compinit -u; " if shell == "zsh" else ""
    setup = f'{ready}PS1="> "; eval "$(gitml completion {shell} 2>/dev/null)"'
    opened = Terminal(shell, *options, setup=setup, folder=filled.path)
    yield opened
    opened.close()


def test_a_terminal_completes_versions_and_what_is_in_them(terminal: Terminal) -> None:
    terminal.type("gitml promote clf@p\t")
    terminal.wait_for("clf@production")
    terminal.type("stag\t")
    terminal.wait_for("staging")
    terminal.type("\x15gitml show clf@v1:m\t")
    said = terminal.wait_for("clf@v1:model")
    assert "rror" not in said


def test_fish_completes_versions_and_what_is_in_them(filled: Workshop, tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "gitml completion fish 2>/dev/null | source; complete -C 'gitml promote clf@'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}; complete -C 'gitml show clf@v1:m'"],
        cwd=filled.path,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {"clf@latest", "clf@production", "clf@v2", "clf@v1", "clf@v1:model"}
    assert set(done.stdout.splitlines()) == names
    assert done.stderr == ""
