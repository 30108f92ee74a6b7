"""The tables for docs/benchmarks.md: every figure, its goal, and who wins, also when others do.

Times are medians. The floors are what the machine needs for a part of the work; they are no rivals.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.bench.storage.inputs import MIB
from tests.bench.storage.results import Figure, Results
from tests.bench.storage.tools import TOOLS, Tool
from tests.bench.storage.works import SCENARIOS, Goal, Work

EVEN = 1.1
"""Times closer than this factor are no difference on a machine that does other things too."""


def report(results: Results) -> str:
    """All that was measured, as Markdown that can be pasted."""
    return _Report(results).text()


class _Report:
    def __init__(self, results: Results) -> None:
        self._results = results
        self._footnotes: list[str] = []
        known = results.versions.keys() | results.missing.keys()
        tools = [tool for tool in TOOLS if tool.name in known]
        self._floors = [tool for tool in tools if tool.floor]
        self._tools = [tool for tool in tools if not tool.floor]
        self._works = [
            (scenario.name, work)
            for scenario in SCENARIOS
            for work in scenario.works
            if work.key in results.figures or work.key in results.gaps
        ]

    def text(self) -> str:
        names = [tool.name for tool in self._tools]
        parts = [
            f"Conditions: {self._results.conditions}. Scale {self._results.scale:g}.",
            "Seconds of the whole command (median; ¹ one run only), in brackets the MiB by which "
            "the store grew. Bold: the fastest, the smallest.",
            _table(
                ["work", "goal", "floor", *names, "result"],
                [self._row(scenario, work) for scenario, work in self._works],
            ),
            "Peak memory of the largest process, MiB (mapped files count; the least is 10):",
            _table(
                ["work", *names],
                [[self._title(work), *self._each(work, _peak)] for _, work in self._works],
            ),
            "Runs, the fastest and the slowest of them in seconds, and CPU seconds of all "
            "processes (median; hardly longer on a busy machine):",
            _table(
                ["work", *names],
                [[self._title(work), *self._each(work, _spread)] for _, work in self._works],
            ),
            *self._notes(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _row(self, scenario: str, work: Work) -> list[str]:
        present = self._present(work)
        fastest = min((figure.median for _, figure in present), default=None)
        stored = [figure.stored for _, figure in present if figure.stored is not None]
        smallest = min(stored, default=None)
        cells = []
        for tool in self._tools:
            figure = self._results.figure(work.key, tool.name)
            if figure is None:
                cells.append(self._empty(scenario, work, tool))
                continue
            cells.append(_cell(figure, fastest=fastest, smallest=smallest))
        return [
            self._title(work),
            self._goals(work),
            self._floor(work),
            *cells,
            self._result(work),
        ]

    def _title(self, work: Work) -> str:
        scale, sizes = self._results.scale, self._results.sizes
        return work.title.format(
            large=_size(1024 * MIB * scale),
            files=f"{max(20, int(50_000 * scale)):,}",
            million=f"{max(100, int(1_000_000 * scale)):,}",
            model=_size(sizes.get(work.key, 0)),
        )

    def _present(self, work: Work) -> list[tuple[Tool, Figure]]:
        found = ((tool, self._results.figure(work.key, tool.name)) for tool in self._tools)
        return [(tool, figure) for tool, figure in found if figure is not None]

    def _each(self, work: Work, show: object) -> Iterable[str]:
        for tool in self._tools:
            figure = self._results.figure(work.key, tool.name)
            yield "" if figure is None else show(figure)  # type: ignore[operator]

    def _empty(self, scenario: str, work: Work, tool: Tool) -> str:
        if tool.name in self._results.missing:
            return self._results.missing[tool.name]
        reason = self._results.gaps.get(work.key, {}).get(tool.name)
        if reason is not None:
            return self._footnote(reason)
        return "no command" if scenario in tool.works else "not asked"

    def _footnote(self, reason: str) -> str:
        if reason not in self._footnotes:
            self._footnotes.append(reason)
        return f"[{self._footnotes.index(reason) + 1}]"

    def _floor(self, work: Work) -> str:
        shown = []
        for tool in self._floors:
            figure = self._results.figure(work.key, tool.name)
            if figure is not None:
                shown.append(f"`{tool.name}` {_cell(figure)}")
            elif tool.name in self._results.missing and not shown:
                shown.append(f"`{tool.name}` {self._results.missing[tool.name]}")
        return ", ".join(shown)

    def _goals(self, work: Work) -> str:
        shown = []
        for goal in work.goals:
            if goal.column in [tool.name for tool in self._tools]:
                mode = goal.column.removeprefix("gitml").strip()
                shown.append(" ".join([mode, ", ".join(_limits(goal))]).strip())
        return "; ".join(shown)

    def _result(self, work: Work) -> str:
        parts = [self._race(work), self._smallest(work)]
        rates = [goal.column for goal in work.goals if goal.rate_mb is not None]
        for column in rates:
            figure = self._results.figure(work.key, column)
            if figure is not None and work.key in self._results.sizes:
                parts.append(f"{self._rate(work, figure):.0f} MB/s")
        parts += self._verdicts(work)
        return "; ".join(part for part in parts if part)

    def _race(self, work: Work) -> str:
        """Who is fastest, and by how much gitml wins or loses."""
        times = {tool: figure.median for tool, figure in self._present(work)}
        ours = min((tool for tool in times if tool.ours), key=times.__getitem__, default=None)
        peer = min((tool for tool in times if not tool.ours), key=times.__getitem__, default=None)
        if ours is None or peer is None:
            return ""
        factor = times[peer] / times[ours]
        if 1 / EVEN < factor < EVEN:
            return f"{ours.name} and {peer.name} even"
        if factor > 1:
            return f"{ours.name} fastest, {factor:.1f} times before {peer.name}"
        return f"{peer.name} fastest, {ours.name} {1 / factor:.1f} times slower"

    def _smallest(self, work: Work) -> str:
        sizes = {
            tool: figure.stored for tool, figure in self._present(work) if figure.stored is not None
        }
        ours = min((tool for tool in sizes if tool.ours), key=sizes.__getitem__, default=None)
        peer = min((tool for tool in sizes if not tool.ours), key=sizes.__getitem__, default=None)
        if ours is None or peer is None:
            return ""
        more = sizes[peer] / max(1, sizes[ours])
        if 0.98 < more < 1.02:
            return ""
        if more > 1:
            return f"{ours.name} smallest, {peer.name} {more:.1f} times as much"
        return f"{peer.name} smallest, {ours.name} {1 / more:.1f} times as much"

    def _verdicts(self, work: Work) -> Iterable[str]:
        """For each goal whether it is met; goals are for full size."""
        if self._results.scale != 1:
            return
        for goal in work.goals:
            figure = self._results.figure(work.key, goal.column)
            if figure is None:
                continue
            misses = list(self._misses(work, goal, figure))
            if misses:
                yield f"**goal missed by {goal.column}: {', '.join(misses)}**"
            else:
                yield f"goal met by {goal.column}"

    def _misses(self, work: Work, goal: Goal, figure: Figure) -> Iterable[str]:
        if goal.seconds is not None and figure.median > goal.seconds:
            yield f"{_seconds(figure.median)} s"
        if goal.stored_mib is not None and (figure.stored or 0) > goal.stored_mib * MIB:
            yield f"{(figure.stored or 0) / MIB:,.1f} MiB"
        if goal.peak_mib is not None and figure.peak_bytes > goal.peak_mib * MIB:
            yield f"{figure.peak_bytes / MIB:,.0f} MiB of memory"
        if goal.rate_mb is not None and self._rate(work, figure) < goal.rate_mb:
            yield f"{self._rate(work, figure):.0f} MB/s"
        if goal.smaller_than is not None:
            other = self._results.figure(work.key, goal.smaller_than)
            if other is not None and (figure.stored or 0) >= (other.stored or 0):
                yield f"not smaller than `{goal.smaller_than}`"

    def _rate(self, work: Work, figure: Figure) -> float:
        return self._results.sizes.get(work.key, 0) / figure.median / 1e6

    def _notes(self) -> list[str]:
        versions = [f"{name} {version}" for name, version in self._results.versions.items()]
        missing = [f"{name}: {reason}" for name, reason in self._results.missing.items()]
        notes = [tool.note for tool in (*self._floors, *self._tools) if tool.note]
        return [
            "\n".join(f"[{number}] {text}  " for number, text in enumerate(self._footnotes, 1)),
            f"Notes: {'; '.join(notes)}." if notes else "",
            f"Versions: {'; '.join(versions)}.",
            f"Left out: {'; '.join(missing)}." if missing else "",
        ]


def _cell(figure: Figure, *, fastest: float | None = None, smallest: float | None = None) -> str:
    once = "¹" if len(figure.seconds) == 1 else ""
    time = _bold(_seconds(figure.median), figure.median == fastest) + once
    if figure.stored is None:
        return time
    return f"{time} ({_bold(_mib(figure.stored), figure.stored == smallest)})"


def _bold(text: str, wanted: bool) -> str:
    return f"**{text}**" if wanted else text


def _peak(figure: Figure) -> str:
    return f"{figure.peak_bytes / MIB:,.0f}"


def _spread(figure: Figure) -> str:
    low, high = _seconds(min(figure.seconds)), _seconds(max(figure.seconds))
    count = len(figure.seconds)
    runs = f"{count}: {low} to {high}" if count > 1 else f"1: {low}"
    return f"{runs}; {_seconds(statistics.median(figure.cpu_seconds))}"


def _limits(goal: Goal) -> Iterable[str]:
    if goal.seconds is not None:
        yield f"≤ {goal.seconds:g} s"
    if goal.stored_mib is not None:
        yield f"≤ {goal.stored_mib:g} MiB"
    if goal.rate_mb is not None:
        yield f"≥ {goal.rate_mb:g} MB/s"
    if goal.smaller_than is not None:
        yield f"smaller than `{goal.smaller_than}`"
    if goal.peak_mib is not None:
        yield f"memory ≤ {goal.peak_mib:g} MiB"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _mib(value: float) -> str:
    mib = value / MIB
    return f"{mib:,.0f}" if mib >= 100 else f"{mib:.1f}"


def _size(value: float) -> str:
    if value >= 1024 * MIB:
        return f"{value / MIB / 1024:.3g} GiB"
    return f"{value / MIB:.3g} MiB" if value >= MIB else f"{value / 1024:.0f} KiB"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
