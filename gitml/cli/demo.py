"""``gitml demo``: an example project, made and played through by the commands themselves."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from gitml.cli import render

# What is played: a remark, and the arguments of the commands that it is about.
STORY = (
    ("From the raw measurements to a table that the other pipelines use", ("run features",)),
    (
        "A model that tells the sex of a penguin, and a first version in production",
        ("run training", "promote clf@v1 production -m 'the first model'"),
    ),
    (
        "Two more learning rates: what did not change comes from the cache",
        ("run training -p learning_rate=0.03", "run training -p learning_rate=1.0"),
    ),
    (
        "Is the second better than the first? Then it goes into production",
        (
            "model compare clf@v1 clf@v2",
            "promote clf@v2 production -m 'five birds more in a hundred'",
        ),
    ),
    (
        "Second thoughts, and third ones: every move stays in the history",
        (
            "rollback clf production -m 'too early, the season has just begun'",
            "promote clf@v2 production -m 'the biologists agree'",
            "stage log clf production",
        ),
    ),
    ("The model in production fills in what nobody measured", ("run inference",)),
    ("All runs, and all versions side by side", ("log --graph", "model compare clf")),
)
NEXT = (
    ("gitml lineage predictions@latest", "what these predictions were made of"),
    ("gitml show clf@production", "all that is known of the model in production"),
    ("git log --graph --oneline clf@v2", "the same in plain git: lineage is git history"),
)


@click.command()
@click.argument("folder", metavar="[DIR]", default="gitml-demo", type=click.Path(path_type=Path))
@click.pass_context
def demo(context: click.Context, folder: Path) -> None:
    """Make an example project and run it.

    A new git repository in DIR (default: gitml-demo) with three pipelines over 344 penguins.
    Each command is printed before it runs, so this is also a first lesson. Nothing outside of
    DIR is touched, and nothing needs a network.

    \b
    gitml demo
    gitml demo penguins
    """
    from gitml import demo as example

    example.require_libraries()
    git = example.copy_example(folder.absolute())
    _shown(f"git init {shlex.quote(str(folder))} && cd {shlex.quote(str(folder))}")
    os.chdir(folder)
    if example.introduce(git):
        for key, value in example.IDENTITY.items():
            _shown(f"git config {key} {shlex.quote(value)}")
    program = context.find_root().command
    _play(program, "init")
    example.commit_all(git)
    _shown(f"git add --all && git commit -m {shlex.quote(example.MESSAGE)}")
    for remark, commands in STORY:
        render.answer("", render.paint("dim", f"# {remark}"))
        for command in commands:
            _play(program, command)
    width = max(len(command) for command, _ in NEXT)
    render.answer("", render.paint("head", f"Now you, after `cd {folder}`:"))
    render.answer(
        *(
            f"  {render.paint('command', command)}{' ' * (width - len(command))}  {what}"
            for command, what in NEXT
        )
    )


def _play(program: click.Command, command: str) -> None:
    """Show a command and run it; one that fails ends the demo with its code."""
    _shown(f"gitml {command}")
    try:
        program.main(shlex.split(command))
    except SystemExit as ended:
        if ended.code:
            sys.exit(ended.code)


def _shown(command: str) -> None:
    render.answer(f"{render.paint('dim', '$')} {render.paint('command', command)}")
