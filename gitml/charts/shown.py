"""A chart that a notebook draws."""

from __future__ import annotations

from typing import Any

from gitml.charts.chart import Chart
from gitml.charts.terminal import drawn
from gitml.charts.vega import MEDIA_TYPE, document


class ShownChart(Chart):
    """A chart that draws itself where it stands last in a cell of a notebook."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The chart as Vega-Lite, and as text for who has no browser."""
        text = "\n".join("".join(part for part, _ in row) for row in drawn(self, 80))
        return {"text/plain": text, MEDIA_TYPE: document(self)}
