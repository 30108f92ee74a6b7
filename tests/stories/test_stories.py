"""Bob's and Alice's acceptance story in one clone, by number, through Python and plain git."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from typing import Any

import pytest

import gitml
from gitml.cli import main
from gitml.errors import CorruptData, GitmlError, NameNotFound
from gitml.history.lineage import Ancestor
from gitml.repo import Repo
from gitml.store.digest import hash_bytes
from tests.stories.conftest import FEATURES, INFERENCE, RATES
from tests.workshop import Workshop, states

LIBRARY = """\
[project]
name = "private-lib"
version = "1.2"
[build-system]
requires = []
build-backend = "build_wheel"
backend-path = ["."]
"""

BUILD = """\
import zipfile

INFO = "private_lib-1.2.dist-info"
FILES = {
    "private_lib.py": "answer = 42",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: private-lib\\nVersion: 1.2\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}


def build_wheel(folder, settings=None, metadata=None):
    name = "private_lib-1.2-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
        names = [*FILES, f"{INFO}/RECORD"]
        wheel.writestr(f"{INFO}/RECORD", "".join(f"{one},,\\n" for one in names))
    return name
"""
"""A library with a build backend of its own, so that it installs without anything from an index."""


def test_story_01_a_fresh_repository_has_one_stack(workshop: Workshop) -> None:
    repo = workshop.repo()
    assert [one.name for one in repo.stacks()] == ["default"]
    assert repo.active_stack.name == "default"
    assert workshop.git("status", "--porcelain") == ""


def test_story_02_pipelines_of_two_branches_stand_side_by_side(bob: Workshop) -> None:
    bob.git("switch", "--quiet", "-c", "scores")
    bob.code("pipelines/scores.py", FEATURES.replace("def features", "def scores"))
    bob.git("switch", "--quiet", "main")
    bob.git("switch", "--quiet", "-c", "checks")
    bob.code("pipelines/checks.py", FEATURES.replace("def features", "def checks"))
    bob.git("switch", "--quiet", "main")
    for branch in ("scores", "checks"):
        bob.git("merge", "--quiet", "--no-edit", branch)
    names = [one.name for one in bob.repo().pipelines()]
    assert names == ["checks", "features", "inference", "scores", "training"]
    run = bob.run("features")
    assert states(run) == {"clean": "completed"}
    ran = {one.name: one.runs for one in bob.repo().pipelines()}
    assert ran == {"checks": 0, "features": 1, "inference": 0, "scores": 0, "training": 0}


def test_story_05_the_second_run_is_cached_and_stores_nothing(bob: Workshop) -> None:
    bob.run("features")
    first = bob.run("training")
    store = bob.repo().store
    blobs = {one.digest for one in store.objects()}
    again = bob.run("features")
    second = bob.run("training")
    assert states(again) == {"clean": "cached"}
    assert states(second) == {"preprocess": "cached", "train": "cached"}
    assert {one.digest for one in bob.repo().store.objects()} == blobs
    assert list(bob.refs("refs/tags")) == ["refs/tags/clf@v1"]
    assert second.model_version is not None
    assert first.model_version is not None
    assert second.model_version.id == first.model_version.id
    assert not second.made_version


def test_story_06_an_edited_helper_makes_its_step_run_again(trained: Workshop) -> None:
    scaling = trained.path / "lib/scaling.py"
    scaling.write_text("def scale(values):\n    return [value * 11 for value in values]\n")
    assert trained.states("features") == {"clean": "cached"}
    again = trained.run("training")
    assert states(again) == {"preprocess": "completed", "train": "completed"}


SHARED = """\
from gitml import step
from lib.scaling import scale


@step
def preprocess(features: list) -> list:
    return scale(features)
"""
TWO_THAT_SHARE = """\
from gitml import Artifact, pipeline, step
from lib.preprocessing import preprocess


@step
def fit(table: list) -> float:
    return sum(table) / len(table)


@step
def predict(table: list) -> float:
    return max(table)


@pipeline
def training():
    fit(preprocess(Artifact("features")))


@pipeline
def inference():
    predict(preprocess(Artifact("features")))
"""


def test_story_07_lineage_tells_whether_two_pipelines_preprocess_alike(
    bob: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    def compared() -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(["lineage", "diff", "training", "inference", "--step", "preprocess"])
        return ended.value.code, capsys.readouterr().out

    bob.write("lib/preprocessing.py", SHARED)
    bob.write("pipelines/training.py", TWO_THAT_SHARE)
    (bob.path / "pipelines/inference.py").unlink()
    bob.commit("one way to preprocess for both")
    for name in ("features", "training", "inference"):
        bob.run(name)
    code, _ = compared()
    assert code == 0
    bob.code("lib/scaling.py", "def scale(values):\n    return [value * 11 for value in values]\n")
    bob.run("inference")
    code, said = compared()
    assert code == 1
    steps = [bob.repo().runs(pipeline=one, limit=1)[0].steps for one in ("training", "inference")]
    ids = [bob.record(one["preprocess"].entry.commit, "step.json")["code_id"] for one in steps]
    assert len(set(ids)) == 2
    for one in ids:
        assert one[:8] in said


def test_story_08_a_private_library_shows_with_its_revision(
    bob: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(importlib.metadata.distributions(name="pip")):
        pytest.skip("needs pip in this environment")
    library = Workshop.at(bob.path.with_name("library"))
    library.write("pyproject.toml", LIBRARY)
    library.write("build_wheel.py", BUILD)
    revision = library.commit("a library")
    library.write("later.txt", "not installed")
    library.commit("later")
    target = bob.path.with_name("installed")
    flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    url = f"git+{library.path.as_uri()}@{revision}"
    wanted = f"{url}#egg=private-lib"  # pip 23 takes `name @ git+file:…` for a path
    bob.python("-m", "pip", "install", "--disable-pip-version-check", *flags, wanted)
    monkeypatch.setenv("PYTHONPATH", str(target))
    bob.code("run.py", "from pipelines.features import features\nfeatures()\n")
    bob.python("run.py")
    run = bob.repo().runs(limit=1)[0]
    text = bob.git("show", f"{run.id}:.gitml/environment.txt")
    assert f"private-lib @ {url}" in text.splitlines()
    lines = [one for one in text.splitlines() if not one.startswith("#")]
    assert lines == sorted(lines, key=str.lower)
    assert text.startswith("# python CPython 3.")


def test_story_09_a_run_lists_its_artifacts(trained: Workshop) -> None:
    repo = trained.repo()
    run = repo.runs(pipeline="training", limit=1)[0]
    entries = {one.output.artifact: one.output for one in repo.artifacts(run=run.id.short)}
    assert set(entries) == {"training.preprocess", "model", "metrics", "checkpoint"}
    assert entries["checkpoint"].size == len(b"epoch 1")
    assert all(one.kind == "blob" and len(one.digest.hex) == 64 for one in entries.values())
    recorded = trained.record(run.steps["train"].entry.commit, "step.json")["outputs"]
    assert {one["digest"] for one in recorded} == {
        str(entries[name].digest) for name in ("model", "metrics", "checkpoint")
    }


def test_story_10_parents_are_what_made_the_inputs_and_the_code(bob: Workshop) -> None:
    code = bob.git("rev-parse", "HEAD")
    features = bob.run("features").steps["clean"].entry.commit
    run = bob.run("training")
    preprocess, train = (run.steps[one].entry.commit for one in ("preprocess", "train"))
    assert bob.parents(preprocess) == [code, str(features)]
    assert bob.parents(train) == [code, str(preprocess)]
    assert bob.parents(run.id) == [code, str(train)]
    assert run.model_version is not None
    assert bob.parents(run.model_version.id) == [code, str(run.id)]
    for above in (code, features, preprocess, train):
        bob.git("merge-base", "--is-ancestor", str(above), "clf@v1")


def test_story_10_a_dirty_tree_is_a_commit_and_nothing_of_the_user_moves(bob: Workshop) -> None:
    bob.run("features")
    bob.write("data/other.txt", "stashed")
    bob.git("add", "data/other.txt")
    bob.git("stash", "--quiet")
    bob.write("staged.txt", "staged")
    bob.git("add", "staged.txt")
    text = (bob.path / "pipelines/training.py").read_text()
    bob.write("pipelines/training.py", text.replace('b"epoch 1"', 'b"epoch 2"'))
    bob.write("lying-around.env", "TOKEN=hunter2")

    def world() -> tuple[Any, ...]:
        questions = ("status --porcelain", "stash list", "rev-parse HEAD", "branch --list")
        told = [bob.git("--no-optional-locks", *one.split()) for one in questions]
        return (bob.path / ".git/index").read_bytes(), told

    before, head = world(), bob.git("rev-parse", "HEAD")
    run = bob.run("training")
    assert world() == before
    code = run.entry.record.code
    assert code.snapshot
    assert bob.parents(code.commit) == [head]
    assert bob.git("show", f"{code.commit}:staged.txt") == "staged"
    assert 'b"epoch 2"' in bob.git("show", f"{run.id}:pipelines/training.py")
    assert "lying-around.env" not in bob.git("ls-tree", "-r", "--name-only", str(code.commit))
    assert bob.git("log", "-1", "--format=%an %ae %ad %cd", str(code.commit)) == bob.git(
        "log", "-1", "--format=%an %ae %ad %cd", head
    )


def test_story_12_a_model_shows_all_that_belongs_to_it(trained: Workshop) -> None:
    repo = trained.repo()
    repo.promote("clf@v2", "production", "best")
    consumer = trained.run("inference")
    repo = trained.repo()
    versions = repo.versions("clf")
    assert [one.label for one in versions] == ["clf@v1", "clf@v2", "clf@v3"]
    second = versions[1]
    assert second.entry.record.pipeline == "training"
    assert second.parameters == {"rate": 0.2}
    assert second.metrics == {"accuracy": 1.0}
    assert second.metadata() == {"note": "trained in tests"}
    assert set(second.artifacts) == {"training.preprocess", "model", "metrics", "checkpoint"}
    assert second.run is not None
    assert second.run.pipeline == "training"
    assert [one.id for one in repo.consumers(second)] == [consumer.id]
    assert repo.consumers(versions[0]) == []


def test_story_13_bytes_by_stage_are_those_of_the_record_or_nothing(trained: Workshop) -> None:
    trained.repo().promote("clf@v2", "production", "best")
    output = trained.repo().artifact("clf@production:model")
    pointer = trained.git("show", "clf@v2:.gitml/artifacts/model.gitml")
    assert str(output.digest) in pointer
    target = trained.path.with_name("model.json")
    output.copy_to(target)
    assert json.loads(target.read_text()) == output.load() == {"weight": pytest.approx(12.0)}
    model = gitml.Model("clf", version="production")
    assert model.load("model") == output.load()
    assert model.load("checkpoint") == b"epoch 1"
    copies = [one.path for one in trained.repo().store.copies(output.digest)]
    assert copies
    for path in copies:
        path.chmod(0o644)
        path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(CorruptData) as caught:
        gitml.Model("clf", version="production").load("model")
    assert caught.value.exit_code == 12
    again = trained.path.with_name("again.json")
    with pytest.raises(CorruptData):
        trained.repo().artifact("clf@production:model").copy_to(again)
    assert not again.exists()


def test_story_14_without_a_holder_nothing_falls_back(trained: Workshop) -> None:
    with pytest.raises(NameNotFound) as caught:
        gitml.Model("clf", version="production").load("model")
    assert "clf@v1, clf@v2, clf@v3" in caught.value.message
    assert "gitml promote clf@v3 production" in (caught.value.hint or "")
    error = trained.fails("inference")
    assert isinstance(error, NameNotFound)
    assert not hasattr(error, "run")


def test_story_15_versions_compare_with_deltas_and_the_best(trained: Workshop) -> None:
    table = trained.repo().compare(["clf"])
    assert [one.label for one in table.versions] == ["clf@v1", "clf@v2", "clf@v3"]
    rate = next(one for one in table.parameters if one.name == "rate")
    assert rate.values == RATES
    accuracy = next(one for one in table.metrics if one.name == "accuracy")
    assert accuracy.values == (0.7, 1.0, 0.3)
    assert accuracy.deltas[0] is None
    assert accuracy.deltas[1:] == pytest.approx((0.3, -0.7))
    assert accuracy.best == frozenset({1})
    assert table.ranked("accuracy") == [1, 0, 2]
    same = {one.name: one.same for one in table.artifacts}
    expected = {"checkpoint": True, "metrics": False, "model": False, "training.preprocess": True}
    assert same == expected


def test_story_16_a_failed_run_makes_no_version(trained: Workshop) -> None:
    latest = trained.repo().version("clf").id
    text = (trained.path / "pipelines/training.py").read_text()
    trained.code("pipelines/training.py", text.replace("accuracy = ", "1 / 0\n    accuracy = "))
    error = trained.fails("training")
    run = error.run  # type: ignore[attr-defined]
    assert run.status == "failed"
    assert run.failure.type == "ZeroDivisionError"
    repo = trained.repo()
    assert [one.id for one in repo.runs(state="failed")] == [run.id]
    assert len(repo.versions("clf")) == 3
    assert repo.version("clf@latest").id == latest
    assert run.model_version is None


def test_story_17_a_promotion_says_who_when_why_and_from_where(trained: Workshop) -> None:
    trained.repo().promote("clf@v1", "production", "the first")
    move = trained.repo().promote("clf@v2", "production", "more accurate")
    assert (move.version, move.before, move.tag) == ("clf@v2", "clf@v1", "clf@production/2")
    repo = trained.repo()
    first, second = repo.version("clf@v1"), repo.version("clf@v2")
    events = second.state.stages["production"]
    assert [one.promotion.reason for one in events] == ["the first", "more accurate"]
    assert events[1].promotion.before == first.id
    assert events[1].tagger.startswith("Ada Example <ada@example.org>")
    assert events[1].promotion.at[:4].isdigit()
    assert first.archived
    assert not second.archived
    assert second.stages == ["production"]
    text = trained.git("cat-file", "tag", "clf@production/2")
    assert "more accurate" in text
    assert "tagger Ada Example <ada@example.org>" in text
    assert trained.git("rev-parse", "refs/gitml/stages/clf/production^{commit}") == str(second.id)
    assert trained.git("rev-parse", "clf@production/1^{commit}") == str(first.id)


def test_story_20_a_rollback_brings_the_holder_before_back(trained: Workshop) -> None:
    for version in ("clf@v1", "clf@v2"):
        trained.repo().promote(version, "production", "better")
    move = trained.repo().rollback("clf", "production")
    assert (move.version, move.before) == ("clf@v1", "clf@v2")
    state = trained.repo().version("clf@production").state
    versions = [state.label(one.promotion.version) for one in state.stages["production"]]  # type: ignore[arg-type]
    assert versions == ["clf@v1", "clf@v2", "clf@v1"]


def test_story_21_a_run_keeps_to_what_names_meant_when_it_was_planned(trained: Workshop) -> None:
    trained.code(
        "pipelines/careful.py",
        """
        from gitml import Model, pipeline, step

        @step
        def wait() -> int:
            return 1

        @step
        def ask(ready: int) -> float:
            return Model("clf", version="production").load("model")["weight"]

        @pipeline
        def careful():
            ask(wait())
        """,
    )
    trained.repo().promote("clf@v2", "production", "now")

    def promote_meanwhile(event: Any) -> None:
        if (event.step, event.state) == ("ask", "started"):
            trained.repo().promote("clf@v3", "production", "meanwhile")

    run = trained.run("careful", tell=promote_meanwhile)
    second = trained.repo().version("clf@v2")
    assert run.steps["ask"].outputs["output"].load() == second.load("model")["weight"]
    assert str(second.id) in trained.parents(run.steps["ask"].entry.commit)
    assert trained.repo().version("clf@production").label == "clf@v3"
    later = trained.run("careful")
    assert states(later) == {"wait": "cached", "ask": "completed"}


def test_story_21_the_pins_stand_in_the_record(trained: Workshop) -> None:
    trained.repo().promote("clf@v2", "production", "best")
    run = trained.run("inference")
    second = trained.repo().version("clf@v2")
    pins = {one.name: one.commit for one in run.entry.record.pins}
    assert pins["clf@production"] == pins["clf@production:model"] == second.id
    predict = trained.record(run.steps["predict"].entry.commit, "step.json")
    assert {one["name"]: one["commit"] for one in predict["inputs"]}["model"] == str(second.id)


def test_story_22_lineage_goes_up_to_the_raw_data(trained: Workshop) -> None:
    trained.repo().promote("clf@v2", "production", "best")
    run = trained.run("inference")
    repo = trained.repo()
    found = repo.lineage("predictions@latest")
    assert found.commit == run.steps["predict"].entry.commit
    raw = (trained.path / "data/raw.json").read_bytes()
    above = [
        ("step", "inference.predict"),
        ("version", "clf"),
        ("step", "training.train"),
        ("step", "training.preprocess"),
        ("step", "features.clean"),
        ("source", f"blob {hash_bytes(raw).short}"),
    ]
    assert tuple(above) in set(_lines(found))


def test_story_24_a_holder_cannot_be_deleted_and_numbers_never_return(trained: Workshop) -> None:
    trained.repo().promote("clf@v2", "production", "best")
    with pytest.raises(GitmlError, match="clf@v2 holds production") as caught:
        trained.repo().delete("clf@v2", "tidy")
    assert "gitml stage clear clf production" in (caught.value.hint or "")
    deleted = trained.repo().delete("clf@v3", "worse")
    assert (deleted.kind, deleted.label, deleted.remote) == ("version", "clf@v3", None)
    assert "refs/tags/clf@deleted/3" in trained.refs("refs/tags")
    repo = trained.repo()
    assert [one.label for one in repo.versions("clf")] == ["clf@v1", "clf@v2"]
    assert repo.version("clf@latest").label == "clf@v2"
    for name in ("clf@v3", "clf@3", "clf@v3:model"):
        with pytest.raises(NameNotFound, match="deleted"):
            trained.repo().resolve(name)
    again = trained.run("training", {"rate": 0.75})
    assert again.model_version is not None
    assert again.model_version.label == "clf@v4"


def test_story_25_everything_is_in_git_and_the_store(trained: Workshop) -> None:
    trained.repo().promote("clf@v1", "production", "first")
    trained.repo().promote("clf@v2", "production", "best")
    trained.run("inference")
    trained.repo().delete("clf@v3", "worse")
    before = _answers(trained.repo())
    for path in (trained.path / ".git/gitml").glob("index*"):
        path.unlink()
    assert trained.repo().reindex() > 0
    assert _answers(trained.repo()) == before
    for path in (trained.path / ".git/gitml").glob("index*"):
        path.unlink()
    assert _answers(trained.repo()) == before


def test_a_script_shares_the_hits_of_the_story(trained: Workshop) -> None:
    """Behind ``python FILE`` is the same run: it shares every hit."""
    trained.repo().promote("clf@v2", "production", "best")
    trained.run("inference")
    text = (
        INFERENCE
        + "\n\nif __name__ == '__main__':\n    print(inference().steps['predict'].status)\n"
    )
    trained.code("pipelines/inference.py", text)
    assert trained.python("pipelines/inference.py").out == "cached\n"


def _answers(repo: Repo) -> Any:
    """What stories 12, 15, 17 and 22 ask."""
    versions = repo.versions("clf")
    shown = [
        (one.label, one.parameters, one.metrics, one.metadata(), one.stages, one.archived)
        for one in versions
    ]
    artifacts = [{k: (v.digest, v.load()) for k, v in one.artifacts.items()} for one in versions]
    consumers = [[run.id for run in repo.consumers(one)] for one in versions]
    table = repo.compare(["clf"])
    events = [(e.tag, e.tagger, e.promotion) for e in versions[0].state.stages["production"]]
    rows = (table.metrics, table.parameters, table.artifacts)
    return shown, artifacts, consumers, rows, events, repo.lineage("predictions@latest")


def _lines(found: Ancestor) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every line of descent, from a record up to what has nothing above it."""
    own = (found.kind, found.label)
    for above in found.made_of:
        for line in _lines(above):
            yield (own, *line)
    if not found.made_of:
        yield (own,)
