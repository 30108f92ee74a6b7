"""All figures of docs/benchmarks.md in one command: ``python -m tests.bench``.

Start-up of the commands, overhead of steps, a repository with many runs, and storage; beside git
itself and the peers that are installed. Nothing here is asserted: machines are noisy. Storage has
more options of its own: ``python -m tests.bench.storage``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import loops
from tests.bench.measure import compare, user_environment
from tests.bench.storage.report import report
from tests.bench.storage.session import Settings, measured

ZENML = {"ZENML_ANALYTICS_OPT_IN": "false", "ZENML_LOGGING_VERBOSITY": "ERROR"}
ZENML_STEPS = str(Path(__file__).with_name("zenml_steps.py"))

PIPELINES = """\
from gitml import pipeline, step


@step
def start() -> int:
    return 1


@step
def link(value: int, position: int) -> int:
    return value


@pipeline
def chain(length: int = 1000):
    value = start()
    for position in range(length):
        value = link(value, position)


@step
def nothing(x: int) -> int:
    return x


@pipeline
def items(count: int, last: int):
    nothing.map([*range(count - 1), last])


@pipeline
def fan(length: int = 1000):
    value = start()
    for position in range(length):
        link(value, position)
"""


def main() -> None:
    """Measure everything and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="steps of a chain and of a fan")
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the large repository")
    parser.add_argument("--repeat", type=int, default=7, help="counted runs of each command")
    parser.add_argument(
        "--storage", type=float, default=1, metavar="SCALE", help="size of the data, 0 for none"
    )
    parser.add_argument("--peers", type=Path, help="the folder that peers.sh filled")
    parser.add_argument("--zenml", type=Path, help="a virtual environment that has ZenML")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitml-bench-") as name:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        env = user_environment(home)
        small = _project(folder / "small", env)
        print(f"## Steps: {given.steps} no-op steps, milliseconds a step\n")
        print(_loop(small, env, "steps", str(given.steps)))
        print(f"## Ten no-op steps, milliseconds a step\n\n{_loop(small, env, 'steps', '9')}")
        print(f"## Ten steps, whole runs\n\n{_loop(small, env, 'ten', '7')}")
        print(f"## A map\n\n{_loop(small, env, 'items', '10000')}")
        peers = _peers(given.peers)
        if given.zenml:
            bin_ = given.zenml.resolve() / "bin"
            print("## The same in ZenML, on its local orchestrator\n")
            print(_output([str(bin_ / "python"), ZENML_STEPS], folder, env | ZENML))
            peers |= {
                "zenml version": [str(bin_ / "zenml"), "version"],
                "zenml stack list": [str(bin_ / "zenml"), "stack", "list"],
            }
        print("## Commands in a repository with a few runs\n")
        few = _project(folder / "few", env)
        _loop(few, env, "fill", "5")
        print(compare(_commands(few), given.repeat, cwd=few, env=env))
        if peers:
            print("## Commands of peers\n")
            print(compare(peers, 3, cwd=small, env=env | ZENML))
        large = _project(folder / "large", env)
        print(f"## {given.runs} runs\n")
        print(_loop(large, env, "runs", str(given.runs)))
        print(compare(_commands(large), given.repeat, cwd=large, env=env))
    if given.storage:
        print("## Storage\n")
        settings = Settings(scale=given.storage, peers=given.peers)
        with measured(settings, lambda line: print(line, file=sys.stderr)) as results:
            print(report(results))


def _project(path: Path, env: Mapping[str, str]) -> Path:
    path.mkdir()
    (path / "pipelines").mkdir()
    (path / "pipelines" / "noop.py").write_text(PIPELINES)
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main"],
        ["gitml", "init"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message=Pipelines"],
    ):
        subprocess.run(command, cwd=path, env=env, check=True, capture_output=True)
    return path


def _loop(folder: Path, env: Mapping[str, str], *arguments: str) -> str:
    """What a loop measured in a process of its own, as a table."""
    return _output([sys.executable, loops.__file__, *arguments], folder, env)


def _output(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _commands(folder: Path) -> dict[str, list[str]]:
    """The commands whose whole time is compared; all of them only read."""
    newest = subprocess.run(
        ["git", "for-each-ref", "--format=%(objectname:short=12)", "--count=1", "refs/gitml/runs"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "gitml --version": ["gitml", "--version"],
        "git status": ["git", "status"],
        "gitml status": ["gitml", "status"],
        "git log -20": ["git", "log", "-20"],
        "gitml log -n 20": ["gitml", "log", "-n", "20"],
        "gitml show RUN": ["gitml", "show", newest],
    }


def _peers(folder: Path | None) -> dict[str, list[str]]:
    """The start of other tools, where they are installed or in a folder of their own."""
    path = f"{folder.resolve() / 'bin'}{os.pathsep}{os.environ['PATH']}" if folder else None
    found = {name: shutil.which(name, path=path) for name in ("dvc", "gto", "pre-commit")}
    return {f"{name} --version": [where, "--version"] for name, where in found.items() if where}


if __name__ == "__main__":
    main()
