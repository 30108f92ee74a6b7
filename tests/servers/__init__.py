"""Real servers on loopback for the tests of remotes, as fixtures that skip where one is missing.

    s3_server    SeaweedFS, with credentials: one who may do all, one who may only read
    ssh_server   OpenSSH, with keys of its own
    web_server   Python's own HTTP server with ranges, over a folder

`tests/servers/install` brings what they need. The S3 server takes seconds to start, so that all
processes of one test run share it: the first starts it, the last to end stops it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

_LOOPBACK = "127.0.0.1"
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class S3Server:
    """Where it listens, who may do all, and who may only read."""

    pid: int
    ports: tuple[int, ...]
    folder: str
    key: str = "gitmlkey"
    secret: str = "gitmlsecret"
    reader_key: str = "readerkey"
    reader_secret: str = "readersecret"

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def filer(self) -> int:
        """Where it shows the files of its buckets as a web server does."""
        return self.ports[1]

    @property
    def endpoint(self) -> str:
        return f"http://{_LOOPBACK}:{self.port}"

    def url(self, prefix: str, *, bucket: str = "team-bucket", endpoint: str = "") -> str:
        return f"s3://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}&region=us-east-1"

    def environment(self, *, reader: bool = False) -> dict[str, str]:
        key, secret = self.key, self.secret
        if reader:
            key, secret = self.reader_key, self.reader_secret
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS, shared by all processes of this test run."""
    pytest.importorskip("obstore", reason="obstore is missing: `pip install 'gitml[s3]'`")
    if shutil.which("weed", path=_path()) is None:
        pytest.skip("SeaweedFS is missing: `bash tests/servers/install`")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with _shared(folder / "s3-server", start_s3) as server:
        yield server


def start_s3(folder: Path, ports: tuple[int, ...] = ()) -> S3Server:
    """A SeaweedFS of its own in a new folder, ready to answer; stopped with `stop`.

    One that was killed goes on in the same folder, with the same ports.
    """
    server = S3Server(0, ports or tuple(_free_ports(4, also=10_000)), str(folder))
    port, filer, master, volume = server.ports
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "s3.json"
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    settings.write_text(
        json.dumps(
            {
                "identities": [
                    _identity("writer", server.key, server.secret, everything),
                    _identity("reader", server.reader_key, server.reader_secret, ["Read", "List"]),
                ]
            }
        )
    )
    weed = shutil.which("weed", path=_path())
    assert weed is not None
    command = [weed, "server", f"-dir={folder}", f"-ip={_LOOPBACK}", f"-ip.bind={_LOOPBACK}", "-s3"]
    command += [f"-s3.port={port}", f"-s3.config={settings}", f"-filer.port={filer}"]
    command += [f"-master.port={master}", f"-volume.port={volume}", "-volume.max=50"]
    command += ["-master.volumeSizeLimitMB=1024", "-volume.preStopSeconds=0"]
    command += ["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    process = _start(command, folder)
    _wait_for(lambda: _makes_bucket(server), process, folder / "log")
    return S3Server(process.pid, server.ports, str(folder))


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
    keys = [{"accessKey": key, "secretKey": secret}]
    return {"name": name, "credentials": keys, "actions": actions}


def _makes_bucket(server: S3Server) -> bool:
    """Whether the server is up, and has a bucket from now on: the first object makes it."""
    from gitml.errors import RemoteFailed
    from gitml.remotes.base import Access
    from gitml.remotes.object_store import S3Remote

    remote = S3Remote.open(server.url("first"), Access(Path(), server.environment()))
    try:
        remote.put("first", b"")
    except RemoteFailed:
        return False
    return True


@dataclass(frozen=True)
class WebServer:
    """Where it listens, and the folder that it shows."""

    pid: int
    url: str
    folder: Path


@pytest.fixture(scope="session")
def web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Python's own server of files, which knows no ranges."""
    folder = tmp_path_factory.mktemp("web-server")
    (folder / "shown").mkdir()
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "http.server", "--bind", _LOOPBACK]
    process = _start([*command, "--directory", str(folder / "shown"), str(port)], folder)
    _wait_for(lambda: _listens(port), process, folder / "log")
    yield WebServer(process.pid, f"http://{_LOOPBACK}:{port}", folder / "shown")
    stop(process.pid)


@dataclass(frozen=True)
class SshServer:
    """Where it listens, and the configuration with which ``ssh`` gets in."""

    pid: int
    port: int
    config: Path
    user: str

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@{_LOOPBACK}:{self.port}{path}"


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """OpenSSH's server with keys of this test run alone."""
    if shutil.which("sshd", path=_path()) is None or shutil.which("ssh", path=_path()) is None:
        pytest.skip("OpenSSH is missing: `bash tests/servers/install`")
    with tempfile.TemporaryDirectory(prefix="gitml-ssh-") as sockets:
        server = start_ssh(tmp_path_factory.mktemp("ssh-server"), sockets)
        yield server
        stop(server.pid)


def _one_connection(sockets: str) -> str:
    """What lets many ssh share a connection: logging in takes longer than most tests.

    A socket's path is short, or there is none.
    """
    if not 0 < len(sockets) < 60:
        return ""
    return f"  ControlMaster auto\n  ControlPath {sockets}/%p\n  ControlPersist 3\n"


def start_ssh(folder: Path, sockets: str = "") -> SshServer:
    """An sshd that lets in who has the key in the folder; stopped with `stop`."""
    import getpass

    for name in ("host", "key"):
        question = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(question, check=True, stdin=subprocess.DEVNULL)
    (folder / "key.pub").rename(folder / "authorized")
    (port,) = _free_ports(1)
    home = folder / "home"  # a shell's start files would put other programs before those of here
    home.mkdir()
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress {_LOOPBACK}\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/authorized\nPidFile {folder}/pid\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\n"
        f"SetEnv PATH={_path()} HOME={home}\nMaxStartups 100\n"
    )
    if os.geteuid() == 0:  # sshd wants its own folder there, empty
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    sshd = shutil.which("sshd", path=_path())
    assert sshd is not None
    process = _start([sshd, "-D", "-e", "-f", str(settings)], folder)
    _wait_for(lambda: _listens(port), process, folder / "log")
    user = getpass.getuser()
    host = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[{_LOOPBACK}]:{port} {host[0]} {host[1]}\n")
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n  BatchMode yes\n"
        f"  UserKnownHostsFile {folder}/known\n  GlobalKnownHostsFile /dev/null\n"
        f"  StrictHostKeyChecking yes\n{_one_connection(sockets)}"
        f"Host lake\n  HostName {_LOOPBACK}\n  Port {port}\n"
    )
    return SshServer(process.pid, port, config, user)


def stop(pid: int) -> None:
    """End a server that was started here, by whichever process; at once, its files are scratch."""
    process = _started.pop(pid, None)
    if process is not None:
        process.kill()
        process.wait()
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _path() -> str:
    """Where programs are: also what a Python package has installed, and what only root has."""
    outer = os.environ.get("PATH", os.defpath)
    return os.pathsep.join([str(Path(sys.executable).parent), outer, "/usr/sbin", "/sbin"])


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which stop the server themselves
        )
    _started[process.pid] = process
    return process


def _wait_for(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while not is_ready():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.skip(f"a server does not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_LOOPBACK, port), 0.2).close()
    except OSError:
        return False
    return True


def _free_ports(count: int, also: int = 0) -> list[int]:
    """Ports that nobody listens at; with ``also`` neither at those so much higher."""
    found: list[int] = []
    port = 20_000 + os.getpid() % 400 * 5  # below those that the system gives away by itself
    while len(found) < count:
        port += 1
        if all(_is_free(one) for one in {port, port + also}):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


@contextmanager
def _shared(folder: Path, start: Callable[[Path], S3Server]) -> Iterator[S3Server]:
    """A server that the first user starts and the last one stops."""
    folder.mkdir(exist_ok=True)
    state = folder / "users"
    with _locked(folder):
        users, known = json.loads(state.read_text()) if state.exists() else (0, None)
        server = _known(known) if users else start(folder / f"run-{os.getpid()}-{time.time()}")
        state.write_text(json.dumps([users + 1, asdict(server)]))
    try:
        yield server
    finally:
        with _locked(folder):
            users, known = json.loads(state.read_text())
            state.write_text(json.dumps([users - 1, known]))
            if users == 1:
                stop(server.pid)


def _known(fields: dict[str, Any]) -> S3Server:
    return S3Server(**{**fields, "ports": tuple(fields["ports"])})


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
