"""Values of optional libraries, each through the conformance suite; what is absent skips."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gitml.materializers.base import Materializer, Rules
from gitml.materializers.boosting import LightgbmMaterializer, XgboostMaterializer
from gitml.materializers.dataset import DatasetMaterializer
from gitml.materializers.figure import FigureMaterializer, PlotlyMaterializer
from gitml.materializers.image import ImageMaterializer
from gitml.materializers.onnx import OnnxMaterializer
from gitml.materializers.polars import PolarsMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

ROWS = np.arange(24.0).reshape(12, 2)
LABELS = np.array([0, 1] * 6)


class LibrarySuite(MaterializerSuite):
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip(self.library)


def again(materializer: Materializer, value: object) -> Any:
    saved = materializer.save(value, Rules())
    return materializer.load(SavedContent(saved), None, Rules())


class TestPolars(LibrarySuite):
    materializer = PolarsMaterializer
    library = "polars"

    def values(self, folder: object) -> Mapping[str, object]:
        import polars as pl

        day = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
        return {
            "empty": pl.DataFrame(),
            "frame": pl.DataFrame(
                {"a": [1, None], "b": ["x", "ü"], "c": [[1.5], []], "d": [{"k": 1}, None]}
            ),
            "times": pl.DataFrame({"t": [day], "d": [day.date()]}),
            "categories": pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)}),
            "enum": pl.DataFrame({"a": pl.Series(["x"], dtype=pl.Enum(["y", "x"]))}),
            "narrow": pl.DataFrame({"a": pl.Series([1], dtype=pl.UInt8)}),
            "series": pl.Series("s", [1.0, float("nan"), None]),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        import polars as pl

        return {
            "objects": (pl.DataFrame({"a": [object()]}), "value['a'] has dtype Object"),
            "lazy": (pl.LazyFrame({"a": [1]}), "LazyFrame"),
        }

    def same(self, left: Any, right: Any) -> bool:
        dtypes = [str(getattr(one, "schema", getattr(one, "dtype", 0))) for one in (left, right)]
        return type(left) is type(right) and left.equals(right) and dtypes[0] == dtypes[1]


class TestImage(LibrarySuite):
    materializer = ImageMaterializer
    library = "PIL"

    def values(self, folder: object) -> Mapping[str, object]:
        from PIL import Image

        noise = (np.arange(9 * 7 * 4) * 37 % 256).astype(np.uint8).reshape(7, 9, 4)
        rgba = Image.fromarray(noise)
        wide = Image.fromarray(np.zeros((300, 400, 3), np.uint8))
        jpeg = io.BytesIO()
        rgba.convert("RGB").save(jpeg, "JPEG")
        return {
            **{mode: rgba.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA")},
            "palette": rgba.convert("RGB").quantize(5),
            "16 bits": Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 999),
            "many blocks": wide,
            "opened": Image.open(jpeg),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        from PIL import Image

        clear = Image.new("P", (1, 1))
        clear.info["transparency"] = 0
        return {
            "floats": (Image.new("F", (2, 2)), "mode F"),
            "none": (Image.new("L", (0, 1)), "size (0, 1)"),
            "transparent": (clear, "transparent colour"),
        }

    def same(self, left: Any, right: Any) -> bool:
        same = left.mode == right.mode and left.size == right.size
        colours = left.convert("RGBA").tobytes() == right.convert("RGBA").tobytes()
        return same and colours and left.tobytes() == right.tobytes()


class TestMatplotlib(LibrarySuite):
    materializer = FigureMaterializer
    library = "matplotlib"

    def values(self, folder: object) -> Mapping[str, object]:
        from matplotlib.figure import Figure

        from gitml import SVGString

        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        axes.plot([1, 3, 2], label="größe")
        axes.legend()
        axes.set_title("Birds $x^2$")
        return {"figure": figure, "drawn": SVGString("<svg/>")}

    def same(self, left: Any, right: Any) -> bool:
        from gitml.materializers.figure import draw

        drawn = draw(left) if hasattr(left, "axes") else left
        return type(drawn) is type(right) and bool(drawn == right)


def test_a_figure_needs_no_back_end_and_keeps_its_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    monkeypatch.setenv("MPLBACKEND", "no_such_back_end")
    figure = figure_module.Figure()
    canvas = figure.canvas
    assert "<svg" in again(FigureMaterializer(), figure)
    assert figure.canvas is canvas


def test_a_figure_that_cannot_be_drawn_says_why() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.text(0.5, 0.5, "$\\nonsense$")
    with pytest.raises(Exception, match="cannot draw this figure") as caught:
        FigureMaterializer().save(figure, Rules())
    assert "nonsense" in str(caught.value.__cause__)


class TestPlotly(LibrarySuite):
    materializer = PlotlyMaterializer
    library = "plotly"

    def values(self, folder: object) -> Mapping[str, object]:
        import plotly.graph_objects as go

        return {
            "empty": go.Figure(),
            "bars": go.Figure(go.Bar(x=["a", "b"], y=[1, 2.5]), {"title": {"text": "ü"}}),
            "arrays": go.Figure(go.Scatter(y=np.arange(3.0))),
        }

    def same(self, left: Any, right: Any) -> bool:
        return type(left) is type(right) and json.loads(left.to_json()) == json.loads(
            right.to_json()
        )


class TestXgboost(LibrarySuite):
    materializer = XgboostMaterializer
    library = "xgboost"

    def values(self, folder: object) -> Mapping[str, object]:
        import xgboost

        made = xgboost.DMatrix(ROWS, LABELS, feature_names=["a", "b"])
        settings = {"max_depth": 2, "objective": "binary:logistic", "nthread": 1}
        fitted = xgboost.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1)
        return {
            "booster": xgboost.train(settings, made, 3),
            "classifier": fitted.fit(ROWS, LABELS),
            "regressor": xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(ROWS, LABELS),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        pytest.importorskip("xgboost")
        import xgboost

        return {"not fitted": (xgboost.XGBClassifier(), "is not fitted")}

    def same(self, left: Any, right: Any) -> bool:
        import xgboost

        data = ROWS
        if type(left) is xgboost.Booster:
            data = xgboost.DMatrix(ROWS, feature_names=["a", "b"])
        else:
            assert {k: v for k, v in left.get_params().items() if v == v} == {
                k: v for k, v in right.get_params().items() if v == v
            }
        same = np.array_equal(left.predict(data), right.predict(data))
        return type(left) is type(right) and same


class TestLightgbm(LibrarySuite):
    materializer = LightgbmMaterializer
    library = "lightgbm"

    def values(self, folder: object) -> Mapping[str, object]:
        import lightgbm

        settings = {"verbose": -1, "min_data_in_leaf": 1, "num_threads": 1, "objective": "binary"}
        made = lightgbm.Dataset(ROWS, LABELS, feature_name=["a", "b"], free_raw_data=False)
        return {str(n): lightgbm.train(settings, made, n) for n in (1, 3)}

    def same(self, left: Any, right: Any) -> bool:
        same = np.array_equal(left.predict(ROWS), right.predict(ROWS))
        return same and left.num_trees() == right.num_trees()


class TestOnnx(LibrarySuite):
    materializer = OnnxMaterializer
    library = "onnx"

    def values(self, folder: object) -> Mapping[str, object]:
        from onnx import TensorProto, helper

        def model(name: str) -> object:
            shape = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1]) for one in "xy"]
            node = helper.make_node("Relu", ["x"], ["y"])
            graph = helper.make_graph([node], name, shape[:1], shape[1:])
            made = helper.make_model(graph)
            helper.set_model_props(made, {"b": "1", "a": "2"})
            return made

        return {"one": model("one"), "two": model("two")}

    def refused(self) -> Mapping[str, tuple[object, str]]:
        onnx = pytest.importorskip("onnx")
        return {
            "graph": (onnx.GraphProto(), "no model"),
        }


class TestDataset(LibrarySuite):
    materializer = DatasetMaterializer
    library = "datasets"

    def values(self, folder: object) -> Mapping[str, object]:
        import datasets

        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
        )
        made = datasets.Dataset.from_dict({"text": ["a", "ü"], "label": [1, 0]}, features=features)
        return {
            "labels": made,
            "chosen": made.select([1]),
            "plain": datasets.Dataset.from_dict({"x": [[1.5], []]}),
        }

    def same(self, left: Any, right: Any) -> bool:
        return bool(left.features == right.features) and left.to_dict() == right.to_dict()


def test_lightgbm_reads_the_file_itself() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    booster = TestLightgbm().values(None)["3"]
    booster.best_iteration = 2  # type: ignore[attr-defined]
    raw = LightgbmMaterializer().save(booster, Rules())
    read = lightgbm.Booster(model_str=raw.decode())
    assert read.num_trees() == 3 and np.array_equal(
        read.predict(ROWS, num_iteration=2),
        booster.predict(ROWS),  # type: ignore[attr-defined]
    )
    assert again(LightgbmMaterializer(), booster).best_iteration == 2


def test_xgboost_reads_the_file_itself() -> None:
    xgboost = pytest.importorskip("xgboost")
    fitted = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(ROWS, LABELS)
    raw = XgboostMaterializer().save(fitted, Rules())
    assert "learner" in json.loads(raw)
    assert xgboost.Booster(model_file=bytearray(raw)).num_boosted_rounds() == 2
