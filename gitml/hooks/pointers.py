"""A pointer and its data agree, and data stays out of git: what `gitml-pointers` holds."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, StorageError
from gitml.hooks.staged import LINK, SUBMODULE, Finding, Staged, StagedFile

if TYPE_CHECKING:
    from gitml.store.store import Store

_MAX_POINTER = 64 << 10


def check(staged: Staged, store: Callable[[], Store], limit: int) -> Iterator[Finding]:
    """What is wrong with the staged pointers and the staged data, by path.

    A pointer has to parse. One that this commit makes needs its bytes in the store, and data in the
    work tree that is what it says; where commits that exist are checked, bytes may be elsewhere.
    Any other file must not be covered by a pointer, and a new one has at most ``limit`` bytes.
    """
    pointers = [one for one in staged.files if _is_pointer(one.path)]
    others = [one for one in staged.files if not _is_pointer(one.path)]
    found = [*_pointer_findings(staged, pointers, store), *_data_findings(staged, others, limit)]
    yield from sorted(found, key=lambda one: one.path)


def _is_pointer(path: str) -> bool:
    return path.endswith(SUFFIX) and path.rpartition("/")[2] != SUFFIX


def _pointer_findings(
    staged: Staged, files: Sequence[StagedFile], store: Callable[[], Store]
) -> Iterator[Finding]:
    for file, size in zip(files, staged.sizes(files), strict=True):
        if file.mode in (LINK, SUBMODULE) or size < 0:
            yield Finding(file.path, "a pointer is a regular file")
            continue
        data = staged.read(file) if size <= _MAX_POINTER else b"\0" * (_MAX_POINTER + 1)
        try:
            pointer = Pointer.decode(data, file.path)
        except CorruptData as error:
            what = error.message.removeprefix(f"{file.path}: ")
            yield Finding(file.path, what, _command_in(error.hint))
            continue
        if file.is_new and staged.since is None:
            yield from _agreement(staged, file, pointer, store)


def _agreement(
    staged: Staged, file: StagedFile, pointer: Pointer, store: Callable[[], Store]
) -> Iterator[Finding]:
    """What a pointer that is new says and the store or the work tree does not."""
    name = file.path.removesuffix(SUFFIX)
    add = f"gitml add {shlex.quote(name)}"
    path = staged.git.work_tree() / name
    if not store().has(pointer.digest):
        is_there = path.exists()
        yield Finding(file.path, "the store has not the bytes", add if is_there else "gitml pull")
    elif is_other(path, pointer):
        yield Finding(name, "the data is not what the staged pointer says", add)


def is_other(path: Path, pointer: Pointer) -> bool:
    """Whether there is data at ``path`` and it differs from what a pointer says."""
    try:
        if path.is_symlink() or not path.exists():
            return path.is_symlink()
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
