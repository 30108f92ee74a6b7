"""Pointers: the small text files ``x.gitml`` that stand in git for bytes in the store.

    gitml 1
    digest blake3:9c41f07b…
    kind blob
    size 1234

The first line names the format; the others are ``key value``, sorted by key, so that a merge by
lines works on any forge. Unknown keys are kept (docs/format.md, "Pointers").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.frozen import Frozen, field

SUFFIX = ".gitml"
_HEADER = "gitml 1"
_MAX_BYTES = 64 << 10
_CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


class Pointer(Frozen):
    """What a pointer says: digest, kind ("blob" or "tree") and size in bytes."""

    digest: Digest
    kind: str
    size: int
    extra: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The bytes of the pointer file."""
        fields = {
            **self.extra,
            "digest": str(self.digest),
            "kind": self.kind,
            "size": str(self.size),
        }
        lines = [_HEADER, *(f"{key} {fields[key]}" for key in sorted(fields))]
        return "\n".join(lines).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, where: str) -> Pointer:
        """The pointer in ``data``; raises CorruptData naming ``where`` and the line."""
        if len(data) > _MAX_BYTES:
            raise CorruptData(f"{where}: too large for a pointer")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptData(f"{where}: not a pointer") from error
        # Editors may have written CRLF; nothing else that Unicode calls a line break is one here.
        first, *lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        _check_header(first, where)
        fields: dict[str, str] = {}
        for number, line in enumerate(lines, start=2):
            key, space, value = line.partition(" ")
            if line.startswith(_CONFLICT):
                raise CorruptData(
                    f"{where}: line {number} is a merge conflict marker",
                    hint="`gitml status` says what both sides changed, and what to do",
                )
            if not space or not key or key in fields or "\r" in line:
                raise CorruptData(f"{where}: line {number} is not `key value` with a new key")
            fields[key] = value
        return cls._from_fields(fields, where)

    @classmethod
    def _from_fields(cls, fields: dict[str, str], where: str) -> Pointer:
        try:
            digest = Digest.parse(fields.pop("digest"))
            kind = fields.pop("kind")
            size = fields.pop("size")
        except KeyError as error:
            raise CorruptData(f"{where}: the line `{error.args[0]}` is missing") from None
        except CorruptData as error:
            raise CorruptData(f"{where}: {error.message}") from None
        if kind not in ("blob", "tree"):
            raise CorruptData(f"{where}: kind is `{kind[:40]}`, not `blob` or `tree`")
        if not re.match(r"(?:0|[1-9][0-9]{0,18})\Z", size):
            raise CorruptData(f"{where}: size is not a number of bytes")
        return cls(digest, kind, int(size), fields)


def _check_header(line: str, where: str) -> None:
    """Raise CorruptData unless this is the first line of a pointer that we read."""
    if line == _HEADER:
        return
    if re.fullmatch(r"gitml [0-9]{1,9}", line):
        raise CorruptData(
            f"{where}: a pointer of format {line.split()[1]}, this gitml reads format 1",
            hint="`pip install -U gitml` reads newer pointers",
        )
    raise CorruptData(f"{where}: a pointer begins with the line `{_HEADER}`")
