"""A chart as text: a canvas of Braille dots, or of one sign for each line where dots cannot do.

Dots of several lines cannot be told apart without colours, and not every terminal has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from gitml.charts.chart import Chart, Point, number

HEIGHT = 12
"""Rows of the canvas."""
SIGNS = "*+ox#@%&"
"""What the lines are drawn with where dots cannot do, in turn."""

Part = tuple[str, int | None]
"""A piece of a row, and the line that it is of; None for what is of none."""

_NARROWEST = 20
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a Braille character by column and row."""


def drawn(
    chart: Chart, width: int, height: int = HEIGHT, *, signs: bool = False
) -> list[list[Part]]:
    """The rows of a chart that is ``width`` columns wide, each in parts; ``signs`` for no dots."""
    scale = _Scale(chart.finite())
    shares = {0: 1.0, height // 2: 0.5, height - 1: 0.0}
    if scale.low == scale.high:  # one value has one place
        shares = {height // 2: 0.5}
    named = {row: number(scale.value(share)) for row, share in shares.items()}
    margin = max(map(len, named.values()))
    canvas = _Canvas(max(width - margin - 2, _NARROWEST), height, signs=signs)
    for place, line in enumerate(chart.lines):
        for piece in line.pieces:
            canvas.draw([scale.shares(point) for point in piece], place)
    rows: list[list[Part]] = [[(chart.y, None)]]
    for row in range(height):
        label = named.get(row, "")
        axis = "┤" if label else "│"
        rows.append([(f"{label:>{margin}} {axis}", None), *canvas.row(row)])
    rows.append([(f"{'':{margin}} ╰{'─' * canvas.width}", None)])
    rows.append([(" " * (margin + 2) + _places(chart, scale, canvas.width), None)])
    if not chart.ticks:
        rows.append([(chart.x.rjust(margin + 2 + canvas.width), None)])
    if len(chart.lines) > 1:
        rows.append([])
        rows += [
            [("  ", None), (f"{sign_of(place, signs=signs)} {line.name}", place)]
            for place, line in enumerate(chart.lines)
        ]
    return rows


def sign_of(place: int, *, signs: bool) -> str:
    """What stands before the name of a line."""
    return SIGNS[place % len(SIGNS)] if signs else "●"


class _Scale:
    """Where values lie between the least and the greatest: as shares of 1.

    Halves are subtracted, since the difference of two huge numbers may be infinite.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.left, self.right = _bounds([x for x, _ in points])
        self.low, self.high = _bounds([y for _, y in points])

    def shares(self, point: Point) -> Point:
        """How far right and how far up."""
        across = _share(point[0], self.left, self.right)
        return across, _share(point[1], self.low, self.high)

    def value(self, share: float) -> float:
        """The value at a height."""
        if self.low == self.high:
            return self.low
        return self.low * (1 - share) + self.high * share


class _Canvas:
    """A field of characters on which lines are drawn."""

    def __init__(self, width: int, height: int, *, signs: bool) -> None:
        self.width, self.height, self._signs = width, height, signs
        self._across, self._down = (1, 1) if signs else (2, 4)
        self._bits: dict[tuple[int, int], int] = {}
        self._owners: dict[tuple[int, int], int] = {}

    def draw(self, shares: Sequence[Point], line: int) -> None:
        """Draw a line through points, given as shares of the width and the height."""
        columns, rows = self.width * self._across - 1, self.height * self._down - 1
        dots = [(round(x * columns), round((1 - y) * rows)) for x, y in shares]
        self._dot(*dots[0], line)
        if len(dots) == 1 and not self._signs:  # a dot alone is hardly seen
            self._bits[dots[0][0] // 2, dots[0][1] // 4] = 0xFF
        for before, after in pairwise(dots):
            for dot in _between(before, after):
                self._dot(*dot, line)

    def row(self, row: int) -> Iterator[Part]:
        """The characters of a row, those of one line that stand together in one part."""
        text, owner = "", None
        for column in range(self.width):
            of = self._owners.get((column, row))
            if of != owner and text:
                yield text, owner
                text = ""
            owner = of
            text += self._character(column, row, of)
        if text.strip():
            yield text.rstrip(), owner

    def _character(self, column: int, row: int, owner: int | None) -> str:
        if owner is None:
            return " "
        if self._signs:
            return sign_of(owner, signs=True)
        return chr(0x2800 + self._bits[column, row])

    def _dot(self, x: int, y: int, line: int) -> None:
        cell = (x // self._across, y // self._down)
        self._owners[cell] = line
        self._bits[cell] = self._bits.get(cell, 0) | _BITS[x % self._across][y % self._down]


def _between(before: tuple[int, int], after: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line behind its first."""
    (x, y), (right, down) = before, after
    steps = max(abs(right - x), abs(down - y))
    for step in range(1, steps + 1):
        yield x + round((right - x) * step / steps), y + round((down - y) * step / steps)


def _bounds(values: Sequence[float]) -> Point:
    return min(values, default=0.0), max(values, default=0.0)


def _share(value: float, low: float, high: float) -> float:
    spread = high / 2 - low / 2
    return (value / 2 - low / 2) / spread if spread > 0 else 0.5


def _places(chart: Chart, scale: _Scale, width: int) -> str:
    """The names of places below the axis: the ends first, then those between that find room."""
    if chart.ticks:
        places = sorted({x for x, _ in chart.finite()})
    else:
        middle = round(scale.left * 0.5 + scale.right * 0.5)
        places = sorted({scale.left, float(middle), scale.right})
    inner = places[1:-1]
    text = [" "] * width
    for x in dict.fromkeys([*places[:1], *places[-1:], *inner]):
        label = chart.label(x)[:width]
        middle = round(_share(x, scale.left, scale.right) * (width - 1))
        start = min(max(middle - len(label) // 2, 0), width - len(label))
        around = text[max(start - 1, 0) : start + len(label) + 1]
        if all(one == " " for one in around):
            text[start : start + len(label)] = label
    return "".join(text).rstrip()
