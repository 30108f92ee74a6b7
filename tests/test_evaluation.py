"""Confusion matrices and curves: what libraries compute, and errors that name the wrong number."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gitml import ConfusionMatrix, Curve
from gitml.errors import UsageError

NAN, INF = math.nan, math.inf


def sample(seed: int, rows: int = 60) -> tuple[list[int], list[float]]:
    """Truth and scores, with scores that come several times."""
    chance = random.Random(seed)
    truth = [0, 1, *(chance.randint(0, 1) for _ in range(rows))]
    return truth, [round(chance.random() * 0.7 + 0.3 * one, 1) for one in truth]


@pytest.mark.parametrize("seed", range(5))
def test_curves_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    calibration = pytest.importorskip("sklearn.calibration")
    truth, scores = sample(seed)
    roc = Curve.roc(truth, np.array(scores))
    fpr, tpr, thresholds = metrics.roc_curve(truth, scores)
    assert roc.x == pytest.approx(tuple(fpr))
    assert roc.y == pytest.approx(tuple(tpr))
    assert roc.thresholds == pytest.approx(tuple(thresholds))
    assert roc.area == pytest.approx(metrics.roc_auc_score(truth, scores))

    precision, recall, levels = metrics.precision_recall_curve(truth, scores)
    found = Curve.precision_recall(np.array(truth, bool), scores)
    assert found.x == pytest.approx(tuple(recall))
    assert found.y == pytest.approx(tuple(precision))
    assert found.thresholds == pytest.approx((*levels, INF))

    true, said = calibration.calibration_curve(truth, scores, n_bins=10)
    bins = Curve.calibration(truth, scores)
    assert (bins.x, bins.y) == (pytest.approx(tuple(said)), pytest.approx(tuple(true)))

    predicted = [int(one > 0.5) for one in scores]
    matrix = ConfusionMatrix.from_predictions(truth, np.array(predicted))
    assert matrix.labels == ("0", "1")
    assert [list(row) for row in matrix.counts] == metrics.confusion_matrix(
        truth, predicted
    ).tolist()
    assert matrix.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))


@pytest.mark.parametrize("predicted", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0]])
def test_equal_numbers_are_one_label(predicted: list[object]) -> None:
    """As in docs/python.md: a truth of 0 and 1, and `scores > 0.5`."""
    for column in (predicted, np.array(predicted)):
        matrix = ConfusionMatrix.from_predictions(np.array([0, 0, 1]), column)
        assert matrix == ConfusionMatrix(["0", "1"], [[1, 1], [0, 1]])
    listed = ConfusionMatrix.from_predictions(predicted, [0, 0, 1], labels=[1, 0])
    assert listed.labels == ("1", "0")
    assert ConfusionMatrix.from_predictions([True], [0]).labels == ("0", "True")


def test_labels_that_are_numbers_come_in_their_order() -> None:
    assert ConfusionMatrix.from_predictions([10, 9], [2, 9]).labels == ("2", "9", "10")
    assert ConfusionMatrix.from_predictions(["10"], ["9"]).labels == ("10", "9")


def test_a_matrix_keeps_labels_and_numbers() -> None:
    matrix = ConfusionMatrix(np.array(["cat", "dog"]), np.array([[3, 1], [0, 2]]))
    assert matrix == ConfusionMatrix(["cat", "dog"], [[3.0, 1], [-0.0, 2]])
    assert matrix.counts == ((3, 1), (0, 2))
    assert (matrix.total, matrix.accuracy) == (6, 5 / 6)
    assert list(matrix.rows()) == [("cat", 3, 1), ("dog", 0, 2)]
    assert math.isnan(ConfusionMatrix(["a"], [[0]]).accuracy)
    ordered = ConfusionMatrix.from_predictions(["b"], ["a"], labels=["b", "a", "c"])
    assert ordered.counts == ((0, 1, 0), (0, 0, 0), (0, 0, 0))
    shown = ConfusionMatrix(["<b>", "ok"], [[0.5, 0.25], [0, 0.25]])._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "0.25" in shown
    assert "<b>" not in shown


def test_a_curve_is_points_with_a_name() -> None:
    curve = Curve(np.array([0, 1]), np.float32([0, 0.5]), "lift", "share <x>", "lift")
    assert curve.points == ((0.0, 0.0), (1.0, 0.5))
    assert curve.area == 0.25
    shown = curve._repr_html_()
    assert 'points="0.0,240.0 320.0,0.0"' in shown
    assert "share &lt;x&gt;" in shown
    assert Curve([1], [1])._repr_html_().count("<polyline") == 1
    assert Curve([-1.7e308, 1.7e308], [0, 1])._repr_html_().count("<polyline") == 1
    assert len(Curve(range(100_000), range(100_000))._repr_html_()) < 20_000
    assert str(Curve([0, 1], [1, 0], thresholds=[INF, 0]).thresholds) == "(inf, 0.0)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConfusionMatrix([], []), "without labels"),
        (lambda: ConfusionMatrix(["a", "a"], [[1, 1], [1, 1]]), "label 'a' of a confusion"),
        (lambda: ConfusionMatrix(["a", "b"], [[1, 1]]), "2 labels need 2 times 2 counts"),
        (lambda: ConfusionMatrix(["a", "b"], [[1, 1], [1]]), "one of 1"),
        (lambda: ConfusionMatrix(["a"], [[NAN]]), r"counts\[0\]\[0\] is nan"),
        (lambda: ConfusionMatrix(["a"], [[INF]]), r"counts\[0\]\[0\] is inf"),
        (lambda: ConfusionMatrix(["a"], [[-1]]), "finite, and 0 or more"),
        (lambda: ConfusionMatrix(["a"], [["1"]]), "is '1', not a number"),
        (lambda: ConfusionMatrix.from_predictions([], []), "without labels"),
        (lambda: ConfusionMatrix.from_predictions([1], []), "truth has 1 values and predicted 0"),
        (
            lambda: ConfusionMatrix.from_predictions(["a"], ["b"], ["a"]),
            "'b' is none of the labels",
        ),
        (lambda: Curve([], []), "without points"),
        (lambda: Curve([0, 1], [0]), "unequal lengths: 2 x, 1 y"),
        (lambda: Curve([0], [0], thresholds=[1, 2]), "1 x, 1 y, 2 thresholds"),
        (lambda: Curve([0, NAN], [0, 1]), r"x\[1\] is nan"),
        (lambda: Curve([0], [-INF]), r"y\[0\] is -inf"),
        (lambda: Curve([0], [0], thresholds=[NAN]), r"thresholds\[0\] is nan"),
        (lambda: Curve([10**400], [0]), "too large"),
        (lambda: Curve([True], [0]), "is True, not a number"),
        (lambda: Curve([0], [0], 3), "should be text, not 3"),  # type: ignore[arg-type]
        (lambda: Curve.roc([], []), "of no rows"),
        (lambda: Curve.roc([1, 1], [0.1, 0.2]), "has no negatives"),
        (lambda: Curve.roc([0], [0.1]), "has no positives"),
        (lambda: Curve.roc([0, 2], [0.1, 0.2]), "0 or 1, not 2"),
        (lambda: Curve.roc(["no", "yes"], [0.1, 0.2]), "0 or 1, not 'no'"),
        (lambda: Curve.roc([0, 1], [0.1, NAN]), r"scores\[1\] is nan"),
        (lambda: Curve.precision_recall([0, 0], [1, 2]), "has no positives"),
        (lambda: Curve.calibration([0, 1], [0.1, 1.2]), "1.2 is no probability"),
        (lambda: Curve.calibration([0, 1], [0.1, 0.2], bins=0), "number of bins is 0"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
