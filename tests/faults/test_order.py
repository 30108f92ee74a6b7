"""The ordering law holds for every command, and the check of it notices when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.order import kind_of, violations
from tests.faults.scenarios import PUT, SCENARIOS, Scenario
from tests.faults.tracing import Call, read_trace

ROOT = Path("/top")
STORE = f"{ROOT}/.git/gitml/store"
TEMPORARY = f"{STORE}/tmp/1+2.pack"
PACK = f"{STORE}/packs/ab.pack"
INDEX = f"{STORE}/packs/ab.idx"
REF = f"{ROOT}/.git/refs/gitml/runs/x"
OBJECT = f"{ROOT}/.git/objects/ab/cd"


def calls(*wanted: tuple[str, ...]) -> list[Call]:
    return [
        Call("python", name, 1, at, paths, "O_CREAT" if name == "openat" else "", 0)
        for at, (name, *rest) in enumerate(wanted)
        for paths in [tuple(rest)]
    ]


GOOD = (
    ("openat", TEMPORARY),
    ("write", TEMPORARY),
    ("fsync", TEMPORARY),
    ("rename", TEMPORARY, PACK),
    ("fsync", f"{STORE}/packs"),
    ("write", f"{STORE}/tmp/x.part"),
    ("fsync", f"{STORE}/tmp/x.part"),
    ("rename", f"{STORE}/tmp/x.part", INDEX),
    ("fsync", f"{STORE}/packs"),
    ("write", f"{ROOT}/.git/objects/ab/tmp_obj_1"),
    ("fsync", f"{ROOT}/.git/objects/ab/tmp_obj_1"),
    ("link", f"{ROOT}/.git/objects/ab/tmp_obj_1", OBJECT),
    ("unlink", f"{ROOT}/.git/objects/ab/tmp_obj_1"),
    ("fsync", f"{ROOT}/.git/objects/ab"),
    ("write", f"{REF}.lock"),
    ("fsync", f"{REF}.lock"),
    ("rename", f"{REF}.lock", REF),
    ("fsync", str(Path(REF).parent)),
)


def test_a_lawful_trace_passes() -> None:
    assert violations(calls(*GOOD), ROOT) == []


@pytest.mark.parametrize("number", [n for n, one in enumerate(GOOD) if one[0] == "fsync"])
def test_no_fsync_of_it_may_be_missing(number: int) -> None:
    assert violations(calls(*GOOD[:number], *GOOD[number + 1 :]), ROOT)


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ([("write", TEMPORARY), ("rename", TEMPORARY, PACK)], "visible before its bytes"),
        ([("rename", TEMPORARY, PACK), ("rename", f"{REF}.lock", REF)], "is not durable"),
        ([("mkdir", STORE), ("rename", TEMPORARY, PACK)], "the store .git/gitml/store is not"),
        ([("rename", TEMPORARY, PACK), ("rename", "/top/a.tmp", "/top/a.csv.gitml")], "pointer"),
        ([("rename", TEMPORARY, PACK), ("link", PACK, "/top/a.csv")], "file of the user"),
        ([("rename", f"{REF}.lock", REF)], "not durable in the end"),
    ],
)
def test_a_planted_violation_is_found(planted: Sequence[tuple[str, ...]], words: str) -> None:
    assert any(words in one for one in violations(calls(*planted), ROOT))


def test_a_failed_call_changes_nothing() -> None:
    failed = [replace(one, result=-1) for one in calls(("rename", f"{REF}.lock", REF))]
    assert violations(failed, ROOT) == []


def test_the_kinds() -> None:
    kinds = {
        ".git/gitml/store/packs/ab.pack": "blob",
        ".git/gitml/store/packs/ab.idx": "pack index",
        ".git/gitml/store/loose/ab/cd": "blob",
        ".git/gitml/store/tmp/x.pack": "unseen",
        ".git/gitml/index.sqlite": "unseen",
        ".git/objects/ab/tmp_obj_1": "unseen",
        ".git/objects/pack/pack-1.pack": "git object",
        ".git/objects/info/commit-graphs/commit-graph-chain": "list of commit-graphs",
        ".git/refs/heads/main": "ref",
        ".git/refs/heads/main.lock": "unseen",
        ".git/packed-refs": "ref",
        ".git/index": "git's own",
        "data.gitml": "pointer",
        "in/data.csv.gitml": "pointer",
        "in/.gitml-0123456789abcdef.tmp/x": "unseen",
        "in/data.csv": "file of the user",
    }
    assert {path: kind_of(path).name for path in kinds} == kinds


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_command_keeps_the_law(bench: Bench, scenario: Scenario) -> None:
    known = bench.undisturbed(scenario)
    assert violations(known.calls, known.root) == []


def test_a_command_without_its_flushes_breaks_it(bench: Bench) -> None:
    """The trace of a real command, with every flush of one path taken out."""
    known = bench.undisturbed(PUT)
    flushed = {call.paths for call in known.calls if call.name == "fsync"}
    lawless = set()
    for paths in flushed:
        rest = [call for call in known.calls if (call.name, call.paths) != ("fsync", paths)]
        if violations(rest, known.root):
            lawless.add(paths[0].removeprefix(f"{known.root}/").rpartition("/")[0])
    assert {".git/gitml/store", ".git/gitml/store/tmp", ".git/objects"} <= lawless


def test_reading_a_trace(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        '1.000001 openat(AT_FDCWD</top>, "a b", O_WRONLY|O_CREAT, 0644) = 3</top/a b>\n'
        '1.000002 write(3</top/a b>, "\\"x\\", 4</y>, \\n"..., 9) = 9\n'
        '1.000003 write(3</top/a b>, "x", 1) = -1 ENOSPC (No space left on device) (INJECTED)\n'
        "1.000004 fsync(3</top/a b>)       = 0\n"
        '1.000005 renameat(7</top/sub>, "one", AT_FDCWD</top>, "two") = 0\n'
        '1.000006 symlinkat("../target", 7</top/sub>, "link") = 0\n'
        '1.000007 write(5<pipe:[42]>, "x", 1) = 1\n'
        '1.000008 unlink("/top/a b" <unfinished ...>\n'
        "1.000009 +++ killed by SIGKILL +++\n"
    )
    found = list(read_trace("python", log, ROOT))
    assert [(one.name, one.nth, one.paths, one.result) for one in found] == [
        ("openat", 1, ("/top/a b",), 3),
        ("write", 1, ("/top/a b",), 9),
        ("write", 2, ("/top/a b",), -1),
        ("fsync", 1, ("/top/a b",), 0),
        ("renameat", 1, ("/top/sub/one", "/top/two"), 0),
        ("symlinkat", 1, ("/top/sub/link",), 0),
        ("write", 3, ("pipe:[42]",), 1),
        ("unlink", 1, ("/top/a b",), -1),
    ]
    assert [one.creates for one in found[:2]] == [True, False]
    assert not found[6].is_of_a_file
