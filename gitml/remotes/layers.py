"""What can be put around a remote, each a remote itself: more tries, fewer calls at once, a count.

Counted(Retrying(Limited(FolderRemote(root), 4)))
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock, get_ident
from typing import TypeVar

from gitml.errors import ConnectionLost, Unreachable
from gitml.frozen import Frozen
from gitml.remotes.base import Access, Content, Entry, PartlyAnswered, Remote, size_of

T = TypeVar("T")

_SELDOM = 30.0
_LONG = 10.0
_SOON = 1.0


class Layer(Remote):
    """A remote that hands every call on to the one ``inner``.

    A subclass changes some of them, or by `_called` all that answer at once: not the streams.
    """

    def __init__(self, inner: Remote) -> None:
        self.inner = inner
        self.url = inner.url
        self.capabilities = inner.capabilities

    @classmethod
    def open(cls, url: str, access: Access) -> Remote:
        """Nothing: a layer lies around a remote that is open."""
        raise NotImplementedError

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The inner remote's."""
        return self._called(lambda: self.inner.stat(keys))

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The inner remote's."""
        return self.inner.get(key, start, length)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The inner remote's, which may know a quicker way than a stream."""
        return self._called(lambda: self.inner.get_range(key, start, length))

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """The inner remote's."""
        self._called(lambda: self.inner.put(key, content, create=create))

    def put_all(
        self,
        contents: Iterable[tuple[str, Content]],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """The inner remote's where it has a way of its own, else one by one through this layer."""
        if self.capabilities.batches:
            self._called(lambda: self.inner.put_all(contents, sent))
        else:
            super().put_all(contents, sent)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The inner remote's."""
        return self.inner.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """The inner remote's."""
        self._called(lambda: self.inner.delete(keys))

    def _called(self, call: Callable[[], T]) -> T:
        """What a call of the inner remote gives."""
        return call()

    def path_of(self, key: str) -> Path | None:
        """The inner remote's."""
        return self.inner.path_of(key)

    def close(self) -> None:
        """Close the inner remote."""
        self.inner.close()


class Patience(Frozen):
    """How long a call is tried again: for ``seconds`` in which nothing at all arrives.

    A remote that has never answered gets ``at_first`` seconds, so that a wrong address is told
    soon. The n-th pause is a random one of up to ``pause`` · 2ⁿ, at most ``longest`` seconds: those
    that were thrown out together do not come back together.
    """

    seconds: float = 45.0
    at_first: float = 4.0
    pause: float = 0.1
    longest: float = 4.0


class Retrying(Layer):
    """Calls that are tried again when the connection is lost; a stream goes on where it broke.

    So at most the piece that was under way is sent twice. A put is sent again from its start, and
    the answer to one that did its work can be lost: with ``create`` the second try may find the key
    taken by the first, and RaceLost then leaves open who won.
    ``tell`` hears in a phrase what is waited for, when that takes long, and not too often.
    """

    def __init__(
        self,
        inner: Remote,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(inner)
        self._news = _News(tell)
        self._patience = patience or Patience()
        self._sleep = sleep
        self._has_answered = False

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """As the inner remote; what was answered before a break is not asked for again."""
        asked = list(keys)
        found: dict[str, int] = {}
        tries = _Tries(self._patience, self._sleep, self._news)
        while True:
            try:
                found |= self.inner.stat(asked)
            except PartlyAnswered as error:
                self._has_answered = True
                found |= {key: size for key, size in error.answers.items() if size is not None}
                asked = [key for key in asked if key not in error.answers]
                tries = _Tries(self._patience, self._sleep, self._news)
                tries.wait(error, has_answered=True)
            except ConnectionLost as error:
                tries.wait(error, self._has_answered)
            else:
                self._has_answered = True
                return found

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As the inner remote; a stream that breaks off goes on behind what has arrived."""
        tries = _Tries(self._patience, self._sleep, self._news)
        while True:
            try:
                for piece in self.inner.get(key, start, length):
                    self._has_answered = True
                    start += len(piece)
                    length = None if length is None else length - len(piece)
                    tries = _Tries(self._patience, self._sleep, self._news)
                    yield piece
                return
            except ConnectionLost as error:
                tries.wait(error, self._has_answered)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """As the inner remote; once that has broken off, as a stream that can go on."""
        try:
            return self.inner.get_range(key, start, length)
        except ConnectionLost:
            return b"".join(self.get(key, start, length))

    def put_all(
        self,
        contents: Iterable[tuple[str, Content]],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """As the inner remote, tried again: all of them where it puts them in its own way."""
        super().put_all(list(contents), sent)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As the inner remote, begun again when it breaks off; no key comes twice."""
        tries = _Tries(self._patience, self._sleep, self._news)
        seen: set[str] = set()
        while True:
            try:
                for entry in self.inner.list(prefix):
                    self._has_answered = True
                    if entry.key not in seen:
                        seen.add(entry.key)
                        yield entry
                return
            except ConnectionLost as error:
                tries.wait(error, self._has_answered)

    def delete(self, keys: Iterable[str]) -> None:
        """As the inner remote, tried again."""
        super().delete(list(keys))

    def _called(self, call: Callable[[], T]) -> T:
        """What a call gives at last; it may be made more than once."""
        tries = _Tries(self._patience, self._sleep, self._news)
        while True:
            try:
                result = call()
            except ConnectionLost as error:
                tries.wait(error, self._has_answered)
            else:
                self._has_answered = True
                return result


class _News:
    """What is told of waiting: one phrase in half a minute, whoever waits."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._last = -_SELDOM
        self._lock = Lock()

    def waiting(self, error: ConnectionLost, left: float) -> None:
        """Say that an error is being waited out."""
        with self._lock:
            now = time.monotonic()
            if self._tell is None or now - self._last < _SELDOM:
                return
            self._last = now
        self._tell(f"{error.message}; trying again for {left:.0f} seconds")


class _Tries:
    """The tries of one call since something last arrived."""

    def __init__(self, patience: Patience, sleep: Callable[[float], None], news: _News) -> None:
        self._patience = patience
        self._sleep = sleep
        self._news = news
        self._count = 0
        self._slept = 0.0
        self._began = time.monotonic()

    def wait(self, error: ConnectionLost, has_answered: bool) -> None:
        """Pause before the next try; raises the error again when patience is at an end."""
        patience = self._patience
        is_first = isinstance(error, Unreachable) and not has_answered
        budget = patience.at_first if is_first else patience.seconds
        ceiling = min(patience.longest, patience.pause * 2**self._count)
        pause = random.uniform(0, ceiling)  # noqa: S311 - spreads load, hides nothing
        spent = max(self._slept, time.monotonic() - self._began)
        if spent + pause > budget:
            raise error
        self._count += 1
        if budget > _LONG and spent > _SOON:
            self._news.waiting(error, budget - spent)
        self._slept += pause
        self._sleep(pause)


class Limited(Layer):
    """At most so many threads at once; a stream counts until it ends or is closed.

    A thread that reads a stream may call again meanwhile: it would wait for itself otherwise.
    """

    def __init__(self, inner: Remote, limit: int) -> None:
        super().__init__(inner)
        self._slots = _Slots(limit)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As the inner remote, when it is our turn."""
        with self._slots():
            yield from self.inner.get(key, start, length)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As the inner remote, when it is our turn."""
        with self._slots():
            yield from self.inner.list(prefix)

    def _called(self, call: Callable[[], T]) -> T:
        """What a call gives, made when it is our turn."""
        with self._slots():
            return call()


class _Slots:
    """Places for so many threads, each of which takes one, however often it comes in."""

    def __init__(self, limit: int) -> None:
        self._free = BoundedSemaphore(limit)
        self._depth: dict[int, int] = {}
        self._lock = Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A place until the block ends, in whichever thread a stream is closed."""
        thread = get_ident()
        with self._lock:
            is_inside = self._depth.get(thread, 0) > 0
        if not is_inside:
            self._free.acquire()
        with self._lock:
            self._depth[thread] = self._depth.get(thread, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._depth[thread] -= 1
                is_last = not self._depth[thread]
                if is_last:
                    del self._depth[thread]
            if is_last:
                self._free.release()


@dataclass
class Counts:
    """What went over the line: ``calls`` by method, bytes of content sent and received."""

    calls: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    received: int = 0


class Counted(Layer):
    """Calls counted in ``counts``: around a `Retrying` what was asked, inside what it took.

    ``moved`` hears of bytes as they go, those sent once their put has ended.
    """

    def __init__(self, inner: Remote, moved: Callable[[int], None] | None = None) -> None:
        super().__init__(inner)
        self.counts = Counts()
        self._moved = moved
        self._lock = Lock()

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """As the inner remote."""
        self._note("stat")
        return self.inner.stat(keys)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As the inner remote."""
        self._note("get")
        for piece in self.inner.get(key, start, length):
            self._note(received=len(piece))
            yield piece

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """As the inner remote."""
        self._note("get_range")
        data = self.inner.get_range(key, start, length)
        self._note(received=len(data))
        return data

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """As the inner remote."""
        self._note("put")
        self.inner.put(key, content, create=create)
        self._note(sent=size_of(content))

    def put_all(
        self,
        contents: Iterable[tuple[str, Content]],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """As the inner remote; a put is counted for each."""

        def note(size: int) -> None:
            self._note("put", sent=size)
            if sent is not None:
                sent(size)

        if self.capabilities.batches:
            self.inner.put_all(contents, note)
        else:
            super().put_all(contents, sent)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As the inner remote."""
        self._note("list")
        return self.inner.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """As the inner remote."""
        self._note("delete")
        self.inner.delete(keys)

    def _note(self, call: str = "", *, sent: int = 0, received: int = 0) -> None:
        with self._lock:
            if call:
                self.counts.calls[call] = self.counts.calls.get(call, 0) + 1
            self.counts.sent += sent
            self.counts.received += received
        if self._moved is not None and sent + received:
            self._moved(sent + received)
