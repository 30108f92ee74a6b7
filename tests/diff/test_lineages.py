"""Where two lineages part: the step that first differs, and by what of its own."""

from __future__ import annotations

import json

import pytest

from gitml.diff.lineages import UNSTEADY, StepPair
from gitml.errors import NameNotFound
from tests.workshop import TRAINING, Workshop

SHARED = """\
from gitml import step


@step
def preprocess(rows: list) -> list:
    return [row * 2 for row in rows]
"""
TWO = """\
from gitml import pipeline, step
from shop.shared import preprocess


@step
def load(n: int = 3) -> list:
    return list(range(n))


@step
def fit(rows: list) -> int:
    return sum(rows)


@step
def predict(rows: list) -> int:
    return max(rows)


@pipeline
def training():
    fit(preprocess(load()))


@pipeline
def inference():
    predict(preprocess(load(n=5)))
"""


def pairs(workshop: Workshop, *names: str, step: str | None = None) -> dict[str, StepPair]:
    found = workshop.repo().compare_lineages(*names, step)
    return {one.name: one for one in found}


def causes(pair: StepPair) -> list[str]:
    return [change.part for change in pair.causes]


@pytest.fixture
def shop(workshop: Workshop) -> Workshop:
    """Two pipelines with one step in common, each run once."""
    workshop.code("shop/__init__.py", "")
    workshop.code("shop/shared.py", SHARED)
    workshop.code("pipelines/both.py", TWO)
    workshop.run("training")
    workshop.run("inference")
    return workshop


def test_a_step_of_two_pipelines_has_the_same_code_until_it_is_edited(shop: Workshop) -> None:
    assert pairs(shop, "training", "inference", step="preprocess")["preprocess"].same_code
    shop.code("shop/shared.py", SHARED.replace("row * 2", "row * 3"))
    shop.run("inference")
    (pair,) = pairs(shop, "training", "inference", step="preprocess").values()
    assert pair.old and pair.new and not pair.same_code
    assert pair.old.record.code_id != pair.new.record.code_id


def test_what_one_side_alone_has_is_named(shop: Workshop) -> None:
    found = pairs(shop, "training", "inference")
    assert found["fit"].new is None
    assert found["predict"].old is None
    assert causes(found["load"]) == ["parameter n"]
    assert found["preprocess"].follows == ("load",)
    with pytest.raises(NameNotFound, match="lineage of inference"):
        pairs(shop, "training", "inference", step="fit")


def test_the_first_step_that_differs_comes_first_and_others_follow(workshop: Workshop) -> None:
    workshop.training().run()
    workshop.write("data/raw.json", json.dumps({"rows": [5]}))
    workshop.run()
    found = pairs(workshop, "clf@v1", "clf@v2")
    assert list(found) == ["prepare", "train"]
    assert causes(found["prepare"]) == ["input raw"]
    assert (found["train"].causes, found["train"].follows) == ((), ("prepare",))


def test_a_cause_of_its_own_stands_beside_what_follows(workshop: Workshop) -> None:
    workshop.training().run()
    workshop.code("pipelines/training.py", TRAINING.replace("row * 2", "row * 3"))
    workshop.run(parameters={"rate": 0.1})
    found = pairs(workshop, "clf@v1", "clf@v2")
    assert causes(found["prepare"]) == ["code function prepare"]
    assert causes(found["train"]) == ["parameter rate"]
    assert found["train"].follows == ("prepare",)


def test_a_lineage_does_not_differ_from_itself_nor_from_its_cached_run(workshop: Workshop) -> None:
    workshop.training().run()
    workshop.run()
    assert not any(one.differs for one in pairs(workshop, "clf@v1", "training").values())


def test_a_step_that_is_not_deterministic_is_found(workshop: Workshop) -> None:
    uncertain = TRAINING.replace("import json\n", "import json\nimport uuid\n", 1).replace(
        'json.loads(raw.read_text())["rows"]]', "[uuid.uuid4().int]]"
    )
    workshop.training()
    workshop.code("pipelines/training.py", uncertain)
    workshop.run()
    workshop.run(cache=False)
    found = pairs(workshop, "clf@v1", "clf@v2")
    assert found["prepare"].causes == (UNSTEADY,)
    assert found["train"].follows == ("prepare",)


def test_what_a_step_loads_by_name_leads_to_the_steps_behind_it(workshop: Workshop) -> None:
    workshop.training().run()
    workshop.code(
        "pipelines/use.py",
        """\
        from gitml import Model, pipeline, step


        @step
        def apply() -> int:
            return len(Model("clf", version="latest").load("model")["weights"])


        @pipeline
        def use():
            apply()
        """,
    )
    first = workshop.run("use")
    workshop.run(parameters={"rate": 0.1})
    second = workshop.run("use")
    found = pairs(workshop, str(first.id), str(second.id))
    assert causes(found["train"]) == ["parameter rate"]
    assert found["apply"].follows == ("train",)
