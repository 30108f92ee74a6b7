"""Runs, versions and data as a drawing of lanes: each thing stands above what it was made of.

A lane is a thing that is still to come, and each such thing has one lane. So a row has one mark;
to its right and left run the lines that join the lanes of what it was made of.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gitml.cli import render
from gitml.cli.describe import run_glyph, step_counts, version_mark
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.entities.ids import ObjectId
    from gitml.handles import RunHandle, VersionHandle
    from gitml.repo import Repo


class Thing:
    """A node: its mark, the cells of its row, when it came to be, what it was made of (by key)."""

    def __init__(self, mark: str, cells: list[str], at: float, made_of: Sequence[str] = ()) -> None:
        self.mark = mark
        self.cells = cells
        self.at = at
        self.made_of = list(made_of)


def drawn(repo: Repo, runs: Sequence[RunHandle]) -> list[str]:
    """The lines of the graph of these runs, newest first.

    What they were given by runs that are not among them is left out.
    """
    things = _things(repo, runs)
    order = in_order(things)
    lanes = lanes_of([(key, things[key].made_of) for key in order])
    marked = [
        lane.replace("*", things[key].mark, 1) for key, lane in zip(order, lanes, strict=True)
    ]
    return render.table(
        [[lane, *things[key].cells] for key, lane in zip(order, marked, strict=True)],
        shorten=(3, 4, 2),
    )


def in_order(things: Mapping[str, Thing]) -> list[str]:
    """The keys, newest first, each before everything that it was made of."""
    waiting = dict.fromkeys(things, 0)
    for thing in things.values():
        for key in thing.made_of:
            waiting[key] += 1
    ready = [(-things[key].at, key) for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for below in things[key].made_of:
            waiting[below] -= 1
            if not waiting[below]:
                heapq.heappush(ready, (-things[below].at, below))
    return order


def lanes_of(rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """The drawing beside each row, ``*`` where its mark goes.

    ``rows`` are keys with the keys that they were made of, each key before those.
    """
    lanes: list[str | None] = []
    drawing = []
    ended = -1  # right below a lane that ended nothing may begin: it would look made of it
    for key, made_of in rows:
        here = lanes.index(key) if key in lanes else _free(lanes, but=ended)
        known = [lanes.index(one) for one in made_of if one in lanes]
        new = [one for one in made_of if one not in lanes]
        before = list(lanes)
        before[here] = None
        lanes[here] = new.pop(0) if new else None
        opened = []
        for one in new:
            opened.append(_free(lanes, behind=here))
            lanes[opened[-1]] = one
        drawing.append(_row(before, here, known, opened))
        ended = here if lanes[here] is None else -1
        while lanes and lanes[-1] is None:
            lanes.pop()
    return drawing


def _free(lanes: list[str | None], behind: int = -1, but: int = -1) -> int:
    """A lane that is not in use, right of ``behind`` and not ``but``; a new one if need be."""
    place = behind + 1
    while place == but or (place < len(lanes) and lanes[place] is not None):
        place += 1
    lanes += [None] * (place + 1 - len(lanes))
    return place


def _row(
    before: Sequence[str | None], here: int, known: Sequence[int], opened: Sequence[int]
) -> str:
    """A row: the lanes that pass, the mark, and lines to lanes that are known or open here."""
    ends = [here, *known, *opened]
    first, last = min(ends), max(ends)
    cells = []
    for place in range(max(len(before), last + 1)):
        passes = place < len(before) and before[place] is not None
        joined = first < place < last
        if place == here:
            cell = "*"
        elif place in opened:
            cell = "╮" if place == last else "┬"
        elif place in known:
            cell = "├" if place == first else "┤" if place == last else "┼"
        elif passes:
            cell = "│"
        else:
            cell = "─" if joined else " "
        cells.append(cell + ("─" if first <= place < last else " "))
    return "".join(cells).rstrip()


def _things(repo: Repo, runs: Sequence[RunHandle]) -> dict[str, Thing]:
    """The runs, the versions that they made or used, and the data that came from outside."""
    # Runs come newest first, so that the oldest run with a step stays: the one that made it.
    makers = {
        step.commit: str(run.id)
        for run in runs
        for step in run.entry.record.steps
        if step.commit is not None
    }
    things: dict[str, Thing] = {}
    for run in runs:
        key = str(run.id)
        for version in run.made_versions:
            things[str(version.id)] = _version_thing(version)
        made_of: list[str] = []
        pinned = [(pin.name, pin.commit) for pin in run.entry.record.pins]
        for step in run.steps.values():
            if step.found is None:
                continue
            if makers[step.found.id] != key:
                made_of.append(makers[step.found.id])
                continue
            given = [*step.found.record.inputs, *step.found.record.loads]
            pinned += [(one.artifact or one.name, one.commit) for one in given]
        for name, commit in pinned:
            made_of.append(makers.get(commit, str(commit)))
            if commit not in makers:
                _take_in(repo, things, name, commit)
        things[key] = _run_thing(repo, run, [one for one in made_of if one != key])
    for thing in things.values():
        thing.made_of = [key for key in dict.fromkeys(thing.made_of) if key in things]
    return things


def _take_in(repo: Repo, things: dict[str, Thing], name: str, commit: ObjectId) -> None:
    """Add what a run was given from outside of these runs: a version, or data."""
    key = str(commit)
    if key in things:
        return
    kind = repo.kind_of(commit)
    if kind == "version":
        things[key] = _version_thing(repo.version_of(commit))
    elif kind == "source":
        digest = repo.source_of(commit).digest.short
        mark = paint("artifact", render.ARTIFACT)
        cells = [f"{paint('artifact', name)} {paint('dim', digest)}", "", "", ""]
        things[key] = Thing(mark, cells, 0.0)


def _run_thing(repo: Repo, run: RunHandle, made_of: list[str]) -> Thing:
    failed = "" if run.status == "completed" else f" {paint('failed', run.status)}"
    head = f"run {paint('run', repo.short(run.id))} {run.pipeline}{failed}"
    cells = [head, render.ago(run.entry.at), run.entry.author, step_counts(run)]
    return Thing(run_glyph(run), cells, run.entry.at, made_of)


def _version_thing(version: VersionHandle) -> Thing:
    cells = [
        version_mark(version),
        render.ago(version.entry.at),
        version.entry.author,
        render.metrics(version.metrics, 3),
    ]
    mark = paint("version", render.VERSION)
    return Thing(mark, cells, version.entry.at, [str(version.entry.record.run)])
