"""The other end of `gitml.remotes.ssh`: answers for one folder, over two streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO

from gitml.errors import AuthenticationFailed, ConnectionLost, CorruptData, GitmlError
from gitml.remotes.base import Entry
from gitml.remotes.folder import FolderRemote
from gitml.remotes.wire import (
    GREETING,
    KEYS_AT_ONCE,
    Line,
    Told,
    complaint,
    number_of,
    text_of,
    texts_of,
)


def serve(
    remote: FolderRemote, source: BinaryIO, sink: BinaryIO, *, read_only: bool = False
) -> None:
    """Answer what comes from ``source`` until it ends.

    What goes wrong with a request is its answer. Raises CorruptData when what comes is none of
    ours, OSError when nobody listens any more. Nothing but objects of the folder is read or
    written, whatever comes.
    """
    sink.write(GREETING)
    sink.flush()
    line = Line(source, sink)
    line.send({"writes": not read_only})
    service = _Service(remote, line, read_only=read_only)
    while True:
        try:
            request = line.receive()
        except ConnectionLost:
            return
        try:
            service.answer(request)
        except GitmlError as error:
            line.send(complaint(error))


class _Service:
    """The answers, one method a request."""

    def __init__(self, remote: FolderRemote, line: Line, *, read_only: bool) -> None:
        self._remote = remote
        self._line = line
        self._is_read_only = read_only
        self._methods: dict[str, Callable[[dict[str, Any]], None]] = {
            "stat": self._stat,
            "get": self._get,
            "put": self._put,
            "list": self._list,
            "delete": self._delete,
        }

    def answer(self, request: dict[str, Any]) -> None:
        """Answer one request; raises GitmlError before a byte of the answer is sent."""
        method = self._methods.get(text_of(request, "do"))
        if method is None:
            raise CorruptData(f"this gitml cannot {text_of(request, 'do')[:40]!r}")
        method(request)

    def _stat(self, request: dict[str, Any]) -> None:
        self._line.send({"sizes": self._remote.stat(texts_of(request, "keys"))})

    def _get(self, request: dict[str, Any]) -> None:
        length = None if request.get("length") is None else number_of(request, "length")
        pieces = self._remote.get(text_of(request, "key"), number_of(request, "start"), length)
        first = next(pieces, None)  # whether the key is there shows now
        self._line.send({})
        with suppress(GitmlError):  # the other side has heard of it
            self._line.send_data(_with_first(first, pieces))

    def _put(self, request: dict[str, Any]) -> None:
        pieces = self._line.receive_data()
        try:
            self._check_writes()
            size = number_of(request, "size")
            create = request.get("create") is True
            self._remote.put_pieces(text_of(request, "key"), size, pieces, create=create)
        except Told as error:
            raise error.reason from None
        except GitmlError:
            with suppress(Told):  # what is under way goes, so that the next request is understood
                deque(pieces, maxlen=0)
            raise
        deque(pieces, maxlen=0)
        self._line.send({})

    def _list(self, request: dict[str, Any]) -> None:
        entries = self._remote.list(text_of(request, "prefix"))
        first = list(islice(entries, KEYS_AT_ONCE))
        while first:
            self._line.send({"entries": [_row(one) for one in first]})
            first = list(islice(entries, KEYS_AT_ONCE))
        self._line.send({"entries": []})

    def _delete(self, request: dict[str, Any]) -> None:
        self._check_writes()
        self._remote.delete(texts_of(request, "keys"))
        self._line.send({})

    def _check_writes(self) -> None:
        if self._is_read_only:
            raise AuthenticationFailed("this folder is served to be read only")


def _with_first(first: bytes | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first
    yield from pieces


def _row(entry: Entry) -> list[Any]:
    return [entry.key, entry.size, entry.modified]
