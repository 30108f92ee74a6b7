"""Files of the repository as inputs: stored by content, named by their source commit."""

from __future__ import annotations

import posixpath
from pathlib import Path

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.entities.records import Output
from gitml.errors import CorruptData, NameNotFound, UsageError
from gitml.fs import judge_relative_path
from gitml.history.record import Recorder
from gitml.pipelines.plan import Pinned
from gitml.store.store import Writer


def take(root: Path, path: str, writer: Writer, recorder: Recorder) -> Pinned:
    """The file or folder at a path relative to the root, stored, with its source commit built.

    Where a pointer stands beside it, the digests must agree. Raises NameNotFound, UsageError.
    """
    try:
        name = judge_relative_path(posixpath.normpath(path).encode("utf-8", "surrogateescape"))
    except CorruptData as error:
        raise UsageError(
            f"{path!r} does not lead to data of this repository",
            hint='paths are relative to its root: `data("data/raw.csv")`',
        ) from error
    file = root / name
    if not file.exists():
        raise NameNotFound(
            f"there is no data at {name}", hint="paths are relative to the repository's root"
        )
    if file.is_dir():
        kind = "tree"
        digest, size = writer.put_directory(file)
    else:
        kind = "blob"
        digest, size = writer.put_file(file)
    pointer_file = file.with_name(file.name + SUFFIX)
    if pointer_file.is_file():
        pointer = Pointer.decode(pointer_file.read_bytes(), pointer_file.name)
        if pointer.digest != digest:
            raise UsageError(
                f"{name} is not what its pointer says: {digest.short}, not {pointer.digest.short}",
                hint=f"`git checkout -- {name}{SUFFIX}` or bring the data back",
            )
    commit = recorder.source(digest, kind, size)
    output = Output(name, name, digest, kind, size, "path/1", "pathlib.Path")
    return Pinned(name, output, commit, file)
