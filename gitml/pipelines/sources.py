"""Files of the repository as inputs: stored by content, named by their source commit."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass, field
from typing import Any

from gitml.entities.pointer import Pointer
from gitml.entities.records import Output
from gitml.errors import CorruptData, NameNotFound, UsageError
from gitml.fs import judge_relative_path
from gitml.history.record import Recorder
from gitml.materializers import Rules
from gitml.pipelines.plan import Pinned
from gitml.pipelines.storing import store_value
from gitml.store.store import Writer
from gitml.workspace import adding, pointerfiles
from gitml.workspace.workingtree import WorkingTree


@dataclass
class DataFiles:
    """Takes files of the repository, and large parameters, into the store, each once in a run."""

    tree: WorkingTree
    writer: Writer
    recorder: Recorder
    _taken: dict[str, Pinned] = field(default_factory=dict)
    _values: dict[int, tuple[Any, Pinned]] = field(default_factory=dict)

    def pointers(self) -> dict[str, bytes]:
        """The pointers of what was taken, by path: they stand in a snapshot for the data."""
        found = {}
        for pinned in self._taken.values():
            output = pinned.output
            pointer = Pointer(output.digest, output.kind, output.size)
            found[pinned.spelling] = pointer.encode()
        return found

    def take(self, path: str) -> Pinned:
        """A file or folder as a pinned input; its bytes are in the run's writer."""
        if path not in self._taken:
            self._taken[path] = _take(self.tree, path, self.writer, self.recorder)
        return self._taken[path]

    def take_value(self, value: Any) -> Pinned:
        """A large parameter as an input; its bytes are in the run's writer."""
        if id(value) not in self._values:
            made = store_value(self.writer, value, name="argument", artifact="", rules=Rules())
            commit = self.recorder.source(made.digest, made.kind, made.size)
            self._values[id(value)] = value, Pinned("", made, commit, is_argument=True)
        return self._values[id(value)][1]


def _take(tree: WorkingTree, path: str, writer: Writer, recorder: Recorder) -> Pinned:
    """The file or folder at a path relative to the root, stored, with its source commit built.

    What has a pointer and has not changed since is not read again; where the data is not what its
    pointer says, that is an error. Raises NameNotFound, UsageError.
    """
    try:
        name = judge_relative_path(posixpath.normpath(path).encode("utf-8", "surrogateescape"))
    except CorruptData as error:
        raise UsageError(
            f"{path!r} does not lead to data of this repository",
            hint='paths are relative to its root: `data("data/raw.csv")`',
        ) from error
    file = tree.root / name
    tracked = pointerfiles.look(tree.root, name)
    if not file.exists():
        hint = f"`gitml checkout {shlex.quote(name)}` brings it" if tracked else None
        raise NameNotFound(
            f"there is no data at {name}",
            hint=hint or "paths are relative to the repository's root",
        )
    pointer = _stored(tree, name, writer)
    if tracked is not None:
        said = tracked.read()
        if said.digest != pointer.digest:
            quoted = shlex.quote(name)
            raise UsageError(
                f"{name} is not what its pointer says: {pointer.digest.short}, "
                f"not {said.digest.short}",
                hint=f"`gitml add {quoted}` takes it as it is, "
                f"`gitml checkout --force {quoted}` brings the data back",
            )
    digest, kind, size = pointer.digest, pointer.kind, pointer.size
    commit = recorder.source(digest, kind, size)
    output = Output(name, name, digest, kind, size, "path/1", "pathlib.Path")
    return Pinned(name, output, commit, file)


def _stored(tree: WorkingTree, name: str, writer: Writer) -> Pointer:
    """The bytes at a path in the writer; of a link, those that it leads to."""
    file = tree.root / name
    if not file.is_symlink():
        return adding.take(tree, name, writer, tree.cache()).pointer
    kind = "tree" if file.is_dir() else "blob"
    digest, size = writer.put_directory(file) if kind == "tree" else writer.put_file(file)
    return Pointer(digest, kind, size)
