"""Sharing measured beside DVC, git-lfs and restic: ``python -m tests.bench.sharing``.

Each tool pushes and pulls the same data: 50,000 files of 4 KiB and 1 GiB, by a folder and by a
bucket of SeaweedFS on loopback, where it can. What was pulled is compared with what was added. Then
pushes and fetches that have nothing to do, beside git. All in one run, tools in turn.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import obstore_alone
from tests.bench.measure import Usage, compare, machine, once
from tests.bench.storage.inputs import Inputs, copy
from tests.bench.storage.place import Place
from tests.bench.storage.tools import ENVIRONMENT
from tests.servers import S3Server, start_s3, stop

_COMMIT = "git commit --quiet --message=data"


@dataclass(frozen=True)
class Peer:
    """How a tool does it, in lines as for `storage.tools.Tool`, run in ``one`` and then ``two``.

    Words in braces: ``{name}`` of the data, ``{lake}`` (where bytes go), ``{git}`` (the URL of a
    bare repository), ``{endpoint}``, ``{python}``, ``{alone}``.
    """

    name: str
    probe: str
    places: frozenset[str]
    push: str
    pull: str
    start: tuple[str, ...] = ()
    bucket: tuple[str, ...] = ()
    """What comes behind ``start`` where the bytes go to a bucket."""
    add: tuple[str, ...] = ()
    clone: tuple[str, ...] = ()
    data: frozenset[str] = frozenset({"files", "blob.bin"})


_BOTH = frozenset({"folder", "bucket"})
_GIT = (
    "git init --quiet",
    "git config gc.auto 0",
    "git remote add origin {git}",
    "git commit --quiet --allow-empty --message=start",
    "git push --quiet --set-upstream origin main",
)
_CLONE = ("git clone --quiet {git} .",)

PEERS = (
    Peer(
        "gitml",
        "gitml --version",
        _BOTH,
        start=(*_GIT, "gitml init", "gitml remote add lake {lake} --default", "git add --all"),
        add=("gitml add {name}", _COMMIT),
        push="gitml push",
        clone=_CLONE,
        pull="gitml pull",
    ),
    Peer(
        "DVC",
        "dvc --version",
        _BOTH,
        start=(*_GIT, "dvc init --quiet", "dvc remote add --quiet --default lake {lake}"),
        bucket=("dvc remote modify --quiet lake endpointurl {endpoint}",),
        add=("dvc add --quiet {name}", "git add --all", _COMMIT),
        push="dvc push --quiet",
        clone=("git -C ../one push --quiet", *_CLONE),
        pull="dvc pull --quiet",
    ),
    Peer(
        "git-lfs",
        "git lfs version",
        frozenset({"folder"}),
        start=(*_GIT, "git lfs install --local", "git lfs track *.bin *.dat"),
        add=("git add --all", _COMMIT),
        push="git push --quiet",
        clone=("env GIT_LFS_SKIP_SMUDGE=1 git clone --quiet {git} .", "git lfs install --local"),
        pull="git lfs pull",
    ),
    Peer(
        "restic",
        "restic version",
        frozenset({"folder"}),
        start=("restic -q --repo {lake} init",),
        push="restic -q --repo {lake} backup {name}",
        pull="restic -q --repo {lake} restore latest --target .",
    ),
    Peer(
        "obstore alone",
        "{python} {alone}",
        frozenset({"bucket"}),
        push="{python} {alone} put {name} {lake}",
        pull="{python} {alone} get {name} {lake}",
        data=frozenset({"blob.bin"}),
    ),
)

GOALS = {
    ("files", "folder", "push"): "1.5 s",
    ("files", "folder", "pull"): "2 s",
    ("files", "bucket", "push"): "DVC / 20",
    ("files", "bucket", "pull"): "DVC / 20",
    ("blob.bin", "folder", "push"): "0.9 s",
    ("blob.bin", "folder", "pull"): "0.9 s",
    ("blob.bin", "bucket", "push"): "obstore / 0.8",
    ("blob.bin", "bucket", "pull"): "obstore / 0.8",
}

Row = tuple[str, str, str]


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sharing", description=__doc__)
    parser.add_argument("--peers", type=Path, help="the folder that storage/peers.sh filled")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="seconds; then a tool is stopped")
    parser.add_argument("--only", default="", help="data and places, as `files,folder`")
    parser.add_argument("--tools", default="", help="of the tools, as `gitml,DVC`")
    parser.add_argument("--many", type=Path, help="a repository with many runs, to fetch nothing")
    given = parser.parse_args()
    with _session(given.folder, given.peers) as (place, server):
        inputs = Inputs(given.folder / "gitml-bench", given.scale, given.peers)
        bench = Bench(
            place, server, inputs, given.folder / "gitml-bench" / "sharing.log", given.limit
        )
        only = set(filter(None, given.only.split(",")))
        wanted = set(filter(None, given.tools.split(",")))
        peers = [one for one in PEERS if not wanted or one.name in wanted]
        bench.run([one for one in peers if bench.present(one)], only, given.rounds)
        print(f"{machine()}; scale {given.scale:g}, rounds {given.rounds}.\n\n{bench.table()}")
        if not only or "nothing" in only:
            print(bench.nothing_to_push())
            if given.many is not None:
                print(bench.nothing_to_fetch(given.many))


@contextmanager
def _session(folder: Path, peers: Path | None) -> Iterator[tuple[Place, S3Server]]:
    """A place to work in and a server, both gone behind the block."""
    kept = folder / "gitml-bench"
    kept.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="sharing-", dir=kept))
    server = start_s3(root / "server")
    place = Place(root / "place", peers, ENVIRONMENT | server.environment())
    try:
        yield place, server
    finally:
        stop(server.pid)
        place.clear()
        shutil.rmtree(root)


class Bench:
    """The measurements of one session."""

    def __init__(
        self, place: Place, server: S3Server, inputs: Inputs, log: Path, limit: float
    ) -> None:
        self._place = place
        self._server = server
        self._inputs = inputs
        self._log = log
        self._limit = limit
        self._lives = 0
        self._used: dict[Row, dict[str, list[Usage]]] = {}

    def present(self, peer: Peer) -> bool:
        """Whether a tool is installed."""
        words = self._split(peer.probe, {})
        try:
            subprocess.run(words, env=self._place.env, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            print(f"{peer.name} is not installed", file=sys.stderr)
            return False
        return True

    def run(self, peers: Sequence[Peer], only: set[str], rounds: int) -> None:
        """Every tool with all data by each place, in turn."""
        for _ in range(rounds):
            for data in (self._inputs.files(), self._inputs.blob()):
                for where in ("folder", "bucket"):
                    for peer in peers:
                        fits = data.name in peer.data and where in peer.places
                        if fits and (not only or {data.name.partition(".")[0], where} <= only):
                            self._life(peer, data, where)

    def _life(self, peer: Peer, data: Path, where: str) -> None:
        """One repository of a tool, from the first push to what a colleague pulls."""
        self._lives += 1
        place = self._place
        place.fresh()
        for folder in ("one", "two", "lake"):
            (place.work / folder).mkdir()
        git = place.work / "server.git"
        self._quiet(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(git)], ".")
        words = self._words(peer, data, where) | {"git": git.as_uri()}
        self._lines(peer.start, "one", words)
        self._lines(peer.bucket if where == "bucket" else (), "one", words)
        copy(data, place.work / "one" / data.name)
        self._lines(peer.add, "one", words)
        push, pull = self._split(peer.push, words), self._split(peer.pull, words)
        if not self._timed((data.name, where, "push"), peer, push, "one"):
            return
        self._lines(peer.clone, "two", words)
        if not self._timed((data.name, where, "pull"), peer, pull, "two"):
            return
        if not _same(data, place.work / "two" / data.name):
            raise RuntimeError(f"{peer.name} pulled other bytes")

    def _words(self, peer: Peer, data: Path, where: str) -> dict[str, str]:
        prefix = f"life{self._lives}"
        lake = str(self._place.work / "lake")
        if where == "bucket":
            lake = self._server.url(prefix)
        if where == "bucket" and peer.name == "DVC":
            lake = f"s3://team-bucket/{prefix}"
        return {"name": data.name, "lake": lake, "endpoint": self._server.endpoint}

    def _timed(self, row: Row, peer: Peer, command: Sequence[str], folder: str) -> bool:
        """Measure a command, unless it has to be stopped; whether it came to its end."""
        self._place.settle()
        name = f"{peer.name} {' '.join(row)}"
        cwd = self._place.work / folder
        with self._log.open("a") as log:
            log.write(f"# {name}\n")
        cells = self._used.setdefault(row, {})
        try:
            used = once(
                name, command, cwd=cwd, env=self._place.env, log=self._log, limit=self._limit
            )
        except RuntimeError as error:
            if "was stopped" not in str(error):
                raise
            print(error, file=sys.stderr)
            cells[peer.name] = []
            return False
        cells.setdefault(peer.name, []).append(used)
        print(f"{name}: {used.seconds:.2f} s", file=sys.stderr)
        return True

    def table(self) -> str:
        """All of it as Markdown: medians, the peak of memory below each."""
        names = [one.name for one in PEERS]
        lines = [f"| | {' | '.join(names)} | goal |", f"|---|{'---:|' * len(names)}---|"]
        for row, used in self._used.items():
            cells = [_cell(used[name], self._limit) if name in used else "" for name in names]
            lines.append(f"| {', '.join(row)} | {' | '.join(cells)} | {GOALS[row]} |")
        return "\n".join(lines) + "\n"

    def nothing_to_push(self) -> str:
        """A push of what is there already, beside git's."""
        self._life(PEERS[0], self._inputs.files(), "folder")
        commands = {"git push": ["git", "push"], "gitml push": ["gitml", "push"]}
        one = self._place.work / "one"
        return f"### Nothing to push\n\n{compare(commands, cwd=one, env=self._place.env)}"

    def nothing_to_fetch(self, many: Path) -> str:
        """The first fetch from a clone of a repository with many runs, and those behind it."""
        place = self._place
        place.fresh()
        server = place.work / "server.git"
        self._quiet(["git", "clone", "--quiet", "--mirror", many.as_uri(), str(server)], ".")
        self._quiet(["git", "clone", "--quiet", server.as_uri(), "one"], ".")
        one = place.work / "one"
        first = once("first", ["gitml", "fetch"], cwd=one, env=place.env, log=self._log)
        commands = {"git ls-remote": ["git", "ls-remote"], "gitml fetch": ["gitml", "fetch"]}
        table = compare(commands, cwd=one, env=place.env)
        runs = len(self._quiet(["git", "for-each-ref", "refs/gitml/runs"], "one").splitlines())
        return (
            f"### Nothing to fetch, {runs} runs\n\nThe first fetch took {first.seconds:.2f} s "
            f"({first.cpu_seconds:.2f} s of CPU, {first.peak_bytes / 1e6:.0f} MB).\n\n{table}"
        )

    def _lines(self, lines: Sequence[str], folder: str, words: Mapping[str, str]) -> None:
        for line in lines:
            self._quiet(self._split(line, words), folder)

    def _split(self, line: str, words: Mapping[str, str]) -> list[str]:
        """The words of a command; places are filled in afterwards, so they may have blanks."""
        known = {"python": sys.executable, "alone": obstore_alone.__file__, **words}
        return [word.format(**known) for word in line.split()]

    def _quiet(self, command: Sequence[str], folder: str) -> str:
        cwd = self._place.work / folder
        done = subprocess.run(
            command, cwd=cwd, env=self._place.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout


def _cell(used: Sequence[Usage], limit: float) -> str:
    if not used:
        return f"> {limit:.0f} s"
    seconds = statistics.median(one.seconds for one in used)
    return f"{seconds:.2f} s, {max(one.peak_bytes for one in used) / 1e6:.0f} MB"


def _same(one: Path, other: Path) -> bool:
    """Whether two files, or all files of two folders, have the same bytes."""
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = [os.path.join(top, name) for top, _, files in os.walk(one) for name in files]
    return all(
        filecmp.cmp(name, other / os.path.relpath(name, one), shallow=False) for name in names
    )


if __name__ == "__main__":
    main()
