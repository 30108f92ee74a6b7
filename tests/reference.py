"""docs/reference.md, written from the commands and the errors themselves.

``python -m tests.reference > docs/reference.md`` after a change of a command, an option or an
error class; tests/test_docs.py compares. The Markdown is built from the parameters and not from
``--help`` pages, whose line breaks change with the version of click.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from gitml import errors

INTRODUCTION = """\
# Reference

*Written by `python -m tests.reference` from the commands themselves; change those, not this page.*
"""

_EXIT_CODES = """\
## Exit codes

A class of errors owns its code; a script can rely on it. In commands that compare, 1 means that
there is a difference.

| code | error | when |
|---:|---|---|
"""
_OTHER_CODES = {
    0: ("", "The command did what it was asked."),
    70: ("", "A bug: something that gitml did not foresee; the message names a log file."),
    130: ("", "Interrupted with Ctrl-C; a run also with 143 by SIGTERM and 129 by SIGHUP."),
}


def reference(group: click.Group, name: str = "gitml") -> str:
    """The whole page for the commands below ``group``."""
    context = click.Context(group, info_name=name)
    parts = [INTRODUCTION, "## Commands\n"]
    for child, command in subcommands(context):
        parts += _sections(child, command)
    return "\n".join([*parts, exit_codes()])


def subcommands(context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """The commands of the context's group that are not hidden, each with a context of its own."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{context.command_path} lists {name} and does not have it"
        if not command.hidden:
            yield click.Context(command, info_name=name, parent=context), command


def every_command(context: click.Context) -> Iterator[click.Context]:
    """A context for each command and group below the context's group, parents first."""
    for child, command in subcommands(context):
        yield child
        if isinstance(command, click.Group):
            yield from every_command(child)


def _sections(context: click.Context, command: click.Command) -> Iterator[str]:
    yield f"### {context.command_path}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    yield _prose(command.help or "")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [f"- `{names}`: {help_text}" for names, help_text in filter(None, records) if help_text]
    if rows:
        yield "\n".join(rows) + "\n"
    if isinstance(command, click.Group):
        for child, below in subcommands(context):
            yield from _sections(child, below)


def _prose(help_text: str) -> str:
    """The help of a command as Markdown; a paragraph that click would not rewrap is a block."""
    paragraphs = inspect.cleandoc(help_text).partition("\f")[0].strip().split("\n\n")
    shown = []
    for paragraph in paragraphs:
        first, _, rest = paragraph.partition("\n")
        shown.append(f"```text\n{rest}\n```" if first.strip() == "\b" else paragraph)
    return "\n\n".join(shown) + "\n"


def error_classes() -> list[type[errors.GitmlError]]:
    """Every class of gitml/errors.py, in the order in which it is defined there."""
    return [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.GitmlError)
    ]


def exit_codes() -> str:
    """The section on exit codes, lowest code first."""
    rows = [(code, *row) for code, row in _OTHER_CODES.items()]
    rows += [
        (one.exit_code, f"`{one.__name__}`", inspect.getdoc(one) or "") for one in error_classes()
    ]
    lines = [
        f"| {code} | {name} | {text.splitlines()[0]} |"
        for code, name, text in sorted(rows, key=lambda row: row[0])
    ]
    return _EXIT_CODES + "\n".join(lines) + "\n"


if __name__ == "__main__":
    from gitml.cli import main

    sys.stdout.write(reference(main))
