"""``gitml show``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import describe, documents, render
from gitml.cli.follow import follow_log
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import NameNotFound, UsageError

if TYPE_CHECKING:
    from gitml.entities.ids import ObjectId
    from gitml.history.revs import Found
    from gitml.repo import Repo

_EVERY = "\0"
"""In the place of a step: all of them."""


@click.command()
@click.argument("name")
@click.option(
    "--log",
    "log",
    is_flag=False,
    flag_value=_EVERY,
    metavar="[STEP]",
    help="Print what the steps of a run printed, or one of them.",
)
@click.option(
    "-f", "--follow", is_flag=True, help="With --log: follow the run that goes on, until it ends."
)
@click.option(
    "--card", "part", flag_value="card", help="Print the model card of a version, as Markdown."
)
@click.option(
    "--preview", "part", flag_value="preview", help="Show the first of what an artifact holds."
)
@json_option
@with_repo
def show(
    repo: Repo, name: str, log: str | None, follow: bool, part: str | None, as_json: bool
) -> None:
    """Describe whatever a name means.

    A model, a version, an artifact, a pipeline (its newest run), a run, a step, data from outside,
    or any git revision. Where one name is two things, write `artifact/NAME` or `pipeline/NAME`.
    A preview reads little of the bytes and runs nothing: it loads no value. With `--log -f` a
    pipeline or the name of a run means the run of it that goes on now, in another process; where
    none does, what is recorded is printed.

    \b
    gitml show features@latest --preview
    gitml show training --log train -f
    """
    if part is not None and log is not None:
        raise UsageError(f"--log and --{part} show different things", hint="ask for one of them")
    if follow:
        if log is None or as_json:
            raise UsageError("-f follows what steps print, as text", hint="`gitml show … --log -f`")
        if follow_log(repo, name, None if log == _EVERY else log):
            return
    if part == "preview":
        _show_preview(repo, name, as_json)
        return
    found = repo.resolve(name)
    if part == "card":
        _show_card(repo, name, found, as_json)
        return
    if log is not None:
        _show_log(repo, name, found, log, as_json)
        return
    if as_json:
        kind, document = _document(repo, name, found)
        render.answer_json("show", {**document, "kind": kind})
        return
    render.answer(*_lines(repo, name, found))


def _show_card(repo: Repo, name: str, found: Found, as_json: bool) -> None:
    """Print what a version's makers say of it: of a model the newest version's."""
    commit = found.commit
    if commit is None or found.kind not in ("model", "version") or found.output is not None:
        raise UsageError(
            f"`{name}` is no version of a model, and has no card",
            hint="`gitml model list` lists the models",
        )
    version = repo.version_of(commit)
    if as_json:
        document = documents.version_reference(version)
        render.answer_json("show.card", {**document, "card": version.card_text})
        return
    render.answer(*render.paragraph(version.card_text))


def _show_preview(repo: Repo, name: str, as_json: bool) -> None:
    """Describe an artifact with the first of what it holds; a bare name is an artifact's."""
    stored = repo.artifact(name)
    preview = stored.preview()
    label = name if ":" in name else f"{stored.name}@{stored.digest.short}"
    if as_json:
        described = {"label": label, **documents.stored_document(stored)}
        document = {**described, "kind": "artifact", "preview": preview.document()}
        render.answer_json("show", document)
        return
    render.answer(*describe.describe_artifact(repo, label, stored, preview))


def _show_log(repo: Repo, name: str, found: Found, wanted: str, as_json: bool) -> None:
    """Print what steps printed: of a run, of the newest run of a pipeline, or of one step."""
    commit = found.commit
    if commit is None or found.kind not in ("run", "pipeline", "step", "version"):
        raise UsageError(
            f"`{name}` printed nothing: it is no run", hint="`gitml log` lists the runs"
        )
    if found.kind == "step":
        steps = [repo.step_of(commit)]
    else:
        run = repo.version_of(commit).run if found.kind == "version" else repo.run_of(commit)
        if run is None:
            raise NameNotFound(f"the run that made {name} is not here", hint="`gitml fetch`")
        steps = list(run.steps.values())
    if wanted != _EVERY:
        known = [one.name for one in steps]
        steps = [one for one in steps if one.name == wanted]
        if not steps:
            raise NameNotFound.among("step", wanted, known)
    if as_json:
        logs = [{"name": one.name, "state": one.status, "log": one.log()} for one in steps]
        render.answer_json("show.log", {"steps": logs})
        return
    for one in steps:
        text = one.log()
        if len(steps) > 1 and text:
            render.answer(paint("head", f"{one.name}  {one.status}"))
        if text:
            render.answer(*render.paragraph(text))
    if not any(one.log() for one in steps):
        render.tell("Nothing was printed")


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
                describe.version_marks(run),
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
