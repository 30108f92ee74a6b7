"""``gitml fetch``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, remote_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.sync.fetching import Fetched

_NAMED = 6


@click.command()
@remote_option
@dry_run_option
@with_repo
def fetch(repo: Repo, remote: str | None, dry_run: bool) -> None:
    """Bring the records that a git remote has.

    These are runs, versions, promotions and metadata. The remote's branches come too, as with
    `git fetch`. Nothing of this clone is overwritten, no file is touched and no data is brought:
    that is `gitml pull`.

    \b
    gitml fetch
    gitml fetch --dry-run
    """
    with render.Progress() as progress:
        done = repo.fetch(remote, tell=progress.tell, dry_run=dry_run)
    tell_clashes(done, dry_run=dry_run)
    brought = ", ".join(brought_parts(done))
    if dry_run:
        render.answer(f"Would fetch {brought} from {done.remote}" if brought else _nothing(done))
    else:
        render.answer(f"Fetched {brought} from {done.remote}" if brought else _nothing(done))


def brought_parts(done: Fetched) -> Iterator[str]:
    """What a fetch brought, in words: records by kind, versions by name."""
    for names, noun, label in (
        (done.versions, "version", "version"),
        (done.moves, "promotion", "stage"),
        (done.aliases, "alias", "version"),
        (done.deleted, "deletion", "dim"),
        (done.revoked, "revocation", "failed"),
    ):
        if names:
            shown = ", ".join(paint(label, one) for one in names[:_NAMED])
            more = " …" if len(names) > _NAMED else ""
            yield f"{render.count(len(names), noun)} ({shown}{more})"
    for number, noun in ((done.runs, "run"), (done.drafts, "draft"), (done.saved, "saved value")):
        if number:
            yield render.count(number, noun)
    if done.notes:
        yield "metadata"


def tell_clashes(done: Fetched, *, dry_run: bool = False) -> None:
    """Say what both sides had under one name."""
    for draft in done.renumbered:
        render.tell(f"{draft} is a draft again: its number is another version's on {done.remote}")
    for tag in done.forked:
        model, _, event = tag.partition("@")
        stage = event.partition("/")[0]
        render.tell(
            f"{paint('warning', 'Forked:')} {tag} was made here and on {done.remote}; "
            f"`gitml stage repair {model} {stage}` keeps the remote's"
        )
    for alias, (now, ours) in done.replaced.items():
        word, told = ("Would replace:", "would be") if dry_run else ("Replaced:", "is")
        render.tell(
            f"{paint('warning', word)} {alias} {told} {now}{'' if dry_run else ' now'}; yours "
            f"{'is' if dry_run else 'was'} {ours}, and another clone moved it first"
        )


def _nothing(done: Fetched) -> str:
    return f"Nothing new on {done.remote}"
