"""``gitml show``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import describe, documents, render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.entities.ids import ObjectId
    from gitml.history.revs import Found
    from gitml.repo import Repo


@click.command()
@click.argument("name")
@json_option
@with_repo
def show(repo: Repo, name: str, as_json: bool) -> None:
    """Describe whatever a name means.

    A model, a version, an artifact, a pipeline (its newest run), a run, a step, data from outside,
    or any git revision. Where one name is two things, write `artifact/NAME` or `pipeline/NAME`.

    \b
    gitml show clf@production
    gitml show 7f3a9c1
    """
    found = repo.resolve(name)
    if as_json:
        kind, document = _document(repo, name, found)
        render.answer_json("show", {"kind": kind, **document})
        return
    render.answer(*_lines(repo, name, found))


def _lines(repo: Repo, name: str, found: Found) -> Iterator[str]:
    commit = found.commit
    if found.kind == "model":
        yield from describe.describe_model(repo, repo.model(found.name))
    elif found.output is not None:
        yield from describe.describe_artifact(repo, found.label, repo.artifact(name))
    elif commit is None:
        yield found.label
    elif found.kind == "version":
        yield from describe.describe_version(repo, repo.version_of(commit))
    elif found.kind in ("run", "pipeline"):
        yield from describe.describe_run(repo, repo.run_of(commit))
    elif found.kind == "step":
        yield from describe.describe_step(repo, repo.step_of(commit))
    elif found.kind == "source":
        yield from _source(repo, commit)
    else:
        yield from _code(repo, commit)


def _source(repo: Repo, commit: ObjectId) -> Iterator[str]:
    record = repo.source_of(commit)
    yield f"{paint('artifact', render.ARTIFACT)} data {paint('artifact', repo.short(commit))}"
    yield from render.pairs(
        [
            ("digest", str(record.digest)),
            ("size", render.size(record.size)),
            ("kind", record.kind),
        ]
    )


def _code(repo: Repo, oid: ObjectId) -> Iterator[str]:
    """A commit that is no record: the code that runs were made with."""
    commit = repo.commit_of(oid)
    name = commit.author.partition(" <")[0]
    yield f"{paint('code', render.CODE)} code {paint('code', repo.short(oid))} {commit.subject}"
    yield from render.pairs([("by", name), ("when", render.ago(commit.time))])
    runs = [run for run in repo.runs() if run.entry.record.code.commit == oid]
    if not runs:
        yield paint("dim", "no run used it")
        return
    yield ""
    yield from render.table(
        [
            [
                f"{describe.run_glyph(run)} {paint('run', repo.short(run.id))}",
                run.pipeline,
                describe.version_mark(run.model_version) if run.model_version else "",
                render.ago(run.entry.at),
            ]
            for run in runs[:10]
        ],
        ["  run", "pipeline", "version", "when"],
    )


def _document(repo: Repo, name: str, found: Found) -> tuple[str, dict[str, Any]]:
    """What a name means as JSON, with the kind that it was shown as."""
    commit = found.commit
    if found.kind == "model":
        return "model", documents.model_document(repo.model(found.name))
    if found.output is not None:
        return "artifact", {"label": found.label, **documents.stored_document(repo.artifact(name))}
    if commit is None:
        return found.kind, {"label": found.label}
    if found.kind == "version":
        version = repo.version_of(commit)
        return "version", documents.version_document(version, repo.consumers(version))
    if found.kind in ("run", "pipeline"):
        return "run", documents.run_document(repo.run_of(commit))
    if found.kind == "step":
        return "step", documents.step_document(repo.step_of(commit))
    if found.kind == "source":
        record = repo.source_of(commit)
        fields = {"digest": str(record.digest), "kind": record.kind, "size": record.size}
        return "source", {"commit": str(commit), "bytes": fields}
    code = repo.commit_of(commit)
    return "code", {
        "commit": str(commit),
        "subject": code.subject,
        "at": documents.moment(code.time),
    }
