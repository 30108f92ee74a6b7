"""``gitml diff``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import differences, render
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint

if TYPE_CHECKING:
    from gitml.entities.pointer import Pointer
    from gitml.repo import Repo
    from gitml.repo.data import Difference
    from gitml.workspace.compare import DataChange, FileChange, FileState

_MARKS = {
    "added": ("A", "add"),
    "removed": ("D", "failed"),
    "changed": ("M", "change"),
    "renamed": ("R", "version"),
}


@click.command()
@click.argument("words", nargs=-1, metavar="[A [B]] [PATH…]")
@click.option(
    "--staged", "--cached", "staged", is_flag=True, help="Compare git's index, not the files."
)
@click.option("--stat", "summary", is_flag=True, help="Print one line for each pointer only.")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown, for a pull request.")
@json_option
@click.pass_context
@with_repo
def diff(
    repo: Repo,
    context: click.Context,
    words: tuple[str, ...],
    staged: bool,
    summary: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Compare two runs or versions in all that made them, or two states of the data.

    Of runs and versions (`clf@production`, a pipeline for its newest run): parameters, metrics,
    inputs, code, environment and outputs. Of anything else, a revision of git's or an artifact with
    a digest, the data: files added, removed, renamed and changed. Alone it compares the working
    tree with the pointers in git's index, with one state's name with that state. Runs and versions
    come in twos. `A...B` begins where the two parted; a PATH leaves only its data. Exits with 1
    when something differs.

    \b
    gitml diff main...HEAD --md
    gitml diff clf@production clf@latest
    """
    found = repo.diff(words, Path.cwd(), staged=staged, tables=not summary)
    if as_json:
        render.answer_json("diff", _document(found))
    elif as_markdown:
        render.answer(*_markdown(repo, found, summary=summary))
    else:
        render.answer(*_lines(repo, found, summary=summary))
    context.exit(1 if found else 0)


def _lines(repo: Repo, found: Difference, *, summary: bool) -> Iterator[str]:
    if found.records:
        yield from differences.lines(repo, found.records, summary=summary)
    rows = []
    for change in found.data:
        rows.append(_summary_row(change))
        rows += [] if summary else [_file_row(one) for one in change.files]
    yield from render.table(rows, right={2})
    for path, table in found.tables.items():
        yield ""
        yield paint("head", path)
        yield from (f"  {line}" for line in table.lines())
    if found.data:
        yield _total(found)
    if found.records:
        yield differences.sizes(found.records.sizes)
    if not found:
        yield f"No difference between {found.old} and {found.new}"


def _summary_row(change: DataChange) -> list[str]:
    if change.unlisted is not None:
        return [paint("artifact", change.path), _unlisted(change), _growth(_pointer_growth(change))]
    grown = sum(one.growth for one in change.files)
    return [paint("artifact", change.path), _counts(change.files), _growth(grown)]


def _counts(files: tuple[FileChange, ...]) -> str:
    parts = []
    for kind in _MARKS:
        number = sum(one.kind == kind for one in files)
        if number:
            parts.append(f"{number} {kind}")
    return ", ".join(parts)


def _unlisted(change: DataChange) -> str:
    return f"differs; its files cannot be listed: {change.unlisted}"


def _pointer_growth(change: DataChange) -> int:
    return (change.new.size if change.new else 0) - (change.old.size if change.old else 0)


def _file_row(one: FileChange) -> list[str]:
    mark, label = _MARKS[one.kind]
    name = one.path if one.before is None else f"{one.before} → {one.path}"
    return [f"  {paint(label, mark)} {name}", _sizes(one), _growth(one.growth)]


def _sizes(one: FileChange) -> str:
    if one.kind == "renamed":
        return ""
    if one.old is None or one.new is None:
        state = one.new or one.old
        return render.size(state.size) if state else ""
    mode = f", mode {one.old.mode:o} → {one.new.mode:o}" if one.old.mode != one.new.mode else ""
    if one.old.digest == one.new.digest:
        return mode.removeprefix(", ")
    return f"{render.size(one.old.size)} → {render.size(one.new.size)}{mode}"


def _growth(count: int) -> str:
    return f"{'+' if count > 0 else '-'}{render.size(abs(count))}" if count else ""


def _total(found: Difference) -> str:
    files = tuple(one for change in found.data for one in change.files)
    grown = sum(one.growth for one in files)
    grown += sum(_pointer_growth(one) for one in found.data if one.unlisted is not None)
    sizes = f", {_growth(grown)}" if grown else ""
    verb = "differs" if len(files) == 1 else "differ"
    return f"{render.count(len(files), 'file')} {verb}: {_counts(files)}{sizes}" if files else ""


def _markdown(repo: Repo, found: Difference, *, summary: bool) -> Iterator[str]:
    """The difference for a pull request; every name is escaped, however it is called."""
    title = f"{render.markdown(found.old)} → {render.markdown(found.new)}"
    yield f"**{title}**" if found.records is not None else f"**Data: {title}**"
    yield ""
    if not found:
        yield "No difference."
        return
    if found.records:
        yield from differences.markdown(repo, found.records, summary=summary)
    if found.data:
        yield "| data | files | size |"
        yield "|---|---|---:|"
        for change in found.data:
            path, counts, grown = _summary_row(change)
            yield f"| {_code(change.path)} | {render.markdown(counts)} | {grown} |"
        yield ""
        if not summary:
            yield from _markdown_files(found)
    for path, table in found.tables.items():
        yield f"{_code(path)}"
        yield ""
        yield from (f"- {render.markdown(line)}" for line in table.lines())
        yield ""
    if found.data:
        yield _total(found)
    if found.records:
        yield ""
        yield differences.sizes(found.records.sizes)


def _markdown_files(found: Difference) -> Iterator[str]:
    files = [one for change in found.data for one in change.files]
    if not files:
        return
    yield f"<details><summary>{render.count(len(files), 'file')}</summary>"
    yield ""
    yield "| | file | size | |"
    yield "|---|---|---:|---:|"
    for one in files[:_MARKDOWN_FILES]:
        name = _code(one.path) if one.before is None else f"{_code(one.before)} → {_code(one.path)}"
        cells = [_MARKS[one.kind][0], name, render.markdown(_sizes(one)), _growth(one.growth)]
        yield f"| {' | '.join(cells)} |"
    yield ""
    if len(files) > _MARKDOWN_FILES:
        yield f"and {len(files) - _MARKDOWN_FILES} more"
        yield ""
    yield "</details>"
    yield ""


_MARKDOWN_FILES = 200
"""Files in a table of Markdown: forges cut comments at 64 KiB."""


def _code(text: str) -> str:
    """A path in Markdown, shown as it is: in a table no bar may stand, in code no backtick."""
    return render.markdown(text)


def _document(found: Difference) -> dict[str, Any]:
    document: dict[str, Any] = {
        "old": found.old,
        "new": found.new,
        "data": [_data_document(one, found) for one in found.data],
    }
    if found.records is not None:
        document["records"] = differences.document(found.records)
    return document


def _data_document(change: DataChange, found: Difference) -> dict[str, Any]:
    return {
        "path": change.path,
        "old": _pointer_document(change.old),
        "new": _pointer_document(change.new),
        "unlisted": change.unlisted,
        "files": [
            {
                "change": one.kind,
                "path": one.path,
                "before": one.before,
                "old": _state_document(one.old),
                "new": _state_document(one.new),
                "table": found.tables[one.path].document() if one.path in found.tables else None,
            }
            for one in change.files
        ],
    }


def _pointer_document(pointer: Pointer | None) -> dict[str, Any] | None:
    if pointer is None:
        return None
    return {"digest": str(pointer.digest), "kind": pointer.kind, "size": pointer.size}


def _state_document(state: FileState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {"digest": str(state.digest), "size": state.size, "mode": f"{state.mode:06o}"}
