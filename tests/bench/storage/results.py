"""What was measured: for each piece of work and tool the runs, or why there is none."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.measure import Usage


@dataclass
class Figure:
    """All runs of one command of one tool; the largest peak; what the store grew by each time."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    grown_bytes: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle run, in seconds."""
        return statistics.median(self.seconds)

    @property
    def stored(self) -> float | None:
        """The middle run's growth of the store in bytes; None where nothing is stored."""
        return statistics.median(self.grown_bytes) if self.grown_bytes else None


@dataclass
class Results:
    """Everything that a report needs, for one scale."""

    scale: float
    conditions: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Tools that could not take part, each with the reason."""
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """By work, then by tool."""
    gaps: dict[str, dict[str, str]] = field(default_factory=dict)
    """By work, then by tool: why a command that the tool has was not measured."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes that a work reads, where a rate is worth telling."""

    def record(self, work: str, tool: str, used: Usage, grown: int | None) -> None:
        """Add one run."""
        figure = self.figures.setdefault(work, {}).setdefault(tool, Figure())
        figure.seconds.append(used.seconds)
        figure.cpu_seconds.append(used.cpu_seconds)
        figure.peak_bytes = max(figure.peak_bytes, used.peak_bytes)
        if grown is not None:
            figure.grown_bytes.append(grown)

    def gap(self, work: str, tool: str, reason: str) -> None:
        """Say why there is no figure; the first reason is the one to keep."""
        self.gaps.setdefault(work, {}).setdefault(tool, reason)

    def figure(self, work: str, tool: str) -> Figure | None:
        """What was measured, if anything was."""
        return self.figures.get(work, {}).get(tool)

    def save(self, path: Path) -> None:
        """Write all of it as JSON, for another report or a closer look."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """What ``save`` wrote."""
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            work: {tool: Figure(**value) for tool, value in row.items()}
            for work, row in document.pop("figures").items()
        }
        return cls(**document, figures=figures)

    def join(self, other: Results) -> None:
        """Take over what another run at the same scale has and this one has not.

        That may be rows, or cells of tools that were missing here; the conditions tell which.
        """
        if other.scale != self.scale:
            raise ValueError(f"scale {other.scale:g} beside {self.scale:g} makes no table")
        taken: set[str] = set()
        for mine, theirs in ((self.figures, other.figures), (self.gaps, other.gaps)):
            for work, row in theirs.items():
                new = {tool: cell for tool, cell in row.items() if not self._has(work, tool)}
                mine.setdefault(work, {}).update(new)  # type: ignore[arg-type]
                taken |= {f"{work} ({tool})" for tool in new}
        self.versions = other.versions | self.versions
        self.missing = {
            tool: reason
            for tool, reason in (other.missing | self.missing).items()
            if tool not in self.versions
        }
        self.sizes = other.sizes | self.sizes
        self.conditions += f"; but for {', '.join(sorted(taken))}: {other.conditions}"

    def _has(self, work: str, tool: str) -> bool:
        return tool in self.figures.get(work, {}) or tool in self.gaps.get(work, {})
