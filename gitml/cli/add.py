"""``gitml add``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, with_store
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.workspace.adding import Added


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH…", type=click.Path(path_type=Path))
@click.option("-A", "--all", "everything", is_flag=True, help="Add all data that has changed.")
@click.option(
    "--rehash", is_flag=True, help="Read every byte again; heals a store that has lost some."
)
@click.option("--force", is_flag=True, help="Put older data in place of what the pointer has now.")
@dry_run_option
@with_store
def add(
    repo: Repo,
    paths: tuple[Path, ...],
    everything: bool,
    rehash: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Store data and put a pointer in its place into git.

    The bytes go into the store, a small pointer `PATH.gitml` beside the data, and a line that hides
    the data from git into the `.gitignore` there; pointer and `.gitignore` are staged. The data
    itself stays where it is. A folder has one pointer, however many files are in it. Added again,
    only what has changed is read.

    \b
    gitml add data/raw.csv data/images
    gitml add --all
    """
    if not paths and not everything:
        raise UsageError("nothing to add", hint="`gitml add PATH`, or `--all` for what has changed")
    flags = {"everything": everything, "rehash": rehash, "force": force}
    found = repo.add(paths, **flags, dry_run=dry_run)
    for one in found:
        render.answer(_line(one, dry_run=dry_run))
        word = "Would resolve" if dry_run else "Resolved"
        files = [file for file in one.resolved or () if file != one.path]
        render.answer(*(f"{word} {paint('artifact', file)} as it is here" for file in files))
    if not found:
        render.answer("Nothing to add: all data is what its pointers say")
    elif not dry_run and any(one.before is None and one.resolved is None for one in found):
        names = " ".join(shlex.quote(one.path.rpartition("/")[2]) for one in found[:3])
        render.tell(f"Next: `git commit -m {shlex.quote(f'Add {names}')}`")


def _line(added: Added, *, dry_run: bool) -> str:
    if added.resolved is not None:
        word = "Would resolve" if dry_run else "Resolved"
    elif not added.is_new:
        return f"Unchanged {paint('artifact', added.path)}"
    elif added.before is None:
        word = "Would add" if dry_run else "Added"
    else:
        word = "Would update" if dry_run else "Updated"
    pointer = added.pointer
    files = f"{render.count(added.files, 'file')}, " if pointer.kind == "tree" else ""
    read = added.before is not None and pointer.kind == "tree"
    told = f", {added.read} read" if read else ""
    what = f"({files}{render.size(pointer.size)}{told})"
    return f"{word} {paint('artifact', added.path)} {what} {paint('dim', pointer.digest.short)}"
