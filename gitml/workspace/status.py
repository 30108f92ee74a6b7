"""How the data of a working tree stands: one state for each pointer, and the files that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

from gitml.entities.pointer import Pointer
from gitml.errors import GitmlError, MissingBytes
from gitml.frozen import Frozen, replace
from gitml.workspace import resolving
from gitml.workspace.pointerfiles import Tracked
from gitml.workspace.statcache import View
from gitml.workspace.survey import Local, Look, survey
from gitml.workspace.workingtree import WorkingTree

State = Literal["clean", "changed", "absent", "behind", "conflict", "unreadable", "nested", "left"]


class DataState(Frozen):
    """The data of one pointer.

    ``state`` is "clean"; "changed", when files differ; "absent", when the data is not checked out;
    "behind", when the pointer has moved on since; "conflict" or "unreadable", when the pointer is
    not one (``problem`` says why); "nested", when it is inside other data; "left", when the pointer
    is gone and the data is not. The paths are relative to the data's own, which is empty for a
    file. ``view`` is the part of a folder that is checked out, where it is not all. In a conflict
    ``undecided`` are the files that both sides changed, as far as nobody has chosen, and
    ``brought`` tells that the data is what merged otherwise.
    """

    path: str
    pointer: Pointer | None
    state: State
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    view: View | None = None
    problem: GitmlError | None = None
    undecided: tuple[str, ...] = ()
    brought: bool = False

    def full(self, name: str) -> str:
        """The path from the root of a name in this data."""
        return f"{self.path}/{name}" if name else self.path


def data_status(
    tree: WorkingTree, tracked: Sequence[Tracked] | None = None, look: Look | None = None
) -> list[DataState]:
    """The state of all data, sorted by path; reads no file whose time stamps vouch for it.

    ``tracked`` are the pointers and ``look`` a look at all held data, where they are there already.
    Raises StorageError.
    """
    pointers = tree.pointers() if tracked is None else tracked
    cache = look.cache if look is not None else tree.cache()
    if not pointers and not cache.held:
        return []
    locals_ = survey(tree, pointers, cache, look=look, reads="same size")
    views = tree.views()
    folders = {one.path for one in pointers if one.pointer and one.pointer.kind == "tree"}
    known = {one.path for one in pointers}
    states = [
        _in_conflict(tree, one, locals_[one.path], views.get(one.path))
        if one.conflict is not None
        else _state(one, locals_[one.path], views.get(one.path), folders)
        for one in pointers
    ]
    states += _left(locals_, known)
    return sorted(states, key=lambda one: one.path)


def _state(tracked: Tracked, local: Local, view: View | None, folders: set[str]) -> DataState:
    path, pointer = tracked.path, tracked.pointer
    if pointer is None:
        assert tracked.problem is not None  # noqa: S101 - one of the two is there
        conflict = "conflict marker" in tracked.problem.message
        state: State = "conflict" if conflict else "unreadable"
        return DataState(path, None, state, problem=tracked.problem)
    if any(path.startswith(f"{one}/") for one in folders):
        return DataState(path, pointer, "nested")
    held = local.held
    if not local.exists:
        if held is None or held.count or held.pointer.encode() != pointer.encode():
            return DataState(path, pointer, "absent", view=view)
    elif held is not None and held.pointer.encode() != pointer.encode():
        state = "behind"
        return _with_files(tracked, local, view, state)
    return _with_files(tracked, local, view, "clean" if local.is_clean else "changed")


def _in_conflict(tree: WorkingTree, tracked: Tracked, local: Local, view: View | None) -> DataState:
    """The state of data that two sides have changed; both may have changed what is here."""
    conflict = tracked.conflict
    assert conflict is not None  # noqa: S101 - the caller has looked
    found = replace(_with_files(tracked, local, view, "conflict"), problem=tracked.problem)
    with suppress(MissingBytes):  # `gitml checkout` says so
        names = tuple(resolving.untouched(resolving.undecided(tree.store, conflict), local))
        brought = resolving.is_brought(conflict, local.held)
        return replace(found, undecided=names, brought=brought)
    return found


def _with_files(tracked: Tracked, local: Local, view: View | None, state: State) -> DataState:
    return DataState(
        tracked.path,
        tracked.pointer,
        state,
        tuple(sorted(local.changed)),
        tuple(sorted(local.added)),
        tuple(sorted(local.deleted)),
        tuple(sorted(local.repositories)),
        view,
    )


def _left(locals_: dict[str, Local], known: set[str]) -> Iterator[DataState]:
    for path, local in locals_.items():
        if path not in known and local.held is not None and local.exists:
            tracked = Tracked(path, local.held.pointer)
            yield _with_files(tracked, local, None, "left")
