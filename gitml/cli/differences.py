"""What differs between two records: for people, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gitml.cli import render
from gitml.cli.render import paint
from gitml.frozen import Frozen

if TYPE_CHECKING:
    from gitml.diff.code import CodeDifference
    from gitml.diff.environment import Installed
    from gitml.diff.records import Given, InputChange, RecordDifference, Side, Sizes, StepChange
    from gitml.diff.versions import Row
    from gitml.repo import Repo

_SHOWN = 20
"""Lines of a part: `--json` has all of them."""
_LABELS = {"A": "add", "D": "failed", "M": "change", "R": "version", "T": "change"}
_HOW = {"added": "A", "removed": "D", "changed": "M"}


class Line(Frozen):
    """A thing that differs: its letter, what is said of it in columns, and lines below."""

    mark: str
    cells: Sequence[str]
    below: Sequence[str] = ()


class Part(Frozen):
    """What differs of one kind: its title, what is said behind it, and its lines."""

    title: str
    said: str
    lines: Sequence[Line]


def lines(repo: Repo, found: RecordDifference, *, summary: bool = False) -> Iterator[str]:
    """The difference for people, without the data that came out; a line each with ``summary``."""
    rows = _rows(found)
    if rows:
        header = ["", found.old.label, found.new.label, ""]
        yield from render.table(rows, header, right={1, 2, 3})
        yield ""
    for part in _parts(repo, found):
        yield f"{paint('head', part.title)}  {part.said}".rstrip()
        if summary:
            continue
        shown = part.lines[:_SHOWN]
        table = render.table([_painted(one) for one in shown], indent="  ")
        for line, one in zip(table, shown, strict=True):
            yield line
            yield from (f"      {below}" for below in one.below)
        if len(part.lines) > len(shown):
            yield paint("dim", f"  and {len(part.lines) - len(shown)} more")
    if not summary:
        yield ""


def markdown(repo: Repo, found: RecordDifference, *, summary: bool = False) -> Iterator[str]:
    """The difference for a pull request; every name is escaped, however it is called."""
    rows = _rows(found)
    if rows:
        labels = [render.markdown(one.label) for one in (found.old, found.new)]
        yield f"| | {' | '.join(labels)} | |"
        yield "|---|---:|---:|---:|"
        yield from (f"| {' | '.join(map(render.markdown, row))} |" for row in rows)
        yield ""
    for part in _parts(repo, found):
        yield f"**{part.title}** {render.markdown(part.said)}".rstrip()
        yield ""
        for one in () if summary else part.lines[:_SHOWN]:
            said = render.markdown("  ".join(cell for cell in one.cells if cell))
            yield f"- {one.mark} {said}".replace("-  ", "- ")
            yield from (f"  - {render.markdown(below)}" for below in one.below)
        if len(part.lines) > _SHOWN and not summary:
            yield f"- and {len(part.lines) - _SHOWN} more"
        if part.lines and not summary:
            yield ""


def sizes(found: Sizes) -> str:
    """How large the outputs are on both sides, and how much of them is shared."""
    old, new = render.size(found.old), render.size(found.new)
    grown = new if old == new else f"{old} → {new}"
    return f"outputs {grown}, {render.size(found.shared)} shared"


def document(found: RecordDifference) -> dict[str, Any]:
    """The difference for JSON: all of it, equal parameters and metrics too."""
    environment = found.environment
    return {
        "old": _side_document(found.old),
        "new": _side_document(found.new),
        "parameters": [_row_document(one) for one in found.parameters],
        "metrics": [_row_document(one) for one in found.metrics],
        "inputs": [_input_document(one) for one in found.inputs],
        "steps": [
            {"name": one.name, "change": one.how, "parts": [dict(vars(part)) for part in one.parts]}
            for one in found.steps
        ],
        "signatures": [
            {"name": one.name, "change": one.how, "lines": list(one.lines)}
            for one in found.signatures
        ],
        "code": _code_document(found.code),
        "environment": None if environment is None else [_installed(one) for one in environment],
        "sizes": {"old": found.sizes.old, "new": found.sizes.new, "shared": found.sizes.shared},
    }


def _rows(found: RecordDifference) -> list[list[str]]:
    """The parameters and metrics that differ, with the delta of numbers."""
    return [_cells(row) for row in (*found.parameters, *found.metrics) if not row.same]


def _cells(row: Row) -> list[str]:
    cells = ["" if one is None else render.value(one) for one in row.values]
    delta = row.deltas[-1] if row.deltas else None
    change = "" if delta is None else f"{'+' if delta >= 0 else ''}{render.number(delta)}"
    return [row.name, *cells, change]


def _parts(repo: Repo, found: RecordDifference) -> Iterator[Part]:
    if found.inputs:
        yield Part("inputs", "", [_input_line(one) for one in found.inputs])
    if found.signatures:
        changes = [Line(_HOW[one.how], [one.name], one.lines) for one in found.signatures]
        yield Part("signature", "", changes)
    if found.steps:
        yield Part("steps", "", [_step_line(one) for one in found.steps])
    if found.code:
        yield Part("code", _code_words(repo, found.code), list(_code_lines(repo, found.code)))
    if found.environment is None:
        yield Part("environment", "that of one side is not in this clone", [])
    elif found.environment:
        yield Part("environment", "", [environment_line(one) for one in found.environment])


def _input_line(one: InputChange) -> Line:
    used = one.new or one.old
    cells = [
        one.name,
        _changed(_digest(one.old), _digest(one.new)),
        _changed(_size(one.old), _size(one.new)),
        f"in {', '.join(used.steps)}" if used else "",
    ]
    mark = "M" if one.old and one.new else "A" if one.new else "D"
    return Line(mark, cells, list(one.table.lines()) if one.table is not None else ())


def _step_line(one: StepChange) -> Line:
    shown = [part.part for part in one.parts[:_SHOWN]]
    more = len(one.parts) - len(shown)
    said = ", ".join([*shown, *([f"{more} more"] if more else [])])
    return Line(_HOW[one.how], [one.name, said])


def _code_words(repo: Repo, code: CodeDifference) -> str:
    if code.unknown is not None:
        return code.unknown
    ends = [repo.short(one.commit) for one in (code.old, code.new)]
    commits = render.count(len(code.commits), "commit")
    return f"{' → '.join(ends)}, {commits}, {render.count(len(code.files), 'file')}"


def _code_lines(repo: Repo, code: CodeDifference) -> Iterator[Line]:
    for one in code.commits[:_SHOWN]:
        side = "" if one.side == "new" else "only before"
        yield Line(render.CODE, [f"{repo.short(one.commit)} {one.subject}", side])
    if len(code.commits) > _SHOWN:
        yield Line(render.CODE, [f"and {len(code.commits) - _SHOWN} more"])
    # What a step can have noticed comes first: the rest is what else happened meanwhile.
    for file in sorted(code.files, key=lambda one: not one.steps):
        name = file.path if file.before is None else f"{file.before} → {file.path}"
        yield Line(file.mark, [name, f"in {', '.join(file.steps)}" if file.steps else ""])


def environment_line(one: Installed) -> Line:
    """A distribution, Python or the platform where they differ."""
    mark = "M" if one.old and one.new else "A" if one.new else "D"
    return Line(mark, [one.name, _changed(one.old or "", one.new or "")])


def _painted(one: Line) -> list[str]:
    head, *rest = one.cells
    return [f"{paint(_LABELS.get(one.mark, 'code'), one.mark)} {head}", *rest]


def _changed(old: str, new: str) -> str:
    """Both ends; one where they are the same, or where there is one alone."""
    return f"{old} → {new}" if old and new and old != new else new or old


def _digest(given: Given | None) -> str:
    return given.digest.short if given else ""


def _size(given: Given | None) -> str:
    return render.size(given.size) if given and given.size is not None else ""


def _side_document(side: Side) -> dict[str, Any]:
    return {"kind": side.kind, "label": side.label, "commit": str(side.commit)}


def _row_document(row: Row) -> dict[str, Any]:
    delta = row.deltas[-1] if row.deltas else None
    return {"name": row.name, "values": list(row.values), "delta": delta, "same": row.same}


def _input_document(one: InputChange) -> dict[str, Any]:
    return {
        "name": one.name,
        "old": _given_document(one.old),
        "new": _given_document(one.new),
        "table": one.table.document() if one.table is not None else None,
    }


def _given_document(given: Given | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "digest": str(given.digest),
        "kind": given.kind,
        "size": given.size,
        "commit": str(given.commit),
        "steps": list(given.steps),
        "metadata": dict(given.metadata),
    }


def _code_document(code: CodeDifference) -> dict[str, Any]:
    return {
        "old": str(code.old.commit),
        "new": str(code.new.commit),
        "unknown": code.unknown,
        "commits": [
            {"commit": str(one.commit), "side": one.side, "subject": one.subject}
            for one in code.commits
        ],
        "files": [
            {
                "change": one.mark,
                "path": one.path,
                "before": one.before,
                "steps": list(one.steps),
            }
            for one in code.files
        ],
    }


def _installed(one: Installed) -> dict[str, Any]:
    return {"name": one.name, "old": one.old, "new": one.new}
