"""The two cases that decided the shape of records: equal intermediate bytes, amended secrets."""

from __future__ import annotations

import json

import pytest

from tests.workshop import TRAINING, Workshop, states

TOLERANT = TRAINING.replace(
    'return [row * 2 for row in json.loads(raw.read_text())["rows"]]',
    'return [row * 2 for row in json.loads(raw.read_text())["rows"] if row is not None]',
)
"""Its ``prepare`` drops empty rows: different data files can give the same table."""


def source_of(workshop: Workshop, run: object) -> str:
    """The source commit that the ``prepare`` step of a run has as an input."""
    commit = run.steps["prepare"].entry.commit  # type: ignore[attr-defined]
    return str(workshop.record(commit, "step.json")["inputs"][0]["commit"])


@pytest.fixture
def tolerant(workshop: Workshop) -> Workshop:
    workshop.write("data/raw.json", json.dumps({"rows": [1, 2, 3]}))
    workshop.code("pipelines/training.py", TOLERANT)
    return workshop


@pytest.mark.parametrize("tracked", [True, False])
def test_changed_data_with_equal_intermediate_bytes(tolerant: Workshop, tracked: bool) -> None:
    """The consumer is cached, and the version descends from both data files all the same."""
    if not tracked:
        tolerant.git("rm", "--quiet", "--cached", "data/raw.json")
        tolerant.write(".gitignore", "__pycache__/\ndata/\n")
        tolerant.commit("data is ignored")
    first = tolerant.run()
    tolerant.write("data/raw.json", json.dumps({"rows": [1, None, 2, 3]}))
    if tracked:
        tolerant.commit("new data")
    second = tolerant.run()
    assert states(second) == {"prepare": "completed", "train": "cached"}
    assert second.made_version
    assert second.model_version is not None
    assert second.model_version.label == "clf@v2"
    sources = source_of(tolerant, first), source_of(tolerant, second)
    assert sources[0] != sources[1]
    tolerant.git("reflog", "expire", "--expire=now", "--all")
    tolerant.git("gc", "--quiet", "--prune=now")
    for source, versions in zip(sources, (["clf@v1", "clf@v2"], ["clf@v2"]), strict=True):
        assert tolerant.git("cat-file", "-t", source) == "commit"
        assert tolerant.git("tag", "--contains", source).splitlines() == versions
    store = tolerant.repo().store
    for source in sources:
        digest = tolerant.record(source, "source.json")["digest"].removeprefix("blake3:")
        assert any(one.digest.hex == digest for one in store.objects())
    assert tolerant.problems() == []


def test_going_back_to_the_first_data_leads_to_the_first_version(tolerant: Workshop) -> None:
    first = tolerant.run()
    raw = tolerant.path / "data/raw.json"
    before = raw.read_text()
    for text in (json.dumps({"rows": [1, None, 2, 3]}), before):
        raw.write_text(text)
        tolerant.commit("other data")
        last = tolerant.run()
    assert states(last) == {"prepare": "cached", "train": "cached"}
    assert last.model_version is not None
    assert first.model_version is not None
    # Its bytes are those of v1 and of v2; the newest of the versions with these steps is named.
    assert last.model_version.artifacts["model"].digest == (
        first.model_version.artifacts["model"].digest
    )
    assert tolerant.problems() == []


SECRET = "AKIA-a-key-that-must-not-leak"


@pytest.mark.parametrize("dirty", [False, True])
def test_a_later_run_does_not_publish_an_amended_secret(workshop: Workshop, dirty: bool) -> None:
    """Cached steps of an abandoned commit are made again on the run's own code."""
    workshop.training()
    workshop.write("settings.py", "debug = True\n")
    base = workshop.commit("settings")
    workshop.write("settings.py", f"debug = True\nkey = {SECRET!r}\n")
    abandoned = "" if dirty else workshop.commit("work in progress")
    leaked = workshop.run()
    if dirty:
        abandoned = str(leaked.entry.record.code.commit)
    secret = workshop.git("rev-parse", f"{abandoned}:settings.py")
    workshop.write("settings.py", "debug = False\n")
    workshop.git("add", "--all")
    if dirty:
        workshop.git("commit", "--quiet", "--message", "without the key")
    else:
        workshop.git("commit", "--quiet", "--amend", "--message", "without the key")
    assert workshop.git("rev-parse", "HEAD^") == base

    later = workshop.run()
    assert states(later) == {"prepare": "cached", "train": "cached"}
    reached = workshop.reachable(str(later.id))
    assert abandoned not in reached
    assert secret not in reached
    assert str(leaked.id) not in reached
    assert SECRET not in workshop.git("log", "-p", "--full-diff", str(later.id))
    for name in ("prepare", "train"):
        original = str(leaked.steps[name].entry.commit)
        copy = str(later.steps[name].entry.commit)
        assert original not in reached
        trailers = workshop.git("log", "-1", "--format=%(trailers:only,unfold)", copy).splitlines()
        assert f"Gitml-Reused: {original}" in trailers
        assert workshop.record(copy, "step.json")["reused"] == original
    assert source_of(workshop, leaked) in reached
    assert workshop.problems() == []


def test_a_secret_does_not_come_back_through_another_pipeline_s_output(bob: Workshop) -> None:
    """Training once used features of an abandoned commit; then they were made again."""
    bob.write("settings.py", f"key = {SECRET!r}\n")
    abandoned = bob.commit("work in progress")
    bob.run("features")
    bob.git("rm", "--quiet", "settings.py")
    bob.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "without the key")
    stained = bob.run("training")
    assert abandoned in bob.reachable(str(stained.id)), "it was made of just that"
    clean = bob.run("features")
    assert states(clean) == {"clean": "cached"}
    later = bob.run("training")
    assert states(later) == {"preprocess": "cached", "train": "cached"}
    assert abandoned not in bob.reachable(str(later.id))
    assert SECRET not in bob.git("log", "-p", "--full-diff", str(later.id))
    assert bob.problems() == []


def test_the_sources_of_an_original_are_reached_though_its_inputs_are_not(
    tolerant: Workshop,
) -> None:
    """The cached consumer stands on an abandoned commit *and* on data that the run did not see."""
    tolerant.write("notes.txt", "abandoned")
    tolerant.commit("work in progress")
    first = tolerant.run()
    tolerant.write("data/raw.json", json.dumps({"rows": [1, None, 2, 3]}))
    tolerant.write("notes.txt", "kept")
    tolerant.git("add", "--all")
    tolerant.git("commit", "--quiet", "--amend", "--message", "amended")
    second = tolerant.run()
    assert states(second) == {"prepare": "completed", "train": "cached"}
    train = second.steps["train"].entry.commit
    record = tolerant.record(train, "step.json")
    assert record["reused"] == str(first.steps["train"].entry.commit)
    assert record["reached"] == [source_of(tolerant, first)]
    code = tolerant.git("rev-parse", "HEAD")
    prepare = str(second.steps["prepare"].entry.commit)
    assert tolerant.parents(train) == [code, prepare, source_of(tolerant, first)]
    third = tolerant.run()
    assert [third.steps[one].entry.commit for one in ("prepare", "train")] == [
        second.steps[one].entry.commit for one in ("prepare", "train")
    ]
    assert tolerant.problems() == []


def test_a_copy_of_a_copy_names_the_first_original(workshop: Workshop) -> None:
    workshop.training()
    first = workshop.run()
    for text in ("two", "three"):
        workshop.write("notes.txt", text)
        workshop.git("add", "--all")
        workshop.git("commit", "--quiet", "--amend", "--message", text)
        last = workshop.run()
    record = workshop.record(last.steps["train"].entry.commit, "step.json")
    assert record["reused"] == str(first.steps["train"].entry.commit)


def test_a_snapshot_of_the_same_tree_is_the_same_commit_again(workshop: Workshop) -> None:
    """Running dirty and committing afterwards keeps the steps, and makes a clean version."""
    workshop.training()
    text = (workshop.path / "pipelines/training.py").read_text()
    workshop.write("pipelines/training.py", text.replace("row * 2", "row * 3"))
    dirty = workshop.run()
    assert dirty.made_version
    workshop.commit("three times")
    clean = workshop.run()
    assert states(clean) == {"prepare": "cached", "train": "cached"}
    assert clean.steps["train"].entry.commit == dirty.steps["train"].entry.commit
    assert clean.made_version, "the version of a snapshot does not stand for clean code"
    again = workshop.run()
    assert not again.made_version
    assert again.model_version is not None
    assert clean.model_version is not None
    assert again.model_version.id == clean.model_version.id
    assert workshop.problems() == []
