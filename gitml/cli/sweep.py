"""``gitml run -p rate=0.01,0.1,1``: a run for each combination, and a table of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gitml.cli import documents, render
from gitml.cli.describe import version_marks
from gitml.cli.parameters import Typed
from gitml.cli.render import paint
from gitml.errors import GitmlError, StepFailed, UsageError

if TYPE_CHECKING:
    from gitml.handles import RunHandle
    from gitml.repo import Repo

_OPENING, _CLOSING = "[{(", "]})"


def swept(given: Mapping[str, Any]) -> dict[str, list[Typed]]:
    """The typed parameters with several values, by name: commas that are in no list or text.

    A text that is JSON as a whole is one value. Raises UsageError for a value that is missing.
    """
    found = {}
    for name, text in given.items():
        if not isinstance(text, Typed) or "," not in text or not isinstance(text.parsed, str):
            continue
        if text.startswith('"') and text.parsed != str(text):
            continue
        values = list(dict.fromkeys(map(Typed, _split(text))))
        if not all(values):
            raise UsageError(
                f"`{name}={text}` has an empty value",
                hint=f"`-p {name}=1,2` is two runs; a text with commas is written "
                f"`-p '{name}=\"a,b\"'`",
            )
        if len(values) > 1:
            found[name] = values
    return found


def _split(text: str) -> Iterator[str]:
    """The pieces between commas that are outside of brackets and quotes."""
    depth, quoted, begin = 0, False, 0
    for place, sign in enumerate(text):
        if sign == '"' and (not quoted or text[place - 1] != "\\"):
            quoted = not quoted
        elif quoted:
            continue
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif sign == "," and depth <= 0:
            yield text[begin:place].strip()
            begin = place + 1
    yield text[begin:].strip()


def combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values, the last name changing fastest."""
    return [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]


class Sweep:
    """The runs of a sweep, one after the other; a run that fails does not end the others."""

    def __init__(self, repo: Repo, names: Sequence[str]) -> None:
        self._repo = repo
        self._names = names
        self._runs: list[RunHandle] = []

    def add(self, title: str, run: Callable[[], RunHandle]) -> None:
        """Do one run; raises what ends before there is a record, and what interrupts."""
        render.tell(paint("head", title))
        try:
            self._runs.append(run())
        except GitmlError as error:
            recorded: RunHandle | None = getattr(error, "run", None)
            if recorded is None:
                raise
            cause = error.causes()
            render.tell(f"{paint('failed', 'Failed:')} {cause[0] if cause else error.message}")
            self._runs.append(recorded)

    def answer(self, as_json: bool) -> None:
        """Print the table; raises StepFailed when a run failed."""
        if as_json:
            runs = [documents.run_document(one) for one in self._runs]
            render.answer_json("run.sweep", {"swept": list(self._names), "runs": runs})
        else:
            header, rows, right = self._table()
            render.answer(*render.table(rows, header, right=right))
        failed = sum(one.status != "completed" for one in self._runs)
        if failed:
            raise StepFailed(
                f"{failed} of {render.count(len(self._runs), 'run')} failed",
                hint="`gitml log --failed` lists them",
            )

    def _table(self) -> tuple[list[str], list[list[str]], set[int]]:
        """The header and the rows, and which columns stand right."""
        header, right = ["run", "made", *self._names], set(range(2, 2 + len(self._names)))
        rows = [
            [
                paint("run", self._repo.short(run.id)),
                self._made(run),
                *(render.value(run.parameters.get(name)) for name in self._names),
            ]
            for run in self._runs
        ]
        for metric in dict.fromkeys(name for run in self._runs for name in run.metrics):
            values = [run.metrics.get(metric) for run in self._runs]
            best = self._best(metric, values)
            right.add(len(header))
            header += [metric, ""]
            for row, value in zip(rows, values, strict=True):
                number = "" if value is None else render.number(value)
                row += [
                    number,
                    paint("good", "best") if value is not None and value == best else "",
                ]
        return header, rows, right

    def _made(self, run: RunHandle) -> str:
        if run.status != "completed":
            return paint("failed", run.status)
        return version_marks(run)

    def _best(self, metric: str, values: Sequence[float | None]) -> float | None:
        """The best value of a metric whose direction is known."""
        known = [one for one in values if one is not None and not math.isnan(one)]
        direction = self._repo.config.directions.get(metric)
        if direction is None or len(known) < 2:
            return None
        return max(known) if direction == "max" else min(known)
