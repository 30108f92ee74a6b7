"""What is said and asked before code is published that is on no branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gitml.cli import render
from gitml.cli.invocation import confirmed
from gitml.cli.render import paint
from gitml.errors import some

if TYPE_CHECKING:
    from gitml.sync.pushing import Plan

_NAMED = 10


def asking(yes: bool, example: str) -> Callable[[Plan], None]:
    """Asks whether code may be published that is on no branch; ``example`` needs the `--yes`."""

    def ask(plan: Plan) -> None:
        if plan.code:
            render.tell(*code_lines(plan))
            commits = render.count(len(plan.code), "commit")
            confirmed(f"to publish {commits} of code that no branch has", yes, example)

    return ask


def code_lines(plan: Plan) -> Iterator[str]:
    """The commits of code that are on no branch of the remote."""
    if plan.code:
        yield f"These are on no branch of {plan.remote}, and go with what was made from them:"
    for commit in plan.code[:_NAMED]:
        names = plan.made.get(commit.id)
        made = f", which made {some(names)}" if names else ""
        yield f"  {paint('code', commit.id.short)}  {commit.subject}{made}"
    if len(plan.code) > _NAMED:
        yield f"  and {len(plan.code) - _NAMED} more"
