"""Figures: matplotlib's as the picture that they are, in SVG, and plotly's as their JSON.

A matplotlib figure is drawn when it is stored, without a display and whatever back end is set, and
comes back as `SVGString`: the picture, not the program that drew it. Text is drawn as outlines, so
that it looks the same everywhere, and nothing of the clock or of chance gets in. Another version of
matplotlib may draw other bytes. Plotly's figures come back as they are.
"""

from __future__ import annotations

import io
import json
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, type_name
from gitml.materializers.text import SVGString


class FigureMaterializer(Materializer):
    """``matplotlib.figure.Figure``, and pictures that are SVG already."""

    name = "figure"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The picture; raises UnsupportedValue for a figure that cannot be drawn."""
        if type(value) is SVGString:
            return value.encode()
        return draw(value).encode()

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The picture as `SVGString`; raises CorruptData."""
        try:
            text = content.read().decode()
        except UnicodeDecodeError as error:
            raise CorruptData("not a picture in SVG: its bytes are no text") from error
        if "<svg" not in text:
            raise CorruptData("not a picture in SVG")
        return SVGString(text)

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Of a figure its size in inches and the titles of its axes."""
        if type(value) is SVGString:
            return {}
        titles: list[JSON] = [axes.get_title() for axes in value.axes[:20]]
        return {"inches": [float(one) for one in value.get_size_inches()], "titles": titles}


def draw(figure: Any) -> SVGString:
    """A matplotlib figure as SVG; raises UnsupportedValue with what matplotlib says."""
    matplotlib = library("matplotlib", "matplotlib")
    canvas = library("matplotlib.backends.backend_svg", "matplotlib").FigureCanvasSVG
    before, sink = figure.canvas, io.StringIO()
    try:
        with matplotlib.rc_context({"svg.hashsalt": "gitml", "svg.fonttype": "path"}):
            canvas(figure).print_svg(sink, metadata={"Date": None, "Creator": None})
    except Exception as error:
        raise UnsupportedValue(
            "matplotlib cannot draw this figure", hint="`figure.savefig('x.svg')` shows why"
        ) from error
    finally:
        figure.set_canvas(before)
    return SVGString(sink.getvalue())


class PlotlyMaterializer(Materializer):
    """``plotly.graph_objects.Figure`` as plotly's own JSON, keys sorted."""

    name = "plotly"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The JSON; raises UnsupportedValue for what would not come back."""
        io_ = library("plotly.io", "plotly")
        figure = library("plotly.graph_objects", "plotly").Figure
        if type(value) is not figure:
            raise UnsupportedValue(f"value is a {type_name(value)}, which is more than a figure")
        try:
            document = json.loads(io_.to_json(value, validate=False, engine="json"))
        except (TypeError, ValueError) as error:
            raise UnsupportedValue("value holds something that plotly's JSON lacks") from error
        raw = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        _figure(raw)
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The figure; raises CorruptData."""
        return _figure(content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The title, and the kinds of its traces."""
        kinds: list[JSON] = [one.type for one in value.data[:50]]
        title = value.layout.title.text
        return {"title": str(title) if title is not None else None, "traces": kinds}


def _figure(raw: bytes) -> Any:
    figure = library("plotly.graph_objects", "plotly").Figure
    try:
        document = json.loads(raw)
        if not isinstance(document, dict) or not {"data", "layout"} <= set(document):
            raise ValueError("neither data nor layout")
        return figure(document)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise CorruptData("not a figure of plotly") from error
