"""``gitml verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.promotion.roots import Link
    from gitml.repo import Repo


@click.command()
@click.argument("name")
@click.option("--accept", is_flag=True, help="Forget what was seen of the stage before.")
@json_option
@with_repo
def verify(repo: Repo, name: str, accept: bool, as_json: bool) -> None:
    """Verify a stage's moves, or what a version or a run stands on.

    Of a stage every move is looked at, from the first to the last: that none is missing or altered,
    that it is signed as the policy asks, and that it is not behind what you have seen of it before,
    in any clone. Of a version or a run, and of the version that holds the stage, every record is
    looked at that it was made of, with the signatures of runs and versions. The first that does not
    hold is named, with exit code 5. Whose keys count stands on the main branch.

    \b
    gitml verify clf@production
    gitml verify 7ad3f1c02b5e
    """
    from gitml.history.revocations import names_of

    found = repo.verify(name, accept=accept)
    if as_json:
        links = [{"tag": one.name, "version": one.what, **_signature(one)} for one in found.links]
        signed = [{"record": one.name, **_signature(one)} for one in found.signed]
        answer: dict[str, Any] = {"links": links, "signed": signed, "records": found.records}
        answer["revoked"] = [one.name for one in found.revoked]
        render.answer_json("verify", {"name": found.name, **answer})
        return
    rows = [
        [paint("stage", one.name), paint("version", one.what), one.signature.words]
        for one in found.links
    ]
    rows += [[one.name, one.what, one.signature.words] for one in found.signed]
    if rows:
        render.answer(*render.table(rows))
    counts = [render.count(len(found.links), "tag")] if found.links or "@" in found.name else []
    counts.append(render.count(found.records, "record"))
    if found.signed or not found.links:
        counts.append(f"{len(found.signed) or 'none'} signed")
    render.answer(f"Verified {paint('version', found.name)}: {', '.join(counts)}")

    if found.revoked:
        render.tell(f"{paint('failed', 'Revoked:')} it stands on {names_of(found.revoked)}")


def _signature(link: Link) -> dict[str, str | None]:
    found = link.signature
    return {"signature": found.state, "by": found.who or None, "key": found.key or None}
