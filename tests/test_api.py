"""The public Python API: names that load lazily, decorators, and artifacts by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gitml
from gitml import Artifact, Model, load_artifact, pipeline, save_artifact, step
from gitml.errors import AmbiguousName, GitmlError, NameNotFound, NoRepository
from gitml.repo import Repo
from tests.workshop import Workshop


def test_importing_gitml_imports_nothing_else() -> None:
    code = "import sys, gitml; print(sorted(m for m in sys.modules if m.startswith('gitml')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gitml']"


def test_decorating_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom gitml import step, pipeline, Model, Artifact\n"
        "heavy = {'pyarrow', 'numpy', 'pandas', 'sklearn', 'dulwich', 'git', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in gitml.__all__:
        assert getattr(gitml, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = gitml.nothing


def test_saved_values_come_back_by_name_and_digest(workshop: Workshop) -> None:
    first = save_artifact({"a": [1, 2]}, "settings")
    second = save_artifact({"a": [3]}, "settings")
    assert load_artifact("settings") == {"a": [3]}
    assert Artifact("settings").load() == {"a": [3]}
    assert load_artifact("settings", version=first.digest.short) == {"a": [1, 2]}
    assert save_artifact({"a": [3]}, "settings").commit == second.commit
    refs = workshop.refs("refs/gitml/sources")
    assert set(refs) == {
        f"refs/gitml/sources/settings/{one.digest.hex[:12]}" for one in (first, second)
    }
    assert workshop.problems() == []
    workshop.git("gc", "--quiet", "--prune=now")
    assert load_artifact("settings") == {"a": [3]}


def test_a_file_and_a_folder_are_saved_as_they_are(workshop: Workshop) -> None:
    workshop.write("here/one.txt", "1")
    workshop.write("here/deep/two.txt", "2")
    save_artifact(workshop.path / "here", "folder")
    save_artifact(workshop.path / "here/one.txt", "file")
    folder = load_artifact("folder")
    assert sorted(one.name for one in folder.rglob("*") if one.is_file()) == ["one.txt", "two.txt"]
    assert load_artifact("file").read_text() == "1"
    assert load_artifact("file", wanted=bytes) == b"1"


def test_saving_the_same_bytes_again_changes_nothing(workshop: Workshop) -> None:
    save_artifact(1, "number")
    save_artifact(2, "number")
    before = workshop.refs()
    save_artifact(1, "number")
    assert workshop.refs() == before
    assert load_artifact("number") == 2


def test_unknown_artifacts_have_suggestions(workshop: Workshop) -> None:
    save_artifact(1, "number")
    with pytest.raises(NameNotFound, match="no artifact is called `nubmer`") as caught:
        load_artifact("nubmer")
    assert caught.value.hint == "did you mean `number`?"
    with pytest.raises(NameNotFound):
        load_artifact("number", version="ffff")
    with pytest.raises(NameNotFound, match="no model is called `net`"):
        Model("net", version=3).load("model")


def test_what_cannot_be_stored_is_not_saved(workshop: Workshop) -> None:
    with pytest.raises(GitmlError):
        save_artifact(object(), "thing")
    assert workshop.refs("refs/gitml") == {}


def test_data_is_a_path_outside_of_a_step(workshop: Workshop) -> None:
    assert gitml.data("raw/a.csv") == workshop.path / "raw/a.csv"


def test_outside_of_a_repository_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoRepository, match="not inside a git repository") as caught:
        load_artifact("x")
    assert "git init" in (caught.value.hint or "")


def test_a_version_knows_what_it_is(workshop: Workshop) -> None:
    workshop.training()
    workshop.run()
    version = Model("clf").resolved
    assert version.label == "clf@v1"
    assert Model("clf", version=1).resolved.id == version.id
    assert version.parameters == {"rate": 0.5}
    with pytest.raises(NameNotFound, match="no artifact of clf@v1 is called `modle`") as caught:
        version.load("modle")
    assert caught.value.hint == "did you mean `model`?"


def test_names_of_two_things_are_spelled_out(workshop: Workshop) -> None:
    workshop.training()
    workshop.run()
    save_artifact(1, "clf")
    with pytest.raises(AmbiguousName) as caught:
        workshop.repo().resolve("clf")
    assert caught.value.hint == "write `model/clf` or `artifact/clf`"
    assert workshop.repo().resolve("model/clf").kind == "model"
    assert workshop.repo().resolve("artifact/clf").kind == "artifact"
    assert load_artifact("clf") == 1


def test_a_pipeline_in_a_string_of_code_runs_where_it_stands(workshop: Workshop) -> None:
    @step
    def one() -> int:
        return 1

    @pipeline(name="typed")
    def made() -> None:
        one()

    with pytest.raises(GitmlError):
        # Its file is of another repository, which has no gitml.toml.
        made()
    assert Repo.discover(workshop.path).runs() == []
