"""``gitml status``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.describe import describe_going, holders, run_glyph, step_counts, version_mark
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.git.snapshot import WorkTree
    from gitml.history.models import ModelState
    from gitml.repo import Repo
    from gitml.repo.care import Status
    from gitml.workspace.status import DataState

_PATHS = 10


@click.command()
@json_option
@with_repo
def status(repo: Repo, as_json: bool) -> None:
    """Show how the repository stands.

    The newest run, what a run that starts now would take as its code, the data that is not what its
    pointers say, and the models with their stages. No code of yours is imported or run, and no data
    is read that its time stamps vouch for.

    \b
    gitml status
    gitml status --json
    """
    now = repo.status()
    if as_json:
        render.answer_json("status", _document(now))
        return
    render.answer(*_lines(repo, now))


def _lines(repo: Repo, now: Status) -> Iterator[str]:
    branch, head = now.tree.branch, now.tree.head
    where = f"On {branch}" if branch else "On no branch"
    where += f" at {paint('code', repo.short(head))}" if head else ", no commit yet"
    yield f"{where}  stack {now.stack}"
    for going in now.going:
        yield f"Running   {describe_going(going)}"
    if not now.runs:
        yield "No runs yet"
    for run in now.runs[:1]:
        made = ", ".join(map(version_mark, run.made_versions))
        parts = [run.pipeline, run.status, step_counts(run), made, render.ago(run.entry.at)]
        words = "  ".join(part for part in parts if part)
        yield f"Last run  {run_glyph(run)} {paint('run', repo.short(run.id))} {words}"
    yield from _tree(now.tree)
    yield from _data(now.data)
    if now.models:
        yield ""
        yield from render.table([_model(one) for one in now.models], ["model", "latest", "stages"])
    for warning in now.warnings:
        yield f"{paint('warning', 'Warning:')} {warning}"


def _tree(tree: WorkTree) -> Iterator[str]:
    for title, mark, label, paths in (
        ("In conflict, so that nothing can run", "U", "failed", tree.unmerged),
        ("Changed since the last commit: a run takes a snapshot", "M", "change", tree.changed),
        ("Untracked: not in a snapshot, unless a step imports it", "?", "dim", tree.untracked),
    ):
        if paths:
            yield ""
            yield title
            yield from (f"  {paint(label, mark)} {one}" for one in paths[:_PATHS])
            if len(paths) > _PATHS:
                yield paint("dim", f"    and {len(paths) - _PATHS} more")


def _data(states: Sequence[DataState]) -> Iterator[str]:
    shown = [one for one in states if one.state != "clean"]
    if not shown:
        return
    yield ""
    yield "Data that is not what its pointers say"
    for one in shown:
        yield from _data_lines(one)


def _data_lines(one: DataState) -> Iterator[str]:
    """The state of one pointer's data, then the files that differ."""
    import shlex

    path = shlex.quote(one.path)
    words = {
        "absent": f"not checked out: `gitml checkout {path}`",
        "behind": f"the pointer has moved on: `gitml checkout {path}`",
        "conflict": f"both sides changed it: `gitml {'add' if one.brought else 'checkout'} {path}`",
        "unreadable": f"the pointer cannot be read: `git restore {path}.gitml`",
        "nested": f"inside other data: `gitml rm --keep {path}` takes the pointer away",
        "left": "the pointer is gone: `gitml checkout` removes the data",
    }
    if one.state in words and not (one.brought and one.undecided):
        label = "failed" if one.state in ("conflict", "unreadable", "nested") else "change"
        mark = {"absent": "-", "behind": ">", "left": "<"}.get(one.state, "U")
        yield f"  {paint(label, mark)} {one.path}  {words[one.state]}"
    yield from _undecided(one)
    for mark, label, names in (
        ("M", "change", one.changed),
        ("A", "add", (*one.added, *one.repositories)),
        ("D", "failed", one.deleted),
    ):
        yield from (f"  {paint(label, mark)} {one.full(name)}" for name in names[:_PATHS])
        if len(names) > _PATHS:
            yield paint("dim", f"    and {len(names) - _PATHS} more in {one.path}")


def _undecided(one: DataState) -> Iterator[str]:
    """The files of data in conflict for which nobody has chosen, where they are the next thing."""
    if not (one.undecided and one.brought):
        return
    from gitml.workspace.resolving import how_to_choose

    for name in one.undecided[:_PATHS]:
        file = one.full(name)
        yield f"  {paint('failed', 'U')} {file}  in conflict: {how_to_choose([file])}"
    if len(one.undecided) > _PATHS:
        yield paint("dim", f"    and {len(one.undecided) - _PATHS} more in {one.path}")


def data_document(one: DataState) -> dict[str, Any]:
    """The state of one pointer's data as JSON has it."""
    pointer = one.pointer
    return {
        "path": one.path,
        "state": one.state,
        "kind": pointer.kind if pointer else None,
        "digest": str(pointer.digest) if pointer else None,
        "size": pointer.size if pointer else None,
        "changed": list(one.changed),
        "added": list(one.added),
        "deleted": list(one.deleted),
        "repositories": list(one.repositories),
        "include": list(one.view.include) if one.view else [],
        "exclude": list(one.view.exclude) if one.view else [],
        "undecided": [one.full(name) for name in one.undecided],
        "problem": one.problem.message if one.problem else None,
    }


def _model(state: ModelState) -> Sequence[str]:
    latest = paint("version", state.label(state.latest)) if state.latest else "all deleted"
    return [state.name, latest, holders(state)]


def _document(now: Status) -> dict[str, Any]:
    from gitml.cli import documents

    tree = now.tree
    return {
        "branch": tree.branch,
        "head": str(tree.head) if tree.head else None,
        "stack": now.stack,
        "changed": list(tree.changed),
        "untracked": list(tree.untracked),
        "unmerged": list(tree.unmerged),
        "going": [documents.going_document(one) for one in now.going],
        "runs": [documents.run_summary(run) for run in now.runs],
        "models": [documents.model_document(one) for one in now.models],
        "data": [data_document(one) for one in now.data],
        "warnings": list(now.warnings),
    }
