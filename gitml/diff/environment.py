"""Two environments side by side: Python, the platform, and the distributions by name."""

from __future__ import annotations

import re

from gitml.frozen import Frozen


class Installed(Frozen):
    """A line of ``environment.txt`` that differs: what it is of, absent on the side without it.

    ``name`` is that of a distribution as it is compared (lower case, ``-`` for ``_`` and ``.``), or
    "python" or "platform". The values are versions (``2.0.0``) or origins
    (``git+https://host/x@<commit>``).
    """

    name: str
    old: str | None
    new: str | None


def compare_environments(old: str, new: str) -> tuple[Installed, ...]:
    """What differs between two texts of ``environment.txt``, Python and the platform first."""
    before, after = _lines(old), _lines(new)
    names = sorted({*before, *after}, key=lambda one: (one[0], one[1]))
    return tuple(
        Installed(name[1], before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def _lines(text: str) -> dict[tuple[int, str], str]:
    """The lines by (rank, name); several of one name, as two folders may hold, are joined."""
    found: dict[tuple[int, str], str] = {}
    for line in text.splitlines():
        comment = re.match(r"# (\w+) (.*)", line)
        if comment is not None:
            key, value = (0, comment[1]), comment[2]
        elif match := re.match(r"([\w.-]+)(?:==| @ )(.+)", line):
            key, value = (1, re.sub(r"[-_.]+", "-", match[1]).lower()), match[2]
        else:
            continue
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
