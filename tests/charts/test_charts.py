"""Charts as text, as pictures and as Vega-Lite: gaps stay gaps, and no number breaks a canvas."""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

import pytest

from gitml.charts.chart import Chart, Line
from gitml.charts.picture import picture
from gitml.charts.shown import ShownChart
from gitml.charts.terminal import HEIGHT, drawn
from gitml.charts.vega import document
from gitml.errors import GitmlError

NAN, INF = math.nan, math.inf


def line(*values: float, name: str = "loss") -> Line:
    return Line(name, tuple((float(x), y) for x, y in enumerate(values)))


def text_of(chart: Chart, width: int = 40, **options: Any) -> list[str]:
    return ["".join(part for part, _ in row) for row in drawn(chart, width, **options)]


def test_a_line_rises_from_one_corner_to_the_other() -> None:
    rows = text_of(Chart((line(0.0, 0.5, 1.0),), "step", "loss"))
    assert rows[0] == "loss"
    canvas = rows[1 : 1 + HEIGHT]
    assert canvas[0].startswith("  1 ┤")
    assert canvas[HEIGHT // 2].startswith("0.5 ┤")
    assert canvas[-1].startswith("  0 ┤⡠")
    assert canvas[0].endswith("⠊")
    ends = [len(row) for row in canvas]
    assert ends == sorted(ends, reverse=True), "higher rows reach further right"
    assert rows[-2].split() == ["0", "1", "2"]
    assert rows[-1] == "step".rjust(40)
    assert max(map(len, rows)) == 40


def test_signs_and_parts_tell_lines_apart() -> None:
    chart = Chart((line(1, 2, name="a"), line(2, 1, name="b")), "step", "value")
    rows = drawn(chart, 40, signs=True)
    assert {part.strip("*") for row in rows for part, of in row if of == 0 and "a" not in part} == {
        ""
    }
    assert text_of(chart, signs=True)[-2:] == ["  * a", "  + b"]
    assert {of for row in drawn(chart, 40) for _, of in row} == {None, 0, 1}


def test_what_is_no_number_is_a_gap() -> None:
    gappy = line(1.0, NAN, 2.0, 2.5, INF, -INF, 3.0)
    assert [len(piece) for piece in gappy.pieces] == [1, 2, 1]
    rows = text_of(Chart((gappy,), "step", "loss"))
    assert sum(row.count("⣿") for row in rows) == 2, "points that stand alone are seen"
    assert rows[1].startswith("3 ┤")
    values = document(Chart((gappy,), "step", "loss"))["data"]["values"]
    assert [one["y"] for one in values] == [1.0, None, 2.0, 2.5, None, None, 3.0]


@pytest.mark.parametrize(
    "values",
    [(5.0,), (5.0, 5.0), (-1.7e308, 1.7e308), (5e-324, 0.0), (1e300, -1e-300, NAN), (2.0**63, 0.0)],
)
@pytest.mark.parametrize("width", [0, 7, 33, 200])
def test_any_numbers_and_any_width_make_a_canvas(values: tuple[float, ...], width: int) -> None:
    chart = Chart((line(*values),), "step", "loss")
    rows = text_of(chart, width)
    assert len(rows) == HEIGHT + 4
    assert any(row.strip("│┤ -.e+0123456789") for row in rows[1 : HEIGHT + 1]), "something is drawn"
    json.dumps(document(chart), allow_nan=False)


def test_names_of_places_do_not_overlap() -> None:
    ticks = {float(n): f"v{n}" for n in range(200)}
    chart = Chart((line(*map(float, range(200))),), "version", "accuracy", ticks)
    places = text_of(chart, 60)[-1].split()
    assert places[0] == "v0"
    assert places[-1] == "v199"
    assert len(places) > 5
    assert set(places) <= set(ticks.values())
    assert document(chart)["encoding"]["x"]["sort"][:3] == ["v0", "v1", "v2"]


def test_a_notebook_gets_vega_and_text() -> None:
    shown = ShownChart((line(1.0, 2.0),), "step", "loss")._repr_mimebundle_()
    assert shown["application/vnd.vegalite.v5+json"]["mark"]["type"] == "line"
    assert shown["text/plain"].startswith("loss\n")


def test_pictures_are_the_same_each_time_and_without_a_display(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    ticks = {float(n): f"v{n}" for n in range(3)}
    lines = (line(1.0, NAN, 2.0, name="$a_b$"), line(3.0, 1.0, INF, name="b"))
    chart = Chart(lines, "version", "loss", ticks)
    svg = picture(chart, "svg")
    assert b"<svg" in svg
    assert svg == picture(chart, "svg")
    assert picture(chart, "png").startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(GitmlError) as caught:
        picture(Chart((line(1.0),), "step", "loss"), "svg")
    assert "pip install 'gitml[matplotlib]'" in (caught.value.hint or "")
    assert "Vega-Lite" in (caught.value.hint or "")
