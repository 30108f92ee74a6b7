"""Which bytes records and pointers stand for: what has to be there before git names it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, GitmlError
from gitml.frozen import Frozen
from gitml.git import walk
from gitml.git.process import Git
from gitml.history.reachable import PATTERNS

_LARGEST = 16 << 20


class Need(Frozen):
    """Bytes that git names: kind ("blob" or "tree"), size in bytes, and a place that says so."""

    digest: Digest
    kind: str
    size: int
    where: str


def new_needs(git: Git, tips: Iterable[ObjectId], known: Iterable[ObjectId]) -> dict[Digest, Need]:
    """The bytes that commits name which somebody lacks who has ``known``.

    Named are: outputs and logs of steps, sources, artifacts of versions, and pointers. Raises
    CorruptData for a record or a pointer that cannot be read.
    """
    return _named(git, walk.files_between(git, tips, known, PATTERNS))


def needs_at(git: Git, tips: Iterable[ObjectId]) -> dict[Digest, Need]:
    """The bytes that are named in the trees of these commits, whoever put them there."""
    return _named(git, walk.files_at(git, tips, PATTERNS))


def _named(git: Git, files: Iterable[tuple[ObjectId, str]]) -> dict[Digest, Need]:
    names: dict[ObjectId, str] = {}
    for oid, path in files:
        names.setdefault(oid, path)
    found: dict[Digest, Need] = {}
    for oid, kind, data in walk.contents(git, names):
        if kind == "blob":
            for need in _named_in(data, names[oid]):
                found.setdefault(need.digest, need)
    return found


def _named_in(data: bytes, path: str) -> Iterator[Need]:
    """What one file names."""
    if path.endswith(SUFFIX) and not path.endswith(f"/{SUFFIX}"):
        pointer = Pointer.decode(data, path)
        yield Need(pointer.digest, pointer.kind, pointer.size, path.removesuffix(SUFFIX))
    elif path.startswith(f"{SUFFIX}/") and path.endswith(".json") and b"blake3:" in data:
        if len(data) > _LARGEST:
            raise CorruptData(f"{path} is larger than any record", hint="`gitml fsck`")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorruptData(
                f"{path} is no record that can be read", hint="`gitml fsck`"
            ) from error
        yield from _held(document, path)


def _held(document: Any, path: str) -> Iterator[Need]:
    """What stands in a record with a digest and a size: that, the record has in the store.

    An input has no size: the record that made it has. Files of code have neither.
    """
    todo = [document]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            digest, size = one.get("digest"), one.get("size")
            if isinstance(digest, str) and isinstance(size, int):
                try:
                    found = Digest.parse(digest)
                except GitmlError:
                    continue
                name = one.get("artifact") or one.get("name")
                where = name if isinstance(name, str) else path.removeprefix(f"{SUFFIX}/")
                yield Need(found, "tree" if one.get("kind") == "tree" else "blob", size, where)
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
