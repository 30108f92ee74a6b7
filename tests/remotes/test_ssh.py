"""Another machine's folder: the suite over OpenSSH, and how ssh fails."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from threading import Thread

import pytest

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    GitmlError,
    RemoteFailed,
    Unreachable,
)
from gitml.remotes.base import Access, Remote
from gitml.remotes.folder import FolderRemote
from gitml.remotes.layers import Retrying
from gitml.remotes.ssh import SshRemote
from gitml.testing.remote_suite import KEY, OTHER, RemoteSuite
from tests.servers import SshServer


def access(server: SshServer, folder: Path, **settings: str) -> Access:
    return Access(folder, {"GIT_SSH_COMMAND": f"ssh -F {server.config}"}, settings=settings)


def alone(server: SshServer) -> str:
    """The configuration without the connection that all tests share, which has been let in."""
    return server.config.read_text().replace("ControlMaster auto", "ControlPath none")


def open_ssh(server: SshServer, root: Path, **settings: str) -> SshRemote:
    return SshRemote.open(server.url(root), access(server, root, **settings))


class TestSsh(RemoteSuite):
    page = 30
    many = 1_100

    @pytest.fixture(autouse=True)
    def _server(self, ssh_server: SshServer) -> None:
        self.server = ssh_server

    def remote(self, folder: Path) -> Remote:
        root = folder / "lake ü"
        root.mkdir()
        return open_ssh(self.server, root)

    def again(self, remote: Remote) -> Remote:
        return SshRemote.open(remote.url, access(self.server, Path()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "lake"
    root.mkdir()
    return root


def test_a_session_serves_many_requests(ssh_server: SshServer, root: Path) -> None:
    with open_ssh(ssh_server, root) as remote:
        for number in range(5):
            remote.put(KEY, b"%d" % number)
        for use in (  # an error is an answer, and the session goes on
            lambda: remote.put("a", root / "absent"),
            lambda: remote.get_range(KEY, 0, 2),
            lambda: remote.read(OTHER, 1),
        ):
            with pytest.raises(GitmlError):
                use()
        assert [one.key for one in remote.list("packs/")] == [KEY]
        assert len(remote._idle) == 1
        process = remote._idle[0]._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_stream_that_outlives_the_remote_ends_its_session(
    ssh_server: SshServer, root: Path
) -> None:
    remote = open_ssh(ssh_server, root)
    remote.put(KEY, b"x" * 300_000)
    stream = remote.get(KEY)
    first = next(stream)
    remote.close()
    assert len(first + b"".join(stream)) == 300_000
    assert remote._idle == []


def test_the_name_of_a_configured_host(ssh_server: SshServer, root: Path) -> None:
    with SshRemote.open(f"{ssh_server.user}@lake:{root}", access(ssh_server, root)) as remote:
        remote.put(KEY, b"x")
    assert FolderRemote(root).read(KEY, 1) == b"x"


def test_a_folder_that_is_not_there(ssh_server: SshServer, root: Path) -> None:
    with (
        open_ssh(ssh_server, root / "absent") as remote,
        pytest.raises(RemoteFailed, match="is not there"),
    ):
        remote.put(KEY, b"x")


def test_a_key_that_nobody_knows(ssh_server: SshServer, root: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "config"
    stranger.write_text(alone(ssh_server).replace("/key\n", "/host\n"))
    command = {"GIT_SSH_COMMAND": f"ssh -F {stranger}"}
    with pytest.raises(AuthenticationFailed) as caught:
        SshRemote.open(ssh_server.url(root), Access(root, command)).stat([KEY])
    assert caught.value.exit_code == 4


def test_an_unknown_host_key(ssh_server: SshServer, root: Path, tmp_path: Path) -> None:
    careful = tmp_path / "config"
    careful.write_text(alone(ssh_server).replace("/known\n", "/nobody\n"))
    command = {"GIT_SSH_COMMAND": f"ssh -F {careful}"}
    with pytest.raises(AuthenticationFailed):
        SshRemote.open(ssh_server.url(root), Access(root, command)).stat([KEY])


def test_nobody_there(ssh_server: SshServer, root: Path) -> None:
    url = ssh_server.url(root).replace(f":{ssh_server.port}", ":1")
    with pytest.raises(Unreachable):
        SshRemote.open(url, access(ssh_server, root)).stat([KEY])


def test_no_gitml_there(ssh_server: SshServer, root: Path) -> None:
    remote = open_ssh(ssh_server, root, command="/nowhere/gitml")
    with pytest.raises(RemoteFailed, match="no gitml") as caught:
        remote.stat([KEY])
    assert "gitml.remote.NAME.command" in (caught.value.hint or "")


def test_no_ssh_here(root: Path) -> None:
    remote = SshRemote.open("host:lake", Access(root, {"GIT_SSH_COMMAND": "/nowhere/ssh"}))
    with pytest.raises(RemoteFailed, match="cannot be started"):
        remote.stat([KEY])


def test_what_a_login_script_prints_is_passed_over(ssh_server: SshServer, root: Path) -> None:
    with open_ssh(ssh_server, root, command="printf 'Welcome\\nto the lake\\n'; gitml") as remote:
        remote.put(KEY, b"x")
        assert remote.stat([KEY]) == {KEY: 1}


def test_something_else_answers(ssh_server: SshServer, root: Path) -> None:
    remote = open_ssh(ssh_server, root, command="yes not gitml; true")
    with pytest.raises(RemoteFailed, match="not as gitml does"):
        remote.stat([KEY])
    remote = open_ssh(ssh_server, root, command="printf 'gitml-serve 2\\n'; true")
    with pytest.raises((RemoteFailed, ConnectionLost)):
        remote.stat([KEY])


def test_one_that_may_only_read(ssh_server: SshServer, root: Path) -> None:
    FolderRemote(root).put(KEY, b"x")
    served = f"gitml serve --stdio --read-only {root}; true"
    with open_ssh(ssh_server, root, command=served) as remote:
        assert remote.read(KEY, 1) == b"x"
        for use in (lambda: remote.put(OTHER, b"y" * (1 << 21)), lambda: remote.delete([KEY])):
            with pytest.raises(AuthenticationFailed):
                use()
        assert remote.stat([KEY, OTHER]) == {KEY: 1}


def test_a_session_that_is_killed_is_begun_again(ssh_server: SshServer, root: Path) -> None:
    """Between two requests and in the middle of a stream: nothing is lost, nothing comes twice."""
    data = os.urandom(8 << 20)
    bare = open_ssh(ssh_server, root)
    with Retrying(bare, sleep=lambda seconds: None) as remote:
        remote.put(KEY, data)
        bare._idle[0]._process.kill()
        assert remote.stat([KEY]) == {KEY: len(data)}
        session = bare._idle[0]
        received = b""
        for piece in remote.get(KEY):
            received += piece
            if session is not None and len(received) > 1 << 20:
                session._process.send_signal(signal.SIGKILL)
                session = None
        assert received == data


def test_a_put_that_is_cut_off_is_never_seen(ssh_server: SshServer, root: Path) -> None:
    remote = open_ssh(ssh_server, root)
    remote.put(OTHER, b"x")
    session = remote._idle[0]
    big = os.urandom(1 << 20)

    def cut() -> None:
        while not list((root / ".tmp").iterdir()):
            pass
        session._process.kill()

    killer = Thread(target=cut)
    killer.start()
    with pytest.raises(ConnectionLost):
        remote.put(KEY, big * 200)
    killer.join()
    remote.close()
    assert FolderRemote(root).stat([KEY, OTHER]) == {OTHER: 1}
    FolderRemote(root).put("third", b"z")


def test_the_forms_of_its_url(tmp_path: Path) -> None:
    def command(url: str) -> list[str]:
        return SshRemote.open(url, Access(tmp_path))._command

    assert command("ssh://ada@host:22/srv/lake")[-5:] == [
        *("-p", "22", "--", "ada@host", "gitml serve --stdio /srv/lake")
    ]
    assert command("host:lake")[-2:] == ["host", "gitml serve --stdio lake"]
    assert command("ada@host:/a b'c")[-1] == "gitml serve --stdio '/a b'\"'\"'c'"
    assert command("ssh://host/~/lake")[-1] == "gitml serve --stdio '~/lake'"
    assert command("ssh://host/a%20b")[-1] == "gitml serve --stdio '/a b'"
    assert command("ssh://[::1]:22/lake")[-2] == "::1"
    assert command("[::1]:lake")[-2:] == ["::1", "gitml serve --stdio lake"]
    for url in (
        *("ssh://host", "ssh://host/", "ssh:///lake", "host:", "ssh://-oProxyCommand=x/lake"),
        *("-oProxyCommand=x:lake", "ssh://a:b@host/lake", "ssh://host/x?y=z", "ada@-x:lake"),
    ):
        with pytest.raises(ConfigError):
            SshRemote.open(url, Access(tmp_path))


def test_the_start_files_of_the_users_own_shell_are_not_read(ssh_server: SshServer) -> None:
    """They would put other programs before those under test."""
    command = ["ssh", "-F", str(ssh_server.config), "lake", 'printf %s "$HOME"']
    home = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert Path(home) == ssh_server.config.parent / "home"
