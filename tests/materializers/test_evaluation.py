from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping

import pytest

from gitml import ConfusionMatrix, Curve
from gitml.errors import CorruptData
from gitml.materializers.arrow import read
from gitml.materializers.base import Rules
from gitml.materializers.evaluation import (
    ConfusionMatrixMaterializer,
    CurveMaterializer,
    curve_of,
    matrix_of,
)
from gitml.testing.materializer_suite import MaterializerSuite


class TestConfusionMatrix(MaterializerSuite):
    materializer = ConfusionMatrixMaterializer
    library = "numpy"

    def values(self, folder: object) -> Mapping[str, object]:
        return {
            "one": ConfusionMatrix(["a"], [[0]]),
            "words": ConfusionMatrix(["Größe", 'a "quote"', "\x1b[2J"], [[3, 1, 0]] * 3),
            "shares": ConfusionMatrix(["a", "b"], [[0.1 + 0.2, 1e-300], [1e300, 1]]),
            "many": ConfusionMatrix(range(40), [[n] * 40 for n in range(40)]),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "a list": ([[1]], "is a list, not a confusion matrix"),
            "surrogate": (ConfusionMatrix(["\udc80"], [[1]]), "lone surrogate"),
        }


class TestCurve(MaterializerSuite):
    materializer = CurveMaterializer
    library = "pyarrow"

    def values(self, folder: object) -> Mapping[str, object]:
        return {
            "point": Curve([0], [0]),
            "roc": Curve.roc([0, 1, 1, 0, 1], [0.1, 0.9, 0.4, 0.4, 0.8]),
            "named": Curve([0, 1], [1e300, -1e300], "lift", "Anteil µ", "\x1b[2J"),
            "back": Curve([1, 0.5, 0.7], [0, 0, 0], thresholds=[math.inf, 1, -math.inf]),
            "long": Curve(range(3000), [n % 7 for n in range(3000)]),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "a tuple": (((0, 1),), "is a tuple, not a curve"),
            "surrogate": (Curve([0], [0], "\udc80"), "lone surrogate"),
        }


def test_other_tools_can_read_the_bytes() -> None:
    saved = ConfusionMatrixMaterializer().save(ConfusionMatrix(["a"], [[2]]), Rules())
    assert json.loads(saved) == {"labels": ["a"], "counts": [[2]]}
    roc = Curve.roc([0, 1], [0.2, 0.8])
    table = read(CurveMaterializer().save(roc, Rules()))
    assert table.column_names == ["x", "y", "threshold"]
    assert table.column("x").to_pylist() == list(roc.x)


def test_metadata_says_how_good_it_is() -> None:
    matrix = ConfusionMatrix(["a", "b"], [[2, 1], [0, 1]])
    known = {"labels": 2, "total": 4, "accuracy": 0.75}
    assert ConfusionMatrixMaterializer().metadata(matrix) == known
    assert "accuracy" not in ConfusionMatrixMaterializer().metadata(ConfusionMatrix(["a"], [[0]]))
    roc = CurveMaterializer().metadata(Curve.roc([0, 1], [0.2, 0.8]))
    assert roc == {"kind": "roc", "points": 3, "area": 1.0}
    assert "area" not in CurveMaterializer().metadata(Curve([0, 1e308], [1e308, 1e308]))


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'{"labels": ["a"], "counts": [[NaN]]}',
        b'{"labels": ["a"], "counts": [["1"]]}',
        b'{"labels": "a", "counts": [[1]]}',
        b'{"labels": ["a"], "counts": 3}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_matrix_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptData, match="not a confusion matrix"):
        matrix_of(raw)


def test_a_table_is_no_curve() -> None:
    pa = pytest.importorskip("pyarrow")
    sink = io.BytesIO()
    for table in (
        pa.table({"x": [1.0], "y": [1.0]}),
        pa.table({"x": [1.0], "y": [math.nan]}).replace_schema_metadata({"gitml.curve": "{}"}),
        pa.table({"x": [1.0]}).replace_schema_metadata(
            {"gitml.curve": '{"kind": "a", "x_label": "x", "y_label": "y"}'}
        ),
    ):
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(CorruptData, match="not a curve"):
            curve_of(sink.getvalue())
