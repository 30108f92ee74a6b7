"""``gitml fsck`` and ``gitml reindex``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import CorruptData, UsageError

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.repo.care import Report


SAMPLE = 256
"""Stored objects that are read in full when nothing else is asked for."""


@click.command()
@click.option("--full", is_flag=True, help="Read every stored byte, not a sample.")
@click.option("--sample", type=click.IntRange(min=0), metavar="N", help="Read N stored objects.")
@click.option("--seed", type=int, metavar="N", help="Choose the same sample as once before.")
@click.option("--repair", is_flag=True, help="Heal what has a good copy anywhere, then look again.")
@json_option
@with_repo
def fsck(
    repo: Repo, full: bool, sample: int | None, seed: int | None, repair: bool, as_json: bool
) -> None:
    """Check every record, and every stored byte or a sample.

    Every record is read again from git; of the store every index and every pack's structure, and
    256 objects chosen at random are read in full. Each problem names the versions that it affects
    and what may bring the bytes back. Exit code 12 when anything is lost. A repair takes good
    copies from other packs, unmodified files of the work tree and commits.

    \b
    gitml fsck --full
    gitml fsck --repair
    """
    if full and sample is not None:
        raise UsageError("--full reads everything, and --sample a part of it")
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - no secret
    sample = None if full or repair else SAMPLE if sample is None else sample
    report = repo.fsck(sample=sample, seed=seed, repair=repair)
    if as_json:
        render.answer_json("fsck", _document(report, seed))
    else:
        render.answer(*_lines(report, seed))
    harmful = [one for one in report.problems if not one.is_harmless]
    if harmful:
        raise CorruptData(f"{render.count(len(harmful), 'problem')} in {_looked_at(report)}")
    if as_json:
        return
    if any(one.kind == "damaged-copy" for one in report.problems):
        render.tell(
            f"Nothing is lost: {_looked_at(report)} are whole, damaged copies are passed over"
        )
        render.tell("Next: `gitml fsck --repair` replaces them")


def _looked_at(report: Report) -> str:
    return f"{render.count(report.records, 'record')} and {render.count(report.blobs, 'blob')}"


def _lines(report: Report, seed: int) -> Iterator[str]:
    for one in report.healed:
        yield f"{paint('good', 'healed')}  {one.kind} {one.name}  {paint('dim', one.source)}"
    rows = [
        [
            paint("dim" if one.is_harmless else "failed", one.kind),
            one.what,
            one.detail,
            ", ".join(one.affects),
            one.remedy,
        ]
        for one in report.problems
    ]
    yield from render.table(rows, ["problem", "where", "what is wrong", "affects", "what helps"])
    if not rows:
        yield f"Checked {_looked_at(report)}: all is well"
    if report.read < report.held:
        part = f"{report.read} of {report.held} stored objects were read in full"
        yield paint("dim", f"  {part} (--seed {seed}); `gitml fsck --full` reads all")


def _document(report: Report, seed: int) -> dict[str, Any]:
    return {
        "records": report.records,
        "blobs": report.blobs,
        "read": report.read,
        "held": report.held,
        "seed": seed if report.read < report.held else None,
        "healed": [{"kind": o.kind, "name": o.name, "source": o.source} for o in report.healed],
        "problems": [asdict(one) for one in report.problems],
    }


@click.command()
@with_repo
def reindex(repo: Repo) -> None:
    """Make the index again from git alone.

    The index is a cache of the records: deleting it loses nothing, and a stale one heals itself.
    This is for the case that you do not believe it.

    \b
    gitml reindex
    gitml fsck
    """
    render.answer(f"Indexed {render.count(repo.reindex(), 'ref')}")
