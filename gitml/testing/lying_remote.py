"""A remote that lies, for tests of whoever reads one: nothing of it may ever be believed.

    liar = LyingRemote(honest, "swapped")
    liar.is_honest = True          # from here on it tells the truth

``truncated`` objects end early, ``padded`` ones begin and end with what is not theirs, ``wrong``
ones have a flipped bit, ``swapped`` ones are another object, ``empty`` ones have nothing, and a
``bomb`` has zeros without end. All sizes that it tells agree with the lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

from gitml.errors import CorruptData
from gitml.remotes.base import PIECE, Remote
from gitml.remotes.layers import Layer

LIES = ("truncated", "padded", "wrong", "swapped", "empty", "bomb")
"""What a `LyingRemote` can be told to do."""

_BOMB = 1 << 40


class LyingRemote(Layer):
    """What an honest remote has, changed on its way."""

    def __init__(self, inner: Remote, lie: str, *, prefix: str = "") -> None:
        """Lies about the keys that begin with ``prefix``."""
        super().__init__(inner)
        self.lie = lie
        self.prefix = prefix
        self.is_honest = False

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes of what will come."""
        found = self.inner.stat(keys)
        return {key: size if self._is_true(key) else self._size(key) for key, size in found.items()}

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The range of the lie; a bomb does not end even where it was asked for less."""
        if self._is_true(key):
            yield from self.inner.get(key, start, length)
        elif self.lie == "bomb":
            yield from repeat(bytes(PIECE), _BOMB // PIECE)
        else:
            data = self._changed(key)
            end = len(data) if length is None else start + length
            if self.lie in ("truncated", "empty") and end > len(data):
                yield data[start:]
                raise CorruptData(f"{key} ends after {len(data)} bytes")
            yield data[start:end]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The range of the lie."""
        if self._is_true(key):
            return self.inner.get_range(key, start, length)
        if self.lie == "bomb":
            return bytes(length)
        return b"".join(self.get(key, start, length))

    def path_of(self, key: str) -> Path | None:
        """Nowhere: a file could not lie."""
        return self.inner.path_of(key) if self._is_true(key) else None

    def _is_true(self, key: str) -> bool:
        return self.is_honest or not key.startswith(self.prefix)

    def _size(self, key: str) -> int:
        return _BOMB if self.lie == "bomb" else len(self._changed(key))

    def _changed(self, key: str) -> bytes:
        data = b"".join(self.inner.get(key))
        match self.lie:
            case "truncated":
                return data[: len(data) * 2 // 3]
            case "padded":
                return b"\0" * 17 + data + b"\0" * 17
            case "empty":
                return b""
            case "swapped":
                others = sorted(one.key for one in self.inner.list(key.partition("/")[0]))
                other = next((one for one in others if one != key), None)
                return b"".join(self.inner.get(other)) if other else data[::-1]
            case _:
                middle = len(data) // 2
                return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
