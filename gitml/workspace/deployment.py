"""A checked-out model version: its artifacts beside their pointers, in the record's folder.

`git clone --depth 1 --branch clf@v3` has the code, the record and the pointers of a version. What a
deployment needs besides are the files that these stand for. They are nobody's work, so git is told
to pass them over, and one that is not what its pointer says is written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.fs import make_directories, storage_errors
from gitml.git.odb import Odb
from gitml.store.digest import hash_file
from gitml.workspace.checkout import Move
from gitml.workspace.workingtree import WorkingTree

_FOLDER = f"{SUFFIX}/artifacts"
_EXCLUDED = (f"/{_FOLDER}/*", f"!/{_FOLDER}/*{SUFFIX}")


def check_out_artifacts(tree: WorkingTree, odb: Odb, *, dry_run: bool = False) -> list[Move]:
    """Write the artifacts of the version that is checked out; nothing where none is.

    Raises MissingBytes, CorruptData and StorageError; a file has its name when it is verified.
    """
    head = odb.resolve("HEAD")
    if head is None or dict(odb.commit(head).trailers()).get("Gitml-Kind") != "version":
        return []
    moves = []
    for file in sorted((tree.root / _FOLDER).glob(f"*{SUFFIX}")):
        name = file.name.removesuffix(SUFFIX)
        where = f"{_FOLDER}/{name}"
        data = odb.file(head, f"{where}{SUFFIX}")
        if data is None or file.is_symlink():
            continue
        pointer = Pointer.decode(data, f"{where}{SUFFIX}")
        target = tree.root / where
        if not _is_there(target, pointer):
            if not dry_run:
                _replace(tree, target, pointer)
            moves.append(Move(where, written=[where], size=pointer.size, files=1))
    if moves and not dry_run:
        _exclude(tree.git.common / "info" / "exclude")
    return moves


def _is_there(target: Path, pointer: Pointer) -> bool:
    """Whether a file is what its pointer says; of a folder, whether it is there."""
    if pointer.kind == "tree":
        return target.is_dir()
    return target.is_file() and not target.is_symlink() and hash_file(target) == pointer.digest


def _replace(tree: WorkingTree, target: Path, pointer: Pointer) -> None:
    with storage_errors(target):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        elif pointer.kind == "tree":
            target.unlink(missing_ok=True)
    tree.store.copy_to(pointer.digest, target)


def _exclude(path: Path) -> None:
    """Have git pass over what is written beside the pointers."""
    make_directories(path.parent)
    with storage_errors(path):
        text = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
        missing = [one for one in _EXCLUDED if one not in text.splitlines()]
        if missing:
            with path.open("a", encoding="utf-8") as file:
                lead = "" if not text or text.endswith("\n") else "\n"
                file.write(lead + "\n".join(missing) + "\n")
