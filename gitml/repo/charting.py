"""Charts of metrics: over the versions of a model, the runs of a pipeline, or the steps of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gitml.charts.chart import Chart, Line, Point
from gitml.charts.shown import ShownChart
from gitml.entities.records import SERIES, Output
from gitml.errors import NameNotFound, UsageError, some
from gitml.frozen import Frozen, field
from gitml.handles import RunHandle, StepHandle, VersionHandle
from gitml.repo.records import Records, with_article


class Curves(Frozen):
    """What one name has to draw: points by metric, over places that may have names.

    ``notes`` say what is not seen in the points of a metric.
    """

    name: str
    over: str
    points: Mapping[str, tuple[Point, ...]]
    ticks: Mapping[float, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def chart_of(
    repo: Records, names: Sequence[str], metrics: Sequence[str], limit: int | None
) -> Chart:
    """Metrics of what these names mean, as lines of one chart: what `Repo.chart` gives."""
    found = [_curves(repo, one, limit) for one in dict.fromkeys(names)]
    if len({one.over for one in found}) > 1:
        kinds = " and ".join(f"{one.name} over {one.over}" for one in found)
        raise UsageError(f"these have no axis in common: {kinds}")
    wanted = list(dict.fromkeys(metrics)) or [_only_metric(found)]
    lines, notes = [], []
    for curves in found:
        for metric in wanted:
            points = _points_of(curves, metric)
            name = _line_name(curves.name, metric, len(found), len(wanted))
            lines.append(Line(name, points))
            notes += _notes_on(curves, metric, name)
    ticks = found[0].ticks if len(found) == 1 or found[0].over == "version" else {}
    for curves in found[1:] if ticks else ():
        ticks = {**curves.ticks, **ticks}
    label = wanted[0] if len(wanted) == 1 else "value"
    return ShownChart(tuple(lines), found[0].over, label, ticks, tuple(notes))


def _curves(repo: Records, text: str, limit: int | None) -> Curves:
    found = repo.resolve(text)
    if found.kind == "model":
        return _over_versions(found.name, repo.versions(found.name)[-(limit or 0) :])
    if found.kind == "pipeline":
        runs = repo.runs(pipeline=found.name, limit=limit)[::-1]
        return _over_runs(found.name, runs, [repo.short(one.id) for one in runs])
    if found.output is not None and found.output.materializer.startswith("curve/"):
        curve = repo.artifact(text).load()
        return Curves(found.label, curve.x_label, {curve.y_label: curve.points})
    if found.output is not None or found.commit is None:
        raise _nothing_to_draw(text, "artifact")
    if found.kind == "step":
        return _over_steps(f"step {found.label}", [repo.step_of(found.commit)])
    if found.kind == "version":
        run = repo.version_of(found.commit).run
        if run is None:
            raise NameNotFound(f"the run that made {text} is not here", hint="`gitml fetch`")
        return _over_steps(found.label, list(run.steps.values()), run)
    if found.kind == "run":
        run = repo.run_of(found.commit)
        return _over_steps(repo.short(run.id), list(run.steps.values()), run)
    raise _nothing_to_draw(text, found.kind)


def _over_versions(name: str, versions: Sequence[VersionHandle]) -> Curves:
    points: dict[str, list[Point]] = {}
    ticks: dict[float, str] = {}
    place = 0.0
    for version in versions:
        place = float(version.number or place + 1)
        ticks[place] = version.label.rpartition("@")[2]
        for metric, value in version.metrics.items():
            points.setdefault(metric, []).append((place, float(value)))
    notes = {}
    for metric, known in points.items():
        has = {x for x, _ in known}
        missing = [label for x, label in ticks.items() if x not in has]
        if missing:
            notes[metric] = f"none in {some(missing, 6)}"
    return Curves(name, "version", _frozen(points), ticks, notes)


def _over_runs(name: str, runs: Sequence[RunHandle], labels: Sequence[str]) -> Curves:
    points: dict[str, list[Point]] = {}
    ticks = {float(place): label for place, label in enumerate(labels, 1)}
    for place, run in enumerate(runs, 1):
        for metric, value in run.metrics.items():
            points.setdefault(metric, []).append((float(place), float(value)))
    return Curves(name, "run", _frozen(points), ticks)


def _over_steps(name: str, steps: Sequence[StepHandle], run: RunHandle | None = None) -> Curves:
    """The series of the steps of a run; a metric that two of them have is ``<step>.<metric>``."""
    held = {step.name: step.series for step in steps}
    owners: dict[str, list[str]] = {}
    for step, series in held.items():
        for metric in series:
            owners.setdefault(metric, []).append(step)
    counts = {step.name: _logged(step) for step in steps}
    points, notes = {}, {}
    for metric, named in owners.items():
        for step in named:
            full = metric if len(named) == 1 else f"{step}.{metric}"
            one = held[step][metric]
            points[full] = tuple(zip(map(float, one.steps), one.values, strict=True))
            twice = counts[step].get(metric, 0) - len(one.steps)
            if twice > 0:
                notes[full] = f"{twice} of its steps came again: the last value counts"
    if not points:
        metrics = sorted(run.metrics) if run is not None else []
        pipeline = run.pipeline if run is not None else "NAME"
        raise UsageError(
            f"{name} has no series of a metric",
            hint=f"`gitml plot {pipeline} --metric {metrics[0]}` shows one over its runs"
            if metrics
            else "`log_metrics({'loss': …}, step=epoch)` in a step keeps one",
        )
    return Curves(name, "step", points, {}, notes)


def _logged(step: StepHandle) -> Mapping[str, int]:
    """How many points of each metric a step has logged."""
    outputs = step.found.record.outputs if step.found is not None else ()
    kept: Output | None = next((one for one in outputs if one.name == SERIES), step.entry.series)
    counts = kept.metadata.get("points", {}) if kept is not None else {}
    return counts if isinstance(counts, dict) else {}


def _points_of(curves: Curves, metric: str) -> tuple[Point, ...]:
    if metric not in curves.points:
        raise NameNotFound.among(f"metric of {curves.name}", metric, curves.points)
    return curves.points[metric]


def _only_metric(found: Sequence[Curves]) -> str:
    known = sorted({metric for curves in found for metric in curves.points})
    if not known:
        raise NameNotFound(
            f"{found[0].name} has no metrics", hint="`log_metrics({'accuracy': …})` in a step"
        )
    if len(known) > 1:
        ways = " or ".join(f"`--metric {one}`" for one in known[:6])
        raise UsageError(f"there are {len(known)} metrics: say which", hint=ways)
    return known[0]


def _notes_on(curves: Curves, metric: str, name: str) -> list[str]:
    points = curves.points[metric]
    odd = [
        f"{value!r} at {curves.ticks.get(x) or f'{x:g}'}"
        for x, value in points
        if not math.isfinite(value)
    ]
    notes = [f"{name}: {some(odd, 6)}"] if odd else []
    if metric in curves.notes:
        notes.append(f"{name}: {curves.notes[metric]}")
    return notes


def _line_name(name: str, metric: str, names: int, metrics: int) -> str:
    if names == 1:
        return metric
    return name if metrics == 1 else f"{name} {metric}"


def _frozen(points: Mapping[str, Sequence[Point]]) -> dict[str, tuple[Point, ...]]:
    return {metric: tuple(one) for metric, one in points.items()}


def _nothing_to_draw(text: str, kind: str) -> UsageError:
    return UsageError(
        f"{text} is {with_article(kind)}, which has no metrics to draw",
        hint="models, pipelines, runs, versions and steps have: `gitml plot clf --metric accuracy`",
    )
