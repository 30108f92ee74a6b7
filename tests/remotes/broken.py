"""A remote in memory whose connection breaks: at every so many bytes, or now and then."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from gitml.errors import ConnectionLost, Unreachable
from gitml.remotes.base import Content, Remote
from gitml.remotes.layers import Layer


class Breaking(Layer):
    """Streams that break after ``every`` bytes, and a share of calls that fail."""

    def __init__(self, inner: Remote, *, every: int = 1 << 62, share: float = 0.0) -> None:
        super().__init__(inner)
        self.every = every
        self.share = share
        self.failed = 0
        self._source = random.Random(11)

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        self._perhaps()
        return super().stat(keys)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        self._perhaps()
        left = self.every
        for piece in super().get(key, start, length):
            yield piece[:left]
            left -= len(piece)
            if left < 0:
                self.failed += 1
                raise ConnectionLost("the connection was cut")

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return Remote.get_range(self, key, start, length)

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        self._perhaps()
        super().put(key, content, create=create)
        self._perhaps()

    def delete(self, keys: Iterable[str]) -> None:
        self._perhaps()
        super().delete(keys)

    def _perhaps(self) -> None:
        if self._source.random() < self.share:
            self.failed += 1
            raise self._source.choice([ConnectionLost("503"), Unreachable("reset")])
