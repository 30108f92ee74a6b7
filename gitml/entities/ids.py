"""Identities as types: digests of bytes, ids of git objects, and the grammar of names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gitml.errors import CorruptData, InvalidName

_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_HEX40 = re.compile(r"[0-9a-f]{40}\Z")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*\Z")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?\Z", re.IGNORECASE)
_VERSION = re.compile(r"v[0-9]+\Z")
_MODEL_RESERVED = re.compile(r"v[0-9]")
_ALL_HEX = re.compile(r"[0-9a-f]+\Z", re.IGNORECASE)
_RESERVED_STAGES = frozenset({"latest", "deleted", "alias", "archived", "none"})

MAX_NAME = 100


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The BLAKE3-256 digest of plain bytes, as 64 lower-case hex digits in ``hex``.

    Its text form is ``blake3:<hex>``; ``b3sum`` prints the same digits. The digest of a tree is
    taken over the canonical form of its entries (docs/format.md, "Trees").
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as ``blake3:<hex>``; raises CorruptData for anything else."""
        algorithm, _, digits = text.partition(":")
        if algorithm != "blake3" or not _HEX64.match(digits):
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


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """The id of a git object: 40 lower-case hex digits in ``hex``."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> ObjectId:
        """The id written as 40 hex digits; raises CorruptData for anything else."""
        if not _HEX40.match(text):
            raise CorruptData(f"not a git object id: {text[:80]!r}")
        return cls(text)

    @property
    def short(self) -> str:
        """The first twelve digits: what names drafts and runs in refs."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.hex


def check_name(text: str, what: str) -> str:
    r"""The name itself when it follows the grammar shared by models, artifacts, stages, ….

    ``[A-Za-z0-9]([A-Za-z0-9_-]|\.(?!\.))*``, at most 100 characters, not ending in ``.`` or
    ``.lock``, no Windows device name. ``what`` ("model", "artifact", …) is for the message;
    raises InvalidName.
    """
    if (
        not _NAME.match(text)
        or len(text) > MAX_NAME
        or text.endswith((".", ".lock"))
        or _DEVICE.match(text)
    ):
        raise InvalidName(
            f"not a name for a {what}: {text[:120]!r}",
            hint="names have letters, digits, `_`, `-` and single dots, at most 100 characters, "
            "and start with a letter or digit",
        )
    return text


def check_model_name(text: str) -> str:
    """The name of a model: the common grammar, but never like ``v7``; raises InvalidName."""
    if _MODEL_RESERVED.match(text):
        raise InvalidName(
            f"a model cannot be called {text!r}: it reads as a version",
            hint="put a word first, for example `net-v2`",
        )
    return check_name(text, "model")


def check_stage_name(text: str) -> str:
    """The name of a stage: the common grammar, but no word that versions use already.

    Never ``latest``, ``deleted``, ``alias``, ``archived``, ``none``, ``v<digits>`` or all hex
    digits, since each of them means something else behind an ``@``; raises InvalidName.
    """
    if text.lower() in _RESERVED_STAGES or _VERSION.match(text.lower()) or _ALL_HEX.match(text):
        raise InvalidName(
            f"a stage cannot be called {text!r}: that word means something else after `@`",
            hint="usual names are `staging` and `production`",
        )
    return check_name(text, "stage")
