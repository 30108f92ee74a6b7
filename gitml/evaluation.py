"""What an evaluation gives beside numbers: confusion matrices, and curves such as ROC.

Plain values without a library behind them: a step returns one and it is an artifact that is shown,
drawn and compared. What is no number is refused here, where it is known which one it was.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from typing import Any

from gitml.errors import UsageError
from gitml.frozen import Frozen
from gitml.htmltable import curve, table

_LARGEST = 1 << 53


class ConfusionMatrix(Frozen):
    """How often each label was taken for each: ``counts[i][j]`` times label i for label j.

    Labels are text, those of another type are written as text; counts are whole numbers or, where a
    matrix is normalised, others from 0 on. Raises UsageError for no labels, for one that comes
    twice, for counts that are no square of the labels' length, negative, NaN or infinite.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]

    def __init__(self, labels: Iterable[Any], counts: Iterable[Iterable[Any]]) -> None:
        names = tuple(str(_plain(one)) for one in labels)
        rows = [list(row) for row in counts]
        if not names:
            raise UsageError(
                "a confusion matrix without labels", hint="`ConfusionMatrix(['a'], …)`"
            )
        twice = sorted({one for one in names if names.count(one) > 1})
        if twice:
            raise UsageError(f"the label {twice[0]!r} of a confusion matrix comes twice")
        wrong = [row for row in rows if len(row) != len(names)]
        if len(rows) != len(names) or wrong:
            has = f"{len(rows)} rows" + (f", one of {len(wrong[0])}" if wrong else "")
            size = len(names)
            raise UsageError(
                f"{size} labels need {size} times {size} counts, and there are {has}",
                hint="a row for each true label, a column for each predicted one",
            )
        kept = tuple(
            tuple(_count(one, f"counts[{i}][{j}]") for j, one in enumerate(row))
            for i, row in enumerate(rows)
        )
        super().__init__(names, kept)

    @classmethod
    def from_predictions(
        cls, truth: Iterable[Any], predicted: Iterable[Any], labels: Iterable[Any] | None = None
    ) -> ConfusionMatrix:
        """The matrix of two columns of labels, in the order of ``labels``, which refuses others.

        Equal numbers are one label, True and 1 too: it is called as ``labels``, else the truth,
        has it. Raises UsageError for columns of unequal lengths, and for empty ones without
        ``labels``.
        """
        pairs = [
            (_plain(one), _plain(other))
            for one, other in _pairs(truth, predicted, "truth", "predicted")
        ]
        given = None if labels is None else [_plain(one) for one in labels]
        texts: dict[Any, str] = {}
        for value in chain(given or (), *zip(*pairs, strict=True)):
            texts.setdefault(_same(value), str(value))
        known = list(dict.fromkeys(texts[one] for one in _in_order(texts)))
        names = known if given is None else [str(one) for one in given]
        places = {name: place for place, name in enumerate(names)}
        unknown = [one for one in known if one not in places]
        if unknown:
            raise UsageError(f"{unknown[0]!r} is none of the labels {', '.join(names)}")
        counts = [[0] * len(names) for _ in names]
        for one, other in pairs:
            counts[places[texts[_same(one)]]][places[texts[_same(other)]]] += 1
        return cls(names, counts)

    @property
    def total(self) -> float:
        """The sum of all counts."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """The share of those that were taken for what they are; NaN of no counts."""
        right = sum(row[place] for place, row in enumerate(self.counts))
        return right / self.total if self.total else math.nan

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each true label with how often it was taken for which."""
        for label, row in zip(self.labels, self.counts, strict=True):
            yield (label, *row)

    def _repr_html_(self) -> str:
        """The matrix as a notebook shows it."""
        return table(("true \\ predicted", *self.labels), self.rows(), "confusion matrix")


class Curve(Frozen):
    """Points (x, y) in order, as of a ROC curve; ``thresholds`` are what each point stands for.

    Raises UsageError for no points, for unequal lengths, and for an x or y that is no finite
    number; a threshold may be infinite.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    kind: str
    x_label: str
    y_label: str
    thresholds: tuple[float, ...] | None

    def __init__(
        self,
        x: Iterable[Any],
        y: Iterable[Any],
        kind: str = "curve",
        x_label: str = "x",
        y_label: str = "y",
        thresholds: Iterable[Any] | None = None,
    ) -> None:
        across, up = _numbers(x, "x"), _numbers(y, "y")
        levels = (
            _numbers(thresholds, "thresholds", infinite=True) if thresholds is not None else None
        )
        lengths = [len(across), len(up)] + ([len(levels)] if levels is not None else [])
        if not across:
            raise UsageError("a curve without points", hint="`Curve([0, 1], [0, 1])`")
        if len(set(lengths)) > 1:
            names = ("x", "y", "thresholds")
            parts = ", ".join(f"{n} {one}" for n, one in zip(lengths, names, strict=False))
            raise UsageError(f"the columns of a curve have unequal lengths: {parts}")
        for one in (kind, x_label, y_label):
            if not isinstance(one, str):
                raise UsageError(f"the name of a curve or an axis should be text, not {one!r}")
        super().__init__(across, up, kind, x_label, y_label, levels)

    @classmethod
    def roc(cls, truth: Iterable[Any], scores: Iterable[Any]) -> Curve:
        """True over false positive rate; ``truth`` is 0 or 1, a higher score says 1.

        Points on a straight line between others are left out. Raises UsageError where one of the
        two classes is missing, and for unequal lengths.
        """
        levels = list(_levels(truth, scores, both=True))
        negatives, positives = levels[-1][1], levels[-1][2]
        corners = [
            one
            for place, one in enumerate(levels)
            if place in (0, len(levels) - 1) or _is_corner(*levels[place - 1 : place + 2])
        ]
        return cls(
            [0.0, *(false / negatives for _, false, _ in corners)],
            [0.0, *(true / positives for _, _, true in corners)],
            "roc",
            "false positive rate",
            "true positive rate",
            [math.inf, *(score for score, _, _ in corners)],
        )

    @classmethod
    def precision_recall(cls, truth: Iterable[Any], scores: Iterable[Any]) -> Curve:
        """Precision over recall, from the lowest threshold on, and (0, 1) in the end."""
        levels = list(_levels(truth, scores))[::-1]
        positives = levels[0][2]
        return cls(
            [*(true / positives for _, _, true in levels), 0.0],
            [*(true / (true + false) for _, false, true in levels), 1.0],
            "precision-recall",
            "recall",
            "precision",
            [*(score for score, _, _ in levels), math.inf],
        )

    @classmethod
    def calibration(
        cls, truth: Iterable[Any], probabilities: Iterable[Any], bins: int = 10
    ) -> Curve:
        """The share that was 1 over the mean probability that was said, in bins of equal width.

        Bins without any are left out. Raises UsageError for what is no probability.
        """
        pairs = _judged(truth, probabilities)
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise UsageError(f"the number of bins is {bins!r}", hint="`bins=10`")
        wrong = [one for one, _ in pairs if not 0 <= one <= 1]
        if wrong:
            raise UsageError(f"{wrong[0]!r} is no probability", hint="`Curve.roc` takes any score")
        edges = [place * (1 / bins) for place in range(1, bins)]
        held: dict[int, list[tuple[float, bool]]] = {}
        for pair in pairs:
            held.setdefault(bisect_left(edges, pair[0]), []).append(pair)
        chosen = [held[place] for place in sorted(held)]
        return cls(
            [math.fsum(one for one, _ in part) / len(part) for part in chosen],
            [sum(is_true for _, is_true in part) / len(part) for part in chosen],
            "calibration",
            "mean predicted probability",
            "share of positives",
        )

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """The points as pairs."""
        return tuple(zip(self.x, self.y, strict=True))

    @property
    def area(self) -> float:
        """The area below the curve, by trapezoids; of a ROC curve what is called AUC."""
        pairs = self.points
        strips = (
            (right - left) * (high + low) / 2 for (left, low), (right, high) in pairwise(pairs)
        )
        return abs(math.fsum(strips))

    def _repr_html_(self) -> str:
        """The curve as a notebook shows it: drawn, with its axes named."""
        return curve(self.points, self.x_label, self.y_label, self.kind)


for _kind in (ConfusionMatrix, Curve):
    _kind.__module__ = "gitml"  # where it is public: records name it so, whatever is imported


def _plain(value: Any) -> Any:
    """A value of a library's column as Python's own."""
    return value.item() if getattr(value, "shape", None) == () else value


def _same(label: Any) -> Any:
    """What two labels have in common that are the same one: numbers their value, others the text.

    Truth is often 0 and 1 where predictions are False and True, as ``scores > 0.5`` gives.
    """
    return label if isinstance(label, (int, float)) else str(label)


def _in_order(labels: Iterable[Any]) -> list[Any]:
    """Labels as they are listed: numbers by their value, 9 before 10, and others as texts."""
    listed = list(labels)
    if all(isinstance(one, (int, float)) for one in listed):
        return sorted(listed)
    return sorted(listed, key=str)


def _number(value: Any, where: str) -> float:
    """A number as Python's own, -0.0 as 0: equal values have equal bytes."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise UsageError(f"{where} is {plain!r}, not a number")
    try:
        return float(plain) + 0.0
    except OverflowError as error:
        raise UsageError(f"{where} is too large for a number of 64 bits") from error


def _count(value: Any, where: str) -> float:
    number = _number(value, where)
    if not 0 <= number < math.inf:
        raise UsageError(f"{where} is {number!r}: a count is finite, and 0 or more")
    if number == int(number) and number <= _LARGEST:
        return int(number)
    return number


def _numbers(values: Iterable[Any], name: str, *, infinite: bool = False) -> tuple[float, ...]:
    given = values.tolist() if hasattr(values, "tolist") else values
    numbers = tuple(_number(one, f"{name}[{place}]") for place, one in enumerate(given))
    for place, one in enumerate(numbers):
        if math.isnan(one) or (math.isinf(one) and not infinite):
            raise UsageError(
                f"{name}[{place}] is {one!r}, not a finite number",
                hint="leave the point out, or see where it comes from",
            )
    return numbers


def _pairs(
    left: Iterable[Any], right: Iterable[Any], left_name: str, right_name: str
) -> list[tuple[Any, Any]]:
    ones = list(left.tolist() if hasattr(left, "tolist") else left)
    others = list(right.tolist() if hasattr(right, "tolist") else right)
    if len(ones) != len(others):
        raise UsageError(
            f"{left_name} has {len(ones)} values and {right_name} {len(others)}",
            hint="one of each for every row",
        )
    return list(zip(ones, others, strict=True))


def _judged(truth: Iterable[Any], scores: Iterable[Any]) -> list[tuple[float, bool]]:
    """Each score with whether the truth is 1; raises UsageError."""
    pairs = _pairs(truth, scores, "truth", "scores")
    if not pairs:
        raise UsageError("a curve of no rows", hint="truth and scores are empty")
    wrong = [one for one, _ in pairs if _plain(one) not in (0, 1)]
    if wrong:
        raise UsageError(
            f"the truth is 0 or 1, not {wrong[0]!r}", hint="`truth == label` makes it so"
        )
    numbers = _numbers([score for _, score in pairs], "scores")
    return [(score, bool(_plain(one))) for score, (one, _) in zip(numbers, pairs, strict=True)]


def _levels(
    truth: Iterable[Any], scores: Iterable[Any], *, both: bool = False
) -> Iterator[tuple[float, int, int]]:
    """Each score from the highest on, with how many negatives and positives are not below it."""
    judged = sorted(_judged(truth, scores), key=lambda one: one[0], reverse=True)
    positives = sum(is_true for _, is_true in judged)
    if not positives or (both and positives == len(judged)):
        missing = "positives" if not positives else "negatives"
        raise UsageError(f"the truth has no {missing}, so there is no such curve")
    true = seen = 0
    for score, group in groupby(judged, key=lambda one: one[0]):
        level = list(group)
        seen += len(level)
        true += sum(is_true for _, is_true in level)
        yield score, seen - true, true


def _is_corner(before: Sequence[float], here: Sequence[float], behind: Sequence[float]) -> bool:
    """Whether a level is no even step between its neighbours."""
    return any(behind[n] - here[n] != here[n] - before[n] for n in (1, 2))
