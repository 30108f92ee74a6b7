"""Thousands of files in and out: several processes, any of which may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitml.fs import ProcessIdentity
from gitml.store.directory import list_directory
from gitml.store.store import Store

COUNT = 1200
PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
from gitml.store import bulk, restore, workers
from gitml.store.store import Store
base = Path(sys.argv[1])
store = Store(base / "store")
here = os.getpid()
workers._processors = lambda: 3  # also on a machine that has fewer
"""
PUT = """
with store.writer() as writer:
    digest, size = writer.put_directory(base / "in")
print(digest)
"""
RESTORE = """
os.makedirs(base / "out/kept", exist_ok=True)
store.restore(base / "out", store.read_tree(digest).entries)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for number in range(COUNT):
        path = tmp_path / f"in/{number % 7}/{number % 3}/{number}"
        if number < 21:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d," % (number // 2) * (number % 50))
    (tmp_path / "in/link").symlink_to("0/0/0")
    (tmp_path / "in/0/0/0").chmod(0o755)
    return tmp_path


def start(base: Path, *scripts: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PREAMBLE + "".join(scripts), str(base)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(base: Path, *scripts: str) -> str:
    process = start(base, *scripts)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def looks(root: Path) -> dict[str, object]:
    return {
        name: ((root / name).is_symlink(), (root / name).stat().st_mode, (root / name).read_bytes())
        for name, _ in list_directory(root).names
    }


def left_in(folder: Path) -> list[str]:
    return [name for _, folders, files in os.walk(folder) for name in folders + files
            if name.endswith(".tmp")]  # fmt: skip


def test_several_processes_put_and_restore_a_folder(base: Path) -> None:
    run(base, PUT, RESTORE)
    store = Store(base / "store")
    assert len(store.packs()) == 3
    assert list(store.check()) == []
    assert looks(base / "out") == looks(base / "in")
    assert left_in(base / "out") == os.listdir(base / "store/tmp") == []
    before = sorted(store.root.rglob("*"))
    run(base, PUT)
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "raise ValueError"])
def test_what_a_lost_worker_leaves_undone_is_done(base: Path, end: str) -> None:
    lose = f"""
def losing(module, name):
    whole = getattr(module, name)
    def half(*arguments):
        if os.getpid() != here and lost.append(1) is None and len(lost) == 3:
            {end}
        return whole(*arguments)
    lost = []
    setattr(module, name, half)
losing(bulk, "pack_files")
losing(restore, "raw_entries")
"""
    run(base, lose, PUT, RESTORE)
    store = Store(base / "store")
    assert list(store.check()) == []
    assert looks(base / "out") == looks(base / "in")
    assert os.listdir(store.root / "tmp") == []
    run(base, PUT, RESTORE)
    assert left_in(base / "out") == []


STUCK = """
quick = {module}.{name}
calls = []
def stuck(*arguments):
    calls.append(1)
    if os.getpid() != here:
        time.sleep(0.5)
    elif len(calls) == {number}:
        print("stuck", flush=True)
        time.sleep(60)
    return quick(*arguments)
{module}.{name} = stuck
"""
PACKING = STUCK.format(module="bulk", name="pack_files", number=2)
RESTORING = STUCK.format(module="restore", name="raw_entries", number=3)  # once for the paths


def test_a_kill_while_packing_loses_nothing_that_was_written(base: Path) -> None:
    process = start(base, PACKING, PUT)
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.kill()
    process.communicate()  # ends about when the workers have ended, too
    store = Store(base / "store")
    ends = time.monotonic() + 10
    while os.listdir(store.root / "tmp") and time.monotonic() < ends:
        store.recover()
    assert list(store.check()) == []
    assert os.listdir(store.root / "tmp") == []
    run(base, PUT, RESTORE)
    assert looks(base / "out") == looks(base / "in")


def test_a_kill_while_restoring_leaves_whole_files_and_the_next_run_cleans_up(base: Path) -> None:
    process = start(base, PUT, RESTORING, RESTORE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("blake3:")
    assert process.stdout.readline() == "stuck\n"
    process.kill()
    process.communicate()
    assert left_in(base / "out") != []
    for name, _ in list_directory(base / "out").names:
        if ".tmp" not in name:
            assert (base / "out" / name).read_bytes() == (base / "in" / name).read_bytes()
    run(base, PUT, RESTORE)
    assert left_in(base / "out") == []
    assert looks(base / "out") == looks(base / "in")


def test_a_stop_by_the_keyboard_ends_the_workers_and_leaves_nothing(base: Path) -> None:
    process = start(base, PACKING, PUT)
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert os.listdir(base / "store/tmp") == []


def test_temporary_names_of_the_living_are_left(base: Path) -> None:
    digest = run(base, PUT).strip()
    out = base / "out"
    (out / "0").mkdir(parents=True)
    ours = ProcessIdentity.current().to_text()
    dead = ProcessIdentity(4_194_303, "1", *ours.split("+")[2:]).to_text()
    (out / f".gitml-{dead}+0.tmp/a").mkdir(parents=True)
    (out / f"0/.gitml-{dead}+1.tmp").write_bytes(b"half")
    boot = "00000000-0000-0000-0000-000000000000.1"
    before = ProcessIdentity(1, "1", ProcessIdentity.current().host, boot).to_text()
    for name, age in ((f".gitml-{before}+1.tmp", 400 * 86400), (f".gitml-{before}+2.tmp", 0)):
        (out / "0" / name).write_bytes(b"of a power cut, or of another machine of this name")
        os.utime(out / "0" / name, (time.time() - age,) * 2)
    for name in (f".gitml-{ours}+ff.tmp", ".gitml-0123456789abcdef.tmp", ".gitml-other.tmp"):
        (out / "0" / name).write_bytes(b"")
    time.sleep(0.01)
    run(base, f"from gitml.entities.ids import Digest\ndigest = Digest.parse({digest!r})", RESTORE)
    assert sorted(left_in(out)) == sorted(
        [
            *(f".gitml-{ours}+ff.tmp", ".gitml-0123456789abcdef.tmp", ".gitml-other.tmp"),
            f".gitml-{before}+2.tmp",
        ]
    )


def test_a_full_pack_is_followed_by_another(base: Path) -> None:
    run(base, "from gitml.store import pack\npack._FULL_OBJECTS = 300", PUT, RESTORE)
    store = Store(base / "store")
    assert len(store.packs()) > 3
    assert list(store.check()) == []
    assert looks(base / "out") == looks(base / "in")
