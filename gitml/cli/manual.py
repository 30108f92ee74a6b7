"""The manual: a page of man(1) for the program and for each command, written from click's own help.

The build of a wheel puts them below ``share/man/man1``, so that ``man gitml-add`` and
``git ml --help`` find them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from gitml import __version__
from gitml.cli.group import Program

_SPELLED = {"\\": "\\e", "-": "\\-", "~": "\\(ti", "^": "\\(ha", "'": "\\(aq", '"': "\\(dq"}
"""Characters that roff would take for something else, or print as typography."""


def pages(program: Program) -> dict[str, str]:
    """The file of each page with its text; all of them but the program's are commands of it."""
    top = click.Context(program, info_name="gitml")
    found = {"gitml.1": _of_program(program, top), "git-ml.1": ".so man1/gitml.1\n"}
    for name in program.list_commands(top):
        command = program.get_command(top, name)
        assert command is not None  # noqa: S101 - it lists what it has
        found[f"gitml-{name}.1"] = _of_command(
            click.Context(command, info_name=name, parent=top), command
        )
    return found


def _of_program(program: Program, context: click.Context) -> str:
    lines = [*_head("gitml", "Models, data and runs as git history"), *_body(context, program)]
    lines += [".SH COMMANDS"]
    for task, entries in program.tasks.items():
        lines += [f".SS {_text(task.capitalize())}"]
        for entry in entries:
            lines += [".TP", f"\\fBgitml\\-{_text(entry.name)}\\fR(1)", _text(entry.help)]
    lines += [".SH EXIT STATUS", *_exit_status()]
    lines += [*_examples(program), ".SH SEE ALSO", ".BR git (1)"]
    return "\n".join(lines) + "\n"


def _of_command(context: click.Context, command: click.Command) -> str:
    first, _, _ = (command.help or "").strip().partition("\n")
    lines = [*_head(context.command_path.replace(" ", "-"), first), *_body(context, command)]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                inner = click.Context(below, info_name=name, parent=context)
                lines += [f".SS {_text(inner.command_path)}", _usage(inner, below)]
                lines += [*_prose(below), *_options(inner, below)]
                lines += [".PP", "Examples:", *_example_lines(below)]
    return "\n".join([*lines, *_examples(command), ".SH SEE ALSO", ".BR gitml (1)"]) + "\n"


def _head(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{_text(name.upper())}" "1" "" "gitml {_text(__version__)}" "gitml"'
    yield ".nh"  # a name with a hyphen in it is another name
    yield from (".SH NAME", f"{_text(name)} \\- {_text(summary.rstrip('.'))}")


def _body(context: click.Context, command: click.Command) -> Iterator[str]:
    yield from (".SH SYNOPSIS", _usage(context, command))
    yield from (".SH DESCRIPTION", *_prose(command))
    yield from (".SH OPTIONS", *_options(context, command))


def _usage(context: click.Context, command: click.Command) -> str:
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"\\fB{_text(context.command_path)}\\fR {_text(pieces)}"


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return text.strip().split("\n\n")


def _prose(command: click.Command) -> Iterator[str]:
    """The help without its examples; what is no prose stays as it is laid out."""
    for paragraph in _paragraphs(command)[:-1]:
        if paragraph.startswith("\b"):
            yield from _as_it_is(paragraph.splitlines()[1:])
        else:
            yield from (".PP", _text(" ".join(paragraph.split())))


def _options(context: click.Context, command: click.Command) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            names, what = record
            yield from (".TP", f"\\fB{_text(names)}\\fR", _text(" ".join(what.split())))


def _example_lines(command: click.Command) -> Iterator[str]:
    yield from _as_it_is(_paragraphs(command)[-1].splitlines()[1:])


def _examples(command: click.Command) -> Iterator[str]:
    yield from (".SH EXAMPLES", *_example_lines(command))


def _as_it_is(lines: list[str]) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".nf", *(_text(line, code=False) for line in lines), ".fi", ".RE")


def _exit_status() -> Iterator[str]:
    from gitml import errors

    codes = {0: "The command did what it was asked.", 70: "A bug; the message names a log file."}
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, errors.GitmlError):
            codes.setdefault(one.exit_code, (inspect.getdoc(one) or "").partition("\n")[0])
    for code, what in sorted(codes.items()):
        yield from (".TP", f"\\fB{code}\\fR", _text(what))


def _text(text: str, *, code: bool = True) -> str:
    """A line of text as roff has it: what it would take for a request or an escape is neither."""
    shown = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    )
    shown = re.sub(r"``?([^`]+)``?", r"\\fB\1\\fR", shown) if code else shown.replace("`", "\\(ga")
    return f"\\&{shown}" if shown.startswith(".") else shown
