"""A chart as a picture that matplotlib draws: without a display, and the same bytes each time."""

from __future__ import annotations

import importlib
import io
from typing import Any

from gitml.charts.chart import Chart
from gitml.errors import GitmlError

_MANY = 60
"""Points of a line beyond which they are not marked."""
_TICKS = 12


def picture(chart: Chart, kind: str) -> bytes:
    """The chart as "png" or "svg"; raises GitmlError where there is no matplotlib."""
    matplotlib = _library("matplotlib")
    figure = _library("matplotlib.figure").Figure(figsize=(8, 4.5), layout="tight")
    axes = figure.add_subplot()
    for line in chart.lines:
        across, up = [x for x, _ in line.points], [y for _, y in line.points]
        axes.plot(across, up, label=line.name, marker="o" if len(across) <= _MANY else "")
    axes.set(xlabel=chart.x, ylabel=chart.y)
    axes.grid(alpha=0.3)
    _name_places(chart, axes)
    if len(chart.lines) > 1:
        axes.legend()
    canvas = _library(f"matplotlib.backends.backend_{'agg' if kind == 'png' else kind}")
    sink = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gitml", "text.parse_math": False}):
        if kind == "png":
            canvas.FigureCanvasAgg(figure).print_png(sink, metadata={"Software": None})
        else:
            canvas.FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def _name_places(chart: Chart, axes: Any) -> None:
    places = sorted(chart.ticks)
    if not places:
        return
    step = -(-len(places) // _TICKS)
    shown = places[::step]
    axes.set_xticks(shown, [chart.ticks[x] for x in shown])


def _library(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise GitmlError(
            "drawing a PNG or SVG needs matplotlib, which cannot be imported here",
            hint="`pip install 'gitml[matplotlib]'`, or `--out FILE.json` for Vega-Lite",
        ) from error
