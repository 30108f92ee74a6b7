"""JSON over HTTP for the forges, by the standard library: a handful of requests, one host.

The token goes to that host and to no other: redirects are refused, not followed. A forge that wants
us to wait is waited for, within reason.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from email.message import Message
from typing import Any
from urllib.parse import urlencode, urlsplit

from gitml.errors import (
    AuthenticationFailed,
    ConnectionLost,
    NameNotFound,
    RemoteFailed,
    Unreachable,
)
from gitml.frozen import Frozen

_SILENCE = 30.0
_PATIENCE = 20.0
"""Seconds for which a forge may ask us to wait, altogether, before we give up."""
_MOST = 8 << 20
_MOST_PAGES = 50
_BUSY = (500, 502, 503, 504)


class Token(Frozen):
    """A credential: the header's value, and where it was found. Its ``repr`` does not show it."""

    value: str
    source: str

    def __repr__(self) -> str:
        return f"Token(source={self.source!r})"


class Api:
    """The interface of one forge at ``url``, used with one token, or without any."""

    def __init__(self, url: str, token: Token | None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.host = urlsplit(url).netloc
        self._opener = urllib.request.build_opener(_NoRedirects())
        self._waited = 0.0

    def get(self, path: str, **query: str | int) -> Any:
        """What is at a path; raises as `call`."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def pages(self, path: str, size: str, most: int, **query: str | int) -> Iterator[Any]:
        """The items of a list, page by page; ``size`` is how the forge calls a page's size."""
        for page in range(1, _MOST_PAGES + 1):
            items = self.get(path, **{**query, size: most, "page": page})
            if not isinstance(items, list):
                raise RemoteFailed(f"{self.host} answers {path} with no list")
            yield from items
            if len(items) < most:
                return

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the forge answers to a request.

        Raises AuthenticationFailed (401, 403, or no token), NameNotFound (404), RemoteFailed with
        the forge's own words (422 and others), ConnectionLost when it is too busy for long or
        breaks off, Unreachable.
        """
        while True:
            status, headers, data = self._ask(method, path, body)
            if 200 <= status < 300:
                return self._document(path, data) if data else None
            pause = self._pause(method, status, headers)
            if pause is None:
                raise self._error(status, path, headers, data)
            self._waited += pause
            time.sleep(pause)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Message, bytes]:
        headers = {"Accept": "application/json", "User-Agent": "gitml"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if self.token is not None:
            headers["Authorization"] = self.token.value
        request = urllib.request.Request(  # noqa: S310 - `opening` lets https and loopback through
            f"{self.url}{path}", data=data, method=method, headers=headers
        )
        try:
            with closing(self._opener.open(request, timeout=_SILENCE)) as answer:
                return answer.status, answer.headers, self._read(path, answer)
        except urllib.error.HTTPError as error:
            with closing(error):
                return error.code, error.headers, error.read(64 << 10)
        except urllib.error.URLError as error:
            reason = error.reason if isinstance(error.reason, OSError) else error
            raise Unreachable(f"{self.host} does not answer") from reason
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(f"the connection to {self.host} broke off") from error

    def _read(self, path: str, answer: http.client.HTTPResponse) -> bytes:
        data = answer.read(_MOST + 1)
        if len(data) > _MOST:
            raise RemoteFailed(f"{self.host} answers {path} with more than {_MOST >> 20} MiB")
        return data

    def _document(self, path: str, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RemoteFailed(
                f"{self.host} answers {path.partition('?')[0]} with no JSON"
            ) from error

    def _pause(self, method: str, status: int, headers: Message) -> float | None:
        """The seconds to wait before another try; None where one would not help, or is too far."""
        if status == 429 or (status == 403 and _is_limit(headers)):
            pause = _seconds(headers)
        elif status in _BUSY and method == "GET":
            pause = 1.0
        else:
            return None
        return pause if self._waited + pause <= _PATIENCE else None

    def _error(self, status: int, path: str, headers: Message, data: bytes) -> Exception:
        words = _words(data)
        cause = RemoteFailed(f"{status}: {words}" if words else f"{status}, without a reason")
        error: Exception
        where = path.partition("?")[0]
        if status == 429 or (status == 403 and _is_limit(headers)):
            error = ConnectionLost(
                f"{self.host} takes no more requests for {_seconds(headers):.0f} seconds",
                hint="the same command again, later; nothing is lost",
            )
        elif status in (401, 403) and self.token is None:
            error = AuthenticationFailed(f"{self.host} wants a token")
        elif status in (401, 403):
            source = self.token.source if self.token else ""
            error = AuthenticationFailed(
                f"{self.host} does not let the token from {source} do this",
                hint=f"`unset {source}` or another token, which may write pull requests and issues"
                if source.isupper()
                else "a token has to be allowed to write pull requests and issues",
            )
        elif status == 404:
            error = NameNotFound(f"{self.host} has no {where}, or the token may not see it")
        elif 300 <= status < 400:
            to = headers.get("Location", "elsewhere")
            error = RemoteFailed(
                f"{self.host} sends us to {to[:200]}, where no token goes",
                hint="`git remote set-url` where the repository was renamed",
            )
        elif status in _BUSY:
            error = ConnectionLost(f"{self.host} has trouble of its own")
        else:
            error = RemoteFailed(f"{self.host} refuses {where}")
        error.__cause__ = cause
        return error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _is_limit(headers: Message) -> bool:
    return "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"


def _seconds(headers: Message) -> float:
    """How long a forge wants us to wait."""
    try:
        if "Retry-After" in headers:
            return max(0.0, float(headers["Retry-After"]))
        return max(1.0, float(headers["X-RateLimit-Reset"]) - time.time())
    except (KeyError, TypeError, ValueError):
        return 60.0


def _words(data: bytes) -> str:
    """What a forge says of a refusal, in a line: its message, and each of its errors."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    said = []
    for key in ("message", "error", "errors", "error_description"):
        value = document.get(key)
        for one in value if isinstance(value, list) else [value]:
            text = one.get("message", one) if isinstance(one, dict) else one
            if text:
                said.append(" ".join(str(text).split()))
    return "; ".join(dict.fromkeys(said))[:400]
