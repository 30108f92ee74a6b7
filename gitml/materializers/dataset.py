"""Hugging Face datasets as one canonical Arrow IPC file, features included.

**Format 1.** The file of `gitml.materializers.arrow`, with the features where the library itself
keeps them, in the key ``huggingface`` of the schema's metadata. Rows come in the order and choice
that the dataset shows them. Where it was loaded from, its fingerprint and its cache are not kept.
"""

from __future__ import annotations

from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import arrow
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

_KEY = b"huggingface"


class DatasetMaterializer(Materializer):
    """``datasets.Dataset``; of a ``DatasetDict`` each part is an output of its own."""

    name = "dataset"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The Arrow IPC file; raises UnsupportedValue for what would not come back."""
        datasets = library("datasets", "datasets")
        if type(value) is not datasets.Dataset:
            raise UnsupportedValue(f"value is a {type_name(value)}, not a Dataset")
        table = value.with_format("arrow")[:]
        metadata = {_KEY: value.features.arrow_schema.metadata[_KEY]}
        raw = arrow.write(table.replace_schema_metadata(metadata))
        if _read(datasets, raw).features != value.features:
            raise UnsupportedValue("value has features that would not come back as they are")
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The dataset, in memory; raises CorruptData."""
        return _read(library("datasets", "datasets"), content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Rows, and the columns as pairs of name and feature."""
        pairs: list[JSON] = [[name, str(feature)[:200]] for name, feature in value.features.items()]
        return {"rows": value.num_rows, "columns": shown(pairs)}


def _read(datasets: Any, raw: bytes) -> Any:
    table = arrow.read(raw)
    if _KEY not in (table.schema.metadata or {}):
        raise CorruptData("an Arrow table that is not of a dataset")
    try:
        return datasets.Dataset(datasets.table.InMemoryTable(table))
    except Exception as error:  # what the library raises for features that make no sense
        raise CorruptData("an Arrow table that is not of a dataset") from error
