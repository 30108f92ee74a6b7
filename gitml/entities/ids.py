"""Identities as types: digests of bytes, ids of git objects, and the grammar of names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Self

from gitml.errors import CorruptData, InvalidName

MAX_NAME = 100
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*\Z"
_DEVICE = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?\Z"
_RESERVED_STAGES = frozenset({"latest", "deleted", "revoked", "alias", "archived", "none"})


class _Hex:
    """An identity in hex digits: equal and ordered only among its own kind, never changed.

    Written out, and with slots: a repository has hundreds of thousands of them.
    """

    __slots__ = ("hex",)

    hex: str

    def __init__(self, hex: str) -> None:  # noqa: A002 - the name of the field
        object.__setattr__(self, "hex", hex)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Hex) or other.__class__ is not self.__class__:
            return NotImplemented
        return self.hex == other.hex

    def __hash__(self) -> int:
        return hash(self.hex)

    def __lt__(self, other: Self) -> bool:
        return self.hex < other.hex if other.__class__ is self.__class__ else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self.hex <= other.hex if other.__class__ is self.__class__ else NotImplemented

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hex={self.hex!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.hex,)


class Digest(_Hex):
    """The BLAKE3-256 digest of plain bytes, as 64 lower-case hex digits in ``hex``.

    Its text form is ``blake3:<hex>``; ``b3sum`` prints the same digits. The digest of a tree is
    taken over the canonical form of its entries (docs/format.md, "Trees").
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as ``blake3:<hex>``; raises CorruptData for anything else."""
        algorithm, _, digits = text.partition(":")
        if algorithm != "blake3" or not _is_hex(digits, 64):
            raise CorruptData(f"not a BLAKE3 digest: {text[:80]!r}")
        return cls(digits)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Digest:
        """The digest whose 32 raw bytes are given."""
        if len(raw) != 32:
            raise CorruptData(f"a digest has 32 bytes, not {len(raw)}")
        return cls(raw.hex())

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the digest."""
        return bytes.fromhex(self.hex)

    @property
    def short(self) -> str:
        """The first eight digits: for people, not for look-ups in a large store."""
        return self.hex[:8]

    def __str__(self) -> str:
        return f"blake3:{self.hex}"


class ObjectId(_Hex):
    """The id of a git object: 40 lower-case hex digits in ``hex``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> ObjectId:
        """The id written as 40 hex digits; raises CorruptData for anything else."""
        if not _is_hex(text, 40):
            raise CorruptData(f"not a git object id: {text[:80]!r}")
        return cls(text)

    @property
    def short(self) -> str:
        """The first twelve digits: what names drafts and runs in refs."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.hex


def _is_hex(text: str, length: int) -> bool:
    """Whether a text is this many lower-case hex digits."""
    return len(text) == length and not text.strip("0123456789abcdef")


def check_name(text: str, what: str) -> str:
    r"""The name itself when it follows the grammar shared by models, artifacts, stages, ….

    ``[A-Za-z0-9]([A-Za-z0-9_-]|\.(?!\.))*``, at most 100 characters, not ending in ``.`` or
    ``.lock``, no Windows device name. ``what`` ("model", "artifact", …) is for the message;
    raises InvalidName.
    """
    if (
        len(text) > MAX_NAME
        or not re.match(_NAME, text)
        or text.endswith((".", ".lock"))
        or re.match(_DEVICE, text)
    ):
        article = "an" if what[0] in "aeiou" else "a"
        raise InvalidName(
            f"not a name for {article} {what}: {text[:120]!r}",
            hint="names have letters, digits, `_`, `-` and single dots, at most 100 characters, "
            "and start with a letter or digit",
        )
    return text


def check_twins(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise InvalidName for a new name that differs only in case from a known or another new one.

    Names stand in refs and in files, and some file systems take ``clf`` and ``CLF`` for one.
    """
    there = set(known)
    folded = {one.casefold(): one for one in there}
    for name in names:
        other = folded.setdefault(name.casefold(), name)
        if other != name and name not in there:
            raise InvalidName(
                f"the {what} `{name}` differs only in case from `{other}`",
                hint=f"write `{other}`, or take another name",
            )


def check_model_name(text: str) -> str:
    """The name of a model: the common grammar, but never like ``v7``; raises InvalidName."""
    if re.match("v[0-9]", text):
        raise InvalidName(
            f"a model cannot be called {text!r}: it reads as a version",
            hint="put a word first, for example `net-v2`",
        )
    return check_name(text, "model")


def check_stage_name(text: str) -> str:
    """The name of a stage: the common grammar, but no word that versions use already.

    Never ``latest``, ``deleted``, ``revoked``, ``alias``, ``archived``, ``none``, ``v<digits>`` or
    all hex digits, since each of them means something else behind an ``@``; raises InvalidName.
    """
    return _check_behind_at(text, "a stage", "usual names are `staging` and `production`")


def check_alias_name(text: str) -> str:
    """The name of an alias of versions: the grammar of stages; raises InvalidName."""
    return _check_behind_at(text, "an alias", "usual names are `champion` and `baseline`")


def _check_behind_at(text: str, what: str, hint: str) -> str:
    """A name that stands behind an ``@``, where other words mean something already."""
    if text.lower() in _RESERVED_STAGES or re.match(r"v[0-9]+\Z|[0-9a-f]+\Z", text.lower()):
        raise InvalidName(
            f"{what} cannot be called {text!r}: that word means something else after `@`",
            hint=hint,
        )
    return check_name(text, what.partition(" ")[2])


def is_stage_name(text: str) -> bool:
    """Whether a stage may be called so."""
    try:
        check_stage_name(text)
    except InvalidName:
        return False
    return True
