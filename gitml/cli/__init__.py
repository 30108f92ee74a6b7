"""The command line: one file a verb or a noun; this table says which, and imports none of them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gitml.cli.group import Entry, Program
from gitml.cli.invocation import Invocation, pass_invocation
from gitml.errors import UsageError

TASKS = {
    "start": (
        Entry("init", "Prepare this repository for gitml."),
        Entry("clone", "Clone a repository with its records and data."),
        Entry("demo", "Make an example project and run it."),
        Entry("help", "Show the help of a command.", "gitml.cli.help:help_"),
    ),
    "data": (
        Entry("add", "Store data and put a pointer in its place into git."),
        Entry("checkout", "Make data follow the pointers."),
        Entry(
            "diff", "Compare two runs or versions in all that made them, or two states of the data."
        ),
        Entry("rm", "Remove data with its pointer."),
        Entry("mv", "Move data with its pointer."),
    ),
    "work": (
        Entry("run", "Run a pipeline and record it."),
        Entry("pipeline", "List and describe pipelines."),
        Entry("artifact", "List, describe, get and put artifacts."),
        Entry("metadata", "Note facts on a record, and read them."),
        Entry("tag", "Put tags on runs, artifacts and versions."),
        Entry("cache", "List, explain and clear what is reused."),
        Entry("stack", "List, describe and choose stacks."),
    ),
    "share data": (
        Entry("push", "Publish the branch and model versions."),
        Entry("pull", "Bring branch, records and data."),
        Entry("fetch", "Bring the records that a git remote has."),
        Entry("remote", "Name the places where bytes go, and look whether they work."),
    ),
    "look": (
        Entry("status", "Show how the repository stands."),
        Entry("log", "List the runs, newest first."),
        Entry("show", "Describe whatever a name means."),
        Entry("plot", "Draw metrics as lines."),
        Entry("lineage", "Show how a thing was made, or where two things part."),
    ),
    "share models": (
        Entry("model", "List, describe and compare model versions."),
        Entry("promote", "Give a stage to a model version."),
        Entry("rollback", "Give a stage back to its last holder.", "gitml.cli.promote:rollback"),
        Entry("stage", "List stages, carry out wishes, clear a stage, end a fork."),
        Entry("report", "Comment on a pull request: what becomes of its wishes."),
        Entry("verify", "Verify a stage's moves, or what a version or a run stands on."),
        Entry("revoke", "Say that nothing may stand on something any more."),
        Entry("delete", "Delete a model version or a run."),
    ),
    "care": (
        Entry("fsck", "Check every record, and every stored byte or a sample."),
        Entry("du", "Show what takes the space of the store."),
        Entry("gc", "Free the space of bytes that nothing names any more."),
        Entry("drop", "Free the space of bytes that a remote has."),
        Entry("maintenance", "Store the same bytes in less room and fewer files."),
        Entry("doctor", "Check this clone and this machine, and say what helps."),
        Entry("reindex", "Make the index again from git alone.", "gitml.cli.fsck:reindex"),
        Entry("ci", "Write the workflow that carries out what was merged."),
        Entry("hooks", "Install git's hooks, and run one by hand."),
        Entry("completion", "Print the script by which a shell completes commands and names."),
    ),
}
"""The commands by what one does with them, in the order in which a newcomer needs them."""

PLUMBING = (
    Entry("serve", "Answer for a folder, called by ssh."),
    Entry("merge-driver", "Merge two pointers, called by git.", "gitml.cli.plumbing:merge_driver"),
    Entry("textconv", "Print a pointer, called by `git diff`.", "gitml.cli.plumbing:textconv"),
)
"""Commands that git and ssh call; they are in no list."""


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from gitml import __version__
        from gitml.cli import render

        render.answer(f"gitml {__version__}")
        context.exit()


@click.command(cls=Program, tasks=TASKS, plumbing=PLUMBING)
@click.option(
    "-C",
    "folders",
    metavar="DIR",
    multiple=True,
    help="Run as if gitml was started in DIR; a second one counts from the first.",
)
@click.option("--stack", metavar="NAME", help="Use this stack for this one command.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters only.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version of gitml and exit.",
)
@pass_invocation
def main(
    invocation: Invocation, folders: tuple[str, ...], stack: str | None, ascii_only: bool
) -> None:
    """Models, data and runs as git history.

    Names work like git revisions: `clf@v3`, `clf@production`, `clf@v3:model`, `features@latest`,
    the first digits of a run.

    \b
    gitml run training -p depth=8
    gitml log --graph
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(f"no such folder: {folder}")
        os.chdir(folder)
    if ascii_only:
        from gitml.cli import render

        render.use_ascii()
    invocation.stack = stack
