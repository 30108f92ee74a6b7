"""What goes over the line between `gitml.remotes.ssh` and ``gitml serve --stdio``: framed messages.

docs/format.md, "The line", has every byte. A frame is a letter, a length of four bytes, and so many
bytes: ``H`` a JSON object, ``D`` data, ``E`` the end of data. An error among data ends them, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from gitml import errors
from gitml.errors import ConnectionLost, CorruptData, GitmlError, RemoteFailed
from gitml.remotes.base import PIECE

GREETING = b"gitml-serve 1\n"
KEYS_AT_ONCE = 1000
"""Keys in one question: with the longest of keys still less than `_LIMITS` allows."""

_FRAME = 128 << 10  # of a frame that is cut nothing is used
_LIMITS = {b"H": 1 << 20, b"D": PIECE, b"E": 0}
_ERRORS = (
    *(errors.MissingBytes, errors.CorruptData, errors.AuthenticationFailed, errors.RaceLost),
    *(errors.UsageError, errors.StorageError, errors.RemoteFailed),
)
_LONGEST_TEXT = 2000


class Told(Exception):
    """The other side has told of an error, ``reason``, and the line is as it should be."""

    def __init__(self, reason: GitmlError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Line:
    """Both directions of a line; one message at a time goes over it."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink

    def send(self, document: Mapping[str, Any]) -> None:
        """Send a JSON object."""
        self._write(b"H", json.dumps(document, separators=(",", ":")).encode())
        self._sink.flush()

    def send_data(self, pieces: Iterable[bytes]) -> None:
        """Send pieces and the end of them; when they break off the other side hears of it."""
        try:
            for piece in pieces:
                view = memoryview(piece)
                for start in range(0, len(view), _FRAME):
                    self._write(b"D", view[start : start + _FRAME])
        except GitmlError as error:
            self.send(complaint(error))
            raise
        self._write(b"E", b"")
        self._sink.flush()

    def receive(self) -> dict[str, Any]:
        """The next message, which must be a JSON object; raises CorruptData, ConnectionLost."""
        kind, payload = self._read()
        if kind != b"H":
            raise CorruptData("data came over the line where a message was due")
        return _document(payload)

    def receive_data(self) -> Iterator[bytes]:
        """The pieces up to their end; raises Told where the sender cannot go on."""
        while True:
            kind, payload = self._read()
            if kind == b"D":
                yield payload
            elif kind == b"E":
                return
            else:
                raise Told(raised(_document(payload)))

    def _write(self, kind: bytes, payload: bytes | memoryview) -> None:
        self._sink.write(kind + len(payload).to_bytes(4, "big"))
        self._sink.write(payload)

    def _read(self) -> tuple[bytes, bytes]:
        header = self._exactly(5)
        kind, length = header[:1], int.from_bytes(header[1:], "big")
        if length > _LIMITS.get(kind, -1):
            raise CorruptData(f"no frame of ours came over the line: {header!r}")
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) != count:
            raise ConnectionLost("the line was cut")
        return data


def complaint(error: GitmlError) -> dict[str, Any]:
    """An error as a message, from which `raised` makes it again."""
    kind = next((one.__name__ for one in _ERRORS if isinstance(error, one)), "RemoteFailed")
    text = "; ".join([error.message, *error.causes()])
    return {"error": kind, "message": text[:_LONGEST_TEXT], "hint": error.hint or ""}


def raised(document: Mapping[str, Any]) -> GitmlError:
    """The error that a message tells of."""
    kinds = {one.__name__: one for one in _ERRORS}
    kind = kinds.get(text_of(document, "error"), RemoteFailed)
    message = text_of(document, "message")[:_LONGEST_TEXT]
    return kind(
        message or "no reason given", hint=text_of(document, "hint")[:_LONGEST_TEXT] or None
    )


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A text of a message, empty where there is none."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def number_of(document: Mapping[str, Any], name: str) -> int:
    """A count of a message; raises CorruptData where there is none."""
    value = document.get(name)
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise CorruptData(f"a message has no {name}")
    return value


def texts_of(document: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a message; raises CorruptData where there are none."""
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise CorruptData(f"a message has no {name}")
    return value


def _document(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise CorruptData("a message on the line is no JSON") from error
    if not isinstance(document, dict):
        raise CorruptData("a message on the line is no JSON object")
    return document
