"""Files of the repository as inputs: stored by content, named by their source commit."""

from __future__ import annotations

import posixpath
import shlex

from gitml.entities.pointer import Pointer
from gitml.entities.records import Output
from gitml.errors import CorruptData, NameNotFound, UsageError
from gitml.fs import judge_relative_path
from gitml.history.record import Recorder
from gitml.pipelines.plan import Pinned
from gitml.store.store import Writer
from gitml.workspace import adding, pointerfiles
from gitml.workspace.workingtree import WorkingTree


def take(tree: WorkingTree, path: str, writer: Writer, recorder: Recorder) -> Pinned:
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
