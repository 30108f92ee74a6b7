"""What a request says of itself, as Markdown: the verdict, the versions compared, the lineage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from gitml.diff.versions import Comparison, Row
from gitml.frozen import Frozen
from gitml.history.lineage import Ancestor
from gitml.promotion.planning import PlannedMove
from gitml.promotion.verdict import plain_markdown

MARK = "<!-- gitml report -->"
"""Stands at the top of the one comment that belongs to gitml."""
MOST = 60_000
"""Characters: forges take 65,536."""
_NODES = 40
_STATES = {
    "promote": "will be promoted when this is merged",
    "refused": "does not meet its policy yet",
    "done": "holds the stage already",
    "kept": "stays as it is",
    "held": "is held back by an emergency",
    "wrong": "cannot mean anything",
}


class Reported(Frozen):
    """A wish with what people want to see beside it; None where there is nothing to show."""

    planned: PlannedMove
    comparison: Comparison | None = None
    lineage: Ancestor | None = None


def request_text(reported: Reported, reason: str) -> str:
    """The text of a request for one wish."""
    return _joined([[plain_markdown(reason)], *_sections(reported)])


def report_text(reported: Iterable[Reported]) -> str:
    """The text of the comment on a request, for all the wishes that it changes."""
    parts: list[list[str]] = [[MARK]]
    for one in reported:
        planned = one.planned
        said = _STATES.get(planned.what, planned.what)
        name = plain_markdown(planned.label or f"{planned.model}@{planned.wish}")
        stage = plain_markdown(planned.stage or planned.model)
        parts.append([f"### {stage}: {name} {said}"])
        if planned.verdict is None and planned.why:
            parts.append([plain_markdown(planned.why)])
        parts += _sections(one)
    return _joined(parts)


def _sections(reported: Reported) -> Iterator[list[str]]:
    verdict = reported.planned.verdict
    if verdict is not None and verdict.policy is not None:
        yield verdict.markdown().splitlines()
    if reported.comparison is not None:
        yield list(_compared(reported.comparison))
    if reported.lineage is not None:
        drawn = ["```mermaid", *_mermaid(reported.lineage), "```"]
        yield ["<details><summary>How it was made</summary>", "", *drawn, "", "</details>"]


def _joined(parts: Iterable[list[str]]) -> str:
    """The parts with a line between them, as many as a forge takes."""
    text, left = "", MOST
    for part in parts:
        one = "\n".join(part) + "\n"
        if len(one) > left:
            return f"{text}\nThe rest is too long for a forge: `gitml report --dry-run` has it.\n"
        text, left = (f"{text}\n{one}" if text else one), left - len(one) - 1
    return text


def _compared(found: Comparison) -> Iterator[str]:
    """Metrics, and the parameters in which the versions differ, one row each."""
    header = ["", *(plain_markdown(one.label) for one in found.versions), ""]
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in found.metrics:
        cells = [_value(value) for value in row.values]
        yield f"| {plain_markdown(row.name)} | {' | '.join(cells)} | {_change(row)} |"
    for row in found.parameters:
        if not row.same or len(found.versions) == 1:
            cells = [_value(value) for value in row.values]
            yield f"| *{plain_markdown(row.name)}* | {' | '.join(cells)} | |"


def _change(row: Row) -> str:
    """What the last version changes of a metric, and whether that is better."""
    delta = row.deltas[-1] if row.deltas else None
    if delta is None or math.isnan(delta) or delta == 0 or len(row.values) < 2:
        return ""
    said = f"{delta:+.6g}"
    if row.direction is None:
        return said
    return f"{said} {'better' if (delta > 0) == (row.direction == 'max') else 'worse'}"


def _value(value: Any) -> str:
    if value is None:
        return ""
    return plain_markdown(f"{value:.6g}" if isinstance(value, float) else str(value)[:200])


def _mermaid(root: Ancestor) -> Iterator[str]:
    """The lineage as a drawing that forges show, from left to right: made of → made."""
    yield "flowchart LR"
    names: dict[str, str] = {}
    drawn: set[tuple[str, str]] = set()
    waiting = [root]
    while waiting:
        below = waiting.pop(0)
        key = str(below.commit)
        if key not in names:
            names[key] = f"n{len(names)}"
            yield _node(names[key], below)
        for above in below.made_of:
            other = str(above.commit)
            if other not in names:
                if len(names) >= _NODES:
                    continue
                names[other] = f"n{len(names)}"
                yield _node(names[other], above)
            if (other, key) not in drawn:
                drawn.add((other, key))
                yield f"  {names[other]} --> {names[key]}"
            waiting.append(above)


def _node(name: str, one: Ancestor) -> str:
    label = "".join(c if c.isascii() and (c.isalnum() or c in " @._/-") else "_" for c in one.label)
    shape = {"version": ("([", "])"), "source": ("[(", ")]")}.get(one.kind, ("[", "]"))
    return f'  {name}{shape[0]}"{one.kind} {label[:80]}"{shape[1]}'
