"""Groups of commands: loaded when they are asked for, with a word for those who mistype."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gitml.cli import failures, render
from gitml.cli.invocation import COMPLETING, Invocation
from gitml.errors import UsageError
from gitml.frozen import Frozen


class Entry(Frozen):
    """A command that is not imported yet: its name and its line of help.

    ``target`` is ``module:attribute``, where it is not called as its module of ``gitml.cli`` is.
    """

    name: str
    help: str
    target: str = ""

    def load(self) -> click.Command:
        """The command itself."""
        usual = f"gitml.cli.{self.name}:{self.name}"
        module, _, attribute = (self.target or usual).partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours
        return command


class Noun(click.Group):
    """A group that suggests the nearest of its commands, and alone prints its help."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings | {"invoke_without_command": True})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named; without one, say what there is."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            self.introduce(ctx)
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with the first line of their help, uncut."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, (command.help or "").strip().partition("\n")[0])
                    for name, command in commands
                    if command is not None
                ]
            )

    def introduce(self, ctx: click.Context) -> None:
        """What the group says when it is called alone."""
        render.answer(*ctx.get_help().splitlines())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; raises UsageError with the nearest names."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand:
            import difflib

            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, n=2, cutoff=0.6)
            words = " or ".join(f"`{ctx.command_path} {one}`" for one in near)
            hint = f"did you mean {words}?" if near else f"`{ctx.command_path} --help` lists them"
            message = f"{ctx.command_path} has no command `{args[0]}`"
            raise UsageError(message, hint=hint) from None


def _collect_seldom() -> None:
    """Have Python look for cycles of garbage seldom: a command makes few, and lives shortly.

    With many rows in hand every look goes through all of them: a fifth of the time of an add.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


class Program(Noun):
    """The program: its commands come from a table, and its errors are printed in one style."""

    def __init__(
        self,
        *args: Any,
        tasks: Mapping[str, Sequence[Entry]] | None = None,
        plumbing: Sequence[Entry] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.tasks = tasks or {}
        self._entries = {entry.name: entry for task in self.tasks.values() for entry in task}
        self._plumbing = {entry.name: entry for entry in plumbing}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the table."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; those that only programs call are in no list."""
        entry = self._entries.get(cmd_name) or self._plumbing.get(cmd_name)
        command = entry.load() if entry is not None else None
        if command is not None and COMPLETING in os.environ:
            from gitml.cli.completion import attach

            attach(command, cmd_name)
        return command

    def introduce(self, ctx: click.Context) -> None:
        """What there is to do, by task."""
        from gitml import __version__

        render.answer(f"gitml {__version__}: models, data and runs as git history", "")
        render.answer(*self._by_task(), "", "`gitml COMMAND --help` says more")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by task, from the table alone."""
        for task, entries in self.tasks.items():
            with formatter.section(task.capitalize()):
                formatter.write_dl([(entry.name, entry.help) for entry in entries])

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run one command line and exit with its code; what fails is said in one style."""
        arguments = list(sys.argv[1:] if args is None else args)
        for stream in ("stdout", "stderr"):  # closed by who called us, as cron and daemons do
            if getattr(sys, stream) is None:
                sink = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
                setattr(sys, stream, sink)
        invocation = Invocation()
        _collect_seldom()
        if asked := os.environ.get(COMPLETING):
            from gitml.cli import completion

            completion.answer(self, asked)
            sys.exit()
        try:
            code = super().main(
                arguments, prog_name="gitml", standalone_mode=False, obj=invocation, **extra
            )
            sys.stdout.flush()
        except BaseException as error:  # noqa: BLE001 - here every failure is given its words
            code = failures.report(error, invocation, arguments)
        sys.exit(code if isinstance(code, int) else 0)

    def _by_task(self) -> list[str]:
        wide = max(map(len, self._entries))
        lines = []
        for task, entries in self.tasks.items():
            lines.append(render.paint("head", task))
            for entry in entries:
                name = render.paint("command", entry.name)
                lines.append(f"  {name}{' ' * (wide - len(entry.name))}  {entry.help}")
        return lines
