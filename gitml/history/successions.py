"""Which bytes came after which: the versions of each thing, in the order in which they were made.

Maintenance stores a later version by what it shares with the one before. A pointer's versions are
in git's history, a folder's files in its successive trees, an artifact's in the runs that made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.git import walk
from gitml.git.process import Git
from gitml.history.index import Index
from gitml.store.reader import Reader
from gitml.store.tree import SYMLINK, diff_trees

Succession = tuple[Digest, Digest]

_POINTERS = (f"*{SUFFIX}",)


def successions(git: Git, index: Index, store: Reader) -> list[Succession]:
    """Pairs of an older and a newer version of one thing, the oldest first, each once.

    Versions that the store does not hold are left out, and so is what cannot be read: fewer pairs
    are only less to save.
    """
    found: dict[Succession, None] = {}
    for pair in [*_of_pointers(git), *_of_artifacts(index)]:
        for one in _expanded(store, *pair):
            found[one] = None
    return list(found)


def checked_out(git: Git, store: Reader, digests: Iterable[Digest]) -> set[Digest]:
    """Those of ``digests`` that the pointers in git's index name, by themselves or in a folder."""
    wanted = {digest.raw for digest in digests}
    found: set[bytes] = set()
    with suppress(GitmlError):
        for pointer in _pointers(git, walk.indexed(git, _POINTERS)).values():
            if pointer.kind == "tree":
                with suppress(CorruptData, MissingBytes):
                    column = store.read_tree(pointer.digest).columns.digests
                    raws = (bytes(column[at : at + 32]) for at in range(0, len(column), 32))
                    found.update(wanted.intersection(raws))
            elif pointer.digest.raw in wanted:
                found.add(pointer.digest.raw)
    return set(map(Digest.from_bytes, found))


def _of_pointers(git: Git) -> list[Succession]:
    """The versions of each pointer on any branch, and what is staged."""
    changes: list[tuple[ObjectId, ObjectId]] = []
    with suppress(GitmlError):
        changes.extend(walk.replaced(git, _POINTERS))
    pairs = []
    with suppress(GitmlError):
        pointers = _pointers(git, [one for change in changes for one in change])
        for old, new in changes:
            if old in pointers and new in pointers:
                pairs.append((pointers[old].digest, pointers[new].digest))
    return pairs


def _pointers(git: Git, blobs: Iterable[ObjectId]) -> dict[ObjectId, Pointer]:
    """Those of the blobs that are pointers."""
    found = {}
    for oid, _, data in walk.contents(git, dict.fromkeys(blobs)):
        with suppress(CorruptData):
            found[oid] = Pointer.decode(data, oid.short)
    return found


def _of_artifacts(index: Index) -> Iterator[Succession]:
    """What runs made, and people saved, under each name."""
    by_name: dict[str, list[Digest]] = {}
    for name, digest, _, _ in reversed(index.outputs()):
        by_name.setdefault(name, []).append(digest)
    for entry in reversed(index.saved()):
        by_name.setdefault(entry.record.name, []).append(entry.record.digest)
    for digests in by_name.values():
        yield from pairwise(dict.fromkeys(digests))


def _expanded(store: Reader, older: Digest, newer: Digest) -> Iterator[Succession]:
    """The pair, and of two folders the files that have the same path and other bytes."""
    if older == newer:
        return
    with suppress(CorruptData, MissingBytes):
        kinds = {store.info(older).kind, store.info(newer).kind}
        if len(kinds) == 2:
            return
        yield older, newer
        if kinds == {"tree"}:
            changed = diff_trees(store.read_tree(older), store.read_tree(newer)).changed
            for old, new in changed:
                if SYMLINK not in (old.mode, new.mode) and old.digest != new.digest:
                    yield old.digest, new.digest
