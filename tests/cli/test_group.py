"""The table of commands against the commands themselves."""

from __future__ import annotations

import click
import pytest

from gitml.cli import TASKS, main
from gitml.cli.group import Entry
from tests.reference import every_command

ENTRIES = [entry for task in TASKS.values() for entry in task]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_table_says_what_the_command_says(entry: Entry) -> None:
    command = entry.load()
    assert command.name == entry.name
    assert (command.help or "").strip().partition("\n")[0] == entry.help


def test_help_opens_with_an_imperative_and_ends_with_two_examples() -> None:
    for context in every_command(click.Context(main, info_name="gitml")):
        first, *_, last = (context.command.help or "").strip().split("\n\n")
        assert first.endswith("."), context.command_path
        assert last.lstrip().startswith("\b"), context.command_path
        examples = last.strip().splitlines()[1:]
        assert len(examples) == 2, context.command_path
        assert all(one.strip().startswith("gitml ") for one in examples), context.command_path


def test_help_of_an_option_is_a_phrase_with_a_full_stop() -> None:
    for context in every_command(click.Context(main, info_name="gitml")):
        for parameter in context.command.params:
            if isinstance(parameter, click.Option):
                text = parameter.help or ""
                assert text[:1].isupper(), (context.command_path, text)
                assert text.endswith("."), (context.command_path, text)


def test_what_reads_has_json() -> None:
    reading = {"status", "log", "show", "lineage", "list", "compare", "explain", "fsck", "run"}
    for context in every_command(click.Context(main, info_name="gitml")):
        command = context.command
        if context.command_path == "gitml hooks run":
            continue  # it is a hook: what it says goes to git
        if context.info_name in reading and not isinstance(command, click.Group):
            assert "as_json" in {one.name for one in command.params}, context.command_path
