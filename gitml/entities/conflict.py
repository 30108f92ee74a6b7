"""A pointer that two sides have changed: what a merge leaves where they contradict each other.

    gitml 1
    <<<<<<< ours
    digest blake3:1f…
    kind tree
    size 12
    ||||||| merged
    digest blake3:77…
    kind tree
    size 20
    undecided blake3:d0…
    =======
    digest blake3:9c…
    kind tree
    size 14
    >>>>>>> theirs

It is no pointer to whoever reads pointers (docs/format.md, "Pointers in conflict").
"""

from __future__ import annotations

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData
from gitml.frozen import Frozen, replace

_MERGED = "||||||| merged"
_UNDECIDED = "undecided"


class Conflict(Frozen):
    """What both sides say of one piece of data, and what is merged of it.

    ``merged`` has the changes of both sides, and of ours where they clash; absent where that is
    not known. ``undecided`` names the paths that clash: a tree that has them, of a file the file;
    absent when all is decided.
    """

    ours: Pointer
    theirs: Pointer
    merged: Pointer | None = None
    undecided: Digest | None = None

    def encode(self) -> bytes:
        """The bytes that stand in place of the pointer's."""
        header, *ours = _lines(self.ours)
        lines = [header, "<<<<<<< ours", *ours]
        if self.merged is not None:
            lines += [_MERGED, *_lines(self.merged)[1:]]
            lines += [f"{_UNDECIDED} {self.undecided}"] if self.undecided is not None else []
        lines += ["=======", *_lines(self.theirs)[1:], ">>>>>>> theirs"]
        return "\n".join(lines).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, where: str) -> Conflict | None:
        """The conflict in a pointer, ours or one of lines that git made; None where none is."""
        sides: dict[str, list[str]] = {"ours": [], "merged": [], "theirs": [], "base": []}
        inside = ""
        for line in data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[:-1]:
            mark = _mark(line)
            if mark is not None:
                inside = mark
            elif inside:
                sides[inside].append(line)
            else:
                for one in sides.values():
                    one.append(line)
        if sides["ours"] == sides["theirs"] or inside:
            return None
        try:
            ours, theirs = (_pointer(sides[side], where) for side in ("ours", "theirs"))
            merged = _pointer(sides["merged"], where) if _MERGED.encode() in data else None
            if merged is None:
                return cls(ours, theirs)
            extra = dict(merged.extra)
            undecided = extra.pop(_UNDECIDED, None)
            merged = replace(merged, extra=extra)
            return cls(ours, theirs, merged, Digest.parse(undecided) if undecided else None)
        except CorruptData:
            return None


def _lines(pointer: Pointer) -> list[str]:
    return pointer.encode().decode().removesuffix("\n").split("\n")


def _pointer(lines: list[str], where: str) -> Pointer:
    return Pointer.decode("\n".join(lines).encode(), where)


def _mark(line: str) -> str | None:
    """The side that begins behind a marker, empty behind the last; None of any other line."""
    if line.startswith("<<<<<<<"):
        return "ours"
    if line.startswith("|||||||"):
        return "merged" if line == _MERGED else "base"
    if line.startswith("======="):
        return "theirs"
    return "" if line.startswith(">>>>>>>") else None
