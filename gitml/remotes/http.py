"""A folder that a web server shows, as a remote that is only read.

    https://host/folder

Any static server does; one that answers ranges does it well. The standard library speaks to it,
with the proxies of the environment.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing
from threading import Lock
from typing import IO, Any
from urllib.parse import urlsplit

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    MissingBytes,
    RemoteFailed,
    Unreachable,
)
from gitml.remotes.base import (
    PIECE,
    Access,
    Capabilities,
    Content,
    Entry,
    Remote,
    check_key,
    is_loopback,
    sizes_side_by_side,
    split_url,
)

_FORM = "`https://host/folder`"
_PATH = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:@/-]*\Z")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)\Z")
_COUNT = re.compile(r"[0-9]{1,18}\Z")
_SILENCE = 30.0
_GONE = (404, 410)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class HttpRemote(Remote):
    """Objects as files of a web server."""

    flavor = "http"
    capabilities = Capabilities(writes=False, lists=False, create=False, parallel=4)

    def __init__(self, url: str, access: Access) -> None:
        self.url = url.rstrip("/")
        self._access = access
        self._login: dict[str, str] = {}
        self._lock = Lock()
        self._opener = urllib.request.build_opener(_Redirects())

    @classmethod
    def open(cls, url: str, access: Access) -> HttpRemote:
        """The folder at a URL; without encryption on this machine alone."""
        parts = split_url(url, _FORM)
        host = parts.hostname or ""
        if (
            not host
            or parts.query
            or parts.fragment
            or parts.username
            or not _PATH.match(parts.path)
        ):
            raise ConfigError(f"`{url}` is no folder of a web server", hint=_FORM)
        if parts.scheme != "https" and not is_loopback(host):
            raise ConfigError(
                f"{url} has no encryption, which only this machine itself may do without",
                hint=f"`https://{parts.netloc}{parts.path}`",
            )
        return cls(url, access)

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes of those that are there, asked for side by side."""
        return sizes_side_by_side([check_key(key) for key in keys], self._size, 8)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of one answer; without ranges, those before ``start`` are passed over."""
        check_key(key)
        if length == 0 or (length is None and start and self._size(key) == start):
            self._check_range(key, start, 0)
            return
        last = "" if length is None else start + length - 1
        ranged = {"Range": f"bytes={start}-{last}"} if start or length is not None else {}
        with closing(self._ask("GET", key, ranged)) as answer:
            if answer.status == 416:
                self._check_range(key, start, length or 1)
                raise RemoteFailed(f"{self.url} does not send a range of {key} that is there")
            at, size = self._bounds(answer, key, start)
            if size is not None and (start > size or start + (length or 0) > size):
                raise self._too_short(key, size, start + (length or 0))
            end = start + length if length is not None else size
            yield from self._pieces(answer, key, at, start, end)

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """Nothing: raises RemoteFailed."""
        check_key(key)
        raise self._only_read()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Nothing: raises RemoteFailed."""
        raise RemoteFailed(f"{self.url} cannot be listed: it is a web server")

    def delete(self, keys: Iterable[str]) -> None:
        """Nothing: raises RemoteFailed."""
        for key in keys:
            check_key(key)
        raise self._only_read()

    def _only_read(self) -> RemoteFailed:
        return RemoteFailed(
            f"{self.url} is only read: it is a web server",
            hint="`gitml remote add NAME URL` names one that can be written, too",
        )

    def _size(self, key: str) -> int:
        """The size of an object; raises MissingBytes."""
        with closing(self._ask("HEAD", key, {})) as answer:
            length = answer.headers.get("Content-Length", "")
            if answer.status == 200 and _COUNT.match(length):
                return int(length)
        with closing(self._ask("GET", key, {"Range": "bytes=0-0"})) as answer:
            whole = _RANGE.match(answer.headers.get("Content-Range", ""))
            length = whole[2] if whole else answer.headers.get("Content-Length", "")
            if _COUNT.match(length):
                return int(length)
        raise RemoteFailed(f"{self.url} does not say how large {key} is")

    def _bounds(
        self, answer: http.client.HTTPResponse, key: str, start: int
    ) -> tuple[int, int | None]:
        """Where an answer begins, and the size of the object where the server says it."""
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise RemoteFailed(f"{self.url} sends {key} in another encoding than it has")
        if answer.status == 206:
            found = _RANGE.match(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                raise RemoteFailed(f"{self.url} sent another range of {key} than was asked for")
            return start, None if found[2] == "*" else int(found[2])
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if _COUNT.match(length) else None

    def _pieces(
        self, answer: http.client.HTTPResponse, key: str, at: int, start: int, end: int | None
    ) -> Iterator[bytes]:
        """The bytes from ``start`` to ``end`` of an answer that begins at ``at``."""
        while end is None or at < end:
            try:
                piece = answer.read1(PIECE)
            except (OSError, http.client.HTTPException) as error:
                raise ConnectionLost(f"{self.url} stopped sending {key}") from error
            if not piece:
                break
            wanted = piece[max(0, start - at) : None if end is None else end - at]
            at += len(piece)
            if wanted:
                yield wanted
        if end is not None and at < end:
            raise ConnectionLost(f"{self.url} stopped sending {key} at byte {at} of {end}")

    def _ask(self, method: str, key: str, headers: dict[str, str]) -> Any:
        """The answer to a request, the login added where the server asks for one."""
        host = urlsplit(self.url).netloc
        url = f"{self.url}/{check_key(key)}"
        for _ in range(2):
            request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310
            request.add_header("Accept-Encoding", "identity")
            if host in self._login:
                request.add_unredirected_header("Authorization", self._login[host])
            try:
                return self._opener.open(request, timeout=_SILENCE)
            except urllib.error.HTTPError as error:
                with closing(error):
                    if error.code == 416:
                        return _Empty(error)
                    if error.code == 401 and self._logs_in(host):
                        continue
                    raise self._refused(error, key) from error
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
        raise self._unknown()

    def _logs_in(self, host: str) -> bool:
        """Whether there are credentials for the host that were not tried yet."""
        with self._lock:
            if host in self._login:
                return False
            pair = self._access.credentials(urlsplit(self.url).scheme, host)
            if pair is None:
                return False
            self._login[host] = f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"
            return True

    def _unknown(self) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"{self.url} asks who you are",
            hint="`git credential approve` keeps a user name and a password for its host",
        )

    def _refused(self, error: urllib.error.HTTPError, key: str) -> Exception:
        if error.code in _GONE:
            return MissingBytes(f"{key} is not on {self.url}")
        if error.code in (401, 407):
            return self._unknown()
        if error.code == 403:
            return AuthenticationFailed(f"you may not read {key} on {self.url}")
        if error.code in _BUSY:
            return ConnectionLost(f"{self.url} is too busy ({error.code})")
        return RemoteFailed(f"{self.url} refused a request with {error.code}")

    def _unreachable(self, error: Exception) -> RemoteFailed:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return RemoteFailed(f"the certificate of {self.url} is not trusted here")
        if isinstance(reason, (socket.gaierror, ConnectionRefusedError)):
            return Unreachable(f"nobody answers at {self.url}")
        return ConnectionLost(f"the connection to {self.url} broke off")


class _Empty:
    """An answer that holds nothing: its status and headers alone."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status = error.code
        self.headers = error.headers

    def close(self) -> None:
        """Nothing is open."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects are followed, but not out of encryption; a login stays with its host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows; raises HTTPError where it would be unsafe."""
        parts = urlsplit(newurl)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise urllib.error.HTTPError(
                newurl, code, "a redirect out of encryption is not followed", headers, fp
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()  # HEAD stays HEAD
        return following
