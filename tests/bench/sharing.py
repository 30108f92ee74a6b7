"""What it takes to share data, beside DVC and restic: ``python -m tests.bench.sharing --peers P``.

Two clones of one bare repository on this disk, and a place for bytes: a folder, and SeaweedFS on
loopback. Whole commands; what is pushed is committed before, and who pulls has an empty store.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measure import Usage, machine, once, user_environment
from tests.bench.storage.inputs import Inputs
from tests.servers import S3Server, start_s3, stop

_DVC = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": "{home}/dvc-site"}
_PROBE = """\
import sys, time
import obstore
from obstore.store import S3Store
store = S3Store("team-bucket", endpoint=sys.argv[1], region="us-east-1", prefix="alone",
    virtual_hosted_style_request=False, client_options={"allow_http": True})
begin = time.perf_counter()
with open(sys.argv[2], "rb") as file:
    obstore.put(store, "blob", file)
put = time.perf_counter()
with open(sys.argv[3], "wb") as out:
    for chunk in obstore.get(store, "blob").stream(min_chunk_size=8 << 20):
        out.write(chunk)
print(put - begin, time.perf_counter() - put)
"""


@dataclass
class Place:
    """A fresh hub with two clones of one tool, at a place for bytes."""

    tool: str
    folder: Path
    env: Mapping[str, str]
    lake: str
    settings: tuple[tuple[str, ...], ...] = ()
    results: dict[str, list[Usage]] = field(default_factory=dict)

    @property
    def alice(self) -> Path:
        return self.folder / "alice"

    @property
    def bob(self) -> Path:
        return self.folder / "bob"

    def run(self, where: Path, *command: str) -> None:
        """A command that is not measured."""
        done = subprocess.run(command, cwd=where, env=self.env, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.decode()[-1500:]}")

    def timed(self, work: str, where: Path, *command: str) -> None:
        """A command whose time counts for ``work``."""
        used = once(f"{self.tool} {work}", command, cwd=where, env=self.env)
        self.results.setdefault(work, []).append(used)
        print(f"{self.tool}: {work}: {used.seconds:.2f} s", file=sys.stderr)

    def begin(self) -> None:
        """Two clones; the first has the tool's settings, which the second has pulled."""
        git = ("git", "-c", "init.defaultBranch=main")
        self.folder.mkdir(parents=True)
        self.run(self.folder, *git, "init", "--quiet", "--bare", "hub.git")
        self.run(self.folder, *git, "clone", "--quiet", "hub.git", "alice")
        for command in self.settings:
            self.run(self.alice, *command)
        self.run(self.alice, "git", "add", "--all")
        self.run(self.alice, "git", "commit", "--quiet", "--allow-empty", "--message=begin")
        self.run(self.alice, "git", "push", "--quiet", "origin", "HEAD:main")
        self.run(self.folder, "git", "clone", "--quiet", "--branch=main", "hub.git", "bob")


def gitml_work(place: Place, name: str, source: Path) -> None:
    """Push and pull by gitml; then both again, with nothing to do."""
    place.begin()
    _bring(source, place.alice / "data")
    place.run(place.alice, "gitml", "add", "data")
    place.run(place.alice, "git", "commit", "--quiet", "--message=data")
    place.timed(f"push {name}", place.alice, "gitml", "push")
    place.run(place.bob, "gitml", "init")
    place.timed(f"pull {name}", place.bob, "gitml", "pull")
    _same(source, place.bob / "data")
    place.timed("push, nothing new", place.alice, "gitml", "push")
    place.timed("`git push`, nothing new", place.alice, "git", "push", "--quiet")


def dvc_work(place: Place, name: str, source: Path) -> None:
    """The same by DVC: its own push and pull behind git's."""
    place.begin()
    _bring(source, place.alice / "data")
    place.run(place.alice, "dvc", "add", "--quiet", "data")
    place.run(place.alice, "git", "add", "--all")
    place.run(place.alice, "git", "commit", "--quiet", "--message=data")
    place.timed(f"push {name}", place.alice, "dvc", "push", "--quiet")
    place.run(place.alice, "git", "push", "--quiet", "origin", "HEAD:main")
    place.run(place.bob, "git", "pull", "--quiet")
    place.timed(f"pull {name}", place.bob, "dvc", "pull", "--quiet")
    _same(source, place.bob / "data")


def restic_work(place: Place, name: str, source: Path) -> None:
    """A backup into a repository, and all of it restored: it has no commits to go with."""
    place.folder.mkdir(parents=True)
    repository = ("restic", "--quiet", "--repo", place.lake)
    place.run(place.folder, *repository, "init")
    _bring(source, place.folder / "data")
    place.timed(f"push {name}", place.folder, *repository, "backup", "data")
    place.timed(
        f"pull {name}", place.folder, *repository, "restore", "latest", "--verify", "--target=out"
    )


def _bring(source: Path, target: Path) -> None:
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    os.sync()


def _same(source: Path, target: Path) -> None:
    subprocess.run(["diff", "-rq", source, target], check=True)


@contextmanager
def _bucket(folder: Path) -> Iterator[S3Server | None]:
    try:
        server = start_s3(folder)
    except (AssertionError, OSError) as error:
        print(f"no S3: {error}", file=sys.stderr)
        yield None
        return
    try:
        yield server
    finally:
        stop(server.pid)


def places(root: Path, env: Mapping[str, str], s3: S3Server | None) -> Iterator[tuple[str, Place]]:
    """A fresh place of each tool, by the column that it fills."""
    count = 0

    def made(tool: str, lake: str, *settings: tuple[str, ...]) -> Place:
        nonlocal count
        count += 1
        return Place(tool, root / f"{tool}{count}", env, lake, settings)

    folder = root / f"lake{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    init = ("gitml", "init")
    yield (
        "gitml, folder",
        made("gitml", "", init, ("gitml", "remote", "add", "lake", str(folder), "--default")),
    )
    dvc = (("dvc", "init", "--quiet"), ("dvc", "config", "core.analytics", "false"))
    lake = str(root / f"dvc-lake{time.monotonic_ns()}")
    yield "DVC, folder", made("dvc", lake, *dvc, ("dvc", "remote", "add", "-d", "lake", lake))
    yield "restic, folder", made("restic", str(root / f"restic-lake{time.monotonic_ns()}"))
    if s3 is not None:
        key = f"run{time.monotonic_ns()}"
        url = s3.url(f"gitml-{key}")
        yield (
            "gitml, S3",
            made("gitml", "", init, ("gitml", "remote", "add", "s", url, "--default")),
        )
        yield (
            "DVC, S3",
            made(
                *("dvc", ""),
                *(*dvc, ("dvc", "remote", "add", "-d", "s", f"s3://team-bucket/dvc-{key}")),
                ("dvc", "remote", "modify", "s", "endpointurl", s3.endpoint),
            ),
        )


WORK: dict[str, Callable[[Place, str, Path], None]] = {
    "gitml": gitml_work,
    "dvc": dvc_work,
    "restic": restic_work,
}


def main() -> None:
    """Measure everything and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sharing", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of everything")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--peers", type=Path, help="the folder that peers.sh filled")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--inputs", type=Path, help="where the data of tests.bench.storage is kept")
    parser.add_argument("--only", default="", help="columns, as `gitml, S3;DVC, folder`")
    given = parser.parse_args()
    only = [one for one in given.only.split(";") if one]
    with tempfile.TemporaryDirectory(prefix="gitml-bench-", dir=given.folder) as name:
        root = Path(name)
        home = root / "home"
        env = user_environment(home)
        if given.peers:
            env["PATH"] += os.pathsep + str(given.peers.resolve() / "bin")
        env |= {key: value.format(home=home) for key, value in _DVC.items()}
        env |= {"RESTIC_PASSWORD": "x"}
        inputs = Inputs(given.inputs or root / "inputs", given.scale, None)
        sources = {"files": inputs.files(), "1 GiB": inputs.blob()}
        columns: dict[str, dict[str, list[Usage]]] = {}
        with _bucket(root / "s3") as s3:
            if s3 is not None:
                env |= s3.environment()
            for turn in range(given.runs):
                for what, source in sources.items():
                    for column, place in places(root / f"{what[0]}{turn}", env, s3):
                        if not only or column in only:
                            _measure(columns, column, place, what, source)
            alone = _alone(s3, sources["1 GiB"], root, env) if s3 is not None else None
        print(_table(columns, alone))


def _measure(
    columns: dict[str, dict[str, list[Usage]]], column: str, place: Place, what: str, source: Path
) -> None:
    if shutil.which(place.tool, path=place.env["PATH"]) is None:
        return
    try:
        WORK[place.tool](place, what, source)
    except RuntimeError as error:
        print(f"{column}: {error}", file=sys.stderr)
    for work, used in place.results.items():
        columns.setdefault(column, {}).setdefault(work, []).extend(used)


def _alone(s3: S3Server, blob: Path, root: Path, env: Mapping[str, str]) -> list[float]:
    """Seconds that obstore needs by itself to put and to get a file."""
    command = [sys.executable, "-c", _PROBE, s3.endpoint, str(blob), str(root / "got")]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return [float(one) for one in done.stdout.split()]


def _table(columns: Mapping[str, Mapping[str, list[Usage]]], alone: list[float] | None) -> str:
    works = list(dict.fromkeys(work for used in columns.values() for work in used))
    lines = [machine(), "", f"| work | {' | '.join(columns)} |"]
    lines.append("|---|" + "---:|" * len(columns))
    for work in works:
        cells = []
        for used in columns.values():
            runs = used.get(work, [])
            seconds = statistics.median(one.seconds for one in runs) if runs else None
            peak = max((one.peak_bytes for one in runs), default=0) >> 20
            cells.append(f"{seconds:.2f} ({peak})" if seconds is not None else "")
        lines.append(f"| {work} | {' | '.join(cells)} |")
    lines += ["", "Seconds; in brackets the peak memory of the largest process, MiB."]
    if alone:
        lines.append(f"obstore alone: put {alone[0]:.2f} s, get {alone[1]:.2f} s.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
