"""``gitml plot``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import UsageError

if TYPE_CHECKING:
    from gitml.charts.chart import Chart
    from gitml.charts.terminal import Part
    from gitml.repo import Repo

_PALETTE = ("run", "artifact", "good", "change", "version", "failed")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option(
    "-m", "--metric", "metrics", multiple=True, metavar="NAME", help="Draw this metric; repeatable."
)
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@click.option(
    "-o", "--out", metavar="FILE", help="Write a picture (.png, .svg) or Vega-Lite (.json) instead."
)
@json_option
@with_repo
def plot(
    repo: Repo,
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    limit: int | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Draw metrics as lines.

    Of a model over its versions, of a pipeline over its runs; of a run, a version or a step over
    what `log_metrics(…, step=…)` counted; of a `Curve` that a step returned, itself. Several names
    and metrics are drawn into one chart. Values that are no finite numbers are gaps, and named
    below.

    \b
    gitml plot clf --metric accuracy
    gitml plot clf@v2:roc clf@v3:roc --out roc.svg
    """
    target = _target(out) if out is not None else None
    chart = repo.chart(names, metrics, limit=limit)
    if as_json:
        render.answer_json("plot", chart.document())
        return
    if target is not None:
        size = _write(chart, target)
        render.answer(f"Wrote {render.size(size)} to {render.path(target)}")
    elif not chart.finite():
        render.tell("Nothing to draw: no value is a finite number")
    else:
        render.answer(*_lines(chart))
    for note in chart.notes:
        render.tell(note)


def _lines(chart: Chart) -> list[str]:
    from gitml.charts.terminal import drawn

    look = render.look()
    signs = not look.unicode or (len(chart.lines) > 1 and not look.coloured)
    rows = drawn(chart, look.columns, signs=signs)
    return [_painted(row, alone=len(chart.lines) == 1) for row in rows]


def _painted(row: list[Part], *, alone: bool) -> str:
    text = ""
    for part, line in row:
        if line is None:
            text += paint("dim", part) if part.strip() else part
        else:
            text += paint(_PALETTE[0 if alone else line % len(_PALETTE)], part)
    return text.rstrip()


def _target(out: str) -> Path:
    """The file to write, whose ending says what; raises UsageError."""
    path = Path(out)
    if path.suffix.lower() not in (".png", ".svg", ".json"):
        raise UsageError(
            f"{out} does not say what to draw", hint="a file ending in .png, .svg or .json"
        )
    if path.is_dir():
        raise UsageError(f"{out} is a folder", hint=f"`--out {path}/chart{path.suffix}`")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"{out} is in a folder that is not there", hint=f"`mkdir -p {path.parent}`"
        )
    return path


def _write(chart: Chart, target: Path) -> int:
    from gitml.charts import picture, vega
    from gitml.fs import write_durably

    kind = target.suffix.lower().removeprefix(".")
    if kind == "json":
        data = (json.dumps(vega.document(chart), indent=2, ensure_ascii=False) + "\n").encode()
    else:
        data = picture.picture(chart, kind)
    write_durably(target, data)
    return len(data)
