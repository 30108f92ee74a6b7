"""Which clones share a store: each says so there, and a collection asks them all.

A store that several clones use (``git config gitml.store``) must not be collected by what one of
them knows. So a clone leaves a line of JSON in ``clones/`` of the store when it first opens it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitml.entities import codec
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.fs import make_directories, write_durably
from gitml.git.process import Git
from gitml.store.digest import hash_bytes
from gitml.store.layout import Layout, listed

FOLDER = "clones"
_SEEN = "gitml/store-seen"


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone as it registered: the file that says so, its host, its git directory, its device."""

    file: Path
    host: str
    path: Path
    device: int


def register(root: Path, git: Git) -> None:
    """Note in the store at ``root`` that this clone uses it; raises StorageError.

    A look at one name when that is noted already.
    """
    common = git.common.resolve()
    file = root / FOLDER / f"{hash_bytes(os.fsencode(common)).hex[:16]}.json"
    if file.exists():
        return
    Layout(root).make_folder(file.parent)
    device = common.stat().st_dev
    document = {"format": 1, "host": _host(), "path": str(common), "device": device}
    write_durably(file, codec.dump_line(document).encode() + b"\n")


def remember(root: Path, git: Git) -> None:
    """Note in this clone that it uses the store at ``root``; raises StorageError."""
    if not is_remembered(root, git):
        make_directories((git.common / _SEEN).parent)
        write_durably(git.common / _SEEN, os.fsencode(root) + b"\n")


def is_remembered(root: Path, git: Git) -> bool:
    """Whether this clone has used the store at ``root``, so that it has to be there."""
    try:
        return (git.common / _SEEN).read_bytes() == os.fsencode(root) + b"\n"
    except OSError:
        return False


def registered(root: Path) -> list[Clone]:
    """The clones that have registered in a store; raises CorruptData."""
    return [_clone(file) for file in listed(root / FOLDER) if file.suffix == ".json"]


def sharing(root: Path, git: Git) -> list[Git]:
    """Every clone whose git may name bytes of the store at ``root``, ``git`` first.

    A clone that was deleted does not count. Raises the error of one that cannot be read, by name:
    on another host, on a disk that is away, damaged, or somebody else's.
    """
    found = {git.common.resolve(): git}
    for path in _owner(root):
        if path not in found:
            found[path] = Git.discover(path)
    for clone in registered(root):
        if clone.path not in found and (one := _opened(clone)) is not None:
            found[clone.path] = one
    return list(found.values())


def is_deleted(clone: Clone) -> bool:
    """Whether a clone is surely gone: its folder is not there, but its disk is."""
    if clone.host != _host() or clone.path.exists():
        return False
    above = next(one for one in clone.path.parents if one.exists())
    return above.stat().st_dev == clone.device


def _opened(clone: Clone) -> Git | None:
    if is_deleted(clone):
        return None
    hint = f"if it is gone for good: `rm {shlex.quote(str(clone.file))}`"
    if clone.host != _host():
        raise MissingBytes(
            f"the store is shared with {clone.path} on the host {clone.host}", hint=hint
        )
    try:
        return Git.discover(clone.path)
    except (GitmlError, OSError) as error:
        raise MissingBytes(
            f"the store is shared with the clone {clone.path}, which cannot be read", hint=hint
        ) from error


def _owner(root: Path) -> Iterator[Path]:
    """The clone in whose git directory a store lies."""
    folder = root.resolve().parent
    if folder.name == "gitml" and (folder.parent / "HEAD").is_file():
        yield folder.parent


def _clone(file: Path) -> Clone:
    document = codec.parse(file.read_bytes(), str(file))
    codec.check_format(document, str(file))
    host, path, device = (document.get(key) for key in ("host", "path", "device"))
    if not (isinstance(host, str) and isinstance(path, str) and isinstance(device, int)):
        raise CorruptData(f"{file} does not say which clone it stands for", hint=f"`rm {file}`")
    return Clone(file, host, Path(path), device)


def _host() -> str:
    return os.uname().nodename
