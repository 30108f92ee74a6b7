"""A folder of another machine as a remote: the system's ``ssh``, and ``gitml serve --stdio`` there.

    ssh://user@host:port/folder     user@host:folder

The user's own ssh configuration, keys and agent apply; no password passes through our hands. One
ssh process answers one request after another; several requests at once start several.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Lock
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    CorruptData,
    GitmlError,
    RemoteFailed,
    Unreachable,
)
from gitml.fs import storage_errors
from gitml.remotes.base import (
    Access,
    Capabilities,
    Content,
    Entry,
    Remote,
    check_key,
    is_key,
    pieces_of,
    size_of,
    split_url,
)
from gitml.remotes.wire import GREETING, KEYS_AT_ONCE, Line, Told, raised

_FORM = "`ssh://user@host/folder` or `user@host:folder`"
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+@)?(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\])\Z")
_OPTIONS = (
    *("-T", "-x", "-a", "-oClearAllForwardings=yes", "-oConnectTimeout=20"),
    *("-oServerAliveInterval=15", "-oServerAliveCountMax=4"),
)
_REFUSED = re.compile(r"(?i)permission denied|host key verification failed|too many authentication")
_NOISE = 64 << 10
_NOT_FOUND = 127


class SshRemote(Remote):
    """A folder that ``gitml serve`` opens on the other side."""

    flavor = "ssh"
    capabilities = Capabilities(parallel=3)

    def __init__(self, url: str, host: str, port: int | None, path: str, access: Access) -> None:
        self.url = url
        self._idle: list[_Session] = []
        self._is_closed = False
        self._lock = Lock()
        program = access.environment.get("GIT_SSH_COMMAND") or access.settings.get("sshcommand")
        self._command = [*shlex.split(program or "ssh"), *_OPTIONS]
        if port is not None:
            self._command += ["-p", str(port)]
        served = access.settings.get("command") or "gitml"
        self._command += ["--", host, f"{served} serve --stdio {shlex.quote(path)}"]

    @classmethod
    def open(cls, url: str, access: Access) -> SshRemote:
        """The folder of a URL or of ``user@host:path``; the first request connects."""
        port = None
        if url.startswith("ssh://"):
            parts = split_url(url, _FORM)
            host, path, port = parts.netloc, unquote(parts.path), parts.port
            host = re.sub(r":[0-9]+\Z", "", host)
            path = path.removeprefix("/") if path.startswith("/~") else path
            if parts.query or parts.fragment:
                path = ""
        else:
            host, _, path = url.partition(":") if not url.startswith("[") else _bracketed(url)
        if not _HOST.match(host) or not path or path == "/" or "\0" in path or "\n" in path:
            raise ConfigError(f"`{url}` names no folder of another machine", hint=_FORM)
        return cls(url, host.replace("[", "").replace("]", ""), port, path, access)

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes of those that are there, a thousand to a question."""
        asked = iter([check_key(key) for key in keys])
        found: dict[str, int] = {}
        while some := list(islice(asked, KEYS_AT_ONCE)):
            with self._session() as session:
                sizes = session.ask({"do": "stat", "keys": some}).get("sizes")
            if not isinstance(sizes, dict):
                raise CorruptData(f"{self.url} answered without sizes")
            answers = {key: sizes.get(key) for key in some}
            found |= {key: n for key, n in answers.items() if type(n) is int and n >= 0}
        return found

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes as the other side reads them."""
        request = {"do": "get", "key": check_key(key), "start": start, "length": length}
        with self._session() as session:
            session.ask(request)
            received = 0
            for piece in session.line.receive_data():
                received += len(piece)
                if length is not None and received > length:
                    raise CorruptData(f"{self.url} sent more of {key} than was asked for")
                yield piece
            if length is not None and received != length:
                raise CorruptData(f"{self.url} sent {received} of {length} bytes of {key}")

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """Send the bytes; the other side writes them as it does in a folder of its own."""
        check_key(key)
        with storage_errors(getattr(content, "path", content), "read"):  # type: ignore[arg-type]
            size = size_of(content)
        with self._session() as session:
            session.line.send({"do": "put", "key": key, "size": size, "create": create})
            session.send_data(pieces_of(content))
            session.answer()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The objects, a thousand to an answer."""
        with self._session() as session:
            answer = session.ask({"do": "list", "prefix": prefix})
            while rows := answer.get("entries"):
                for row in rows:
                    entry = entry_of(row)
                    if is_key(entry.key) and entry.key.startswith(prefix):
                        yield entry
                answer = session.answer()

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, a thousand to a request."""
        asked = iter([check_key(key) for key in keys])
        while some := list(islice(asked, KEYS_AT_ONCE)):
            with self._session() as session:
                session.ask({"do": "delete", "keys": some})

    def close(self) -> None:
        """End the ssh processes that are idle."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        """A connection that nobody else uses; one that broke or was left in mid-answer is ended."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = _Session(self._command, self.url)
        try:
            yield session
        except Told as error:  # a refusal is an answer: the line is as it should be
            self._keep(session)
            raise error.reason from None
        except (OSError, ConnectionLost) as error:
            raise session.explained(error) from error
        except BaseException:
            session.close()
            raise
        else:
            self._keep(session)

    def _keep(self, session: _Session) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(session)
                return
        session.close()  # a stream that outlived the remote


class _Session:
    """One ssh process, greeted and ready."""

    def __init__(self, command: list[str], url: str) -> None:
        self._url = url
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words
            )
        except OSError as error:
            self._words.close()
            raise RemoteFailed(
                f"{command[0]} cannot be started", hint="`apt-get install openssh-client`"
            ) from error
        source, sink = self._process.stdout, self._process.stdin
        self.line = Line(cast(BinaryIO, source), cast(BinaryIO, sink))
        try:
            self._greet(cast(BinaryIO, source))
        except (OSError, ConnectionLost) as error:
            raise self.explained(error, greeted=False) from error
        except BaseException:
            self.close()
            raise

    def _greet(self, source: BinaryIO) -> None:
        """Pass over what a login script prints, up to the greeting."""
        seen = 0
        while (line := source.readline(1024)) != GREETING:
            seen += len(line)
            if not line:
                raise ConnectionLost("the connection ended before a greeting")
            if seen > _NOISE:
                raise RemoteFailed(
                    f"{self._url} answers, but not as gitml does",
                    hint="does a login script there print without end?",
                )
        self.line.receive()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; raises Told where it is an error."""
        self.line.send(request)
        return self.answer()

    def send_data(self, pieces: Iterator[bytes]) -> None:
        """Send the data of a put; where our own source fails the other side drops what it has."""
        try:
            self.line.send_data(pieces)
        except GitmlError as error:
            with suppress(Told):
                self.answer()
            raise Told(error) from error

    def answer(self) -> dict[str, Any]:
        """The next answer; raises Told where it is an error."""
        document = self.line.receive()
        if "error" in document:
            raise Told(raised(document))
        return document

    def explained(self, error: Exception, *, greeted: bool = True) -> GitmlError:
        """What the end of the connection means, by how ssh ended and what it said; ends it."""
        self.close()
        self._words.close()
        code = self._process.returncode
        words = self.said.splitlines()
        last = words[-1].strip()[:300] if words else ""
        if code == 255 and _REFUSED.search(self.said):
            return AuthenticationFailed(
                f"{self._url} does not let you in: {last}", hint="`ssh -v HOST` says more"
            )
        if code == _NOT_FOUND or "command not found" in last:
            return RemoteFailed(
                f"there is no gitml at {self._url}: {last}",
                hint="`pip install gitml` there, on the PATH of a login without a terminal; or "
                "`git config gitml.remote.NAME.command /path/of/gitml`",
            )
        if not greeted and code == 255:
            return Unreachable(f"{self._url} does not answer: {last or 'ssh gives no reason'}")
        if not greeted and code:
            return RemoteFailed(f"gitml does not start at {self._url}: {last}")
        return ConnectionLost(
            f"the connection to {self._url} broke off{': ' if last else ''}{last}"
        )

    def close(self) -> None:
        """End the process, and keep what it has said."""
        if self._words.closed:
            return
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                cast(BinaryIO, stream).close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, self._words.tell() - _NOISE))
        self.said = self._words.read().decode(errors="replace")
        self._words.close()


def _bracketed(url: str) -> tuple[str, str, str]:
    """Host and path of ``[::1]:path``."""
    host, colon, path = url.partition("]:")
    return f"{host}]", colon, path


def entry_of(row: Any) -> Entry:
    """An object of a listing; raises CorruptData."""
    match row:
        case [str(key), int(size), int(modified) | float(modified)]:
            return Entry(key, size, float(modified))
    raise CorruptData("a listing has a row that is no object")
