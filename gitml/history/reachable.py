"""What is live: the digests of everything that git still speaks of, so that nothing else may go.

Digests are searched for in the text of whatever can name bytes, rather than in the fields that this
version knows: a field that a later version added keeps its bytes as well. What cannot be read might
name anything. So then there is an error in place of an answer: "not reachable" would be a guess.
Only the list of a folder's files may be absent: it names files and nothing else.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import SUFFIX
from gitml.errors import (
    AuthenticationFailed,
    CorruptData,
    GitmlError,
    MissingBytes,
    RemoteFailed,
    StorageError,
)
from gitml.frozen import Frozen
from gitml.git import walk
from gitml.git.process import Git
from gitml.history import journal

if TYPE_CHECKING:
    from gitml.store.reader import Reader

PATTERNS = (f"*{SUFFIX}", SUFFIX)
"""Where in a tree digests are named: pointers anywhere, and the folder of a record."""

_DIGEST = re.compile(rb"blake3:([0-9a-f]{64})")
_ID = re.compile(rb'"([0-9a-f]{40})"')
_FORMAT = re.compile(rb'^  "format": ([0-9]{1,9}),?$', re.MULTILINE)
_POINTER = re.compile(rb"gitml ([0-9]{1,9})\r?\n")
_SAYS_TREE = re.compile(rb"^kind tree\r?$", re.MULTILINE)
_LARGEST = 16 << 20


class Reachable(Frozen):
    """The raw digests of what is named, and the folders whose lists of files cannot be had.

    What those folders hold is not known: it may be any of the blobs.
    """

    digests: set[bytes]
    unlisted: tuple[Digest, ...]


def reachable(gits: Iterable[Git], store: Reader) -> Reachable:
    """All blobs and trees that these repositories name, with the members of trees.

    Named are: records and pointers in every commit of any ref, reflog, stash or work tree's head,
    in every index, as files in every work tree, in notes, and in the journals of runs. Raises the
    error of the first thing that cannot be read: a record or tree that is damaged, or a record that
    is not here (the edge of a shallow clone is the usual case).
    """
    marks = _Marks()
    for git in gits:
        marks.repository(git)
    return Reachable(marks.digests, marks.members(store))


@dataclass
class _Marks:
    """The digests found so far, and those of them that are known to be trees."""

    digests: set[bytes] = field(default_factory=set)
    trees: set[bytes] = field(default_factory=set)
    _seen: set[ObjectId] = field(default_factory=set)

    def repository(self, git: Git) -> None:
        """Take in all that one repository names."""
        _refuse_partial(git)
        places = walk.work_trees(git)
        tips: set[ObjectId] = set()
        for place in places:
            tips |= walk.heads(place.git.directory)
        for path in _files(journal.folder(git.common), "*.jsonl"):
            tips |= self._journal(path)
        for path in _files(git.common / "gitml" / "moves", "*"):
            tips |= {ObjectId(one.decode()) for one in _ID.findall(_read(path))}
        tips = set(walk.existing(git, tips))
        self._blobs(git, walk.files_ever(git, tips, PATTERNS))
        for place in places:
            self._work_tree(place)
        for ref in git.run("for-each-ref", "--format=%(refname)", "refs/notes").decode().split():
            self._blobs(git, ((one, "a note") for one in walk.tree_files(git, ref)))

    def _work_tree(self, place: walk.WorkTreeOf) -> None:
        """Take in an index, and the pointers that lie in the work tree, committed or not."""
        git = place.git
        staged = walk.indexed(git, PATTERNS) if (git.directory / "index").exists() else []
        self._blobs(git, ((one, f"staged{SUFFIX}") for one in staged))
        if place.locked and not place.there:
            raise MissingBytes(
                f"the locked work tree {git.directory.name} cannot be read: its folder is away",
                hint=f"bring it back, or `git worktree unlock {git.directory.name}`",
            )
        if git.root is None:
            return
        for path in walk.files_in(git, [f"*{SUFFIX}"]):
            try:
                if stat.S_ISREG(path.lstat().st_mode):
                    self._text(_read(path), str(path), is_record=False)
            except FileNotFoundError:
                continue

    def _blobs(self, git: Git, named: Iterable[tuple[ObjectId, str]]) -> None:
        names = {oid: name for oid, name in named if oid not in self._seen}
        self._seen |= names.keys()
        for oid, kind, data in walk.contents(git, names):
            if kind == "blob":
                name = names[oid]
                self._text(data, f"{name} ({oid.short})", is_record=_is_record(name))

    def _text(self, data: bytes, where: str, *, is_record: bool) -> None:
        """Take in the digests of one file; raises CorruptData for a record that is none."""
        found = {bytes.fromhex(one.decode()) for one in _DIGEST.findall(data)}
        self.digests |= found
        header = _POINTER.match(data)
        if header is not None:
            _refuse_format(header[1], where)
            if _SAYS_TREE.search(data):
                self.trees |= found
        elif is_record:
            document = _parsed(data, where)
            if b'"tree"' in data:
                self.trees.update(_trees_in(document))

    def _journal(self, path: Path) -> set[ObjectId]:
        """Take in a journal; gives the ids of the commits that it names."""
        try:
            data = _read(path)
        except FileNotFoundError:  # its run has been recorded meanwhile: then a ref names all
            return set()
        self.digests |= {bytes.fromhex(one.decode()) for one in _DIGEST.findall(data)}
        for line in data.split(b"\n")[:-1]:
            try:
                document = json.loads(line)
            except ValueError:  # cut off: nothing behind it counts
                break
            self.trees.update(_trees_in(document))
        return {ObjectId(one.decode()) for one in _ID.findall(data)}

    def members(self, store: Reader) -> tuple[Digest, ...]:
        """Take in the members of all trees, and give those whose list is nowhere.

        Raises CorruptData, StorageError.
        """
        trees = [Digest.from_bytes(raw) for raw in sorted(self.trees)]
        with suppress(RemoteFailed, AuthenticationFailed):  # what it has then counts as nowhere
            store.bring(trees)
        held = {one for one in trees if store.has(one)}
        for digest in held:
            digests = store.read_tree(digest).columns.digests
            self.digests.update(digests[at : at + 32] for at in range(0, len(digests), 32))
        return tuple(one for one in trees if one not in held)


def _refuse_partial(git: Git) -> None:
    """Raise MissingBytes for a clone that was told to leave out a part of the history."""
    if git.shallow:
        raise MissingBytes(
            "this is a shallow clone: what its cut-off history names is not known here",
            hint="`git fetch --unshallow` brings it",
        )
    if any(re.fullmatch(r"remote\..*\.promisor", key) for key in git.settings):
        raise MissingBytes(
            "this is a partial clone: what the objects name that it left out is not known here",
            hint="a full clone, made by `git clone`, can collect",
        )


def _is_record(name: str) -> bool:
    """Whether a file is one of a record's that may name bytes."""
    is_inside = name.startswith(f"{SUFFIX}/") and name.endswith(".json")
    return is_inside and name != f"{SUFFIX}/metrics.json"


def _parsed(data: bytes, where: str) -> Any:
    if len(data) > _LARGEST:
        raise CorruptData(f"{where} is larger than any record", hint="`gitml fsck`")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{where} is no record that can be read", hint="`gitml fsck`") from error
    found = _FORMAT.search(data)
    _refuse_format(found[1] if found else b"1", where)
    return document


def _refuse_format(number: bytes, where: str) -> None:
    if int(number) > 1:
        raise CorruptData(
            f"{where} is of format {int(number)}, which this gitml cannot read",
            hint="`pip install -U gitml` reads newer records",
        )


def _trees_in(document: Any) -> Iterator[bytes]:
    """The digests that stand beside the word that they are a tree's, anywhere in a document."""
    todo = [document]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if one.get("kind") == "tree" and isinstance(one.get("digest"), str):
                try:
                    yield Digest.parse(one["digest"]).raw
                except GitmlError:
                    continue
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _read(path: Path) -> bytes:
    """The bytes of a file; raises FileNotFoundError, StorageError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}") from error
