"""Web servers: the suite on one that knows ranges and one that does not, logins and redirects."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    MissingBytes,
    RemoteFailed,
    Unreachable,
)
from gitml.remotes.base import Access, Remote
from gitml.remotes.http import HttpRemote
from gitml.remotes.object_store import S3Remote
from gitml.testing.remote_suite import KEY, RemoteSuite
from tests.remotes.scripted import Answer, Scripted
from tests.servers import S3Server, WebServer


class TestWithoutRanges(RemoteSuite):
    """Python's server of files answers with the whole file, whatever the range."""

    large = 3 << 20
    many = 51

    @pytest.fixture(autouse=True)
    def _server(self, web_server: WebServer) -> None:
        self.server = web_server

    def remote(self, folder: Path) -> Remote:
        return HttpRemote.open(f"{self.server.url}/{secrets.token_hex(4)}", Access(folder))

    def plant(self, remote: Remote, key: str, data: bytes) -> None:
        path = self.server.folder / remote.url.rpartition("/")[2] / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class TestWithRanges(RemoteSuite):
    """SeaweedFS shows the files of its buckets over HTTP."""

    many = 51

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server = s3_server

    def remote(self, folder: Path) -> Remote:
        place = f"127.0.0.1:{self.server.filer}/buckets/team-bucket/{secrets.token_hex(4)}"
        return HttpRemote.open(f"http://{place}/", Access(folder))

    def plant(self, remote: Remote, key: str, data: bytes) -> None:
        prefix = remote.url.rpartition("/")[2]
        access = Access(Path(), self.server.environment())
        S3Remote.open(self.server.url(prefix), access).put(key, data)


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], Answer]], Scripted]]:
    made: list[Scripted] = []

    def make(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Scripted:
        made.append(Scripted(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


LOGIN = f"Basic {base64.b64encode(b'ada:pw').decode()}"
Make = Callable[[Callable[[BaseHTTPRequestHandler], Answer]], Scripted]


def test_a_login_is_sent_when_it_is_asked_for(scripted: Make, tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        is_known = request.headers.get("Authorization") == LOGIN
        return (200, {}, b"data") if is_known else (401, {"WWW-Authenticate": "Basic"}, b"")

    server = scripted(answer)
    asked: list[tuple[str, str]] = []

    def credentials(protocol: str, host: str) -> tuple[str, str]:
        asked.append((protocol, host))
        return "ada", "pw"

    remote = HttpRemote.open(server.url, Access(tmp_path, credentials=credentials))
    assert remote.read(KEY, 10) == b"data"
    assert remote.stat([KEY]) == {KEY: 4}
    assert asked == [("http", server.url.removeprefix("http://"))]
    assert len(server.asked) == 3
    for wrong in (lambda protocol, host: None, lambda protocol, host: ("ada", "no")):
        with pytest.raises(AuthenticationFailed) as caught:
            HttpRemote.open(server.url, Access(tmp_path, credentials=wrong)).stat([KEY])
        assert caught.value.exit_code == 4


def test_a_login_stays_with_its_host(scripted: Make, tmp_path: Path) -> None:
    other = scripted(lambda request: (200, {}, b"data"))

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.headers.get("Authorization") != LOGIN:
            return 401, {}, b""
        return 302, {"Location": f"{other.url.replace('127.0.0.1', 'localhost')}/x"}, b""

    server = scripted(answer)
    access = Access(tmp_path, credentials=lambda protocol, host: ("ada", "pw"))
    remote = HttpRemote.open(server.url, access)
    assert remote.read(KEY, 10) == b"data"
    assert remote.stat([KEY]) == {KEY: 4}
    assert [command for command, _, _ in other.asked] == ["GET", "HEAD"]
    assert all("Authorization" not in headers for _, _, headers in other.asked)


def test_a_redirect_out_of_encryption_is_not_followed(scripted: Make, tmp_path: Path) -> None:
    server = scripted(lambda request: (302, {"Location": "http://files.example.org/x"}, b""))
    with pytest.raises(RemoteFailed):
        HttpRemote.open(server.url, Access(tmp_path)).read(KEY, 10)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, MissingBytes),
        (410, MissingBytes),
        (403, AuthenticationFailed),
        (503, ConnectionLost),
        (429, ConnectionLost),
        (400, RemoteFailed),
    ],
)
def test_what_a_status_means(
    scripted: Make, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    server = scripted(lambda request: (status, {}, b"<html>no</html>"))
    with pytest.raises(error) as caught:
        HttpRemote.open(server.url, Access(tmp_path)).get_range(KEY, 0, 5)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 0-4/10"}),
        (206, {"Content-Range": "nonsense"}),
        (206, {"Content-Range": f"bytes 5-9/{'9' * 5000}"}),
        (206, {}),
        (200, {"Content-Encoding": "gzip"}),
    ],
)
def test_another_answer_than_was_asked_for(
    scripted: Make, tmp_path: Path, status: int, headers: Mapping[str, str]
) -> None:
    server = scripted(lambda request: (status, headers, b"01234"))
    with pytest.raises(RemoteFailed):
        HttpRemote.open(server.url, Access(tmp_path)).get_range(KEY, 5, 5)


def test_an_answer_that_ends_too_soon(scripted: Make, tmp_path: Path) -> None:
    server = scripted(lambda request: (200, {"Content-Length": "100"}, b"01234"))
    remote = HttpRemote.open(server.url, Access(tmp_path))
    with pytest.raises(ConnectionLost):
        remote.read(KEY, 1000)
    with pytest.raises(ConnectionLost):
        remote.get_range(KEY, 3, 50)


def test_a_server_that_does_not_know_head(scripted: Make, tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.command == "HEAD":
            return 200, {"Content-Length": "?"}, b""
        return 206, {"Content-Range": "bytes 0-0/4321"}, b"x"

    assert HttpRemote.open(scripted(answer).url, Access(tmp_path)).stat([KEY]) == {KEY: 4321}


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "\u00b2", ""])
def test_a_length_that_is_none(scripted: Make, tmp_path: Path, length: str) -> None:
    server = scripted(lambda request: (200, {"Content-Length": length}, b""))
    with pytest.raises((RemoteFailed, ConnectionLost)):
        HttpRemote.open(server.url, Access(tmp_path)).stat([KEY])


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        HttpRemote.open("http://127.0.0.1:1/x", Access(tmp_path)).stat([KEY])


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///x",
        "https://host:port/x",
        "https://host/x?token=y",
        "https://host/x#y",
        "https://ada@host/x",
        "https://host/a b",
        "http://files.example.org/lake",
    ],
)
def test_what_is_no_web_folder(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpRemote.open(url, Access(tmp_path))
    assert caught.value.hint
