"""``gitml model``: list, show, alias, link, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import describe, documents, render
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import NameNotFound, UsageError

if TYPE_CHECKING:
    from gitml.diff.versions import Comparison, Row
    from gitml.repo import Repo


@click.group(cls=Noun)
def model() -> None:
    """List, describe and compare model versions.

    A run of a pipeline with `model=Model(NAME)` makes a version; one of which every step was cached
    makes none, since it is the same. Numbers are never reused.

    \b
    gitml model show clf
    gitml model compare clf --sort accuracy
    """


@model.command("list")
@click.option("--tag", metavar="TAG", help="List models of which a version carries this tag.")
@json_option
@with_repo
def list_models(repo: Repo, tag: str | None, as_json: bool) -> None:
    """List the models with their newest version and the holders of their stages.

    \b
    gitml model list
    gitml model list --json
    """
    found = repo.models(tag=tag)
    if as_json:
        listed = [documents.model_document(one) for one in found]
        render.answer_json("model.list", {"models": listed})
        return
    rows = []
    for one in found:
        latest = paint("version", one.label(one.latest)) if one.latest else ""
        row = [one.name, str(len(one.visible)), latest, describe.holders(one)]
        rows.append([*row, describe.aliases(one)])
    render.answer_rows(
        rows,
        ["model", "versions", "latest", "stages", "aliases"],
        right={1},
        nothing="No models yet: a run of a pipeline with `model=Model(…)` makes one",
    )


@model.command("show")
@click.argument("name", metavar="MODEL|VERSION")
@json_option
@with_repo
def show_model(repo: Repo, name: str, as_json: bool) -> None:
    """Describe a model with all its versions, or one version.

    For each version the pipeline and run that made it, its parameters, metrics, metadata and
    artifacts, its stages, and the runs that used it.

    \b
    gitml model show clf
    gitml model show clf@production
    """
    if "@" in name:
        version = repo.version(name)
        if as_json:
            document = documents.version_document(version, repo.consumers(version))
            render.answer_json("model.show", document)
        else:
            render.answer(*describe.describe_version(repo, version))
        return
    state = repo.model(name)
    if as_json:
        versions = [repo.version_of(commit) for commit in state.visible]
        listed = [documents.version_document(one, repo.consumers(one)) for one in versions]
        document = {**documents.model_document(state), "versions": listed}
        render.answer_json("model.show", document)
        return
    render.answer(*describe.describe_model(repo, state))


@model.command("alias")
@click.argument("version", metavar="VERSION|MODEL")
@click.argument("alias", required=False)
@click.option("--delete", is_flag=True, help="Let the alias mean nothing any more.")
@json_option
@with_repo
def alias_model(repo: Repo, version: str, alias: str | None, delete: bool, as_json: bool) -> None:
    """Give a version a name of your own, or list those of a model.

    `clf@champion` then means this version, until the alias is moved on: no policy judges it, and no
    reason is asked for. It goes to others with the next push. A stage is something else.

    \b
    gitml model alias clf@v3 champion
    gitml model alias clf champion --delete
    """
    if alias is None:
        if delete:
            raise UsageError("which alias is to be deleted", hint=f"`gitml model alias {version}`")
        _list_aliases(repo, version, as_json)
        return
    done = repo.remove_alias(version, alias) if delete else repo.put_alias(version, alias)
    if as_json:
        fields = ("model", "alias", "version", "before", "moved")
        render.answer_json("model.alias", {name: getattr(done, name) for name in fields})
        return
    label = paint("stage", f"{done.model}@{alias}")
    if not done.moved:
        render.answer(f"{label} is {paint('version', done.version or '')} already")
    elif done.version is None:
        render.answer(f"{label} means nothing any more; it was {done.before}")
    else:
        was = f", and was {done.before}" if done.before else ""
        render.answer(f"{label} is {paint('version', done.version)}{was}")


def _list_aliases(repo: Repo, name: str, as_json: bool) -> None:
    model, _, which = name.partition("@")
    state = repo.model(model)
    only = repo.version(name).id if which else None
    found = [(one, c) for one, c in sorted(state.aliases.items()) if only in (None, c)]
    if as_json:
        listed = [{"alias": one, "version": state.label(commit)} for one, commit in found]
        render.answer_json("model.alias", {"model": model, "aliases": listed})
        return
    rows = [[paint("stage", one), paint("version", state.label(c))] for one, c in found]
    render.answer_rows(rows, ["alias", "version"], nothing=f"{name} has no aliases")


@model.command("link")
@click.argument("version", metavar="MODEL|VERSION")
@click.argument("artifact")
@click.option("--name", metavar="NAME", help="Call it so in the version.")
@json_option
@with_repo
def link_model(repo: Repo, version: str, artifact: str, name: str | None, as_json: bool) -> None:
    """Make a new version of a model with one more artifact, which was made elsewhere.

    It has all that the version has, of a model the newest one, and descends from both. A step of a
    pipeline does the same with `link_artifact_to_model`.

    \b
    gitml model link clf labels
    gitml model link clf@v3 teacher@production:model --name teacher
    """
    from gitml.pipelines.references import Model

    base, _, which = version.removeprefix("model/").partition("@")
    before = {one.id for one in repo.versions(base)} if base in repo.names.models else set()
    made = repo.link(Model(base, which or None), artifact, name)
    if as_json:
        render.answer_json("model.link", documents.version_reference(made))
    elif made.id in before:
        render.answer(f"{paint('version', made.label)} has it already")
    else:
        render.answer(f"Made {paint('version', made.label)} with {len(made.artifacts)} artifacts")


@model.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="MODEL | VERSION VERSION…")
@click.option(
    "--sort",
    metavar="METRIC",
    help="Put the best of this metric first: the highest, unless its direction is min.",
)
@click.option("--wide", is_flag=True, help="Cut no parameter, however narrow the terminal is.")
@click.option("--md", "as_markdown", is_flag=True, help="Print a Markdown table.")
@json_option
@with_repo
def compare_models(
    repo: Repo,
    names: tuple[str, ...],
    sort: str | None,
    wide: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Compare versions: their metrics, and the parameters in which they differ.

    Behind a metric stands its difference to the line above. `best` needs to know what better means:
    `[metrics.accuracy] direction = "max"` in gitml.toml. Versions of several models can be compared
    too. On a narrow terminal long parameters are cut and end with …; versions, metrics and their
    names never are.

    \b
    gitml model compare clf --sort accuracy
    gitml model compare clf@production clf@latest --md
    """
    found = repo.compare(names)
    if not found.versions:
        raise NameNotFound(f"every version of {names[0]} is deleted")
    if sort is not None:
        known = [row.name for row in found.metrics]
        if sort not in known:
            raise NameNotFound.among("metric of these versions", sort, known)
        best_first = [found.versions[place].label for place in found.ranked(sort)]
        found = repo.compare(best_first) if len(best_first) > 1 else found
    if as_json:
        render.answer_json("model.compare", _document(found))
    elif as_markdown:
        render.answer(*_markdown(found))
    else:
        render.answer(*_lines(found, wide=wide))


def _lines(found: Comparison, *, wide: bool) -> Iterator[str]:
    header, rows, right = _cells(found)
    given = range(1, 1 + len(header) - 1 - 3 * len(found.metrics))
    marked = [[paint("good", cell) if cell == "best" else cell for cell in row] for row in rows]
    for row, version in zip(marked, found.versions, strict=True):
        row[0] = describe.version_mark(version)
    yield from render.table(marked, header, right=right, narrow=() if wide else given)
    same = {row.name: row.values[0] for row in found.parameters if row.same}
    if same and len(found.versions) > 1:
        yield paint("dim", f"the same in all: {render.settings(same)}")
    yield from _other_signatures(found)


def _other_signatures(found: Comparison) -> Iterator[str]:
    """What the models take or give that those of the version above do not, a line each."""
    from gitml.pipelines.signature import changed

    labels = [one.label for one in found.versions]
    for row in found.signatures:
        sides = [(label, one) for label, one in zip(labels, row.values, strict=True) if one]
        for (_, old), (label, new) in pairwise(sides):
            yield from (f"{row.name} of {label}: {line}" for line in changed(old, new))


def _cells(found: Comparison) -> tuple[list[str], list[list[str]], set[int]]:
    """The header and the plain cells of the table, and which columns hold numbers."""
    header, columns, right = ["version"], [_labels(found)], set[int]()
    several = len(found.versions) > 1
    for row in found.parameters:
        if not row.same or not several:
            right.add(len(header))
            header.append(row.name)
            columns.append([_given(one) for one in row.values])
    for row in found.metrics:
        right |= {len(header), len(header) + 1}
        header += [row.name, "", ""]
        columns.append(["" if one is None else render.number(one) for one in row.values])
        columns.append([_delta(one) for one in row.deltas])
        columns.append(
            ["best" if i in row.best and several else "" for i in range(len(row.values))]
        )
    return header, [list(cells) for cells in zip(*columns, strict=True)], right


def _labels(found: Comparison) -> list[str]:
    return [
        f"{one.label} [{', '.join(one.stages)}]" if one.stages else one.label
        for one in found.versions
    ]


def _delta(difference: float | None) -> str:
    if difference is None:
        return ""
    return f"{'+' if difference >= 0 else ''}{render.number(difference)}"


def _markdown(found: Comparison) -> Iterator[str]:
    """The comparison as a Markdown table, the best values bold."""
    several = len(found.versions) > 1
    header = ["version"]
    columns: list[Sequence[str]] = [_labels(found)]
    for row in found.parameters:
        if not row.same or not several:
            header.append(row.name)
            columns.append([render.markdown(_given(one)) for one in row.values])
    for row in found.metrics:
        header.append(row.name)
        columns.append([_markdown_metric(row, place) for place in range(len(row.values))])
    yield f"| {' | '.join(map(render.markdown, header))} |"
    yield f"|---|{'---:|' * (len(header) - 1)}"
    for cells in zip(*columns, strict=True):
        yield f"| {' | '.join(cells)} |"
    if others := list(_other_signatures(found)):
        yield ""
        yield from (f"- {render.markdown(one)}" for one in others)


def _markdown_metric(row: Row, place: int) -> str:
    value, delta = row.values[place], row.deltas[place]
    if value is None:
        return ""
    text = render.number(value) + (f" ({_delta(delta)})" if delta is not None else "")
    return f"**{text}**" if place in row.best and len(row.values) > 1 else text


def _given(value: Any) -> str:
    return "" if value is None else render.value(value)


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "versions": [documents.version_reference(one) for one in found.versions],
        "metrics": [
            {
                "name": row.name,
                "direction": row.direction,
                "values": list(row.values),
                "deltas": list(row.deltas),
                "best": sorted(row.best),
            }
            for row in found.metrics
        ],
        "parameters": [
            {"name": row.name, "values": list(row.values), "same": row.same}
            for row in found.parameters
        ],
        "artifacts": [
            {"name": row.name, "values": [str(one) if one else None for one in row.values]}
            for row in found.artifacts
        ],
        "signatures": [
            {
                "name": row.name,
                "values": [documents.record_document(one) if one else None for one in row.values],
                "same": row.same,
            }
            for row in found.signatures
        ],
    }
