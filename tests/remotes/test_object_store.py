"""Buckets: the suite on SeaweedFS, credentials and their absence, and what is no bucket."""

from __future__ import annotations

import secrets
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gitml.errors import AuthenticationFailed, ConfigError, RemoteFailed, Unreachable
from gitml.remotes.base import Access, FilePart, Remote
from gitml.remotes.object_store import S3Remote
from gitml.remotes.profiles import profile_keys
from gitml.testing.remote_suite import KEY, OTHER, RemoteSuite
from tests.remotes.scripted import Answer, Scripted
from tests.servers import S3Server


class TestS3(RemoteSuite):
    page = 30
    many = 501

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server = s3_server

    def remote(self, folder: Path) -> Remote:
        url = self.server.url(f"lake/{secrets.token_hex(4)}")
        return S3Remote.open(url, Access(folder, self.server.environment()))

    def again(self, remote: Remote) -> Remote:
        return S3Remote.open(remote.url, Access(Path(), self.server.environment()))

    def test_two_prefixes_are_two_places(self, place: Remote, tmp_path: Path) -> None:
        place.put(KEY, b"x")
        with self.remote(tmp_path) as other:
            assert other.stat([KEY]) == {}
            assert list(other.list()) == []
        above = self.again(self.remote(tmp_path))
        above.prefix = "lake"  # type: ignore[attr-defined]
        assert len(list(above.list())) >= 1

    def test_a_large_file_goes_in_parts(self, place: Remote, tmp_path: Path) -> None:
        file = tmp_path / "large"
        with file.open("wb") as out:
            for number in range(40):
                out.write(bytes([number]) * (1 << 20))
        place.put(KEY, FilePart(file, 100, (36 << 20) + 7))
        assert place.stat([KEY]) == {KEY: (36 << 20) + 7}
        assert place.get_range(KEY, (36 << 20) - 100, 107) == b"\x24" * 107
        with pytest.raises(Exception, match="cannot read"):
            place.put(OTHER, FilePart(file, 1 << 20, 40 << 20))
        assert place.stat([OTHER]) == {}


@pytest.mark.sweep
class TestPages(TestS3):
    """The same with more than the service gives in one answer."""

    page = 1_000
    many = 3_000


def access(tmp_path: Path, environment: dict[str, str]) -> Access:
    return Access(tmp_path, {"HOME": str(tmp_path), **environment})


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(s3_server: S3Server, tmp_path: Path, wrong: str) -> None:
    remote = S3Remote.open(
        s3_server.url("x"), access(tmp_path, {**s3_server.environment(), wrong: "no"})
    )
    for use in (
        lambda: remote.stat([KEY]),
        lambda: remote.put(KEY, b"x"),
        lambda: list(remote.get(KEY)),
        lambda: list(remote.list()),
        lambda: remote.delete([KEY]),
    ):
        with pytest.raises(AuthenticationFailed) as caught:
            use()
        assert caught.value.exit_code == 4
        assert "gitmlsecret" not in str(caught.value) + str(caught.value.__cause__)


def test_who_may_only_read(s3_server: S3Server, tmp_path: Path) -> None:
    url = s3_server.url(secrets.token_hex(4))
    S3Remote.open(url, access(tmp_path, s3_server.environment())).put(KEY, b"x")
    reader = S3Remote.open(url, access(tmp_path, s3_server.environment(reader=True)))
    assert reader.read(KEY, 1) == b"x"
    assert reader.stat([KEY, OTHER]) == {KEY: 1}
    for use in (lambda: reader.put(OTHER, b"y"), lambda: reader.delete([KEY])):
        with pytest.raises(AuthenticationFailed) as caught:
            use()
        assert "you may not change" in caught.value.message
    assert reader.stat([KEY, OTHER]) == {KEY: 1}


def test_without_credentials_nothing_is_asked(tmp_path: Path) -> None:
    remote = S3Remote.open("s3://team-bucket?endpoint=http://localhost:1", access(tmp_path, {}))
    with pytest.raises(AuthenticationFailed) as caught:
        remote.stat([KEY])
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_git_keeps_credentials_too(s3_server: S3Server, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def credentials(protocol: str, host: str) -> tuple[str, str]:
        asked.append((protocol, host))
        return s3_server.key, s3_server.secret

    remote = S3Remote.open(
        s3_server.url("x"), Access(tmp_path, {"HOME": str(tmp_path)}, credentials)
    )
    assert remote.stat([KEY]) == {}
    assert asked[0] == ("https", f"127.0.0.1:{s3_server.port}")


def test_a_profile_keeps_credentials_too(s3_server: S3Server, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        f"[lake]\naws_access_key_id = {s3_server.key}\naws_secret_access_key = {s3_server.secret}\n"
    )
    url = f"{s3_server.url('x')}&profile=lake"
    wrong = {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
    assert S3Remote.open(url, access(tmp_path, wrong)).stat([KEY]) == {}
    chosen = S3Remote.open(s3_server.url("x"), access(tmp_path, {"AWS_PROFILE": "lake"}))
    assert chosen.stat([KEY]) == {}
    with pytest.raises(ConfigError, match="no profile `sea`"):
        S3Remote.open(s3_server.url("x") + "&profile=sea", access(tmp_path, {})).stat([KEY])


def test_profiles(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert profile_keys(home, None) == {}
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-north-1\n[profile lake]\nregion = eu-west-1\n"
        "aws_access_key_id = A\n[profile corp]\nsso_start_url = https://x\n"
    )
    (tmp_path / ".aws/credentials").write_text(
        "[lake]\naws_access_key_id = B\naws_secret_access_key = C\naws_session_token = D\n"
    )
    assert profile_keys(home, None) == {"region": "eu-north-1"}
    assert profile_keys(home, "lake") == {
        "access_key_id": "B",
        "secret_access_key": "C",
        "session_token": "D",
        "region": "eu-west-1",
    }
    with pytest.raises(ConfigError, match="holds no keys"):
        profile_keys(home, "corp")
    (tmp_path / ".aws/config").write_bytes(b"[x\nnot a file \xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        profile_keys(home, "lake")


def test_no_such_bucket(s3_server: S3Server, tmp_path: Path) -> None:
    """The one who may not make it is told that it is not there, not that a key is missing."""
    url = s3_server.url("x", bucket="no-such-bucket")
    for use in (
        lambda remote: remote.stat([KEY]),
        lambda remote: list(remote.get(KEY)),
        lambda remote: list(remote.list()),
    ):
        with pytest.raises(RemoteFailed, match="no bucket no-such-bucket"):
            use(S3Remote.open(url, access(tmp_path, s3_server.environment())))


def test_nobody_there(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    remote = S3Remote.open("s3://team-bucket?endpoint=http://127.0.0.1:1", access(tmp_path, keys))
    with pytest.raises(Unreachable):
        remote.put(KEY, b"x")
    with pytest.raises(Unreachable):
        remote.stat([KEY])


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3://Bucket/x",
        "s3://b",
        "s3://bucket/a b",
        "s3://bucket/x#y",
        "s3://bucket?regoin=x",
        "s3://bucket?region=",
        "s3://bucket?endpoint=host",
        "s3://bucket?endpoint=http://minio.example.org:9000",
        "s3://bucket?endpoint=ftp://localhost",
    ],
)
def test_what_is_no_bucket(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        S3Remote.open(url, Access(tmp_path))
    assert caught.value.hint


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    remote = S3Remote.open("s3://team-bucket/x", Access(tmp_path))
    for use in (lambda: remote.stat([KEY]), lambda: remote.put(KEY, b""), lambda: [*remote.list()]):
        with pytest.raises(ConfigError) as caught:
            use()
        assert "gitml[s3]" in (caught.value.hint or "")


def test_a_service_that_cannot_delete_many(tmp_path: Path) -> None:
    deleted: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.command == "DELETE":
            deleted.append(request.path)
            return 204, {}, b""
        code = "<Error><Code>NotImplemented</Code><Message>not here</Message></Error>"
        return 501, {}, code.encode()

    server = Scripted(answer)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    remote = S3Remote.open(f"s3://team-bucket/x?endpoint={server.url}", access(tmp_path, keys))
    try:
        remote.delete([KEY, OTHER])
        remote.delete([])
    finally:
        server.close()
    assert sorted(deleted) == [f"/team-bucket/x/{KEY}", f"/team-bucket/x/{OTHER}"]
