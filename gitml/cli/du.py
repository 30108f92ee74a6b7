"""``gitml du``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.store.usage import Group, Savings, Usage

_SHOWN = 10
_TITLES = {"pointer": "data", "version": "model version", "artifact": "artifact"}


@click.command()
@click.option("--all", "everything", is_flag=True, help="Name all, not the ten largest of a kind.")
@json_option
@with_repo
def du(repo: Repo, everything: bool, as_json: bool) -> None:
    """Show what takes the space of the store.

    For data with a pointer, model versions and artifacts: the size of the files, what is stored for
    that name alone (so what would go with it), and what it shares with others of its kind. Then
    the whole store, to the byte, and what deduplication, compression and differences save.

    \b
    gitml du
    gitml du --json
    """
    usage, doubt = repo.usage()
    if as_json:
        document = asdict(usage)
        document["savings"]["stored"] = usage.savings.stored
        render.answer_json("du", {**document, "doubt": doubt or None})
        return
    for group in usage.groups:
        if group.shares:
            render.answer(*_group(group, everything), "")
    render.answer(*(_whole(usage) or ["The store is empty"]), *_savings(usage.savings))
    if doubt:
        render.tell(f"What is unreferenced cannot be told: {doubt}")
    elif usage.unreferenced or usage.condemned or usage.temporary:
        render.tell("Next: `gitml gc --dry-run` shows what can be freed")


def _group(group: Group, everything: bool) -> Iterator[str]:
    shares = sorted(group.shares, key=lambda one: (-one.own - one.shared, one.name))
    shown = shares if everything else shares[:_SHOWN]
    rows = [
        [one.name, render.size(one.size), render.size(one.own), render.size(one.shared)]
        for one in shown
    ]
    header = [_TITLES.get(group.kind, group.kind), "size", "alone", "shared"]
    yield from render.table(rows, header, right=(1, 2, 3))
    if len(shares) > len(shown):
        yield paint("dim", f"and {len(shares) - len(shown)} more")


def _whole(usage: Usage) -> list[str]:
    parts = [
        ("named in git", usage.live),
        ("unreferenced", usage.unreferenced),
        ("duplicates", usage.duplicates),
        ("condemned", usage.condemned),
        ("temporary", usage.temporary),
        ("indexes, folders", usage.overhead),
        ("in all", usage.total),
    ]
    rows = [[name, render.size(count)] for name, count in parts if count]
    return render.table(rows, ["store", "bytes"], right=(1,))


def _savings(savings: Savings) -> Iterator[str]:
    saved = [
        (savings.dedup, "deduplication"),
        (savings.compression, "compression"),
        (savings.delta, "differences"),
    ]
    words = [f"{render.size(count)} by {name}" for count, name in saved if count > 0]
    if words:
        yield ""
        yield f"Saved of {render.size(savings.plain)}: {', '.join(words)}"
