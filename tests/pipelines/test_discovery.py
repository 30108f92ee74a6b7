"""Pipelines are found by reading; only what is to run is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.errors import AmbiguousName, NameNotFound, UsageError
from gitml.pipelines import discovery
from tests.workshop import Workshop


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_spelling_of_the_decorator_is_seen(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "all.py",
        """
import gitml
import gitml as g
from gitml import pipeline, step
from gitml import pipeline as flow

@pipeline
def plain():
    '''The plain one.

    With more.
    '''

@pipeline()
def called(): ...

@flow(name="given-name")
def named(): ...

@gitml.pipeline
def dotted(): ...

@g.pipeline(cache=False)
def short(): ...

@step
def not_a_pipeline(): ...

def nothing(): ...
""",
    )
    found = {one.function: (one.name, one.summary) for one in discovery.definitions(file)}
    assert found == {
        "plain": ("plain", "The plain one."),
        "called": ("called", ""),
        "named": ("given-name", ""),
        "dotted": ("dotted", ""),
        "short": ("short", ""),
    }


def test_reading_runs_nothing_and_skips_what_is_not_code(tmp_path: Path) -> None:
    head = "from gitml import pipeline\n@pipeline\ndef {}(): ...\n"
    write(tmp_path, "pipelines/good.py", head.format("good") + "raise SystemExit(9)\n")
    write(tmp_path, "pipelines/broken.py", "def (:\n")
    write(tmp_path, "pipelines/binary.py", "\0\0")
    write(tmp_path, "pipelines/.venv/lib.py", head.format("hidden"))
    write(tmp_path, "pipelines/deep/er/more.py", head.format("more"))
    write(tmp_path, "elsewhere/other.py", head.format("other"))
    names = [one.name for one in discovery.find(tmp_path, ["pipelines"])]
    assert names == ["good", "more"]
    names = [one.name for one in discovery.find(tmp_path, ["pipelines", "elsewhere/other.py"])]
    assert names == ["good", "more", "other"]
    assert discovery.find(tmp_path, ["nowhere"]) == []


def test_names_that_fit_twice_are_told_with_spellings(tmp_path: Path) -> None:
    head = "from gitml import pipeline\n@pipeline\ndef {}(): ...\n"
    write(tmp_path, "a.py", head.format("twin"))
    file = write(tmp_path, "b.py", head.format("twin") + head.format("other"))
    with pytest.raises(AmbiguousName, match="several pipelines are called twin") as caught:
        discovery.choose("twin", tmp_path, ["."], tmp_path)
    assert caught.value.hint == "write `a.py:twin` or `b.py:twin`"
    with pytest.raises(AmbiguousName, match=r"b\.py defines several pipelines") as caught:
        discovery.choose("b.py", tmp_path, ["."], tmp_path)
    assert caught.value.hint == "write `b.py:twin` or `b.py:other`"
    assert discovery.choose("b.py:other", tmp_path, ["."], tmp_path).path == file
    with pytest.raises(NameNotFound) as missing:
        discovery.choose("othre", tmp_path, ["."], tmp_path)
    assert missing.value.hint == "did you mean `other`?"
    with pytest.raises(NameNotFound, match="no pipeline is called `x`") as missing:
        discovery.choose("x", tmp_path, ["nowhere"], tmp_path)
    assert "[pipelines] paths" in (missing.value.hint or "")


def test_a_file_outside_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(tmp_path, "outside.py", "from gitml import pipeline\n@pipeline\ndef p(): ...\n")
    with pytest.raises(UsageError, match="outside of the repository"):
        discovery.choose("../outside.py", root, ["."], root)


def test_a_file_that_cannot_be_imported_names_the_command(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/bad.py",
        """
        from gitml import pipeline
        import a_module_that_is_not_there

        @pipeline
        def bad(): ...
        """,
    )
    error = workshop.fails("bad")
    assert isinstance(error, UsageError)
    assert error.message == "pipelines/bad.py cannot be imported"
    assert error.hint == "`python pipelines/bad.py` shows the whole traceback"
    assert "a_module_that_is_not_there" in error.causes()[0]


def test_a_file_beside_its_helpers_and_a_package_import_each_other(workshop: Workshop) -> None:
    """What ``python FILE`` finds is found: modules beside the file, and packages of the root."""
    workshop.write("lib/__init__.py", "")
    workshop.write("lib/numbers.py", "def seven():\n    return 7\n")
    workshop.write("pipelines/beside.py", "def one():\n    return 1\n")
    workshop.code(
        "pipelines/both.py",
        """
        from gitml import pipeline, step
        from beside import one
        from lib.numbers import seven

        @step
        def eight() -> int:
            return one() + seven()

        @pipeline
        def both():
            eight()
        """,
    )
    run = workshop.run("both")
    assert run.steps["eight"].outputs["output"].load() == 8
    files = {one.path for one in run.steps["eight"].found.record.files}  # type: ignore[union-attr]
    assert {"pipelines/both.py", "pipelines/beside.py", "lib/numbers.py"} <= files
