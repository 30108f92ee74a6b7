"""``gitml completion``, and what a shell that has its script asks with every Tab.

click finds which parameter is typed; the table here says what may stand there. Whatever goes wrong,
nothing is offered and nothing is printed: somebody is in the middle of a line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from gitml.cli import render
from gitml.cli.invocation import COMPLETING

OFFERED: Mapping[str, Mapping[str, str]] = {
    "artifact get": {"name": "anything"},
    "artifact list": {"name": "artifacts", "run": "runs", "tag": "tags"},
    "artifact put": {"name": "artifacts"},
    "artifact show": {"name": "anything"},
    "cache clear": {"pipeline": "pipelines"},
    "cache list": {"pipeline": "pipelines"},
    "delete": {"name": "records"},
    "diff": {"words": "anything"},
    "lineage diff": {"old": "anything", "new": "anything"},
    "lineage show": {"name": "anything"},
    "log": {
        "name": "artifacts",
        "pipeline": "pipelines",
        "model": "models",
        "metric": "metrics",
        "tag": "tags",
    },
    "metadata set": {"name": "anything"},
    "metadata show": {"name": "anything"},
    "model alias": {"version": "models_and_versions", "alias": "aliases"},
    "model link": {"version": "models_and_versions", "artifact": "anything"},
    "model compare": {"names": "models_and_versions", "sort": "metrics"},
    "model list": {"tag": "tags"},
    "model show": {"name": "models_and_versions"},
    "pipeline show": {"name": "pipelines"},
    "plot": {"names": "anything", "metrics": "metrics"},
    "promote": {"version": "versions", "stage": "stages"},
    "push": {"revisions": "models_and_versions"},
    "remote doctor": {"name": "remotes"},
    "remote remove": {"name": "remotes"},
    "revoke": {"name": "anything"},
    "rollback": {"model": "models", "stage": "stages"},
    "run": {"name": "pipelines", "resume": "runs"},
    "show": {"name": "anything"},
    "stack set": {"name": "stacks"},
    "stack show": {"name": "stacks"},
    "stage clear": {"model": "models", "stage": "stages"},
    "stage list": {"model": "models"},
    "stage log": {"model": "models", "stage": "stages"},
    "stage repair": {"model": "models", "stage": "stages"},
    "tag add": {"name": "anything", "tags": "tags"},
    "tag list": {"name": "anything", "wanted": "tags"},
    "tag remove": {"name": "anything", "tags": "tags_on"},
    "verify": {"name": "verifiable"},
}
"""What each parameter of a command takes, as a method of `LiveNames`."""

EVERYWHERE = {"--remote": "git_remotes", "--stack": "stacks"}
"""The same by option, whatever the command."""

PATHS = {
    "DIR": "dir",
    "[DIR]": "dir",
    "FILE": "file",
    **dict.fromkeys(("PATH", "PATH…", "[PATH…]", "SOURCE…", "NAME|PATH"), "file"),
}
"""What is a path, by how the help calls it, as click's scripts name it."""

_WITH_FILES = frozenset({"diff", "log", "revoke", "run"})
"""Commands whose names may also be files."""

_POINTER = ".gitml"

_MANY = 200
"""More than that nobody reads, and each costs time."""

# Of bash's own words one cannot tell what is typed: it breaks them at `@`, `:` and `=`. So it hands
# over the line, and the part of the last word that it is going to replace.
_BASH = """\
_gitml_completion() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(_GITML_COMPLETE=bash_complete _GITML_LINE="${COMP_LINE:0:$COMP_POINT}" \\
        _GITML_WORD="$2" "$1" 2>/dev/null)
}
complete -o nosort -F _gitml_completion gitml git-ml 2>/dev/null ||
    complete -F _gitml_completion gitml git-ml
"""
_SETUP = {
    "bash": "echo 'eval \"$(gitml completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(gitml completion zsh)\"' >> ~/.zshrc",
    "fish": "gitml completion fish > ~/.config/fish/completions/gitml.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands and names.

    It offers commands and options, and the names that the repository has at the moment:
    pipelines, models, versions and stages, runs, artifacts, remotes, stacks.

    \b
    gitml completion bash >> ~/.bashrc
    gitml completion fish > ~/.config/fish/completions/gitml.fish
    """
    program = click.get_current_context().find_root().command
    shown = _SHELLS[shell](program, {}, "gitml", COMPLETING).source()
    render.answer(*shown.rstrip("\n").splitlines())
    render.tell(f"Next: `{_SETUP[shell]}`, and a new shell has it")


def answer(program: click.Command, asked: str) -> None:
    """Print what a shell asks for, in the form that its script reads."""
    kind = _SHELLS.get(asked.partition("_")[0])
    if kind is None:
        return
    attach(program, "")
    try:
        lines = kind(program, {}, "gitml", COMPLETING).complete()
    except Exception:  # noqa: BLE001 - a bug must not break the line that somebody types
        return
    render.answer(*lines.splitlines())


class _Bash(ShellComplete):
    """bash, from the line itself; with version 3 of macOS too."""

    name = "bash"
    source_template = _BASH

    def source(self) -> str:
        return self.source_template

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["_GITML_LINE"]
        words = split_arg_string(line)
        typed = "" if line[-1:].isspace() or not words else words.pop()
        start = [at for at, word in enumerate(words) if Path(word).name in ("gitml", "git-ml")]
        return words[start[0] + 1 :] if start else words[1:], typed

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        found = super().get_completions(args, incomplete)
        replaced = os.environ.get("_GITML_WORD", "").lstrip("\"'")
        kept = incomplete.removesuffix(replaced)
        for item in found:
            item.value = item.value.removeprefix(kept)
        return found

    def format_completion(self, item: CompletionItem[Any]) -> str:
        value = re.sub(r"[\s'\"]", r"\\\g<0>", item.value) if item.type == "plain" else item.value
        return f"{item.type},{value}"


_SHELLS: Mapping[str, type[ShellComplete]] = {
    "bash": _Bash,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


def attach(command: click.Command, path: str) -> None:
    """Let the parameters of a command, and of those below it, offer what the table says."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            attach(below, f"{path} {name}".strip())
    for parameter in command.params:
        kind = OFFERED.get(path, {}).get(parameter.name or "")
        for option in parameter.opts:
            kind = EVERYWHERE.get(option, kind)
        if parameter.metavar in PATHS:
            what = PATHS[parameter.metavar]
            parameter.shell_complete = partial(_a_path, what)  # type: ignore[method-assign]
        elif kind is not None:
            files = path in _WITH_FILES and isinstance(parameter, click.Argument)
            offer = partial(_offered, kind, files)
            parameter.shell_complete = offer  # type: ignore[method-assign]


def _a_path(what: str, context: click.Context, text: str) -> list[CompletionItem[Any]]:
    """What the shell knows, and the data of pointers that is not checked out: nobody else does."""
    folder = Path.cwd().joinpath(*context.find_root().params.get("folders") or ())
    found = _with_absent_data(folder, text) if what == "file" else []
    return [CompletionItem(one) for one in found] or [CompletionItem(text, type=what)]


def _with_absent_data(folder: Path, text: str) -> list[str]:
    """The paths that go on from ``text``, where data is among them that a pointer alone has."""
    above, slash, _ = text.rpartition("/")
    found, is_of_us = set(), False
    try:
        for one in (folder / (above or slash or ".")).iterdir():
            name = one.name.removesuffix(_POINTER)
            path = f"{above}{slash}{name}"
            if not path.startswith(text) or (name.startswith(".") and not text.endswith(name)):
                continue
            is_absent = name != one.name and name and not one.with_name(name).exists()
            is_of_us = is_of_us or bool(is_absent)
            found |= {path} if is_absent else {f"{above}{slash}{one.name}"}
    except OSError:
        return []
    return sorted(found)[:_MANY] if is_of_us else []


def _offered(
    kind: str, files: bool, context: click.Context, text: str
) -> list[CompletionItem[Any]]:
    """The names of a kind that begin with ``text``; none where anything is in the way."""
    from gitml.cli.live_names import LiveNames
    from gitml.errors import GitmlError

    folder = Path.cwd().joinpath(*context.find_root().params.get("folders") or ())
    model = context.params.get("model") or context.params.get("version")
    live_names: list[str] = []
    try:
        before = str(model).partition("@")[0] if model else None
        live = LiveNames(folder, text, before, context.params.get("name"))
        live_names = [name for name in getattr(live, kind)() if name.startswith(text)][:_MANY]
    except (GitmlError, OSError):
        pass
    found: list[CompletionItem[Any]] = [CompletionItem(name) for name in live_names]
    return found or ([CompletionItem(text, type="file")] if files else [])
