"""What one call of the command line knows: the stack asked for, the repository, the options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from gitml.errors import GitmlError, UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo

P = ParamSpec("P")
R = TypeVar("R")
Command = TypeVar("Command", bound=Callable[..., Any])

COMPLETING = "_GITML_COMPLETE"
"""The variable by which a shell asks what may stand at a place of a line: ``bash_complete``."""


class Invocation:
    """One call: ``json`` tells that answers and errors are to be JSON."""

    def __init__(self) -> None:
        self.stack: str | None = None
        self.json = False
        self.wants_settings = False

    @cached_property
    def repo(self) -> Repo:
        """The repository around the current folder; runs that were killed are recorded first."""
        from gitml.cli import render
        from gitml.repo import Repo

        repo = Repo.discover(
            Path.cwd(),
            environment=os.environ,
            stack=self.stack,
            settings=self.wants_settings,
        )
        repo.tell = render.tell
        try:
            for commit in repo.recover():
                render.tell(f"Recorded the run {repo.short(commit)} whose process was killed")
        except GitmlError as error:  # reading goes on; the journal waits for the next command
            render.tell(f"A run whose process was killed cannot be recorded yet: {error.message}")
        return repo


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def with_repo(command: Callable[Concatenate[Repo, P], R]) -> Callable[P, R]:
    """Hand the repository to a command as its first argument, and close it behind the command."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        context = click.get_current_context()
        repo = context.ensure_object(Invocation).repo
        context.call_on_close(repo.close)
        return command(repo, *args, **kwargs)

    return wrapped


def with_store(command: Callable[Concatenate[Repo, P], R]) -> Callable[P, R]:
    """`with_repo` for a command that opens the store, and so asks for git's settings anyway."""
    handed = with_repo(command)

    @wraps(handed)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        click.get_current_context().ensure_object(Invocation).wants_settings = True
        return handed(*args, **kwargs)

    return wrapped


def json_option(command: Command) -> Command:
    """The option ``--json``: the answer, and an error too, is one JSON document."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=_note_json,
        help="Print JSON, errors included.",
    )(command)


def _note_json(context: click.Context, parameter: click.Parameter, asked: bool) -> bool:
    context.ensure_object(Invocation).json = asked
    return asked


def reason_option(command: Command) -> Command:
    """The option ``-m``: why; asked for on a terminal, required elsewhere (``reason_given``)."""
    return click.option(
        "-m",
        "--message",
        "reason",
        metavar="WHY",
        help="Say why; asked for on a terminal when it is missing.",
    )(command)


def dry_run_option(command: Command) -> Command:
    """The option ``-n``: judge and answer, and write nothing."""
    return click.option(
        "-n", "--dry-run", is_flag=True, help="Say what would happen, and change nothing."
    )(command)


def remote_option(command: Command) -> Command:
    """The option ``--remote``: which git remote is meant."""
    return click.option(
        "--remote",
        metavar="NAME",
        help="Talk to this git remote instead of the branch's, or the only one.",
    )(command)


def reason_given(reason: str | None, example: str) -> str:
    """The reason for a move: what was given, or asked for; raises UsageError with the example."""
    if reason is None and sys.stdin.isatty() and sys.stderr.isatty():
        reason = click.prompt("Why", err=True)
    if reason is None or not reason.strip():
        raise UsageError("say why: the reason is part of the record", hint=f"`{example} -m WHY`")
    return reason.strip()


def confirmed(question: str, yes: bool, example: str) -> None:
    """Ask before a loss on a terminal; raises UsageError elsewhere unless ``yes``."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} needs a yes", hint=f"`{example} --yes`")
    click.confirm(f"{question}?", abort=True, err=True)
