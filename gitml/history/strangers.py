"""Tags made by hand where moves of stages belong: they keep a stage from being moved or read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator

from gitml.entities.ids import ObjectId, is_stage_name
from gitml.errors import CorruptData, GitmlError
from gitml.frozen import Frozen
from gitml.git.odb import Tag
from gitml.git.refs import Ref
from gitml.history.entries import line_of
from gitml.history.record import STAGES, TAGS, TRACKING, VERSIONS

_MOVE = r"[1-9][0-9]{0,8}\Z"
_REPLAYED = "the tag was made as"
USUAL = frozenset({"production", "staging"})
"""Stages that are named like that in most projects, also before the first move."""


class Stranger(Frozen):
    """A tag that no promotion made: its name, what is wrong with it, and what takes it away.

    ``replayed`` is one that was made under another name, and copied.
    """

    name: str
    detail: str
    remedy: str
    replayed: bool = False


def strangers(listed: Iterable[Ref], read: Callable[[ObjectId], Tag | None]) -> Iterator[Stranger]:
    """The tags among some refs that are in the way of the moves of stages.

    ``read`` gives the tag of an object, None where it is none. Tags on names that are no model's
    are not looked at.
    """
    refs = list(listed)
    models = {name for ref in refs if (name := _model_of(ref.name))}
    stages = USUAL | {name for ref in refs if (name := _stage_of(ref.name))}
    for ref in refs:
        name = ref.name.removeprefix(f"{TAGS}/")
        model, _, leaf = name.partition("@")
        if not ref.name.startswith(f"{TAGS}/") or model not in models:
            continue
        if leaf in stages:
            detail = f"it is no move, and in the way of {name}/1"
            yield Stranger(name, detail, _renamed(name))
        elif (fault := _fault(ref, name, leaf, read)) is not None:
            replayed = fault.startswith(_REPLAYED)
            yield Stranger(name, fault, _removed(name, _remote_with(ref, refs)), replayed)


def is_stranger(tag: Tag | None, name: str) -> bool:
    """Whether a tag object is no record of gitml's under this name, of whatever format."""
    if tag is None or tag.name != name:
        return True
    try:
        line_of(tag)
    except CorruptData:
        return True
    return False


def _renamed(name: str) -> str:
    one, other = shlex.quote(name), shlex.quote(f"old/{name}")
    return f"`git tag {other} {one} && git tag -d {one}` gives it another name"


def _removed(name: str, remote: str | None) -> str:
    one = shlex.quote(name)
    there = f"git push {remote} :refs/tags/{one} && " if remote else ""
    return f"`{there}git tag -d {one}` removes it; then `gitml fetch`"


def _fault(ref: Ref, name: str, leaf: str, read: Callable[[ObjectId], Tag | None]) -> str | None:
    """Why a tag with the name of a move is none, None for one that says it is."""
    stage, _, n = leaf.partition("/")
    if not re.match(_MOVE, n) or not is_stage_name(stage):
        return None
    if ref.target == ref.commit:
        return "it is no annotated tag, and so no move"
    try:
        tag = read(ref.target)
    except GitmlError:
        return None  # what cannot be read may be a move
    if tag is None:
        return None
    if tag.name != name:
        return f"{_REPLAYED} {tag.name}"
    return "it carries no record, and so is no move" if is_stranger(tag, name) else None


def _remote_with(ref: Ref, refs: Iterable[Ref]) -> str | None:
    """A remote that was seen to have the same tag."""
    tail = f"/tags/{ref.name.removeprefix(f'{TAGS}/')}"
    for one in refs:
        is_noted = one.name.startswith(f"{TRACKING}/") and one.name.endswith(tail)
        if is_noted and one.target == ref.target:
            folder = one.name.removeprefix(f"{TRACKING}/").partition("/")[0]
            return shlex.quote(folder.replace("%2F", "/").replace("%25", "%"))
    return None


def _stage_of(ref: str) -> str | None:
    """The stage that a ref says has moved, of any model."""
    if ref.startswith(f"{STAGES}/"):
        return ref.rpartition("/")[2]
    stage, slash, n = ref.partition("@")[2].partition("/")
    return stage if slash and re.match(_MOVE, n) and is_stage_name(stage) else None


def _model_of(ref: str) -> str | None:
    """The model whose version a ref keeps or numbers."""
    if ref.startswith(f"{VERSIONS}/"):
        return ref.removeprefix(f"{VERSIONS}/").partition("/")[0]
    name, at, leaf = ref.removeprefix(f"{TAGS}/").partition("@")
    return name if at and ref.startswith(f"{TAGS}/") and re.match(f"v{_MOVE}", leaf) else None
