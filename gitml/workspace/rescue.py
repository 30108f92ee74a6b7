"""Bytes that the store has lost, taken from files of the working tree that still have them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from gitml.errors import GitmlError
from gitml.workspace.statcache import SYMLINK, digest_id
from gitml.workspace.survey import hash_member
from gitml.workspace.workingtree import WorkingTree

if TYPE_CHECKING:
    from gitml.store.tree import TreeEntry


def stored_again(tree: WorkingTree, wanted: Iterable[TreeEntry]) -> bool:
    """Store again what is damaged or absent of these and lies elsewhere in the tree; if any does.

    As after a file was renamed: the store's copy is bad, and the only good one has the name of the
    other version. A file counts by what it holds now, not by what is noted of it.
    """
    is_sound = tree.store.is_sound
    lost = {digest_id(one.digest): one.digest for one in wanted if not is_sound(one.digest)}
    cache, before = tree.cache(), len(lost)
    with tree.store.writer() as writer:
        for path in cache.held if lost else ():
            for entry in cache.entries(path):
                digest = lost.get(entry.id)
                if digest is None or entry.mode == SYMLINK:
                    continue
                file = tree.root / os.fsdecode(entry.path)
                with suppress(GitmlError, OSError):
                    if hash_member(file)[0] == digest and writer.put_file(file)[0] == digest:
                        del lost[entry.id]
    return len(lost) < before
