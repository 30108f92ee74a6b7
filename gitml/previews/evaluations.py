"""Confusion matrices as tables, curves as small drawings of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitml.charts.chart import Chart, Line
from gitml.charts.terminal import drawn
from gitml.materializers.evaluation import curve_of, matrix_of
from gitml.previews.preview import COLUMNS, ROWS, Preview, cell, harmless, headed, rows_note

_WIDTH = 72


def matrix(data: bytes, facts: Mapping[str, Any]) -> Preview:
    """The first rows and columns of a confusion matrix; raises CorruptData."""
    found = matrix_of(data)
    columns, notes = headed([("true \\ predicted", ""), *((one, "") for one in found.labels)])
    rows = [[cell(one) for one in row[:COLUMNS]] for row in list(found.rows())[:ROWS]]
    return Preview(
        "table", facts, columns, rows, notes=[*notes, *rows_note(len(rows), len(found.labels))]
    )


def curve(data: bytes, facts: Mapping[str, Any]) -> Preview:
    """A curve drawn; raises CorruptData."""
    found = curve_of(data)
    chart = Chart((Line(found.kind, found.points),), found.x_label, found.y_label)
    lines = ["".join(part for part, _ in row) for row in drawn(chart, _WIDTH)]
    return Preview("curve", facts, text="\n".join(harmless(one[:200]) for one in lines))
