"""Code that was edited within a second, at equal size, runs as it is now."""

from __future__ import annotations

import os
import py_compile
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from gitml.code.bytecode import drop_outdated, drop_outdated_of
from gitml.code.loaded import differs_from_disk
from gitml.code.sourcefile import SourceFile
from tests.workshop import Workshop, load, states

SECOND = 1_700_000_000 * 10**9

STEPS = """\
from gitml import pipeline, step
from pipelines.helping import base

@step
def value() -> int:
    return base() + {}

@pipeline
def training():
    value()

if __name__ == "__main__":
    run = training()
    print(run.steps["value"].status, run.steps["value"].outputs["output"].load())
"""


def age(path: Path, milliseconds: int) -> None:
    """Give a file, or what it was compiled to, a time in one and the same second."""
    at = SECOND + milliseconds * 10**6
    os.utime(path, ns=(at, at))


@pytest.mark.parametrize("edited", ["training", "helping"])
def test_an_edit_within_a_second_runs(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    texts = {"training": STEPS, "helping": "def base():\n    return {}\n"}
    for name, text in texts.items():
        age(workshop.code(f"pipelines/{name}.py", text.format(1), None), 100)
    workshop.commit("code")
    assert load(workshop.run(), "value") == 2
    for name in texts:
        age(Path(cache_from_source(str(workshop.path / f"pipelines/{name}.py"))), 200)
    age(workshop.code(f"pipelines/{edited}.py", texts[edited].format(8), None), 300)
    run = workshop.run()
    assert states(run) == {"value": "completed"}
    assert load(run, "value") == 9
    assert workshop.states() == {"value": "cached"}


def test_what_was_imported_before_gitml_is_told_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "helping.py"
    file.write_text("def base():\n    return 1\n")
    age(file, 100)
    compiled = Path(py_compile.compile(str(file), doraise=True) or "")
    age(compiled, 200)
    early: dict[str, object] = {"__name__": "helping", "__file__": str(file)}
    exec(compile(file.read_text(), str(file), "exec"), early)
    file.write_text("def base():\n    return 8\n")
    age(file, 300)
    source = SourceFile("helping.py", file.read_bytes(), lambda file, decorator: False)
    assert differs_from_disk(file, source.raw, source.tree, early)
    assert not compiled.exists()


@pytest.mark.parametrize(
    ("mode", "source", "compiled", "folder", "dropped"),
    [
        ("TIMESTAMP", 300, 200, "", True),
        ("TIMESTAMP", 200, 200, "", True),
        ("TIMESTAMP", 100, 200, "", False),
        ("TIMESTAMP", 1300, 200, "", False),
        ("UNCHECKED_HASH", 300, 200, "", False),
        ("TIMESTAMP", 300, 200, "site-packages", False),
    ],
)
def test_only_what_would_be_believed_is_dropped(
    tmp_path: Path, mode: str, source: int, compiled: int, folder: str, dropped: bool
) -> None:
    file = tmp_path / folder / "module.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("A = 1\n")
    age(file, 0)
    how = py_compile.PycInvalidationMode[mode]
    made = Path(py_compile.compile(str(file), doraise=True, invalidation_mode=how) or "")
    age(file, source)
    age(made, compiled)
    assert drop_outdated_of(str(file)) == dropped
    assert made.exists() != dropped
    assert drop_outdated(str(tmp_path / "module.pyc")) is False
