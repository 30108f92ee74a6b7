"""The page for whoever carries gitml on: its rooms are those of the code, its walks are walked."""

from __future__ import annotations

import configparser
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from gitml.cli import main
from tests.workshop import Workshop

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gitml"
PAGE = (ROOT / "docs/development.md").read_text(encoding="utf-8")
LONGEST = 15


def rooms(page: str) -> set[str]:
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def walks(page: str) -> dict[str, list[tuple[str, str]]]:
    """The files and functions of each walk, by the command that is followed."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in page.splitlines():
        if title := re.fullmatch(r"\*\*`gitml (.*)`\*\*", line):
            found[title[1]] = []
        elif stop := re.match(r"\d+\. `(\S+\.py)` `(\S+)`: ", line):
            list(found.values())[-1].append((stop[1], stop[2]))
    return found


def entered(command: str) -> Iterator[tuple[str, str]]:
    """The functions of gitml in the order in which a command first comes by them."""
    met: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            met[Path(code.co_filename).relative_to(PACKAGE).as_posix(), code.co_qualname] = None

    sys.setprofile(note)
    try:
        main(shlex.split(command))
    except SystemExit as ended:
        assert ended.code in (None, 0), command
    finally:
        sys.setprofile(None)
    return iter(met)


def test_the_rooms_are_those_of_the_layers() -> None:
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    layers = contract["importlinter:contract:layers"]["layers"]
    there = {one for one in re.findall(r"\w+", layers) if list(PACKAGE.glob(f"{one}*"))}
    assert rooms(PAGE) == there - {"__main__"}


def test_no_walk_is_longer_than_anybody_reads() -> None:
    assert [len(stops) <= LONGEST for stops in walks(PAGE).values()] == [True, True, True]


@pytest.mark.parametrize("command", walks(PAGE))
def test_a_walk_is_what_the_command_does(command: str, workshop: Workshop) -> None:
    workshop.training()
    if command.startswith("promote"):
        workshop.run()
    if command.startswith("add"):
        workshop.write("data/raw.csv", "a,b\n1,2\n")
    way = entered(command)
    missed = [stop for stop in walks(PAGE)[command] if stop not in way]  # each search goes on
    assert missed == []
