"""Measure storage from the command line; see the package, and docs/testing.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.storage.report import report
from tests.bench.storage.results import Results
from tests.bench.storage.session import Settings, measured
from tests.bench.storage.tools import TOOLS
from tests.bench.storage.works import SCENARIOS


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or print again what other runs measured."""
    defaults = Settings()
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.storage",
        description="Measure gitml beside its peers on the same data, and print Markdown.",
    )
    parser.add_argument(
        "--scale", type=float, default=1, help="size of everything; 0.01 takes under a minute"
    )
    parser.add_argument(
        "--minutes", type=float, default=defaults.minutes, help="stop repeating after this long"
    )
    parser.add_argument(
        "--runs", type=int, default=defaults.runs, help="rounds, where the minutes allow"
    )
    parser.add_argument(
        "--only", type=_listed(names), default=defaults.scenarios, help=f"of {','.join(names)}"
    )
    parser.add_argument(
        "--million", action="store_true", help="also 1,000,000 files, outside of the minutes"
    )
    parser.add_argument(
        "--tools", type=_listed([tool.name for tool in TOOLS]), help="leave the others out"
    )
    parser.add_argument("--peers", type=Path, help="the folder that peers.sh filled")
    parser.add_argument(
        "--folder", type=Path, default=defaults.folder, help="on the disk that is to be measured"
    )
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    parser.add_argument(
        "--from", type=Path, nargs="+", dest="kept", help="only print what --json kept"
    )
    given = parser.parse_args(arguments)
    if given.kept:
        results = Results.load(given.kept[0])
        for other in given.kept[1:]:
            results.join(Results.load(other))
        print(report(results))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # cleans up, as ^C does
    settings = Settings(
        scale=given.scale,
        minutes=given.minutes,
        runs=given.runs,
        scenarios=(*given.only, "million") if given.million else given.only,
        tools=given.tools,
        peers=given.peers,
        folder=given.folder,
    )
    with measured(settings, lambda line: print(line, file=sys.stderr, flush=True)) as results:
        if given.json:
            results.save(given.json)
        print(report(results), flush=True)


def _listed(names: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser for a list with commas in which only ``names`` may stand."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        for name in chosen:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
        return chosen

    return parse


if __name__ == "__main__":
    main()
