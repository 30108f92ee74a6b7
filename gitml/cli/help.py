"""``gitml help``."""

from __future__ import annotations

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.errors import UsageError


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND…]")
@click.pass_context
def help_(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command.

    The same as `gitml COMMAND --help`; `man gitml-COMMAND` is the page with more room.

    \b
    gitml help promote
    gitml help stage list
    """
    here = context.find_root()
    for word in words:
        group = here.command
        if not isinstance(group, Noun):
            raise UsageError(
                f"{here.command_path} has no commands below it",
                hint=f"`gitml help {here.command_path.partition(' ')[2]}`",
            )
        _, command, _ = group.resolve_command(here, [word])
        assert command is not None  # noqa: S101 - else it has raised
        here = click.Context(command, info_name=word, parent=here)
    render.answer(*here.get_help().splitlines())
