"""Why two keys of a step differ: the parts that one has and the other has not.

It stands apart from what makes keys: who compares what is recorded traces no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gitml.frozen import Frozen


class Change(Frozen):
    """A part in which two keys differ."""

    part: str
    how: Literal["added", "removed", "changed"]


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    """What differs between the parts of two keys, by part: why the newer one was a miss."""
    found = [Change(part, "removed") for part in old.keys() - new.keys()]
    found += [Change(part, "added") for part in new.keys() - old.keys()]
    found += [Change(part, "changed") for part in old.keys() & new.keys() if old[part] != new[part]]
    return sorted(found, key=lambda one: one.part)
