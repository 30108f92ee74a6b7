"""Push, fetch and promote over HTTP, by git's own server program on loopback."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from gitml.errors import AuthenticationFailed, GitmlError
from gitml.repo import Repo
from tests.sync.conftest import Team

BACKEND = (
    Path(
        subprocess.run(
            ["git", "--exec-path"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    / "git-http-backend"
)

Start = Callable[[str, list[tuple[str, str]]], Any]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it overrides
        return


def backend(root: Path, closed: list[int]) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    """git http-backend as a WSGI application; while ``closed`` is not empty nobody gets in."""

    def answer(request: dict[str, Any], start: Start) -> Iterable[bytes]:
        if closed:
            start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
            return [b""]
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH")
        variables = {name: str(request.get(name, "")) for name in names}
        for name in ("HTTP_CONTENT_ENCODING", "HTTP_GIT_PROTOCOL"):
            if name in request:
                variables[name] = request[name]
        if "HTTP_GIT_PROTOCOL" in variables:
            variables["GIT_PROTOCOL"] = variables["HTTP_GIT_PROTOCOL"]
        body = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        done = subprocess.run(
            [str(BACKEND)],
            input=body,
            env={
                **os.environ,
                **variables,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
            },
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = dict(headers).get("Status", "200 OK")
        start(status, [(name, value) for name, value in headers if name != "Status"])
        return [content]

    return answer


@pytest.fixture
def closed() -> list[int]:
    return []


@pytest.fixture
def url(team: Team, closed: list[int]) -> Iterator[str]:
    """The team's repository over HTTP."""
    if not BACKEND.exists():
        pytest.skip("git http-backend is not installed")
    team.server.git("config", "http.receivepack", "true")
    server = make_server(
        "127.0.0.1", 0, backend(team.server.path.parent, closed), handler_class=Quiet
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{team.server.path.name}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_all_goes_over_http(team: Team, url: str, tmp_path: Path) -> None:
    team.bob.git("remote", "set-url", "origin", url)
    team.bob.run()
    assert team.bob.repo().push().versions == ["clf@v1"]
    repo, _ = Repo.clone(url, tmp_path / "alice")
    try:
        assert repo.artifact("clf@v1:model").load() == {"weights": [1.0, 2.0, 3.0]}
        assert repo.promote("clf@v1", "production", "good").tag == "clf@production/1"
    finally:
        repo.close()
    assert team.bob.repo().fetch().moves == ["clf@production/1"]
    assert team.bob.repo().push().moves == []


def test_who_is_not_let_in_is_told_so(team: Team, url: str, closed: list[int]) -> None:
    team.bob.git("remote", "set-url", "origin", url)
    closed.append(1)
    for act in (team.bob.repo().push, team.bob.repo().fetch):
        with pytest.raises(AuthenticationFailed) as caught:
            act()
        assert caught.value.exit_code == 4
    assert team.server.refs() == {}


def test_plain_http_is_for_this_machine_alone(team: Team) -> None:
    team.bob.git("remote", "set-url", "origin", "http://git.example.org/team.git")
    with pytest.raises(GitmlError, match="cannot be reached") as caught:
        team.bob.repo().fetch()
    assert "not allowed" in caught.value.causes()[0]
