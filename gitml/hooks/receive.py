"""What ``pre-receive`` starts on a server: the refs of a push, and why they are refused.

Python's imports are most of what a push waits for. So two gits are begun before the rules are
imported: they read while Python loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change, Listing

_NONE = "0" * 40


def refusals(lines: str, environment: Mapping[str, str], folder: Path) -> list[str]:
    """What is wrong with a push, one line a ref; nothing where it may go in.

    ``lines`` are those that git hands to ``pre-receive`` in ``folder``, the bare repository.
    """
    updates = tuple(map(_pushed, lines.splitlines()))
    try:
        git = Git.receiving(folder, environment)
    except GitmlError as error:
        return [f"the push cannot be judged: {error.message}"]
    if any(one.name.startswith("refs/tags/") and "@" in one.name for one in updates):
        from gitml.hooks.turns import RECEIVER, take_turn

        try:
            take_turn(git, updates, environment.get(RECEIVER))
        except GitmlError as error:
            return [error.message]
    with closing(Odb(git)) as odb:
        odb.begin()
        from gitml.history.index import MODELS

        with closing(Listing(git, MODELS)) as listing:
            if any(one.name.startswith(("refs/tags/", "refs/gitml/")) for one in updates):
                listing.begin()
            from gitml.hooks.receiver import Receiver

            with closing(Receiver(git, odb, listing, updates)) as receiver:
                return [f"{name}: {why}" for name, why in receiver.refusals()]


def _pushed(line: str) -> Change:
    old, new, name = line.split(" ", 2)
    there, wanted = (ObjectId(one) if one != _NONE else None for one in (old, new))
    return Change(name, wanted, there)
