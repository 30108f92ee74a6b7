"""Confusion matrices as JSON, curves as Arrow IPC: what any reader of the formats can open.

**Format 1** of a matrix: canonical JSON, ``{"counts":[[…]],"labels":[…]}``. Of a curve: an Arrow
file with the columns ``x``, ``y`` and perhaps ``threshold`` (float64, no nulls); the metadata
``gitml.curve`` of its schema is JSON with ``kind``, ``x_label`` and ``y_label``.
"""

from __future__ import annotations

import json
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue, UsageError
from gitml.evaluation import ConfusionMatrix, Curve
from gitml.materializers import arrow
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, type_name

_KEY = b"gitml.curve"
_NAMES = ("kind", "x_label", "y_label")


class ConfusionMatrixMaterializer(Materializer):
    """`ConfusionMatrix`."""

    name = "confusion_matrix"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The JSON; raises UnsupportedValue for another value."""
        if type(value) is not ConfusionMatrix:
            raise UnsupportedValue(f"value is a {type_name(value)}, not a confusion matrix")
        document = {"labels": value.labels, "counts": value.counts}
        try:
            return json.dumps(
                document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
        except UnicodeEncodeError as error:
            raise UnsupportedValue("a label holds a lone surrogate, which is no text") from error

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The matrix; raises CorruptData."""
        return matrix_of(content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The number of labels, the sum and the accuracy."""
        accuracy = value.accuracy
        known: dict[str, JSON] = {"labels": len(value.labels), "total": value.total}
        return known if accuracy != accuracy else {**known, "accuracy": round(accuracy, 6)}


class CurveMaterializer(Materializer):
    """`Curve`."""

    name = "curve"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The Arrow file; raises UnsupportedValue for another value."""
        if type(value) is not Curve:
            raise UnsupportedValue(f"value is a {type_name(value)}, not a curve")
        pa = library("pyarrow", "arrow")
        columns = {"x": value.x, "y": value.y}
        if value.thresholds is not None:
            columns["threshold"] = value.thresholds
        said = {name: getattr(value, name) for name in _NAMES}
        try:
            text = json.dumps(said, sort_keys=True, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UnsupportedValue("a name holds a lone surrogate, which is no text") from error
        made = pa.table({name: pa.array(one, pa.float64()) for name, one in columns.items()})
        return arrow.write(made.replace_schema_metadata({_KEY: text}))

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The curve; raises CorruptData."""
        return curve_of(content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Its kind, the number of points, and the area below it."""
        known: dict[str, JSON] = {"kind": value.kind[:100], "points": len(value.x)}
        area = value.area
        return {**known, "area": round(area, 6)} if area < float("inf") else known


def matrix_of(raw: bytes) -> ConfusionMatrix:
    """The matrix in what was saved; raises CorruptData."""
    try:
        document = json.loads(raw)
        labels, counts = document["labels"], document["counts"]
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise TypeError("labels are a list of texts")
        return ConfusionMatrix(labels, counts)
    except (UsageError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise CorruptData("not a confusion matrix") from error


def curve_of(raw: bytes) -> Curve:
    """The curve in what was saved; raises CorruptData."""
    found = arrow.read(raw)
    try:
        said = json.loads(found.schema.metadata[_KEY])
        columns = [found.column(name).to_pylist() for name in found.schema.names]
        if found.schema.names not in (["x", "y"], ["x", "y", "threshold"]):
            raise ValueError("other columns")
        kind, x_label, y_label = (said[name] for name in _NAMES)
        return Curve(columns[0], columns[1], kind, x_label, y_label, *columns[2:])
    except (UsageError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise CorruptData("not a curve") from error
