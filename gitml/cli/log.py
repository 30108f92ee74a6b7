"""``gitml log``."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.describe import describe_going, run_glyph, step_counts, version_mark
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import NameNotFound

if TYPE_CHECKING:
    from gitml.handles import RunHandle
    from gitml.history.live import Going
    from gitml.repo import Repo

_SHOWN = 20
_COUNT = re.compile(r"^-(\d+)$", re.ASCII)
_METRICS = 3
"""Metrics in a row: `gitml show` has the rest."""


class Count(click.IntRange):
    """A whole number, called so in complaints."""

    name = "number"


class Log(click.Command):
    """A command that takes ``-20`` for ``-n 20``, as git does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, each ``-NUMBER`` as the number of runs."""
        return super().parse_args(ctx, [_COUNT.sub(r"-n\1", one) for one in args])


@click.command(cls=Log)
@click.argument("name", metavar="[PATH|ARTIFACT|COMMIT]", required=False)
@click.option(
    "-n",
    "--limit",
    metavar="N",
    type=Count(min=1),
    default=_SHOWN,
    show_default=True,
    help="Show this many runs; also `-N`, as with git.",
)
@click.option("--pipeline", metavar="NAME", help="Show runs of this pipeline only.")
@click.option("--model", metavar="NAME", help="Show runs that make versions of this model only.")
@click.option("--failed", is_flag=True, help="Show only runs that did not complete.")
@click.option("--metric", metavar="NAME", help="Show one metric: its values, what changed, bars.")
@click.option("--tag", metavar="TAG", help="Show only runs that carry this tag.")
@click.option("--since", metavar="DATE", help="Show runs since then, a date as git takes it.")
@click.option("--graph", "as_graph", is_flag=True, help="Draw what was made of what.")
@json_option
@with_repo
def log(
    repo: Repo,
    name: str | None,
    limit: int,
    pipeline: str | None,
    model: str | None,
    failed: bool,
    metric: str | None,
    tag: str | None,
    since: str | None,
    as_graph: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first.

    With a NAME those that have to do with it: that were given a file or have it in their code, that
    made or used an artifact or a version, that ran a code commit. With `--graph` also the versions
    that they made and the data that they were given, each above what it was made of. On top
    stand the runs that go on now in processes of this machine; with NAME, `--metric` or `--failed`
    they do not, as they have made nothing yet. On a terminal git's pager shows it. Plain git knows
    it too: `git log --graph clf@v3 --not main`.

    \b
    gitml log --metric accuracy --since '2 weeks ago'
    gitml log --graph data/raw.csv
    """
    at_work = []
    if not (failed or metric or name):
        at_work = repo.going(pipeline=pipeline, model=model, tag=tag)
    if pipeline is not None and not at_work:
        repo.resolve(f"pipeline/{pipeline}")
    if model is not None and not at_work:
        repo.resolve(f"model/{model}")
    runs = _recorded(
        repo,
        at_work,
        limit=limit + 1,
        pipeline=pipeline,
        state="failed" if failed else None,
        model=model,
        metric=metric,
        tag=tag,
        since=repo.moment_of(since) if since is not None else None,
        about=name,
    )
    shown, more = runs[:limit], len(runs) > limit
    if as_json:
        from gitml.cli import documents

        going = [documents.going_document(one) for one in at_work]
        summaries = [documents.run_summary(one) for one in shown]
        render.answer_json("log", {"going": going, "runs": summaries})
        return
    running = [f"Running   {describe_going(one)}" for one in at_work]
    if not shown:
        render.answer(*running)
    if not shown and not running:
        is_narrow = name or since or metric or pipeline or model
        render.tell("No run failed" if failed else "No such run" if is_narrow else "No runs yet")
    if not shown:
        return
    if running:
        running.append("")
    _answer(repo, running + (_graph(repo, shown) if as_graph else _table(repo, shown, metric)))
    if more:
        render.tell(f"Older runs are left out: `gitml log -n {limit * 10}`")


def _recorded(repo: Repo, at_work: list[Going], **narrowed: Any) -> list[RunHandle]:
    """The runs that are recorded; what only a run at work has, such as a tag, is no mistake."""
    try:
        return repo.runs(**narrowed)
    except NameNotFound:
        if at_work:
            return []
        raise


def _answer(repo: Repo, lines: list[str]) -> None:
    """Print the lines; on a terminal through the pager that git would use."""
    started = []

    def start() -> IO[bytes] | None:
        from gitml.git.process import start_pager

        command = repo.pager()
        if command is None:
            return None
        started.append(start_pager(command))
        return started[0].stdin

    render.answer_paged(start, *lines)
    for one in started:
        one.wait()


def _graph(repo: Repo, runs: list[RunHandle]) -> list[str]:
    from gitml.cli import graph

    return graph.drawn(repo, runs)


def _table(repo: Repo, runs: list[RunHandle], metric: str | None) -> list[str]:
    shown = _metric_cells(runs, metric) if metric is not None else None
    rows = [
        [
            f"{run_glyph(run)} {paint('run', repo.short(run.id))}",
            run.pipeline,
            run.name or "",
            version_words(run),
            step_counts(run),
            *(shown[place] if shown else [render.metrics(run.metrics, _METRICS)]),
            run.entry.author,
            render.ago(run.entry.at),
        ]
        for place, run in enumerate(runs)
    ]
    named = [metric, ""] if metric is not None else ["metrics"]
    header = ["  run", "pipeline", "name", "made", "steps", *named, "by", "when"]
    if metric is not None:
        lines = render.table(rows, header, right={5, 6}, shorten=(7, 4, 2, 8, 1))
    else:
        lines = render.table(rows, header, shorten=(6, 5, 4, 2, 7, 1))
    if metric is not None and len(runs) > 1:
        bars = render.sparkline([run.metrics.get(metric) for run in reversed(runs)])
        lines += ["", f"{metric}  {bars}  {paint('dim', 'oldest to newest')}"]
    return lines


def _metric_cells(runs: list[RunHandle], metric: str) -> list[list[str]]:
    """A metric's value in each run, and its difference to the run of that pipeline before."""
    before: dict[str, float] = {}
    cells = []
    for run in reversed(runs):
        value = run.metrics[metric]
        last = before.get(run.pipeline)
        delta = None if last is None else value - last
        sign = "+" if delta is not None and delta >= 0 else ""
        cells.append([render.number(value), "" if delta is None else sign + render.number(delta)])
        before[run.pipeline] = value
    return cells[::-1]


def version_words(run: RunHandle) -> str:
    """The versions that a run made, or in brackets those that it resolved to."""
    versions, made = list(run.model_versions.values()), run.made_versions
    if not versions:
        return "" if run.status == "completed" else paint("failed", run.status)
    if made:
        return ", ".join(map(version_mark, made))
    return paint("dim", f"({', '.join(one.label for one in versions)} again)")
