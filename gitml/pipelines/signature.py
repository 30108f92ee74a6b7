"""What a model takes and gives: inferred when its version is recorded, checked when it is used.

What a model takes, it says itself: estimators know the names of their features. The types are those
of the table of its step that has all of these columns. Where a model says nothing, nothing is
guessed (docs/design/0015-signatures.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gitml.entities.ids import ObjectId
from gitml.entities.records import Feature, Input, Output, Signature, Step, VersionArtifact
from gitml.errors import UnsupportedValue, some
from gitml.history.index import Index
from gitml.history.lineage import given_output

if TYPE_CHECKING:
    from gitml.pipelines.plan import Pinned

Columns = Mapping[str, str]
"""The types of a table's columns by name."""
Records = Mapping[ObjectId, Step]

_MODELS = ("sklearn", "xgboost", "lightgbm")
_NUMBERED = re.compile(r"(Column_|f)\d+\Z")
_MORE = re.compile(r"and (\d+) more\Z")
_LISTED = 200
_KINDS = (
    ("number", re.compile(r"u?int|float|double|half|decimal|bool|complex")),
    ("time", re.compile(r"date|time|duration|period")),
    ("text", re.compile(r"str|string|large_string|utf8|object|cat|enum|dictionary")),
)
_SHOWN = 8


class Signatures:
    """The signatures of models, of the steps of a run that is going on and of what is recorded."""

    def __init__(self, index: Index, records: Records) -> None:
        self._index = index
        self._records = records

    def of_version(self, artifacts: Iterable[VersionArtifact]) -> dict[str, Signature] | None:
        """Those of the models among the artifacts of a version, None where there is none."""
        made = {one.name: self.of(one.output, one.commit) for one in artifacts}
        return {name: one for name, one in made.items() if one is not None} or None

    def of(self, output: Output, commit: ObjectId) -> Signature | None:
        """That of a model that a step made, or a version holds; None for what is no model."""
        if not _is_model(output):
            return None
        if version := self._index.version(commit):
            held = (one.name for one in version.record.artifacts if one.output == output)
            return (version.record.signatures or {}).get(next(held, ""))
        entry = self._index.step(commit)
        record = self._records.get(commit) or (entry.record if entry is not None else None)
        given = (*record.inputs, *record.loads) if record is not None else ()
        tables = (_columns(self._output(one)) for one in given)
        return signature_of(output, tables)

    def _output(self, given: Input) -> Output | None:
        record = self._records.get(given.commit)
        if record is None:
            return given_output(self._index, given)
        return next((one for one in record.outputs if one.digest == given.digest), None)


def warnings(
    step: str, inputs: Mapping[str, Pinned], index: Index, records: Callable[[], Records]
) -> list[str]:
    """What a step should be told of a model and a table that it is given and that do not fit.

    Of several tables one that fits is enough, and one that has nothing of what the model takes is
    not meant for it. ``records`` are the steps of the run; they are asked for where need be.
    """
    said = []
    models = {name: one for name, one in inputs.items() if _is_model(one.output)}
    known = Signatures(index, records()) if models else None
    for name, one in models.items():
        signature = known.of(one.output, one.commit) if known else None
        if signature is not None and (wrong := _worst(signature, inputs)):
            said.append(f"{step}: {wrong[0]} does not fit {name}: {some(wrong[1:], _SHOWN, '; ')}")
    return said


def _worst(signature: Signature, inputs: Mapping[str, Pinned]) -> list[str]:
    """The table that was meant for a model, and what is wrong with it; nothing where one fits.

    A model whose columns stood in no table was fitted with what its step had made of one: then
    this step does so too.
    """
    found: list[str] = []
    if not all(one.type for one in signature.features):
        return []
    for name, given in inputs.items():
        columns = _columns(given.output)
        if not any(one.name in columns for one in signature.features):
            continue
        listed = given.output.metadata["columns"]
        wrong = misfits(signature, columns, whole=len(columns) == len(listed))
        if not wrong:
            return []
        found = found or [name, *wrong]
    return found


def misfits(signature: Signature, columns: Columns, *, whole: bool = True) -> list[str]:
    """What a table lacks that a model takes, a line each; more columns than that are no harm.

    ``whole`` tells that all columns of the table are known. Numbers are of one kind, whatever their
    width, and so are texts, categories and objects.
    """
    said = []
    names = [one.name for one in signature.features]
    lacking = [name for name in names if name not in columns]
    if lacking and whole:
        said.append(f"it lacks {some(lacking, _SHOWN)}")
    for one in signature.features:
        given = columns.get(one.name)
        wanted = kind_of(one.type)
        if given is not None and wanted and kind_of(given) not in (wanted, None):
            said.append(f"{one.name} is {given}, and was {one.type} when it was fitted")
    return said


def check(signature: Signature, table: Any, what: str) -> None:
    """Raise UnsupportedValue unless a model takes this table or array; ``what`` is the model."""
    shape: tuple[int, ...] = getattr(table, "shape", ())
    columns = _columns_of(table)
    if columns is None and len(shape) == 2:
        wrong = signature.count != shape[1]
        said = [f"it has {shape[1]} columns, and {signature.count} are taken"] if wrong else []
    elif columns is None:
        said = ["it is no table and no array of two dimensions"]
    elif signature.features:
        said = misfits(signature, columns)
    else:
        wrong = signature.count != len(columns)
        said = [f"it has {len(columns)} columns, and {signature.count} are taken"] if wrong else []
    if said:
        raise UnsupportedValue(
            f"this table does not fit {what}: {some(said, _SHOWN, '; ')}",
            hint=f"it takes {words(signature, len(signature.features))}",
        )


def words(signature: Signature, limit: int = _SHOWN) -> str:
    """A signature on one line: ``age int64, name object → cat, dog``."""
    shown = [f"{one.name} {one.type or ''}".strip() for one in signature.features[:limit]]
    more = signature.count - len(shown)
    if not shown:
        text = f"{signature.count} columns"
    else:
        text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"{text} → {some(signature.classes, _SHOWN)}" if signature.classes else text


def changed(old: Signature, new: Signature) -> list[str]:
    """What differs between two signatures, a line each."""
    before, after = ({one.name: one.type for one in side.features} for side in (old, new))
    lines = [f"{name} is new" for name in after if name not in before]
    lines += [f"{name} is not taken any more" for name in before if name not in after]
    lines += [
        f"{name} was {before[name]} and is {kind}"
        for name, kind in after.items()
        if name in before and before[name] != kind
    ]
    if not lines and [*before] != [*after]:
        lines.append("the columns stand in another order")
    if old.count != new.count and not (before and after):
        lines.append(f"{old.count} columns are now {new.count}")
    if old.classes != new.classes:
        both = (some(one.classes or (), _SHOWN) or "unknown" for one in (new, old))
        lines.append("gives {}, and gave {}".format(*both))
    return lines


def kind_of(kind: str | None) -> str | None:
    """Whether a type is of numbers, texts or times; None where it is neither or not known."""
    text = (kind or "").lower()
    return next((name for name, pattern in _KINDS if pattern.match(text)), None)


def signature_of(output: Output, tables: Iterable[Columns] = ()) -> Signature | None:
    """What a model takes by what its record knows; the types are those of one of the tables.

    None for what is no model, or one that does not say how many columns it takes.
    """
    known = output.metadata
    if not _is_model(output):
        return None
    listed = known.get("feature_names_in") or known.get("features")
    names, count = _names(listed)
    count = known.get("n_features_in", count)
    if type(count) is not int or count <= 0:
        return None
    types: Columns = next((one for one in tables if names and set(names) <= one.keys()), {})
    features = tuple(Feature(name, types.get(name)) for name in names)
    classes = known.get("classes")
    return Signature(features, count, tuple(classes) if isinstance(classes, list) else None)


def _is_model(output: Output) -> bool:
    return output.materializer.partition("/")[0] in _MODELS


def _names(given: Any) -> tuple[list[str], int]:
    """The names of features that the record has, and how many there are.

    There are none where the library has numbered them; the last of a long list says what is left.
    """
    if not isinstance(given, list):
        return [], given if type(given) is int else 0
    names = [str(one) for one in given]
    more = _MORE.match(names[-1]) if len(names) > _LISTED else None
    if more is not None:
        names.pop()
    count = len(names) + (int(more[1]) if more else 0)
    return ([], count) if all(map(_NUMBERED.match, names)) else (names, count)


def _columns(output: Output | None) -> dict[str, str]:
    """The columns that the record of a table knows."""
    listed = output.metadata.get("columns") if output is not None else None
    pairs = listed if isinstance(listed, list) else []
    return {one[0]: one[1] for one in pairs if isinstance(one, list) and len(one) == 2}


def _columns_of(table: Any) -> dict[str, str] | None:
    """The columns of a frame of pandas or polars, or of an Arrow table."""
    schema = getattr(table, "schema", None)
    if hasattr(table, "columns") and hasattr(table, "dtypes") and hasattr(table, "iloc"):
        return dict(zip(map(str, table.columns), map(str, table.dtypes), strict=True))
    if schema is not None and hasattr(schema, "names") and hasattr(schema, "types"):
        return dict(zip(schema.names, map(str, schema.types), strict=True))
    if schema is not None and hasattr(schema, "items"):
        return {str(name): str(kind) for name, kind in schema.items()}
    return None
