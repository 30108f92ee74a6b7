"""``gitml pipeline``: list, show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import documents, render
from gitml.cli.describe import run_glyph, step_counts, version_marks
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import NameNotFound

if TYPE_CHECKING:
    from gitml.repo import Repo
    from gitml.repo.pipelines import PipelineEntry

_RUNS = 5


@click.group(cls=Noun)
def pipeline() -> None:
    """List and describe pipelines.

    They are looked for below `[pipelines] paths` of gitml.toml, by reading: no code of yours runs.

    \b
    gitml pipeline list
    gitml pipeline show training
    """


@pipeline.command("list")
@json_option
@with_repo
def list_pipelines(repo: Repo, as_json: bool) -> None:
    """List the pipelines that are defined here, and those that only have runs.

    \b
    gitml pipeline list
    gitml pipeline list --json
    """
    entries = repo.pipelines()
    if as_json:
        listed = [_document(repo, one) for one in entries]
        render.answer_json("pipeline.list", {"pipelines": listed})
        return
    rows = []
    for one in entries:
        last = ""
        if one.last is not None:
            last = f"{run_glyph(one.last)} {render.ago(one.last.entry.at)}"
        summary = one.definition.summary if one.definition else ""
        rows.append([paint("run", one.name), _file(repo, one), str(one.runs), last, summary])
    render.answer_rows(
        rows,
        ["pipeline", "file", "runs", "last", "about"],
        right={2},
        nothing="No pipelines: a function with `@pipeline` in a file below pipelines/ is one",
    )


@pipeline.command("show")
@click.argument("name")
@json_option
@with_repo
def show_pipeline(repo: Repo, name: str, as_json: bool) -> None:
    """Describe one pipeline: where it is defined, what it is about, its newest runs.

    \b
    gitml pipeline show training
    gitml run training
    """
    entries = {one.name: one for one in repo.pipelines()}
    if name not in entries:
        raise NameNotFound.among("pipeline", name, entries)
    if as_json:
        render.answer_json("pipeline.show", _document(repo, entries[name]))
        return
    render.answer(*_lines(repo, entries[name]))


def _lines(repo: Repo, entry: PipelineEntry) -> Iterator[str]:
    yield f"pipeline {paint('run', entry.name)}"
    yield from render.pairs(
        [
            ("about", entry.definition.summary if entry.definition else ""),
            ("file", _file(repo, entry) or "not defined here any more"),
            ("runs", str(entry.runs)),
        ]
    )
    rows = [
        [
            f"{run_glyph(run)} {paint('run', repo.short(run.id))}",
            version_marks(run),
            step_counts(run),
            render.settings(run.parameters),
            render.ago(run.entry.at),
        ]
        for run in repo.runs(pipeline=entry.name, limit=_RUNS)
    ]
    if rows:
        yield ""
        yield from render.table(rows, ["  run", "version", "steps", "parameters", "when"])


def _file(repo: Repo, entry: PipelineEntry) -> str:
    if entry.definition is None:
        return ""
    return entry.definition.path.relative_to(repo.root).as_posix()


def _document(repo: Repo, entry: PipelineEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "file": _file(repo, entry) or None,
        "about": entry.definition.summary if entry.definition else None,
        "runs": entry.runs,
        "last": documents.run_summary(entry.last) if entry.last else None,
    }
