"""Searches for bytes on which a parser fails, for as long as one likes.

    python -m tests.fuzz                          every target, a minute each
    python -m tests.fuzz pack tree --seconds 600

With atheris (`pip install atheris`), which sees what each input reaches, where it is installed;
else by damage at random. What fails is kept in tests/corpora/fuzz.json: it fails the tests from
then on.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.corpus import keep, known
from tests.fuzz.mutation import mutate

_MOST_SECONDS = 10
_MOST_MIB = 2048


def main() -> int:
    """Search, and say what was found; the exit code is 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--at-random", action="store_true", help="without atheris")
    parser.add_argument("--guided", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.guided:
        _guided(arguments.targets[0], Path(arguments.guided), arguments.seconds)
    from tests.fuzz.targets import TARGETS

    names = arguments.targets or [target.name for target in TARGETS]
    at_random = arguments.at_random or importlib.util.find_spec("atheris") is None
    search = _at_random if at_random else _with_atheris
    found = [name for name in names if search(name, arguments.seconds)]
    print(f"failed: {', '.join(found)}" if found else "nothing failed")
    return bool(found)


def _at_random(name: str, seconds: int) -> bool:
    """Damage examples until one fails; whether one did."""
    from tests.fuzz.targets import TARGETS

    target = next(one for one in TARGETS if one.name == name)
    seeds = [*target.seeds(), *known(name)]
    pool = list(seeds)
    source = random.Random()
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        data = source.choice(pool)
        for _ in range(source.randrange(1, 5)):
            data = mutate(data, pool, source)
        count += 1
        try:
            if target.try_out(data) and len(pool) < 500:
                pool.append(data)
        except Exception:
            keep(name, data)
            print(f"{name}: failed after {count} tries")
            traceback.print_exc()
            return True
    print(f"{name}: {count} tries")
    return False


def _with_atheris(name: str, seconds: int) -> bool:
    """Let atheris search in a process of its own; whether it found a failure."""
    from tests.fuzz.targets import TARGETS

    target = next(one for one in TARGETS if one.name == name)
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for number, data in enumerate([*target.seeds(), *known(name)]):
            (seeds / str(number)).write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz", name, "--guided", folder]
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False
        )
        failures = [path for path in Path(folder).iterdir() if "-" in path.name]
        for path in failures:
            keep(name, path.read_bytes())
    lines = done.stderr.splitlines()
    print(f"{name}: {next((one for one in lines[::-1] if one.startswith('Done')), 'failed')}")
    if done.returncode or failures:
        print("\n".join(lines[-40:]))
    return bool(done.returncode or failures)


def _guided(name: str, folder: Path, seconds: int) -> None:
    """Be the process that atheris searches in; does not return."""
    import atheris

    with atheris.instrument_imports(include=["gitml"]):
        from tests.fuzz.targets import TARGETS

    target = next(one for one in TARGETS if one.name == name)
    target.seeds()
    options = [f"-max_total_time={seconds}", f"-timeout={_MOST_SECONDS}", "-max_len=65536"]
    options += [f"-rss_limit_mb={_MOST_MIB}", f"-artifact_prefix={folder}/", str(folder / "seeds")]
    atheris.Setup([sys.argv[0], *options], lambda data: target.try_out(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
