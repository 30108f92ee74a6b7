"""What a record was made of is walked through records alone, as long and as folded as it may be."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import MissingBytes
from gitml.frozen import replace
from gitml.git import refs
from gitml.git.refs import Change
from gitml.history.lineage import Ancestor, Lineage
from gitml.history.record import run_ref
from gitml.testing.sealed import GitRepository
from tests.history.ledger import Ledger, Made, digest_of


@pytest.fixture
def lineage(ledger: Ledger) -> Lineage:
    return Lineage(ledger.index, ledger.odb)


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    """Python's stack with room for some 200 calls more: a long chain in little time."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(context=0)) + 200)
    yield
    sys.setrecursionlimit(before)


def drawn(node: Ancestor, depth: int = 0) -> list[str]:
    """The lineage as indented lines."""
    mark = " …" if node.repeated else ""
    lines = [f"{'  ' * depth}{node.role}: {node.kind} {node.label}{mark}"]
    return lines + [line for one in node.made_of for line in drawn(one, depth + 1)]


@pytest.fixture
def story(ledger: Ledger) -> dict[str, Made]:
    """features (a run of its own) → training → clf v1 → inference."""
    raw = ledger.source("raw")
    load = ledger.step("load", [raw], pipeline="features")
    ledger.run([load], pipeline="features")
    prepare = ledger.step("prepare", [load.feeds("table")])
    train = ledger.step("train", [prepare.feeds("x"), prepare.feeds("y")], artifact="model")
    version = ledger.version("clf", 1, steps=[prepare, train])
    given = replace(train.feeds("model"), commit=version)
    predict = ledger.step("predict", [given, load.feeds("table")], pipeline="inference")
    ledger.run([predict], pipeline="inference")
    return {"load": load, "prepare": prepare, "train": train, "predict": predict}


EXPECTED = f"""\
: step inference.predict
  model: version clf
    train: step training.train
      x: step training.prepare
        table: step features.load
          raw: source blob {digest_of("raw").short}
      y: step training.prepare …
  table: step features.load …
"""


def test_a_lineage_goes_up_to_the_raw_data(
    ledger: Ledger, lineage: Lineage, story: dict[str, Made]
) -> None:
    found = lineage.of(story["predict"].commit)
    assert "\n".join([*drawn(found), ""]) == EXPECTED
    (run,) = (one.id for one in ledger.index.runs(pipeline="inference"))
    assert drawn(lineage.of(run))[:2] == [": run inference", "  predict: step inference.predict"]
    assert lineage.sources([run]) == {ledger.source("raw").commit}
    assert lineage.of(ledger.code.commit) == Ancestor(
        "", "missing", ledger.code.commit, ledger.code.commit.short
    )


def test_it_needs_no_ref_of_what_lies_above(
    ledger: Ledger, lineage: Lineage, story: dict[str, Made], tmp_path: Path
) -> None:
    """A run was deleted, or this is a fresh clone: git still has what versions descend from."""
    run = ledger.index.runs(pipeline="features")[0]
    name = run_ref("features", run.record.started, run.id)
    refs.update(ledger.git, [Change(name, None, run.id)], "delete")
    ledger.index.refresh()
    assert "\n".join([*drawn(lineage.of(story["predict"].commit)), ""]) == EXPECTED
    ledger.repository.git("clone", "--quiet", str(ledger.repository.path), str(tmp_path / "c"))
    clone = Ledger.at(tmp_path / "c")
    version = clone.names().version("clf", "v1")
    there = Lineage(clone.index, clone.odb).of(version)
    assert drawn(there) == drawn(lineage.of(version))
    assert [one.kind for one in there.made_of[0].made_of] == ["step", "step"]
    clone.close()


def test_a_chain_may_be_longer_than_pythons_stack(
    ledger: Ledger, lineage: Lineage, shallow_stack: None
) -> None:
    raw = ledger.source("raw")
    made, given = [], raw
    for n in range(250):
        step = ledger.step(f"s{n}", [given])
        made.append(step)
        given = step.feeds("x")
    ledger.run(made)
    node, depth = lineage.of(made[-1].commit), 0
    while node.made_of:
        (node,) = node.made_of
        depth += 1
    assert depth == 250
    assert node.kind == "source"
    assert lineage.sources([made[-1].commit]) == {raw.commit}


def test_sources_behind_folds_and_of_records_that_are_being_built(
    ledger: Ledger, lineage: Lineage
) -> None:
    many = [ledger.source(f"{n}") for n in range(130)]
    old = ledger.step("old", loads=tuple(many))
    ledger.run([old])
    assert lineage.sources([old.commit]) == {one.commit for one in many}
    fresh = ledger.source("fresh")
    new = ledger.step("new", [fresh, old.feeds("x")])
    built = {new.commit: (ledger.code.commit, *new.parents)}
    found = lineage.sources([new.commit], built=built)
    assert found == {one.commit for one in [*many, fresh]}
    assert lineage.sources([fresh.commit], built={}) == {fresh.commit}


def test_records_that_are_cut_off_are_no_sources(ledger: Ledger, tmp_path: Path) -> None:
    """In a shallow clone a missing step must not become a parent as if it were a source."""
    prepare = ledger.step("prepare", [ledger.source("raw")])
    train = ledger.step("train", [prepare.feeds("x")])
    ledger.run([prepare, train])
    ledger.repository.git("update-ref", "refs/tags/x@1", train.commit.hex)
    url = f"file://{ledger.repository.path}"
    arguments = ["clone", "--quiet", "--depth=1", "--branch=x@1", url, str(tmp_path / "c")]
    ledger.repository.git("-c", "advice.detachedHead=false", *arguments)
    clone = Ledger.at(tmp_path / "c")
    shallow = Lineage(clone.index, clone.odb)
    with pytest.raises(MissingBytes, match=prepare.commit.short) as caught:
        shallow.sources([train.commit])
    assert "--unshallow" in (caught.value.hint or "")
    node = shallow.of(train.commit)
    assert [(one.kind, one.label) for one in node.made_of] == [("missing", prepare.commit.short)]
    GitRepository(tmp_path / "c").git("fetch", "--quiet", "--unshallow")
    assert shallow.sources([train.commit]) == {ledger.source("raw").commit}
    clone.close()


def test_a_missing_record_is_named(ledger: Ledger, lineage: Lineage) -> None:
    gone = ObjectId("1" * 40)
    assert lineage.of(gone, "x") == Ancestor("x", "missing", gone, gone.short)
