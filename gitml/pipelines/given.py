"""What the steps of a run are given: values of earlier outputs, and of what a step names itself."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitml import materializers
from gitml.entities.records import Input
from gitml.history.revs import Names
from gitml.materializers import Rules
from gitml.pipelines import context
from gitml.pipelines.content import StoredContent
from gitml.pipelines.plan import Pinned, pinned
from gitml.pipelines.storing import materializer_of, plain_type
from gitml.store.store import Writer

_DATA = "data:"
"""Before the path of a data file, in the name under which a step has loaded it."""


@dataclass(frozen=True)
class Given:
    """Where a run's inputs come from: its bytes, names as planned, files of the repository."""

    root: Path
    writer: Writer
    names: Names
    take_data: Callable[[str], Pinned]

    def value(self, given: Pinned, wanted: Any, rules: Rules) -> Any:
        """The value of an input, as the type ``wanted``, where that is one."""
        content = StoredContent(self.writer, given.output, given.path)
        return materializers.load_value(
            content, materializer_of(given.output), plain_type(wanted), rules
        )

    def look_up(self, name: str) -> Pinned:
        """What a name meant when the run was planned; a path is a data file of the repository."""
        if name.startswith(_DATA):
            return self.take_data(name.removeprefix(_DATA))
        return pinned(name, self.names.resolve(name))

    def take(self, name: str) -> Pinned:
        """What a name means, as an input of the step that is running, by commit."""
        given = self.look_up(name)
        context.get_context().loads[name] = as_input(name, given)
        return given

    def data(self, path: str) -> Path:
        """A file or folder of the repository, as an input of the step that is running."""
        given = self.take(f"{_DATA}{posixpath.normpath(path)}")
        return given.path or self.root / path


def as_input(name: str, given: Pinned) -> Input:
    """An input as records name it."""
    output = given.output
    return Input(name, output.digest, output.kind, given.commit, output.artifact or None)


def data_among(loads: Iterable[str]) -> list[str]:
    """The paths of the repository's data that a step asked for by name."""
    return [one.removeprefix(_DATA) for one in loads if one.startswith(_DATA)]
