"""What a model takes: inferred when its version is recorded, compared, checked when it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gitml import Model
from gitml.cli.model import _lines
from gitml.entities.ids import Digest
from gitml.entities.records import Feature, Output, Signature
from gitml.errors import UnsupportedValue, UsageError
from gitml.pipelines.signature import changed, check, misfits, signature_of, words
from tests.workshop import Copy, Workshop, model_for_copies

TAKES = Signature((Feature("age", "int64"), Feature("name", "object")), 2, ("cat", "dog"))


def model(materializer: str, **known: Any) -> Output:
    digest = Digest("00" * 32)
    return Output("model", "model", digest, "blob", 1, f"{materializer}/1", "type", known)


def test_the_model_says_the_names_and_the_table_with_all_of_them_the_types() -> None:
    made = model("sklearn", n_features_in=2, feature_names_in=["b", "a"], classes=[0, 1])
    found = signature_of(made, [{"a": "text"}, {"a": "int64", "b": "float64", "y": "bool"}])
    assert found == Signature((Feature("b", "float64"), Feature("a", "int64")), 2, (0, 1))


@pytest.mark.parametrize(
    ("made", "names", "count"),
    [
        (model("sklearn", n_features_in=3), [], 3),
        (model("xgboost", features=["a", "b"]), ["a", "b"], 2),
        (model("xgboost", features=4), [], 4),
        (model("lightgbm", features=["Column_0", "Column_1"]), [], 2),
        (model("lightgbm", features=[*map(str, range(200)), "and 5 more"]), None, 205),
    ],
)
def test_columns_without_names_are_counted(
    made: Output, names: list[str] | None, count: int
) -> None:
    found = signature_of(made)
    assert found is not None and found.count == count
    if names is None:
        names = [str(n) for n in range(200)]
    assert found.features == tuple(Feature(one) for one in names)


@pytest.mark.parametrize(
    "made",
    [model("sklearn", params={}), model("json"), model("torch"), model("lightgbm", features=[])],
)
def test_where_a_model_says_nothing_nothing_is_guessed(made: Output) -> None:
    assert signature_of(made, [{"a": "int64"}]) is None


def test_a_table_with_more_columns_and_other_widths_fits() -> None:
    assert misfits(TAKES, {"name": "large_string", "age": "UInt8", "more": "bool"}) == []
    assert misfits(TAKES, {"name": "category", "age": "double"}) == []
    assert misfits(TAKES, {"name": "null", "age": "mystery"}) == []


def test_what_is_missing_or_of_another_kind_is_named() -> None:
    assert misfits(TAKES, {"name": "string"}) == ["it lacks age"]
    assert misfits(TAKES, {"name": "string"}, whole=False) == []
    wrong = misfits(TAKES, {"name": "int64", "age": "datetime64[ns]"})
    assert wrong == [
        "age is datetime64[ns], and was int64 when it was fitted",
        "name is int64, and was object when it was fitted",
    ]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"name": ["x"], "age": [1]}),
        pa.table({"name": ["x"], "age": [1]}),
    ],
    ids=["pandas", "arrow"],
)
def test_frames_and_tables_are_checked(table: Any) -> None:
    check(TAKES, table, "clf@v1:model")
    other = table.drop(columns=["age"]) if isinstance(table, pd.DataFrame) else table.drop(["age"])
    with pytest.raises(UnsupportedValue, match=r"does not fit clf@v1:model: it lacks age") as error:
        check(TAKES, other, "clf@v1:model")
    assert error.value.hint == "it takes age int64, name object → cat, dog"


def test_polars_frames_are_checked() -> None:
    pl = pytest.importorskip("polars")
    check(TAKES, pl.DataFrame({"name": ["x"], "age": [1]}), "it")
    with pytest.raises(UnsupportedValue, match="age is String"):
        check(TAKES, pl.DataFrame({"name": ["x"], "age": ["1"]}), "it")


def test_arrays_are_checked_by_their_width() -> None:
    check(TAKES, np.zeros((5, 2)), "it")
    with pytest.raises(UnsupportedValue, match="it has 3 columns, and 2 are taken"):
        check(TAKES, np.zeros((5, 3)), "it")
    with pytest.raises(UnsupportedValue, match="no table"):
        check(TAKES, [1, 2], "it")
    unnamed = Signature((), 2)
    check(unnamed, pd.DataFrame({"x": [1], "y": [2]}), "it")
    with pytest.raises(UnsupportedValue, match="it has 1 columns"):
        check(unnamed, pd.DataFrame({"x": [1]}), "it")


def test_changes_are_told_in_words() -> None:
    other = Signature((Feature("age", "object"), Feature("mass", "float64")), 2, ("cat", "cow"))
    assert changed(TAKES, other) == [
        "mass is new",
        "name is not taken any more",
        "age was int64 and is object",
        "gives cat, cow, and gave cat, dog",
    ]
    turned = Signature(TAKES.features[::-1], 2, TAKES.classes)
    assert changed(TAKES, turned) == ["the columns stand in another order"]
    assert changed(Signature((), 3), Signature((), 4)) == ["3 columns are now 4"]
    assert words(Signature(tuple(Feature(f"c{n}") for n in range(200)), 300)).endswith("292 more")


PIPELINE = """
from typing import Annotated
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from gitml import Model, pipeline, step

FRAME = pd.DataFrame({"age": [1, 2, 3], "mass": [1.0, 2.5, 3.0], "kind": ["a", "b", "a"]})

@step
def prepare() -> Annotated[pd.DataFrame, "table"]:
    return FRAME

@step
def spoil(table: pd.DataFrame, drop: str) -> Annotated[pd.DataFrame, "spoiled"]:
    return table.drop(columns=[drop]) if drop else table.astype({"age": str})

@step
def train(table: pd.DataFrame, wide: bool) -> Annotated[GaussianNB, "model"]:
    return GaussianNB().fit(table[["mass", "age"] if wide else ["age"]], table["kind"])

@step
def rate(table: pd.DataFrame) -> Annotated[GaussianNB, "rater"]:
    columns = table[["age"]].assign(ratio=table["age"] / table["mass"])
    return GaussianNB().fit(columns, table["kind"])

@step
def judge(model: GaussianNB, spoiled: pd.DataFrame) -> None:
    pass

@pipeline(model=Model("clf"))
def training(wide: bool = True, drop: str = "kind"):
    table = prepare()
    judge(train(table, wide), spoil(table, drop))

@pipeline
def rating():
    table = prepare()
    judge(rate(table), table)

@step
def use() -> None:
    clf = Model("clf", version=1)
    clf.load("model")
    clf.check(FRAME[["age"]])

@pipeline
def using():
    use()

@step
def compute(model: GaussianNB, table: pd.DataFrame) -> None:
    pass

@pipeline
def serving():
    clf = Model("clf", version=1)
    compute(clf.artifact("model"), spoil(prepare(), "mass"))
"""


@pytest.fixture(scope="module")
def model_of_fitted(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    pytest.importorskip("sklearn")
    with model_for_copies(tmp_path_factory.mktemp("fitted")) as made:
        made.code("pipelines/training.py", PIPELINE)
        made.run("training")
        made.run("training", {"wide": False})
    return made


@pytest.fixture
def fitted(model_of_fitted: Workshop, copied: Copy) -> Workshop:
    """``clf@v1``, which takes mass and age, and ``clf@v2``, which takes age alone."""
    return copied(model_of_fitted)


def notes(workshop: Workshop, target: str, parameters: Any = None) -> list[str]:
    told: list[str] = []
    workshop.run(target, parameters, tell=lambda event: told.extend(event.notes))
    return [one for one in told if "does not fit" in one]


def test_a_version_records_what_its_model_takes_and_gives(fitted: Workshop) -> None:
    version = fitted.repo().version("clf@v1")
    takes = Signature((Feature("mass", "float64"), Feature("age", "int64")), 2, ("a", "b"))
    assert version.signatures == {"model": takes}
    assert fitted.record(version.id, "model.json")["signatures"]["model"]["count"] == 2
    card = fitted.git("show", f"{version.id}:.gitml/README.md")
    assert "## What model takes" in card and "| mass | float64 |" in card
    assert fitted.problems() == []


def test_versions_are_compared_by_it(fitted: Workshop) -> None:
    repo = fitted.repo()
    found = repo.diff(["clf@v1", "clf@v2"], fitted.path).records
    assert found is not None and found
    (change,) = found.signatures
    assert (change.name, change.lines) == ("model", ("mass is not taken any more",))
    compared = repo.compare(["clf"])
    assert "model of clf@v2: mass is not taken any more" in list(_lines(compared, wide=True))
    assert "mass float64, age int64" in compared._repr_html_()


def test_a_step_is_told_when_its_table_does_not_fit_its_model(fitted: Workshop) -> None:
    assert notes(fitted, "training", {"drop": "mass"}) == [
        "judge: spoiled does not fit model: it lacks mass"
    ]
    (note,) = notes(fitted, "training", {"drop": ""})
    assert note.startswith("judge: spoiled does not fit model: age is ")
    assert note.endswith("and was int64 when it was fitted")
    assert notes(fitted, "rating") == []  # its ratio is computed in the step, here and there
    assert notes(fitted, "serving") == ["compute: table does not fit model: it lacks mass"]


def test_a_model_by_name_checks_a_table(fitted: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fitted.path)
    frame = pd.DataFrame({"age": [1], "mass": [2.0]})
    Model("clf", version=1).check(frame)
    with pytest.raises(UnsupportedValue, match="does not fit clf@v1:model: it lacks mass"):
        Model("clf", version=1).check(frame[["age"]], "model")
    Model("clf", version=2).check(frame[["age"]])
    assert "it lacks mass" in str(fitted.fails("using"))


def test_a_version_without_a_signature_says_so(workshop: Workshop) -> None:
    workshop.training().run()
    version = workshop.repo().version("clf@v1")
    assert version.entry.record.signatures is None and version.signatures == {}
    assert "signatures" not in workshop.record(version.id, "model.json")
    with pytest.raises(UsageError, match="no signature"):
        version.check(pd.DataFrame())
