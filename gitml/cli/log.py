"""``gitml log``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from gitml.cli import render
from gitml.cli.describe import run_glyph, step_counts, version_mark
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.handles import RunHandle
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
@click.option("--graph", "as_graph", is_flag=True, help="Draw what was made of what.")
@json_option
@with_repo
def log(
    repo: Repo,
    limit: int,
    pipeline: str | None,
    model: str | None,
    failed: bool,
    as_graph: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first.

    With `--graph` also the model versions that they made and the data that they were given, each
    above what it was made of. Plain git knows it too: `git log --graph clf@v3 --not main`.

    \b
    gitml log -n 5 --pipeline training
    gitml log --graph
    """
    if pipeline is not None:
        repo.resolve(f"pipeline/{pipeline}")
    if model is not None:
        repo.resolve(f"model/{model}")
    state = "failed" if failed else None
    runs = repo.runs(limit=limit + 1, pipeline=pipeline, state=state, model=model)
    shown, more = runs[:limit], len(runs) > limit
    if as_json:
        from gitml.cli import documents

        render.answer_json("log", {"runs": [documents.run_summary(one) for one in shown]})
        return
    if not shown:
        render.tell("No run failed" if failed else "No runs yet")
        return
    render.answer(*(_graph(repo, shown) if as_graph else _table(repo, shown)))
    if more:
        render.tell(f"Older runs are left out: `gitml log -n {limit * 10}`")


def _graph(repo: Repo, runs: list[RunHandle]) -> list[str]:
    from gitml.cli import graph

    return graph.drawn(repo, runs)


def _table(repo: Repo, runs: list[RunHandle]) -> list[str]:
    rows = [
        [
            f"{run_glyph(run)} {paint('run', repo.short(run.id))}",
            run.pipeline,
            version_words(run),
            step_counts(run),
            render.metrics(run.metrics, _METRICS),
            run.entry.author,
            render.ago(run.entry.at),
        ]
        for run in runs
    ]
    header = ["  run", "pipeline", "made", "steps", "metrics", "by", "when"]
    return render.table(rows, header)


def version_words(run: RunHandle) -> str:
    """The version that a run made, or in brackets the one that it resolved to."""
    version = run.model_version
    if version is None:
        return "" if run.status == "completed" else paint("failed", run.status)
    return version_mark(version) if run.made_version else paint("dim", f"({version.label} again)")
