"""A chart as Vega-Lite: a document that notebooks and web pages draw, with the points in it."""

from __future__ import annotations

import math
from typing import Any

from gitml.charts.chart import Chart

MEDIA_TYPE = "application/vnd.vegalite.v5+json"


def document(chart: Chart) -> dict[str, Any]:
    """The specification with its data; a value that is no finite number is null, a gap."""
    values = [
        {"x": chart.ticks.get(x, x), "y": y if math.isfinite(y) else None, "line": line.name}
        for line in chart.lines
        for x, y in line.points
    ]
    across: dict[str, Any] = {"field": "x", "title": chart.x, "type": "quantitative"}
    if chart.ticks:  # in the order of the places, not of their names
        across |= {"type": "ordinal", "sort": [chart.ticks[x] for x in sorted(chart.ticks)]}
    encoding: dict[str, Any] = {
        "x": across,
        "y": {"field": "y", "title": chart.y, "type": "quantitative", "scale": {"zero": False}},
    }
    if len(chart.lines) > 1:
        names = [line.name for line in chart.lines]
        encoding["color"] = {"field": "line", "title": None, "type": "nominal", "sort": names}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": chart.title,
        "width": 600,
        "height": 300,
        "data": {"values": values},
        "mark": {"type": "line", "point": len(values) <= 200, "tooltip": True},
        "encoding": encoding,
    }
