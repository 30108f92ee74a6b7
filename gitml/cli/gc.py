"""``gitml gc``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gitml.cli import documents, render
from gitml.cli.invocation import dry_run_option, json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.store.gc import Act, Collection

_COLOURS = {"deleted": "failed", "condemned": "change", "restored": "good", "left": "warning"}


@click.command()
@click.option(
    "--prune",
    metavar="AGE",
    help="Take what is older than AGE, in git's words: `3.days.ago`, `now`; two weeks by default.",
)
@click.option(
    "--ignore-missing",
    is_flag=True,
    help="Go on where the list of a folder's files is nowhere: what it alone names goes.",
)
@click.option("--restore", is_flag=True, help="Put back what is condemned and not deleted yet.")
@dry_run_option
@json_option
@with_repo
def gc(
    repo: Repo,
    prune: str | None,
    ignore_missing: bool,
    restore: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Free the space of bytes that nothing names any more.

    Kept is what any ref, reflog, stash, work tree, index or unfinished run names, in every clone
    that shares the store, and whatever is younger than two weeks. The rest is condemned first: it
    can still be read, and comes back when something names it again. The gc after two more weeks
    deletes it. If anything cannot be read that might name bytes, nothing is touched. Where only the
    list of a folder's files is absent and on no remote, each file here may be one of them: then
    only lists of other folders go, and with `--ignore-missing` all.

    \b
    gitml gc --dry-run
    gitml gc --prune=now
    """
    if restore:
        if prune or dry_run or ignore_missing:
            raise UsageError("--restore takes back all; it has no age, no dry run and no choice")
        acts = repo.restore_condemned()
        if as_json:
            render.answer_json("gc", {"acts": [asdict(one) for one in acts]})
            return
        render.answer(*_table(acts))
        render.answer(f"Restored {render.count(len(acts), 'file')}, {_total(acts)}")
        return
    done = repo.gc(prune, ignore_missing=ignore_missing, dry_run=dry_run)
    if as_json:
        render.answer_json("gc", _document(done, dry_run))
        return
    render.answer(*_table(done.acts), *_summary(done, dry_run))
    if done.spared:
        render.tell(
            "Next: `gitml pull` brings the list if a remote has it, else "
            "`gitml gc --ignore-missing` takes it too"
        )
    elif done.condemned and not dry_run:
        render.tell("Next: `gitml gc --restore` brings back what is condemned")


def _table(acts: Sequence[Act]) -> list[str]:
    rows = [
        [
            paint(_COLOURS.get(act.deed, "dim"), act.deed),
            act.kind,
            act.name[:12],
            render.size(act.size),
            paint("dim", act.why),
        ]
        for act in acts
    ]
    return render.table(rows, right=(3,), indent="  ")


def _summary(done: Collection, dry_run: bool) -> Iterator[str]:
    moved = sum(act.size for act in done.acts if act.deed == "condemned")
    verb = "Would free" if dry_run else "Freed"
    also = "condemn" if dry_run else "condemned"
    line = f"{verb} {render.size(done.freed)}"
    if moved:
        line += f" and {also} {render.size(moved)}"
    yield f"{line}; {render.size(done.kept)} stay"
    if done.young:
        yield paint(
            "dim", f"  {render.size(done.young)} of it too young to be judged, or in use by a run"
        )
    if done.spared:
        folders = render.count(done.unlisted, "folder")
        yield paint(
            "warning",
            f"  {render.size(done.spared)} of it may belong to {folders} whose "
            "list of files is not here",
        )
    if done.condemned and done.until is not None:
        day = time.strftime("%Y-%m-%d", time.localtime(done.until))
        yield paint("dim", f"  {render.size(done.condemned)} condemned, deleted from {day} on")


def _document(done: Collection, dry_run: bool) -> documents.Document:
    until = documents.moment(done.until) if done.until is not None else None
    return {**asdict(done), "until": until, "dry_run": dry_run}


def _total(acts: Sequence[Act]) -> str:
    return render.size(sum(act.size for act in acts))
