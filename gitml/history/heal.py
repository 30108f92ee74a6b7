"""Bringing back bytes that are damaged or lost, from wherever a good copy of them is.

A copy is good when its digest says so, wherever it comes from: a file of the work tree, or one of a
commit. Then damaged packs are rewritten with what is whole in them.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from gitml.entities.ids import Digest, ObjectId
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.frozen import Frozen
from gitml.fs import judge_relative_path
from gitml.history.check import Checker
from gitml.store.digest import hash_bytes, hash_file
from gitml.store.directory import list_directory, tree_mode
from gitml.store.store import Tree, TreeEntry, Writer
from gitml.store.tree import SYMLINK


class Healed(Frozen):
    """What is whole again: a "blob" or a "file" of the store, its name, and what helped."""

    kind: str
    name: str
    source: str


def heal(checker: Checker) -> list[Healed]:
    """Heal what a finished check has found damaged, as far as that can be done from here.

    First lost bytes are stored again from good copies, then damaged files of the store are replaced
    by what is whole in them. Raises StorageError.
    """
    with checker.store.writer() as writer:
        sources = {digest: _stored_again(checker, writer, digest) for digest in checker.lost}
        left = {digest for digest, source in sources.items() if source is None}
        sources |= _stored_from_folders(checker, writer, left)
    healed = [
        Healed("blob", digest.short, source)
        for digest, source in sorted(sources.items())
        if source is not None
    ]
    set_aside = checker.store.mend()
    source = "what is whole in it"
    return healed + [Healed("file", path.name[:12] + path.suffix, source) for path in set_aside]


def _stored_again(checker: Checker, writer: Writer, digest: Digest) -> str | None:
    """Store bytes again from the first place that still has them; says which, None if none."""
    root = checker.git.root
    for path, code in checker.places.get(digest, {}).items():
        with suppress(GitmlError, OSError):
            judge_relative_path(os.fsencode(path))
            if root is not None and _stored_from_file(writer, root / path, digest):
                return path
            if code is not None and _stored_from_commit(checker, writer, code, path, digest):
                return f"{code.short}:{path}"
    return None


def _stored_from_folders(checker: Checker, writer: Writer, lost: set[Digest]) -> dict[Digest, str]:
    """Store again what lies in folders whose list of files is lost; by digest, where it was.

    Where some of such a folder has changed since, it is not that list any more, but the other files
    in it still are what they were.
    """
    found: dict[Digest, str] = {}
    root = checker.git.root
    if root is None:
        return found
    for path in sorted({path for one in lost for path in checker.places.get(one, ())}):
        with suppress(GitmlError, OSError):
            judge_relative_path(os.fsencode(path))
            folder = root / path
            for name, kind in list_directory(folder).names if folder.is_dir() else ():
                digest = _entry(folder, name, kind).digest
                is_missed = digest in lost and digest not in found
                if is_missed and _stored_from_file(writer, folder / name, digest):
                    found[digest] = f"{path}/{name}"
    return found


def _stored_from_file(writer: Writer, path: Path, digest: Digest) -> bool:
    """Whether a file, link or folder of the work tree has the digest; then it is stored."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        target = os.fsencode(path.readlink())
        return hash_bytes(target) == digest and writer.put_bytes(target) == digest
    if stat.S_ISDIR(mode):
        entries = [_entry(path, name, kind) for name, kind in list_directory(path).names]
        tree = Tree.of(entries)
        return tree.digest == digest and writer.put_directory(path)[0] == digest
    return hash_file(path) == digest and writer.put_file(path)[0] == digest


def _entry(root: Path, name: str, mode: int) -> TreeEntry:
    path = root / name
    if mode == SYMLINK:
        target = os.fsencode(path.readlink())
        return TreeEntry(name, mode, len(target), hash_bytes(target))
    status = path.stat()
    return TreeEntry(name, tree_mode(status.st_mode), status.st_size, hash_file(path))


def _stored_from_commit(
    checker: Checker, writer: Writer, code: ObjectId, path: str, digest: Digest
) -> bool:
    """Whether git itself tracked the data beside the code that read it; then it is stored."""
    with suppress(CorruptData, MissingBytes):
        data = checker.odb.file(code, path)
        return data is not None and hash_bytes(data) == digest and writer.put_bytes(data) == digest
    return False
