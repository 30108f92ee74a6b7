"""A pointer and its data agree, and data stays out of git: what `gitml-pointers` holds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, StorageError
from gitml.hooks.staged import LINK, SUBMODULE, Finding, Staged, StagedFile

if TYPE_CHECKING:
    from gitml.workspace.workingtree import WorkingTree

_MAX_POINTER = 64 << 10


def check(staged: Staged, data: Callable[[], WorkingTree], limit: int) -> Iterator[Finding]:
    """What is wrong with the staged pointers and the staged data, by path.

    A pointer has to parse. One that this commit makes needs its bytes in the store, and data in the
    work tree that is what it says; where commits that exist are checked, bytes may be elsewhere.
    Any other file must not be covered by a pointer, and a new one has at most ``limit`` bytes.
    """
    pointers = [one for one in staged.files if _is_pointer(one.path)]
    others = [one for one in staged.files if not _is_pointer(one.path)]
    found = [*_pointer_findings(staged, pointers, data), *_data_findings(staged, others, limit)]
    yield from sorted(found, key=lambda one: one.path)


def _is_pointer(path: str) -> bool:
    return path.endswith(SUFFIX) and path.rpartition("/")[2] != SUFFIX


def _pointer_findings(
    staged: Staged, files: Sequence[StagedFile], data: Callable[[], WorkingTree]
) -> Iterator[Finding]:
    for file, size in zip(files, staged.sizes(files), strict=True):
        if file.mode in (LINK, SUBMODULE) or size < 0:
            yield Finding(file.path, "a pointer is a regular file")
            continue
        text = staged.read(file) if size <= _MAX_POINTER else b"\0" * (_MAX_POINTER + 1)
        try:
            pointer = Pointer.decode(text, file.path)
        except CorruptData as error:
            what = error.message.removeprefix(f"{file.path}: ")
            yield Finding(file.path, what, _command_in(error.hint))
            continue
        if file.is_new and staged.since is None:
            yield from _agreement(file, pointer, data())


def _agreement(file: StagedFile, pointer: Pointer, tree: WorkingTree) -> Iterator[Finding]:
    """What a pointer that is new says and the store or the work tree does not."""
    name = file.path.removesuffix(SUFFIX)
    quoted = shlex.quote(name)
    path = tree.root / name
    if not tree.store.has(pointer.digest):
        is_there = os.path.lexists(path)
        add = f"gitml add {quoted}" if is_there else "gitml pull"
        yield Finding(file.path, "the store has not the bytes", add)
    elif os.path.lexists(path):
        state = _state(tree, name, pointer)
        if state == "changed":
            what = "the data is not what the staged pointer says"
            yield Finding(name, what, f"gitml add {quoted}")
        elif state == "behind":
            what = "the data is that of another pointer than the staged one"
            yield Finding(name, what, f"gitml checkout {quoted}")


def _state(tree: WorkingTree, name: str, pointer: Pointer) -> str:
    """How data that is there stands to a pointer: "clean", "changed" or "behind".

    The stat cache answers for all that gitml has added or checked out; only a file that it does not
    know is hashed.
    """
    from gitml.workspace.survey import compare

    cache = tree.cache()
    held = cache.held.get(name)
    if held is None:
        return "changed" if _is_other(tree.root / name, pointer) else "clean"
    if not compare(tree, cache, [name])[name].is_clean:
        return "changed"
    return "clean" if held.pointer.encode() == pointer.encode() else "behind"


def _is_other(path: Path, pointer: Pointer) -> bool:
    """Whether a file or folder that nothing is known of is not what a pointer says."""
    try:
        if path.is_symlink():
            return True
        if pointer.kind == "tree":
            return not path.is_dir()
        if not path.is_file() or path.stat().st_size != pointer.size:
            return True
        from gitml.store.digest import hash_file

        return hash_file(path) != pointer.digest
    except (OSError, StorageError):
        return True


def _data_findings(staged: Staged, files: Sequence[StagedFile], limit: int) -> Iterator[Finding]:
    if not files:
        return
    pointers = staged.pointers
    new = [one for one in files if one.is_new and one.mode != SUBMODULE]
    too_large = {
        file.path: size for file, size in zip(new, staged.sizes(new), strict=True) if size > limit
    }
    for file in files:
        quoted = shlex.quote(file.path)
        covering = _covering(file.path, pointers)
        if covering is not None:
            yield Finding(
                file.path,
                f"{covering} stands for it already, and git would keep it twice",
                f"git rm --cached {quoted}",
            )
        elif size := too_large.get(file.path):
            megabytes, most = f"{size / 1e6:,.1f}", f"{limit / 1e6:,.6g}"
            yield Finding(
                file.path,
                f"{megabytes} MB is too much for git (at most {most} MB)",
                f"git rm --cached {quoted} && gitml add {quoted}",
            )


def _covering(path: str, pointers: frozenset[str]) -> str | None:
    """The pointer that stands for a file or for a folder above it."""
    while path:
        if f"{path}{SUFFIX}" in pointers:
            return f"{path}{SUFFIX}"
        path = path.rpartition("/")[0]
    return None


def _command_in(hint: str | None) -> str | None:
    """The first command of a hint."""
    parts = (hint or "").split("`")
    return parts[1] if len(parts) > 2 else None
