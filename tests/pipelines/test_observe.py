"""What the observer sees of a step, with real files, threads and processes."""

from __future__ import annotations

import importlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import pytest
from blake3 import blake3

from gitml.errors import UsageError
from gitml.pipelines import observe
from gitml.pipelines.observe import (
    Observer,
    digest_files,
    digest_observed,
    importing,
    is_unchanged,
    watch_imports,
)
from tests.code.project import Project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "data/c.txt", ".git/index", "env/lib/site-packages/m.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def seen(root: Path, act: Callable[[], object], *excluded: str) -> tuple[str, ...]:
    with Observer(root, excluded=excluded) as observer:
        act()
    return observer.observed


def test_files_read_while_the_step_runs_are_observed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> None:
        (root / "a.txt").read_text()
        os.close(os.open(root / "b.txt", os.O_RDONLY))
        Path("data/c.txt").read_bytes()

    monkeypatch.chdir(root)
    assert seen(root, read) == ("a.txt", "b.txt", "data/c.txt")
    (root / "a.txt").read_text()
    assert seen(root, lambda: None) == ()


def test_a_file_that_is_looked_for_and_absent_is_observed(root: Path) -> None:
    def look() -> None:
        with pytest.raises(FileNotFoundError):
            (root / "config.json").read_text()

    assert seen(root, look) == ("config.json",)
    assert digest_files(root, ["config.json"]) == {"config.json": "absent"}


def test_git_environments_other_folders_and_excluded_files_are_not_observed(root: Path) -> None:
    def read() -> None:
        for path in (".git/index", "env/lib/site-packages/m.py", "a.txt", "data/c.txt", "b.txt"):
            (root / path).read_text()
        Path(__file__).read_text()
        os.close(os.open(root / "data", os.O_RDONLY))

    assert seen(root, read, "a.txt", "data") == ("b.txt",)


def test_files_that_the_step_makes_itself_are_not_observed(root: Path) -> None:
    def write() -> None:
        (root / "out.txt").write_text("x")
        (root / "out.txt").read_text()
        with tempfile.NamedTemporaryFile("w+", dir=root, delete=False) as file:
            file.write("x")
        Path(file.name).replace(root / "final.txt")
        (root / "final.txt").read_text()

    assert seen(root, write) == ()


def test_a_file_that_changes_after_it_was_read_is_unstable(root: Path) -> None:
    with Observer(root) as observer:
        (root / "a.txt").read_text()
        (root / "b.txt").read_text()
        (root / "a.txt").write_text("something longer")
    assert observer.observed == ("a.txt", "b.txt")
    assert observer.unstable == ("a.txt",)


@pytest.mark.parametrize("bytecode", [True, False])
def test_an_imported_module_is_observed_by_its_source(project: Project, bytecode: bool) -> None:
    project.write("plugin.py", "N = 1\n")
    project.monkeypatch.setattr(sys, "dont_write_bytecode", not bytecode)
    for _ in range(2):  # the second import reads the bytecode that the first one wrote
        project.forget()
        found = seen(project.root, lambda: importlib.import_module("plugin"))
        assert found == ("plugin.py",)


def test_modules_of_the_closure_are_not_observed(project: Project) -> None:
    project.write("lazy.py", "N = 1\n")
    project.write("steps.py", "def train():\n    import lazy\n    return lazy.N\n")
    train = project.load().train
    with Observer(project.root, project.trace(train)) as observer:
        train()
    assert observer.observed == ()


def test_a_module_loaded_before_is_observed_if_imports_are_computed(project: Project) -> None:
    project.write("plugin.py", "N = 1\n")
    project.write("steps.py", "import importlib\ndef train(n): importlib.import_module(n)\n")
    train = project.load().train
    train("plugin")
    with Observer(project.root, project.trace(train)) as observer:
        train("plugin")
    assert observer.observed == ("plugin.py",)


def test_databases_are_observed(root: Path) -> None:
    assert seen(root, lambda: sqlite3.connect(root / "x.db").close()) == ("x.db",)


def test_steps_in_two_threads_see_their_own_files(root: Path) -> None:
    barrier = threading.Barrier(2, timeout=10)

    def step(name: str) -> tuple[str, ...]:
        with Observer(root) as observer:
            barrier.wait()
            (root / name).read_text()
            barrier.wait()
        return observer.observed

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(step, ["a.txt", "b.txt"])
    assert (first, second) == (("a.txt",), ("b.txt",))


def test_threads_of_a_step_count_for_it_and_the_driver_does_not(root: Path) -> None:
    started, done = threading.Event(), threading.Event()
    observers: list[Observer] = []

    def step() -> None:
        with Observer(root) as observer, ThreadPoolExecutor(1) as pool:
            pool.submit((root / "a.txt").read_text).result()
            started.set()
            done.wait(10)
        observers.append(observer)

    thread = threading.Thread(target=step)
    thread.start()
    started.wait(10)
    (root / "b.txt").read_text()
    done.set()
    thread.join()
    assert observers[0].observed == ("a.txt",)


def test_programs_are_named_without_their_arguments(root: Path) -> None:
    with Observer(root) as observer:
        subprocess.run([sys.executable, "-c", "pass", "--token=abc"], check=True)
        os.system("true --token=abc")
    assert observer.subprocesses == tuple(sorted({Path(sys.executable).name, "true"}))


def test_an_error_in_the_step_passes_through(root: Path) -> None:
    with pytest.raises(ValueError, match="mine"), Observer(root) as observer:
        (root / "a.txt").read_text()
        raise ValueError("mine")
    assert observer.observed == ("a.txt",)


def test_digests_of_files_and_folders(root: Path) -> None:
    digests = digest_files(root, ["a.txt", "data", "nothing"])
    assert digests["a.txt"] == "blake3:" + blake3(b"a.txt").hexdigest()
    assert digests["nothing"] == "absent"
    (root / "data/c.txt").rename(root / "data/d.txt")
    assert digest_files(root, ["data"]) != {"data": digests["data"]}
    for path in ("../x", "/etc/passwd", ".git/config", ""):
        with pytest.raises(UsageError, match="inside the repository"):
            digest_files(root, [path])


def listed(root: Path, act: Callable[[], object], *excluded: str) -> tuple[str, ...]:
    with Observer(root, excluded=excluded) as observer:
        act()
    assert observer.unstable == ()
    return observer.listed


def test_folders_that_are_listed_are_observed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "data/deep").mkdir()
    monkeypatch.chdir(root)
    ways: list[tuple[Callable[[], object], tuple[str, ...]]] = [
        (lambda: os.listdir("data"), ("data",)),
        (lambda: list((root / "data").glob("*.txt")), ("data",)),
        (lambda: list(Path("data").rglob("*.txt")), ("data", "data/deep")),
        (lambda: list(os.walk("data")), ("data", "data/deep")),
        (lambda: os.listdir(), (".",)),
        (lambda: os.listdir("nowhere") if os.path.exists("nowhere") else None, ()),
        (lambda: os.listdir(".git"), ()),
        (lambda: os.listdir("env/lib/site-packages"), ()),
        (lambda: os.listdir(root.parent), ()),
    ]
    for act, expected in ways:
        assert listed(root, act) == expected
    assert listed(root, lambda: os.listdir("data"), "data") == ()


def test_a_listing_is_its_names_and_which_of_them_are_folders(root: Path) -> None:
    def digest() -> str:
        return digest_observed(root, [], ["data"])["data"]

    first = digest()
    assert first.startswith("names blake3:")
    (root / "data/c.txt").write_text("other content")
    (root / "data/__pycache__").mkdir()
    assert digest() == first
    assert is_unchanged(root, {"data": first})
    (root / "data/d.txt").touch()
    assert not is_unchanged(root, {"data": first})
    (root / "data/d.txt").unlink()
    (root / "data/c.txt").unlink()
    (root / "data/c.txt").mkdir()
    assert not is_unchanged(root, {"data": first})
    assert digest_observed(root, [], ["nowhere", "."])["nowhere"] == "absent"
    with pytest.raises(UsageError, match="inside the repository"):
        digest_observed(root, [], ["../x"])


def test_a_folder_that_changes_after_it_was_listed_is_unstable(root: Path) -> None:
    with Observer(root) as observer:
        os.listdir(root / "data")
        (root / "data/d.txt").touch()
    assert observer.unstable == ("data",)


def test_the_search_for_modules_lists_nothing_for_the_step(project: Project) -> None:
    project.write("lazy.py", "N = 1\n")
    importlib.invalidate_caches()
    assert listed(project.root, lambda: importlib.import_module("lazy")) == ()


HELPER = """
    import json, os
    from pathlib import Path

    HERE = Path(__file__).parent

    def table():
        return json.loads((HERE / "table.json").read_text())

    TABLE = table()
    NAMES = os.listdir(HERE / "names")

    def later():
        return (HERE / "later.txt").read_text()
"""


def test_what_a_module_reads_while_it_is_imported_counts_for_steps_that_use_it(
    project: Project,
) -> None:
    watch_imports()
    project.write("table.json", "[1]")
    project.write("own.txt", "1")
    project.write("names/a", "")
    project.write("later.txt", "2")
    project.write("helper.py", textwrap.dedent(HELPER))
    project.write(
        "steps.py",
        "import helper\nfrom pathlib import Path\nOWN = Path('own.txt').read_text()\n"
        "def train(): return helper.TABLE, OWN\ndef other(): return OWN\n",
    )
    project.monkeypatch.chdir(project.root)
    module = project.load()
    for _ in range(2):  # the import happened before both
        with Observer(project.root, project.trace(module.train)) as observer:
            module.train()
        assert (observer.observed, observer.listed) == (("table.json",), ("names",))
    with Observer(project.root, project.trace(module.other)) as observer:
        module.other()
    assert (observer.observed, observer.listed) == ((), ())
    project.write("table.json", "[1, 2]")
    with Observer(project.root, project.trace(module.train)) as observer:
        module.train()
    assert observer.unstable == ("table.json",)


def asked(root: Path, act: Callable[[], object], *excluded: str) -> dict[str, str]:
    with Observer(root, excluded=excluded) as observer:
        act()
    assert (observer.observed, observer.unstable) == ((), ())
    return observer.asked


def test_files_that_are_only_asked_about_are_observed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    file, sized, folder = {"a.txt": "is file"}, {"a.txt": "is file 5"}, {"data": "is folder"}
    ways: list[tuple[Callable[[], object], dict[str, str]]] = [
        (lambda: os.path.exists("a.txt"), file),
        (lambda: os.path.isfile(root / "a.txt"), file),
        (lambda: os.path.isdir(b"data"), folder),
        (lambda: Path("a.txt").exists(), file),
        (lambda: Path("data").is_dir(), folder),
        (lambda: os.access("a.txt", os.R_OK), sized),
        (lambda: os.stat("a.txt"), sized),
        (lambda: os.path.getsize("a.txt"), sized),
        (lambda: Path("a.txt").stat().st_size, sized),
        (lambda: Path("a.txt").lstat().st_size, sized),
        (lambda: (os.path.exists("a.txt"), os.path.getsize("a.txt")), sized),
        (lambda: glob("a.txt"), file),
        (lambda: os.path.exists("none.yaml"), {"none.yaml": "absent"}),
        (lambda: os.path.exists("."), {}),
        (lambda: os.path.exists(".git/index"), {}),
        (lambda: os.path.exists("env/lib/site-packages/m.py"), {}),
        (lambda: os.path.exists(root.parent), {}),
        (lambda: os.path.realpath("a.txt"), {}),
        (lambda: os.path.exists(0), {}),
        (lambda: os.path.exists("\0"), {}),
    ]
    for act, expected in ways:
        assert asked(root, act) == expected
    assert asked(root, lambda: os.path.exists("data/c.txt"), "data") == {}
    original = os.stat
    assert asked(root, lambda: original("a.txt")) == {}
    assert os.stat is original


def test_what_is_read_or_listed_counts_by_that(root: Path) -> None:
    def look() -> None:
        assert (root / "a.txt").exists()
        (root / "a.txt").read_text()
        assert (root / "data").is_dir()
        list((root / "data").iterdir())

    with Observer(root) as observer:
        look()
    assert (observer.observed, observer.listed, observer.asked) == (("a.txt",), ("data",), {})


def test_a_listing_tells_what_is_asked_of_the_names_in_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    with Observer(root) as observer:
        kinds = [one.is_file() for one in Path("data").iterdir()]
        sizes = [os.path.getsize(one) for one in os.listdir() if os.path.isfile(one)]
        assert not os.path.exists("data/none")
    assert (kinds, len(sizes)) == ([True], 2)
    assert observer.listed == (".", "data")
    assert observer.asked == {"a.txt": "is file 5", "b.txt": "is file 5", "data/none": "absent"}
    assert observer.is_reusable


def test_of_too_many_answers_none_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        for name in ("a.txt", "b.txt", "data/c.txt"):
            os.path.getsize(root / name)

    monkeypatch.setattr(observe, "MOST_ANSWERS", 2)
    with Observer(root) as observer:
        ask()
    assert (observer.asked, observer.is_reusable) == ({}, False)
    with Observer(root, excluded=["data"]) as observer:
        ask()
    assert (len(observer.asked), observer.is_reusable) == (2, True)


def test_what_a_step_makes_after_it_asked_is_its_own_doing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)

    def write() -> None:
        if not os.path.exists("out"):
            os.makedirs("out/deep")
        if not os.path.exists("out/x.txt"):
            Path("out/x.txt").write_text("1")
        assert Path("out/x.txt").stat().st_size == 1
        Path("out").mkdir(parents=True, exist_ok=True)
        Path("out/y.txt").write_text("2")

    assert asked(root, write) == {"out/x.txt": "absent"}
    assert asked(root, write) == {"out": "is folder", "out/x.txt": "is file 1"}

    def remove() -> None:
        if os.path.exists("out/x.txt"):
            os.remove("out/x.txt")
        assert not os.path.exists("out/x.txt")
        if not os.path.exists("final.txt"):
            os.replace("out/y.txt", "final.txt")

    assert asked(root, remove) == {"final.txt": "absent", "out/x.txt": "is file"}


def test_a_file_that_others_make_after_a_step_asked_is_unstable(root: Path) -> None:
    touch = ["touch", str(root / "new.txt")]
    with Observer(root) as observer:
        assert not (root / "new.txt").exists()
        subprocess.run(touch, check=True)
    assert observer.unstable == ("new.txt",)


def test_what_was_found_is_recorded_and_asked_again(root: Path) -> None:
    with Observer(root) as observer:
        os.path.exists(root / "a.txt")
        os.path.getsize(root / "b.txt")
        os.path.exists(root / "data")
        os.path.exists(root / "none")
        (root / "data/c.txt").read_text()
    record = observer.record()
    digest = record.pop("data/c.txt")
    assert digest.startswith("blake3:")
    assert record == {
        "a.txt": "is file",
        "b.txt": "is file 5",
        "data": "is folder",
        "none": "absent",
    }
    assert observer.record(["data", "b.txt"]).keys() == {"a.txt", "none"}
    (root / "a.txt").write_text("longer than before")
    assert is_unchanged(root, record)
    changes: list[tuple[str, Callable[[Path], object]]] = [
        ("a.txt", Path.unlink),
        ("b.txt", lambda path: path.write_text("longer than before")),
        ("none", Path.touch),
        ("data", lambda path: path.rename(root / "elsewhere")),
    ]
    for name, change in changes:
        change(root / name)
        assert not is_unchanged(root, {name: record[name]}), name


def test_what_a_module_asks_while_it_is_imported_counts_for_steps_that_use_it(
    project: Project,
) -> None:
    project.write("helper.py", "import os\nFAST = os.path.exists('fast')\n")
    project.write("steps.py", "import helper\ndef train(): return helper.FAST\n")
    project.monkeypatch.chdir(project.root)
    with importing():
        module = project.load()
    with Observer(project.root, project.trace(module.train)) as observer:
        module.train()
    assert observer.asked == {"fast": "absent"}


def test_questions_of_a_step_in_its_own_threads_are_its_own(root: Path) -> None:
    with Observer(root) as observer, ThreadPoolExecutor(1) as pool:
        pool.submit(os.path.exists, root / "a.txt").result()
    assert observer.asked == {"a.txt": "is file"}
