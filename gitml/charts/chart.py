"""What a chart shows: lines of points, and what the places of its horizontal axis are called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gitml.frozen import Frozen, field

Point = tuple[float, float]


class Line(Frozen):
    """A named line: points by rising x. A value that is no finite number is a gap in it."""

    name: str
    points: tuple[Point, ...]

    @property
    def pieces(self) -> Iterator[list[Point]]:
        """The points between the gaps."""
        piece: list[Point] = []
        for x, y in self.points:
            if math.isfinite(y):
                piece.append((x, y))
            elif piece:
                yield piece
                piece = []
        if piece:
            yield piece


class Chart(Frozen):
    """Lines over one axis: ``x`` and ``y`` say what the axes are, ``ticks`` what a place is called.

    Where ``ticks`` is empty the places are numbers. ``notes`` say what cannot be seen.
    """

    lines: tuple[Line, ...]
    x: str
    y: str
    ticks: Mapping[float, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The names of the lines, or of the axes where there is one line."""
        return f"{self.y} over {self.x}"

    def finite(self) -> list[Point]:
        """All points that can be drawn."""
        return [one for line in self.lines for piece in line.pieces for one in piece]

    def label(self, x: float) -> str:
        """What a place of the horizontal axis is called."""
        return self.ticks.get(x) or number(x)

    def document(self) -> dict[str, Any]:
        """The chart as plain data."""
        return {
            "x": self.x,
            "y": self.y,
            "lines": [
                {
                    "name": line.name,
                    "points": [{"x": x, "label": self.label(x), "y": y} for x, y in line.points],
                }
                for line in self.lines
            ],
            "notes": list(self.notes),
        }


def number(value: float) -> str:
    """A number on an axis: whole ones as they are, others with four digits."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}"
