"""What differs between two runs or versions: everything that decided what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.diff.records import RecordDifference
from gitml.pipelines.environment import environment_text
from gitml.repo.data import Difference
from tests.workshop import Workshop

TABLES = """\
from pathlib import Path

import gitml
from gitml import pipeline, step


@step
def count(rows: Path) -> int:
    return len(rows.read_text().splitlines())


@pipeline
def counting():
    count(gitml.data("data/rows.csv"))
"""


def differ(workshop: Workshop, *names: str) -> RecordDifference:
    found = whole(workshop, *names).records
    assert found is not None
    return found


def whole(workshop: Workshop, *names: str) -> Difference:
    return workshop.repo().diff(names, workshop.path)


@pytest.fixture
def two(workshop: Workshop) -> Workshop:
    """``clf@v1`` and ``clf@v2``: between them another rate, other data, and two commits."""
    workshop.training().run(parameters={"rate": 0.5})
    workshop.write("data/raw.json", json.dumps({"rows": [1, 2, 3, 4]}))
    workshop.commit("more rows")
    workshop.write("notes.txt", "nobody imports this")
    workshop.commit("notes")
    workshop.run(parameters={"rate": 0.25})
    return workshop


def test_versions_differ_in_parameters_metrics_inputs_steps_and_code(two: Workshop) -> None:
    found = differ(two, "clf@v1", "clf@v2")
    assert [(row.name, row.values) for row in found.parameters] == [("rate", (0.5, 0.25))]
    (accuracy,) = found.metrics
    assert accuracy.deltas[-1] == pytest.approx(0.15)
    (given,) = found.inputs
    assert given.name == "data/raw.json"
    assert given.old and given.new
    assert (given.old.steps, given.new.steps) == (("prepare",), ("prepare",))
    assert given.new.size == len(json.dumps({"rows": [1, 2, 3, 4]}))
    steps = {one.name: [part.part for part in one.parts] for one in found.steps}
    assert steps == {"prepare": ["input raw"], "train": ["input table", "parameter rate"]}
    assert [(one.side, one.subject) for one in found.code.commits] == [
        ("new", "notes"),
        ("new", "more rows"),
    ]
    assert {file.path: file.mark for file in found.code.files} == {
        "data/raw.json": "M",
        "notes.txt": "A",
    }
    assert found.environment == ()


def test_a_file_of_the_code_names_the_steps_that_import_it(two: Workshop) -> None:
    file = two.path / "pipelines/training.py"
    file.write_text(file.read_text().replace("row * 2", "row * 3"))
    two.run(parameters={"rate": 0.25})
    found = differ(two, "clf@v2", "clf@v3")
    assert [(file.path, file.steps) for file in found.code.files] == [
        ("pipelines/training.py", ("prepare", "train"))
    ]
    assert found.code.new.snapshot
    assert [one.name for one in found.inputs] == []


def test_runs_pipelines_and_versions_are_compared_with_each_other(two: Workshop) -> None:
    first, last = two.repo().runs()[1], two.repo().runs()[0]
    by_run = differ(two, str(first.id)[:10], "training")
    assert by_run.old.kind == by_run.new.kind == "run"
    assert by_run.new.commit == last.id
    mixed = differ(two, str(first.id), "clf@v2")
    assert mixed.parameters == by_run.parameters
    assert not differ(two, "training", "clf@v2").steps
    assert not whole(two, "training", "clf@v2")


def test_outputs_are_compared_file_by_file_and_shared_bytes_are_counted(two: Workshop) -> None:
    found = whole(two, "clf@v1", "clf@v2")
    assert [one.path for one in found.data] == [":model", ":table"]
    assert found.records and found.records.sizes.shared == 0
    two.run(parameters={"rate": 0.1})
    sizes = differ(two, "clf@v2", "clf@v3").sizes
    table = two.repo().version("clf@v3").artifacts["table"].size
    assert sizes.shared == table


def test_a_path_and_a_revision_leave_only_the_data(two: Workshop) -> None:
    assert whole(two, "clf@v1", "clf@v2", "data").records is None
    assert whole(two, "clf@v1", "HEAD").records is None


def test_the_rows_of_a_table_that_went_in_are_compared(workshop: Workshop) -> None:
    workshop.code("pipelines/counting.py", TABLES)
    workshop.write("data/rows.csv", "id,weight\n1,4.5\n2,5.5\n")
    first = workshop.run("counting")
    workshop.write("data/rows.csv", "id,weight,sex\n1,4.5,f\n3,6.5,m\n")
    second = workshop.run("counting")
    (given,) = differ(workshop, str(first.id), str(second.id)).inputs
    assert given.table is not None
    assert (given.table.rows_added, given.table.rows_removed) == (1, 1)
    assert dict(given.table.added) == {"sex": "string"}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution that came from a git repository at a revision (PEP 610)."""
    place = tmp_path / "site/private_lib-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: private-lib\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    yield place / "direct_url.json"
    environment_text.cache_clear()


def pin(file: Path, revision: str) -> None:
    origin = {"vcs": "git", "commit_id": revision}
    url = "https://token:secret@git.example.org/lib"
    file.write_text(json.dumps({"url": url, "vcs_info": origin}))
    environment_text.cache_clear()


def test_strict_env_makes_a_step_run_again_where_a_package_differs(
    workshop: Workshop, library: Path
) -> None:
    workshop.training()
    pin(library, "1" * 40)
    plain = {"prepare": "cached", "train": "cached"}
    anew = {"prepare": "completed", "train": "completed"}
    assert workshop.states() == anew
    pin(library, "2" * 40)
    assert workshop.states() == plain
    toml = workshop.path / "gitml.toml"
    toml.write_text(f"{toml.read_text()}\n[cache]\nstrict_env = true\n")
    assert workshop.states() == anew
    assert workshop.states() == plain
    pin(library, "3" * 40)
    assert workshop.states() == anew
    (prepare, train) = differ(workshop, "clf@v2", "clf@v3").steps
    assert [part.part for part in (*prepare.parts, *train.parts)] == ["environment.txt"] * 2


def test_a_private_library_at_another_revision_shows(workshop: Workshop, library: Path) -> None:
    workshop.training()
    pin(library, "1" * 40)
    workshop.run()
    pin(library, "2" * 40)
    workshop.run(cache=False)
    found = differ(workshop, "clf@v1", "clf@v2")
    assert found.environment is not None
    assert [(one.name, one.old, one.new) for one in found.environment] == [
        (
            "private-lib",
            f"git+https://git.example.org/lib@{'1' * 40}",
            f"git+https://git.example.org/lib@{'2' * 40}",
        )
    ]
    assert found
