from __future__ import annotations

import importlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import skops_form
from gitml.materializers.base import Rules
from gitml.materializers.sklearn import SklearnMaterializer, difference
from gitml.materializers.sklearn_trust import FUNCTIONS, TYPES, check_indices
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

X = np.random.RandomState(0).rand(60, 4)
Y = (X[:, 0] > 0.5).astype(int)
NOTHING = Rules()
HERE = Rules(trusted_modules=frozenset({__name__}))


class Level(IntEnum):
    LOW = 1


class Mine(BaseEstimator):
    """An estimator of the user's own code."""

    def __init__(self, words: Any = None) -> None:
        self.words = words


def squared(values: Any) -> Any:
    return values**2


def save(value: object, rules: Rules = NOTHING) -> bytes:
    saved = SklearnMaterializer().save(value, rules)
    assert isinstance(saved, bytes)
    return saved


def load(raw: bytes, rules: Rules = NOTHING) -> Any:
    return SklearnMaterializer().load(SavedContent(raw), None, rules)


class TestSklearn(MaterializerSuite):
    materializer = SklearnMaterializer
    library = "sklearn"

    def values(self, folder: Path) -> Mapping[str, object]:
        frame = pd.DataFrame({"x": X[:, 0], "k": np.where(Y, "yes", "no")})
        mixed = ColumnTransformer([("n", StandardScaler(), ["x"]), ("c", OneHotEncoder(), ["k"])])
        texts = TfidfVectorizer(stop_words=["b", "a"]).fit(["a b cc", "cc dd"])
        return {
            "not fitted": LogisticRegression(C=0.5),
            "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
            "forest": RandomForestClassifier(3, random_state=0).fit(X, Y),
            "boosted": GradientBoostingClassifier(n_estimators=2, random_state=0).fit(X, Y),
            "histogram": HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, Y),
            "columns": mixed.fit(frame),
            "text": texts,
            "neighbours": KNeighborsClassifier().fit(X, Y),
            "network": MLPClassifier((3,), tol=1.0, random_state=0).fit(X, Y),
            "support": SVC(random_state=0).fit(X, Y),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "own type": (Mine(), f"not trusted here: {__name__}.Mine"),
            "own function": (FunctionTransformer(squared), f"not trusted here: {__name__}.squared"),
            "enum": (LogisticRegression(C=Level.LOW), "value.C would not come back"),
            "false as a key": (
                LogisticRegression(class_weight={False: 1, True: 2}),
                "class_weight",
            ),
            "live object": (LogisticRegression(C=(one for one in "")), "holds something"),
        }

    def same(self, left: Any, right: Any) -> bool:
        return difference(left, right) is None


@pytest.fixture(scope="module")
def tree() -> bytes:
    return save(DecisionTreeClassifier(random_state=0).fit(X, Y))


def test_a_loaded_model_predicts_the_same() -> None:
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    assert np.array_equal(load(save(model)).predict_proba(X), model.predict_proba(X))


def test_sets_are_written_in_one_order() -> None:
    words = [f"word{one}" for one in range(50)]
    for kind in (set, frozenset):
        first = save(Mine(kind(words)), HERE)
        assert save(Mine(kind(reversed(words))), HERE) == first
        assert load(first, HERE).words == kind(words)


def test_an_array_that_two_hold_stays_one() -> None:
    array = np.zeros(3)
    shared, apart = Mine([array, array]), Mine([array, array.copy()])
    assert save(shared, HERE) != save(apart, HERE)
    one, other = load(save(shared, HERE), HERE).words
    assert one is other
    one, other = load(save(apart, HERE), HERE).words
    assert one is not other


def test_the_file_is_plain_skops(tree: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(tree)) as archive:
        assert archive.namelist()[:2] == ["schema.json", "0.npy"]
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"__id__" not in archive.read("schema.json")
    model = skops.io.loads(tree, trusted=["sklearn.tree._tree.Tree"])
    assert model.predict(X).tolist() == Y.tolist()


def test_the_canonical_form_is_a_fixed_point(tree: bytes) -> None:
    assert skops_form.canonical(tree) == tree


# Trust


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "closure_of_step.py").write_text(
        "from os import system\n"
        "from sklearn.base import BaseEstimator\n"
        "class Own(BaseEstimator):\n"
        "    pass\n"
        "def shout(words):\n"
        "    raise RuntimeError(words)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("closure_of_step")
    del sys.modules["closure_of_step"]


def test_the_error_names_the_line_that_helps() -> None:
    with pytest.raises(UnsupportedValue) as caught:
        save(Mine())
    assert f'`trusted_types = ["{__name__}.Mine"]`' in str(caught.value.hint)
    allowed = Rules(trusted_types=frozenset({f"{__name__}.Mine"}))
    assert type(load(save(Mine(), allowed), allowed)) is Mine


def test_what_the_closure_defines_is_trusted_and_nowhere_else(module: Any) -> None:
    rules = Rules(trusted_modules=frozenset({"closure_of_step"}))
    raw = save(module.Own(), rules)
    assert type(load(raw, rules)) is module.Own
    with pytest.raises(UnsupportedValue, match=r"closure_of_step\.Own"):
        load(raw)
    function = save(FunctionTransformer(module.shout), rules)
    assert load(function, rules).func is module.shout


@pytest.mark.parametrize("name", ["system", "shout"])
def test_a_file_cannot_call_what_a_trusted_module_holds(module: Any, name: str) -> None:
    state = {
        "__class__": name,
        "__module__": "closure_of_step",
        "__loader__": "ConstructorFromReduceNode",
        "content": {
            "__class__": "tuple",
            "__module__": "builtins",
            "__loader__": "TupleNode",
            "content": [{**_text("exit 3")}],
        },
    }
    with pytest.raises(UnsupportedValue, match=rf"closure_of_step\.{name}"):
        load(_file(state), Rules(trusted_modules=frozenset({"closure_of_step"})))


def test_a_file_cannot_call_a_shipped_function() -> None:
    name = "sklearn.metrics._classification.accuracy_score"
    assert name in FUNCTIONS
    state = {
        "__class__": "accuracy_score",
        "__module__": "sklearn.metrics._classification",
        "__loader__": "ConstructorFromReduceNode",
        "content": {**_text("x")},
    }
    with pytest.raises(UnsupportedValue, match="accuracy_score"):
        load(_file(state))


def test_the_shipped_list_is_what_it_says() -> None:
    missing = []
    for name in sorted(TYPES | FUNCTIONS):
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            missing.append(name)  # of another release of the library
            continue
        assert callable(found), name
        assert isinstance(found, type) == (name in TYPES), name
        assert name.split(".")[0] in ("builtins", "numpy", "scipy", "sklearn")
    assert len(missing) < 5, missing


# Damage that only following an index would show


def test_a_tree_that_points_outside_itself_is_refused(tree: bytes) -> None:
    for field, wrong in (("left_child", 10**6), ("right_child", 0), ("feature", 99)):
        with pytest.raises(CorruptData, match="points outside"):
            load(_changed(tree, field, wrong))


def test_a_boosted_tree_that_points_outside_itself_is_refused() -> None:
    raw = save(HistGradientBoostingClassifier(max_iter=1, random_state=0).fit(X, Y))
    for field, wrong in (("left", 10**6), ("feature_idx", -1)):
        with pytest.raises(CorruptData, match="points outside"):
            load(_changed(raw, field, wrong))


def test_neighbours_outside_the_data_are_refused() -> None:
    model = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    check_indices(model)
    state = list(model._tree.__getstate__())
    state[1] = state[1] + 60
    model._tree.__setstate__(tuple(state))
    with pytest.raises(CorruptData, match="neighbours"):
        check_indices(model)


def test_a_tree_with_other_features_than_its_estimator_is_refused() -> None:
    model = RandomForestClassifier(2, random_state=0).fit(X, Y)
    model.estimators_[1] = DecisionTreeClassifier().fit(X[:, :2], Y)
    with pytest.raises(CorruptData, match="number of features"):
        check_indices(model)
    lone = DecisionTreeClassifier().fit(X, Y)
    lone.n_features_in_ = 2
    with pytest.raises(CorruptData, match="number of features"):
        check_indices(lone)


def test_compressed_members_are_not_unpacked(tree: bytes) -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(tree)) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(CorruptData, match="compressed"):
        load(packed.getvalue())


def test_metadata() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(frame, Y)
    facts = SklearnMaterializer().metadata(model)
    assert facts["class"] == "sklearn.pipeline.Pipeline"
    assert facts["n_features_in"] == 4
    assert facts["feature_names_in"] == ["a", "b", "c", "d"]
    params = facts["params"]
    assert isinstance(params, dict)
    assert params["logisticregression__C"] == 0.5
    assert params["standardscaler"] == "sklearn.preprocessing.StandardScaler"
    assert "n_features_in" not in SklearnMaterializer().metadata(LogisticRegression())


def _text(value: str) -> dict[str, Any]:
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
        "is_json": True,
    }


def _file(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps({**state, "protocol": 2}))
    return buffer.getvalue()


def _changed(raw: bytes, field: str, wrong: int) -> bytes:
    """The file with one field of the first node of its first tree changed."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, data in members.items():
        array = np.load(io.BytesIO(data)) if name.endswith(".npy") else None
        if array is not None and field in (array.dtype.names or ()):
            array[field][0] = wrong
            buffer = io.BytesIO()
            np.save(buffer, array)
            members[name] = buffer.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()
