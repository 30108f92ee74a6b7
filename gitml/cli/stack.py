"""``gitml stack``: list, show, set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.stack import Stack


@click.group(cls=Noun)
def stack() -> None:
    """List, describe and choose stacks.

    A stack names what a pipeline runs on: an orchestrator and an artifact store. `default` is there
    without any set-up; others stand in gitml.toml, for everyone.

    \b
    gitml stack list
    gitml stack set shared
    """


@stack.command("list")
@json_option
@with_repo
def list_stacks(repo: Repo, as_json: bool) -> None:
    """List the stacks, the active one marked.

    \b
    gitml stack list
    gitml stack list --json
    """
    active = repo.active_stack.name
    found = repo.stacks()
    if as_json:
        listed = [_document(one, active) for one in found]
        render.answer_json("stack.list", {"stacks": listed})
        return
    rows = [
        [
            paint("head", one.name) if one.name == active else one.name,
            paint("good", "active") if one.name == active else "",
            one.orchestrator,
            one.artifact_store,
        ]
        for one in found
    ]
    render.answer(*render.table(rows, ["stack", "", "orchestrator", "artifact store"]))


@stack.command("show")
@click.argument("name", required=False)
@json_option
@with_repo
def show_stack(repo: Repo, name: str | None, as_json: bool) -> None:
    """Describe a stack, the active one when none is named.

    \b
    gitml stack show
    gitml stack show shared
    """
    active = repo.active_stack
    chosen = active if name is None else repo.stack(name)
    if as_json:
        render.answer_json("stack.show", _document(chosen, active.name))
        return
    render.answer(
        f"stack {paint('head', chosen.name)}{' (active)' * (chosen == active)}",
        *render.pairs(
            [
                ("orchestrator", chosen.orchestrator),
                ("artifact store", chosen.artifact_store),
                *chosen.extra.items(),
            ]
        ),
    )


@stack.command("set")
@click.argument("name")
@with_repo
def set_stack(repo: Repo, name: str) -> None:
    """Make a stack the active one of this clone.

    The choice is a git setting (`gitml.stack`): no file changes, nobody else is affected.
    `GITML_STACK` and `--stack` win over it.

    \b
    gitml stack set shared
    gitml stack set default
    """
    chosen = repo.set_stack(name)
    render.answer(f"The active stack of this clone is now {paint('head', chosen.name)}")


def _document(one: Stack, active: str) -> dict[str, Any]:
    return {
        "name": one.name,
        "active": one.name == active,
        "orchestrator": one.orchestrator,
        "artifact_store": one.artifact_store,
        "extra": dict(one.extra),
    }
