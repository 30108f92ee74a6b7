"""``gitml revoke``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import dry_run_option, reason_given, reason_option, with_repo
from gitml.cli.render import paint
from gitml.errors import some

if TYPE_CHECKING:
    from gitml.repo import Repo


@click.command()
@click.argument("name", metavar="VERSION|RUN|ARTIFACT|PATH")
@reason_option
@dry_run_option
@with_repo
def revoke(repo: Repo, name: str, reason: str | None, dry_run: bool) -> None:
    """Say that nothing may stand on something any more.

    Everything that descends from it shows that it is revoked, and is not promoted; nothing is
    deleted, and what holds a stage keeps it until it is moved. Of a run all steps are meant that it
    executed, of an artifact its bytes, whoever made or used them, and of a path the data that
    stands there now. It cannot be taken back.

    \b
    gitml revoke data/raw.csv -m 'collected without consent'
    gitml revoke clf@v2 -m 'trained on test data'
    """
    why = reason if dry_run else reason_given(reason, f"gitml revoke {name}")
    revoked = repo.revoke(name, why or "", dry_run=dry_run)
    touched = repo.standing_on(revoked)
    verb = "Would revoke" if dry_run else "Revoked"
    render.answer(f"{verb} the {revoked.kind} {paint('version', revoked.name)}")
    if touched:
        shown = some([paint("version", one) for one in touched], 8)
        render.answer(f"Versions that stand on it: {shown}")
    for model, stage in repo.held_by(touched):
        render.tell(f"Next: `gitml rollback {model} {stage}`: a version that holds it is revoked")
