"""What a remote is: a place that keeps bytes under keys. A new flavor is one file with one class.

What a user of the interface may rely on:

- **Keys** are `check_key`'s: lower-case ASCII like ``packs/<hex>.pack``, content-derived, so that
  two writers of one key write the same bytes. A key is never given other bytes on purpose.
- **put** is whole and durable when it returns. Until then nobody sees the key, or sees what was
  there before; killed or cut off at any point it leaves at most a temporary object that no key
  names. A second put of a key replaces it, which is how a damaged object is healed. With
  ``create`` exactly one of many wins, the others raise RaceLost, where `Capabilities.create`; that
  is for small objects, up to 64 MiB.
- **put_all** is for many: the same promises for each, and durable at its return, not before.
- A put cannot be resumed. What is large is cut by the caller and put part by part, each under a
  key of its own (`FilePart` names a part of a file, `PART` a good size): what was put, stays.
- **get** streams any range; exactly the bytes asked for arrive, or an error. They are whatever the
  other side has sent: *nothing here verifies a digest*, the caller does, before it believes.
- **stat** asks for the very keys it is given and is right at that moment. **list** may be behind
  on some services, and forbidden on others: only collecting garbage may look at it.
- Memory is bounded by a few parts, whatever the size of an object.
- All methods may be called from several threads at once. How many at once pay is
  `Capabilities.parallel`.
- **Errors**: MissingBytes (13) a key is not there; CorruptData (12) an object is shorter than the
  range that was asked for; AuthenticationFailed (4) we are not known or not allowed; Unreachable
  (1) nobody answers; ConnectionLost (1) it broke off, the same call again may do; RaceLost (5);
  RemoteFailed (1) anything else on the other side; StorageError (1) a disk. Only ConnectionLost and
  its subclass are worth another try, and `layers.Retrying` does that.
"""

from __future__ import annotations

import errno
import os
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gitml.errors import ConfigError, ConnectionLost, CorruptData, MissingBytes, UsageError
from gitml.frozen import Frozen, field
from gitml.fs import storage_errors

if TYPE_CHECKING:
    from urllib.parse import SplitResult

PART = 16 << 20
"""Bytes of a part: large enough that requests cost little, small enough to lose one."""

PIECE = 1 << 20
"""Bytes of a piece of a stream, at most."""

_COMPONENT = r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*"
_KEY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_LONGEST_KEY = 200


class Capabilities(Frozen):
    """What a remote can do, as data: nobody asks for its class.

    ``writes`` covers put and delete; ``lists`` covers list; ``create`` says that a put with
    ``create`` has exactly one winner; ``parallel`` is how many calls at once are of use; with
    ``batches`` many objects are put in another way than one by one.
    """

    writes: bool = True
    lists: bool = True
    create: bool = True
    parallel: int = 1
    batches: bool = False


class PartlyAnswered(ConnectionLost):
    """The connection broke while many keys were asked for; ``answers`` has those that came.

    None stands for a key that is not there. Who tries again asks for the others alone.
    """

    def __init__(self, message: str, answers: Mapping[str, int | None]) -> None:
        super().__init__(message)
        self.answers = answers


class Entry(Frozen):
    """An object in a listing: its key, its bytes, and when it was put by the remote's own clock."""

    key: str
    size: int
    modified: float


class FilePart(Frozen):
    """``length`` bytes of a file from ``start``, to be put without being read into memory."""

    path: Path
    start: int
    length: int


Content = bytes | Path | FilePart
"""What can be put: bytes, a whole file, or a part of one."""


class Access(Frozen):
    """What a remote is opened with beside its URL, all of it from the edge of the program.

    ``environment`` holds the variables to look credentials up in. ``credentials`` asks git's
    credential helpers for a user name and a password by protocol and host. ``settings`` are this
    remote's own, from git's configuration, by lower-case name. ``base`` is the folder that relative
    paths count from.
    """

    base: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Callable[[str, str], tuple[str, str] | None] = field(
        default=lambda protocol, host: None, repr=False
    )
    settings: Mapping[str, str] = field(default_factory=dict)


class Remote(ABC):
    """A place for bytes; the module's docstring says what may be relied upon.

    A flavor defines ``open`` and the abstract methods; what has a body here is right for every
    flavor, and overridden where one can do it better.
    """

    url: str
    """Where it is, as people write it, without anything secret."""

    capabilities: Capabilities = Capabilities()
    flavor: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def open(cls, url: str, access: Access) -> Remote:
        """The remote at a URL of this flavor; connects to nothing yet.

        Raises ConfigError for a URL that cannot be one, with the form that can.
        """

    @abstractmethod
    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes in bytes of those of the keys that are there."""

    @abstractmethod
    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start``, ``length`` of them or all that follow, in pieces.

        Exactly so many arrive. Raises MissingBytes when the key is not there, and CorruptData when
        the object ends too soon or before ``start``; a missing key shows at the first piece.
        """

    @abstractmethod
    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """Keep the bytes under the key, wholly and durably, or raise and keep nothing.

        With ``create`` raises RaceLost where the key is taken.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose key begins with ``prefix``, in no order; strangers are left out."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; that some are not there is no error."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``start``, in memory."""
        return b"".join(self.get(key, start, length))

    def read(self, key: str, limit: int) -> bytes:
        """A whole small object; raises CorruptData when it has more than ``limit`` bytes.

        No more than that is ever held, whatever the other side sends.
        """
        pieces, size = [], 0
        for piece in self.get(key):
            size += len(piece)
            if size > limit:
                raise CorruptData(f"{key} on {self.url} has more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def put_all(
        self,
        contents: Iterable[tuple[str, Content]],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        """Keep many objects as `put` keeps one, in no order; all are durable when it returns.

        Quicker than so many puts. ``sent`` hears of the bytes of each that went. When it raises,
        some may be there.
        """
        from concurrent.futures import ThreadPoolExecutor

        def put(one: tuple[str, Content]) -> None:
            key, content = one
            size = size_of(content) if sent is not None else 0
            self.put(key, content)
            if sent is not None:
                sent(size)

        with ThreadPoolExecutor(self.capabilities.parallel, "gitml-put") as pool:
            pending = [pool.submit(put, one) for one in contents]
            try:
                for future in pending:
                    future.result()
            except BaseException:
                for future in pending:
                    future.cancel()
                raise

    def path_of(self, key: str) -> Path | None:
        """Where the object is as a file of this machine, to be linked or copied by the system.

        None where there is no such file, or the remote is elsewhere. Read it only.
        """
        check_key(key)
        return None

    def close(self) -> None:
        """End connections and processes; the remote is not used afterwards."""
        return

    def _size(self, key: str) -> int:
        """The size of an object; raises MissingBytes."""
        found = self.stat([key])
        if key not in found:
            raise MissingBytes(f"{key} is not on {self.url}")
        return found[key]

    def _check_range(self, key: str, start: int, length: int) -> None:
        """Raise CorruptData when an object ends too soon, and MissingBytes without it."""
        size = self._size(key)
        if start + length > size:
            raise self._too_short(key, size, start + length)

    def _too_short(self, key: str, size: int, end: int) -> CorruptData:
        """The error for an object that has ``size`` bytes where ``end`` were asked for."""
        return CorruptData(f"{key} on {self.url} ends after {size} bytes, not {end}")

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_key(key: str) -> str:
    """The key; raises UsageError for one that some flavor could not keep.

    Components of lower-case letters, digits, ``-``, ``_`` and inner dots, parted by slashes; at
    most 200 characters. So a key is the same on file systems that fold case, safe below any folder,
    and means the same in a URL.
    """
    if len(key) > _LONGEST_KEY or not _KEY.match(key):
        raise UsageError(f"a remote cannot keep the key {key[:_LONGEST_KEY]!r}")
    return key


def is_key(text: str) -> bool:
    """Whether a name that a listing shows is a key; everything else there is not ours."""
    return len(text) <= _LONGEST_KEY and _KEY.match(text) is not None


def sizes_side_by_side(
    keys: Sequence[str], size: Callable[[str], int], threads: int
) -> dict[str, int]:
    """The sizes of those that are there, each asked for by itself; for `Remote.stat`.

    ``size`` raises MissingBytes for a key that is not there. What breaks does not stop the others,
    unless everything does: then PartlyAnswered. Other errors come out as they are.
    """
    answers: dict[str, int | None] = {}
    lost: list[ConnectionLost] = []
    patience = 2 * threads

    def ask(key: str) -> None:
        if len(lost) > patience + len(answers):
            return
        try:
            answers[key] = size(key)
        except MissingBytes:
            answers[key] = None
        except ConnectionLost as error:
            lost.append(error)

    if keys:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(keys), threads), "gitml-stat") as pool:
            deque(pool.map(ask, keys), maxlen=0)
    if lost and not answers:
        raise lost[0]
    if lost:
        raise PartlyAnswered(lost[0].message, answers) from lost[0]
    return {key: found for key, found in answers.items() if found is not None}


def split_url(url: str, form: str) -> SplitResult:
    """The parts of a URL; raises ConfigError, with the form that is meant, for what is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        parts = None
    if parts is None or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", url):
        raise ConfigError(f"`{url}` is no URL of a remote", hint=form)
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine, so that nothing leaves it."""
    from ipaddress import ip_address

    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def pieces_of(content: Content) -> Iterator[bytes]:
    """The bytes that are to be put, in pieces; raises StorageError when a file ends too soon."""
    if isinstance(content, bytes):
        yield from (content[at : at + PIECE] for at in range(0, len(content), PIECE))
        return
    path = content if isinstance(content, Path) else content.path
    with storage_errors(path, "read"):
        start, left = (0, size_of(content)) if path is content else (content.start, content.length)  # type: ignore[union-attr]
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while left:
            with storage_errors(path, "read"):
                piece = os.pread(descriptor, min(PIECE, left), start)
                if not piece:
                    raise OSError(errno.EIO, f"the file ends at byte {start}")
            start += len(piece)
            left -= len(piece)
            yield piece
    finally:
        os.close(descriptor)


def size_of(content: Content) -> int:
    """How many bytes are to be put; raises OSError."""
    if isinstance(content, bytes):
        return len(content)
    return content.length if isinstance(content, FilePart) else content.stat().st_size
